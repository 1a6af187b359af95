//===- TrainTest.cpp - names, roles and shapes of arguments and results ------===//
#include "compiler/driver/Pipeline.h"
#include "dialects/train/Train.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include <gtest/gtest.h>

using namespace mlir;
using namespace llmc;

namespace {

// One name may stand for several things, which roles tell apart: a weight, its gradient, an output that a user called so.
TEST(TrainTest, NamesAndRoles) {
  DialectRegistry registry;
  driver::registerAllDialects(registry);
  MLIRContext context(registry);
  context.loadAllAvailableDialects();
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(R"(
    func.func @f(%g: tensor<2x3xf32> {train.name = "w", train.role = "gradient"}, %w: tensor<2x3xf32> {train.name = "w", train.role = "param", train.aliases = ["tied", "head.w"]},
                 %x: tensor<f32>, %f: tensor<6xf32> {train.name = "flat", train.role = "param", train.shape = array<i64: 2, 3>})
        -> (tensor<2x3xf32> {train.name = "w", train.role = "output"}, tensor<2x3xf32> {train.name = "w", train.role = "gradient"}, tensor<f32>, tensor<f32> {train.name = "loss"}) {
      return %w, %g, %x, %x : tensor<2x3xf32>, tensor<2x3xf32>, tensor<f32>, tensor<f32>
    })",
                                                             &context);
  ASSERT_TRUE(module);
  func::FuncOp f = *module->getOps<func::FuncOp>().begin();
  EXPECT_EQ(train::findArgument(f, "w"), 0);
  EXPECT_EQ(train::findArgument(f, "w", train::kGradient), 0);
  EXPECT_EQ(train::findArgument(f, "w", train::kParam), 1);
  EXPECT_EQ(train::findArgument(f, "w", train::kMoment), -1);
  EXPECT_EQ(train::findArgument(f, "v"), -1);
  EXPECT_EQ(train::findResult(f, "w"), 0);
  EXPECT_EQ(train::findResult(f, "w", train::kOutput), 0);
  EXPECT_EQ(train::findResult(f, "w", train::kGradient), 1);
  EXPECT_EQ(train::findResult(f, "w", train::kParam), -1);
  EXPECT_EQ(train::findResult(f, "loss"), 3);
  EXPECT_EQ(train::findResult(f, "loss", train::kOutput), -1);
  EXPECT_EQ(train::argumentString(f, 2, train::kName), "");
  EXPECT_EQ(train::resultString(f, 2, train::kName), "");
  EXPECT_EQ(train::namesOf(f, 1), (std::vector<std::string>{"w", "tied", "head.w"}));
  EXPECT_EQ(train::namesOf(f, 3), std::vector<std::string>{"flat"});
  EXPECT_EQ(train::logicalRank(f, 1), 2);
  EXPECT_EQ(train::logicalRank(f, 3), 2); // as in the model
  train::ArgumentTable table(f);
  EXPECT_EQ(table.find("w", train::kParam), 1);
  EXPECT_EQ(table.find("w", train::kGradient), 0);
  EXPECT_EQ(table.find("w", train::kMoment), -1);
  EXPECT_EQ(table.find("v", train::kParam), -1);
}

} // namespace
