//===- RecomposeActivations.cpp - import-recompose-activations ---------------------------===//
//
// gelu: at each tanh or erf, t = f(u), find the x in u for which u is the polynomial that gelu asks for, then the first value
// above t that is 0.5 x + 0.5 x t. Both are compared as polynomials in x and t, so that any association of the
// multiplications is the same. The others are two-op patterns: 1 / (1 + exp(-x)), x sigmoid(x), silu(gate) up, log(sigmoid(x)).
//
//===----------------------------------------------------------------------===//
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "passes/import/Matching.h"
#include "passes/import/Passes.h"
#include <cmath>
#include <numbers>

namespace llmc::importing {
#define GEN_PASS_DEF_IMPORTRECOMPOSEACTIVATIONS
#include "passes/import/Passes.h.inc"
} // namespace llmc::importing

using namespace mlir;
using namespace llmc;
using namespace llmc::importing;

namespace {

/// Coefficients of x^i t^j, i up to 3, j up to 1.
using Polynomial = std::array<std::array<double, 2>, 4>;

/// Polynomials of values in two given values.
class PolynomialReader {
public:
  PolynomialReader(Value x, Value t) : x(x), t(t) {}

  /// Nothing if `value` is no polynomial of low degree, or is one of too many ops.
  std::optional<Polynomial> read(Value value, int depth = 8) const {
    Polynomial p = {};
    if (value == x)
      return p[1][0] = 1.0, p;
    if (value == t)
      return p[0][1] = 1.0, p;
    if (std::optional<double> constant = splatOf(value))
      return p[0][0] = *constant, p;
    Operation *op = value.getDefiningOp();
    if (!op || depth == 0)
      return std::nullopt;
    if (isa<arith::NegFOp>(op)) {
      auto a = read(op->getOperand(0), depth - 1);
      return a ? scaled(*a, -1.0) : a;
    }
    if (!isa<arith::AddFOp, arith::SubFOp, arith::MulFOp, arith::DivFOp, math::PowFOp>(op))
      return std::nullopt;
    auto a = read(op->getOperand(0), depth - 1), b = read(op->getOperand(1), depth - 1);
    if (!a || !b)
      return std::nullopt;
    if (isa<arith::AddFOp, arith::SubFOp>(op)) {
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 2; ++j)
          (*a)[i][j] += (isa<arith::AddFOp>(op) ? 1.0 : -1.0) * (*b)[i][j];
      return a;
    }
    if (isa<arith::MulFOp>(op))
      return product(*a, *b);
    std::optional<double> constant = splatOf(op->getOperand(1));
    if (!constant)
      return std::nullopt;
    if (isa<arith::DivFOp>(op))
      return *constant != 0.0 ? std::optional(scaled(*a, 1.0 / *constant)) : std::nullopt;
    if (*constant != 2.0 && *constant != 3.0)
      return std::nullopt;
    auto square = product(*a, *a);
    return *constant == 2.0 || !square ? square : product(*square, *a);
  }

private:
  static Polynomial scaled(Polynomial p, double factor) {
    for (auto &row : p)
      for (double &c : row)
        c *= factor;
    return p;
  }
  static std::optional<Polynomial> product(const Polynomial &a, const Polynomial &b) {
    Polynomial p = {};
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < 2; ++j)
        for (int k = 0; k < 4; ++k)
          for (int l = 0; l < 2; ++l) {
            double c = a[i][j] * b[k][l];
            if (c == 0.0)
              continue;
            if (i + k > 3 || j + l > 1)
              return std::nullopt;
            p[i + k][j + l] += c;
          }
    return p;
  }

  Value x, t;
};

bool matches(const std::optional<Polynomial> &p, const Polynomial &expected, Type elementType) {
  if (!p)
    return false;
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 2; ++j) {
      // Products of rounded constants are a few roundings off.
      double allowed = 8 * roundingOf(elementType) * std::abs(expected[i][j]) + 1e-12;
      if (std::abs((*p)[i][j] - expected[i][j]) > allowed)
        return false;
    }
  return true;
}

/// Values that `value` is computed from, at most `depth` ops away.
void collectInputs(Value value, int depth, SetVector<Value> &inputs) {
  Operation *op = value.getDefiningOp();
  if (!op || depth == 0 || !isa<arith::AddFOp, arith::MulFOp, arith::DivFOp, math::PowFOp>(op))
    return;
  for (Value operand : op->getOperands())
    if (!splatOf(operand) && inputs.insert(operand))
      collectInputs(operand, depth - 1, inputs);
}

/// The first value above `t` that is `expected` in x and t.
Value firstAbove(Value x, Value t, const Polynomial &expected) {
  PolynomialReader reader(x, t);
  SmallVector<Value> level = {t};
  for (int depth = 0; depth < 5 && !level.empty(); ++depth) {
    SmallVector<Value> next;
    for (Value value : level)
      for (Operation *user : value.getUsers()) {
        if (!isa<arith::AddFOp, arith::MulFOp, arith::DivFOp>(user))
          continue;
        Value result = user->getResult(0);
        auto p = reader.read(result);
        if (matches(p, expected, getElementTypeOrSelf(result.getType())))
          return result;
        if (p && !llvm::is_contained(next, result))
          next.push_back(result);
      }
    level = next;
  }
  return {};
}

void recomposeGelu(Operation *op) {
  bool isTanh = isa<math::TanhOp>(op);
  Value t = op->getResult(0), u = op->getOperand(0);
  if (!isa<RankedTensorType>(t.getType()))
    return;
  Polynomial inner = {}, outer = {};
  double k = isTanh ? std::sqrt(2.0 / std::numbers::pi) : 1.0 / std::numbers::sqrt2;
  inner[1][0] = k;
  inner[3][0] = isTanh ? k * 0.044715 : 0.0;
  outer[1][0] = outer[1][1] = 0.5;
  SetVector<Value> candidates;
  collectInputs(u, 6, candidates);
  for (Value x : candidates) {
    if (!matches(PolynomialReader(x, t).read(u), inner, getElementTypeOrSelf(u.getType())))
      continue;
    Value result = firstAbove(x, t, outer);
    if (!result)
      continue;
    OpBuilder builder(result.getDefiningOp());
    result.replaceAllUsesWith(nn::GeluOp::create(builder, result.getLoc(), result.getType(), x, builder.getBoolAttr(isTanh)));
    return;
  }
}

struct SigmoidOfQuotient : OpRewritePattern<arith::DivFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::DivFOp op, PatternRewriter &rewriter) const override {
    auto sum = op.getRhs().getDefiningOp<arith::AddFOp>();
    if (!sum || !isSplat(op.getLhs(), 1.0) || !isa<RankedTensorType>(op.getType()))
      return failure();
    return success(eitherOrder(sum, [&](Value one, Value power) {
      auto exp = power.getDefiningOp<math::ExpOp>();
      auto negative = exp ? exp.getOperand().getDefiningOp<arith::NegFOp>() : nullptr;
      if (!negative || !isSplat(one, 1.0))
        return false;
      rewriter.replaceOpWithNewOp<nn::SigmoidOp>(op, op.getType(), negative.getOperand());
      return true;
    }));
  }
};

/// PyTorch's logsigmoid, which exporters write as the log of a sigmoid: -log(1 + exp(-x)) = min(x, 0) - log1p(exp(-|x|)), finite where
/// the sigmoid is rounded to 0. Selections give the derivative 1/2 at 0.
struct LogOfSigmoid : OpRewritePattern<math::LogOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(math::LogOp op, PatternRewriter &rewriter) const override {
    auto sigmoid = op.getOperand().getDefiningOp<nn::SigmoidOp>();
    if (!sigmoid)
      return failure();
    Location loc = op.getLoc();
    Value x = sigmoid.getInput();
    Value zero = arith::ConstantOp::create(rewriter, loc, rewriter.getZeroAttr(x.getType()));
    Value positive = arith::CmpFOp::create(rewriter, loc, arith::CmpFPredicate::OGT, x, zero);
    Value below = arith::SelectOp::create(rewriter, loc, positive, zero, x);
    Value falling = arith::SelectOp::create(rewriter, loc, positive, arith::NegFOp::create(rewriter, loc, x), x);
    Value tail = math::Log1pOp::create(rewriter, loc, math::ExpOp::create(rewriter, loc, falling));
    rewriter.replaceOpWithNewOp<arith::SubFOp>(op, below, tail);
    return success();
  }
};

struct SiluOfProduct : OpRewritePattern<arith::MulFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::MulFOp op, PatternRewriter &rewriter) const override {
    return success(eitherOrder(op, [&](Value x, Value gate) {
      auto sigmoid = gate.getDefiningOp<nn::SigmoidOp>();
      if (!sigmoid || sigmoid.getInput() != x || !gate.hasOneUse())
        return false;
      rewriter.replaceOpWithNewOp<nn::SiluOp>(op, op.getType(), x);
      return true;
    }));
  }
};

struct SwigluOfProduct : OpRewritePattern<arith::MulFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::MulFOp op, PatternRewriter &rewriter) const override {
    return success(eitherOrder(op, [&](Value gate, Value up) {
      auto silu = gate.getDefiningOp<nn::SiluOp>();
      if (!silu || !gate.hasOneUse() || splatOf(up) || spreadOf(up).source != up)
        return false;
      rewriter.replaceOpWithNewOp<nn::SwigluOp>(op, op.getType(), silu.getInput(), up);
      return true;
    }));
  }
};

struct RecomposeActivations : importing::impl::ImportRecomposeActivationsBase<RecomposeActivations> {
  void runOnOperation() override {
    getOperation().walk([](Operation *op) {
      if (isa<math::TanhOp, math::ErfOp>(op))
        recomposeGelu(op);
    });
    RewritePatternSet patterns(&getContext());
    patterns.add<SigmoidOfQuotient, LogOfSigmoid, SiluOfProduct, SwigluOfProduct>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
