//===- RecomposeLoss.cpp - import-recompose-loss -----------------------------------------===//
//
//   1. the mean or sum over rows of -log_softmax(logits)[label], or of logsumexp(logits) - logits[label], is
//      nn.cross_entropy that ignores no label;
//   2. cross_entropy of logits that are reshaped, with the classes whole, is that of the logits before;
//   3. logits that only the loss uses and that are a contraction with a matrix [V, C] or [C, V], perhaps with a bias, perhaps
//      sliced, are never made: nn.linear_cross_entropy of the (sliced) hidden states.
//
//===----------------------------------------------------------------------===//
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "passes/import/Matching.h"
#include "passes/import/Passes.h"

namespace llmc::importing {
#define GEN_PASS_DEF_IMPORTRECOMPOSELOSS
#include "passes/import/Passes.h.inc"
} // namespace llmc::importing

using namespace mlir;
using namespace llmc;
using namespace llmc::importing;

namespace {

//===-- Cross-entropy in other words -------------------------------------------------------===//

bool isLastDim(nn::ReduceOp op) {
  return op.getDims().size() == 1 && op.getDims()[0] == nn::typeOf(op.getInput()).getRank() - 1;
}

/// x, if `value` is the log-sum-exp of x over the last dimension, with the maximum taken out or not.
Value logSumExpOf(Value value) {
  value = nn::throughReshapes(value);
  auto sumOfExp = [](Value v) -> Value { // the argument of exp
    auto log = nn::throughReshapes(v).getDefiningOp<math::LogOp>();
    auto sum = log ? nn::throughReshapes(log.getOperand()).getDefiningOp<nn::ReduceOp>() : nullptr;
    auto exp = sum ? sum.getInput().getDefiningOp<math::ExpOp>() : nullptr;
    return exp && sum.getKind() == nn::ReduceKind::Sum && isLastDim(sum) ? exp.getOperand() : Value();
  };
  if (Value x = sumOfExp(value))
    return x;
  Value result;
  if (auto add = value.getDefiningOp<arith::AddFOp>())
    eitherOrder(add, [&](Value log, Value top) {
      Value shifted = sumOfExp(log);
      auto sub = shifted ? shifted.getDefiningOp<arith::SubFOp>() : nullptr;
      auto max = nn::throughReshapes(top).getDefiningOp<nn::ReduceOp>();
      if (sub && max && max.getKind() == nn::ReduceKind::Max && isLastDim(max) && max.getInput() == sub.getLhs() &&
          nn::throughReshapes(spreadOf(sub.getRhs()).source) == max.getResult())
        result = sub.getLhs();
      return static_cast<bool>(result);
    });
  return result;
}

struct Picked {
  Value from, labels; // labels have `from`'s leading shape, and a dimension 1 at the end
};

/// `from` [.., V] at [.., label], one per row.
std::optional<Picked> pickedByLabel(Value value) {
  auto gather = nn::throughReshapes(value).getDefiningOp<nn::GatherAlongOp>();
  if (!gather)
    return std::nullopt;
  RankedTensorType type = nn::typeOf(gather.getInput()), indices = nn::typeOf(gather.getIndices());
  if (static_cast<int64_t>(gather.getAxis()) != type.getRank() - 1 || indices.getShape().back() != 1)
    return std::nullopt;
  return Picked{gather.getInput(), gather.getIndices()};
}

/// Logits and labels, if `value` has one entry -log softmax(logits)[label] per row, times `sign`.
std::optional<Picked> negativeLogLikelihood(Value value, double sign) {
  value = nn::throughReshapes(value);
  if (auto negative = value.getDefiningOp<arith::NegFOp>())
    return negativeLogLikelihood(negative.getOperand(), -sign);
  if (auto sub = value.getDefiningOp<arith::SubFOp>()) {
    Value lse = sign > 0 ? sub.getLhs() : sub.getRhs(), logit = sign > 0 ? sub.getRhs() : sub.getLhs();
    Value logits = logSumExpOf(lse);
    std::optional<Picked> picked = logits ? pickedByLabel(logit) : std::nullopt;
    return picked && picked->from == logits ? picked : std::nullopt;
  }
  std::optional<Picked> picked = sign < 0 ? pickedByLabel(value) : std::nullopt;
  auto logs = picked ? picked->from.getDefiningOp<nn::LogSoftmaxOp>() : nullptr;
  return logs ? std::optional(Picked{logs.getInput(), picked->labels}) : std::nullopt;
}

/// A reduction of all rows to one number.
struct RecomposeCrossEntropy : OpRewritePattern<nn::ReduceOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::ReduceOp op, PatternRewriter &rewriter) const override {
    bool mean = op.getKind() == nn::ReduceKind::Mean;
    if (nn::typeOf(op).getRank() != 0 || (!mean && op.getKind() != nn::ReduceKind::Sum) || !isa<FloatType>(nn::typeOf(op).getElementType()))
      return failure();
    for (double sign : {1.0, -1.0}) {
      std::optional<Picked> rows = negativeLogLikelihood(op.getInput(), sign);
      if (!rows || nn::typeOf(rows->labels).getNumElements() != nn::typeOf(op.getInput()).getNumElements())
        continue;
      // Labels count from the end if they are negative in the gather; a loss has none.
      RankedTensorType type = nn::typeOf(rows->from);
      auto lse = RankedTensorType::get(type.getShape().drop_back(), type.getElementType());
      Value labels = nn::reshape(rewriter, op.getLoc(), rows->labels, lse.getShape());
      auto loss = nn::CrossEntropyOp::create(rewriter, op.getLoc(), TypeRange{op.getType(), op.getType(), lse}, rows->from, labels,
                                             rewriter.getI64IntegerAttr(std::numeric_limits<int64_t>::min()));
      Value value = loss.getLossSum();
      if (mean)
        value = arith::DivFOp::create(rewriter, op.getLoc(), value, loss.getWeight());
      rewriter.replaceOp(op, sign > 0 ? value : arith::NegFOp::create(rewriter, op.getLoc(), value).getResult());
      return success();
    }
    return failure();
  }
};

struct DoubleNegation : OpRewritePattern<arith::NegFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::NegFOp op, PatternRewriter &rewriter) const override {
    auto inner = nn::throughReshapes(op.getOperand()).getDefiningOp<arith::NegFOp>();
    if (!inner)
      return failure();
    rewriter.replaceOp(op, nn::reshape(rewriter, op.getLoc(), inner.getOperand(), nn::typeOf(op).getShape()));
    return success();
  }
};

//===-- Logits that need not be made ---------------------------------------------------------===//

/// cross_entropy(reshape(logits)) where the classes stay the last dimension.
struct LossOfReshape : OpRewritePattern<nn::CrossEntropyOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::CrossEntropyOp op, PatternRewriter &rewriter) const override {
    Operation *reshape = op.getLogits().getDefiningOp();
    if (!isa_and_nonnull<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(reshape))
      return failure();
    RankedTensorType type = nn::typeOf(reshape->getOperand(0)), before = nn::typeOf(op.getLogits());
    if (type.getRank() == 0 || type.getShape().back() != before.getShape().back())
      return failure();
    Value labels = nn::reshape(rewriter, op.getLoc(), op.getLabels(), type.getShape().drop_back());
    auto lse = RankedTensorType::get(type.getShape().drop_back(), type.getElementType());
    auto loss = nn::CrossEntropyOp::create(rewriter, op.getLoc(), TypeRange{op.getLossSum().getType(), op.getWeight().getType(), lse},
                                           reshape->getOperand(0), labels, op.getIgnoreIndexAttr());
    rewriter.replaceOp(op, {loss.getLossSum(), loss.getWeight(),
                            nn::reshape(rewriter, op.getLoc(), loss.getLse(), before.getShape().drop_back())});
    return success();
  }
};

/// What logits are made of: contraction (+ bias), each part with no other user, cut by the slices on the way.
struct Head {
  nn::ContractOp contract;
  Value bias;                                 // [V], or null
  SmallVector<tensor::ExtractSliceOp> slices; // outermost first
};

std::optional<Head> readHead(Value logits) {
  Head head;
  int64_t last = nn::typeOf(logits).getRank() - 1;
  while (logits.hasOneUse()) {
    if (auto contract = logits.getDefiningOp<nn::ContractOp>()) {
      head.contract = contract;
      return head;
    }
    if (auto slice = logits.getDefiningOp<tensor::ExtractSliceOp>()) {
      // Slices of rows; of the classes only all.
      RankedTensorType source = nn::typeOf(slice.getSource());
      if (slice->getNumOperands() != 1 || slice.getDroppedDims().any() || slice.getStaticSizes()[last] != source.getDimSize(last))
        return std::nullopt;
      head.slices.push_back(slice);
      logits = slice.getSource();
    } else if (auto add = logits.getDefiningOp<arith::AddFOp>(); add && !head.bias) {
      eitherOrder(add, [&](Value inner, Value addend) {
        Spread spread = spreadOf(addend);
        if (spread.dims.size() != 1 || spread.dims[0] != last || !inner.getDefiningOp())
          return false;
        head.bias = spread.source;
        logits = inner;
        return true;
      });
      if (!head.bias)
        return std::nullopt;
    } else {
      return std::nullopt;
    }
  }
  return std::nullopt;
}

struct LossOfContraction : OpRewritePattern<nn::CrossEntropyOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::CrossEntropyOp op, PatternRewriter &rewriter) const override {
    std::optional<Head> head = readHead(op.getLogits());
    if (!head)
      return failure();
    nn::ContractOp contract = head->contract;
    StringRef rows = contract.resultLabels().drop_back();
    char classes = contract.resultLabels().back();
    bool matrixIsLhs = contract.lhsLabels().contains(classes);
    StringRef matrixLabels = matrixIsLhs ? contract.lhsLabels() : contract.rhsLabels();
    StringRef labels = matrixIsLhs ? contract.rhsLabels() : contract.lhsLabels();
    if (matrixLabels.size() != 2 || labels.size() != rows.size() + 1)
      return failure();
    char width = matrixLabels[matrixLabels[0] == classes ? 1 : 0];
    if (rows.contains(width) || !labels.contains(width))
      return failure();
    Value matrix = matrixIsLhs ? contract.getLhs() : contract.getRhs(), hidden = matrixIsLhs ? contract.getRhs() : contract.getLhs();
    SmallVector<int64_t> permutation;
    for (char label : rows)
      permutation.push_back(static_cast<int64_t>(labels.find(label)));
    permutation.push_back(static_cast<int64_t>(labels.find(width)));
    hidden = rewriter.createOrFold<nn::TransposeOp>(op.getLoc(), hidden, permutation);
    for (tensor::ExtractSliceOp slice : llvm::reverse(head->slices))
      hidden = cutRows(rewriter, slice, hidden);
    Value bias = head->bias;
    if (bias)
      bias = nn::reshape(rewriter, op.getLoc(), bias, {nn::typeOf(bias).getNumElements()});
    UnitAttr vocabularyLast = matrixLabels[1] == classes ? rewriter.getUnitAttr() : UnitAttr();
    auto loss = nn::LinearCrossEntropyOp::create(rewriter, op.getLoc(), op->getResultTypes(), hidden, matrix, op.getLabels(), bias,
                                                 op.getIgnoreIndexAttr(), vocabularyLast, /*parts=*/IntegerAttr());
    rewriter.replaceOp(op, loss->getResults());
    return success();
  }

  /// The rows of `hidden` that a slice of the logits takes.
  static Value cutRows(OpBuilder &builder, tensor::ExtractSliceOp slice, Value hidden) {
    SmallVector<OpFoldResult> offsets = slice.getMixedOffsets(), sizes = slice.getMixedSizes(), strides = slice.getMixedStrides();
    sizes.back() = builder.getIndexAttr(nn::typeOf(hidden).getShape().back());
    return tensor::ExtractSliceOp::create(builder, slice.getLoc(), hidden, offsets, sizes, strides);
  }
};

struct RecomposeLoss : importing::impl::ImportRecomposeLossBase<RecomposeLoss> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<RecomposeCrossEntropy, DoubleNegation, LossOfReshape, LossOfContraction>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
