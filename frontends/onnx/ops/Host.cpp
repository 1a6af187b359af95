//===- Host.cpp - constants, shapes, ranges and sequences: known at compile time ------===//
#include "frontends/onnx/NodeImporter.h"
#include "frontends/onnx/OpTable.h"
#include "llvm/Support/CheckedArithmetic.h"
#include <cmath>

using namespace mlir;
using namespace llmc;
using namespace llmc::onnx;

static constexpr int64_t kMaxElements = int64_t(1) << 28;

/// A known value of the data's own shape.
static Value makeWhole(NodeImporter &n, Type element, HostTensor data) {
  auto type = RankedTensorType::get(data.shape, element);
  return n.state.pool.make(n.loc, type, std::move(data));
}

static LogicalResult constant(NodeImporter &n) {
  OpBuilder &b = n.state.builder;
  if (n.node.attributes.size() != 1)
    return n.fail("one value expected");
  const NodeAttribute &a = n.node.attributes.front();
  HostTensor data;
  switch (a.kind) {
  case NodeAttribute::Tensor_: {
    if (!a.tensor)
      return n.fail("one value expected");
    Type type = elementType(a.tensor->type, b.getContext());
    if (!type)
      return n.fail("a constant of type " + nameOf(a.tensor->type));
    if (a.tensor->missing)
      return n.fail("the data file of the constant is missing");
    return n.done(n.state.pool.make(n.loc, RankedTensorType::get(a.tensor->dims, type), hostTensor(*a.tensor)));
  }
  case NodeAttribute::Int:
    data.isReal = false;
    data.integers = {a.i};
    return n.done(n.state.pool.make(n.loc, RankedTensorType::get({}, b.getI64Type()), std::move(data)));
  case NodeAttribute::Float:
    data.reals = {a.f};
    return n.done(n.state.pool.make(n.loc, RankedTensorType::get({}, b.getF32Type()), std::move(data)));
  case NodeAttribute::Ints:
    return n.done(n.state.pool.makeInts(n.loc, a.ints));
  case NodeAttribute::Floats:
    data.shape = {static_cast<int64_t>(a.floats.size())};
    data.reals.assign(a.floats.begin(), a.floats.end());
    return n.done(makeWhole(n, b.getF32Type(), std::move(data)));
  default:
    return n.fail("a constant of this kind");
  }
}

static LogicalResult constantOfShape(NodeImporter &n) {
  auto shape = n.ints(0);
  if (failed(shape))
    return failure();
  int64_t elements = 1;
  for (int64_t extent : *shape) {
    auto product = llvm::checkedMul(elements, extent);
    if (extent < 0 || !product || *product > (int64_t(1) << 40))
      return n.fail("the shape is not valid");
    elements = *product;
  }
  Type type = n.state.builder.getF32Type();
  double value = 0;
  if (const NodeAttribute *a = n.node.attribute("value"); a && a->tensor) {
    type = elementType(a->tensor->type, n.state.builder.getContext());
    if (!type || a->tensor->elements != 1 || a->tensor->missing)
      return n.fail("the value must be one number");
    value = hostTensor(*a->tensor).real(0);
  }
  return n.done(n.splat(RankedTensorType::get(*shape, type), value));
}

static LogicalResult shapeOf(NodeImporter &n) {
  if (!n.in(0))
    return n.fail("input 0 is missing");
  int64_t rank = n.rank(0), start = n.attr("start", 0), end = n.attr("end", rank);
  start = std::clamp(start < 0 ? start + rank : start, int64_t(0), rank);
  end = std::clamp(end < 0 ? end + rank : end, int64_t(0), rank);
  return n.done(n.state.pool.makeInts(n.loc, n.shape(0).slice(start, std::max<int64_t>(0, end - start))));
}

static LogicalResult sizeOf(NodeImporter &n) {
  if (!n.in(0))
    return n.fail("input 0 is missing");
  int64_t elements = nn::typeOf(n.in(0)).getNumElements();
  return n.done(n.reshape(n.state.pool.makeInts(n.loc, {elements}), {}));
}

static LogicalResult range(NodeImporter &n) {
  const HostTensor *start = n.constant(0), *limit = n.constant(1), *delta = n.constant(2);
  if (!start || !limit || !delta || start->size() != 1 || limit->size() != 1 || delta->size() != 1 ||
      start->isReal != limit->isReal || start->isReal != delta->isReal)
    return n.fail("three numbers of one type expected");
  if (delta->real(0) == 0)
    return n.fail("a range with step 0");
  double count = std::ceil((limit->real(0) - start->real(0)) / delta->real(0));
  if (!(count <= static_cast<double>(kMaxElements)))
    return n.fail("the range is too long");
  HostTensor data = *start;
  data.shape = {std::max<int64_t>(0, static_cast<int64_t>(count))};
  data.reals.clear();
  data.integers.clear();
  for (int64_t i = 0; i < data.shape[0]; ++i) {
    if (data.isReal)
      data.reals.push_back(start->reals[0] + static_cast<double>(i) * delta->reals[0]);
    else
      data.integers.push_back(start->integers[0] + i * delta->integers[0]);
  }
  Type type = nn::typeOf(n.in(0)).getElementType();
  roundTo(type, data);
  return n.done(makeWhole(n, type, std::move(data)));
}

/// Trilu: a triangular constant selects between the input and zero.
static LogicalResult trilu(NodeImporter &n) {
  if (!n.in(0) || n.rank(0) < 2)
    return n.fail("a matrix expected");
  auto k = n.ints(1);
  if (failed(k) || k->size() > 1)
    return n.fail("k must be one constant");
  int64_t offset = k->empty() ? 0 : std::clamp<int64_t>(k->front(), -kMaxElements, kMaxElements);
  bool upper = n.attr("upper", 1);
  int64_t rows = n.shape(0)[n.rank(0) - 2], columns = n.shape(0)[n.rank(0) - 1];
  if (auto size = llvm::checkedMul(rows, columns); !size || *size > kMaxElements)
    return n.fail("the matrix is too large");
  HostTensor keep;
  keep.isReal = false;
  keep.shape = {rows, columns};
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      keep.integers.push_back(upper ? j >= i + offset : j <= i + offset);
  Value mask = n.state.pool.make(n.loc, RankedTensorType::get({rows, columns}, n.state.builder.getI1Type()), std::move(keep));
  return n.done(n.emit<arith::SelectOp>(n.broadcastTo(mask, n.shape(0)), n.in(0), n.splatLike(n.in(0), 0)));
}

static LogicalResult eyeLike(NodeImporter &n) {
  if (!n.in(0) || n.rank(0) != 2 || nn::typeOf(n.in(0)).getNumElements() > kMaxElements)
    return n.fail("a matrix expected");
  Type type = nn::typeOf(n.in(0)).getElementType();
  if (n.hasAttr("dtype"))
    type = elementType(static_cast<DType>(n.attr("dtype", 0)), n.state.builder.getContext());
  if (!type)
    return n.fail("this element type");
  auto result = RankedTensorType::get(n.shape(0), type);
  HostTensor eye = HostTensor::zeros(result);
  int64_t rows = n.shape(0)[0], columns = n.shape(0)[1], k = n.attr("k", 0);
  for (int64_t i = 0; i < rows; ++i)
    if (int64_t j = i + k; j >= 0 && j < columns)
      (eye.isReal ? eye.reals[i * columns + j] = 1 : eye.integers[i * columns + j] = 1);
  return n.done(n.state.pool.make(n.loc, result, std::move(eye)));
}

static LogicalResult nonZero(NodeImporter &n) {
  const HostTensor *data = n.constant(0);
  if (!data)
    return failure();
  SmallVector<int64_t> hits;
  for (int64_t i = 0; i < data->size(); ++i)
    if (data->real(i) != 0)
      hits.push_back(i);
  HostTensor out;
  out.isReal = false;
  out.shape = {data->rank(), static_cast<int64_t>(hits.size())};
  auto strides = data->strides();
  for (int64_t d = 0; d < data->rank(); ++d)
    for (int64_t hit : hits)
      out.integers.push_back(hit / strides[d] % data->shape[d]);
  return n.done(makeWhole(n, n.state.builder.getI64Type(), std::move(out)));
}

static LogicalResult splitToSequence(NodeImporter &n) {
  if (!n.in(0))
    return n.fail("input 0 is missing");
  auto axis = n.axis(n.attr("axis", 0), n.rank(0));
  auto sizes = n.ints(1);
  if (failed(axis) || failed(sizes))
    return failure();
  int64_t extent = n.shape(0)[*axis], chunk = 1;
  if (extent > (1 << 20))
    return n.fail("too many parts");
  bool scalar = n.has(1) && n.rank(1) == 0;
  if (!n.has(1) || scalar) {
    chunk = scalar ? sizes->front() : 1;
    sizes->clear();
    for (int64_t at = 0; chunk > 0 && at < extent; at += chunk)
      sizes->push_back(std::min(chunk, extent - at));
  }
  std::vector<Value> parts;
  int64_t offset = 0;
  for (int64_t size : *sizes) {
    if (size < 1 || size > extent - offset)
      return n.fail("the parts do not add up to the dimension");
    Value part = n.slice(n.in(0), *axis, offset, size);
    if (!n.has(1) && !n.attr("keepdims", 1)) {
      SmallVector<int64_t> shape(n.shape(0));
      shape.erase(shape.begin() + *axis);
      part = n.reshape(part, shape);
    }
    parts.push_back(part);
    offset += size;
  }
  if (offset != extent)
    return n.fail("the parts do not add up to the dimension");
  n.outSequence(0, std::move(parts));
  return success();
}

static const Slot *sequence(NodeImporter &n, size_t i) {
  const Slot *slot = n.slot(i);
  if (slot && slot->isSequence)
    return slot;
  (void)n.fail("a sequence expected");
  return nullptr;
}

static LogicalResult sequenceAt(NodeImporter &n) {
  const Slot *slot = sequence(n, 0);
  auto index = n.ints(1);
  if (!slot || failed(index) || index->size() != 1)
    return n.fail("one constant position expected");
  auto at = n.axis(index->front(), static_cast<int64_t>(slot->sequence.size()));
  if (failed(at))
    return failure();
  return n.done(slot->sequence[*at]);
}

static LogicalResult sequenceConstruct(NodeImporter &n) {
  std::vector<Value> parts;
  for (size_t i = 0; i < n.node.inputs.size(); ++i) {
    if (!n.in(i))
      return n.fail("input " + Twine(i) + " is missing");
    parts.push_back(n.in(i));
  }
  n.outSequence(0, std::move(parts));
  return success();
}

static LogicalResult sequenceLength(NodeImporter &n) {
  const Slot *slot = sequence(n, 0);
  if (!slot)
    return failure();
  return n.done(n.reshape(n.state.pool.makeInts(n.loc, {static_cast<int64_t>(slot->sequence.size())}), {}));
}

static LogicalResult concatFromSequence(NodeImporter &n) {
  const Slot *slot = sequence(n, 0);
  if (!slot || slot->sequence.empty())
    return n.fail("the sequence is empty");
  bool fresh = n.attr("new_axis", 0);
  RankedTensorType first = nn::typeOf(slot->sequence.front());
  auto axis = n.axis(n.attr("axis", 0), first.getRank() + (fresh ? 1 : 0));
  if (failed(axis))
    return failure();
  SmallVector<Value> parts;
  for (Value part : slot->sequence) {
    SmallVector<int64_t> shape(nn::typeOf(part).getShape());
    if (fresh)
      shape.insert(shape.begin() + *axis, 1);
    parts.push_back(fresh ? n.reshape(part, shape) : part);
    SmallVector<int64_t> other(nn::typeOf(parts.front()).getShape());
    if (nn::typeOf(parts.back()).getRank() != static_cast<int64_t>(other.size()))
      return n.fail("the parts differ in rank");
  }
  return n.done(n.concat(parts, *axis));
}

/// If with a condition known at compile time: the branch that it takes stands in the node's place.
static LogicalResult ifKnown(NodeImporter &n) {
  if (!n.in(0) || !n.isKnown(0))
    return n.fail("a condition that depends on data");
  const HostTensor *condition = n.constant(0);
  if (!condition || condition->size() != 1)
    return n.fail("the condition must be one boolean");
  const Subgraph *branch = n.attrGraph(condition->real(0) != 0 ? "then_branch" : "else_branch");
  if (!branch || branch->outputs.size() < n.node.outputs.size())
    return n.fail("the branch does not have the outputs of the node");
  if (!n.state.importGraph(*branch))
    return n.fail("the branch that the condition takes could not be imported");
  for (auto [i, name] : llvm::enumerate(n.node.outputs)) {
    if (name.empty())
      continue;
    auto it = n.state.slots.find(branch->outputs[i]);
    if (it == n.state.slots.end())
      return n.fail("output `" + branch->outputs[i] + "` of the branch is defined nowhere");
    Slot slot = it->second;
    n.state.slots[name] = std::move(slot);
  }
  return success();
}

void llmc::onnx::registerHost(OpTable &t) {
  t.add("Constant", 1, constant);
  t.add("ConstantOfShape", 9, constantOfShape);
  t.add("Shape", 1, shapeOf);
  t.add("Size", 1, sizeOf);
  t.add("Range", 11, range);
  t.add("Trilu", 14, trilu);
  t.add("EyeLike", 9, eyeLike);
  t.add("NonZero", 9, nonZero);
  t.add("SplitToSequence", 11, splitToSequence);
  t.add("SequenceAt", 11, sequenceAt);
  t.add("If", 1, ifKnown);
  t.add("SequenceConstruct", 11, sequenceConstruct);
  t.add("SequenceLength", 11, sequenceLength);
  t.add("ConcatFromSequence", 11, concatFromSequence);
}
