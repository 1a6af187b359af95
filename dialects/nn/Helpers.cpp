//===- Helpers.cpp - building blocks of IR that many places emit ------------===//
#include "dialects/nn/Family.h"
#include "mlir/Dialect/Utils/ReshapeOpsUtils.h"

using namespace mlir;

namespace llmc::nn {

Value reshape(OpBuilder &builder, Location loc, Value value, ArrayRef<int64_t> shape) {
  RankedTensorType type = typeOf(value);
  if (type.getShape() == shape)
    return value;
  auto target = RankedTensorType::get(shape, type.getElementType());
  assert(target.getNumElements() == type.getNumElements() && "a reshape keeps the number of elements");
  if (auto groups = getReassociationIndicesForReshape(type, target)) {
    if (type.getRank() > target.getRank())
      return tensor::CollapseShapeOp::create(builder, loc, target, value, *groups);
    return tensor::ExpandShapeOp::create(builder, loc, target, value, *groups);
  }
  // The finest common coarsening: cut wherever the running products of both shapes meet.
  SmallVector<int64_t> common;
  SmallVector<ReassociationIndices> from, to;
  int64_t i = 0, j = 0, a = type.getRank(), b = target.getRank();
  while (i < a || j < b) {
    ReassociationIndices fromGroup, toGroup;
    int64_t p = 1, q = 1;
    if (i < a)
      p = type.getDimSize(i), fromGroup.push_back(i++);
    if (j < b)
      q = shape[j], toGroup.push_back(j++);
    while (p != q || fromGroup.empty() || toGroup.empty()) {
      if (i < a && (p < q || fromGroup.empty() || j >= b))
        p *= type.getDimSize(i), fromGroup.push_back(i++);
      else if (j < b)
        q *= shape[j], toGroup.push_back(j++);
      else
        break;
    }
    // Trailing ones join the last group.
    bool fromRest = llvm::all_of(type.getShape().drop_front(i), [](int64_t d) { return d == 1; });
    bool toRest = llvm::all_of(shape.drop_front(j), [](int64_t d) { return d == 1; });
    if (fromRest && toRest) {
      while (i < a)
        fromGroup.push_back(i++);
      while (j < b)
        toGroup.push_back(j++);
    }
    common.push_back(p);
    from.push_back(fromGroup);
    to.push_back(toGroup);
  }
  auto commonType = RankedTensorType::get(common, type.getElementType());
  if (type.getRank() == 0 || target.getRank() == 0)
    from.clear(), to.clear(), commonType = RankedTensorType::get({}, type.getElementType());
  if (commonType != type)
    value = tensor::CollapseShapeOp::create(builder, loc, commonType, value, from);
  if (commonType != target)
    value = tensor::ExpandShapeOp::create(builder, loc, target, value, to);
  return value;
}

Value throughReshapes(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op))
      break;
    value = op->getOperand(0);
  }
  return value;
}

Value splat(OpBuilder &builder, Location loc, Type type, double value) {
  auto ranked = cast<RankedTensorType>(type);
  Type element = ranked.getElementType();
  Attribute attribute = isa<FloatType>(element) ? Attribute(builder.getFloatAttr(element, value))
                                                : Attribute(builder.getIntegerAttr(element, static_cast<int64_t>(value)));
  return arith::ConstantOp::create(builder, loc, DenseElementsAttr::get(ranked, attribute));
}

Value broadcastScalar(OpBuilder &builder, Location loc, Value scalar, RankedTensorType type) {
  if (type.getRank() == 0)
    return scalar;
  return BroadcastOp::create(builder, loc, type, scalar, ArrayRef<int64_t>());
}

Value sumToBroadcastInput(OpBuilder &builder, Location loc, Value value, ArrayRef<int64_t> dims, RankedTensorType inputType) {
  SmallVector<int64_t> reduced;
  for (int64_t d = 0; d < typeOf(value).getRank(); ++d) {
    auto it = llvm::find(dims, d);
    bool kept = it != dims.end() && inputType.getDimSize(it - dims.begin()) == typeOf(value).getDimSize(d);
    if (!kept)
      reduced.push_back(d);
  }
  if (!reduced.empty())
    value = ReduceOp::create(builder, loc, value, ReduceKind::Sum, reduced);
  return reshape(builder, loc, value, inputType.getShape());
}

} // namespace llmc::nn
