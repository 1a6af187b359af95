//===- Recipe.h - what the user asked for, as one typed value ---*- C++ -*-===//
//
// The recipe of a job after parsing: frontends/recipe makes it from YAML or DeepSpeed JSON, the driver writes it into the
// module attribute `train.recipe`, passes read it back with `recipeOf`. Every field has the default that trains.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_DIALECTS_TRAIN_RECIPE_H
#define LLMC_DIALECTS_TRAIN_RECIPE_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinOps.h"
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace llmc::train {

/// What feeds one input of the graph. `array` is the NAME of Array and ArrayNext.
struct DataSource {
  enum Kind { Tokens, TokensNext, Array, ArrayNext } kind = Tokens;
  std::string array;
  bool shiftedTwice = false; // TokensNext and ArrayNext: also into a graph that shifts this input itself
  bool isTokens() const { return kind == Tokens || kind == TokensNext; }
  bool isNext() const { return kind == TokensNext || kind == ArrayNext; }
  bool operator==(const DataSource &) const = default;
};

/// The loss: a scalar output of the graph, or a mean that is added between an output and an input, which is a new one unless
/// the graph has one of that name.
struct Loss {
  enum Kind { Output, CrossEntropy, Mse, L1, Huber, BceWithLogits } kind = Output;
  std::string output = "loss";        // Output
  std::string prediction, target;     // the others: an output, and the input that it is compared with
  bool probabilities = false;         // CrossEntropy: `prediction` holds probabilities instead of logits
  std::optional<int64_t> ignoreIndex; // CrossEntropy: rows with this label do not count; see ignoredLabel
  double delta = 1.0;                 // Huber: where the square becomes a line
  bool operator==(const Loss &) const = default;
};

/// The label that does not count where the recipe names none.
inline constexpr int64_t kIgnoredLabel = -100;

enum class LossAverage { Tokens, MicroBatch };

struct Optimizer {
  enum Kind { AdamW, Sgd } kind = AdamW;
  double lr = 3.0e-4;
  double beta1 = 0.9, beta2 = 0.95, eps = 1.0e-8; // AdamW, as torch.optim.AdamW
  double momentum = 0.0;                          // Sgd, as torch.optim.SGD
  bool nesterov = false;
  double weightDecay = 0.0;
  std::optional<std::vector<std::string>> noDecay; // globs over parameter names; nothing: fewer than two dimensions
  bool operator==(const Optimizer &) const = default;

  /// True if weight decay applies to a parameter with these names (tied ones too) and as many dimensions in the model.
  bool decays(const std::vector<std::string> &names, int64_t rank) const;
};

/// Learning rate as a function of the step k (from 0), times the peak `lr`:
///   k < warmup: (k + 1) / warmup; then constant, or linear or cosine from lr to minLr at totalSteps.
struct Schedule {
  enum Kind { Constant, Linear, Cosine } kind = Constant;
  int64_t warmupSteps = 0;
  int64_t totalSteps = 0; // 0: not given; Linear and Cosine require it
  double minLr = 0.0;
  bool operator==(const Schedule &) const = default;
};

/// One `init` entry; a later match overrides an earlier one.
struct Initializer {
  enum Kind { Zeros, Ones, Constant, Normal, Uniform } kind = Zeros;
  std::string glob;
  double a = 0.0, b = 0.0; // Constant: a; Normal(b) has mean 0, deviation b; Uniform(a, b)
  bool operator==(const Initializer &) const = default;
};

/// One `sharding` entry: the axes that cut each dimension of the parameters that the glob names. A later match overrides an
/// earlier one.
struct ParameterSharding {
  std::string glob;
  std::vector<std::vector<std::string>> dims;
  int64_t line = 0; // of the recipe
  bool operator==(const ParameterSharding &other) const { return glob == other.glob && dims == other.dims; }
};

/// How the model itself says that one of its tensors is cut: the shardings of an ONNX file, in axes of the recipe's mesh.
struct ModelSharding {
  enum Kind { Param, Input, Value } kind = Param;
  /// The first `parts` places of an axis, each of as many ranks.
  struct Axis {
    std::string name;
    int64_t parts = 1;
    bool operator==(const Axis &) const = default;
  };
  /// A part of a dimension that is several fused into one, such as the 3 of queries, keys and values.
  struct Factor {
    int64_t size = 0; // 0: the whole dimension
    std::vector<Axis> axes;
    bool operator==(const Factor &) const = default;
  };
  std::string tensor, node;         // the node that makes a value, else one that reads the tensor
  int64_t output = 0, outputs = 1;  // which of the node's results a value is
  std::vector<int64_t> shape;       // as imported
  std::vector<std::vector<Factor>> dims; // the factors of each dimension, the first major
  bool operator==(const ModelSharding &) const = default;
};

struct Batch {
  int64_t step = 0;  // samples per step; 0: as exported
  int64_t micro = 0; // samples per micro-batch; 0: as `step`
  bool autoMicro = false;
  bool operator==(const Batch &) const = default;
};

struct Recipe {
  Loss loss;
  LossAverage lossAverage = LossAverage::Tokens;
  std::vector<std::pair<std::string, DataSource>> data;  // by input name
  std::vector<std::pair<std::string, int64_t>> shapes;   // dynamic dimension -> size
  Batch batch;
  Optimizer optimizer;
  Schedule schedule;
  std::optional<double> clipGradNorm;
  std::string precision = "fp32";
  std::vector<std::pair<std::string, int64_t>> mesh;     // named axes
  int64_t zero = 0;
  bool sequenceParallel = false;                         // between regions of tensor parallelism
  std::vector<ParameterSharding> sharding;               // of parameters, instead of what is found
  std::string onnxSharding;                              // a device configuration of the model, empty: none
  std::vector<ModelSharding> modelSharding;              // what it says; `sharding` goes before it
  int64_t bucket = int64_t(25) << 20;                    // bytes that one message may carry, as in DDP; 0: one tensor each
  std::optional<int64_t> memoryBudget;                   // bytes
  std::string recompute = "cheap", offload = "none";
  std::string weights;                                   // path relative to the recipe, empty: none
  std::vector<Initializer> init;
  std::vector<std::string> trainable;                    // globs over parameter names; none: what the model's module trains
  bool shuffle = true;
  std::string predict;                                   // graph output, empty: no @predict
  uint64_t seed = 1234;
  bool operator==(const Recipe &) const = default;
};

/// The recipe as a dictionary attribute and back; a missing key has its default, `fromAttribute` fails on a mistyped one.
/// Round trip is the identity.
mlir::DictionaryAttr toAttribute(mlir::MLIRContext *context, const Recipe &recipe);
mlir::FailureOr<Recipe> fromAttribute(mlir::DictionaryAttr attribute);

/// The recipe of `module`, from `train.recipe`; the default recipe if the module has none.
Recipe recipeOf(mlir::ModuleOp module);

/// True if `name` matches the glob (`*` any run of characters, `?` one character).
bool matchesGlob(llvm::StringRef glob, llvm::StringRef name);
/// True if one of `names` matches one of `globs`.
bool matchesAny(const std::vector<std::string> &globs, const std::vector<std::string> &names);

} // namespace llmc::train

#endif // LLMC_DIALECTS_TRAIN_RECIPE_H
