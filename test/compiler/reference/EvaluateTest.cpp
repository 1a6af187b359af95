//===- EvaluateTest.cpp - single ops in the interpreter, by hand ------===//
//
// The interpreter judges everything else, so what it says of an op is written down here: comparisons with NaN, signs of narrow
// integers, statistics, forms of constants.
//
//===----------------------------------------------------------------------===//
#include "compiler/driver/Pipeline.h"
#include "compiler/reference/Interpreter.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include <cmath>
#include <gtest/gtest.h>

using namespace mlir;
using namespace llmc;

namespace {

using Reals = std::vector<double>;
using Integers = std::vector<int64_t>;

class EvaluateTest : public testing::Test {
protected:
  EvaluateTest() {
    DialectRegistry registry;
    driver::registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }
  /// Results of a function without arguments that holds `body`, which ends in `return`; `results` are their types. `more` stands behind it.
  std::vector<HostTensor> run(const std::string &body, const std::string &results, const std::string &more = "") {
    module = parseSourceString<ModuleOp>("func.func @f() -> (" + results + ") {\n" + body + "\n}\n" + more, &context);
    EXPECT_TRUE(module) << body;
    if (!module)
      return {};
    auto found = reference::Interpreter(reference::Arithmetic::AsTyped).run(*module->getOps<func::FuncOp>().begin(), {});
    EXPECT_TRUE(succeeded(found)) << body;
    return succeeded(found) ? *found : std::vector<HostTensor>();
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
};

// For a less, equal, greater, and one that is no number.
TEST_F(EvaluateTest, EveryComparisonOfReals) {
  for (auto [predicate, expected] : {std::pair("false", Integers{0, 0, 0, 0}), {"oeq", {0, 1, 0, 0}}, {"ogt", {0, 0, 1, 0}}, {"oge", {0, 1, 1, 0}}, {"olt", {1, 0, 0, 0}},
                                     {"ole", {1, 1, 0, 0}}, {"one", {1, 0, 1, 0}}, {"ord", {1, 1, 1, 0}}, {"ueq", {0, 1, 0, 1}}, {"ugt", {0, 0, 1, 1}}, {"uge", {0, 1, 1, 1}},
                                     {"ult", {1, 0, 0, 1}}, {"ule", {1, 1, 0, 1}}, {"une", {1, 0, 1, 1}}, {"uno", {0, 0, 0, 1}}, {"true", {1, 1, 1, 1}}}) {
    auto found = run("%a = arith.constant dense<[1.0, 2.0, 3.0, 0x7FC00000]> : tensor<4xf32>\n%b = arith.constant dense<2.0> : tensor<4xf32>\n%c = arith.cmpf " +
                         std::string(predicate) + ", %a, %b : tensor<4xf32>\nreturn %c : tensor<4xi1>",
                     "tensor<4xi1>");
    EXPECT_EQ(found.at(0).integers, expected) << predicate;
  }
}

TEST_F(EvaluateTest, EveryComparisonOfIntegers) {
  for (const char *type : {"i8", "i32", "i64"})
    for (auto [predicate, expected] : {std::pair("eq", Integers{0, 1, 0, 0}), {"ne", {1, 0, 1, 1}}, {"slt", {1, 0, 0, 1}}, {"sle", {1, 1, 0, 1}}, {"sgt", {0, 0, 1, 0}},
                                       {"sge", {0, 1, 1, 0}}, {"ult", {1, 0, 0, 0}}, {"ule", {1, 1, 0, 0}}, {"ugt", {0, 0, 1, 1}}, {"uge", {0, 1, 1, 1}}}) {
      std::string tensor = std::string("tensor<4x") + type + ">";
      auto found = run("%a = arith.constant dense<[1, 2, 3, -1]> : " + tensor + "\n%b = arith.constant dense<2> : " + tensor + "\n%c = arith.cmpi " + predicate + ", %a, %b : " +
                           tensor + "\nreturn %c : tensor<4xi1>",
                       "tensor<4xi1>");
      EXPECT_EQ(found.at(0).integers, expected) << predicate << " " << type;
    }
}

TEST_F(EvaluateTest, Widths) {
  auto found = run(R"(%b = arith.constant dense<[true, false]> : tensor<2xi1>
    %w = arith.constant dense<[-1, 300]> : tensor<2xi32>
    %s = arith.extsi %b : tensor<2xi1> to tensor<2xi32>
    %u = arith.extui %b : tensor<2xi1> to tensor<2xi32>
    %t = arith.trunci %w : tensor<2xi32> to tensor<2xi8>
    %l = arith.extsi %w : tensor<2xi32> to tensor<2xi64>
    return %s, %u, %t, %l : tensor<2xi32>, tensor<2xi32>, tensor<2xi8>, tensor<2xi64>)",
                   "tensor<2xi32>, tensor<2xi32>, tensor<2xi8>, tensor<2xi64>");
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[0].integers, (Integers{-1, 0})); // the one bit is its sign
  EXPECT_EQ(found[1].integers, (Integers{1, 0}));
  EXPECT_EQ(found[2].integers, (Integers{-1, 44}));
  EXPECT_EQ(found[3].integers, (Integers{-1, 300}));
}

// Channels 0 and 1 of two samples with two values each; the new running variance is that of a sample, n - 1.
TEST_F(EvaluateTest, BatchNormalization) {
  auto found = run(R"(%x = arith.constant dense<[[[1.0, 3.0], [0.0, 0.0]], [[5.0, 7.0], [0.0, 8.0]]]> : tensor<2x2x2xf32>
    %g = arith.constant dense<[2.0, 1.0]> : tensor<2xf32>
    %b = arith.constant dense<[10.0, 0.0]> : tensor<2xf32>
    %m = arith.constant dense<[1.0, -1.0]> : tensor<2xf32>
    %v = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
    %y, %nm, %nv = nn.batch_norm %x, %g, %b, %m, %v {epsilon = 4.0 : f64, momentum = 0.75 : f64} : (tensor<2x2x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> (tensor<2x2x2xf32>, tensor<2xf32>, tensor<2xf32>)
    return %y, %nm, %nv : tensor<2x2x2xf32>, tensor<2xf32>, tensor<2xf32>)",
                   "tensor<2x2x2xf32>, tensor<2xf32>, tensor<2xf32>");
  ASSERT_EQ(found.size(), 3u);
  // Means 4 and 2; variances 5 and 12, of a sample 20 / 3 and 16.
  Reals expected = {10 - 6 / 3.0, 10 - 2 / 3.0, -2 / 4.0, -2 / 4.0, 10 + 2 / 3.0, 10 + 6 / 3.0, -2 / 4.0, 6 / 4.0};
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(found[0].reals[i], expected[i], 1e-6) << i;
  for (auto [i, value] : {std::pair(0, 0.75 * 1 + 0.25 * 4), {1, 0.75 * -1 + 0.25 * 2}})
    EXPECT_NEAR(found[1].reals[i], value, 1e-6);
  for (auto [i, value] : {std::pair(0, 0.75 * 1 + 0.25 * 20 / 3), {1, 0.75 * 2 + 0.25 * 16}})
    EXPECT_NEAR(found[2].reals[i], value, 1e-6);
}

TEST_F(EvaluateTest, Reductions) {
  const std::string x = "%x = arith.constant dense<[[3, -7, 2], [5, 5, 9]]> : tensor<2x3xi64>\n", r = "%r = arith.constant dense<[[3.0, -7.0, 2.0], [5.0, 5.0, 9.0]]> : tensor<2x3xf32>\n";
  // Kinds are sum, mean, max, min, prod.
  for (auto [kind, rows, all] : {std::tuple(0, Reals{-2, 19}, 17.0), {1, {-2 / 3.0, 19 / 3.0}, 17 / 6.0}, {2, {3, 9}, 9}, {3, {-7, 5}, -7}, {4, {-42, 225}, -9450}}) {
    std::string attributes = " {kind = " + std::to_string(kind) + " : i32, dims = array<i64: ";
    auto found = run(r + "%a = nn.reduce %r" + attributes + "1>} : (tensor<2x3xf32>) -> tensor<2xf32>\n%b = nn.reduce %r" + attributes +
                         "0, 1>} : (tensor<2x3xf32>) -> tensor<f32>\nreturn %a, %b : tensor<2xf32>, tensor<f32>",
                     "tensor<2xf32>, tensor<f32>");
    ASSERT_EQ(found.size(), 2u);
    EXPECT_NEAR(found[0].reals[0], rows[0], 1e-6 * std::fabs(rows[0]));
    EXPECT_NEAR(found[0].reals[1], rows[1], 1e-6 * std::fabs(rows[1]));
    EXPECT_NEAR(found[1].reals[0], all, 1e-6 * std::fabs(all));
    found = run(x + "%a = nn.reduce %x" + attributes + "1>} : (tensor<2x3xi64>) -> tensor<2xi64>\nreturn %a : tensor<2xi64>", "tensor<2xi64>");
    EXPECT_EQ(found.at(0).integers, (Integers{static_cast<int64_t>(rows[0]), static_cast<int64_t>(rows[1])})) << kind; // quotients toward zero
  }
}

// What only passes remove is defined, too: a detached value, the number of samples.
TEST_F(EvaluateTest, Markers) {
  auto found = run(R"(%x = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>
    %s = nn.stop_gradient %x : (tensor<3x2xf32>) -> tensor<3x2xf32>
    %n = nn.batch_size %x : (tensor<3x2xf32>) -> tensor<f32>
    return %s, %n : tensor<3x2xf32>, tensor<f32>)",
                   "tensor<3x2xf32>, tensor<f32>");
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].reals, (Reals{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(found[1].reals, Reals{3});
}

// Constants of every element type and form; those of a resource follow the module.
TEST_F(EvaluateTest, Constants) {
  auto found = run(R"(%a = arith.constant dense_resource<numbers> : tensor<3xf32>
    %b = arith.constant dense<[1.5, -2.0]> : tensor<2xbf16>
    %c = arith.constant dense<[0.5, 65504.0]> : tensor<2xf16>
    %d = arith.constant dense<1.0e-300> : tensor<2xf64>
    %e = arith.constant dense<[true, false]> : tensor<2xi1>
    %g = arith.constant dense<[-128, 127]> : tensor<2xi8>
    return %a, %b, %c, %d, %e, %g : tensor<3xf32>, tensor<2xbf16>, tensor<2xf16>, tensor<2xf64>, tensor<2xi1>, tensor<2xi8>)",
                   "tensor<3xf32>, tensor<2xbf16>, tensor<2xf16>, tensor<2xf64>, tensor<2xi1>, tensor<2xi8>",
                   "{-#\n  dialect_resources: {\n    builtin: {\n      numbers: \"0x040000000000803F000000C000004040\"\n    }\n  }\n#-}\n");
  ASSERT_EQ(found.size(), 6u);
  EXPECT_EQ(found[0].reals, (Reals{1, -2, 3}));
  EXPECT_EQ(found[1].reals, (Reals{1.5, -2}));
  EXPECT_EQ(found[2].reals, (Reals{0.5, 65504}));
  EXPECT_EQ(found[3].reals, (Reals{1e-300, 1e-300}));
  EXPECT_EQ(found[4].integers, (Integers{1, 0}));
  EXPECT_EQ(found[5].integers, (Integers{-128, 127}));
}

// Numbers are rounded to their type, to even at ties, and back into an attribute without loss.
TEST_F(EvaluateTest, Rounding) {
  Builder b(&context);
  for (auto [type, values, expected] : {std::tuple(Type(b.getBF16Type()), Reals{1 + 1 / 256.0, 1 + 3 / 256.0, 1.01, 1e39}, Reals{1, 1 + 4 / 256.0, 1.0078125, INFINITY}),
                                        {b.getF16Type(), {1 + 1 / 2048.0, 1 + 3 / 2048.0, 65519, 65520}, {1, 1 + 4 / 2048.0, 65504, INFINITY}},
                                        {b.getF32Type(), {16777217, 16777219, 0.1, -0.0}, {16777216, 16777220, 0.1f, -0.0}},
                                        {b.getF64Type(), {0.1, 1e-320, 3, 4}, {0.1, 1e-320, 3, 4}}}) {
    HostTensor tensor = HostTensor::zeros(ArrayRef<int64_t>{4}, true);
    tensor.reals = values;
    roundTo(type, tensor);
    EXPECT_EQ(tensor.reals, expected);
    auto back = HostTensor::fromAttribute(tensor.toAttribute(RankedTensorType::get({4}, type)));
    ASSERT_TRUE(succeeded(back));
    EXPECT_EQ(back->reals, expected);
  }
}

} // namespace
