//===- TensorModels.cpp - shape changes: values, derivatives, factor rules --===//
#include "dialects/interfaces/Models.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace llmc;
using namespace llmc::models;

namespace {

Value zerosOf(OpBuilder &b, Location loc, Type type) {
  auto ranked = cast<RankedTensorType>(type);
  return arith::ConstantOp::create(b, loc, DenseElementsAttr::get(ranked, b.getZeroAttr(ranked.getElementType())));
}

template <typename Op>
struct NoFlops : Cost::ExternalModel<NoFlops<Op>, Op> {
  int64_t getFlops(Operation *) const { return 0; }
  int64_t getBytes(Operation *op) const { return countBytes(op); }
};

LogicalResult keepValues(Operation *, Operands in, Results out) {
  out[0].reals = in[0]->reals;
  out[0].integers = in[0]->integers;
  return success();
}

//===-- collapse_shape, expand_shape: the wide side's factors, grouped -------===//

template <typename Op>
struct ReshapeRule : Shardable::ExternalModel<ReshapeRule<Op>, Op> {
  FactorRule getFactorRule(Operation *operation) const {
    auto op = cast<Op>(operation);
    constexpr bool collapse = std::is_same_v<Op, tensor::CollapseShapeOp>;
    auto wide = cast<RankedTensorType>(collapse ? op.getSrc().getType() : op.getResult().getType());
    FactorRule rule;
    TensorFactors wideDims = rule.addDimensions(wide.getShape()), narrowDims;
    for (auto &group : op.getReassociationIndices()) {
      DimensionFactors factors;
      for (int64_t dim : group)
        factors.append(wideDims[dim]);
      narrowDims.push_back(factors);
    }
    rule.operands.push_back(collapse ? wideDims : narrowDims);
    if constexpr (!collapse)
      for (unsigned i = 1; i < op->getNumOperands(); ++i)
        rule.operands.push_back({});
    rule.results.push_back(collapse ? narrowDims : wideDims);
    return rule;
  }
};

void attachReshapes(MLIRContext *ctx) {
  using Collapse = tensor::CollapseShapeOp;
  using Expand = tensor::ExpandShapeOp;
  Collapse::attachInterface<
      ValueModel<Collapse, [](Collapse op, Operands in, Results out) { return keepValues(op, in, out); }>,
      VjpModel<Collapse, [](OpBuilder &b, Collapse op, Value dy, ArrayRef<bool>, Gradients &g) {
        g.push_back(Expand::create(b, op.getLoc(), op.getSrc().getType(), dy, op.getReassociationIndices()));
      }>, ReshapeRule<Collapse>, NoFlops<Collapse>>(*ctx);
  Expand::attachInterface<
      ValueModel<Expand, [](Expand op, Operands in, Results out) { return keepValues(op, in, out); }>,
      VjpModel<Expand, [](OpBuilder &b, Expand op, Value dy, ArrayRef<bool>, Gradients &g) {
        g.push_back(Collapse::create(b, op.getLoc(), op.getSrc().getType(), dy, op.getReassociationIndices()));
      }>, ReshapeRule<Expand>, NoFlops<Expand>>(*ctx);
}

//===-- Slices -----------------------------------------------------------------===//

/// Calls fn(index in the slice, index in the whole) for each element of a static slice without rank reduction.
template <typename Op, typename Fn>
void forSlice(Op op, ArrayRef<int64_t> sliceShape, const HostTensor &whole, Fn fn) {
  ArrayRef<int64_t> offsets = op.getStaticOffsets(), steps = op.getStaticStrides();
  auto strides = whole.strides();
  SmallVector<int64_t> index(sliceShape.size(), 0);
  int64_t count = 1;
  for (int64_t extent : sliceShape)
    count *= extent;
  for (int64_t i = 0; i < count; ++i) {
    int64_t position = 0;
    for (size_t d = 0; d < index.size(); ++d)
      position += (offsets[d] + index[d] * steps[d]) * strides[d];
    fn(i, position);
    for (int64_t d = static_cast<int64_t>(index.size()) - 1; d >= 0 && ++index[d] == sliceShape[d]; --d)
      index[d] = 0;
  }
}

void copyElement(const HostTensor &from, int64_t i, HostTensor &to, int64_t j) {
  if (to.isReal)
    to.reals[j] = from.reals[i];
  else
    to.integers[j] = from.integers[i];
}

template <typename Op>
LogicalResult requireStatic(Op op) {
  if (op->getNumOperands() > (std::is_same_v<Op, tensor::InsertSliceOp> ? 2u : 1u))
    return op.emitOpError("has dynamic offsets, sizes or strides");
  return success();
}

LogicalResult extractSlice(tensor::ExtractSliceOp op, Operands in, Results out) {
  if (failed(requireStatic(op)))
    return failure();
  forSlice(op, op.getStaticSizes(), *in[0], [&](int64_t i, int64_t at) { copyElement(*in[0], at, out[0], i); });
  return success();
}

LogicalResult insertSlice(tensor::InsertSliceOp op, Operands in, Results out) {
  if (failed(requireStatic(op)))
    return failure();
  out[0] = *in[1];
  forSlice(op, op.getStaticSizes(), out[0], [&](int64_t i, int64_t at) { copyElement(*in[0], i, out[0], at); });
  return success();
}

LogicalResult concat(tensor::ConcatOp op, Operands in, Results out) {
  uint64_t dim = op.getDim();
  int64_t inner = out[0].strides()[dim], outer = 1, offset = 0;
  for (uint64_t d = 0; d < dim; ++d)
    outer *= out[0].shape[d];
  for (const HostTensor *part : in) {
    int64_t run = part->shape[dim] * inner;
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t i = 0; i < run; ++i)
        copyElement(*part, o * run + i, out[0], o * out[0].shape[dim] * inner + offset + i);
    offset += run;
  }
  return success();
}

/// Dimensions taken whole are parallel, cut ones need their operand whole.
template <typename Op>
struct SliceRule : Shardable::ExternalModel<SliceRule<Op>, Op> {
  FactorRule getFactorRule(Operation *operation) const {
    auto op = cast<Op>(operation);
    constexpr bool insert = std::is_same_v<Op, tensor::InsertSliceOp>;
    auto slice = cast<RankedTensorType>(insert ? op->getOperand(0).getType() : op->getResult(0).getType());
    auto whole = cast<RankedTensorType>(insert ? op->getResult(0).getType() : op->getOperand(0).getType());
    FactorRule rule;
    TensorFactors wholeDims, sliceDims;
    // A rank-reduced slice drops size-1 dimensions; they get no factor on the slice's side.
    llvm::SmallBitVector dropped = op.getDroppedDims();
    for (int64_t d = 0; d < whole.getRank(); ++d) {
      bool full = op.getStaticSizes()[d] == whole.getDimSize(d) && op.getStaticStrides()[d] == 1;
      int64_t factor = rule.add(whole.getDimSize(d), full ? FactorKind::Parallel : FactorKind::NeedWhole);
      wholeDims.push_back({factor});
      if (dropped.test(d))
        continue;
      sliceDims.push_back({full ? factor : rule.add(op.getStaticSizes()[d], FactorKind::NeedWhole)});
    }
    (void)slice;
    rule.operands.push_back(insert ? sliceDims : wholeDims);
    if (insert)
      rule.operands.push_back(wholeDims);
    rule.results.push_back(insert ? wholeDims : sliceDims);
    return rule;
  }
};

struct ConcatRule : Shardable::ExternalModel<ConcatRule, tensor::ConcatOp> {
  FactorRule getFactorRule(Operation *operation) const {
    auto op = cast<tensor::ConcatOp>(operation);
    FactorRule rule;
    TensorFactors dims = rule.addDimensions(op.getResultType().getShape());
    rule.factors[dims[op.getDim()][0]].kind = FactorKind::NeedWhole;
    rule.results.push_back(dims);
    for (Value input : op.getInputs()) {
      TensorFactors inputDims = dims;
      inputDims[op.getDim()] = {rule.add(cast<RankedTensorType>(input.getType()).getDimSize(op.getDim()),
                                         FactorKind::NeedWhole)};
      rule.operands.push_back(inputDims);
    }
    return rule;
  }
};

// slice: dx = zeros with dy in the slice's place; insert: dsource = that slice of dy, ddestination = dy with zeros there
void attachSlices(MLIRContext *ctx) {
  using Extract = tensor::ExtractSliceOp;
  using Insert = tensor::InsertSliceOp;
  Extract::attachInterface<
      ValueModel<Extract, extractSlice>, VjpModel<Extract, [](OpBuilder &b, Extract op, Value dy, ArrayRef<bool>, Gradients &g) {
        Value zeros = zerosOf(b, op.getLoc(), op.getSource().getType());
        g.push_back(Insert::create(b, op.getLoc(), dy, zeros, op.getMixedOffsets(), op.getMixedSizes(), op.getMixedStrides()));
      }>, SliceRule<Extract>, NoFlops<Extract>>(*ctx);
  Insert::attachInterface<
      ValueModel<Insert, insertSlice>, VjpModel<Insert, [](OpBuilder &b, Insert op, Value dy, ArrayRef<bool> wanted, Gradients &g) {
        Location loc = op.getLoc();
        g.push_back(wanted[0] ? Extract::create(b, loc, cast<RankedTensorType>(op.getSource().getType()), dy,
                                                op.getMixedOffsets(), op.getMixedSizes(), op.getMixedStrides())
                              : Value());
        Value zeros = zerosOf(b, loc, op.getSource().getType());
        g.push_back(wanted[1] ? Insert::create(b, loc, zeros, dy, op.getMixedOffsets(), op.getMixedSizes(), op.getMixedStrides())
                              : Value());
      }>, SliceRule<Insert>, NoFlops<Insert>>(*ctx);
}

// y = concat(x0, x1, ...)   dxi = its slice of dy
void concatVjp(OpBuilder &b, tensor::ConcatOp op, Value dy, ArrayRef<bool> wanted, Gradients &g) {
  int64_t offset = 0, rank = op.getResultType().getRank();
  for (auto [i, input] : llvm::enumerate(op.getInputs())) {
    auto type = cast<RankedTensorType>(input.getType());
    SmallVector<OpFoldResult> offsets(rank, b.getIndexAttr(0)), strides(rank, b.getIndexAttr(1)), sizes;
    offsets[op.getDim()] = b.getIndexAttr(offset);
    for (int64_t extent : type.getShape())
      sizes.push_back(b.getIndexAttr(extent));
    offset += type.getDimSize(op.getDim());
    g.push_back(wanted[i] ? tensor::ExtractSliceOp::create(b, op.getLoc(), type, dy, offsets, sizes, strides) : Value());
  }
}

} // namespace

void llmc::registerTensorModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *ctx, tensor::TensorDialect *) {
    attachReshapes(ctx);
    attachSlices(ctx);
    tensor::ConcatOp::attachInterface<ValueModel<tensor::ConcatOp, concat>, VjpModel<tensor::ConcatOp, concatVjp>,
                                      ConcatRule, NoFlops<tensor::ConcatOp>>(*ctx);
  });
}
