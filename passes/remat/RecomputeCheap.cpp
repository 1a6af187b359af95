//===- RecomputeCheap.cpp - remat-recompute-cheap -----------------------------------===//
//
//   1. number the ops; the uses of a value are those of its views too;
//   2. find the op at which most bytes are alive;
//   3. a value of a cheap op that is made before it and read after it is computed again in front of its first reader there,
//      if each operand is an argument or read at that place or later.
// Values are visited in program order, and an operand that was itself chosen is not alive any more: chains are not
// recomputed. Moves nothing else.
//
//===----------------------------------------------------------------------===//
#include "dialects/nn/Nn.h"
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "passes/analysis/FusionGroups.h"
#include "passes/remat/Passes.h"

namespace llmc::remat {
#define GEN_PASS_DEF_REMATRECOMPUTECHEAP
#include "passes/remat/Passes.h.inc"
} // namespace llmc::remat

using namespace mlir;
using namespace llmc;

namespace {

bool isCheap(Operation *op) {
  if (isa<arith::ConstantOp>(op) || op->getNumRegions() != 0)
    return false;
  return isa<arith::ArithDialect, math::MathDialect>(op->getDialect()) ||
         isa<nn::GeluOp, nn::SigmoidOp, nn::SiluOp, nn::SwigluOp, nn::LayerNormOp, nn::RmsNormOp, nn::RopeOp>(op);
}

Value rootOf(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!analysis::isView(op))
      break;
    value = op->getOperand(0);
  }
  return value;
}

struct Recomputer {
  Recomputer(func::FuncOp function, int64_t minBytes) : block(function.getBody().front()), minBytes(minBytes) {}

  void run() {
    number();
    int64_t peak = findPeak();
    SmallVector<Operation *> candidates;
    for (Operation &op : block)
      if (isCheap(&op) && op.getNumResults() > 0 && position.lookup(&op) < peak && tensorBytes(op.getResult(0).getType()) >= minBytes)
        candidates.push_back(&op);
    for (Operation *op : candidates)
      recompute(op, peak);
  }

private:
  void number() {
    int64_t index = 0;
    for (Operation &op : block) {
      position[&op] = index++;
      if (!analysis::isView(&op))
        for (OpOperand &operand : op.getOpOperands())
          uses[rootOf(operand.get())].push_back(&operand);
    }
  }

  int64_t lastUse(Value root) {
    int64_t last = -1;
    for (OpOperand *use : uses.lookup(root))
      last = std::max(last, position.lookup(use->getOwner()));
    return last;
  }

  bool isReturned(Value root) {
    return llvm::any_of(uses.lookup(root), [](OpOperand *use) { return use->getOwner()->hasTrait<OpTrait::IsTerminator>(); });
  }

  int64_t findPeak() {
    std::vector<int64_t> change(position.size() + 2, 0);
    for (Operation &op : block)
      if (!analysis::isView(&op) && !isa<arith::ConstantOp>(op))
        for (Value result : op.getResults()) {
          if (isReturned(result))
            continue; // state, which is there all the time
          change[position[&op]] += tensorBytes(result.getType());
          change[std::max(position[&op], lastUse(result)) + 1] -= tensorBytes(result.getType());
        }
    int64_t alive = 0, most = -1, peak = 0;
    for (auto [i, bytes] : llvm::enumerate(change))
      if ((alive += bytes) > most)
        most = alive, peak = static_cast<int64_t>(i);
    return peak;
  }

  /// `value`, a view of `from`, as the same view of `to`.
  Value rebuild(Value value, Value from, Value to, OpBuilder &builder) {
    if (value == from)
      return to;
    Operation *view = value.getDefiningOp();
    IRMapping map;
    map.map(view->getOperand(0), rebuild(view->getOperand(0), from, to, builder));
    return builder.clone(*view, map)->getResult(0);
  }

  void recompute(Operation *op, int64_t peak) {
    Value result = op->getResult(0);
    SmallVector<OpOperand *> late;
    for (OpOperand *use : uses.lookup(result))
      if (position.lookup(use->getOwner()) > peak)
        late.push_back(use);
    if (late.empty())
      return;
    auto before = [&](OpOperand *a, OpOperand *b) { return position.lookup(a->getOwner()) < position.lookup(b->getOwner()); };
    Operation *first = (*llvm::min_element(late, before))->getOwner();
    if (first->hasTrait<OpTrait::IsTerminator>())
      return;
    for (Value operand : op->getOperands()) {
      Value root = rootOf(operand);
      Operation *def = root.getDefiningOp();
      bool isThere = !def || isa<arith::ConstantOp>(def) || analysis::isAbsorbed(def) || lastUse(root) >= position.lookup(first);
      if (!isThere)
        return;
    }
    OpBuilder builder(first);
    IRMapping map;
    for (Value operand : op->getOperands())
      if (Operation *def = operand.getDefiningOp(); def && analysis::isView(def))
        map.map(operand, rebuild(operand, rootOf(operand), rootOf(operand), builder));
    Operation *again = builder.clone(*op, map);
    again->setAttr(analysis::kRecomputed, builder.getUnitAttr());
    position[again] = position[first];
    for (OpOperand *use : late) {
      builder.setInsertionPoint(use->getOwner());
      use->set(rebuild(use->get(), result, again->getResult(0), builder));
    }
    llvm::erase_if(uses[result], [&](OpOperand *use) { return llvm::is_contained(late, use); });
  }

  Block &block;
  int64_t minBytes;
  DenseMap<Operation *, int64_t> position;
  DenseMap<Value, SmallVector<OpOperand *, 4>> uses; // by root, without the views
};

struct RecomputeCheap : remat::impl::RematRecomputeCheapBase<RecomputeCheap> {
  using RematRecomputeCheapBase::RematRecomputeCheapBase;

  void runOnOperation() override {
    if (train::recipeOf(getOperation()).recompute == "none")
      return;
    if (auto accumulate = getOperation().lookupSymbol<func::FuncOp>(train::kAccumulate))
      Recomputer(accumulate, minBytes).run();
  }
};

} // namespace
