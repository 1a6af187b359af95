//===- CostTest.cpp - the work of each op, counted by hand -------------------------------===//
//
// What `llmc explain` prints as operations, forecasts and the utilization in metrics come from getFlops. Each case is one op with sizes that
// differ from each other; the expected number is written as its products, not by the op's formula. Every nn op that counts work has a case.
//
//===----------------------------------------------------------------------===//
#include "compiler/driver/Pipeline.h"
#include "dialects/interfaces/Interfaces.h"
#include "mlir/AsmParser/AsmParser.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include <gtest/gtest.h>
#include <set>

using namespace mlir;
using namespace llmc;

namespace {

struct Case {
  const char *op, *attributes;
  std::vector<std::string> operands, results;
  int64_t flops;
};

// 2 samples, 3 queries, 5 keys, 4 heads over 2 groups, keys of 8, values of 6: 2 * 4 * 3 * 5 pairs.
const std::string kQuery = "2x3x4x8xf32", kKey = "2x5x2x8xf32", kValue = "2x5x2x6xf32", kResult = "2x3x4x6xf32", kLse = "2x4x3xf32";
constexpr int64_t kPairs = 2 * 4 * 3 * 5;

const std::vector<Case> kCases = {
    // Each entry of the result is a sum of products, two operations each.
    {"nn.contract", "{equation = \"btk,nk->btn\"}", {"2x3x4xf32", "5x4xf32"}, {"2x3x5xf32"}, 2 * (2 * 3 * 5) * 4},
    {"nn.contract", "{equation = \"bmk,bkn->mbn\"}", {"2x3x4xf32", "2x4x5xf32"}, {"3x2x5xf32"}, 2 * (3 * 2 * 5) * 4},
    {"nn.contract", "{equation = \"abk,abn->nk\"}", {"2x3x4xf32", "2x3x5xf32"}, {"5x4xf32"}, 2 * (5 * 4) * (2 * 3)},
    {"nn.reduce", "{kind = 0 : i32, dims = array<i64: 0, 2>}", {"2x3x4xf32"}, {"3xf32"}, 2 * 3 * 4},
    // Scores and weighted values; backward the scores once more and the gradients of queries, keys, values and weights.
    {"nn.attention", "{scale = 0.5 : f64, causal = false}", {kQuery, kKey, kValue}, {kResult, kLse}, 2 * kPairs * 8 + 2 * kPairs * 6},
    {"nn.attention", "{scale = 0.5 : f64, causal = true}", {kQuery, kKey, kValue}, {kResult, kLse}, kPairs * 8 + kPairs * 6},
    {"nn.attention_backward", "{scale = 0.5 : f64, causal = false}", {kQuery, kKey, kValue, kResult, kLse, kResult}, {kQuery, kKey, kValue},
     2 * kPairs * 8 * 3 + 2 * kPairs * 6 * 2},
    {"nn.attention_backward", "{scale = 0.5 : f64, causal = true}", {kQuery, kKey, kValue, kResult, kLse, kResult}, {kQuery, kKey, kValue},
     kPairs * 8 * 3 + kPairs * 6 * 2},
    // Logits of 6 rows over 7 classes from 4 features; maximum, exponential, sum and pick of each logit.
    {"nn.linear_cross_entropy", "{ignore_index = -100 : i64}", {"2x3x4xf32", "7x4xf32", "2x3xi64"}, {"f32", "f32", "2x3xf32"}, 2 * 6 * 7 * 4 + 4 * 6 * 7},
    {"nn.linear_cross_entropy", "{ignore_index = -100 : i64, vocabulary_last}", {"2x3x4xf32", "4x7xf32", "2x3xi64"}, {"f32", "f32", "2x3xf32"}, 2 * 6 * 7 * 4 + 4 * 6 * 7},
    // The logits once more, and the gradients of input and matrix.
    {"nn.linear_cross_entropy_backward", "{ignore_index = -100 : i64}", {"2x3x4xf32", "7x4xf32", "2x3xi64", "2x3xf32", "f32"}, {"2x3x4xf32", "7x4xf32"}, 3 * 2 * 6 * 7 * 4},
    // So many operations an element.
    {"nn.cross_entropy", "{ignore_index = -100 : i64}", {"2x3x4xf32", "2x3xi64"}, {"f32", "f32", "2x3xf32"}, 4 * (2 * 3 * 4)},
    {"nn.cross_entropy_backward", "{ignore_index = -100 : i64}", {"2x3x4xf32", "2x3xi64", "2x3xf32", "f32"}, {"2x3x4xf32"}, 4 * (2 * 3 * 4)},
    {"nn.layer_norm", "{epsilon = 1.0e-5 : f64}", {"2x3x4xf32", "4xf32", "4xf32"}, {"2x3x4xf32", "2x3xf32", "2x3xf32"}, 8 * (2 * 3 * 4)},
    {"nn.layer_norm_backward", "", {"2x3x4xf32", "4xf32", "2x3xf32", "2x3xf32", "2x3x4xf32"}, {"2x3x4xf32", "4xf32", "4xf32"}, 14 * (2 * 3 * 4)},
    {"nn.rms_norm", "{epsilon = 1.0e-5 : f64}", {"2x3x4xf32", "4xf32"}, {"2x3x4xf32", "2x3xf32"}, 5 * (2 * 3 * 4)},
    {"nn.rms_norm_backward", "", {"2x3x4xf32", "4xf32", "2x3xf32", "2x3x4xf32"}, {"2x3x4xf32", "4xf32"}, 10 * (2 * 3 * 4)},
    {"nn.softmax", "", {"2x3xf32"}, {"2x3xf32"}, 5 * (2 * 3)},
    {"nn.softmax_backward", "", {"2x3xf32", "2x3xf32"}, {"2x3xf32"}, 4 * (2 * 3)},
    {"nn.log_softmax", "", {"2x3xf32"}, {"2x3xf32"}, 5 * (2 * 3)},
    {"nn.log_softmax_backward", "", {"2x3xf32", "2x3xf32"}, {"2x3xf32"}, 4 * (2 * 3)},
    {"nn.gelu", "{tanh = true}", {"2x3xf32"}, {"2x3xf32"}, 10 * (2 * 3)},
    {"nn.sigmoid", "", {"2x3xf32"}, {"2x3xf32"}, 4 * (2 * 3)},
    {"nn.silu", "", {"2x3xf32"}, {"2x3xf32"}, 5 * (2 * 3)},
    {"nn.swiglu", "", {"2x3xf32", "2x3xf32"}, {"2x3xf32"}, 6 * (2 * 3)},
    {"nn.rope", "", {"2x3x4x8xf32", "3x8xf32", "3x8xf32"}, {"2x3x4x8xf32"}, 3 * (2 * 3 * 4 * 8)},
    {"nn.dropout", "{ratio = 0.5 : f64, seed = 1 : i64, id = 2 : i64}", {"2x6xf32", "2xi64"}, {"2x6xf32"}, 12 * (2 * 6)},
    {"nn.sum_of_squares", "", {"2x3xf32", "5xf32"}, {"f32"}, 2 * (2 * 3 + 5)},
    {"nn.adamw", "{beta1 = 0.9 : f64, beta2 = 0.999 : f64, epsilon = 1.0e-8 : f64, decay = 0.0 : f64}", {"4xf32", "4xf32", "4xf32", "4xf32", "f32", "f32", "f32", "f32"},
     {"4xf32", "4xf32", "4xf32"}, 14 * 4},
    {"nn.sgd", "{momentum = 0.9 : f64, decay = 0.0 : f64, nesterov = false}", {"4xf32", "4xf32", "4xf32", "f32", "f32"}, {"4xf32", "4xf32"}, 7 * 4},
    // One operation an element of the result.
    {"arith.addf", "", {"2x3xf32", "2x3xf32"}, {"2x3xf32"}, 2 * 3},
    {"math.exp", "", {"2x3xf32"}, {"2x3xf32"}, 2 * 3},
    {"nn.gather", "", {"7x4xf32", "5xi64"}, {"5x4xf32"}, 5 * 4},
    {"nn.scatter_add", "", {"5xi64", "5x4xf32"}, {"7x4xf32"}, 7 * 4},
};

OwningOpRef<ModuleOp> parse(const Case &c, MLIRContext &context) {
  std::string arguments, names, types, results, left;
  for (size_t i = 0; i < c.operands.size(); ++i) {
    std::string name = "%a" + std::to_string(i), comma = i ? ", " : "";
    arguments += comma + name + ": tensor<" + c.operands[i] + ">";
    names += comma + name;
    types += comma + "tensor<" + c.operands[i] + ">";
  }
  for (size_t i = 0; i < c.results.size(); ++i)
    results += (i ? ", tensor<" : "tensor<") + c.results[i] + ">";
  std::string properties = *c.attributes ? " <" + std::string(c.attributes) + ">" : "";
  return parseSourceString<ModuleOp>("func.func @f(" + arguments + ") {\n  %r:" + std::to_string(c.results.size()) + " = \"" + c.op + "\"(" + names + ")" + properties +
                                         " : (" + types + ") -> (" + results + ")\n  return\n}\n",
                                     &context);
}

TEST(Cost, IsWhatOneCountsByHand) {
  DialectRegistry registry;
  driver::registerAllDialects(registry);
  MLIRContext context(registry);
  context.loadAllAvailableDialects();
  std::set<std::string> counted;
  for (const Case &c : kCases) {
    OwningOpRef<ModuleOp> module = parse(c, context);
    ASSERT_TRUE(module) << c.op;
    Operation &op = module->lookupSymbol<func::FuncOp>("f").getBody().front().front();
    auto cost = dyn_cast<Cost>(op);
    ASSERT_TRUE(cost) << c.op;
    EXPECT_EQ(cost.getFlops(), c.flops) << c.op << c.attributes;
    // Each operand and result is touched once.
    int64_t bytes = 0;
    for (const auto *types : {&c.operands, &c.results})
      for (const std::string &type : *types) {
        auto parsed = cast<RankedTensorType>(parseType("tensor<" + type + ">", &context));
        bytes += parsed.getNumElements() * parsed.getElementTypeBitWidth() / 8;
      }
    EXPECT_EQ(cost.getBytes(), bytes) << c.op;
    counted.insert(c.op);
  }
  // What counts its work in a way of its own is in the list; the others count elements of their results.
  for (RegisteredOperationName name : context.getRegisteredOperationsByDialect("nn"))
    if (name.hasInterface<Cost>() && !counted.contains(name.getStringRef().str()))
      EXPECT_TRUE((std::set<std::string>{"nn.batch_norm", "nn.batch_size", "nn.broadcast", "nn.flatten_parts", "nn.gather_along", "nn.scatter_add_along",
                                         "nn.stop_gradient", "nn.top_k", "nn.transpose", "nn.unflatten_parts"})
                      .contains(name.getStringRef().str()))
          << name.getStringRef().str() << " has no case";
}

} // namespace
