//===- Expand.cpp - autodiff-expand ----------------------------------------===//
//
//   1. copy the callee's body to the place of train.value_and_grad;
//   2. mark the values that depend on a wrt argument (varied);
//   3. walk the copied ops backward from the first result; where a result has a gradient and an operand is varied, emit
//      the op's vector-Jacobian product and add up per value.
// Does not clean up: common factors and unused gradients are left to CSE and canonicalization.
//
//===----------------------------------------------------------------------===//
#include "dialects/nn/Nn.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "passes/autodiff/Passes.h"
#include "llvm/ADT/MapVector.h"

namespace llmc::autodiff {
#define GEN_PASS_DEF_AUTODIFFEXPAND
#include "passes/autodiff/Passes.h.inc"
} // namespace llmc::autodiff

using namespace mlir;
using namespace llmc;

namespace {

bool isReal(Value value) { return isa<FloatType>(getElementTypeOrSelf(value.getType())); }

class Differentiator {
public:
  Differentiator(train::ValueAndGradOp op, func::FuncOp callee) : op(op), callee(callee), builder(op) {}
  LogicalResult run();

private:
  void copyBody();
  LogicalResult reportMissing();
  LogicalResult emitBackward(Operation *forward);
  void add(Value value, Value gradient);
  bool isActive(Operation *forward);

  train::ValueAndGradOp op;
  func::FuncOp callee;
  OpBuilder builder;
  SmallVector<Operation *> body;
  SmallVector<Value> results;
  DenseSet<Value> varied;
  DenseMap<Value, Value> gradients;
};

void Differentiator::copyBody() {
  IRMapping map;
  map.map(callee.getArguments(), op.getInputs());
  for (Operation &inner : callee.getBody().front().without_terminator())
    body.push_back(builder.clone(inner, map));
  for (Value result : callee.getBody().front().getTerminator()->getOperands())
    results.push_back(map.lookupOrDefault(result));
  for (int64_t index : op.getWrt())
    varied.insert(op.getInputs()[index]);
  for (Operation *forward : body)
    if (llvm::any_of(forward->getOperands(), [&](Value v) { return varied.contains(v); }))
      for (Value result : forward->getResults())
        if (isReal(result))
          varied.insert(result);
}

void Differentiator::add(Value value, Value gradient) {
  Value &sum = gradients[value];
  sum = sum ? arith::AddFOp::create(builder, gradient.getLoc(), sum, gradient).getResult() : gradient;
}

/// True if a gradient reaches one of the op's results and one of its operands is varied.
bool Differentiator::isActive(Operation *forward) {
  return llvm::any_of(forward->getResults(), [&](Value v) { return gradients.contains(v); }) &&
         llvm::any_of(forward->getOperands(), [&](Value v) { return varied.contains(v) && isReal(v); });
}

/// Reports every op without a derivative between a wrt argument and the first result, one line per kind of op.
LogicalResult Differentiator::reportMissing() {
  DenseSet<Value> useful = {results.front()};
  llvm::MapVector<StringRef, std::pair<int64_t, Location>> missing;
  for (Operation *forward : llvm::reverse(body)) {
    bool onPath = llvm::any_of(forward->getResults(), [&](Value v) { return useful.contains(v); }) &&
                  llvm::any_of(forward->getOperands(), [&](Value v) { return varied.contains(v); });
    if (!onPath)
      continue;
    useful.insert(forward->operand_begin(), forward->operand_end());
    if (!isa<Differentiable>(forward)) {
      auto it = missing.insert({forward->getName().getStringRef(), {0, forward->getLoc()}}).first;
      it->second = {it->second.first + 1, forward->getLoc()};
    }
  }
  if (missing.empty())
    return success();
  InFlightDiagnostic error = emitError(op.getLoc()) << missing.size() << " operators of this model cannot be trained";
  for (auto &[name, entry] : missing)
    error.attachNote(entry.second) << name << " " << entry.first << "x  has no derivative";
  return error;
}

LogicalResult Differentiator::emitBackward(Operation *forward) {
  SmallVector<Value> cotangents, operandGradients;
  for (Value result : forward->getResults())
    cotangents.push_back(gradients.lookup(result));
  SmallVector<bool> wanted;
  for (Value operand : forward->getOperands())
    wanted.push_back(varied.contains(operand));
  if (failed(cast<Differentiable>(forward).emitVjp(builder, cotangents, wanted, operandGradients)))
    return failure();
  assert(operandGradients.size() == forward->getNumOperands() && "one gradient per operand");
  for (auto [operand, gradient, want] : llvm::zip(forward->getOperands(), operandGradients, wanted))
    if (gradient && want)
      add(operand, gradient);
  return success();
}

LogicalResult Differentiator::run() {
  copyBody();
  if (failed(reportMissing()))
    return failure();
  gradients[results.front()] = nn::splat(builder, op.getLoc(), results.front().getType(), 1.0);
  for (Operation *forward : llvm::reverse(body))
    if (isActive(forward) && failed(emitBackward(forward)))
      return failure();
  SmallVector<Value> replacements = results;
  for (int64_t index : op.getWrt()) {
    Value input = op.getInputs()[index], gradient = gradients.lookup(input);
    replacements.push_back(gradient ? gradient : nn::splat(builder, op.getLoc(), input.getType(), 0.0));
  }
  op.replaceAllUsesWith(replacements);
  op.erase();
  return success();
}

struct Expand : autodiff::impl::AutodiffExpandBase<Expand> {
  void runOnOperation() override {
    SmallVector<train::ValueAndGradOp> ops;
    getOperation().walk([&](train::ValueAndGradOp op) { ops.push_back(op); });
    SymbolTable symbols(getOperation());
    for (train::ValueAndGradOp op : ops)
      if (failed(Differentiator(op, symbols.lookup<func::FuncOp>(op.getCallee())).run()))
        return signalPassFailure();
  }
};

} // namespace
