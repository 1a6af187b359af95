//===- BatchNormTest.cpp - steps that normalize by the batch's statistics --------------===//
//
// The numbers are PyTorch's, of torch.nn.functional.batch_norm(x, mean, variance, w, b, training=True, momentum=0.1) in float64.
//
//===----------------------------------------------------------------------===//
#include "compiler/driver/Pipeline.h"
#include "compiler/reference/Trainer.h"
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include <cmath>
#include <gtest/gtest.h>

using namespace mlir;
using namespace llmc;

namespace {

constexpr const char *kModel = R"(
func.func @forward(%x: tensor<4x3x2xf32> {train.name = "x", train.role = "input"}, %t: tensor<4x3x2xf32> {train.name = "t", train.role = "input"},
                   %w: tensor<3xf32> {train.name = "w", train.role = "param"}, %b: tensor<3xf32> {train.name = "b", train.role = "param"},
                   %m: tensor<3xf32> {train.name = "mean", train.role = "buffer"}, %v: tensor<3xf32> {train.name = "variance", train.role = "buffer"})
    -> (tensor<f32> {train.name = "loss"}, tensor<3xf32> {train.name = "mean", train.role = "buffer"}, tensor<3xf32> {train.name = "variance", train.role = "buffer"}) {
  %y, %nm, %nv = nn.batch_norm %x, %w, %b, %m, %v {epsilon = 1.0e-5 : f64, momentum = 0.9 : f64}
    : (tensor<4x3x2xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) -> (tensor<4x3x2xf32>, tensor<3xf32>, tensor<3xf32>)
  %d = arith.subf %y, %t : tensor<4x3x2xf32>
  %s = arith.mulf %d, %d : tensor<4x3x2xf32>
  %loss = nn.reduce %s {kind = 1 : i32, dims = array<i64: 0, 1, 2>} : (tensor<4x3x2xf32>) -> tensor<f32>
  return %loss, %nm, %nv : tensor<f32>, tensor<3xf32>, tensor<3xf32>
})";

constexpr double kTolerance = 1e-7; // constants of the graph are f32

class BatchNormTest : public testing::Test {
protected:
  BatchNormTest() {
    DialectRegistry registry;
    driver::registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }

  /// One step without a change of the parameters, in micro-batches.
  void step(int64_t micro) {
    module = parseSourceString<ModuleOp>(kModel, &context);
    train::Recipe recipe;
    recipe.batch = {4, micro, false};
    recipe.optimizer.lr = 0;
    (*module)->setAttr(train::kRecipe, train::toAttribute(&context, recipe));
    driver::PipelineOptions options;
    options.to = driver::Level::Step;
    ASSERT_TRUE(succeeded(driver::runPipeline(*module, options)));
    trainer = std::make_unique<reference::Trainer>(*module, reference::Arithmetic::F64);
    set("w", {1.5, -.5, .8});
    set("b", {.1, .2, -.3});
    set("mean", {.5, 0, -.25});
    set("variance", {1, 2, .5});
    std::vector<reference::Trainer::Inputs> batches;
    for (int64_t at = 0; at < 4; at += micro)
      batches.push_back(inputs(at, micro));
    ASSERT_TRUE(succeeded(trainer->step(batches)));
  }

  void set(StringRef name, std::vector<double> values) { trainer->set(name, {{3}, true, std::move(values), {}}); }

  static reference::Trainer::Inputs inputs(int64_t first, int64_t samples) {
    HostTensor x{{samples, 3, 2}, true, {}, {}}, t = x;
    for (int64_t i = first * 6; i < (first + samples) * 6; ++i) {
      x.reals.push_back(std::sin(0.37 * static_cast<double>(i)));
      t.reals.push_back(std::cos(0.61 * static_cast<double>(i)));
    }
    return {{"x", x}, {"t", t}};
  }

  void expect(StringRef what, const HostTensor *found, std::vector<double> expected) {
    ASSERT_TRUE(found) << what.str();
    for (auto [a, b] : llvm::zip_equal(found->reals, expected))
      EXPECT_NEAR(a, b, kTolerance) << what.str();
  }

  double evaluate(int64_t samples) {
    auto outputs = trainer->evaluate("evaluate", inputs(0, samples));
    EXPECT_TRUE(succeeded(outputs));
    return outputs->at("loss_sum").reals[0] / outputs->at("weight").reals[0];
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  std::unique_ptr<reference::Trainer> trainer;
};

TEST_F(BatchNormTest, UsesTheBatchAndUpdatesRunningStatistics) {
  step(4);
  EXPECT_NEAR(trainer->outputs.at("loss").reals[0], 2.021606368342086, kTolerance);
  expect("gradient of w", trainer->gradient("w"), {1.1016020772546986, -0.6448492419996119, 0.7408866058098035});
  expect("gradient of b", trainer->gradient("b"), {-0.058368153653126864, 0.028008588757273717, -0.14735398059098048});
  expect("mean", trainer->get("mean"), {0.4596389956532881, 0.02370730469384067, -0.19962479739604064});
  expect("variance", trainer->get("variance"), {0.9497221400353629, 1.856004962114204, 0.5071013428804418});
  EXPECT_NEAR(evaluate(4), 1.5726183963964973, kTolerance); // by the running statistics, which it leaves alone
  expect("mean", trainer->get("mean"), {0.4596389956532881, 0.02370730469384067, -0.19962479739604064});
}

TEST_F(BatchNormTest, EachMicroBatchHasStatisticsOfItsOwn) {
  step(2);
  EXPECT_NEAR(trainer->outputs.at("loss").reals[0], 2.0576189879039215, kTolerance);
  expect("gradient of w", trainer->gradient("w"), {1.2226172387577463, -0.526949050493321, 0.6326409942822401});
  expect("mean", trainer->get("mean"), {0.4200724281918553, 0.04350638888353254, -0.15331622760315283});
  expect("variance", trainer->get("variance"), {0.8968878589033877, 1.7419956862281278, 0.5265913109827636});
}

} // namespace
