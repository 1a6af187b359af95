//===- TrainerTest.cpp - whole steps in the interpreter --------------------------------===//
#include "compiler/reference/Trainer.h"
#include "compiler/driver/Pipeline.h"
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include <climits>
#include <gtest/gtest.h>

using namespace mlir;
using namespace llmc;

namespace {

/// A linear classifier with two ignored labels among its four samples.
constexpr const char *kModel = R"(
func.func @forward(%x: tensor<4x3xf32> {train.name = "x", train.role = "input"},
                   %labels: tensor<4xi64> {train.name = "labels", train.role = "input"},
                   %w: tensor<5x3xf32> {train.name = "head.weight", train.role = "param"})
    -> (tensor<f32> {train.name = "loss"}) {
  %logits = nn.contract %x, %w {equation = "bc,vc->bv"} : (tensor<4x3xf32>, tensor<5x3xf32>) -> tensor<4x5xf32>
  %sum, %n, %lse = nn.cross_entropy %logits, %labels {ignore_index = -100 : i64} : (tensor<4x5xf32>, tensor<4xi64>) -> (tensor<f32>, tensor<f32>, tensor<4xf32>)
  %loss = arith.divf %sum, %n : tensor<f32>
  return %loss : tensor<f32>
})";

class TrainerTest : public testing::Test {
protected:
  TrainerTest() {
    DialectRegistry registry;
    driver::registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
    recipe.batch = {4, 4, false};
    recipe.optimizer.lr = 0.1;
  }

  /// Losses of `steps` steps, and the weight afterwards.
  std::vector<double> train(int steps, HostTensor *weight = nullptr) {
    module = parseSourceString<ModuleOp>(kModel, &context);
    (*module)->setAttr(train::kRecipe, train::toAttribute(&context, recipe));
    driver::PipelineOptions options;
    options.to = driver::Level::Step;
    EXPECT_TRUE(succeeded(driver::runPipeline(*module, options)));
    reference::Trainer trainer(*module, reference::Arithmetic::F64);
    trainer.set("head.weight", {{5, 3}, true, {.1, .2, -.3, .4, 0, .1, -.2, .3, .5, .1, -.1, .2, 0, .2, -.4}, {}});
    int64_t micro = recipe.batch.micro, parts = recipe.batch.step / micro;
    std::vector<double> x = {1, .5, -1, .2, .8, .3, -.6, .1, .9, .4, -.7, .2};
    std::vector<reference::Trainer::Inputs> batches;
    for (int64_t p = 0; p < parts; ++p)
      batches.push_back(
          {{"x", {{micro, 3}, true, {x.begin() + p * micro * 3, x.begin() + (p + 1) * micro * 3}, {}}},
           {"labels", {{micro}, false, {}, {labels.begin() + p * micro, labels.begin() + (p + 1) * micro}}}});
    std::vector<double> losses;
    for (int i = 0; i < steps; ++i) {
      if (i == ignoredFrom)
        for (reference::Trainer::Inputs &inputs : batches)
          inputs.at("labels").integers.assign(micro, -100);
      EXPECT_TRUE(succeeded(trainer.step(batches)));
      losses.push_back(trainer.outputs.at("loss").reals[0]);
    }
    if (weight)
      *weight = *trainer.get("head.weight");
    return losses;
  }

  MLIRContext context;
  std::vector<int64_t> labels = {2, -100, 4, 0};
  int ignoredFrom = INT_MAX; // the step from which on no label counts
  train::Recipe recipe;
  OwningOpRef<ModuleOp> module;
};

TEST_F(TrainerTest, LossFalls) {
  std::vector<double> losses = train(20);
  EXPECT_LT(losses.back(), 0.5 * losses.front());
}

// A step in which no label counts leaves the weight as it is, whatever the moments, the decay and the momentum would do.
TEST_F(TrainerTest, AStepWithoutLabelsChangesNothing) {
  for (auto kind : {train::Optimizer::AdamW, train::Optimizer::Sgd}) {
    recipe.optimizer.kind = kind;
    recipe.optimizer.weightDecay = 0.1;
    recipe.optimizer.noDecay = std::vector<std::string>();
    recipe.optimizer.momentum = 0.9;
    HostTensor before, after;
    train(3, &before);
    ignoredFrom = 3;
    EXPECT_EQ(train(4, &after).back(), 0.0);
    ignoredFrom = INT_MAX;
    EXPECT_EQ(before.reals, after.reals);
  }
}

// Averaged over tokens, a step is the same whether it runs whole or in parts, although the parts have 1 and 2 labels.
TEST_F(TrainerTest, TokenAverageDoesNotDependOnTheSplit) {
  HostTensor whole, split;
  recipe.clipGradNorm = 0.5;
  train(5, &whole);
  recipe.batch.micro = 2;
  train(5, &split);
  for (int64_t i = 0; i < whole.size(); ++i)
    EXPECT_NEAR(whole.reals[i], split.reals[i], 1e-12);
}

// The mean of the parts' means is another number here, on purpose.
TEST_F(TrainerTest, MicroBatchAverageIsTheMeanOfMeans) {
  recipe.lossAverage = train::LossAverage::MicroBatch;
  double whole = train(1)[0];
  recipe.batch.micro = 2;
  EXPECT_GT(std::abs(train(1)[0] - whole), 1e-3);
}

TEST_F(TrainerTest, SgdStepIsLearningRateTimesGradient) {
  recipe.optimizer.kind = train::Optimizer::Sgd;
  HostTensor before, after;
  recipe.optimizer.lr = 0.0;
  train(1, &before);
  recipe.optimizer.lr = 0.5;
  double first = train(2, &after)[0], second = train(2)[1];
  EXPECT_LT(second, first);
  recipe.batch.micro = 1;
  HostTensor single;
  train(2, &single);
  for (int64_t i = 0; i < after.size(); ++i) {
    EXPECT_NEAR(after.reals[i], single.reals[i], 1e-12);
  }
  EXPECT_NE(before.reals, after.reals);
}

// Warm-up is linear in the step, then cosine down to min_lr at total_steps.
TEST_F(TrainerTest, ScheduleFollowsItsFormula) {
  recipe.schedule = {train::Schedule::Cosine, 2, 6, 0.01};
  module = parseSourceString<ModuleOp>(kModel, &context);
  (*module)->setAttr(train::kRecipe, train::toAttribute(&context, recipe));
  driver::PipelineOptions options;
  options.to = driver::Level::Step;
  ASSERT_TRUE(succeeded(driver::runPipeline(*module, options)));
  reference::Trainer trainer(*module, reference::Arithmetic::F64);
  reference::Trainer::Inputs batch = {{"x", {{4, 3}, true, std::vector<double>(12, 0.5), {}}},
                                      {"labels", {{4}, false, {}, {0, 1, 2, 3}}}};
  for (int k = 0; k < 8; ++k) {
    ASSERT_TRUE(succeeded(trainer.step({batch})));
    double progress = std::min(1.0, std::max(0.0, (k - 2) / 4.0));
    double expected = k < 2 ? 0.1 * (k + 1) / 2 : 0.01 + 0.09 / 2 * (1 + std::cos(M_PI * progress));
    EXPECT_NEAR(trainer.outputs.at("lr").reals[0], expected, 1e-12) << "step " << k;
  }
}

} // namespace
