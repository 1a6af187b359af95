//===- RanksTest.cpp - N simulated ranks compute what one computes ---------------------===//
#include "compiler/reference/Ranks.h"
#include "compiler/driver/Pipeline.h"
#include "compiler/reference/Trainer.h"
#include "dialects/nn/Nn.h"
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "passes/lowering/Passes.h"
#include <gtest/gtest.h>
#include <cmath>
#include <random>

using namespace mlir;
using namespace llmc;

namespace {

/// An embedding that is also the head, dropout, a norm, a bias, a mean, and a parameter no dimension of which divides.
constexpr const char *kModel = R"(
func.func @forward(%ids: tensor<8x4xi64> {train.name = "ids", train.role = "input", train.limit = 12 : i64},
                   %labels: tensor<8x4xi64> {train.name = "labels", train.role = "input", train.limit = 12 : i64, train.ignored = -100 : i64},
                   %table: tensor<12x6xf32> {train.name = "table", train.role = "param"},
                   %scale: tensor<6xf32> {train.name = "norm.weight", train.role = "param"},
                   %shift: tensor<6xf32> {train.name = "norm.bias", train.role = "param"},
                   %w: tensor<5x6xf32> {train.name = "w", train.role = "param"},
                   %b: tensor<5xf32> {train.name = "b", train.role = "param"})
    -> (tensor<f32> {train.name = "loss"}) {
  %x = nn.gather %table, %ids : (tensor<12x6xf32>, tensor<8x4xi64>) -> tensor<8x4x6xf32>
  %dropped = nn.dropout %x {ratio = 0.25 : f64, seed = 1 : i64, id = 2 : i64} : (tensor<8x4x6xf32>) -> tensor<8x4x6xf32>
  %y, %mean, %rstd = nn.layer_norm %dropped, %scale, %shift {epsilon = 1.0e-5 : f64} : (tensor<8x4x6xf32>, tensor<6xf32>, tensor<6xf32>) -> (tensor<8x4x6xf32>, tensor<8x4xf32>, tensor<8x4xf32>)
  %h = nn.contract %y, %w {equation = "btc,nc->btn"} : (tensor<8x4x6xf32>, tensor<5x6xf32>) -> tensor<8x4x5xf32>
  %c = nn.broadcast %b {dims = array<i64: 2>} : (tensor<5xf32>) -> tensor<8x4x5xf32>
  %a = arith.addf %h, %c : tensor<8x4x5xf32>
  %g = nn.gelu %a {tanh = true} : (tensor<8x4x5xf32>) -> tensor<8x4x5xf32>
  %z = nn.contract %g, %w {equation = "btn,nc->btc"} : (tensor<8x4x5xf32>, tensor<5x6xf32>) -> tensor<8x4x6xf32>
  %r = arith.addf %z, %y : tensor<8x4x6xf32>
  %sum, %n, %lse = nn.linear_cross_entropy %r, %table, %labels {ignore_index = -100 : i64} : (tensor<8x4x6xf32>, tensor<12x6xf32>, tensor<8x4xi64>) -> (tensor<f32>, tensor<f32>, tensor<8x4xf32>)
  %loss = arith.divf %sum, %n : tensor<f32>
  return %loss : tensor<f32>
})";

/// A Llama layer: grouped heads with rotary embedding, a gated MLP; a head of its own.
constexpr const char *kLayer = R"(
func.func @forward(%ids: tensor<8x4xi64> {train.name = "ids", train.role = "input", train.limit = 12 : i64},
                   %labels: tensor<8x4xi64> {train.name = "labels", train.role = "input", train.limit = 12 : i64, train.ignored = -100 : i64},
                   %table: tensor<12x16xf32> {train.name = "table", train.role = "param"},
                   %n: tensor<16xf32> {train.name = "norm", train.role = "param"},
                   %q: tensor<16x16xf32> {train.name = "q", train.role = "param"},
                   %k: tensor<8x16xf32> {train.name = "k", train.role = "param"},
                   %v: tensor<8x16xf32> {train.name = "v", train.role = "param"},
                   %qb: tensor<16xf32> {train.name = "q.bias", train.role = "param"},
                   %o: tensor<16x16xf32> {train.name = "o", train.role = "param"},
                   %g: tensor<8x16xf32> {train.name = "gate", train.role = "param"},
                   %u: tensor<8x16xf32> {train.name = "up", train.role = "param"},
                   %d: tensor<16x8xf32> {train.name = "down", train.role = "param"},
                   %head: tensor<12x16xf32> {train.name = "head", train.role = "param"},
                   %cos: tensor<4x4xf32> {train.name = "cos", train.role = "buffer"},
                   %sin: tensor<4x4xf32> {train.name = "sin", train.role = "buffer"})
    -> (tensor<f32> {train.name = "loss"}) {
  %x = nn.gather %table, %ids : (tensor<12x16xf32>, tensor<8x4xi64>) -> tensor<8x4x16xf32>
  %y, %r = nn.rms_norm %x, %n {epsilon = 1.0e-5 : f64} : (tensor<8x4x16xf32>, tensor<16xf32>) -> (tensor<8x4x16xf32>, tensor<8x4xf32>)
  %q0 = nn.contract %y, %q {equation = "btc,nc->btn"} : (tensor<8x4x16xf32>, tensor<16x16xf32>) -> tensor<8x4x16xf32>
  %qc = nn.broadcast %qb {dims = array<i64: 2>} : (tensor<16xf32>) -> tensor<8x4x16xf32>
  %q1 = arith.addf %q0, %qc : tensor<8x4x16xf32>
  %q2 = tensor.expand_shape %q1 [[0], [1], [2, 3]] output_shape [8, 4, 4, 4] : tensor<8x4x16xf32> into tensor<8x4x4x4xf32>
  %q3 = nn.rope %q2, %cos, %sin : (tensor<8x4x4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<8x4x4x4xf32>
  %k0 = nn.contract %y, %k {equation = "btc,nc->btn"} : (tensor<8x4x16xf32>, tensor<8x16xf32>) -> tensor<8x4x8xf32>
  %k1 = tensor.expand_shape %k0 [[0], [1], [2, 3]] output_shape [8, 4, 2, 4] : tensor<8x4x8xf32> into tensor<8x4x2x4xf32>
  %v0 = nn.contract %y, %v {equation = "btc,nc->btn"} : (tensor<8x4x16xf32>, tensor<8x16xf32>) -> tensor<8x4x8xf32>
  %v1 = tensor.expand_shape %v0 [[0], [1], [2, 3]] output_shape [8, 4, 2, 4] : tensor<8x4x8xf32> into tensor<8x4x2x4xf32>
  %a, %lse = nn.attention %q3, %k1, %v1 {causal = true, scale = 0.5 : f64} : (tensor<8x4x4x4xf32>, tensor<8x4x2x4xf32>, tensor<8x4x2x4xf32>) -> (tensor<8x4x4x4xf32>, tensor<8x4x4xf32>)
  %a1 = tensor.collapse_shape %a [[0], [1], [2, 3]] : tensor<8x4x4x4xf32> into tensor<8x4x16xf32>
  %a2 = nn.contract %a1, %o {equation = "btc,nc->btn"} : (tensor<8x4x16xf32>, tensor<16x16xf32>) -> tensor<8x4x16xf32>
  %s = arith.addf %x, %a2 : tensor<8x4x16xf32>
  %z, %t = nn.rms_norm %s, %n {epsilon = 1.0e-5 : f64} : (tensor<8x4x16xf32>, tensor<16xf32>) -> (tensor<8x4x16xf32>, tensor<8x4xf32>)
  %g0 = nn.contract %z, %g {equation = "btc,nc->btn"} : (tensor<8x4x16xf32>, tensor<8x16xf32>) -> tensor<8x4x8xf32>
  %u0 = nn.contract %z, %u {equation = "btc,nc->btn"} : (tensor<8x4x16xf32>, tensor<8x16xf32>) -> tensor<8x4x8xf32>
  %m = nn.swiglu %g0, %u0 : (tensor<8x4x8xf32>, tensor<8x4x8xf32>) -> tensor<8x4x8xf32>
  %d0 = nn.contract %m, %d {equation = "btc,nc->btn"} : (tensor<8x4x8xf32>, tensor<16x8xf32>) -> tensor<8x4x16xf32>
  %w = arith.addf %s, %d0 : tensor<8x4x16xf32>
  %sum, %count, %l = nn.linear_cross_entropy %w, %head, %labels {ignore_index = -100 : i64} : (tensor<8x4x16xf32>, tensor<12x16xf32>, tensor<8x4xi64>) -> (tensor<f32>, tensor<f32>, tensor<8x4xf32>)
  %loss = arith.divf %sum, %count : tensor<f32>
  return %loss : tensor<f32>
})";

using Mesh = std::vector<std::pair<std::string, int64_t>>;

class RanksTest : public testing::Test {
protected:
  RanksTest() {
    DialectRegistry registry;
    driver::registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
    recipe.batch = {8, 8, false};
    recipe.optimizer.lr = 0.05;
    recipe.optimizer.weightDecay = 0.1;
    recipe.clipGradNorm = 0.5;
  }

  HostTensor random(ArrayRef<int64_t> shape, unsigned seed) {
    std::mt19937 engine(seed);
    std::normal_distribution<double> normal(0, 0.5);
    HostTensor tensor;
    tensor.shape.assign(shape.begin(), shape.end());
    tensor.reals.resize(tensor.size());
    for (double &value : tensor.reals)
      value = normal(engine);
    return tensor;
  }

  OwningOpRef<ModuleOp> compile(const char *model, const Mesh &mesh, int64_t zero) {
    OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(model, &context);
    recipe.mesh = mesh;
    recipe.zero = zero;
    (*module)->setAttr(train::kRecipe, train::toAttribute(&context, recipe));
    driver::PipelineOptions options;
    options.to = driver::Level::Local;
    EXPECT_TRUE(succeeded(driver::runPipeline(*module, options)));
    if (expandsLoss) {
      PassManager pm(&context);
      pm.addPass(lowering::createLoweringExpandLoss({.chunkBytes = 1024}));
      EXPECT_TRUE(succeeded(pm.run(*module)));
    }
    return module;
  }

  /// Outputs, parameters and moments after three steps.
  std::map<std::string, HostTensor> train(const char *model, const Mesh &mesh, int64_t zero) {
    OwningOpRef<ModuleOp> module = compile(model, mesh, zero);
    reference::Trainer trainer(*module, reference::Arithmetic::F64);
    std::vector<std::string> names;
    OwningOpRef<ModuleOp> whole = parseSourceString<ModuleOp>(model, &context);
    auto forward = whole->lookupSymbol<func::FuncOp>(train::kForward);
    for (unsigned i = 0; i < forward.getNumArguments(); ++i) {
      StringRef role = train::argumentString(forward, i, train::kRole);
      if (role == train::kInput)
        continue;
      std::string name = train::argumentString(forward, i, train::kName).str();
      trainer.set(name, random(cast<RankedTensorType>(forward.getArgumentTypes()[i]).getShape(), i));
      names.push_back(name);
      if (role == train::kParam)
        names.insert(names.end(), {"exp_avg." + name, "exp_avg_sq." + name});
    }
    int64_t micro = recipe.batch.micro, step = recipe.batch.step;
    std::mt19937 engine(6);
    for (int k = 0; k < 3; ++k) {
      std::vector<reference::Trainer::Inputs> batches(step / micro);
      for (reference::Trainer::Inputs &batch : batches)
        for (const char *name : {"ids", "labels"}) {
          HostTensor ids{{micro, 4}, false, {}, {}};
          for (int64_t i = 0; i < micro * 4; ++i)
            ids.integers.push_back(
                name == std::string("labels") && engine() % 3 == 0 ? -100 : static_cast<int64_t>(engine() % 12));
          batch[name] = ids;
        }
      EXPECT_TRUE(succeeded(trainer.step(batches)));
    }
    std::map<std::string, HostTensor> results(trainer.outputs.begin(), trainer.outputs.end());
    for (const std::string &name : names) {
      results[name] = *trainer.get(name);
      EXPECT_EQ(sumOf(*trainer.getStored(name)), sumOf(results[name])) << name << ": padding is not zero";
    }
    return results;
  }

  /// Sums or maxima over ranks in a function, and other messages.
  static std::pair<int64_t, int64_t> messagesOf(ModuleOp module, StringRef function) {
    int64_t count = 0, other = 0;
    for (Operation &op : module.lookupSymbol<func::FuncOp>(function).getBody().front())
      if (isa_and_nonnull<dist::DistDialect>(op.getDialect()) && !isa<dist::IndexOp, dist::PartOp>(op))
        ++(isa<dist::AllReduceOp>(op) ? count : other);
    return {count, other};
  }

  static double sumOf(const HostTensor &tensor) {
    std::vector<double> values(tensor.reals);
    std::sort(values.begin(), values.end(), [](double a, double b) { return std::abs(a) < std::abs(b); }); // whatever the order
    double sum = 0;
    for (double value : values)
      sum += std::abs(value);
    return sum;
  }

  /// The largest relative difference; where `value` is padded, it must be zero.
  static double difference(const HostTensor &value, const HostTensor &expected) {
    if (value.rank() != expected.rank())
      return INFINITY;
    double largest = 0;
    auto from = value.strides(), to = expected.strides();
    for (int64_t i = 0; i < value.size(); ++i) {
      int64_t at = 0;
      bool padded = false;
      for (int64_t d = 0; d < value.rank(); ++d) {
        int64_t index = i / from[d] % value.shape[d];
        padded |= index >= expected.shape[d];
        at += index * to[d];
      }
      double other = padded ? 0.0 : expected.real(at);
      largest = std::max(largest, std::abs(value.real(i) - other) / std::max(1.0, std::abs(other)));
    }
    return largest;
  }

  MLIRContext context;
  train::Recipe recipe;
  bool expandsLoss = false;
};

TEST_F(RanksTest, ComputeWhatOneComputes) {
  std::vector<Mesh> meshes = {{{"dp", 2}},           {{"dp", 4}}, {{"tp", 2}}, {{"tp", 4}}, {{"dp", 2}, {"tp", 2}},
                              {{"tp", 2}, {"dp", 4}}, {{"dp_replicate", 2}, {"dp", 2}}, {{"dp_replicate", 2}, {"dp", 2}, {"tp", 4}}};
  for (const char *model : {kModel, kLayer})
    for (int64_t micro : {8, 4}) {
      recipe.batch.micro = micro;
      auto one = train(model, {}, 0);
      for (const Mesh &mesh : meshes)
        for (int64_t zero : {0, 1, 2, 3}) {
          auto ranks = train(model, mesh, zero);
          std::string where;
          for (auto &[axis, size] : mesh)
            where += axis + std::to_string(size) + " ";
          for (auto &[name, expected] : one) {
            EXPECT_LT(difference(ranks.at(name), expected), 1e-12)
                << name << ", " << where << "zero " << zero << ", micro " << micro;
          }
        }
    }
}

/// A weight of [5, 6] that the recipe cuts along its second dimension, over two tensor ranks: of its rows of 15 elements four
/// data ranks hold 4 each.
TEST_F(RanksTest, FlatStateComputesWhatOneComputes) {
  recipe.sharding = {{"w", {{}, {"tp"}}, 1}};
  for (int64_t micro : {8, 4}) {
    recipe.batch.micro = micro;
    auto one = train(kModel, {}, 0);
    for (const Mesh &mesh : {Mesh{{"dp", 2}, {"tp", 2}}, Mesh{{"dp", 4}, {"tp", 2}}, Mesh{{"tp", 2}, {"dp", 4}}})
      for (int64_t zero : {1, 2, 3}) {
        auto ranks = train(kModel, mesh, zero);
        for (auto &[name, expected] : one)
          EXPECT_LT(difference(ranks.at(name), expected), 1e-12) << name << ", zero " << zero << ", micro " << micro;
      }
  }
  OwningOpRef<ModuleOp> module = compile(kModel, {{"dp", 4}, {"tp", 2}}, 1);
  auto update = module->lookupSymbol<func::FuncOp>(train::kUpdate);
  int64_t moment = train::findArgument(update, "exp_avg.w", train::kMoment);
  EXPECT_EQ(cast<RankedTensorType>(update.getArgumentTypes()[moment]).getShape(), (ArrayRef<int64_t>{1, 4}));
}

/// Two key and value heads over four tensor ranks: their weights are cut over two of them, queries over all, and the layer
/// still has two sums forward and two backward.
TEST_F(RanksTest, FewKeyHeadsAreCutOverAPartOfTheAxis) {
  OwningOpRef<ModuleOp> module = compile(kLayer, {{"tp", 4}}, 0);
  auto evaluate = module->lookupSymbol<func::FuncOp>(train::kEvaluate);
  auto typeOf = [&](StringRef name) {
    std::string text;
    llvm::raw_string_ostream(text) << evaluate.getArgumentTypes()[train::findArgument(evaluate, name, train::kParam)];
    return text;
  };
  EXPECT_EQ(typeOf("q"), "tensor<4x16xf32>");
  EXPECT_EQ(typeOf("k"), "tensor<4x16xf32>");
  EXPECT_EQ(typeOf("o"), "tensor<16x4xf32>");
  EXPECT_EQ(messagesOf(*module, train::kAccumulate), std::pair(int64_t(4 + 1 + 2 + 1), int64_t(0)));
}

/// Korthikanti et al. 2022: what tensor parallelism sums is scattered along the sequence, and gathered in front of the next
/// product: two of each per layer forward and two backward; one of each for the embedding and for the head, and for their
/// gradients. Sums remain for the loss alone.
TEST_F(RanksTest, SequenceParallelLayerScattersAndGathers) {
  recipe.sequenceParallel = true;
  for (int64_t parts : {2, 4}) {
    OwningOpRef<ModuleOp> module = compile(kLayer, {{"tp", parts}}, 0);
    int64_t scattered = 0, gathered = 0, summed = 0;
    for (Operation &op : module->lookupSymbol<func::FuncOp>(train::kAccumulate).getBody().front()) {
      scattered += isa<dist::ReduceScatterOp>(op) ? op.getNumOperands() : 0;
      gathered += isa<dist::AllGatherOp>(op) ? op.getNumOperands() : 0;
      summed += isa<dist::AllReduceOp>(op) ? op.getNumOperands() : 0;
    }
    EXPECT_EQ(scattered, (2 + 1) + (2 + 1));
    EXPECT_EQ(gathered, (2 + 1) + (2 + 1));
    EXPECT_EQ(summed, 2);
  }
  recipe.sequenceParallel = false;
  auto one = train(kLayer, {}, 0);
  recipe.sequenceParallel = true;
  for (const Mesh &mesh : {Mesh{{"tp", 2}}, Mesh{{"tp", 4}}, Mesh{{"dp", 2}, {"tp", 2}}})
    for (int64_t zero : {0, 2, 3}) {
      auto ranks = train(kLayer, mesh, zero);
      for (auto &[name, expected] : one)
        EXPECT_LT(difference(ranks.at(name), expected), 1e-12) << name << ", zero " << zero;
    }
}

/// What is dropped does not depend on who computes it: with dropout of embeddings, of what a layer adds, which
/// `sequence_parallel` cuts along the sequence, and of what is cut over heads and within an MLP.
TEST_F(RanksTest, DropoutComputesWhatOneComputes) {
  std::string model = kLayer;
  int64_t id = 0;
  for (auto [value, type] : {std::pair("%x", "8x4x16"), {"%a", "8x4x4x4"}, {"%a2", "8x4x16"}, {"%m", "8x4x8"}, {"%d0", "8x4x16"}}) {
    size_t at = model.find(std::string("  ") + value + (value == std::string("%a") ? "," : " ")) + 2, end = model.find('\n', at);
    std::string kept = std::string(value) + "_kept", full = std::string("tensor<") + type + "xf32>";
    std::string line = "\n  " + std::string(value) + " = nn.dropout " + kept + " {ratio = 0.25 : f64, seed = 1 : i64, id = " +
                       std::to_string(id++) + " : i64} : (" + full + ") -> " + full;
    model.insert(end, line);
    model.insert(at + std::strlen(value), "_kept");
  }
  for (int64_t micro : {8, 4}) {
    recipe.batch.micro = micro;
    recipe.sequenceParallel = false;
    auto one = train(model.c_str(), {}, 0), without = train(kLayer, {}, 0);
    EXPECT_GT(difference(one.at("q"), without.at("q")), 1e-6);
    for (bool sequence : {false, true})
      for (const Mesh &mesh : {Mesh{{"tp", 2}}, Mesh{{"tp", 4}}, Mesh{{"dp", 2}, {"tp", 2}}, Mesh{{"dp_replicate", 2}, {"dp", 2}, {"tp", 2}}})
        for (int64_t zero : {0, 3}) {
          recipe.sequenceParallel = sequence;
          auto ranks = train(model.c_str(), mesh, zero);
          for (auto &[name, expected] : one)
            EXPECT_LT(difference(ranks.at(name), expected), 1e-12) << name << ", zero " << zero << ", micro " << micro << (sequence ? ", sequence" : "");
        }
  }
  // Nothing more is sent for it.
  recipe.batch.micro = 8;
  recipe.sequenceParallel = true;
  OwningOpRef<ModuleOp> dropping = compile(model.c_str(), {{"tp", 2}}, 0), layer = compile(kLayer, {{"tp", 2}}, 0);
  EXPECT_EQ(messagesOf(*dropping, train::kAccumulate), messagesOf(*layer, train::kAccumulate));
}

/// A vocabulary of 13 is padded for 2 and 4 tensor ranks: tied and untied, with a bias.
TEST_F(RanksTest, PaddedVocabularyComputesWhatOneComputes) {
  auto grown = [](std::string text) {
    for (size_t at; (at = text.find("tensor<12x")) != std::string::npos;)
      text.replace(at, 10, "tensor<13x");
    return text;
  };
  std::string biased = grown(kLayer);
  auto insert = [&](StringRef before, StringRef text) { biased.insert(biased.find(before), text.str()); };
  insert("%cos: tensor", "%hb: tensor<13xf32> {train.name = \"head.bias\", train.role = \"param\"}, ");
  insert(" {ignore_index", ", %hb");
  size_t types = biased.rfind("tensor<8x4xi64>)");
  biased.replace(types, 16, "tensor<8x4xi64>, tensor<13xf32>)");
  for (const std::string &model : {grown(kModel), grown(kLayer), biased}) {
    auto one = train(model.c_str(), {}, 0);
    for (const Mesh &mesh : {Mesh{{"tp", 2}}, Mesh{{"tp", 4}}, Mesh{{"dp", 2}, {"tp", 2}}, Mesh{{"dp", 4}, {"tp", 2}}})
      for (int64_t zero : {0, 1, 3}) {
        auto ranks = train(model.c_str(), mesh, zero);
        for (auto &[name, expected] : one)
          EXPECT_LT(difference(ranks.at(name), expected), 1e-12) << name << ", zero " << zero;
      }
  }
}

/// Ids that the graph makes may count from the end, of the whole table: also where ranks have parts of it, or it would be padded.
TEST_F(RanksTest, IdsFromTheEndComputeWhatOneComputes) {
  for (const char *original : {kModel, kLayer})
    for (int64_t rows : {12, 13}) {
      std::string model = original, back = std::to_string(-rows);
      for (size_t at = 0; (at = model.find("tensor<12x", at)) != std::string::npos; ++at)
        model.replace(at, 10, "tensor<" + std::to_string(rows) + "x");
      model.replace(model.find("%table, %ids :"), 14, "%table, %back :");
      model.insert(model.find("  %x = nn.gather"), "  %row = arith.constant dense<[0, " + back + ", 0, " + back + "]> : tensor<4xi64>\n"
                                                   "  %rows = nn.broadcast %row {dims = array<i64: 1>} : (tensor<4xi64>) -> tensor<8x4xi64>\n"
                                                   "  %back = arith.addi %ids, %rows : tensor<8x4xi64>\n");
      auto one = train(model.c_str(), {}, 0);
      for (const Mesh &mesh : {Mesh{{"tp", 2}}, Mesh{{"tp", 4}}, Mesh{{"dp", 2}, {"tp", 2}}})
        for (int64_t zero : {0, 3}) {
          auto ranks = train(model.c_str(), mesh, zero);
          for (auto &[name, expected] : one)
            EXPECT_LT(difference(ranks.at(name), expected), 1e-12) << name << ", zero " << zero << ", rows " << rows;
        }
    }
}

/// Whatever the recipe says of parameters, and however that goes with what is found for the others.
TEST_F(RanksTest, NamedShardingsComputeWhatOneComputes) {
  using Dims = std::vector<std::vector<std::string>>;
  auto one = train(kLayer, {}, 0);
  for (const char *glob : {"q", "v", "o", "up", "down", "head", "table"})
    for (const Dims &dims : {Dims{{}, {}}, Dims{{"tp"}, {}}, Dims{{}, {"tp"}}, Dims{{"dp"}, {"tp"}}, Dims{{}, {"tp", "dp"}}})
      for (bool sequence : {false, true}) {
        recipe.sharding = {{glob, dims, 1}};
        recipe.sequenceParallel = sequence;
        auto ranks = train(kLayer, {{"dp", 2}, {"tp", 2}}, 2);
        for (auto &[name, expected] : one)
          EXPECT_LT(difference(ranks.at(name), expected), 1e-12) << name << ", " << glob;
      }
}

/// Loss and gradients together, in front of kernels, in two chunks of rows: for each a product for the logits and two for
/// gradients, on each rank.
TEST_F(RanksTest, ExpandedLossOfPartsMakesLogitsOnce) {
  std::string text = kLayer;
  for (auto [from, to] : {std::pair("tensor<8x4x", "tensor<32x4x"), std::pair("shape [8, 4", "shape [32, 4")})
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += StringRef(to).size())
      text.replace(at, StringRef(from).size(), to);
  const char *layer = text.c_str();
  recipe.batch = {32, 32, false};
  auto one = train(layer, {}, 0);
  expandsLoss = true;
  for (train::LossAverage average : {train::LossAverage::Tokens, train::LossAverage::MicroBatch}) {
    recipe.lossAverage = average;
    recipe.mesh = {};
    for (const Mesh &mesh : {Mesh{{"tp", 2}}, Mesh{{"dp", 2}, {"tp", 2}}}) {
      auto ranks = train(layer, mesh, 0);
      for (auto &[name, expected] : one)
        EXPECT_LT(difference(ranks.at(name), expected), 1e-12) << name;
    }
    OwningOpRef<ModuleOp> module = compile(layer, {{"tp", 2}}, 0);
    auto withLogits = [](nn::ContractOp op) { return op.getEquation() == "tc,vc->tv"; };
    EXPECT_EQ(llvm::count_if(module->lookupSymbol<func::FuncOp>(train::kAccumulate).getOps<nn::ContractOp>(), withLogits), 2);
  }
}

/// Shoeybi et al. 2019: per layer two sums over tensor ranks forward and two backward; one for the embedding, one for the
/// gradient of the head's input, a maximum and a sum for the loss, and no other message in a micro-batch. @evaluate makes its
/// two results whole in one.
TEST_F(RanksTest, TensorParallelLayerHasTwoSumsForwardAndTwoBackward) {
  OwningOpRef<ModuleOp> module = compile(kLayer, {{"tp", 2}}, 0);
  EXPECT_EQ(messagesOf(*module, train::kEvaluate), std::pair(int64_t(2 + 1 + 2 + 1), int64_t(0)));
  EXPECT_EQ(messagesOf(*module, train::kAccumulate), std::pair(int64_t(4 + 1 + 2 + 1), int64_t(0)));
}

TEST_F(RanksTest, PartsAssembleToTheWhole) {
  auto axis = [&](const char *name) { return StringAttr::get(&context, name); };
  dist::MeshAttr mesh = dist::MeshAttr::get(&context, {axis("a"), axis("b"), axis("c")}, {2, 3, 2});
  HostTensor whole = random({12, 4}, 7);
  std::vector<dist::Sharding> shardings = {dist::Sharding::whole(2),
                                           {{{axis("a")}, {}}, {}, {}},
                                           {{{axis("b"), axis("a")}, {axis("c")}}, {}, {}},
                                           {{{}, {axis("c")}}, {axis("a")}, {}}};
  for (const dist::Sharding &sharding : shardings) {
    std::vector<HostTensor> parts;
    for (int64_t rank = 0; rank < mesh.ranks(); ++rank)
      parts.push_back(reference::partOf(whole, sharding, mesh, rank));
    SmallVector<const HostTensor *> pointers;
    for (const HostTensor &part : parts)
      pointers.push_back(&part);
    EXPECT_EQ(reference::assemble(pointers, sharding, mesh).reals, whole.reals);
  }
}

TEST_F(RanksTest, GroupsRunAlongTheirAxes) {
  auto axis = [&](const char *name) { return StringAttr::get(&context, name); };
  dist::MeshAttr mesh = dist::MeshAttr::get(&context, {axis("dp"), axis("tp")}, {2, 3});
  EXPECT_EQ(mesh.group(4, {axis("tp")}), (SmallVector<int64_t>{3, 4, 5}));
  EXPECT_EQ(mesh.group(4, {axis("dp")}), (SmallVector<int64_t>{1, 4}));
  EXPECT_EQ(mesh.group(4, {axis("tp"), axis("dp")}), (SmallVector<int64_t>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(mesh.index(4, {axis("tp"), axis("dp")}), 3);
}

} // namespace
