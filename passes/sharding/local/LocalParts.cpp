//===- LocalParts.cpp - flat forms on one rank --------------------------------------===//
//
// With `parts` parts of a dimension on this rank, the tensor is [before, parts, rest], and the rows are its transpose: of one
// part the same bytes.
//
//===----------------------------------------------------------------------===//
#include "passes/sharding/local/LocalParts.h"
#include "dialects/nn/Nn.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace llmc::sharding {

namespace {

class Expander {
public:
  Expander(Operation *op, RankedTensorType tensor, RankedTensorType row, int64_t dim)
      : op(op), b(op), tensor(tensor), row(row), used(row.getShape()) {
    parts = row.getRank() == 1 ? 1 : row.getDimSize(0);
    used.back() = tensor.getNumElements() / parts;
    for (int64_t size : tensor.getShape().take_front(dim))
      before *= size;
  }

  Value flatten(Value value) {
    value = nn::reshape(b, op->getLoc(), transposed(value, {before, parts, rest()}), used);
    if (used == row.getShape())
      return value;
    SmallVector<int64_t> padding(used);
    padding.back() = row.getShape().back() - used.back();
    Value zeros = arith::ConstantOp::create(b, op->getLoc(), cast<TypedAttr>(b.getZeroAttr(row.clone(padding))));
    return tensor::ConcatOp::create(b, op->getLoc(), row.getRank() - 1, ValueRange{value, zeros});
  }

  Value unflatten(Value value) {
    if (used != row.getShape()) {
      SmallVector<OpFoldResult> offsets(row.getRank(), b.getIndexAttr(0)), ones(row.getRank(), b.getIndexAttr(1)), sizes;
      for (int64_t size : used)
        sizes.push_back(b.getIndexAttr(size));
      value = tensor::ExtractSliceOp::create(b, op->getLoc(), row.clone(used), value, offsets, sizes, ones);
    }
    return nn::reshape(b, op->getLoc(), transposed(value, {parts, before, rest()}), tensor.getShape());
  }

private:
  int64_t rest() const { return used.back() / before; }

  /// `value` as `shape`, with its first two dimensions exchanged if that moves anything.
  Value transposed(Value value, ArrayRef<int64_t> shape) {
    if (before == 1 || parts == 1)
      return value;
    return nn::TransposeOp::create(b, op->getLoc(), nn::reshape(b, op->getLoc(), value, shape), ArrayRef<int64_t>{1, 0, 2});
  }

  Operation *op;
  OpBuilder b;
  RankedTensorType tensor, row;
  SmallVector<int64_t> used; // rows without padding
  int64_t parts = 1, before = 1;
};

} // namespace

void expandParts(Operation *op) {
  RankedTensorType input = nn::typeOf(op->getOperand(0)), result = nn::typeOf(op->getResult(0));
  Value expanded;
  if (auto flatten = dyn_cast<nn::FlattenPartsOp>(op))
    expanded = Expander(op, input, result, flatten.getDim()).flatten(op->getOperand(0));
  else
    expanded = Expander(op, result, input, cast<nn::UnflattenPartsOp>(op).getDim()).unflatten(op->getOperand(0));
  op->getResult(0).replaceAllUsesWith(expanded);
  op->erase();
}

} // namespace llmc::sharding
