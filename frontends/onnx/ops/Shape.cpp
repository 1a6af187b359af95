//===- Shape.cpp - operators that move elements without changing them ------===//
#include "frontends/onnx/NodeImporter.h"
#include "frontends/onnx/OpTable.h"
#include "frontends/onnx/ops/Positions.h"
#include "llvm/Support/CheckedArithmetic.h"

using namespace mlir;
using namespace llmc;
using namespace llmc::onnx;

static LogicalResult reshape(NodeImporter &n) {
  auto shape = n.ints(1);
  if (!n.in(0) || failed(shape))
    return n.fail("input 0 is missing");
  int64_t elements = nn::typeOf(n.in(0)).getNumElements(), product = 1, unknown = -1;
  for (auto [i, extent] : llvm::enumerate(*shape)) {
    if (extent == 0 && !n.attr("allowzero", 0)) {
      if (static_cast<int64_t>(i) >= n.rank(0))
        return n.fail("the shape copies a dimension that the input does not have");
      extent = n.shape(0)[i];
    }
    if (extent == -1 && unknown < 0) {
      unknown = static_cast<int64_t>(i);
      continue;
    }
    auto next = llvm::checkedMul(product, extent);
    if (extent < 0 || !next)
      return n.fail("the new shape is not valid");
    product = *next;
  }
  if (unknown >= 0)
    (*shape)[unknown] = product ? elements / product : 0;
  if (unknown >= 0 ? product == 0 || elements % product != 0 : product != elements)
    return n.fail("a tensor of " + Twine(elements) + " elements cannot take the new shape");
  return n.done(n.reshape(n.in(0), *shape));
}

static LogicalResult flatten(NodeImporter &n) {
  if (!n.in(0))
    return n.fail("input 0 is missing");
  int64_t axis = n.attr("axis", 1), rank = n.rank(0);
  axis = axis < 0 ? axis + rank : axis;
  if (axis < 0 || axis > rank)
    return n.fail("the axis is out of range");
  int64_t rows = 1, columns = 1;
  for (int64_t d = 0; d < rank; ++d)
    (d < axis ? rows : columns) *= n.shape(0)[d];
  return n.done(n.reshape(n.in(0), {rows, columns}));
}

static LogicalResult transpose(NodeImporter &n) {
  if (!n.in(0))
    return n.fail("input 0 is missing");
  SmallVector<int64_t> permutation;
  for (int64_t d = n.rank(0) - 1; d >= 0; --d)
    permutation.push_back(d);
  if (auto given = n.attrInts("perm"))
    permutation = *given;
  SmallVector<int64_t> sorted = permutation;
  llvm::sort(sorted);
  bool valid = static_cast<int64_t>(sorted.size()) == n.rank(0);
  for (auto [i, d] : llvm::enumerate(sorted))
    valid &= static_cast<int64_t>(i) == d;
  if (!valid)
    return n.fail("perm is no permutation of the dimensions");
  return n.done(n.transpose(n.in(0), permutation));
}

/// The axes of Squeeze and Unsqueeze, sorted, for a tensor of `rank` dimensions.
static FailureOr<SmallVector<int64_t>> axesOf(NodeImporter &n, int64_t rank) {
  auto axes = n.ints(1);
  if (failed(axes))
    return failure();
  for (int64_t &axis : *axes) {
    auto checked = n.axis(axis, rank);
    if (failed(checked))
      return failure();
    axis = *checked;
  }
  llvm::sort(*axes);
  if (std::adjacent_find(axes->begin(), axes->end()) != axes->end())
    return n.fail("an axis is given twice");
  return axes;
}

static LogicalResult squeeze(NodeImporter &n) {
  if (!n.in(0))
    return n.fail("input 0 is missing");
  auto axes = axesOf(n, n.rank(0));
  if (failed(axes))
    return failure();
  SmallVector<int64_t> shape, dropped;
  for (auto [d, extent] : llvm::enumerate(n.shape(0))) {
    bool named = llvm::is_contained(*axes, static_cast<int64_t>(d));
    if (named && extent != 1)
      return n.fail("a squeezed dimension has size " + Twine(extent));
    if (n.has(1) ? !named : extent != 1)
      shape.push_back(extent);
    else
      dropped.push_back(static_cast<int64_t>(d));
  }
  return n.done(n.noteAxes(n.reshape(n.in(0), shape), n.in(0), dropped));
}

static LogicalResult unsqueeze(NodeImporter &n) {
  if (!n.in(0))
    return n.fail("input 0 is missing");
  auto count = n.ints(1);
  if (failed(count) || count->size() > 64)
    return n.fail("the axes are not valid");
  auto axes = axesOf(n, n.rank(0) + static_cast<int64_t>(count->size()));
  if (failed(axes))
    return failure();
  SmallVector<int64_t> shape(n.shape(0));
  for (int64_t axis : *axes)
    shape.insert(shape.begin() + axis, 1);
  return n.done(n.noteAxes(n.reshape(n.in(0), shape), n.in(0), *axes));
}

static LogicalResult expand(NodeImporter &n) {
  auto target = n.ints(1);
  if (!n.in(0) || failed(target))
    return n.fail("input 0 is missing");
  SmallVector<int64_t> shape(n.shape(0));
  if (target->size() > shape.size())
    shape.insert(shape.begin(), target->size() - shape.size(), 1);
  int64_t elements = 1;
  for (size_t i = 0; i < shape.size(); ++i) {
    size_t lead = shape.size() - target->size();
    if (i >= lead) {
      int64_t wanted = (*target)[i - lead];
      if (shape[i] != 1 && wanted != 1 && wanted != shape[i])
        return n.fail("dimension of size " + Twine(shape[i]) + " cannot be expanded to " + Twine(wanted));
      shape[i] = shape[i] == 1 ? wanted : shape[i];
    }
    auto product = llvm::checkedMul(elements, shape[i]);
    if (shape[i] < 0 || !product || *product > (int64_t(1) << 46))
      return n.fail("the expanded shape is not valid");
    elements = *product;
  }
  return n.done(n.broadcastTo(n.in(0), shape));
}

static LogicalResult tile(NodeImporter &n) {
  auto repeats = n.ints(1);
  if (!n.in(0) || failed(repeats) || static_cast<int64_t>(repeats->size()) != n.rank(0))
    return n.fail("one repetition per dimension expected");
  // [a, b] -> [1, a, 1, b] -> [ra, a, rb, b] -> [ra a, rb b]
  SmallVector<int64_t> wide, shape, dims;
  int64_t elements = 1;
  for (auto [extent, times] : llvm::zip_equal(n.shape(0), *repeats)) {
    dims.push_back(static_cast<int64_t>(wide.size()) + 1);
    wide.append({times, extent});
    auto size = llvm::checkedMul(extent, times);
    auto product = size ? llvm::checkedMul(elements, *size) : std::nullopt;
    if (times < 1 || !product || *product > (int64_t(1) << 46))
      return n.fail("the repetitions are not valid");
    elements = *product;
    shape.push_back(*size);
  }
  return n.done(n.reshape(n.broadcast(n.in(0), wide, dims), shape));
}

static LogicalResult concat(NodeImporter &n) {
  SmallVector<Value> parts;
  for (size_t i = 0; i < n.node.inputs.size(); ++i) {
    if (!n.in(i))
      return n.fail("input " + Twine(i) + " is missing");
    if (nn::typeOf(n.in(i)).getNumElements() != 0)
      parts.push_back(n.in(i));
    else if (parts.empty() && i + 1 == n.node.inputs.size())
      parts.push_back(n.in(i));
  }
  if (parts.empty())
    return n.fail("the node has no inputs");
  auto axis = n.axis(n.attr("axis", 0), nn::typeOf(parts.front()).getRank());
  if (failed(axis))
    return failure();
  RankedTensorType first = nn::typeOf(parts.front());
  for (Value part : parts) {
    RankedTensorType type = nn::typeOf(part);
    bool same = type.getRank() == first.getRank() && type.getElementType() == first.getElementType();
    for (int64_t d = 0; same && d < type.getRank(); ++d)
      same = d == *axis || type.getDimSize(d) == first.getDimSize(d);
    if (!same)
      return n.fail("the parts differ in type, or in a dimension other than the axis");
  }
  return n.done(n.concat(parts, *axis));
}

static LogicalResult split(NodeImporter &n) {
  if (!n.in(0))
    return n.fail("input 0 is missing");
  auto axis = n.axis(n.attr("axis", 0), n.rank(0));
  auto sizes = n.ints(1);
  if (failed(axis) || failed(sizes))
    return failure();
  int64_t extent = n.shape(0)[*axis], count = static_cast<int64_t>(n.node.outputs.size());
  if (!n.has(1)) {
    count = n.attr("num_outputs", count);
    if (count < 1 || count > extent || count > (1 << 20))
      return n.fail("num_outputs is not valid");
    int64_t chunk = (extent + count - 1) / count;
    for (int64_t at = 0; at < extent; at += chunk)
      sizes->push_back(std::min(chunk, extent - at));
  }
  int64_t offset = 0;
  if (sizes->size() < n.node.outputs.size())
    return n.fail("more outputs than parts");
  for (auto [i, size] : llvm::enumerate(*sizes)) {
    if (size < 0 || size > extent - offset)
      return n.fail("the parts do not add up to the dimension");
    n.out(i, n.slice(n.in(0), *axis, offset, size, /*stride=*/1, /*byNumber=*/true));
    offset += size;
  }
  return offset == extent ? success() : n.fail("the parts do not add up to the dimension");
}

/// One dimension of Slice with a negative step.
static FailureOr<Value> reversed(NodeImporter &n, Value value, int64_t d, int64_t start, int64_t size, int64_t step) {
  if (size > (1 << 24))
    return n.fail("a reversed slice of " + Twine(size) + " elements");
  SmallVector<int64_t> rows;
  for (int64_t i = 0; i < size; ++i)
    rows.push_back(start + i * step);
  return gatherRows(n, value, rows, d);
}

static LogicalResult slice(NodeImporter &n) {
  auto starts = n.ints(1), ends = n.ints(2), axes = n.ints(3), steps = n.ints(4);
  if (!n.in(0) || failed(starts) || failed(ends) || failed(axes) || failed(steps))
    return n.fail("input 0 is missing");
  if (!n.has(3))
    for (size_t i = 0; i < starts->size(); ++i)
      axes->push_back(static_cast<int64_t>(i));
  if (!n.has(4))
    steps->assign(starts->size(), 1);
  if (starts->size() != ends->size() || starts->size() != axes->size() || starts->size() != steps->size())
    return n.fail("starts, ends, axes and steps differ in length");
  Value value = n.in(0);
  for (auto [start, end, given, step] : llvm::zip_equal(*starts, *ends, *axes, *steps)) {
    auto axis = n.axis(given, n.rank(0));
    if (failed(axis) || step == 0)
      return n.fail("an axis or a step is not valid");
    int64_t extent = nn::typeOf(value).getDimSize(*axis);
    auto clamp = [&](int64_t v, int64_t low, int64_t high) {
      return std::clamp(v < 0 ? std::max(v, -extent - 1) + extent : v, low, high);
    };
    int64_t from = step > 0 ? clamp(start, 0, extent) : clamp(start, 0, extent - 1);
    int64_t to = step > 0 ? clamp(end, 0, extent) : clamp(end, -1, extent - 1);
    int64_t stride = step > 0 ? step : (step == INT64_MIN ? INT64_MAX : -step);
    int64_t distance = step > 0 ? to - from : from - to;
    int64_t size = distance > 0 ? (distance - 1) / stride + 1 : 0;
    if (step > 0 || size <= 1) {
      bool byNumber = end <= extent; // else to the end, wherever that is
      value = n.slice(value, *axis, from, size, size <= 1 ? 1 : step, byNumber);
      continue;
    }
    auto result = reversed(n, value, *axis, from, size, step);
    if (failed(result))
      return failure();
    value = *result;
  }
  return n.done(value);
}

/// Pad with elements of the input: each row of a padded dimension is one of the input's.
static LogicalResult padFromInput(NodeImporter &n, StringRef mode, ArrayRef<int64_t> axes, ArrayRef<int64_t> pads) {
  Value value = n.in(0);
  for (auto [i, given] : llvm::enumerate(axes)) {
    auto axis = n.axis(given, n.rank(0));
    if (failed(axis))
      return failure();
    int64_t before = pads[i], after = pads[i + axes.size()], extent = nn::typeOf(value).getDimSize(*axis);
    int64_t most = mode == "reflect" ? extent - 1 : kMaxPositions;
    if (extent < 1 || before > most || after > most || before < -extent || after < -extent || extent + before + after < 1)
      return n.fail("the pads are not valid");
    SmallVector<int64_t> rows;
    for (int64_t at = -before; at < extent + after; ++at)
      rows.push_back(mode == "edge"      ? std::clamp<int64_t>(at, 0, extent - 1)
                     : mode == "reflect" ? (at < 0 ? -at : at >= extent ? 2 * (extent - 1) - at : at)
                                         : (at % extent + extent) % extent);
    if (before != 0 || after != 0)
      value = gatherRows(n, value, rows, *axis);
  }
  return n.done(value);
}

static LogicalResult pad(NodeImporter &n) {
  auto pads = n.ints(1), axes = n.ints(3);
  if (!n.in(0) || failed(pads) || failed(axes))
    return n.fail("input 0 is missing");
  std::string mode = n.attrText("mode", "constant");
  if (mode != "constant" && mode != "edge" && mode != "reflect" && mode != "wrap")
    return n.fail("mode " + mode);
  if (!n.has(3))
    for (int64_t d = 0; d < n.rank(0); ++d)
      axes->push_back(d);
  if (pads->size() != 2 * axes->size())
    return n.fail("two pads per axis expected");
  if (mode != "constant")
    return padFromInput(n, mode, *axes, *pads);
  double fill = 0;
  if (n.has(2)) {
    const HostTensor *value = n.constant(2);
    if (!value || value->size() != 1)
      return n.fail("the fill value must be one constant");
    fill = value->real(0);
  }
  Value value = n.in(0);
  SmallVector<int64_t> shape(n.shape(0)), offsets(n.rank(0), 0);
  for (auto [i, given] : llvm::enumerate(*axes)) {
    auto axis = n.axis(given, n.rank(0));
    if (failed(axis))
      return failure();
    int64_t before = (*pads)[i], after = (*pads)[i + axes->size()], extent = shape[*axis];
    int64_t cutFront = std::max<int64_t>(0, before < -extent ? extent : -before);
    int64_t cutBack = std::max<int64_t>(0, after < -extent ? extent : -after);
    if (cutFront + cutBack >= extent || before > (int64_t(1) << 32) || after > (int64_t(1) << 32))
      return n.fail("the pads are not valid");
    value = n.slice(value, *axis, cutFront, extent - cutFront - cutBack);
    offsets[*axis] = std::max<int64_t>(0, before);
    shape[*axis] = extent - cutFront - cutBack + std::max<int64_t>(0, before) + std::max<int64_t>(0, after);
  }
  auto type = RankedTensorType::get(shape, nn::typeOf(value).getElementType());
  if (type == value.getType())
    return n.done(value);
  OpBuilder &b = n.state.builder;
  SmallVector<OpFoldResult> sizes, strides(n.rank(0), b.getIndexAttr(1));
  for (int64_t extent : nn::typeOf(value).getShape())
    sizes.push_back(b.getIndexAttr(extent));
  return n.done(n.emit<tensor::InsertSliceOp>(value, n.splat(type, fill), getAsIndexOpFoldResult(b.getContext(), offsets),
                                              sizes, strides));
}

static LogicalResult depthToSpace(NodeImporter &n, bool inverse) {
  int64_t block = n.attr("blocksize", 0);
  if (!n.in(0) || n.rank(0) != 4 || block < 1 || block > 65536)
    return n.fail("a 4-D input and a blocksize expected");
  int64_t b = n.shape(0)[0], c = n.shape(0)[1], h = n.shape(0)[2], w = n.shape(0)[3];
  if (inverse) {
    if (h % block || w % block)
      return n.fail("blocksize does not divide the image");
    Value x = n.reshape(n.in(0), {b, c, h / block, block, w / block, block});
    return n.done(n.reshape(n.transpose(x, {0, 3, 5, 1, 2, 4}), {b, c * block * block, h / block, w / block}));
  }
  if (c % (block * block))
    return n.fail("blocksize does not divide the channels");
  int64_t rest = c / (block * block);
  bool crd = n.attrText("mode", "DCR") == "CRD";
  Value x = crd ? n.reshape(n.in(0), {b, rest, block, block, h, w}) : n.reshape(n.in(0), {b, block, block, rest, h, w});
  x = crd ? n.transpose(x, {0, 1, 4, 2, 5, 3}) : n.transpose(x, {0, 3, 4, 1, 5, 2});
  return n.done(n.reshape(x, {b, rest, h * block, w * block}));
}
static LogicalResult toSpace(NodeImporter &n) { return depthToSpace(n, false); }
static LogicalResult toDepth(NodeImporter &n) { return depthToSpace(n, true); }

void llmc::onnx::registerShape(OpTable &t) {
  t.add("Reshape", 5, reshape);
  t.add("Flatten", 1, flatten);
  t.add("Transpose", 1, transpose);
  t.add("Squeeze", 1, squeeze);
  t.add("Unsqueeze", 1, unsqueeze);
  t.add("Expand", 8, expand);
  t.add("Tile", 6, tile);
  t.add("Concat", 4, concat);
  t.add("Split", 2, split);
  t.add("Slice", 1, slice);
  t.add("Pad", 2, pad);
  t.add("DepthToSpace", 1, toSpace);
  t.add("SpaceToDepth", 1, toDepth);
}
