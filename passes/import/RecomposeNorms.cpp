//===- RecomposeNorms.cpp - import-recompose-norms -------------------------------------===//
//
//   1. x / sqrt(mean(x^2) + eps), written with division, rsqrt, reciprocal or a power, is nn.rms_norm with a scale of ones;
//      if x is itself a - mean(a), it is nn.layer_norm of a;
//   2. a multiplication of a norm's only use by a vector becomes its scale, an addition its bias.
// So the weight may stand before or after, and there may be none.
//
//===----------------------------------------------------------------------===//
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "passes/import/Matching.h"
#include "passes/import/Passes.h"

namespace llmc::importing {
#define GEN_PASS_DEF_IMPORTRECOMPOSENORMS
#include "passes/import/Passes.h.inc"
} // namespace llmc::importing

using namespace mlir;
using namespace llmc;
using namespace llmc::importing;

namespace {

/// Through repetitions along the last dimension and size-1 dimensions: what a statistic of rows of `type` is before it meets x.
Value rowStatistic(Value value, RankedTensorType type) {
  if (nn::typeOf(value).getShape().back() == 1 && nn::typeOf(value) != type)
    return value;
  Spread spread = spreadOf(value);
  return llvm::is_contained(spread.dims, type.getRank() - 1) ? Value() : spread.source;
}

/// x, if `value` is the mean of x over its last dimension.
Value meanOf(Value value) {
  value = nn::throughReshapes(value);
  auto lastDim = [](nn::ReduceOp op) {
    int64_t rank = nn::typeOf(op.getInput()).getRank();
    return op.getDims().size() == 1 && op.getDims()[0] == rank - 1;
  };
  if (auto reduce = value.getDefiningOp<nn::ReduceOp>())
    return reduce.getKind() == nn::ReduceKind::Mean && lastDim(reduce) ? reduce.getInput() : Value();
  // sum / n or sum * (1/n)
  Operation *op = value.getDefiningOp();
  if (!isa_and_nonnull<arith::DivFOp, arith::MulFOp>(op))
    return {};
  for (int i : {0, 1}) {
    auto reduce = nn::throughReshapes(op->getOperand(i)).getDefiningOp<nn::ReduceOp>();
    if (!reduce || reduce.getKind() != nn::ReduceKind::Sum || !lastDim(reduce))
      continue;
    double columns = static_cast<double>(nn::typeOf(reduce.getInput()).getShape().back());
    if (isa<arith::DivFOp>(op) ? i == 0 && isSplat(op->getOperand(1), columns) : isSplat(op->getOperand(1 - i), 1.0 / columns))
      return reduce.getInput();
  }
  return {};
}

/// x, if `value` is x * x.
Value squareOf(Value value) {
  if (auto mul = value.getDefiningOp<arith::MulFOp>())
    return mul.getLhs() == mul.getRhs() ? mul.getLhs() : Value();
  if (auto power = value.getDefiningOp<math::PowFOp>())
    return isSplat(power.getRhs(), 2.0) ? power.getLhs() : Value();
  return {};
}

struct Root {
  Value x;
  double epsilon;
};

/// x and eps, if `value` is mean(x^2) + eps.
std::optional<Root> meanSquare(Value value) {
  std::optional<Root> root;
  value = nn::throughReshapes(value);
  if (auto add = value.getDefiningOp<arith::AddFOp>())
    eitherOrder(add, [&](Value mean, Value constant) {
      std::optional<double> epsilon = splatOf(constant);
      Value square = epsilon && *epsilon >= 0.0 ? meanOf(mean) : Value();
      if (Value x = square ? squareOf(square) : Value())
        root = Root{x, *epsilon};
      return root.has_value();
    });
  return root;
}

/// The same, if `value` is sqrt(mean(x^2) + eps).
std::optional<Root> rootMeanSquare(Value value) {
  value = nn::throughReshapes(value);
  if (auto root = value.getDefiningOp<math::SqrtOp>())
    return meanSquare(root.getOperand());
  if (auto power = value.getDefiningOp<math::PowFOp>(); power && isSplat(power.getRhs(), 0.5))
    return meanSquare(power.getLhs());
  return std::nullopt;
}

/// The same, if `value` is 1 / sqrt(mean(x^2) + eps).
std::optional<Root> reciprocalRoot(Value value) {
  value = nn::throughReshapes(value);
  if (auto root = value.getDefiningOp<math::RsqrtOp>())
    return meanSquare(root.getOperand());
  if (auto power = value.getDefiningOp<math::PowFOp>()) {
    if (isSplat(power.getRhs(), -0.5))
      return meanSquare(power.getLhs());
    return isSplat(power.getRhs(), -1.0) ? rootMeanSquare(power.getLhs()) : std::nullopt;
  }
  if (auto quotient = value.getDefiningOp<arith::DivFOp>(); quotient && isSplat(quotient.getLhs(), 1.0))
    return rootMeanSquare(quotient.getRhs());
  return std::nullopt;
}

/// a, if x is a - mean(a).
Value centeredValue(Value x) {
  auto sub = x.getDefiningOp<arith::SubFOp>();
  Value statistic = sub ? rowStatistic(sub.getRhs(), nn::typeOf(x)) : Value();
  return statistic && meanOf(statistic) == sub.getLhs() ? sub.getLhs() : Value();
}

Value makeNorm(PatternRewriter &rewriter, Location loc, Root root) {
  Value centered = centeredValue(root.x), input = centered ? centered : root.x;
  RankedTensorType type = nn::typeOf(input);
  auto statistics = RankedTensorType::get(type.getShape().drop_back(), type.getElementType());
  Value ones = nn::splat(rewriter, loc, RankedTensorType::get(type.getShape().take_back(), type.getElementType()), 1.0);
  auto epsilon = rewriter.getF64FloatAttr(root.epsilon);
  if (centered)
    return nn::LayerNormOp::create(rewriter, loc, TypeRange{type, statistics, statistics}, input, ones, Value(), epsilon).getResult();
  return nn::RmsNormOp::create(rewriter, loc, TypeRange{type, statistics}, input, ones, epsilon).getResult();
}

struct NormOfProduct : OpRewritePattern<arith::MulFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::MulFOp op, PatternRewriter &rewriter) const override {
    return success(eitherOrder(op, [&](Value x, Value factor) {
      auto type = dyn_cast<RankedTensorType>(op.getType());
      Value statistic = type && type.getRank() > 0 ? rowStatistic(factor, type) : Value();
      std::optional<Root> root = statistic ? reciprocalRoot(statistic) : std::nullopt;
      if (!root || root->x != x)
        return false;
      rewriter.replaceOp(op, makeNorm(rewriter, op.getLoc(), *root));
      return true;
    }));
  }
};

struct NormOfQuotient : OpRewritePattern<arith::DivFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::DivFOp op, PatternRewriter &rewriter) const override {
    auto type = dyn_cast<RankedTensorType>(op.getType());
    Value statistic = type && type.getRank() > 0 ? rowStatistic(op.getRhs(), type) : Value();
    std::optional<Root> root = statistic ? rootMeanSquare(statistic) : std::nullopt;
    if (!root || root->x != op.getLhs())
      return failure();
    rewriter.replaceOp(op, makeNorm(rewriter, op.getLoc(), *root));
    return success();
  }
};

/// The vector [C] that `value` repeats along all but the last dimension; null if it is something else.
Value rowVector(PatternRewriter &rewriter, Value value) {
  RankedTensorType type = nn::typeOf(value);
  Spread spread = spreadOf(value);
  bool vector = spread.dims.size() == 1 && spread.dims[0] == type.getRank() - 1 && spread.source != value;
  return vector ? spread.squeezed(rewriter, value.getLoc()) : Value();
}

/// norm(x) * broadcast(w) with a scale of ones: w is the scale.
template <typename Norm>
struct ScaleOfNorm : OpRewritePattern<arith::MulFOp> {
  using OpRewritePattern<arith::MulFOp>::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::MulFOp op, PatternRewriter &rewriter) const override {
    return success(eitherOrder(op, [&](Value normal, Value weight) {
      auto norm = normal.getDefiningOp<Norm>();
      if (!norm || normal != norm.getResult() || !normal.hasOneUse() || !isSplat(norm.getScale(), 1.0))
        return false;
      if constexpr (std::is_same_v<Norm, nn::LayerNormOp>)
        if (norm.getBias())
          return false;
      Value scale = rowVector(rewriter, weight);
      if (!scale)
        return false;
      rewriter.setInsertionPoint(op);
      auto scaled = cast<Norm>(rewriter.clone(*norm));
      scaled.getScaleMutable().assign(scale);
      rewriter.replaceOp(op, scaled.getResult());
      return true;
    }));
  }
};

/// layer_norm(x) + broadcast(b) without a bias.
struct BiasOfNorm : OpRewritePattern<arith::AddFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::AddFOp op, PatternRewriter &rewriter) const override {
    return success(eitherOrder(op, [&](Value normal, Value addend) {
      auto norm = normal.getDefiningOp<nn::LayerNormOp>();
      if (!norm || normal != norm.getResult() || !normal.hasOneUse() || norm.getBias())
        return false;
      Value bias = rowVector(rewriter, addend);
      if (!bias)
        return false;
      rewriter.setInsertionPoint(op);
      auto biased = cast<nn::LayerNormOp>(rewriter.clone(*norm));
      biased.getBiasMutable().assign(bias);
      rewriter.replaceOp(op, biased.getResult());
      return true;
    }));
  }
};

struct RecomposeNorms : importing::impl::ImportRecomposeNormsBase<RecomposeNorms> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<NormOfProduct, NormOfQuotient, ScaleOfNorm<nn::RmsNormOp>, ScaleOfNorm<nn::LayerNormOp>, BiasOfNorm>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
