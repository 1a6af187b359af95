//===- BoundInputs.cpp - import-bound-inputs ---------------------------------------===//
//
//   1. follow each integer input through shape changes and integer conversions to what uses it;
//   2. as an index of rows it must lie below their number; as a label below the number of classes, or be the ignored one;
//   3. the smallest bound counts, and the ignored value only if every use allows it.
// Lookups by computed ids (arithmetic on an input) set no bound.
//
//===----------------------------------------------------------------------===//
#include "dialects/nn/Nn.h"
#include "dialects/train/Train.h"
#include "passes/analysis/Ids.h"
#include "passes/import/Passes.h"

namespace llmc::importing {
#define GEN_PASS_DEF_IMPORTBOUNDINPUTS
#include "passes/import/Passes.h.inc"
} // namespace llmc::importing

using namespace mlir;
using namespace llmc;

namespace {

struct Bound {
  int64_t limit = 0;                 // 0: none found
  std::optional<int64_t> ignored;    // of labels
  bool isIndex = false, isLabel = false;

  void below(int64_t size) { limit = limit ? std::min(limit, size) : size; }
};

void follow(Value value, Bound &bound, DenseSet<Value> &seen) {
  if (!seen.insert(value).second)
    return;
  for (OpOperand &use : value.getUses()) {
    Operation *user = use.getOwner();
    if (analysis::keepsIds(user)) {
      follow(user->getResult(0), bound, seen);
    } else if (auto gather = dyn_cast<nn::GatherOp>(user); gather && gather.getIndices() == value) {
      bound.isIndex = true;
      bound.below(nn::typeOf(gather.getTable()).getDimSize(0));
    } else if (auto loss = dyn_cast<nn::CrossEntropyOp>(user)) {
      bound.isLabel = true;
      bound.ignored = loss.getIgnoreIndex();
      bound.below(nn::typeOf(loss.getLogits()).getShape().back());
    } else if (auto loss = dyn_cast<nn::LinearCrossEntropyOp>(user)) {
      bound.isLabel = true;
      bound.ignored = loss.getIgnoreIndex();
      bound.below(nn::typeOf(loss.getWeightMatrix()).getDimSize(loss.getVocabularyLast() ? 1 : 0));
    }
  }
}

struct BoundInputs : importing::impl::ImportBoundInputsBase<BoundInputs> {
  void runOnOperation() override {
    Builder b(&getContext());
    for (auto function : getOperation().getOps<func::FuncOp>())
      for (BlockArgument argument : function.getArguments()) {
        unsigned i = argument.getArgNumber();
        if (train::argumentString(function, i, train::kRole) != train::kInput || !isa<IntegerType>(nn::typeOf(argument).getElementType()))
          continue;
        Bound bound;
        DenseSet<Value> seen;
        follow(argument, bound, seen);
        if (bound.limit == 0)
          continue;
        function.setArgAttr(i, train::kLimit, b.getI64IntegerAttr(bound.limit));
        if (bound.isLabel && !bound.isIndex)
          function.setArgAttr(i, train::kIgnored, b.getI64IntegerAttr(*bound.ignored));
      }
  }
};

} // namespace
