//===- ViewPatterns.cpp - simpler reshapes and broadcasts ---------------------------===//
#include "passes/import/ViewPatterns.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/ReshapeOpsUtils.h"
#include "passes/import/Matching.h"

using namespace mlir;

namespace llmc::importing {

namespace {

bool isReshape(Operation *op) { return isa_and_nonnull<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op); }

/// broadcast(broadcast(x)).
struct ComposeBroadcasts : OpRewritePattern<nn::BroadcastOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::BroadcastOp op, PatternRewriter &rewriter) const override {
    auto inner = op.getInput().getDefiningOp<nn::BroadcastOp>();
    if (!inner)
      return failure();
    SmallVector<int64_t> dims = llvm::map_to_vector(inner.getDims(), [&](int64_t d) { return op.getDims()[d]; });
    rewriter.replaceOpWithNewOp<nn::BroadcastOp>(op, nn::typeOf(op), inner.getInput(), dims);
    return success();
  }
};

/// Repeated dimensions of size 1 leave the input; a broadcast that repeats nothing is a reshape.
struct SqueezeBroadcast : OpRewritePattern<nn::BroadcastOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::BroadcastOp op, PatternRewriter &rewriter) const override {
    RankedTensorType input = nn::typeOf(op.getInput()), type = nn::typeOf(op);
    if (input.getNumElements() == type.getNumElements()) {
      rewriter.replaceOp(op, nn::reshape(rewriter, op.getLoc(), op.getInput(), type.getShape()));
      return success();
    }
    SmallVector<int64_t> shape, dims;
    for (auto [size, d] : llvm::zip(input.getShape(), op.getDims()))
      if (size == type.getDimSize(d)) {
        shape.push_back(size);
        dims.push_back(d);
      }
    if (dims.size() == op.getDims().size())
      return failure();
    Value small = nn::reshape(rewriter, op.getLoc(), op.getInput(), shape);
    rewriter.replaceOpWithNewOp<nn::BroadcastOp>(op, type, small, dims);
    return success();
  }
};

/// reshape(broadcast(x)) = broadcast(reshape(x)) where each dimension that is split or merged is repeated wholly or not at all.
template <typename Op>
struct ReshapeOfBroadcast : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    if (!op.getSrc().template getDefiningOp<nn::BroadcastOp>())
      return failure();
    Spread spread = spreadOf(op.getSrc());
    ArrayRef<int64_t> from = nn::typeOf(op.getSrc()).getShape(), to = nn::typeOf(op.getResult()).getShape();
    constexpr bool collapse = std::is_same_v<Op, tensor::CollapseShapeOp>;
    SmallVector<int64_t> dims, shape;
    for (auto [i, group] : llvm::enumerate(op.getReassociationIndices())) {
      SmallVector<int64_t> narrow = {static_cast<int64_t>(i)}, wide(group.begin(), group.end());
      auto isKept = [&](int64_t d) { return llvm::is_contained(spread.dims, d); };
      ArrayRef<int64_t> sources = collapse ? ArrayRef<int64_t>(wide) : ArrayRef<int64_t>(narrow);
      SmallVector<int64_t> large = llvm::filter_to_vector(sources, [&](int64_t d) { return from[d] != 1; });
      bool kept = !large.empty() && isKept(large.front());
      if (llvm::any_of(large, [&](int64_t d) { return isKept(d) != kept; }))
        return failure();
      for (int64_t d : collapse ? narrow : wide)
        if (kept && to[d] != 1) {
          dims.push_back(d);
          shape.push_back(to[d]);
        }
    }
    Value source = nn::reshape(rewriter, op.getLoc(), spread.squeezed(rewriter, op.getLoc()), shape);
    rewriter.replaceOp(op, respread(rewriter, op.getLoc(), {source, dims}, dims, to));
    return success();
  }
};

/// reshape(reshape(x)) where one reshape does.
template <typename Op>
struct ComposeReshapes : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    Operation *inner = op.getSrc().getDefiningOp();
    if (!isReshape(inner))
      return failure();
    RankedTensorType from = nn::typeOf(inner->getOperand(0)), to = nn::typeOf(op.getResult());
    if (from != to && !getReassociationIndicesForReshape(from, to))
      return failure();
    rewriter.replaceOp(op, nn::reshape(rewriter, op.getLoc(), inner->getOperand(0), to.getShape()));
    return success();
  }
};

/// A transpose that keeps the order of the dimensions larger than 1 is a reshape.
struct TransposeOfOnes : OpRewritePattern<nn::TransposeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::TransposeOp op, PatternRewriter &rewriter) const override {
    ArrayRef<int64_t> shape = nn::typeOf(op.getInput()).getShape();
    SmallVector<int64_t> large = llvm::filter_to_vector(op.getPermutation(), [&](int64_t d) { return shape[d] != 1; });
    if (!llvm::is_sorted(large))
      return failure();
    rewriter.replaceOp(op, nn::reshape(rewriter, op.getLoc(), op.getInput(), nn::typeOf(op).getShape()));
    return success();
  }
};

/// A transpose of repetitions repeats in another order.
struct TransposeOfBroadcast : OpRewritePattern<nn::TransposeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::TransposeOp op, PatternRewriter &rewriter) const override {
    if (!op.getInput().getDefiningOp<nn::BroadcastOp>())
      return failure();
    Spread spread = spreadOf(op.getInput());
    SmallVector<int64_t> dims;
    for (int64_t d : spread.dims)
      dims.push_back(llvm::find(op.getPermutation(), d) - op.getPermutation().begin());
    if (!llvm::is_sorted(dims))
      return failure();
    rewriter.replaceOp(op, respread(rewriter, op.getLoc(), spread, dims, nn::typeOf(op).getShape()));
    return success();
  }
};

/// slice(expand(x)) = expand(slice(x)) if of each split dimension only the major part is cut, without steps.
struct SliceOfExpand : OpRewritePattern<tensor::ExtractSliceOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(tensor::ExtractSliceOp op, PatternRewriter &rewriter) const override {
    auto expand = op.getSource().getDefiningOp<tensor::ExpandShapeOp>();
    if (!expand || op->getNumOperands() != 1 || op.getDroppedDims().any())
      return failure();
    ArrayRef<int64_t> wide = nn::typeOf(expand).getShape(), offsets = op.getStaticOffsets(), sizes = op.getStaticSizes();
    SmallVector<OpFoldResult> newOffsets, newSizes, newStrides;
    for (const ReassociationIndices &group : expand.getReassociationIndices()) {
      int64_t major = group.front(), inner = 1;
      for (int64_t d : group)
        if (wide[major] == 1)
          major = d;
      for (int64_t d : group) {
        if (d == major)
          continue;
        inner *= wide[d];
        if (sizes[d] != wide[d])
          return failure();
      }
      if (inner > 1 && op.getStaticStrides()[major] != 1)
        return failure();
      newOffsets.push_back(rewriter.getIndexAttr(offsets[major] * inner));
      newSizes.push_back(rewriter.getIndexAttr(sizes[major] * inner));
      newStrides.push_back(rewriter.getIndexAttr(op.getStaticStrides()[major]));
    }
    Value slice = tensor::ExtractSliceOp::create(rewriter, op.getLoc(), expand.getSrc(), newOffsets, newSizes, newStrides);
    rewriter.replaceOpWithNewOp<tensor::ExpandShapeOp>(op, nn::typeOf(op.getResult()), slice, expand.getReassociationIndices());
    return success();
  }
};

} // namespace

void populateViewPatterns(RewritePatternSet &patterns) {
  patterns.add<ComposeBroadcasts, SqueezeBroadcast, ReshapeOfBroadcast<tensor::CollapseShapeOp>, ReshapeOfBroadcast<tensor::ExpandShapeOp>,
               ComposeReshapes<tensor::CollapseShapeOp>, ComposeReshapes<tensor::ExpandShapeOp>, TransposeOfOnes, TransposeOfBroadcast,
               SliceOfExpand>(patterns.getContext());
  nn::TransposeOp::getCanonicalizationPatterns(patterns, patterns.getContext());
}

} // namespace llmc::importing
