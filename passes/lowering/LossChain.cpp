//===- LossChain.cpp - from the log-sum-exps of ranks to the whole one ------------===//
#include "passes/lowering/LossChain.h"
#include "dialects/dist/Dist.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;

namespace llmc::lowering {

static bool changesShape(Operation *op) { return isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op); }

/// True if each row of the result is made of this row of operands alone.
static bool keepsRows(Operation *op) {
  if (op->getNumResults() != 1)
    return false;
  return changesShape(op) || isa<dist::AllReduceOp, arith::AddFOp, arith::SubFOp, math::ExpOp, math::LogOp>(op);
}

static void split(dist::AllReduceOp message, Value value) {
  if (message.getNumOperands() == 1)
    return;
  OpBuilder b(message);
  for (bool isOwn : {true, false}) {
    SmallVector<Value> operands, results;
    for (auto [operand, result] : llvm::zip_equal(message.getOperands(), message.getResults()))
      if ((operand == value) == isOwn) {
        operands.push_back(operand);
        results.push_back(result);
      }
    auto part = dist::AllReduceOp::create(b, message.getLoc(), TypeRange(ValueRange(operands)), operands,
                                          message.getAxes(), message.getKind(), message.getReason());
    for (auto [before, after] : llvm::zip_equal(results, part.getResults()))
      before.replaceAllUsesWith(after);
  }
  message.erase();
}

/// Puts messages with `value` into one for it and one for the rest.
static void sendAlone(Value value) {
  for (Operation *user : llvm::make_early_inc_range(value.getUsers()))
    if (auto message = dyn_cast<dist::AllReduceOp>(user))
      split(message, value);
}

LossChain LossChain::find(nn::LinearCrossEntropyOp loss) {
  LossChain chain;
  if (loss.getParts() != 1)
    return chain;
  llvm::SetVector<Value> reached;
  sendAlone(loss.getWeight()); // what the loss is weighted with must not wait for it
  reached.insert(loss.getLse());
  for (size_t i = 0; i < reached.size(); ++i) {
    sendAlone(reached[i]);
    for (Operation *user : reached[i].getUsers()) {
      if (auto backward = dyn_cast<nn::LinearCrossEntropyBackwardOp>(user); backward && backward.getLse() == reached[i])
        chain.derivative =
            chain.derivative && chain.derivative != backward ? nn::LinearCrossEntropyBackwardOp() : backward;
      else if (keepsRows(user) && llvm::all_of(user->getOperands(), [&](Value v) { return reached.contains(v); }))
        reached.insert(user->getResult(0));
    }
  }
  if (!chain.derivative)
    return chain;
  // What the derivative's operand is made of, all of it reached from the loss.
  llvm::SetVector<Operation *> needed;
  SmallVector<Value> open = {chain.derivative.getLse()};
  while (!open.empty())
    if (Value value = open.pop_back_val(); value != loss.getLse() && needed.insert(value.getDefiningOp()))
      llvm::append_range(open, value.getDefiningOp()->getOperands());
  for (Operation *op : needed)
    if (op->getResult(0) != chain.derivative.getLse() &&
        !llvm::all_of(op->getUsers(), [&](Operation *user) { return needed.contains(user); }))
      return chain;
  chain.ops.assign(needed.begin(), needed.end());
  llvm::sort(chain.ops, [](Operation *x, Operation *y) { return x->isBeforeInBlock(y); });
  chain.begin = loss.getLse();
  chain.end = chain.derivative.getLse();
  return chain;
}

Value LossChain::emit(OpBuilder &b, Value own) const {
  IRMapping map;
  map.map(begin, own);
  for (Operation *op : ops) {
    if (changesShape(op)) {
      map.map(op->getResult(0), map.lookup(op->getOperand(0)));
      continue;
    }
    Operation *copy = b.clone(*op, map);
    copy->getResult(0).setType(own.getType());
    map.map(op->getResult(0), copy->getResult(0));
  }
  return map.lookup(end);
}

void LossChain::erase() {
  for (Operation *op : llvm::reverse(ops))
    if (op->use_empty())
      op->erase();
}

} // namespace llmc::lowering
