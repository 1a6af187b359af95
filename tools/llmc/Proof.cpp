//===- Proof.cpp - the proof beside a model, replayed ------------------------------===//
//
// For each batch of the proof:
//   1. the model is imported for its size with a recipe made here, dropout is taken out, and the pipeline runs to level `step`;
//   2. the reference interpreter computes one step, or, beyond its bound here, a plan does (ProofRun.cpp);
//   3. loss, gradients and updated buffers are compared with PyTorch's.
// A size that the model cannot be trained with is said, and does not fail if it is not the exported one.
//
//===----------------------------------------------------------------------===//
#include "tools/llmc/Proof.h"
#include "compiler/driver/Frontend.h"
#include "compiler/driver/Pipeline.h"
#include "mlir/Interfaces/InferTypeOpInterface.h" // of Nn.h
#include "dialects/nn/Nn.h"
#include "dialects/train/Train.h"
#include "tools/llmc/ProofRun.h"
#include "tools/llmc/Tool.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"
#include <cmath>

using namespace mlir;

namespace llmc::tool {

std::string proofPath(StringRef model) {
  llvm::SmallString<128> path(model);
  llvm::sys::path::replace_extension(path, ".proof.safetensors");
  return path.str().str();
}

static std::string quoted(StringRef text) {
  std::string result;
  llvm::raw_string_ostream(result) << llvm::json::Value(text);
  return result;
}

std::string defaultRecipe(const onnx::Model &model, int64_t batch) {
  std::string data, shapes;
  std::set<std::string> symbols;
  for (const onnx::ValueInfo &input : model.inputs) {
    data += (data.empty() ? "" : ", ") + quoted(input.name) + ": " + quoted(input.name);
    for (auto [d, dim] : llvm::enumerate(input.dims)) {
      bool named = !dim.symbol.empty() && dim.symbol != "?";
      if (d == 0 && named && batch == 0)
        batch = 2;
      if (d > 0 && named && symbols.insert(dim.symbol).second)
        shapes += (shapes.empty() ? "" : ", ") + quoted(dim.symbol) + ": 16";
    }
  }
  std::string text = "loss: loss\ndata: {" + data + "}\noptimizer: {sgd: {lr: 1.0e-3}}\n";
  if (llvm::any_of(model.initializers, [](const onnx::Tensor &tensor) { return tensor.missing; }))
    text += "init: {\"*\": normal(0.02)}\n";
  if (!shapes.empty())
    text += "shapes: {" + shapes + "}\n";
  if (batch > 0)
    text += llvm::formatv("batch: {{step: {0}, micro: {0}}\n", batch).str();
  return text;
}

int withRecipeFile(const std::string &text, llvm::function_ref<int(StringRef)> use) {
  llvm::SmallString<128> folder;
  if (std::error_code error = llvm::sys::fs::createUniqueDirectory("llmc-check", folder))
    return fail(kBadInput, "cannot create a temporary folder: " + error.message());
  llvm::scope_exit remove([&] { llvm::sys::fs::remove_directories(folder); });
  std::string path = (folder + "/recipe.yaml").str();
  std::error_code error;
  llvm::raw_fd_ostream stream(path, error);
  if (error)
    return fail(kBadInput, "cannot write " + path + ": " + error.message());
  stream << text;
  stream.close();
  return use(path);
}

namespace {

// What f32 in another order of sums may differ by. Measured over the models of scripts/parity: 3e-6 of a gradient's largest
// entry, 9e-7 of a loss; kinks of ReLU and long sums take more.
constexpr double kLoss = 1e-5, kGradient = 1e-4, kBuffer = 1e-5;
// A gradient this much smaller than the largest one is rounding noise.
constexpr double kNoise = 1e-6;
// Rounding grows with the terms of a sum, not with what is left of it: a smaller gradient than this part of the largest one, such
// as that of a bias in front of a normalization, which is zero, is compared as if it were as large.
constexpr double kSmall = 1e-2;

/// Number i of those that gradients are multiplied with; proof.py has the same.
double weightOf(uint64_t i) { return static_cast<double>((i * 2654435761u) & 0xffffffffu) / 4294967296.0 - 0.5; }

class Replayer {
public:
  Replayer(StringRef path, const onnx::Model &model, MLIRContext &context) : path(path.str()), model(model), context(context) {}
  int run();

private:
  int replay(unsigned k);
  int compute(unsigned k, driver::LoadedModel &loaded, ProofResult &result);
  bool matches(ModuleOp module);
  int checkInputs(func::FuncOp accumulate, const ProofInputs &inputs);
  void compare(unsigned k, const ProofResult &result);
  void compareGradient(const std::string &when, const std::string &name, const HostTensor *ours, unsigned k, double largest);
  void differ(const std::string &what, double difference) {
    double &known = differences.try_emplace(what, 0.0).first->second;
    known = std::isfinite(difference) ? std::max(known, difference) : INFINITY;
  }
  std::optional<HostTensor> tensor(const std::string &name) const;
  int64_t batchOf(unsigned k) const;

  std::string path; // a copy: the linker of a plan resets the options of the command line, from which it comes
  const onnx::Model &model;
  MLIRContext &context;
  std::shared_ptr<runtime::SafetensorsFile> proof;
  std::map<std::string, std::vector<int64_t>> parameters; // trained, then the shape
  std::map<std::string, double> differences;
  std::vector<int64_t> sizes; // that were compared
  std::string how;
};

std::optional<HostTensor> Replayer::tensor(const std::string &name) const {
  const runtime::TensorInfo *info = proof->find(name);
  return info ? valueOf(*proof, *info, &context) : std::nullopt;
}

/// The first dimension of the first input that has one.
int64_t Replayer::batchOf(unsigned k) const {
  for (const onnx::ValueInfo &input : model.inputs)
    if (const runtime::TensorInfo *info = proof->find(std::to_string(k) + ".input." + input.name); info && !info->shape.empty())
      return info->shape[0];
  return 0;
}

/// A proof of another file is no proof: parameters must have the same names and shapes.
bool Replayer::matches(ModuleOp module) {
  auto forward = module.lookupSymbol<func::FuncOp>(train::kForward);
  std::map<std::string, std::vector<int64_t>> found;
  for (unsigned i = 0; i < forward.getNumArguments(); ++i)
    if (train::argumentString(forward, i, train::kRole) == train::kParam)
      found[train::argumentString(forward, i, train::kName).str()] =
          std::vector<int64_t>(cast<RankedTensorType>(forward.getArgumentTypes()[i]).getShape());
  std::string wrong;
  for (auto &[name, entry] : parameters)
    if (auto it = found.find(name); it == found.end() || !llvm::equal(it->second, llvm::drop_begin(entry)))
      wrong += "\n  " + name + (it == found.end() ? ": is no parameter of the model" : ": has another shape in the model");
  for (auto &[name, shape] : found)
    if (!parameters.count(name))
      wrong += "\n  " + name + ": is not in the proof";
  if (!wrong.empty())
    fail(kUnsupported, "the proof " + proof->path() + " belongs to another model:" + wrong,
         "export the model again, or take the proof away");
  return wrong.empty();
}

/// Both ways to compute take values as they are: they must have the shapes of @accumulate, and be real numbers where it has those.
int Replayer::checkInputs(func::FuncOp accumulate, const ProofInputs &inputs) {
  std::string wrong;
  for (unsigned i = 0; i < accumulate.getNumArguments(); ++i) {
    if (train::argumentString(accumulate, i, train::kRole) != train::kInput)
      continue;
    auto it = inputs.find(train::argumentString(accumulate, i, train::kName).str());
    if (it == inputs.end())
      continue;
    auto wanted = cast<RankedTensorType>(accumulate.getArgumentTypes()[i]);
    if (wanted.getShape() != ArrayRef<int64_t>(it->second.shape))
      wrong += "\n  '" + it->first + "' has another shape in the proof";
    else if (isa<FloatType>(wanted.getElementType()) != it->second.isReal)
      wrong += "\n  '" + it->first + "' has another type in the proof";
  }
  if (wrong.empty())
    return kDone;
  return fail(kUnsupported, "the proof " + proof->path() + " has other inputs than the model:" + wrong,
              "export the model again, or take the proof away");
}

/// A module of level `step` for batch `k`, run once.
int Replayer::compute(unsigned k, driver::LoadedModel &loaded, ProofResult &result) {
  std::string prefix = std::to_string(k) + ".input.";
  ProofInputs inputs;
  for (const onnx::ValueInfo &input : model.inputs) {
    std::optional<HostTensor> value = tensor(prefix + input.name);
    if (!value)
      return fail(kUnsupported, "the proof " + proof->path() + " has no value for input '" + input.name + "'",
                  "export the model again, or take the proof away");
    inputs[input.name] = std::move(*value);
  }
  loaded.module->walk([](nn::DropoutOp op) {
    op.replaceAllUsesWith(op.getInput());
    op.erase();
  });
  driver::PipelineOptions pipeline;
  pipeline.to = driver::Level::Step;
  if (failed(driver::runPipeline(*loaded.module, pipeline)))
    return kUnsupported;
  if (int code = checkInputs(loaded.module->lookupSymbol<func::FuncOp>(train::kAccumulate), inputs))
    return code;
  return runProof(*loaded.module, loaded.folder.empty() ? "." : loaded.folder, inputs, result);
}

int Replayer::replay(unsigned k) {
  ProofResult result;
  std::vector<std::string> refusals;
  int code;
  {
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
      if (k == 0)
        return failure(); // as everywhere else
      if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
        refusals.push_back(diagnostic.str());
      return success();
    });
    code = withRecipeFile(defaultRecipe(model, batchOf(k)), [&](StringRef recipe) -> int {
      driver::LoadedModel loaded = driver::loadModel(path, recipe, &context);
      if (!loaded.module || !loaded.problems.empty()) {
        if (k == 0)
          return report(loaded.problems);
        for (const Problem &problem : loaded.problems)
          refusals.push_back(problem.message);
        return kUnsupported;
      }
      if (!matches(*loaded.module))
        return kUnsupported;
      return compute(k, loaded, result);
    });
  }
  if (code && k > 0 && !refusals.empty()) {
    llvm::outs() << "note: the model cannot be trained with " << batchOf(k) << " samples: " << refusals.front() << "\n";
    return kDone;
  }
  if (code)
    return code;
  how = result.how;
  sizes.push_back(batchOf(k));
  compare(k, result);
  return kDone;
}

void Replayer::compareGradient(const std::string &when, const std::string &name, const HostTensor *ours, unsigned k, double largest) {
  std::string what = "the gradient of '" + name + "'", prefix = std::to_string(k) + ".";
  std::optional<HostTensor> expected = tensor(prefix + "gradient." + name), places = tensor(prefix + "indices." + name);
  bool trained = parameters.at(name).front() != 0;
  ArrayRef<double> values = ours ? ArrayRef<double>(ours->reals) : ArrayRef<double>();
  if (!trained && ours)
    return differ("'" + name + "' is trained, though PyTorch does not train it", INFINITY);
  if (!expected || !places || expected->reals.size() != places->integers.size() + 2) {
    double own = 0;
    for (double value : values)
      own = std::max(own, std::abs(value));
    if (own > kNoise * largest)
      differ(when + ": " + what + ", which PyTorch does not have", INFINITY);
    return;
  }
  double norm = 0, product = 0, top = 0, count = static_cast<double>(values.size());
  for (auto [i, value] : llvm::enumerate(values)) {
    norm += value * value;
    product += value * weightOf(i);
  }
  norm = std::sqrt(norm);
  ArrayRef<double> entries = ArrayRef<double>(expected->reals).drop_front(2);
  for (double entry : entries)
    top = std::max(top, std::abs(entry));
  if (!ours && top > kNoise * largest)
    return differ("'" + name + "' is not trained, though PyTorch trains it", INFINITY);
  if (!ours)
    return;
  double scale = std::max(top, kSmall * largest), normScale = std::max(expected->reals[0], kSmall * largest);
  double difference = std::max(std::abs(norm - expected->reals[0]) / normScale,
                               std::abs(product - expected->reals[1]) / (normScale + 0.02 * scale * std::sqrt(count)));
  for (auto [place, entry] : llvm::zip_equal(places->integers, entries)) {
    if (place < 0 || place >= static_cast<int64_t>(ours->reals.size()))
      return differ(when + ": " + what + " has another size", INFINITY);
    difference = std::max(difference, std::abs(ours->reals[place] - entry) / scale);
  }
  if (!(difference <= kGradient))
    differ(when + ": " + what, difference);
}

void Replayer::compare(unsigned k, const ProofResult &result) {
  std::string when = llvm::formatv("{0} samples", batchOf(k)).str(), prefix = std::to_string(k) + ".";
  std::optional<HostTensor> loss = tensor(prefix + "loss");
  double expected = loss && loss->size() == 1 ? loss->reals[0] : NAN;
  double difference = std::abs(result.loss - expected) / std::max(std::abs(expected), 1e-3);
  if (!(difference <= kLoss))
    differ(when + llvm::formatv(": the loss, {0:F7} instead of {1:F7}", result.loss, expected).str(), difference);
  double largest = 0;
  for (auto &[name, entry] : parameters)
    if (std::optional<HostTensor> gradient = tensor(prefix + "gradient." + name))
      for (double value : ArrayRef<double>(gradient->reals).drop_front(std::min<size_t>(2, gradient->reals.size())))
        largest = std::max(largest, std::abs(value));
  for (auto &[name, entry] : parameters) {
    auto it = result.gradients.find(name);
    compareGradient(when, name, it == result.gradients.end() ? nullptr : &it->second, k, largest);
  }
  for (auto &[name, info] : proof->tensors()) {
    StringRef buffer = name;
    if (!buffer.consume_front(prefix + "buffer."))
      continue;
    std::optional<HostTensor> wanted = tensor(name);
    auto it = result.buffers.find(buffer.str());
    double error = it == result.buffers.end() || !wanted || it->second.reals.size() != wanted->reals.size() ? INFINITY : 0, top = 0;
    for (size_t i = 0; error == 0 && i < wanted->reals.size(); ++i)
      top = std::max(top, std::abs(wanted->reals[i]));
    double off = error;
    for (size_t i = 0; error == 0 && i < wanted->reals.size(); ++i)
      off = std::max(off, std::abs(it->second.reals[i] - wanted->reals[i]));
    if (off > kBuffer * std::max(top, 1e-6))
      differ(when + ": the update of buffer '" + buffer.str() + "'", off / std::max(top, 1e-6));
  }
}

int Replayer::run() {
  auto opened = runtime::SafetensorsFile::open(proofPath(path));
  if (!opened.ok())
    return fail(kBadInput, opened.status().message, "export the model again, or take the proof away");
  proof = *opened;
  for (auto &[name, info] : proof->tensors())
    if (StringRef rest = name; rest.consume_front("parameter."))
      if (std::optional<HostTensor> value = tensor(name); value && !value->integers.empty())
        parameters[rest.str()] = value->integers;
  if (parameters.empty() || !proof->find("0.loss"))
    return fail(kBadInput, proof->path() + " is no proof of a model", "export the model again, or take it away");
  for (unsigned k = 0; proof->find(std::to_string(k) + ".loss"); ++k)
    if (int code = replay(k))
      return code;
  if (differences.empty()) {
    llvm::outs() << llvm::formatv("PyTorch's loss and gradients reproduced ({0} parameters, {1} batch size{2}), {3}\n", parameters.size(),
                                  sizes.size(), sizes.size() == 1 ? "" : "s", how);
    return kDone;
  }
  auto worst = llvm::max_element(differences, [](auto &a, auto &b) { return a.second < b.second; });
  std::string lines;
  size_t shown = 0;
  for (auto &[what, difference] : differences)
    if (++shown <= 20)
      lines += "\n  " + what + (std::isfinite(difference) ? llvm::formatv(", off by {0:E1}", difference).str() : "");
  if (shown > 20)
    lines += llvm::formatv("\n  and {0} more", shown - 20).str();
  llvm::outs().flush();
  return fail(kUnsupported,
              llvm::formatv("the model does not compute PyTorch's loss and gradients; the largest relative difference is {0:E1}:{1}",
                            worst->second, lines)
                  .str(),
              "the file was changed after its export, or the exporter or llmc gets an operator of it wrong: please report it");
}

} // namespace

int replayProof(StringRef path, const onnx::Model &model, MLIRContext &context) {
  if (!llvm::sys::fs::exists(proofPath(path))) {
    llvm::outs() << "note: there is no proof beside the model (" << llvm::sys::path::filename(proofPath(path))
                 << "), so that PyTorch's loss and gradients are not compared\n";
    return kDone;
  }
  return Replayer(path, model, context).run();
}

} // namespace llmc::tool
