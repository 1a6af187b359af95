//===- Interpreter.cpp - evaluates a function op by op ------------------------===//
#include "compiler/reference/Interpreter.h"
#include "mlir/IR/SymbolTable.h"
#include <unordered_map>

using namespace mlir;

namespace llmc::reference {

namespace {

/// The values of one call, each kept until its last use.
class Frame {
public:
  explicit Frame(func::FuncOp function) {
    function.walk([&](Operation *op) {
      for (Value operand : op->getOperands())
        ++usesLeft[operand];
    });
  }
  void set(Value value, HostTensor tensor) {
    if (usesLeft.lookup(value) > 0)
      values.try_emplace(value, std::move(tensor));
  }
  const HostTensor &get(Value value) const { return values.at(value); }
  void release(Operation *op) {
    for (Value operand : op->getOperands())
      if (--usesLeft[operand] == 0)
        values.erase(operand);
  }

private:
  DenseMap<Value, int64_t> usesLeft;
  struct Hash {
    size_t operator()(Value v) const { return hash_value(v); }
  };
  std::unordered_map<Value, HostTensor, Hash> values;
};

} // namespace

FailureOr<std::vector<HostTensor>> Interpreter::run(func::FuncOp function, std::vector<HostTensor> arguments) const {
  Frame frame(function);
  for (auto [argument, tensor] : llvm::zip(function.getArguments(), arguments))
    frame.set(argument, std::move(tensor));
  for (Operation &op : function.getBody().front().without_terminator()) {
    std::vector<HostTensor> results;
    if (auto call = dyn_cast<func::CallOp>(op)) {
      auto callee = SymbolTable::lookupNearestSymbolFrom<func::FuncOp>(call, call.getCalleeAttr());
      std::vector<HostTensor> inputs;
      for (Value operand : op.getOperands())
        inputs.push_back(frame.get(operand));
      FailureOr<std::vector<HostTensor>> called = run(callee, std::move(inputs));
      if (failed(called))
        return failure();
      results = std::move(*called);
    } else {
      auto evaluable = dyn_cast<Evaluable>(op);
      if (!evaluable)
        return op.emitOpError("cannot be evaluated by the reference interpreter");
      SmallVector<const HostTensor *> operands;
      for (Value operand : op.getOperands())
        operands.push_back(&frame.get(operand));
      for (Type type : op.getResultTypes())
        results.push_back(HostTensor::zeros(type));
      if (failed(evaluable.evaluate(operands, results)))
        return failure();
    }
    for (auto [result, tensor] : llvm::zip(op.getResults(), results)) {
      Type element = getElementTypeOrSelf(result.getType());
      if (arithmetic == Arithmetic::AsTyped || !isa<FloatType>(element))
        roundTo(element, tensor);
      frame.set(result, std::move(tensor));
    }
    frame.release(&op);
  }
  std::vector<HostTensor> results;
  for (Value value : function.getBody().front().getTerminator()->getOperands())
    results.push_back(frame.get(value));
  return results;
}

} // namespace llmc::reference
