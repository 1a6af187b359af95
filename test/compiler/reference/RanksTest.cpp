//===- RanksTest.cpp - N simulated ranks compute what one computes ---------------------===//
#include "compiler/driver/Pipeline.h"
#include "compiler/reference/Ranks.h"
#include "compiler/reference/Trainer.h"
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include <gtest/gtest.h>
#include <random>

using namespace mlir;
using namespace llmc;

namespace {

/// An embedding that is also the head, a norm, a bias, a mean, and a parameter no dimension of which divides.
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
  %y, %mean, %rstd = nn.layer_norm %x, %scale, %shift {epsilon = 1.0e-5 : f64} : (tensor<8x4x6xf32>, tensor<6xf32>, tensor<6xf32>) -> (tensor<8x4x6xf32>, tensor<8x4xf32>, tensor<8x4xf32>)
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

  /// Outputs, parameters and moments after three steps.
  std::map<std::string, HostTensor> train(int64_t dp, int64_t zero) {
    OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(kModel, &context);
    recipe.mesh = {{"dp", dp}};
    recipe.zero = zero;
    (*module)->setAttr(train::kRecipe, train::toAttribute(&context, recipe));
    driver::PipelineOptions options;
    options.to = driver::Level::Local;
    EXPECT_TRUE(succeeded(driver::runPipeline(*module, options)));
    reference::Trainer trainer(*module, reference::Arithmetic::F64);
    trainer.set("table", random({12, 6}, 1));
    trainer.set("norm.weight", random({6}, 2));
    trainer.set("norm.bias", random({6}, 3));
    trainer.set("w", random({5, 6}, 4));
    trainer.set("b", random({5}, 5));
    int64_t micro = recipe.batch.micro;
    std::mt19937 engine(6);
    for (int step = 0; step < 3; ++step) {
      std::vector<reference::Trainer::Inputs> batches(8 / micro);
      for (reference::Trainer::Inputs &batch : batches)
        for (const char *name : {"ids", "labels"}) {
          HostTensor ids{{micro, 4}, false, {}, {}};
          for (int64_t i = 0; i < micro * 4; ++i)
            ids.integers.push_back(name == std::string("labels") && engine() % 3 == 0 ? -100 : static_cast<int64_t>(engine() % 12));
          batch[name] = ids;
        }
      EXPECT_TRUE(succeeded(trainer.step(batches)));
    }
    std::map<std::string, HostTensor> results(trainer.outputs.begin(), trainer.outputs.end());
    for (const char *name : {"table", "norm.weight", "norm.bias", "w", "b", "exp_avg.table", "exp_avg_sq.w", "exp_avg.b"})
      results[name] = *trainer.get(name);
    return results;
  }

  MLIRContext context;
  train::Recipe recipe;
};

TEST_F(RanksTest, ComputeWhatOneComputes) {
  for (int64_t micro : {8, 4}) {
    recipe.batch.micro = micro;
    auto one = train(1, 0);
    for (int64_t dp : {2, 4})
      for (int64_t zero : {0, 1, 2, 3}) {
        auto ranks = train(dp, zero);
        for (auto &[name, expected] : one) {
          ASSERT_EQ(ranks.at(name).shape, expected.shape);
          for (int64_t i = 0; i < expected.size(); ++i)
            EXPECT_NEAR(ranks.at(name).real(i), expected.real(i), 1e-12 * std::max(1.0, std::abs(expected.real(i))))
                << name << "[" << i << "], dp " << dp << ", zero " << zero << ", micro " << micro;
        }
      }
  }
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
