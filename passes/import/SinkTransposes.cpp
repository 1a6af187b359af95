//===- SinkTransposes.cpp - import-sink-transposes -----------------------------------===//
//
//   1. op(transpose(x)) becomes transpose(op(x)) wherever the op's other operands can follow for free: the same transpose,
//      splats, repetitions whose order of dimensions stays;
//   2. transposes that meet compose; those that reach a contraction's operand go into its equation;
//   3. at the end, a transpose of a contraction's only use goes into the equation too, and one of a broadcast before it.
// A transpose only moves down, so this ends. Does not pass dropout, whose mask depends on positions.
//
//===----------------------------------------------------------------------===//
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "passes/import/Matching.h"
#include "passes/import/Passes.h"
#include "passes/import/ViewPatterns.h"

namespace llmc::importing {
#define GEN_PASS_DEF_IMPORTSINKTRANSPOSES
#include "passes/import/Passes.h.inc"
} // namespace llmc::importing

using namespace mlir;
using namespace llmc;
using namespace llmc::importing;

namespace {

using Permutation = ArrayRef<int64_t>;

/// The shape of x, if transposing x gives `shape`.
SmallVector<int64_t> shapeBefore(ArrayRef<int64_t> shape, Permutation permutation) {
  return applyPermutation(shape, invertPermutationVector(permutation));
}

nn::TransposeOp transposeOf(Value value) { return value.getDefiningOp<nn::TransposeOp>(); }

/// True if there is an x with transpose(x) = value that costs nothing to make.
bool canUndo(Value value, Permutation permutation) {
  if (auto transpose = transposeOf(value))
    return transpose.getPermutation() == permutation;
  if (matchPattern(value, m_Constant()))
    return splatOf(value).has_value();
  Spread spread = spreadOf(value);
  SmallVector<int64_t> dims = llvm::map_to_vector(spread.dims, [&](int64_t d) { return permutation[d]; });
  return llvm::is_sorted(dims);
}

/// That x.
Value undo(OpBuilder &builder, Value value, Permutation permutation) {
  if (auto transpose = transposeOf(value))
    return transpose.getInput();
  SmallVector<int64_t> shape = shapeBefore(nn::typeOf(value).getShape(), permutation);
  DenseElementsAttr dense;
  if (matchPattern(value, m_Constant(&dense)))
    return arith::ConstantOp::create(builder, value.getLoc(), dense.resizeSplat(nn::typeOf(value).clone(shape)));
  Spread spread = spreadOf(value);
  SmallVector<int64_t> dims = llvm::map_to_vector(spread.dims, [&](int64_t d) { return permutation[d]; });
  return respread(builder, value.getLoc(), spread, dims, shape);
}

/// The first permutation among the operands' transposes that all `operands` can undo; null if there is none.
nn::TransposeOp commonTranspose(ValueRange operands) {
  for (Value operand : operands)
    if (auto transpose = transposeOf(operand))
      if (llvm::all_of(operands, [&](Value v) { return canUndo(v, transpose.getPermutation()); }))
        return transpose;
  return {};
}

/// Creates `op` again with other operands and result types.
Operation *recreate(PatternRewriter &rewriter, Operation *op, ValueRange operands, TypeRange types) {
  return rewriter.create(OperationState(op->getLoc(), op->getName().getStringRef(), operands, types, op->getAttrs()));
}

bool isElementwise(Operation *op) {
  return op->hasTrait<OpTrait::Elementwise>() || isa<nn::GeluOp, nn::SigmoidOp, nn::SiluOp, nn::SwigluOp>(op);
}

/// f(transpose(x), ...) = transpose(f(x, ...)). Rank-0 operands stay.
struct SinkElementwise : RewritePattern {
  explicit SinkElementwise(MLIRContext *context) : RewritePattern(MatchAnyOpTypeTag(), 1, context) {}
  LogicalResult matchAndRewrite(Operation *op, PatternRewriter &rewriter) const override {
    if (!isElementwise(op) || op->getNumResults() != 1 || !isa<RankedTensorType>(op->getResult(0).getType()))
      return failure();
    RankedTensorType type = nn::typeOf(op->getResult(0));
    SmallVector<Value> moved;
    for (Value operand : op->getOperands()) {
      auto operandType = dyn_cast<RankedTensorType>(operand.getType());
      if (operandType && operandType.getShape() == type.getShape())
        moved.push_back(operand);
      else if (operandType && operandType.getRank() != 0)
        return failure();
    }
    auto transpose = commonTranspose(moved);
    if (!transpose)
      return failure();
    Permutation permutation = transpose.getPermutation();
    SmallVector<Value> operands;
    for (Value operand : op->getOperands())
      operands.push_back(llvm::is_contained(moved, operand) ? undo(rewriter, operand, permutation) : operand);
    Operation *inner = recreate(rewriter, op, operands, type.clone(shapeBefore(type.getShape(), permutation)));
    rewriter.replaceOpWithNewOp<nn::TransposeOp>(op, inner->getResult(0), permutation);
    return success();
  }
};

/// Softmax and norms of the last dimension; a norm's statistics have one dimension less.
struct SinkRowOp : RewritePattern {
  explicit SinkRowOp(MLIRContext *context) : RewritePattern(MatchAnyOpTypeTag(), 1, context) {}
  LogicalResult matchAndRewrite(Operation *op, PatternRewriter &rewriter) const override {
    if (!isa<nn::SoftmaxOp, nn::LogSoftmaxOp, nn::LayerNormOp, nn::RmsNormOp>(op))
      return failure();
    auto transpose = transposeOf(op->getOperand(0));
    if (!transpose)
      return failure();
    Permutation permutation = transpose.getPermutation();
    if (permutation.back() != static_cast<int64_t>(permutation.size()) - 1)
      return failure();
    SmallVector<Type> types;
    auto permutationOf = [&](RankedTensorType type) { return permutation.take_front(type.getRank()); };
    for (Type result : op->getResultTypes()) {
      auto type = cast<RankedTensorType>(result);
      types.push_back(type.clone(shapeBefore(type.getShape(), permutationOf(type))));
    }
    SmallVector<Value> operands(op->getOperands());
    operands[0] = transpose.getInput();
    Operation *inner = recreate(rewriter, op, operands, types);
    SmallVector<Value> results;
    for (auto [result, old] : llvm::zip(inner->getResults(), op->getResults()))
      results.push_back(nn::TransposeOp::create(rewriter, op->getLoc(), result, permutationOf(nn::typeOf(old))));
    rewriter.replaceOp(op, results);
    return success();
  }
};

struct SinkConcat : OpRewritePattern<tensor::ConcatOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(tensor::ConcatOp op, PatternRewriter &rewriter) const override {
    auto transpose = commonTranspose(op.getInputs());
    if (!transpose)
      return failure();
    Permutation permutation = transpose.getPermutation();
    SmallVector<Value> inputs;
    for (Value input : op.getInputs())
      inputs.push_back(undo(rewriter, input, permutation));
    Value inner = tensor::ConcatOp::create(rewriter, op.getLoc(), permutation[op.getDim()], inputs);
    rewriter.replaceOpWithNewOp<nn::TransposeOp>(op, inner, permutation);
    return success();
  }
};

/// Offsets, sizes or strides of a slice before a transpose.
SmallVector<OpFoldResult> before(OpBuilder &builder, ArrayRef<int64_t> values, Permutation permutation) {
  return llvm::map_to_vector(shapeBefore(values, permutation), [&](int64_t v) { return OpFoldResult(builder.getIndexAttr(v)); });
}

struct SinkExtractSlice : OpRewritePattern<tensor::ExtractSliceOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(tensor::ExtractSliceOp op, PatternRewriter &rewriter) const override {
    auto transpose = transposeOf(op.getSource());
    if (!transpose || op->getNumOperands() != 1 || op.getDroppedDims().any())
      return failure();
    Permutation p = transpose.getPermutation();
    Value inner = tensor::ExtractSliceOp::create(rewriter, op.getLoc(), transpose.getInput(), before(rewriter, op.getStaticOffsets(), p),
                                                 before(rewriter, op.getStaticSizes(), p), before(rewriter, op.getStaticStrides(), p));
    rewriter.replaceOpWithNewOp<nn::TransposeOp>(op, inner, p);
    return success();
  }
};

struct SinkInsertSlice : OpRewritePattern<tensor::InsertSliceOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(tensor::InsertSliceOp op, PatternRewriter &rewriter) const override {
    if (op->getNumOperands() != 2 || op.getDroppedDims().any())
      return failure();
    auto transpose = commonTranspose({op.getSource(), op.getDest()});
    if (!transpose)
      return failure();
    Permutation p = transpose.getPermutation();
    Value inner = tensor::InsertSliceOp::create(rewriter, op.getLoc(), undo(rewriter, op.getSource(), p), undo(rewriter, op.getDest(), p),
                                                before(rewriter, op.getStaticOffsets(), p), before(rewriter, op.getStaticSizes(), p),
                                                before(rewriter, op.getStaticStrides(), p));
    rewriter.replaceOpWithNewOp<nn::TransposeOp>(op, inner, p);
    return success();
  }
};

/// expand(transpose(x)): x's dimensions are expanded where they stand.
struct SinkExpand : OpRewritePattern<tensor::ExpandShapeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(tensor::ExpandShapeOp op, PatternRewriter &rewriter) const override {
    auto transpose = transposeOf(op.getSrc());
    if (!transpose)
      return failure();
    Permutation permutation = transpose.getPermutation();
    auto groups = op.getReassociationIndices();
    RankedTensorType type = nn::typeOf(op.getResult());
    SmallVector<int64_t> shape, place(type.getRank()); // place: result dimension -> dimension of the expanded x
    SmallVector<ReassociationIndices> inner;
    for (int64_t j : invertPermutationVector(permutation)) {
      inner.emplace_back();
      for (int64_t d : groups[j]) {
        place[d] = static_cast<int64_t>(shape.size());
        inner.back().push_back(place[d]);
        shape.push_back(type.getDimSize(d));
      }
    }
    Value expanded = tensor::ExpandShapeOp::create(rewriter, op.getLoc(), type.clone(shape), transpose.getInput(), inner);
    rewriter.replaceOpWithNewOp<nn::TransposeOp>(op, expanded, place);
    return success();
  }
};

/// collapse(transpose(x)) where each merged group stands together, and in order, in x too. Size-1 dimensions do not count.
struct SinkCollapse : OpRewritePattern<tensor::CollapseShapeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(tensor::CollapseShapeOp op, PatternRewriter &rewriter) const override {
    auto transpose = transposeOf(op.getSrc());
    if (!transpose)
      return failure();
    ArrayRef<int64_t> shape = nn::typeOf(transpose.getInput()).getShape();
    SmallVector<int64_t> rank(shape.size(), -1); // place of a dimension of x among those larger than 1
    int64_t large = 0;
    for (auto [d, size] : llvm::enumerate(shape))
      if (size != 1)
        rank[d] = large++;
    struct Group {
      int64_t first, result, size; // first: the first dimension of x that counts
    };
    SmallVector<Group> groups;
    for (auto [i, dims] : llvm::enumerate(op.getReassociationIndices())) {
      Group group{transpose.getPermutation()[dims.front()], static_cast<int64_t>(i), 1};
      int64_t next = -1;
      for (int64_t d : dims) {
        int64_t source = transpose.getPermutation()[d];
        if (rank[source] < 0)
          continue;
        if (next >= 0 && rank[source] != next)
          return failure();
        if (next < 0)
          group.first = source;
        next = rank[source] + 1;
        group.size *= shape[source];
      }
      groups.push_back(group);
    }
    llvm::stable_sort(groups, [](const Group &a, const Group &b) { return a.first < b.first; });
    SmallVector<int64_t> merged, permutation(groups.size());
    for (auto [i, group] : llvm::enumerate(groups)) {
      merged.push_back(group.size);
      permutation[group.result] = static_cast<int64_t>(i);
    }
    Value collapsed = nn::reshape(rewriter, op.getLoc(), transpose.getInput(), merged);
    rewriter.replaceOpWithNewOp<nn::TransposeOp>(op, collapsed, permutation);
    return success();
  }
};

/// broadcast(transpose(x)): x's dimensions in their own order, each followed by the repetitions that follow it in the result, so
/// that a dimension and its repetitions can still be merged.
struct SinkBroadcast : OpRewritePattern<nn::BroadcastOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::BroadcastOp op, PatternRewriter &rewriter) const override {
    auto transpose = transposeOf(op.getInput());
    if (!transpose)
      return failure();
    RankedTensorType type = nn::typeOf(op);
    ArrayRef<int64_t> dims = op.getDims();
    SmallVector<int64_t> order, newDims; // order: dimension of the new broadcast -> of the result
    auto take = [&](int64_t from, int64_t to) { llvm::append_range(order, llvm::seq(from, to)); };
    auto end = [&](int64_t j) { return j + 1 < static_cast<int64_t>(dims.size()) ? dims[j + 1] : type.getRank(); };
    take(0, dims.empty() ? type.getRank() : dims.front());
    for (int64_t j : invertPermutationVector(transpose.getPermutation())) {
      newDims.push_back(static_cast<int64_t>(order.size()));
      take(dims[j], end(j));
    }
    Value inner = nn::BroadcastOp::create(rewriter, op.getLoc(), type.clone(applyPermutation(type.getShape(), order)), transpose.getInput(),
                                          newDims);
    rewriter.replaceOpWithNewOp<nn::TransposeOp>(op, inner, invertPermutationVector(order));
    return success();
  }
};

struct SinkReduce : OpRewritePattern<nn::ReduceOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::ReduceOp op, PatternRewriter &rewriter) const override {
    auto transpose = transposeOf(op.getInput());
    if (!transpose)
      return failure();
    Permutation permutation = transpose.getPermutation();
    SmallVector<int64_t> dims, kept, keptBefore;
    for (auto [j, d] : llvm::enumerate(permutation))
      (llvm::is_contained(op.getDims(), static_cast<int64_t>(j)) ? dims : kept).push_back(d);
    llvm::sort(dims);
    keptBefore = kept;
    llvm::sort(keptBefore);
    SmallVector<int64_t> after;
    for (int64_t d : kept)
      after.push_back(llvm::find(keptBefore, d) - keptBefore.begin());
    Value inner = nn::ReduceOp::create(rewriter, op.getLoc(), transpose.getInput(), op.getKind(), dims);
    rewriter.replaceOpWithNewOp<nn::TransposeOp>(op, inner, after);
    return success();
  }
};

/// contract(transpose(x), y): the equation names x's dimensions.
struct AbsorbOperand : OpRewritePattern<nn::ContractOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::ContractOp op, PatternRewriter &rewriter) const override {
    std::string labels[] = {op.lhsLabels().str(), op.rhsLabels().str()};
    Value values[] = {op.getLhs(), op.getRhs()};
    bool changed = false;
    for (auto [label, value] : llvm::zip(labels, values))
      if (auto transpose = transposeOf(value)) {
        std::string old = label;
        for (auto [i, d] : llvm::enumerate(transpose.getPermutation()))
          label[d] = old[i];
        value = transpose.getInput();
        changed = true;
      }
    if (!changed)
      return failure();
    rewriter.replaceOpWithNewOp<nn::ContractOp>(op, labels[0] + "," + labels[1] + "->" + op.resultLabels().str(), values[0], values[1]);
    return success();
  }
};

/// transpose(contract(x, y)) with no other use: the equation gives the result in the wanted order.
struct AbsorbResult : OpRewritePattern<nn::TransposeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::TransposeOp op, PatternRewriter &rewriter) const override {
    auto contract = op.getInput().getDefiningOp<nn::ContractOp>();
    if (!contract || !contract->hasOneUse())
      return failure();
    std::string labels;
    for (int64_t d : op.getPermutation())
      labels.push_back(contract.resultLabels()[d]);
    std::string equation = (contract.lhsLabels() + "," + contract.rhsLabels() + "->").str() + labels;
    rewriter.replaceOpWithNewOp<nn::ContractOp>(op, equation, contract.getLhs(), contract.getRhs());
    return success();
  }
};

/// transpose(broadcast(x)) = broadcast(transpose(x)): the smaller one is moved.
struct HoistOverBroadcast : OpRewritePattern<nn::TransposeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::TransposeOp op, PatternRewriter &rewriter) const override {
    auto broadcast = op.getInput().getDefiningOp<nn::BroadcastOp>();
    if (!broadcast)
      return failure();
    SmallVector<int64_t> inner, dims;
    for (auto [i, d] : llvm::enumerate(op.getPermutation()))
      if (auto it = llvm::find(broadcast.getDims(), d); it != broadcast.getDims().end()) {
        inner.push_back(it - broadcast.getDims().begin());
        dims.push_back(static_cast<int64_t>(i));
      }
    Value small = rewriter.createOrFold<nn::TransposeOp>(op.getLoc(), broadcast.getInput(), inner);
    rewriter.replaceOpWithNewOp<nn::BroadcastOp>(op, nn::typeOf(op), small, dims);
    return success();
  }
};

struct SinkTransposes : importing::impl::ImportSinkTransposesBase<SinkTransposes> {
  void runOnOperation() override {
    RewritePatternSet sink(&getContext()), absorb(&getContext());
    populateViewPatterns(sink);
    populateSinkTransposePatterns(sink);
    absorb.add<AbsorbResult, HoistOverBroadcast>(&getContext());
    FrozenRewritePatternSet frozenSink(std::move(sink)), frozenAbsorb(std::move(absorb));
    GreedyRewriteConfig config;
    config.setRegionSimplificationLevel(GreedySimplifyRegionLevel::Disabled);
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (failed(applyPatternsGreedily(function, frozenSink, config)) || failed(applyPatternsGreedily(function, frozenAbsorb, config)))
        return signalPassFailure();
  }
};

} // namespace

void importing::populateSinkTransposePatterns(RewritePatternSet &patterns) {
  patterns.add<SinkElementwise, SinkRowOp, SinkConcat, SinkExtractSlice, SinkInsertSlice, SinkExpand, SinkCollapse, SinkBroadcast,
               SinkReduce, AbsorbOperand>(patterns.getContext());
}
