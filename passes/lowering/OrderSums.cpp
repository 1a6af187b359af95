//===- OrderSums.cpp - lowering-order-sums --------------------------------------------===//
#include "dialects/nn/Nn.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "passes/lowering/Passes.h"

namespace llmc::lowering {
#define GEN_PASS_DEF_LOWERINGORDERSUMS
#include "passes/lowering/Passes.h.inc"
} // namespace llmc::lowering

using namespace mlir;
using namespace llmc;

namespace {

/// Where a term stands in the new order.
enum Place { Base, Product, Bias, Other, Scatter };

bool isSum(Operation *op) { return isa_and_nonnull<arith::AddFOp>(op) && op->getBlock(); }

Place placeOf(Value term) {
  Operation *def = term.getDefiningOp();
  if (!def)
    return term.hasOneUse() && train::argumentString(cast<func::FuncOp>(term.getParentBlock()->getParentOp()),
                                                     cast<BlockArgument>(term).getArgNumber(), train::kRole) == train::kGradient
               ? Base
               : Other;
  if (isa<nn::ContractOp>(def) && term.hasOneUse())
    return Product;
  if (isa<nn::BroadcastOp>(def))
    return Bias;
  return isa<nn::ScatterAddOp>(def) && term.hasOneUse() ? Scatter : Other;
}

struct OrderSums : lowering::impl::LoweringOrderSumsBase<OrderSums> {
  void runOnOperation() override {
    SmallVector<arith::AddFOp> roots;
    getOperation().walk([&](arith::AddFOp op) {
      bool isInner = op.getResult().hasOneUse() && isSum(*op.getResult().user_begin());
      if (!isInner)
        roots.push_back(op);
    });
    for (arith::AddFOp root : roots)
      rebuild(root);
  }

  static void collect(Value value, SmallVectorImpl<Value> &terms, SmallVectorImpl<Operation *> &sums) {
    auto add = value.getDefiningOp<arith::AddFOp>();
    if (!add || (!sums.empty() && !value.hasOneUse())) {
      terms.push_back(value);
      return;
    }
    sums.push_back(add);
    collect(add.getLhs(), terms, sums);
    collect(add.getRhs(), terms, sums);
  }

  void rebuild(arith::AddFOp root) {
    SmallVector<Value> terms;
    SmallVector<Operation *> sums;
    collect(root.getResult(), terms, sums);
    SmallVector<std::pair<Place, Value>> order;
    for (Value term : terms)
      order.push_back({placeOf(term), term});
    bool matters = llvm::any_of(order, [](const auto &entry) { return entry.first == Product || entry.first == Scatter; });
    if (terms.size() < 3 || !matters)
      return;
    llvm::stable_sort(order, [](const auto &a, const auto &b) {
      if (a.first != b.first)
        return a.first < b.first;
      return a.first == Product && a.second.getDefiningOp()->isBeforeInBlock(b.second.getDefiningOp());
    });
    // Each partial sum stands behind its latest term, so that what it adds to dies early.
    OpBuilder builder(root);
    Value sum = order.front().second;
    for (auto &[place, term] : llvm::drop_begin(order)) {
      builder.setInsertionPoint(root);
      if (Operation *latest = later(sum.getDefiningOp(), term.getDefiningOp()))
        builder.setInsertionPointAfter(latest);
      else
        builder.setInsertionPointToStart(root->getBlock());
      sum = arith::AddFOp::create(builder, root.getLoc(), sum, term);
    }
    root.replaceAllUsesWith(sum);
    for (Operation *op : sums)
      op->erase();
  }

  static Operation *later(Operation *a, Operation *b) { return !a ? b : !b ? a : a->isBeforeInBlock(b) ? b : a; }
};

} // namespace
