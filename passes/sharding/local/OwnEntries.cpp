//===- OwnEntries.cpp - dropout of one part of a tensor -----------------------===//
//
// With n of a dimension on each rank, the part of the rank at place p begins at p n. So its first sample is p n further on,
// and its first entry is the sum over the dimensions behind of p n, each times how far neighbours are apart in the whole.
//
//===----------------------------------------------------------------------===//
#include "passes/sharding/local/OwnEntries.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace llmc::sharding {

using dist::Axes;

namespace {

/// Tensors of integers in front of one op.
class Numbers {
public:
  explicit Numbers(Operation *op) : b(op), loc(op->getLoc()) {}

  Value constant(RankedTensorType type, int64_t value) {
    return arith::ConstantOp::create(b, loc, DenseElementsAttr::get(type, b.getI64IntegerAttr(value)));
  }
  /// The rank's place along `axes` times `step`.
  Value place(ArrayRef<StringAttr> axes, int64_t step) {
    Value index = dist::IndexOp::create(b, loc, scalar, dist::namesOf(b.getContext(), axes));
    return arith::MulIOp::create(b, loc, index, constant(scalar, step));
  }
  Value sum(Value x, Value y) { return x ? arith::AddIOp::create(b, loc, x, y).getResult() : y; }
  /// One entry of a vector; a missing one is zero.
  Value entry(Value number) {
    return number ? nn::BroadcastOp::create(b, loc, one, number, b.getDenseI64ArrayAttr({})).getResult() : constant(one, 0);
  }
  Value vector(ValueRange parts) { return tensor::ConcatOp::create(b, loc, /*dim=*/0, parts); }

private:
  OpBuilder b;
  Location loc;
  RankedTensorType scalar = RankedTensorType::get({}, b.getI64Type()), one = RankedTensorType::get({1}, b.getI64Type());
};

SmallVector<int64_t> stridesOf(RankedTensorType type) {
  SmallVector<int64_t> strides;
  int64_t stride = 1;
  for (int64_t size : llvm::reverse(type.getShape().drop_front())) {
    strides.insert(strides.begin(), stride);
    stride *= size;
  }
  return strides;
}

} // namespace

void OwnEntries::count(nn::DropoutOp dropout, ArrayRef<Axes> dims, RankedTensorType whole) {
  RankedTensorType local = nn::typeOf(dropout.getResult());
  if (local == whole)
    return;
  Builder attributes(dropout.getContext());
  bool isPart = dropout.getStrides().has_value();
  SmallVector<int64_t> strides = isPart ? SmallVector<int64_t>(*dropout.getStrides()) : stridesOf(whole);
  bool numbersEntries = isPart || local.getShape().drop_front() != whole.getShape().drop_front();

  // What the rank's position is made of: axes and step of its sample, then of its entry.
  SmallVector<std::pair<Axes, int64_t>> terms;
  SmallVector<Attribute> key = {attributes.getBoolAttr(numbersEntries)};
  for (auto [d, axes] : llvm::enumerate(dims)) {
    terms.emplace_back(axes, local.getDimSize(static_cast<int64_t>(d)) * (d == 0 ? 1 : strides[d - 1]));
    key.append({dist::namesOf(dropout.getContext(), axes), attributes.getI64IntegerAttr(terms.back().second)});
  }
  Value &position = positions[{dropout.getPosition(), attributes.getArrayAttr(key)}];
  if (!position) {
    Numbers numbers(dropout);
    Value sample, entry;
    for (auto [d, term] : llvm::enumerate(terms))
      if (Value &number = d == 0 ? sample : entry; !term.first.empty())
        number = numbers.sum(number, numbers.place(term.first, term.second));
    SmallVector<Value> offsets = {numbers.entry({}), numbers.entry(sample)};
    if (numbersEntries)
      offsets.push_back(numbers.entry(entry));
    Value first = dropout.getPosition();
    if (numbersEntries && !isPart)
      first = numbers.vector({first, numbers.entry({})});
    position = numbers.sum(first, numbers.vector(offsets));
  }
  dropout.getPositionMutable().assign(position);
  if (numbersEntries)
    dropout.setStrides(strides);
}

} // namespace llmc::sharding
