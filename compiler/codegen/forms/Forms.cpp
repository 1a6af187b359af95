//===- Forms.cpp - what the generators of single ops share --------------------===//
#include "compiler/codegen/forms/Forms.h"
#include "compiler/codegen/fused/GraphBuilder.h"
#include "compiler/codegen/fused/StagePlan.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace llmc::codegen {

static bool isReshape(Operation *op) { return isa_and_nonnull<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op); }

int argumentOf(Value value) {
  while (isReshape(value.getDefiningOp()))
    value = value.getDefiningOp()->getOperand(0);
  auto argument = dyn_cast<BlockArgument>(value);
  return argument ? static_cast<int>(argument.getArgNumber()) : -1;
}

Operation *onlyOp(func::FuncOp function) {
  Operation *only = nullptr;
  for (Operation &op : function.getBody().front().without_terminator()) {
    if (isReshape(&op) || isa<arith::ConstantOp>(op))
      continue;
    if (only)
      return nullptr;
    only = &op;
  }
  return only;
}

int resultOf(func::FuncOp function, Value value) {
  int found = -1;
  for (auto [i, returned] : llvm::enumerate(function.getBody().front().getTerminator()->getOperands())) {
    Value source = returned;
    while (source != value && isReshape(source.getDefiningOp()))
      source = source.getDefiningOp()->getOperand(0);
    if (source != value)
      continue;
    if (found >= 0)
      return -1;
    found = static_cast<int>(i);
  }
  return found;
}

TensorSize sizeOf(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || !tensor.hasStaticShape())
    return {};
  return {elementKindOf(tensor.getElementType()), tensor.getNumElements()};
}

Source Source::of(Value value) {
  Source source;
  TensorSize size = sizeOf(value.getType());
  if (!size.kind)
    return source;
  source.kind = *size.kind;
  source.elements = size.elements;
  while (isReshape(value.getDefiningOp()))
    value = value.getDefiningOp()->getOperand(0);
  source.argument = argumentOf(value);
  DenseElementsAttr dense;
  if (auto constant = value.getDefiningOp<arith::ConstantOp>())
    dense = dyn_cast<DenseElementsAttr>(constant.getValue());
  if (dense && dense.isSplat()) {
    source.isSplat = true;
    source.splat.kind = Node::Constant;
    source.splat.type = source.kind;
    setConstant(source.splat, dense);
  }
  return source;
}

void Source::addTo(KernelStage &stage) const {
  if (argument >= 0)
    stage.operands.push_back({OperandKind::Input, argument, AccessMode::Read, bytes()});
}

Value Source::pointer(const KernelStage &stage, ArrayRef<Value> operands) const {
  int at = argument < 0 ? -1 : StagedKernel::operandIndex(stage, OperandKind::Input, argument);
  return at < 0 ? Value() : operands[at];
}

Value Source::load(Code &code, Value pointer, Value position, int64_t width, Value mask, int64_t alignment) const {
  Type type = Code::vectorOf(computeType(code.b.getContext(), kind), width);
  if (isSplat)
    return isFloat(kind) ? code.number(type, splat.real) : code.integer(type, splat.integer);
  return code.loadElements(kind, code.address(pointer, storageType(code.b.getContext(), kind), position), width, 1, mask, alignment);
}

Value Source::index(Code &code, Value pointer, Value position, int64_t size) const {
  Value index = load(code, pointer, position, 0);
  if (index.getType() != code.i64Type())
    index = code.op("arith.extsi", index, code.i64Type());
  Value zero = code.i64(0);
  index = code.select(code.compare(arith::CmpIPredicate::slt, index, zero), code.add(index, size), index);
  return code.max(code.min(index, code.i64(size - 1)), zero);
}

} // namespace llmc::codegen
