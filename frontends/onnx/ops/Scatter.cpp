//===- Scatter.cpp - ScatterElements and ScatterND ------===//
//
// A scatter that overwrites is made of ops that have derivatives and take integers too:
//   - one constant range of rows: an insertion;
//   - constant indices: a lookup, in data and updates together, of what ends at each position;
//   - few indices: a selection for each, in order, so that the last of equal ones stays;
//   - positions from a top-k: a sum, since no two are equal.
// Any other could meet equal indices, and a sum of their updates would be wrong.
//
//===----------------------------------------------------------------------===//
#include "frontends/onnx/OpTable.h"
#include "frontends/onnx/ops/Positions.h"

using namespace mlir;
using namespace llmc;
using namespace llmc::onnx;

static constexpr int64_t kMaxSelections = 64;

/// True if no two entries of `indices` along its last dimension are equal, because they are positions from a top-k.
static bool areDistinct(Value indices) {
  while (Operation *op = indices.getDefiningOp()) {
    if (isa<nn::TopKOp>(op))
      return true;
    if (!isa<arith::ExtSIOp, arith::TruncIOp>(op))
      return false;
    indices = op->getOperand(0);
  }
  return false;
}

/// Replaces rows of `data` [rows, ...] by those of `updates` [count, ...] at the known `indices`.
static Value overwriteKnownRows(NodeImporter &n, Value data, const HostTensor &indices, Value updates) {
  int64_t rows = nn::typeOf(data).getDimSize(0);
  SmallVector<int64_t> from, shape(nn::typeOf(data).getShape());
  for (int64_t i = 0; i < rows; ++i)
    from.push_back(i);
  for (auto [i, index] : llvm::enumerate(indices.integers))
    from[index < 0 ? index + rows : index] = rows + static_cast<int64_t>(i);
  Value both = n.concat({data, updates}, 0);
  return n.emit<nn::GatherOp>(data.getType(), both, n.state.pool.makeInts(n.loc, from));
}

/// The same one after the other; `indices` [count] may depend on data.
static Value overwriteRows(NodeImporter &n, Value data, Value indices, Value updates) {
  RankedTensorType type = nn::typeOf(data);
  Value positions = positionsAlong(n, type.getShape(), 0);
  indices = wrapped(n, n.cast(indices, n.state.builder.getI64Type()), type.getDimSize(0));
  SmallVector<int64_t> row(type.getShape().drop_front()), dims;
  for (int64_t d = 1; d < type.getRank(); ++d)
    dims.push_back(d);
  for (int64_t k = 0; k < nn::typeOf(indices).getNumElements(); ++k) {
    Value index = n.broadcast(n.reshape(n.slice(indices, 0, k, 1), {}), type.getShape(), {});
    Value update = n.broadcast(n.reshape(n.slice(updates, 0, k, 1), row), type.getShape(), dims);
    data = n.emit<arith::SelectOp>(n.emit<arith::CmpIOp>(arith::CmpIPredicate::eq, positions, index), update, data);
  }
  return data;
}

/// Replaces elements of `data` along `axis` one after the other; `indices` has the shape of data but along `axis`.
static Value overwriteAlong(NodeImporter &n, Value data, Value indices, Value updates, int64_t axis) {
  ArrayRef<int64_t> shape = nn::typeOf(data).getShape();
  Value positions = positionsAlong(n, shape, axis);
  indices = wrapped(n, n.cast(indices, n.state.builder.getI64Type()), shape[axis]);
  auto spread = [&](Value value, int64_t k) { return n.broadcastTo(n.slice(value, axis, k, 1), shape); };
  for (int64_t k = 0; k < nn::typeOf(indices).getDimSize(axis); ++k) {
    Value hit = n.emit<arith::CmpIOp>(arith::CmpIPredicate::eq, positions, spread(indices, k));
    data = n.emit<arith::SelectOp>(hit, spread(updates, k), data);
  }
  return data;
}

/// Puts `part` at the start of each dimension of `whole`.
static Value insertAtStart(NodeImporter &n, Value part, Value whole) {
  if (part.getType() == whole.getType())
    return part;
  OpBuilder &b = n.state.builder;
  SmallVector<OpFoldResult> offsets(nn::typeOf(part).getRank(), b.getIndexAttr(0)), strides(offsets.size(), b.getIndexAttr(1)), sizes;
  for (int64_t extent : nn::typeOf(part).getShape())
    sizes.push_back(b.getIndexAttr(extent));
  return n.emit<tensor::InsertSliceOp>(part, whole, offsets, sizes, strides);
}

/// ScatterElements without a reduction.
static LogicalResult overwriteElements(NodeImporter &n, int64_t axis) {
  Value data = n.in(0), indices = n.in(1), updates = n.in(2), region = data;
  int64_t count = n.shape(1)[axis], extent = n.shape(0)[axis];
  // The format allows indices that are shorter in other dimensions: the rest of the data stays.
  for (int64_t d = 0; d < n.rank(0); ++d)
    if (d != axis)
      region = n.slice(region, d, 0, n.shape(1)[d]);
  if (isa<FloatType>(nn::typeOf(data).getElementType()) && axis == n.rank(0) - 1 && areDistinct(indices)) {
    auto scattered = [&](Value from) { return n.emit<nn::ScatterAddAlongOp>(region.getType(), indices, from, axis); };
    Value sum = scattered(updates);
    if (n.state.pool.splatValue(data) != 0.0) {
      Value ones = scattered(n.splatLike(updates, 1));
      Value hit = n.emit<arith::CmpFOp>(arith::CmpFPredicate::OGT, ones, n.splatLike(ones, 0.5));
      sum = n.emit<arith::SelectOp>(hit, sum, region);
    }
    return n.done(insertAtStart(n, sum, data));
  }
  if (count <= kMaxSelections && extent <= kMaxPositions)
    return n.done(insertAtStart(n, overwriteAlong(n, region, indices, updates, axis), data));
  const HostTensor *known = n.state.pool.elements(indices);
  int64_t elements = nn::typeOf(data).getNumElements();
  if (!known || elements > kMaxPositions)
    return n.fail("more than " + Twine(kMaxSelections) + " indices that may repeat");
  HostTensor flat = *known; // positions in the whole data
  auto small = known->strides();
  SmallVector<int64_t> large(n.rank(0), 1);
  for (int64_t d = n.rank(0) - 1; d-- > 0;)
    large[d] = large[d + 1] * n.shape(0)[d + 1];
  for (int64_t i = 0; i < known->size(); ++i) {
    int64_t at = 0;
    for (int64_t d = 0; d < n.rank(0); ++d) {
      int64_t index = d == axis ? known->integers[i] : i / small[d] % known->shape[d];
      at += (index < 0 ? index + extent : index) * large[d];
    }
    flat.integers[i] = at;
  }
  Value result = overwriteKnownRows(n, n.reshape(data, {elements}), flat, n.reshape(updates, {known->size()}));
  return n.done(n.reshape(result, n.shape(0)));
}

static LogicalResult scatterElements(NodeImporter &n) {
  Value data = n.in(0), indices = n.in(1), updates = n.in(2);
  if (!data || !isInteger(indices) || !updates || n.rank(0) == 0 || n.rank(0) != n.rank(1) || n.shape(1) != n.shape(2) ||
      nn::typeOf(data).getElementType() != nn::typeOf(updates).getElementType())
    return n.fail("data, integer indices and updates of one rank expected");
  auto axis = n.axis(n.attr("axis", 0), n.rank(0));
  if (failed(axis) || failed(checkRange(n, indices, n.shape(0)[*axis])))
    return failure();
  for (int64_t d = 0; d < n.rank(0); ++d)
    if (d != *axis && n.shape(1)[d] > n.shape(0)[d])
      return n.fail("the indices do not fit the data");
  if (nn::typeOf(indices).getNumElements() == 0)
    return n.done(data);
  std::string reduction = n.attrText("reduction", "none");
  if (reduction == "none")
    return overwriteElements(n, *axis);
  if (reduction != "add" || !isa<FloatType>(nn::typeOf(data).getElementType()))
    return n.fail("reduction " + reduction + (reduction == "add" ? " of integers" : ""));
  for (int64_t d = 0; d < n.rank(0); ++d)
    if (d != *axis && n.shape(1)[d] != n.shape(0)[d])
      return n.fail("reduction add with indices that do not cover the data");
  Value sum = n.emit<nn::ScatterAddAlongOp>(data.getType(), indices, updates, *axis);
  return n.done(n.state.pool.splatValue(data) == 0.0 ? sum : n.emit<arith::AddFOp>(data, sum));
}

static LogicalResult scatterNd(NodeImporter &n) {
  Value data = n.in(0), indices = n.in(1), updates = n.in(2);
  if (!data || !isInteger(indices) || !updates || n.rank(0) == 0 || n.rank(1) == 0 ||
      nn::typeOf(data).getElementType() != nn::typeOf(updates).getElementType())
    return n.fail("data, integer indices and updates expected");
  if (n.attrText("reduction", "none") != "none")
    return n.fail("reduction " + n.attrText("reduction", ""));
  int64_t depth = n.shape(1).back();
  if (depth < 1 || depth > n.rank(0))
    return n.fail("the indices do not fit the data");
  ArrayRef<int64_t> extents = n.shape(0).take_front(depth), rest = n.shape(0).drop_front(depth);
  int64_t rows = 1; // a part of the elements of a tensor, so it cannot overflow
  for (int64_t extent : extents)
    rows *= extent;
  for (int64_t i = 0; i < depth; ++i)
    if (failed(checkRange(n, n.slice(indices, n.rank(1) - 1, i, 1), extents[i])))
      return failure();
  SmallVector<int64_t> expected(n.shape(1).drop_back());
  expected.append(rest.begin(), rest.end());
  if (ArrayRef<int64_t>(expected) != n.shape(2))
    return n.fail("the updates do not fit the indices");
  Value flat = flatIndex(n, indices, extents);
  int64_t count = nn::typeOf(flat).getNumElements();
  if (count == 0)
    return n.done(data);
  SmallVector<int64_t> tableShape = {rows}, rowShape = {count};
  tableShape.append(rest.begin(), rest.end());
  rowShape.append(rest.begin(), rest.end());
  Value table = n.reshape(data, tableShape), rowsIn = n.reshape(updates, rowShape), result;
  if (auto first = consecutive(n, flat, rows)) {
    if (*first == 0 && count == rows)
      return n.done(n.reshape(rowsIn, n.shape(0)));
    OpBuilder &b = n.state.builder;
    SmallVector<OpFoldResult> offsets(tableShape.size(), b.getIndexAttr(0)), strides(tableShape.size(), b.getIndexAttr(1)), sizes;
    offsets[0] = b.getIndexAttr(*first);
    for (int64_t extent : rowShape)
      sizes.push_back(b.getIndexAttr(extent));
    result = n.emit<tensor::InsertSliceOp>(rowsIn, table, offsets, sizes, strides);
  } else if (const HostTensor *known = n.state.pool.elements(flat); known && rows <= kMaxPositions) {
    result = overwriteKnownRows(n, table, *known, rowsIn);
  } else if (count <= kMaxSelections && rows <= kMaxPositions) {
    result = overwriteRows(n, table, n.reshape(flat, {count}), rowsIn);
  } else {
    return n.fail("more than " + Twine(kMaxSelections) + " indices that may repeat");
  }
  return n.done(n.reshape(result, n.shape(0)));
}

void llmc::onnx::registerScatter(OpTable &t) {
  t.add("ScatterElements", 9, scatterElements);
  t.add("ScatterND", 11, scatterNd);
}
