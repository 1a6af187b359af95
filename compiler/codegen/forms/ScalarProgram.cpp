//===- ScalarProgram.cpp - arithmetic on rank-0 tensors -----------------------===//
#include "compiler/codegen/forms/ScalarProgram.h"
#include "compiler/codegen/fused/GraphBuilder.h"
#include <functional>
#include <map>

using namespace mlir;

namespace llmc::codegen {

bool isScalar(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.getRank() == 0 && elementKindOf(tensor.getElementType());
}

int ScalarProgram::idOf(Value value) {
  if (auto found = ids.find(value); found != ids.end())
    return found->second;
  auto argument = dyn_cast<BlockArgument>(value);
  if (!argument || !isScalar(value.getType()))
    return -1;
  Node node;
  node.kind = Node::Load;
  node.type = *elementKindOf(getElementTypeOrSelf(value.getType()));
  node.input = static_cast<int>(arguments.size());
  arguments.push_back(static_cast<int>(argument.getArgNumber()));
  nodes.push_back(std::move(node));
  return ids[value] = static_cast<int>(nodes.size() - 1);
}

int ScalarProgram::addExternal(Value value) {
  Node node;
  node.kind = Node::Load;
  node.type = *elementKindOf(getElementTypeOrSelf(value.getType()));
  node.input = -1 - static_cast<int>(externals.size());
  nodes.push_back(std::move(node));
  externals.push_back(static_cast<int>(nodes.size() - 1));
  return ids[value] = static_cast<int>(nodes.size() - 1);
}

bool ScalarProgram::add(Operation *op) {
  if (op->getNumResults() != 1 || op->getNumRegions() != 0 || !isScalar(op->getResult(0).getType()))
    return false;
  Node node;
  node.type = *elementKindOf(getElementTypeOrSelf(op->getResult(0).getType()));
  if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
    auto dense = dyn_cast<DenseElementsAttr>(constant.getValue());
    if (!dense)
      return false;
    node.kind = Node::Constant;
    setConstant(node, dense);
  } else {
    StringRef dialect = op->getName().getDialectNamespace();
    if (dialect != "arith" && dialect != "math")
      return false;
    node.kind = Node::Elementwise;
    node.op = op->getName().getStringRef().str();
    node.predicate = predicateOf(op);
    for (Value operand : op->getOperands()) {
      int id = idOf(operand);
      if (id < 0)
        return false;
      node.operands.push_back(id);
    }
  }
  nodes.push_back(std::move(node));
  ids[op->getResult(0)] = static_cast<int>(nodes.size() - 1);
  return true;
}

SmallVector<Value> ScalarProgram::emit(Code &code, ArrayRef<int> wanted, llvm::function_ref<Value(size_t)> pointer,
                                       ArrayRef<Value> external) const {
  std::map<int, Value> values;
  std::function<Value(int)> compute = [&](int id) -> Value {
    if (auto found = values.find(id); found != values.end())
      return found->second;
    const Node &node = nodes[id];
    Type type = computeType(code.b.getContext(), node.type);
    if (node.kind == Node::Constant)
      return values[id] = isFloat(node.type) ? code.number(type, node.real) : code.integer(type, node.integer);
    if (node.kind == Node::Load)
      return values[id] =
                 node.input < 0 ? external[-1 - node.input] : code.loadElements(node.type, pointer(static_cast<size_t>(node.input)), 0);
    SmallVector<Value> operands;
    for (NodeId operand : node.operands)
      operands.push_back(compute(operand));
    return values[id] = emitElementwise(code, node, operands, 0);
  };
  SmallVector<Value> results;
  for (int id : wanted)
    results.push_back(compute(id));
  return results;
}

} // namespace llmc::codegen
