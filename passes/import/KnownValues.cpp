//===- KnownValues.cpp - constants of a function ----------------------------------===//
#include "passes/import/KnownValues.h"
#include "dialects/nn/Nn.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;

namespace llmc::importing {

static constexpr int64_t kInlineBytes = 1024;
static constexpr int64_t kMaxElements = int64_t(1) << 28;

ElementsAttr KnownValues::attributeOf(Value value) {
  if (auto argument = dyn_cast<BlockArgument>(value))
    return argument.getOwner() == &function.getBody().front()
               ? function.getArgAttrOfType<ElementsAttr>(argument.getArgNumber(), train::kValue)
               : ElementsAttr();
  ElementsAttr attribute;
  matchPattern(value, m_Constant(&attribute));
  return attribute;
}

Value KnownValues::make(Location loc, DenseElementsAttr attribute) {
  if (made.empty()) // what the function has already
    for (BlockArgument argument : function.getArguments())
      if (ElementsAttr known = attributeOf(argument))
        made.try_emplace(known, argument);
  auto [it, isNew] = made.try_emplace(attribute, Value());
  if (!isNew)
    return it->second;
  auto type = cast<RankedTensorType>(attribute.getType());
  if (attribute.isSplat() || tensorBytes(type) <= kInlineBytes) {
    OpBuilder builder = OpBuilder::atBlockBegin(&function.getBody().front());
    return it->second = arith::ConstantOp::create(builder, loc, attribute);
  }
  int64_t number = 0;
  std::string name;
  do
    name = "constant." + std::to_string(number++);
  while (train::findArgument(function, name) >= 0);
  NamedAttrList attributes(train::nameAndRole(function.getContext(), name, train::kConstant));
  attributes.set(train::kValue, attribute);
  unsigned index = function.getNumArguments();
  (void)function.insertArgument(index, type, attributes.getDictionary(function.getContext()), loc);
  return it->second = function.getArgument(index);
}

Value KnownValues::fold(Value value) {
  Operation *op = value.getDefiningOp();
  auto evaluable = dyn_cast_or_null<Evaluable>(op);
  if (!evaluable || op->getNumOperands() == 0 || op->getNumResults() != 1 || nn::typeOf(value).getNumElements() > kMaxElements)
    return value;
  std::vector<HostTensor> operands;
  for (OpOperand &operand : op->getOpOperands()) {
    Value known = fold(operand.get());
    operand.set(known);
    ElementsAttr attribute = attributeOf(known);
    FailureOr<HostTensor> elements = attribute ? HostTensor::fromAttribute(attribute) : FailureOr<HostTensor>(failure());
    if (failed(elements))
      return value;
    operands.push_back(std::move(*elements));
  }
  std::vector<const HostTensor *> pointers;
  for (const HostTensor &operand : operands)
    pointers.push_back(&operand);
  HostTensor result = HostTensor::zeros(value.getType());
  if (failed(evaluable.evaluate(pointers, result)))
    return value;
  auto type = nn::typeOf(value);
  roundTo(type.getElementType(), result);
  Value known = make(value.getLoc(), result.toAttribute(type));
  value.replaceAllUsesWith(known);
  op->erase();
  return known;
}

void KnownValues::eraseUnused() {
  llvm::BitVector unused(function.getNumArguments());
  for (BlockArgument argument : function.getArguments())
    if (argument.use_empty() && train::argumentString(function, argument.getArgNumber(), train::kRole) == train::kConstant)
      unused.set(argument.getArgNumber());
  made.clear();
  (void)function.eraseArguments(unused);
}

} // namespace llmc::importing
