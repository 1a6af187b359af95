//===- LossTest.cpp - losses of steps that are split into micro-batches ------------------===//
//
// A step of micro-batches is the step of the whole batch, for every form of loss that is a sum, an average or a quotient of sums
// over samples, from files exported with as many samples or with one. Everything else is refused.
//
//===----------------------------------------------------------------------===//
#include "compiler/driver/Pipeline.h"
#include "compiler/reference/Trainer.h"
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "llvm/Support/FormatVariadic.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include <cmath>
#include <gtest/gtest.h>

using namespace mlir;
using namespace llmc;

namespace {

/// `@forward` of `batch` samples: %p [batch, 5] are outputs of a linear layer, %y targets, %m a mask, %labels classes; `tail`
/// computes %loss. "B" in `tail` stands for the batch size.
std::string modelOf(StringRef tail, int64_t batch) {
  std::string text = (R"(
func.func @forward(%x: tensor<Bx3xf32> {train.name = "x", train.role = "input"}, %y: tensor<Bx5xf32> {train.name = "y", train.role = "input"},
                   %m: tensor<Bx5xf32> {train.name = "m", train.role = "input"}, %labels: tensor<Bxi64> {train.name = "labels", train.role = "input"},
                   %w: tensor<5x3xf32> {train.name = "w", train.role = "param"}) -> (tensor<f32> {train.name = "loss"}) {
  %half = arith.constant dense<0.5> : tensor<f32>
  %p = nn.contract %x, %w {equation = "bc,vc->bv"} : (tensor<Bx3xf32>, tensor<5x3xf32>) -> tensor<Bx5xf32>
  %e = arith.subf %p, %y : tensor<Bx5xf32>
  %s = arith.mulf %e, %e : tensor<Bx5xf32>
  %sm = arith.mulf %s, %m : tensor<Bx5xf32>
  %mean = nn.reduce %s {kind = 1 : i32, dims = array<i64: 0, 1>} : (tensor<Bx5xf32>) -> tensor<f32>
  %sum = nn.reduce %s {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<Bx5xf32>) -> tensor<f32>
  %masked = nn.reduce %sm {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<Bx5xf32>) -> tensor<f32>
  %count = nn.reduce %m {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<Bx5xf32>) -> tensor<f32>
  %ww = arith.mulf %w, %w : tensor<5x3xf32>
  %decay = nn.reduce %ww {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<5x3xf32>) -> tensor<f32>
  %cs, %cn, %lse = nn.cross_entropy %p, %labels {ignore_index = -100 : i64} : (tensor<Bx5xf32>, tensor<Bxi64>) -> (tensor<f32>, tensor<f32>, tensor<Bxf32>)
  %ce = arith.divf %cs, %cn : tensor<f32>
)" + tail + R"(
  return %loss : tensor<f32>
})").str();
  std::string result;
  for (size_t i = 0; i < text.size(); ++i)
    result += text[i] == 'B' && text[i - 1] == '<' ? std::to_string(batch) : std::string(1, text[i]);
  return result;
}

struct Step {
  double loss = 0;
  std::vector<double> gradient;
};

class LossTest : public testing::TestWithParam<const char *> {
protected:
  LossTest() {
    DialectRegistry registry;
    driver::registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }

  /// The first step of the recipe on a graph of `exported` samples; nothing if it is refused, with the messages in `errors`.
  std::optional<Step> step(StringRef tail, int64_t exported, int64_t micro, bool perMicroBatch = false) {
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
      errors += diagnostic.str() + "\n";
      for (Diagnostic &note : diagnostic.getNotes())
        errors += note.str() + "\n";
      return success();
    });
    auto module = parseSourceString<ModuleOp>(modelOf(tail, exported), &context);
    train::Recipe recipe;
    recipe.batch = {4, micro, false};
    recipe.lossAverage = perMicroBatch ? train::LossAverage::MicroBatch : train::LossAverage::Tokens;
    (*module)->setAttr(train::kRecipe, train::toAttribute(&context, recipe));
    driver::PipelineOptions options;
    options.to = driver::Level::Step;
    if (failed(driver::runPipeline(*module, options)))
      return std::nullopt;
    reference::Trainer trainer(*module, reference::Arithmetic::F64);
    trainer.set("w", {{5, 3}, true, {.1, .2, -.3, .4, 0, .1, -.2, .3, .5, .1, -.1, .2, 0, .2, -.4}, {}});
    std::vector<double> x = {1, .5, -1, .2, .8, .3, -.6, .1, .9, .4, -.7, .2};
    std::vector<int64_t> labels = {2, -100, 4, 0};
    std::vector<double> y, m;
    for (int i = 0; i < 20; ++i) {
      y.push_back(.1 * (i % 7) - .2);
      m.push_back(i % 3 == 0 || i > 12 ? 1 : 0);
    }
    std::vector<reference::Trainer::Inputs> batches;
    for (int64_t at = 0; at < 4; at += micro) {
      auto rows = [&](const std::vector<double> &all, int64_t width) {
        return HostTensor{{micro, width}, true, {all.begin() + at * width, all.begin() + (at + micro) * width}, {}};
      };
      batches.push_back({{"x", rows(x, 3)}, {"y", rows(y, 5)}, {"m", rows(m, 5)},
                         {"labels", {{micro}, false, {}, {labels.begin() + at, labels.begin() + at + micro}}}});
    }
    EXPECT_TRUE(succeeded(trainer.step(batches)));
    Step result{trainer.outputs.at("loss").reals[0], {}};
    const HostTensor *gradient = trainer.gradient("w");
    result.gradient.assign(gradient->reals.begin(), gradient->reals.end());
    return result;
  }

  MLIRContext context;
  std::string errors;
};

void expectEqual(const Step &a, const Step &b) {
  EXPECT_NEAR(a.loss, b.loss, 1e-12 * std::abs(b.loss));
  double largest = 0;
  for (double value : b.gradient)
    largest = std::max(largest, std::abs(value));
  EXPECT_GT(largest, 0);
  for (auto [x, y] : llvm::zip_equal(a.gradient, b.gradient))
    EXPECT_NEAR(x, y, 1e-12 * largest);
}

class SplitLoss : public LossTest {};

TEST_P(SplitLoss, IsTheWholeBatchs) {
  std::optional<Step> whole = step(GetParam(), 4, 4);
  ASSERT_TRUE(whole) << errors;
  for (auto [exported, micro] : {std::pair(4, 2), std::pair(4, 1), std::pair(1, 2), std::pair(1, 1), std::pair(1, 4), std::pair(2, 1)}) {
    SCOPED_TRACE(testing::Message() << "exported " << exported << ", micro " << micro);
    std::optional<Step> split = step(GetParam(), exported, micro);
    ASSERT_TRUE(split) << errors;
    expectEqual(*split, *whole);
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, SplitLoss, testing::Values(
    "%loss = arith.addf %mean, %mean : tensor<f32>",                                               // an average
    "%loss = arith.negf %sum : tensor<f32>",                                                       // a sum
    "%loss = arith.divf %masked, %count : tensor<f32>",                                            // one sum by another
    "%d = nn.stop_gradient %sum : (tensor<f32>) -> tensor<f32>\n%loss = arith.divf %masked, %d : tensor<f32>",
    "%loss = arith.mulf %half, %ce : tensor<f32>",                                                 // c * cross entropy
    "%n = arith.negf %ce : tensor<f32>\n%loss = arith.divf %n, %half : tensor<f32>",
    "%loss = arith.addf %mean, %decay : tensor<f32>",                                              // with a term of weights alone
    "%loss = arith.addf %sum, %decay : tensor<f32>",
    "%loss = arith.subf %decay, %ce : tensor<f32>",
    "%d = arith.mulf %ce, %half : tensor<f32>\n%loss = arith.addf %ce, %d : tensor<f32>",          // two terms of one weight
    "%s1 = arith.mulf %decay, %mean : tensor<f32>\n%loss = arith.subf %s1, %mean : tensor<f32>")); // scaled by a weight

// A denominator's sign is the loss's.
TEST_F(LossTest, DenominatorsMayBeNegative) {
  std::optional<Step> positive = step("%loss = arith.divf %masked, %count : tensor<f32>", 4, 4);
  ASSERT_TRUE(positive) << errors;
  for (int64_t micro : {1, 2, 4}) {
    std::optional<Step> negative = step("%n = arith.negf %count : tensor<f32>\n%loss = arith.divf %masked, %n : tensor<f32>", 4, micro);
    ASSERT_TRUE(negative) << errors;
    negative->loss = -negative->loss;
    for (double &value : negative->gradient)
      value = -value;
    expectEqual(*negative, *positive);
  }
}

class UnsplitLoss : public LossTest {};

// One micro-batch computes it, several are refused, and averaged over micro-batches it is what each of them has.
TEST_P(UnsplitLoss, IsRefusedInParts) {
  std::optional<Step> whole = step(GetParam(), 4, 4);
  ASSERT_TRUE(whole) << errors;
  EXPECT_FALSE(step(GetParam(), 4, 2));
  EXPECT_NE(errors.find("the loss cannot be split into micro-batches here"), std::string::npos) << errors;
  EXPECT_NE(errors.find("hint: compute each step as one micro-batch, with `batch: {step: 4, micro: 4}`"), std::string::npos) << errors;
  EXPECT_TRUE(step(GetParam(), 4, 2, /*perMicroBatch=*/true)) << errors;
}

INSTANTIATE_TEST_SUITE_P(Forms, UnsplitLoss, testing::Values(
    "%loss = arith.mulf %mean, %ce : tensor<f32>",   // a product of averages
    "%loss = arith.addf %mean, %ce : tensor<f32>",   // two averages with weights of their own
    "%loss = math.sqrt %sum : tensor<f32>",
    "%loss = arith.divf %count, %sum : tensor<f32>", // a weight flows into what it is divided by
    "%loss = nn.reduce %s {kind = 2 : i32, dims = array<i64: 0, 1>} : (tensor<Bx5xf32>) -> tensor<f32>",
    // what the samples have in common goes back into each of them
    "%b = nn.broadcast %mean {dims = array<i64>} : (tensor<f32>) -> tensor<Bx5xf32>\n%c = arith.mulf %s, %b : tensor<Bx5xf32>\n"
    "%loss = nn.reduce %c {kind = 1 : i32, dims = array<i64: 0, 1>} : (tensor<Bx5xf32>) -> tensor<f32>"));

// Every way to put two or three of these together: its parts give what the whole batch gives, or the split is refused.
TEST_F(LossTest, AnyFormIsRightOrRefused) {
  const char *terms[] = {"%mean", "%sum", "%masked", "%count", "%ce", "%decay", "%half"}, *ops[] = {"addf", "subf", "mulf", "divf"};
  std::vector<std::string> forms;
  auto form = [](const char *op, StringRef result, const char *a, StringRef b) {
    return (result + " = arith." + op + " " + a + ", " + b + " : tensor<f32>\n").str();
  };
  for (const char *op : ops)
    for (const char *a : terms)
      for (const char *b : terms) {
        forms.push_back(form(op, "%loss", a, b));
        size_t n = forms.size();
        if (n % 2 == 0) // every second one, by another term
          forms.push_back(form(ops[n % 4], "%t", a, b) + form(ops[(n / 4) % 4], "%loss", terms[(n * 3) % 7], "%t"));
      }
  int split = 0, refused = 0;
  for (const std::string &text : forms) {
    SCOPED_TRACE(text);
    std::optional<Step> whole = step(text, 4, 4), parts = step(text, 4, 2);
    if (!whole || !std::isfinite(whole->loss) || llvm::all_of(whole->gradient, [](double x) { return x == 0; }))
      continue; // one that no parameter flows into
    parts ? ++split : ++refused;
    if (parts)
      expectEqual(*parts, *whole);
  }
  EXPECT_GT(split, 30);
  EXPECT_GT(refused, 30);
}

} // namespace
