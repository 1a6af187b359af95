//===- Indexing.cpp - gathers, scatters, top-k ------===//
#include "frontends/onnx/NodeImporter.h"
#include "frontends/onnx/OpTable.h"

using namespace mlir;
using namespace llmc;
using namespace llmc::onnx;

/// The first element if the known `indices` are start, start + 1, ... inside [0, extent).
static std::optional<int64_t> consecutive(NodeImporter &n, Value indices, int64_t extent) {
  const HostTensor *values = n.state.pool.elements(indices);
  if (!values || values->size() == 0)
    return std::nullopt;
  int64_t first = values->integers[0];
  first = first < 0 ? first + extent : first;
  for (int64_t i = 0; i < values->size(); ++i) {
    int64_t value = values->integers[i] < 0 ? values->integers[i] + extent : values->integers[i];
    if (value != first + i)
      return std::nullopt;
  }
  if (first < 0 || first + values->size() > extent)
    return std::nullopt;
  return first;
}

/// Fails if a known index lies outside [-extent, extent).
static LogicalResult checkRange(NodeImporter &n, Value indices, int64_t extent) {
  if (const HostTensor *values = n.state.pool.elements(indices))
    for (int64_t value : values->integers)
      if (value < -extent || value >= extent)
        return n.fail("index " + Twine(value) + " is outside a dimension of size " + Twine(extent));
  return success();
}

static bool isInteger(Value value) { return value && isa<IntegerType>(nn::typeOf(value).getElementType()); }

/// Moves dimension `d` to the front; with `back`, the front to `d`.
static SmallVector<int64_t> frontPermutation(int64_t rank, int64_t d, bool back) {
  SmallVector<int64_t> permutation;
  for (int64_t i = 0; i < rank; ++i)
    permutation.push_back(back ? (i < d ? i + 1 : i == d ? 0 : i) : (i == 0 ? d : i <= d ? i - 1 : i));
  return permutation;
}

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

/// Row-major position of each known index tuple, as one index per tuple.
static Value flatIndex(NodeImporter &n, Value indices, ArrayRef<int64_t> extents) {
  RankedTensorType type = nn::typeOf(indices);
  int64_t last = type.getRank() - 1;
  SmallVector<int64_t> shape(type.getShape().drop_back());
  Value flat;
  for (auto [i, extent] : llvm::enumerate(extents)) {
    Value part = n.reshape(n.slice(indices, last, static_cast<int64_t>(i), 1), shape);
    if (extents.size() > 1) { // negative indices count from the end
      Value below = n.emit<arith::CmpIOp>(arith::CmpIPredicate::slt, part, n.splatLike(part, 0));
      Value wrapped = n.emit<arith::AddIOp>(part, n.splatLike(part, static_cast<double>(extent)));
      part = n.emit<arith::SelectOp>(below, wrapped, part);
    }
    if (flat)
      flat = n.emit<arith::MulIOp>(flat, n.splatLike(flat, static_cast<double>(extent)));
    flat = flat ? n.emit<arith::AddIOp>(flat, part) : part;
  }
  return flat;
}

static LogicalResult gatherNd(NodeImporter &n) {
  Value data = n.in(0), indices = n.in(1);
  if (!data || !isInteger(indices) || n.rank(1) == 0)
    return n.fail("a tensor and integer indices expected");
  int64_t batch = n.attr("batch_dims", 0), depth = n.shape(1).back();
  if (batch < 0 || batch >= std::min(n.rank(0), n.rank(1)) || depth < 1 || batch + depth > n.rank(0))
    return n.fail("the indices do not fit the data");
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

static LogicalResult scatterElements(NodeImporter &n) {
  Value data = n.in(0), indices = n.in(1), updates = n.in(2);
  if (!data || !isInteger(indices) || !updates || n.rank(0) != n.rank(1) || n.shape(1) != n.shape(2) ||
      nn::typeOf(data).getElementType() != nn::typeOf(updates).getElementType())
    return n.fail("data, integer indices and updates of one rank expected");
  auto axis = n.axis(n.attr("axis", 0), n.rank(0));
  if (failed(axis) || failed(checkRange(n, indices, n.shape(0)[*axis])))
    return failure();
  if (!isa<FloatType>(nn::typeOf(data).getElementType()))
    return n.fail("scatter of integers");
  for (int64_t d = 0; d < n.rank(0); ++d)
    if (d != *axis && n.shape(1)[d] != n.shape(0)[d])
      return n.fail("indices that do not cover the data");
  std::string reduction = n.attrText("reduction", "none");
  auto scattered = [&](Value from) { return n.emit<nn::ScatterAddAlongOp>(data.getType(), indices, from, *axis); };
  if (reduction == "add" || (reduction == "none" && n.state.pool.splatValue(data) == 0.0 && areDistinct(indices))) {
    Value sum = scattered(updates);
    if (n.state.pool.splatValue(data) != 0.0)
      sum = n.emit<arith::AddFOp>(data, sum);
    return n.done(sum);
  }
  if (reduction != "none" || !areDistinct(indices))
    return n.fail("reduction " + reduction + " with indices that may repeat");
  Value ones = scattered(n.splatLike(updates, 1));
  Value hit = n.emit<arith::CmpFOp>(arith::CmpFPredicate::OGT, ones, n.splatLike(ones, 0.5));
  return n.done(n.emit<arith::SelectOp>(hit, scattered(updates), data));
}

/// ScatterND that overwrites one range of rows, as the exporter writes `x[..., a:b] = y`.
static LogicalResult scatterNd(NodeImporter &n) {
  Value data = n.in(0), indices = n.in(1), updates = n.in(2);
  if (!data || !isInteger(indices) || !updates || n.rank(0) == 0 || n.rank(1) == 0)
    return n.fail("data, integer indices and updates expected");
  if (n.attrText("reduction", "none") != "none")
    return n.fail("reduction " + n.attrText("reduction", ""));
  int64_t depth = n.shape(1).back();
  if (depth < 1 || depth > n.rank(0))
    return n.fail("the indices do not fit the data");
  ArrayRef<int64_t> extents = n.shape(0).take_front(depth), rest = n.shape(0).drop_front(depth);
  int64_t rows = 1;
  for (int64_t extent : extents)
    rows *= extent;
  Value flat = flatIndex(n, indices, extents);
  int64_t count = nn::typeOf(flat).getNumElements();
  SmallVector<int64_t> expected(n.shape(1).drop_back());
  expected.append(rest.begin(), rest.end());
  if (ArrayRef<int64_t>(expected) != n.shape(2))
    return n.fail("the updates do not fit the indices");
  auto first = consecutive(n, flat, rows);
  if (!first)
    return n.fail("indices that are not one constant range of rows");
  SmallVector<int64_t> tableShape = {rows}, rowShape = {count};
  tableShape.append(rest.begin(), rest.end());
  rowShape.append(rest.begin(), rest.end());
  Value rowsIn = n.reshape(updates, rowShape);
  if (*first == 0 && count == rows)
    return n.done(n.reshape(rowsIn, n.shape(0)));
  OpBuilder &b = n.state.builder;
  SmallVector<OpFoldResult> offsets(tableShape.size(), b.getIndexAttr(0)), strides(tableShape.size(), b.getIndexAttr(1)), sizes;
  offsets[0] = b.getIndexAttr(*first);
  for (int64_t extent : rowShape)
    sizes.push_back(b.getIndexAttr(extent));
  Value result = n.emit<tensor::InsertSliceOp>(rowsIn, n.reshape(data, tableShape), offsets, sizes, strides);
  return n.done(n.reshape(result, n.shape(0)));
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

/// The position of the largest (or smallest) entry, by a top-1.
static LogicalResult argExtreme(NodeImporter &n, bool largest) {
  if (!n.in(0) || !isa<FloatType>(nn::typeOf(n.in(0)).getElementType()) || n.attr("select_last_index", 0))
    return n.fail("a real input and the first index expected");
  auto axis = n.axis(n.attr("axis", 0), n.rank(0));
  if (failed(axis))
    return failure();
  Value x = n.swapLast(n.in(0), *axis);
  x = largest ? x : n.emit<arith::NegFOp>(x);
  SmallVector<int64_t> shape(nn::typeOf(x).getShape()), kept(n.shape(0));
  shape.back() = 1;
  auto results = n.emitAll<nn::TopKOp>(
      TypeRange{RankedTensorType::get(shape, nn::typeOf(x).getElementType()), RankedTensorType::get(shape, n.state.builder.getI64Type())}, x);
  Value index = n.swapLast(results[1], *axis);
  if (!n.attr("keepdims", 1)) {
    kept.erase(kept.begin() + *axis);
    index = n.reshape(index, kept);
  }
  return n.done(index);
}
static LogicalResult argMax(NodeImporter &n) { return argExtreme(n, true); }
static LogicalResult argMin(NodeImporter &n) { return argExtreme(n, false); }

static LogicalResult oneHot(NodeImporter &n) {
  auto depth = n.ints(1);
  const HostTensor *values = n.constant(2);
  if (!isInteger(n.in(0)) || failed(depth) || depth->size() != 1 || !values || values->size() != 2 || depth->front() < 1 ||
      depth->front() > (1 << 24))
    return n.fail("integer indices, a constant depth and two constant values expected");
  auto axis = n.axis(n.attr("axis", -1), n.rank(0) + 1);
  if (failed(axis))
    return failure();
  SmallVector<int64_t> shape(n.shape(0)), dims, positions;
  shape.insert(shape.begin() + *axis, depth->front());
  for (int64_t d = 0; d < n.rank(0); ++d)
    dims.push_back(d < *axis ? d : d + 1);
  for (int64_t i = 0; i < depth->front(); ++i)
    positions.push_back(i);
  Value indices = n.broadcast(n.cast(n.in(0), n.state.builder.getI64Type()), shape, dims);
  Value below = n.emit<arith::CmpIOp>(arith::CmpIPredicate::slt, indices, n.splatLike(indices, 0));
  indices = n.emit<arith::SelectOp>(
      below, n.emit<arith::AddIOp>(indices, n.splatLike(indices, static_cast<double>(depth->front()))), indices);
  Value hit = n.emit<arith::CmpIOp>(arith::CmpIPredicate::eq, indices,
                                    n.broadcast(n.state.pool.makeInts(n.loc, positions), shape, {*axis}));
  auto type = RankedTensorType::get(shape, nn::typeOf(n.in(2)).getElementType());
  return n.done(n.emit<arith::SelectOp>(hit, n.splat(type, values->real(1)), n.splat(type, values->real(0))));
}

void llmc::onnx::registerIndexing(OpTable &t) {
  t.add("Gather", 13, gather);
  t.add("GatherElements", 13, gatherElements);
  t.add("GatherND", 13, gatherNd);
  t.add("ScatterElements", 18, scatterElements);
  t.add("ScatterND", 18, scatterNd);
  t.add("TopK", 11, topK);
  t.add("ArgMax", 13, argMax);
  t.add("ArgMin", 13, argMin);
  t.add("OneHot", 11, oneHot);
}
