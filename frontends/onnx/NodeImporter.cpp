//===- NodeImporter.cpp - what a handler sees of the node it imports ------===//
#include "frontends/onnx/NodeImporter.h"
#include "dialects/train/Train.h"
#include "llvm/Support/CheckedArithmetic.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;
using namespace llmc;
using namespace llmc::onnx;

const Slot *NodeImporter::slot(size_t i) const {
  if (!has(i))
    return nullptr;
  auto it = state.slots.find(node.inputs[i]);
  return it == state.slots.end() ? nullptr : &it->second;
}

Value NodeImporter::in(size_t i) const {
  const Slot *found = slot(i);
  return found ? found->value : Value();
}

LogicalResult NodeImporter::fail(const llvm::Twine &reason) {
  if (failure.empty())
    failure = reason.str();
  return mlir::failure();
}

const HostTensor *NodeImporter::constant(size_t i) {
  if (!in(i)) {
    (void)fail("input " + llvm::Twine(i) + " is absent");
    return nullptr;
  }
  if (!isKnown(i)) {
    (void)fail("input " + llvm::Twine(i) + " (`" + node.inputs[i] + "`) depends on data; it must be known at compile time");
    return nullptr;
  }
  const HostTensor *elements = state.pool.elements(in(i));
  if (!elements && nn::typeOf(in(i)).getNumElements() > (int64_t(1) << 28))
    (void)fail("the value of `" + llvm::Twine(node.inputs[i]) + "` is needed at compile time, but it is too large");
  else if (!elements)
    (void)fail("the value of `" + llvm::Twine(node.inputs[i]) + "` is needed at compile time, but its data file is missing");
  return elements;
}

FailureOr<SmallVector<int64_t>> NodeImporter::ints(size_t i) {
  SmallVector<int64_t> values;
  if (!has(i))
    return values;
  const HostTensor *elements = constant(i);
  if (!elements)
    return mlir::failure();
  if (elements->isReal)
    return fail("input " + llvm::Twine(i) + " must hold integers");
  values.assign(elements->integers.begin(), elements->integers.end());
  return values;
}

int64_t NodeImporter::attr(StringRef name, int64_t fallback) const {
  const NodeAttribute *a = node.attribute(name);
  return a && a->kind == NodeAttribute::Int ? a->i : fallback;
}

double NodeImporter::attrFloat(StringRef name, double fallback) const {
  const NodeAttribute *a = node.attribute(name);
  return a && a->kind == NodeAttribute::Float ? a->f : fallback;
}

std::string NodeImporter::attrText(StringRef name, StringRef fallback) const {
  const NodeAttribute *a = node.attribute(name);
  return a && a->kind == NodeAttribute::String ? a->s : fallback.str();
}

std::optional<SmallVector<int64_t>> NodeImporter::attrInts(StringRef name) const {
  const NodeAttribute *a = node.attribute(name);
  if (!a || a->kind != NodeAttribute::Ints)
    return std::nullopt;
  return SmallVector<int64_t>(a->ints.begin(), a->ints.end());
}

const Subgraph *NodeImporter::attrGraph(StringRef name) const {
  const NodeAttribute *a = node.attribute(name);
  return a ? a->graph.get() : nullptr;
}

FailureOr<int64_t> NodeImporter::axis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank)
    return fail("axis " + llvm::Twine(axis) + " is outside a tensor of rank " + llvm::Twine(rank));
  return axis < 0 ? axis + rank : axis;
}

void NodeImporter::out(size_t i, Value value) {
  if (wants(i))
    state.slots[node.outputs[i]].value = value;
}

void NodeImporter::outSequence(size_t i, std::vector<Value> values) {
  if (!wants(i))
    return;
  Slot &slot = state.slots[node.outputs[i]];
  slot.isSequence = true;
  slot.sequence = std::move(values);
}

/// True if a tensor of this shape has a number of elements that sizes in bytes can be computed with.
static bool isSizeValid(ArrayRef<int64_t> shape) {
  int64_t elements = 1;
  for (int64_t extent : shape) {
    auto product = llvm::checkedMul(elements, extent);
    if (extent < 0 || !product || *product > (int64_t(1) << 46))
      return false;
    elements = *product;
  }
  return true;
}

SmallVector<Value> NodeImporter::finish(Operation *op) {
  SmallVector<Value> results;
  std::string message;
  bool valid;
  {
    ScopedDiagnosticHandler handler(op->getContext(), [&](Diagnostic &diagnostic) {
      if (message.empty())
        message = diagnostic.str();
      return success();
    });
    valid = succeeded(verify(op, /*verifyRecursively=*/false));
  }
  for (Type type : op->getResultTypes())
    if (!isSizeValid(llvm::cast<RankedTensorType>(type).getShape())) {
      valid = false;
      message = "the result is too large";
    }
  if (!valid) {
    (void)fail(message);
    for (Type type : op->getResultTypes())
      results.push_back(state.pool.makeSplat(loc, llvm::cast<RankedTensorType>(type), 0));
    op->erase();
    return results;
  }
  if (!state.pool.fold(op, results))
    results.assign(op->result_begin(), op->result_end());
  return results;
}

Value NodeImporter::reshape(Value value, ArrayRef<int64_t> shape) {
  RankedTensorType type = nn::typeOf(value);
  if (type.getShape() == shape)
    return value;
  if (state.pool.isKnown(value))
    if (Value known = state.pool.reshape(loc, value, shape))
      return known;
  int64_t elements = 1;
  for (int64_t extent : shape)
    elements *= extent;
  if (elements != type.getNumElements() || elements == 0) {
    (void)fail("a reshape changes the number of elements");
    return splat(RankedTensorType::get(shape, type.getElementType()), 0);
  }
  return nn::reshape(state.builder, loc, value, shape);
}

Value NodeImporter::transpose(Value value, ArrayRef<int64_t> permutation) {
  bool identity = true;
  for (auto [i, p] : llvm::enumerate(permutation))
    identity &= static_cast<int64_t>(i) == p;
  if (identity)
    return value;
  return emit<nn::TransposeOp>(value, permutation);
}

Value NodeImporter::broadcast(Value value, ArrayRef<int64_t> shape, ArrayRef<int64_t> dims) {
  auto type = RankedTensorType::get(shape, nn::typeOf(value).getElementType());
  if (type == value.getType())
    return value;
  if (state.pool.isKnown(value))
    if (Value known = state.pool.broadcast(loc, value, type, dims))
      return known;
  return emit<nn::BroadcastOp>(type, value, dims);
}

Value NodeImporter::broadcastTo(Value value, ArrayRef<int64_t> shape) {
  int64_t rank = nn::typeOf(value).getRank();
  SmallVector<int64_t> dims;
  for (int64_t d = 0; d < rank; ++d)
    dims.push_back(static_cast<int64_t>(shape.size()) - rank + d);
  return broadcast(value, shape, dims);
}

FailureOr<SmallVector<int64_t>> NodeImporter::commonShape(ArrayRef<Value> values) {
  SmallVector<int64_t> shape;
  for (Value value : values) {
    ArrayRef<int64_t> other = nn::typeOf(value).getShape();
    if (other.size() > shape.size())
      shape.insert(shape.begin(), other.size() - shape.size(), 1);
    for (size_t i = 0; i < other.size(); ++i) {
      int64_t &extent = shape[shape.size() - other.size() + i];
      if (extent != other[i] && extent != 1 && other[i] != 1)
        return fail("shapes do not match: " + llvm::Twine(extent) + " and " + llvm::Twine(other[i]) +
                    " in one dimension");
      extent = extent == 1 ? other[i] : extent;
    }
  }
  if (!isSizeValid(shape))
    return fail("the result is too large");
  return shape;
}

Value NodeImporter::slice(Value value, int64_t d, int64_t offset, int64_t size, int64_t stride, bool byNumber) {
  RankedTensorType type = nn::typeOf(value);
  bool whole = offset == 0 && size == type.getDimSize(d) && stride == 1;
  if (whole && !byNumber)
    return value;
  SmallVector<OpFoldResult> offsets(type.getRank(), state.builder.getIndexAttr(0)),
      strides(type.getRank(), state.builder.getIndexAttr(1)), sizes;
  for (int64_t extent : type.getShape())
    sizes.push_back(state.builder.getIndexAttr(extent));
  offsets[d] = state.builder.getIndexAttr(offset);
  sizes[d] = state.builder.getIndexAttr(size);
  strides[d] = state.builder.getIndexAttr(stride);
  SmallVector<int64_t> shape(type.getShape());
  shape[d] = size;
  if (size == 0) // nothing depends on data then
    return splat(RankedTensorType::get(shape, type.getElementType()), 0);
  if (auto known = state.pool.splatValue(value))
    return splat(RankedTensorType::get(shape, type.getElementType()), *known);
  Value result = emit<tensor::ExtractSliceOp>(RankedTensorType::get(shape, type.getElementType()), value, offsets, sizes, strides);
  return whole ? noteAxes(result, value, {d}) : result;
}

Value NodeImporter::concat(ArrayRef<Value> values, int64_t d) {
  if (values.size() == 1)
    return values.front();
  RankedTensorType type = nn::typeOf(values.front());
  SmallVector<int64_t> shape(type.getShape());
  shape[d] = 0;
  for (Value value : values)
    shape[d] += nn::typeOf(value).getDimSize(d);
  return emit<tensor::ConcatOp>(RankedTensorType::get(shape, type.getElementType()), d, ValueRange(values));
}

Value NodeImporter::noteAxes(Value value, Value source, ArrayRef<int64_t> axes) {
  if (Operation *op = value.getDefiningOp(); op && value != source && op->getNumOperands() == 1 && op->getOperand(0) == source)
    op->setAttr(train::kAxes, state.builder.getDenseI64ArrayAttr(axes));
  return value;
}

Value NodeImporter::swapLast(Value value, int64_t d) {
  SmallVector<int64_t> permutation;
  int64_t rank = nn::typeOf(value).getRank();
  for (int64_t i = 0; i < rank; ++i)
    permutation.push_back(i);
  std::swap(permutation[d], permutation[rank - 1]);
  return transpose(value, permutation);
}

Value NodeImporter::normOf(Value squares) {
  Value zero = splatLike(squares, 0), isZero = emit<arith::CmpFOp>(arith::CmpFPredicate::OEQ, squares, zero);
  return emit<math::SqrtOp>(emit<arith::SelectOp>(isZero, zero, squares));
}

Value NodeImporter::cast(Value value, Type to) {
  RankedTensorType type = nn::typeOf(value);
  Type from = type.getElementType();
  if (from == to)
    return value;
  RankedTensorType result = type.clone(to);
  auto width = [](Type t) { return t.getIntOrFloatBitWidth(); };
  bool fromBool = from.isInteger(1);
  if (to.isInteger(1)) { // anything but zero is true
    Value zero = splatLike(value, 0);
    if (isa<FloatType>(from))
      return emit<arith::CmpFOp>(arith::CmpFPredicate::UNE, value, zero);
    return emit<arith::CmpIOp>(arith::CmpIPredicate::ne, value, zero);
  }
  if (isa<FloatType>(from) && isa<FloatType>(to))
    return width(from) < width(to) ? emit<arith::ExtFOp>(result, value) : emit<arith::TruncFOp>(result, value);
  if (isa<FloatType>(from))
    return emit<arith::FPToSIOp>(result, value);
  if (isa<FloatType>(to))
    return fromBool ? emit<arith::UIToFPOp>(result, value) : emit<arith::SIToFPOp>(result, value);
  if (width(from) < width(to))
    return fromBool ? emit<arith::ExtUIOp>(result, value) : emit<arith::ExtSIOp>(result, value);
  return emit<arith::TruncIOp>(result, value);
}
