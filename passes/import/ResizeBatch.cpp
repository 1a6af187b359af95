//===- ResizeBatch.cpp - import-resize-batch ---------------------------------------===//
#include "dialects/interfaces/HostTensor.h"
#include "dialects/nn/Nn.h"
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/import/BatchTrace.h"
#include "passes/import/Passes.h"

namespace llmc::importing {
#define GEN_PASS_DEF_IMPORTRESIZEBATCH
#include "passes/import/Passes.h.inc"
} // namespace llmc::importing

using namespace mlir;
using namespace llmc;
using namespace llmc::importing;

namespace {

class Resizer {
public:
  Resizer(func::FuncOp function, const BatchTrace &trace, int64_t target) : function(function), trace(trace), target(target) {}
  LogicalResult run();

private:
  RankedTensorType resized(Value value) const;
  FailureOr<DenseElementsAttr> resizeConstant(Operation *where, ElementsAttr value, RankedTensorType type, ArrayRef<int64_t> marked) const;
  LogicalResult resizeArgument(unsigned index);
  LogicalResult resizeOp(Operation *op);
  void repeatOperands();

  func::FuncOp function;
  const BatchTrace &trace;
  int64_t target;
};

RankedTensorType Resizer::resized(Value value) const {
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape(type.getShape());
  for (int64_t dim : trace.marked(value))
    shape[dim] = shape[dim] / trace.batch() * target;
  return type.clone(shape);
}

/// A constant with a batch dimension: all samples must be equal; then any number of them can be made.
FailureOr<DenseElementsAttr> Resizer::resizeConstant(Operation *where, ElementsAttr value, RankedTensorType type,
                                                     ArrayRef<int64_t> marked) const {
  if (auto dense = dyn_cast<DenseElementsAttr>(value); dense && dense.isSplat())
    return dense.resizeSplat(type);
  FailureOr<HostTensor> from = HostTensor::fromAttribute(value);
  if (failed(from))
    return where->emitError() << "a constant has no value";
  HostTensor to = HostTensor::zeros(type);
  auto oldStrides = from->strides(), newStrides = to.strides();
  // Index of a new element in the old tensor, in sample 0 of each marked dimension.
  auto sampleZero = [&](int64_t i, ArrayRef<int64_t> strides, ArrayRef<int64_t> shape, int64_t samples) {
    int64_t at = 0;
    for (size_t d = 0; d < shape.size(); ++d) {
      int64_t index = i / strides[d] % shape[d];
      at += (llvm::is_contained(marked, static_cast<int64_t>(d)) ? index % (shape[d] / samples) : index) * oldStrides[d];
    }
    return at;
  };
  for (int64_t i = 0, e = from->size(); i < e; ++i) {
    int64_t zero = sampleZero(i, oldStrides, from->shape, trace.batch());
    if (from->isReal ? from->reals[i] != from->reals[zero] && !(from->reals[i] != from->reals[i]) : from->integers[i] != from->integers[zero])
      return where->emitError() << "a constant differs between the samples of the batch, so the batch size cannot be changed";
  }
  for (int64_t i = 0, e = to.size(); i < e; ++i) {
    int64_t source = sampleZero(i, newStrides, to.shape, target);
    if (to.isReal)
      to.reals[i] = from->reals[source];
    else
      to.integers[i] = from->integers[source];
  }
  return to.toAttribute(type);
}

LogicalResult Resizer::resizeArgument(unsigned index) {
  BlockArgument argument = function.getArgument(index);
  if (trace.marked(argument).empty())
    return success();
  RankedTensorType type = resized(argument);
  if (auto value = function.getArgAttrOfType<ElementsAttr>(index, train::kValue)) {
    FailureOr<DenseElementsAttr> attribute = resizeConstant(function, value, type, trace.marked(argument));
    if (failed(attribute))
      return failure();
    function.setArgAttr(index, train::kValue, *attribute);
  }
  argument.setType(type);
  return success();
}

LogicalResult Resizer::resizeOp(Operation *op) {
  if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
    if (trace.marked(constant).empty())
      return success();
    RankedTensorType type = resized(constant);
    FailureOr<DenseElementsAttr> value = resizeConstant(op, cast<ElementsAttr>(constant.getValue()), type, trace.marked(constant));
    if (failed(value))
      return failure();
    constant.setValueAttr(*value);
    constant.getResult().setType(type);
    return success();
  }
  SmallVector<RankedTensorType> types;
  for (Value result : op->getResults())
    types.push_back(resized(result));
  for (auto [result, type] : llvm::zip(op->getResults(), types))
    result.setType(type);
  auto setSizes = [&](auto slice, RankedTensorType source, Value marks) {
    SmallVector<int64_t> sizes(slice.getStaticSizes());
    for (int64_t dim : trace.marked(marks))
      sizes[dim] = source.getDimSize(dim);
    slice.setStaticSizes(sizes);
  };
  if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op))
    expand.setStaticOutputShape(types.front().getShape());
  else if (auto extract = dyn_cast<tensor::ExtractSliceOp>(op))
    setSizes(extract, cast<RankedTensorType>(extract.getSource().getType()), extract.getSource());
  else if (auto insert = dyn_cast<tensor::InsertSliceOp>(op))
    setSizes(insert, types.front(), insert.getResult());
  return success();
}

/// What all samples share is repeated for each of them.
void Resizer::repeatOperands() {
  for (auto [operand, dim] : trace.repeated()) {
    auto type = cast<RankedTensorType>(operand->get().getType());
    SmallVector<int64_t> shape(type.getShape());
    shape[dim] *= target;
    OpBuilder b(operand->getOwner());
    auto dims = llvm::to_vector(llvm::seq<int64_t>(0, type.getRank()));
    if (type.getDimSize(dim) == 1) {
      operand->set(nn::BroadcastOp::create(b, operand->getOwner()->getLoc(), type.clone(shape), operand->get(), dims));
      continue;
    }
    // [b * n]: repeated in front, then merged.
    SmallVector<int64_t> split(shape), order;
    split[dim] = target;
    split.insert(split.begin() + dim + 1, type.getDimSize(dim));
    for (int64_t d = 0; d < type.getRank(); ++d)
      order.push_back(d < dim ? d : d + 1);
    Value repeated = nn::BroadcastOp::create(b, operand->getOwner()->getLoc(), type.clone(split), operand->get(), order);
    operand->set(nn::reshape(b, operand->getOwner()->getLoc(), repeated, shape));
  }
}

LogicalResult Resizer::run() {
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    if (failed(resizeArgument(i)))
      return failure();
  for (Operation &op : function.getBody().front().without_terminator())
    if (failed(resizeOp(&op)))
      return failure();
  repeatOperands();
  Operation *terminator = function.getBody().front().getTerminator();
  function.setType(FunctionType::get(function.getContext(), function.getBody().front().getArgumentTypes(), terminator->getOperandTypes()));
  return success();
}

struct ResizeBatch : importing::impl::ImportResizeBatchBase<ResizeBatch> {
  void runOnOperation() override {
    train::Recipe recipe = train::recipeOf(getOperation());
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      int64_t target = function.getName() == train::kPredict ? 1 : recipe.batch.micro;
      FailureOr<BatchTrace> trace = BatchTrace::of(function);
      if (failed(trace))
        return signalPassFailure();
      if (target == 0 || target == trace->batch())
        continue;
      if (failed(Resizer(function, *trace, target).run()))
        return signalPassFailure();
    }
  }
};

} // namespace
