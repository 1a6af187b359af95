//===- ScheduleCollectives.cpp - sharding-schedule-collectives -----------------------===//
#include "dialects/dist/Dist.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "passes/sharding/Passes.h"

namespace llmc::sharding {
#define GEN_PASS_DEF_SHARDINGSCHEDULECOLLECTIVES
#include "passes/sharding/Passes.h.inc"
} // namespace llmc::sharding

using namespace mlir;
using namespace llmc;

namespace {

/// The op among `ops` that stands first in its block; null if there is none.
template <typename Range> Operation *firstOf(Range &&ops) {
  Operation *first = nullptr;
  for (Operation *op : ops)
    if (!first || op->isBeforeInBlock(first))
      first = op;
  return first;
}

struct ScheduleCollectives : sharding::impl::ShardingScheduleCollectivesBase<ScheduleCollectives> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (function.isExternal())
        continue;
      SmallVector<Operation *> gathers;
      for (Operation &op : llvm::make_early_inc_range(function.getBody().front()))
        if (auto gather = dyn_cast<dist::AllGatherOp>(op); gather && ofArguments(gather))
          gathers.push_back(&op);
        else if (isa<dist::AllGatherOp, dist::AllReduceOp, dist::ReduceScatterOp>(op))
          moveUp(&op);
      prefetch(gathers);
    }
  }

  static bool ofArguments(dist::AllGatherOp gather) {
    return llvm::all_of(gather.getInputs(), [](Value input) { return isa<BlockArgument>(input); });
  }

  /// To right behind the last of its operands.
  static void moveUp(Operation *op) {
    Operation *last = nullptr;
    for (Value operand : op->getOperands())
      if (Operation *def = operand.getDefiningOp(); def && (!last || last->isBeforeInBlock(def)))
        last = def;
    if (last)
      op->moveAfter(last);
  }

  static void prefetch(ArrayRef<Operation *> gathers) {
    SmallVector<std::pair<Operation *, Operation *>> byReader; // first reader, gather
    for (Operation *gather : gathers)
      if (Operation *reader = firstOf(gather->getUsers()))
        byReader.push_back({reader, gather});
    llvm::stable_sort(byReader, [](auto &a, auto &b) { return a.first->isBeforeInBlock(b.first); });
    for (size_t i = 0; i < byReader.size(); ++i) {
      Operation *reader = byReader[i == 0 ? 0 : i - 1].first;
      byReader[i].second->moveBefore(reader);
    }
  }
};

} // namespace
