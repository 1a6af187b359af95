//===- MergeCollectives.cpp - sharding-merge-collectives -------------------------===//
//
//   1. equal sums and parts of one value are made once; what is gathered again has its place on purpose: it is freed between;
//   2. each message joins the last one of its kind, at its own place, if it does not depend on it and both together fit
//      the recipe's bucket: so what is ready first waits for what is ready last. What reads the earlier one moves behind.
//
//===----------------------------------------------------------------------===//
#include "dialects/dist/Dist.h"
#include "dialects/interfaces/Interfaces.h"
#include "dialects/train/Recipe.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "passes/sharding/Passes.h"
#include "llvm/ADT/SetVector.h"

namespace llmc::sharding {
#define GEN_PASS_DEF_SHARDINGMERGECOLLECTIVES
#include "passes/sharding/Passes.h.inc"
} // namespace llmc::sharding

using namespace mlir;
using namespace llmc;

namespace {

constexpr llvm::StringLiteral kReason = "reason";

/// What an op does, whatever it is for.
DictionaryAttr withoutReason(Operation *op) {
  NamedAttrList attributes(op->getAttrDictionary());
  attributes.erase(kReason);
  return attributes.getDictionary(op->getContext());
}

/// Messages of one kind go together: op, attributes and element type.
using Kind = std::pair<Attribute, Attribute>;
Kind kindOf(Operation *op) {
  Type element = cast<RankedTensorType>(op->getOperand(0).getType()).getElementType();
  return {ArrayAttr::get(op->getContext(),
                         {StringAttr::get(op->getContext(), op->getName().getStringRef()), TypeAttr::get(element)}),
          withoutReason(op)};
}

int64_t bytesOf(Operation *op) {
  int64_t in = 0, out = 0;
  for (Value value : op->getOperands())
    in += tensorBytes(value.getType());
  for (Value value : op->getResults())
    out += tensorBytes(value.getType());
  return std::max(in, out);
}

class Merger {
public:
  explicit Merger(int64_t bucketBytes) : bucketBytes(bucketBytes) {}

  void share(Block &block) {
    DenseMap<std::pair<Attribute, Attribute>, SmallVector<Operation *>> seen;
    for (Operation &op : llvm::make_early_inc_range(block)) {
      if (!isa_and_nonnull<dist::DistDialect>(op.getDialect()) || isa<dist::AllGatherOp>(op))
        continue;
      auto &alike = seen[{StringAttr::get(op.getContext(), op.getName().getStringRef()), withoutReason(&op)}];
      auto *same =
          llvm::find_if(alike, [&](Operation *other) { return llvm::equal(other->getOperands(), op.getOperands()); });
      if (same == alike.end()) {
        alike.push_back(&op);
        continue;
      }
      op.replaceAllUsesWith(*same);
      op.erase();
    }
  }

  void merge(Block &block) {
    DenseMap<Kind, Operation *> last;
    for (Operation &op : llvm::make_early_inc_range(block)) {
      if (!isa<dist::AllReduceOp, dist::ReduceScatterOp, dist::AllGatherOp>(op))
        continue;
      Operation *&before = last[kindOf(&op)];
      bool joins = before && bytesOf(before) + bytesOf(&op) <= bucketBytes &&
                   !llvm::is_contained(before->getOperands(), op.getOperand(0)) && makeRoom(before, &op);
      before = joins ? join(before, &op) : &op;
    }
  }

private:
  /// Moves what depends on `first` behind `second`; false if that depends on it itself.
  static bool makeRoom(Operation *first, Operation *second) {
    llvm::SetVector<Operation *> dependent;
    auto reads = [&](Value value) {
      Operation *from = value.getDefiningOp();
      return from && (from == first || dependent.contains(from));
    };
    for (Operation *op = first->getNextNode(); op != second; op = op->getNextNode())
      if (llvm::any_of(op->getOperands(), reads))
        dependent.insert(op);
    if (llvm::any_of(second->getOperands(), reads))
      return false;
    Operation *at = second;
    for (Operation *op : dependent) {
      op->moveAfter(at);
      at = op;
    }
    return true;
  }

  static Operation *join(Operation *first, Operation *second) {
    OpBuilder b(second);
    SmallVector<Value> operands(first->getOperands());
    SmallVector<Type> types(first->getResultTypes());
    llvm::append_range(operands, second->getOperands());
    llvm::append_range(types, second->getResultTypes());
    OperationState state(b.getFusedLoc({first->getLoc(), second->getLoc()}, dist::messageTag(b.getContext())), first->getName(), operands, types);
    state.attributes = first->getAttrDictionary();
    Operation *merged = b.create(state);
    StringRef reason = first->getAttrOfType<StringAttr>(kReason).getValue().split(" and ").first;
    merged->setAttr(kReason, b.getStringAttr(reason + " and " + Twine(operands.size() - 1) + " more"));
    first->replaceAllUsesWith(merged->getResults().take_front(first->getNumResults()));
    second->replaceAllUsesWith(merged->getResults().drop_front(first->getNumResults()));
    first->erase();
    second->erase();
    return merged;
  }

  int64_t bucketBytes;
};

struct MergeCollectives : sharding::impl::ShardingMergeCollectivesBase<MergeCollectives> {
  void runOnOperation() override {
    if (!dist::meshOf(getOperation()))
      return;
    int64_t bucketBytes = train::recipeOf(getOperation()).bucket;
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (function.isDeclaration())
        continue;
      Merger merger(bucketBytes);
      merger.share(function.getBody().front());
      merger.merge(function.getBody().front());
    }
  }
};

} // namespace
