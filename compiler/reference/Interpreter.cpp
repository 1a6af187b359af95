//===- Interpreter.cpp - evaluates a function op by op ------------------------===//
#include "compiler/reference/Interpreter.h"
#include "compiler/reference/Ranks.h"
#include "dialects/dist/Dist.h"
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
  std::vector<std::vector<HostTensor>> one;
  one.push_back(std::move(arguments));
  FailureOr<std::vector<std::vector<HostTensor>>> results = runRanks(function, std::move(one));
  if (failed(results))
    return failure();
  return std::move(results->front());
}

/// Results of an op on one rank.
static LogicalResult evaluate(Operation *op, ArrayRef<const HostTensor *> operands, std::vector<HostTensor> &results) {
  auto evaluable = dyn_cast<Evaluable>(op);
  if (!evaluable)
    return op->emitOpError("cannot be evaluated by the reference interpreter");
  for (Type type : op->getResultTypes())
    results.push_back(HostTensor::zeros(type));
  return evaluable.evaluate(operands, results);
}

FailureOr<std::vector<std::vector<HostTensor>>>
Interpreter::runRanks(func::FuncOp function, std::vector<std::vector<HostTensor>> arguments) const {
  size_t ranks = arguments.size();
  std::vector<Frame> frames(ranks, Frame(function));
  for (size_t rank = 0; rank < ranks; ++rank)
    for (auto [argument, tensor] : llvm::zip(function.getArguments(), arguments[rank]))
      frames[rank].set(argument, std::move(tensor));
  for (Operation &op : function.getBody().front().without_terminator()) {
    std::vector<std::vector<HostTensor>> results(ranks);
    if (auto call = dyn_cast<func::CallOp>(op)) {
      auto callee = SymbolTable::lookupNearestSymbolFrom<func::FuncOp>(call, call.getCalleeAttr());
      std::vector<std::vector<HostTensor>> inputs(ranks);
      for (size_t rank = 0; rank < ranks; ++rank)
        for (Value operand : op.getOperands())
          inputs[rank].push_back(frames[rank].get(operand));
      FailureOr<std::vector<std::vector<HostTensor>>> called = runRanks(callee, std::move(inputs));
      if (failed(called))
        return failure();
      results = std::move(*called);
    } else {
      std::vector<SmallVector<const HostTensor *>> operands(ranks);
      for (size_t rank = 0; rank < ranks; ++rank)
        for (Value operand : op.getOperands())
          operands[rank].push_back(&frames[rank].get(operand));
      if (isa_and_nonnull<dist::DistDialect>(op.getDialect())) {
        if (failed(evaluateCollective(&op, operands, results)))
          return failure();
      } else {
        for (size_t rank = 0; rank < ranks; ++rank)
          if (failed(evaluate(&op, operands[rank], results[rank])))
            return failure();
      }
    }
    for (size_t rank = 0; rank < ranks; ++rank) {
      for (auto [result, tensor] : llvm::zip(op.getResults(), results[rank])) {
        Type element = getElementTypeOrSelf(result.getType());
        if (arithmetic == Arithmetic::AsTyped || !isa<FloatType>(element))
          roundTo(element, tensor);
        frames[rank].set(result, std::move(tensor));
      }
      frames[rank].release(&op);
    }
  }
  std::vector<std::vector<HostTensor>> results(ranks);
  for (size_t rank = 0; rank < ranks; ++rank)
    for (Value value : function.getBody().front().getTerminator()->getOperands())
      results[rank].push_back(frames[rank].get(value));
  return results;
}

} // namespace llmc::reference
