//===- Shape.cpp - ops that hand on elements: nn.transpose, nn.stop_gradient; nn.batch_size ===//
#include "dialects/nn/Family.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace llmc;
using namespace llmc::nn;

void TransposeOp::build(OpBuilder &builder, OperationState &state, Value input, ArrayRef<int64_t> permutation) {
  SmallVector<int64_t> shape;
  for (int64_t d : permutation)
    shape.push_back(typeOf(input).getDimSize(d));
  build(builder, state, RankedTensorType::get(shape, typeOf(input).getElementType()), input, permutation);
}

LogicalResult TransposeOp::verify() {
  RankedTensorType input = typeOf(getInput()), result = typeOf(getResult());
  ArrayRef<int64_t> permutation = getPermutation();
  if (static_cast<int64_t>(permutation.size()) != input.getRank() || !isPermutationVector(permutation))
    return emitOpError("C1: permutation is no permutation of the input's dimensions");
  SmallVector<int64_t> shape;
  for (int64_t d : permutation)
    shape.push_back(input.getDimSize(d));
  return check(*this, result == RankedTensorType::get(shape, input.getElementType()),
               "C1: the result's shape does not follow the permutation");
}

OpFoldResult TransposeOp::fold(FoldAdaptor adaptor) {
  if (llvm::equal(getPermutation(), llvm::seq<int64_t>(0, getPermutation().size())))
    return getInput();
  if (auto dense = dyn_cast_or_null<DenseElementsAttr>(adaptor.getInput()))
    if (dense.isSplat())
      return dense.resizeSplat(cast<ShapedType>(getType()));
  return {};
}

namespace {
struct ComposeTransposes : OpRewritePattern<TransposeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(TransposeOp op, PatternRewriter &rewriter) const override {
    auto inner = op.getInput().getDefiningOp<TransposeOp>();
    if (!inner)
      return failure();
    SmallVector<int64_t> permutation;
    for (int64_t d : op.getPermutation())
      permutation.push_back(inner.getPermutation()[d]);
    rewriter.replaceOpWithNewOp<TransposeOp>(op, inner.getInput(), permutation);
    return success();
  }
};
} // namespace

void TransposeOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<ComposeTransposes>(context);
}

// y = transpose(x)   dx = transpose by the inverse permutation
LogicalResult TransposeOp::emitVjp(OpBuilder &b, ValueRange cotangents, ArrayRef<bool>, SmallVectorImpl<Value> &gradients) {
  if (!cotangents[0])
    return noGradients(1, gradients);
  gradients.push_back(TransposeOp::create(b, getLoc(), cotangents[0], invertPermutationVector(getPermutation())));
  return success();
}

FactorRule TransposeOp::getFactorRule() {
  FactorRule rule;
  TensorFactors dims = rule.addDimensions(typeOf(getInput()).getShape()), result;
  for (int64_t d : getPermutation())
    result.push_back(dims[d]);
  rule.operands = {dims};
  rule.results = {result};
  return rule;
}

LogicalResult TransposeOp::evaluate(Operands in, Results out) {
  auto from = in[0]->strides(), to = out[0].strides();
  for (int64_t i = 0, e = out[0].size(); i < e; ++i) {
    int64_t source = 0;
    for (auto [k, d] : llvm::enumerate(getPermutation()))
      source += i / to[k] % out[0].shape[k] * from[d];
    if (out[0].isReal)
      out[0].reals[i] = in[0]->reals[source];
    else
      out[0].integers[i] = in[0]->integers[source];
  }
  return success();
}

//===-- nn.stop_gradient -----------------------------------------------------------===//

// y = x   dx = 0
LogicalResult StopGradientOp::emitVjp(OpBuilder &, ValueRange, ArrayRef<bool>, SmallVectorImpl<Value> &gradients) {
  return noGradients(1, gradients);
}

FactorRule StopGradientOp::getFactorRule() { return elementwiseFactorRule(*this); }

LogicalResult StopGradientOp::evaluate(Operands in, Results out) {
  out[0].reals = in[0]->reals;
  return success();
}

//===-- nn.batch_size --------------------------------------------------------------===//

LogicalResult BatchSizeOp::verify() {
  return check(*this, typeOf(getInput()).getRank() > 0 && typeOf(getResult()).getRank() == 0,
               "C1: the input has no dimension, or the result is no scalar");
}

// n = number of samples   dx = 0
LogicalResult BatchSizeOp::emitVjp(OpBuilder &, ValueRange, ArrayRef<bool>, SmallVectorImpl<Value> &gradients) {
  return noGradients(1, gradients);
}

FactorRule BatchSizeOp::getFactorRule() {
  FactorRule rule;
  TensorFactors dims = rule.addDimensions(typeOf(getInput()).getShape(), FactorKind::NeedWhole);
  rule.factors[dims[0].front()].kind = FactorKind::Sum;
  rule.operands = {dims};
  rule.results = {{}};
  return rule;
}

LogicalResult BatchSizeOp::evaluate(Operands in, Results out) {
  out[0].reals[0] = static_cast<double>(in[0]->shape[0]);
  return success();
}
