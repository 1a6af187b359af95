//===- Indexing.cpp - gathers, top-k, positions of extremes, one-hot ------===//
#include "frontends/onnx/NodeImporter.h"
#include "frontends/onnx/OpTable.h"
#include "frontends/onnx/ops/Positions.h"

using namespace mlir;
using namespace llmc;
using namespace llmc::onnx;

static LogicalResult gather(NodeImporter &n) {
  Value data = n.in(0), indices = n.in(1);
  if (!data || !isInteger(indices) || n.rank(0) == 0)
    return n.fail("a tensor and integer indices expected");
  auto axis = n.axis(n.attr("axis", 0), n.rank(0));
  if (failed(axis) || failed(checkRange(n, indices, n.shape(0)[*axis])))
    return failure();
  ArrayRef<int64_t> picked = n.shape(1);
  SmallVector<int64_t> shape(n.shape(0).take_front(*axis));
  shape.append(picked.begin(), picked.end());
  shape.append(n.shape(0).begin() + *axis + 1, n.shape(0).end());
  if (auto first = consecutive(n, indices, n.shape(0)[*axis])) {
    Value rows = n.slice(data, *axis, *first, nn::typeOf(indices).getNumElements(), /*stride=*/1, /*byNumber=*/true);
    Value result = n.reshape(rows, shape);
    return n.done(picked.empty() ? n.noteAxes(result, rows, {*axis}) : result);
  }
  Value table = n.transpose(data, frontPermutation(n.rank(0), *axis, /*back=*/false));
  SmallVector<int64_t> gathered(picked);
  gathered.append(nn::typeOf(table).getShape().begin() + 1, nn::typeOf(table).getShape().end());
  Value result = n.emit<nn::GatherOp>(RankedTensorType::get(gathered, nn::typeOf(data).getElementType()), table, indices);
  // [indices..., leading..., trailing...] -> [leading..., indices..., trailing...]
  SmallVector<int64_t> permutation;
  int64_t count = static_cast<int64_t>(picked.size());
  for (int64_t i = 0; i < *axis; ++i)
    permutation.push_back(count + i);
  for (int64_t i = 0; i < count; ++i)
    permutation.push_back(i);
  for (int64_t i = count + *axis; i < static_cast<int64_t>(gathered.size()); ++i)
    permutation.push_back(i);
  return n.done(n.transpose(result, permutation));
}

static LogicalResult gatherElements(NodeImporter &n) {
  Value data = n.in(0), indices = n.in(1);
  if (!data || !isInteger(indices) || n.rank(0) == 0 || n.rank(0) != n.rank(1))
    return n.fail("a tensor and integer indices of the same rank expected");
  auto axis = n.axis(n.attr("axis", 0), n.rank(0));
  if (failed(axis) || failed(checkRange(n, indices, n.shape(0)[*axis])))
    return failure();
  // The format allows indices that are shorter in other dimensions: cut the data.
  for (int64_t d = 0; d < n.rank(0); ++d)
    if (d != *axis && n.shape(1)[d] < n.shape(0)[d])
      data = n.slice(data, d, 0, n.shape(1)[d]);
  auto type = RankedTensorType::get(n.shape(1), nn::typeOf(data).getElementType());
  if (auto value = n.state.pool.splatValue(data))
    return n.done(n.splat(type, *value));
  return n.done(n.emit<nn::GatherAlongOp>(type, data, indices, *axis));
}

/// True if the known `values` are the positions along their first dimension.
static bool areRows(NodeImporter &n, Value values) {
  const HostTensor *known = n.state.pool.elements(values);
  if (!known || known->isReal || known->rank() == 0 || known->size() == 0)
    return false;
  int64_t inner = known->strides()[0];
  for (int64_t i = 0; i < known->size(); ++i)
    if (known->integers[i] != i / inner)
      return false;
  return true;
}

/// data[row, index[row, ...]] for each row of a batch: tuples [b, ..., depth] look up in their own row, so that rows stay apart.
static LogicalResult gatherInRows(NodeImporter &n, Value tuples, int64_t depth) {
  Value data = n.in(0);
  ArrayRef<int64_t> extents = n.shape(0).slice(1, depth), rest = n.shape(0).drop_front(1 + depth);
  int64_t rows = n.shape(0)[0], places = 1, columns = 1;
  for (int64_t extent : extents)
    places *= extent;
  for (int64_t extent : rest)
    columns *= extent;
  Value flat = flatIndex(n, tuples, extents);
  if (failed(checkRange(n, flat, places)))
    return failure();
  SmallVector<int64_t> shape(nn::typeOf(flat).getShape());
  int64_t picked = nn::typeOf(flat).getNumElements() / rows;
  shape.append(rest.begin(), rest.end());
  Value table = n.reshape(data, {rows, places, columns});
  Value indices = n.broadcast(n.reshape(flat, {rows, picked}), {rows, picked, columns}, {0, 1});
  auto type = RankedTensorType::get({rows, picked, columns}, nn::typeOf(data).getElementType());
  return n.done(n.reshape(n.emit<nn::GatherAlongOp>(type, table, indices, 1), shape));
}

static LogicalResult gatherNd(NodeImporter &n) {
  Value data = n.in(0), indices = n.in(1);
  if (!data || !isInteger(indices) || n.rank(1) == 0)
    return n.fail("a tensor and integer indices expected");
  int64_t batch = n.attr("batch_dims", 0), depth = n.shape(1).back();
  if (batch < 0 || batch >= std::min(n.rank(0), n.rank(1)) || depth < 1 || batch + depth > n.rank(0))
    return n.fail("the indices do not fit the data");
  if (nn::typeOf(data).getNumElements() == 0 || nn::typeOf(indices).getNumElements() == 0)
    return n.fail("an empty tensor");
  if (batch == 1 && n.shape(0)[0] == n.shape(1)[0] && !(n.isKnown(0) && n.isKnown(1)))
    return gatherInRows(n, indices, depth);
  // x[arange(b), index] of PyTorch: the first part of each tuple is its row.
  if (auto joined = indices.getDefiningOp<tensor::ConcatOp>();
      joined && batch == 0 && depth >= 2 && n.rank(1) >= 2 && n.shape(0)[0] == n.shape(1)[0] &&
      static_cast<int64_t>(joined.getDim()) == n.rank(1) - 1) {
    Value row = joined.getInputs().front();
    if (nn::typeOf(row).getShape().back() == 1 && areRows(n, row))
      return gatherInRows(n, n.slice(indices, n.rank(1) - 1, 1, depth - 1), depth - 1);
  }
  if (batch > 0) { // add the batch position to each tuple
    SmallVector<int64_t> shape(n.shape(1));
    shape.back() = 1;
    SmallVector<Value> parts;
    for (int64_t d = 0; d < batch; ++d) {
      SmallVector<int64_t> positions;
      if (n.shape(0)[d] != shape[d] || shape[d] > (1 << 24))
        return n.fail("the batch dimensions differ, or are too large");
      for (int64_t i = 0; i < n.shape(0)[d]; ++i)
        positions.push_back(i);
      parts.push_back(n.cast(n.broadcast(n.state.pool.makeInts(n.loc, positions), shape, {d}),
                             nn::typeOf(indices).getElementType()));
    }
    parts.push_back(indices);
    indices = n.concat(parts, n.rank(1) - 1);
    depth += batch;
  }
  ArrayRef<int64_t> extents = n.shape(0).take_front(depth), rest = n.shape(0).drop_front(depth);
  int64_t rows = 1; // a part of the elements of a tensor, so it cannot overflow
  for (int64_t extent : extents)
    rows *= extent;
  Value flat = flatIndex(n, indices, extents);
  if (failed(checkRange(n, flat, rows)))
    return failure();
  SmallVector<int64_t> tableShape = {rows}, shape(nn::typeOf(flat).getShape());
  tableShape.append(rest.begin(), rest.end());
  shape.append(rest.begin(), rest.end());
  Value table = n.reshape(data, tableShape);
  if (auto first = consecutive(n, flat, rows))
    return n.done(n.reshape(n.slice(table, 0, *first, nn::typeOf(flat).getNumElements()), shape));
  return n.done(n.emit<nn::GatherOp>(RankedTensorType::get(shape, nn::typeOf(data).getElementType()), table, flat));
}

static LogicalResult topK(NodeImporter &n) {
  auto k = n.ints(1);
  if (!n.in(0) || failed(k) || k->size() != 1 || !isa<FloatType>(nn::typeOf(n.in(0)).getElementType()))
    return n.fail("a real input and one constant k expected");
  auto axis = n.axis(n.attr("axis", -1), n.rank(0));
  if (failed(axis) || k->front() < 1 || k->front() > n.shape(0)[*axis])
    return n.fail("k is outside the dimension");
  bool largest = n.attr("largest", 1);
  Value x = n.swapLast(n.in(0), *axis);
  if (!largest)
    x = n.emit<arith::NegFOp>(x);
  SmallVector<int64_t> shape(nn::typeOf(x).getShape());
  shape.back() = k->front();
  auto results = n.emitAll<nn::TopKOp>(
      TypeRange{RankedTensorType::get(shape, nn::typeOf(x).getElementType()), RankedTensorType::get(shape, n.state.builder.getI64Type())}, x);
  Value values = largest ? results[0] : n.emit<arith::NegFOp>(results[0]);
  n.out(0, n.swapLast(values, *axis));
  n.out(1, n.swapLast(results[1], *axis));
  return success();
}

/// The position of the largest (or smallest) entry of reals: by a top-1.
static Value extremeByTopK(NodeImporter &n, int64_t axis, bool largest) {
  Value x = n.swapLast(n.in(0), axis);
  x = largest ? x : n.emit<arith::NegFOp>(x);
  SmallVector<int64_t> shape(nn::typeOf(x).getShape());
  shape.back() = 1;
  auto results = n.emitAll<nn::TopKOp>(
      TypeRange{RankedTensorType::get(shape, nn::typeOf(x).getElementType()), RankedTensorType::get(shape, n.state.builder.getI64Type())}, x);
  return n.swapLast(results[1], axis);
}

/// The smallest (or, with `last`, largest) position of an entry that equals the extreme.
static Value extremeByPosition(NodeImporter &n, int64_t axis, bool largest, bool last) {
  Value x = n.in(0);
  SmallVector<int64_t> kept(n.shape(0)), others;
  kept[axis] = 1;
  for (int64_t d = 0; d < n.rank(0); ++d)
    if (d != axis)
      others.push_back(d);
  Value extreme = n.emit<nn::ReduceOp>(x, largest ? nn::ReduceKind::Max : nn::ReduceKind::Min, ArrayRef<int64_t>(axis));
  Value wide = n.broadcast(extreme, n.shape(0), others), hit;
  if (isInteger(x)) {
    hit = n.emit<arith::CmpIOp>(arith::CmpIPredicate::eq, x, wide);
  } else { // the extreme of a row with NaN is NaN, and its first (or last) NaN is the answer
    Value isNan = n.emit<arith::CmpFOp>(arith::CmpFPredicate::UNO, x, x);
    hit = n.emit<arith::OrIOp>(n.emit<arith::CmpFOp>(arith::CmpFPredicate::OEQ, x, wide), isNan);
  }
  Value positions = positionsAlong(n, n.shape(0), axis);
  Value none = n.splatLike(positions, last ? -1 : static_cast<double>(n.shape(0)[axis]));
  Value at = n.emit<arith::SelectOp>(hit, positions, none);
  return n.reshape(n.emit<nn::ReduceOp>(at, last ? nn::ReduceKind::Max : nn::ReduceKind::Min, ArrayRef<int64_t>(axis)), kept);
}

static LogicalResult argExtreme(NodeImporter &n, bool largest) {
  if (!n.in(0) || nn::typeOf(n.in(0)).getElementType().isInteger(1))
    return n.fail("numbers expected");
  auto axis = n.axis(n.attr("axis", 0), n.rank(0));
  if (failed(axis))
    return failure();
  if (n.shape(0)[*axis] < 1 || n.shape(0)[*axis] > kMaxPositions)
    return n.fail("a dimension of size " + Twine(n.shape(0)[*axis]));
  bool last = n.attr("select_last_index", 0);
  Value index = isInteger(n.in(0)) || last ? extremeByPosition(n, *axis, largest, last) : extremeByTopK(n, *axis, largest);
  if (!n.attr("keepdims", 1)) {
    SmallVector<int64_t> kept(n.shape(0));
    kept.erase(kept.begin() + *axis);
    index = n.reshape(index, kept);
  }
  return n.done(index);
}
static LogicalResult argMax(NodeImporter &n) { return argExtreme(n, true); }
static LogicalResult argMin(NodeImporter &n) { return argExtreme(n, false); }

/// 1 at the first largest entry of x's last dimension, else 0.
static Value hardmaxOf(NodeImporter &n, Value x) {
  SmallVector<int64_t> shape(nn::typeOf(x).getShape());
  int64_t last = nn::typeOf(x).getRank() - 1;
  SmallVector<int64_t> one = shape;
  one.back() = 1;
  Value at = n.emitAll<nn::TopKOp>(TypeRange{RankedTensorType::get(one, nn::typeOf(x).getElementType()),
                                             RankedTensorType::get(one, n.state.builder.getI64Type())}, x)[1];
  Value hit = n.emit<arith::CmpIOp>(arith::CmpIPredicate::eq, n.broadcastTo(at, shape), positionsAlong(n, shape, last));
  return n.cast(hit, nn::typeOf(x).getElementType());
}

static LogicalResult hardmax(NodeImporter &n) {
  if (!n.in(0) || !isa<FloatType>(nn::typeOf(n.in(0)).getElementType()) || n.rank(0) == 0)
    return n.fail("a real input expected");
  bool rows = n.node.version < 13; // over all dimensions from `axis` on together
  auto axis = n.axis(n.attr("axis", rows ? 1 : -1), n.rank(0));
  if (failed(axis))
    return failure();
  int64_t columns = 1;
  for (int64_t extent : rows ? n.shape(0).drop_front(*axis) : n.shape(0).slice(*axis, 1))
    columns *= extent;
  if (columns < 1 || columns > kMaxPositions)
    return n.fail("a dimension of size " + Twine(columns));
  if (!rows)
    return n.done(n.swapLast(hardmaxOf(n, n.swapLast(n.in(0), *axis)), *axis));
  SmallVector<int64_t> shape(n.shape(0).take_front(*axis));
  shape.push_back(columns);
  return n.done(n.reshape(hardmaxOf(n, n.reshape(n.in(0), shape)), n.shape(0)));
}

/// Rows along an axis, or elements, where a known condition is true.
static LogicalResult compress(NodeImporter &n) {
  const HostTensor *condition = n.constant(1);
  if (!n.in(0) || !condition || n.rank(0) == 0)
    return n.fail("a tensor and a constant condition expected");
  Value data = n.in(0);
  int64_t axis = 0;
  if (n.hasAttr("axis")) {
    auto given = n.axis(n.attr("axis", 0), n.rank(0));
    if (failed(given))
      return failure();
    axis = *given;
  } else {
    data = n.reshape(data, {nn::typeOf(data).getNumElements()});
  }
  SmallVector<int64_t> rows, shape(nn::typeOf(data).getShape());
  for (int64_t i = 0; i < condition->size(); ++i)
    if (condition->real(i) != 0)
      rows.push_back(i);
  if (rows.empty() || rows.back() >= shape[axis])
    return n.fail("the condition keeps nothing, or more than there is");
  return n.done(gatherRows(n, data, rows, axis));
}

/// The first entries of each sequence in reverse order, the others as they are; the lengths are known.
static LogicalResult reverseSequence(NodeImporter &n) {
  auto lengths = n.ints(1);
  int64_t batch = n.attr("batch_axis", 1), time = n.attr("time_axis", 0);
  if (!n.in(0) || failed(lengths) || n.rank(0) < 2 || batch + time != 1 || batch * time != 0 ||
      static_cast<int64_t>(lengths->size()) != n.shape(0)[batch] || n.shape(0)[0] > kMaxPositions / std::max<int64_t>(1, n.shape(0)[1]))
    return n.fail("a tensor and one constant length per sequence expected");
  int64_t rows = n.shape(0)[0], columns = n.shape(0)[1];
  HostTensor from;
  from.isReal = false;
  from.shape = {rows, columns};
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      int64_t at = time == 0 ? i : j, length = (*lengths)[time == 0 ? j : i];
      if (length < 0 || length > n.shape(0)[time])
        return n.fail("a length is out of range");
      from.integers.push_back(at < length ? length - 1 - at : at);
    }
  Value indices = n.state.pool.make(n.loc, RankedTensorType::get({rows, columns}, n.state.builder.getI64Type()), std::move(from));
  indices = n.broadcast(indices, n.shape(0), {0, 1});
  return n.done(n.emit<nn::GatherAlongOp>(nn::typeOf(n.in(0)), n.in(0), indices, time));
}

static LogicalResult oneHot(NodeImporter &n) {
  const HostTensor *size = n.constant(1);
  if (!isInteger(n.in(0)) || !size || size->size() != 1 || !n.in(2) || n.shape(2) != ArrayRef<int64_t>{2} || !(size->real(0) >= 1) ||
      !(size->real(0) <= static_cast<double>(kMaxPositions)))
    return n.fail("integer indices, a constant depth and two values expected");
  int64_t depth = static_cast<int64_t>(size->real(0));
  auto axis = n.axis(n.attr("axis", -1), n.rank(0) + 1);
  if (failed(axis))
    return failure();
  SmallVector<int64_t> shape(n.shape(0)), dims, positions;
  shape.insert(shape.begin() + *axis, depth);
  for (int64_t d = 0; d < n.rank(0); ++d)
    dims.push_back(d < *axis ? d : d + 1);
  for (int64_t i = 0; i < depth; ++i)
    positions.push_back(i);
  Value indices = n.broadcast(n.cast(n.in(0), n.state.builder.getI64Type()), shape, dims);
  Value below = n.emit<arith::CmpIOp>(arith::CmpIPredicate::slt, indices, n.splatLike(indices, 0));
  indices = n.emit<arith::SelectOp>(
      below, n.emit<arith::AddIOp>(indices, n.splatLike(indices, static_cast<double>(depth))), indices);
  Value hit = n.emit<arith::CmpIOp>(arith::CmpIPredicate::eq, indices,
                                    n.broadcast(n.state.pool.makeInts(n.loc, positions), shape, {*axis}));
  auto value = [&](int64_t i) { return n.broadcast(n.reshape(n.slice(n.in(2), 0, i, 1), {}), shape, {}); };
  return n.done(n.emit<arith::SelectOp>(hit, value(1), value(0)));
}

void llmc::onnx::registerIndexing(OpTable &t) {
  t.add("Gather", 1, gather);
  t.add("GatherElements", 11, gatherElements);
  t.add("GatherND", 11, gatherNd);
  t.add("TopK", 1, topK);
  t.add("ArgMax", 1, argMax);
  t.add("ArgMin", 1, argMin);
  t.add("Hardmax", 1, hardmax);
  t.add("Compress", 9, compress);
  t.add("ReverseSequence", 10, reverseSequence);
  t.add("OneHot", 9, oneHot);
}
