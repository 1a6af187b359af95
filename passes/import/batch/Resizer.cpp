//===- Resizer.cpp - another batch size ------------------------------------------===//
#include "passes/import/batch/Resizer.h"
#include "dialects/interfaces/HostTensor.h"
#include "dialects/nn/Nn.h"
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace llmc;
using analysis::BatchMark;
using analysis::BatchTrace;

namespace {

class Resizer {
public:
  Resizer(func::FuncOp function, const BatchTrace &trace, int64_t target) : function(function), trace(trace), target(target) {}
  LogicalResult run();

private:
  RankedTensorType resized(Value value) const;
  FailureOr<DenseElementsAttr> resizeConstant(Operation *where, ElementsAttr value, RankedTensorType type, ArrayRef<BatchMark> marks) const;
  LogicalResult resizeArgument(unsigned index);
  LogicalResult resizeOp(Operation *op);
  void reshapeAgain(Operation *op);
  void repeatOperands();
  /// The value that `value` stands for, of which the trace knows.
  Value original(Value value) const {
    Value old = remade.lookup(value);
    return old ? old : value;
  }

  func::FuncOp function;
  const BatchTrace &trace;
  int64_t target;
  DenseMap<Value, Value> remade;
};

RankedTensorType Resizer::resized(Value value) const {
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape(type.getShape());
  for (BatchMark mark : trace.marked(value))
    shape[mark.dim] = shape[mark.dim] / trace.batch() * target;
  return type.clone(shape);
}

/// A constant with a batch dimension: all samples must be equal; then any number of them can be made.
FailureOr<DenseElementsAttr> Resizer::resizeConstant(Operation *where, ElementsAttr value, RankedTensorType type,
                                                     ArrayRef<BatchMark> marks) const {
  if (auto dense = dyn_cast<DenseElementsAttr>(value); dense && dense.isSplat())
    return dense.resizeSplat(type);
  FailureOr<HostTensor> from = HostTensor::fromAttribute(value);
  if (failed(from))
    return where->emitError() << "a constant has no value";
  HostTensor to = HostTensor::zeros(type);
  auto oldStrides = from->strides(), newStrides = to.strides();
  // Where the old tensor has, in sample 0 of each marked dimension, element i of one with `samples` samples.
  auto sampleZero = [&](int64_t i, ArrayRef<int64_t> strides, ArrayRef<int64_t> shape, int64_t samples) {
    int64_t at = 0;
    for (size_t d = 0; d < shape.size(); ++d) {
      int64_t index = i / strides[d] % shape[d];
      for (BatchMark mark : marks)
        if (mark.dim == static_cast<int64_t>(d))
          index = index / (mark.inner * samples) * (mark.inner * trace.batch()) + index % mark.inner;
      at += index * oldStrides[d];
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
  if (trace.batch() == 1 && isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op))
    return reshapeAgain(op), success();
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
    for (BatchMark mark : trace.marked(original(marks)))
      sizes[mark.dim] = source.getDimSize(mark.dim);
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

/// The dimensions that a reshape groups follow from sizes, which are others now.
void Resizer::reshapeAgain(Operation *op) {
  Value old = op->getResult(0);
  OpBuilder b(op);
  Value value = nn::reshape(b, op->getLoc(), op->getOperand(0), resized(old).getShape());
  remade[value] = old;
  old.replaceAllUsesWith(value);
}

/// What all samples share is repeated for each of them: [outer inner] -> [outer, samples, inner], merged again.
void Resizer::repeatOperands() {
  for (auto [operand, mark] : trace.repeated()) {
    OpBuilder b(operand->getOwner());
    Location loc = operand->getOwner()->getLoc();
    auto type = cast<RankedTensorType>(operand->get().getType());
    SmallVector<int64_t> split(type.getShape()), repeated, dims, merged(type.getShape());
    merged[mark.dim] *= target;
    if (type.getDimSize(mark.dim) == 1) {
      llvm::append_range(dims, llvm::seq<int64_t>(0, type.getRank()));
      operand->set(nn::BroadcastOp::create(b, loc, type.clone(merged), operand->get(), dims));
      continue;
    }
    split[mark.dim] /= mark.inner;
    split.insert(split.begin() + mark.dim + 1, mark.inner);
    repeated = split;
    repeated.insert(repeated.begin() + mark.dim + 1, target);
    for (int64_t d = 0; d <= type.getRank(); ++d)
      dims.push_back(d <= mark.dim ? d : d + 1);
    Value value = nn::reshape(b, loc, operand->get(), split);
    value = nn::BroadcastOp::create(b, loc, type.clone(repeated), value, dims);
    operand->set(nn::reshape(b, loc, value, merged));
  }
}

LogicalResult Resizer::run() {
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    if (failed(resizeArgument(i)))
      return failure();
  for (Operation &op : llvm::make_early_inc_range(function.getBody().front().without_terminator()))
    if (failed(resizeOp(&op)))
      return failure();
  for (auto [value, old] : remade)
    if (value != old && old.use_empty())
      old.getDefiningOp()->erase();
  repeatOperands();
  Operation *terminator = function.getBody().front().getTerminator();
  function.setType(FunctionType::get(function.getContext(), function.getBody().front().getArgumentTypes(), terminator->getOperandTypes()));
  return success();
}

} // namespace

LogicalResult llmc::importing::resizeBatch(func::FuncOp function, const BatchTrace &trace, int64_t target) {
  return Resizer(function, trace, target).run();
}

int64_t llmc::importing::wantedBatch(func::FuncOp function) {
  if (function.getName() == train::kPredict)
    return 1;
  return train::recipeOf(function->getParentOfType<ModuleOp>()).batch.micro;
}

int64_t llmc::importing::exportedBatch(func::FuncOp function, int64_t present) {
  auto exported = function->getAttrOfType<IntegerAttr>(kExportedBatch);
  return exported ? exported.getInt() : present;
}
