//===- MergeSlices.cpp - autodiff-merge-slices ----------------------------------------===//
//
// At the top of each tree of additions (inner additions with no other user):
//   1. leaves that insert into zeros, along one dimension without steps, are sorted by where they insert;
//   2. those that do not overlap become one concatenation, with zeros for what none covers;
//   3. what is left is added as before.
// Adding zero changes nothing but the sign of a zero, so the sum is the same.
//
//===----------------------------------------------------------------------===//
#include "dialects/nn/Nn.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "passes/autodiff/Passes.h"

namespace llmc::autodiff {
#define GEN_PASS_DEF_AUTODIFFMERGESLICES
#include "passes/autodiff/Passes.h.inc"
} // namespace llmc::autodiff

using namespace mlir;
using namespace llmc;

namespace {

/// `source` at [offset, offset + size) of dimension `dim`, zero elsewhere.
struct Insertion {
  tensor::InsertSliceOp op;
  int64_t dim, offset, size;
};

std::optional<Insertion> insertionOf(Value value) {
  auto op = value.getDefiningOp<tensor::InsertSliceOp>();
  if (!op || op->getNumOperands() != 2 || op.getDroppedDims().any() || !matchPattern(op.getDest(), m_AnyZeroFloat()))
    return std::nullopt;
  std::optional<Insertion> insertion;
  for (auto [d, size] : llvm::enumerate(op.getStaticSizes())) {
    if (size == nn::typeOf(value).getDimSize(d))
      continue;
    if (insertion || op.getStaticStrides()[d] != 1)
      return std::nullopt;
    insertion = Insertion{op, static_cast<int64_t>(d), op.getStaticOffsets()[d], size};
  }
  return insertion;
}

/// The leaves of a tree of additions in order.
void collectLeaves(Value value, SmallVectorImpl<Value> &leaves) {
  auto add = value.getDefiningOp<arith::AddFOp>();
  if (!add || !value.hasOneUse()) {
    leaves.push_back(value);
    return;
  }
  collectLeaves(add.getLhs(), leaves);
  collectLeaves(add.getRhs(), leaves);
}

/// One tensor for sorted insertions that do not overlap.
Value merged(OpBuilder &builder, Location loc, RankedTensorType type, ArrayRef<Insertion> insertions) {
  int64_t dim = insertions.front().dim, next = 0;
  SmallVector<Value> parts;
  auto fillTo = [&](int64_t offset) {
    if (offset == next)
      return;
    SmallVector<int64_t> shape(type.getShape());
    shape[dim] = offset - next;
    parts.push_back(nn::splat(builder, loc, type.clone(shape), 0.0));
  };
  for (Insertion insertion : insertions) {
    fillTo(insertion.offset);
    parts.push_back(insertion.op.getSource());
    next = insertion.offset + insertion.size;
  }
  fillTo(type.getDimSize(dim));
  return tensor::ConcatOp::create(builder, loc, dim, parts);
}

void mergeTree(arith::AddFOp root) {
  SmallVector<Value> leaves, others;
  collectLeaves(root.getLhs(), leaves);
  collectLeaves(root.getRhs(), leaves);
  SmallVector<Insertion> insertions;
  for (Value leaf : leaves) {
    auto insertion = insertionOf(leaf);
    bool fits = insertion && (insertions.empty() || insertions.front().dim == insertion->dim) &&
                llvm::all_of(insertions, [&](const Insertion &other) {
                  return insertion->offset + insertion->size <= other.offset || other.offset + other.size <= insertion->offset;
                });
    if (fits)
      insertions.push_back(*insertion);
    else
      others.push_back(leaf);
  }
  if (insertions.size() < 2)
    return;
  llvm::sort(insertions, [](const Insertion &a, const Insertion &b) { return a.offset < b.offset; });
  OpBuilder builder(root);
  Value sum = merged(builder, root.getLoc(), nn::typeOf(root), insertions);
  for (Value other : others)
    sum = arith::AddFOp::create(builder, root.getLoc(), sum, other);
  root.replaceAllUsesWith(sum);
  root.erase();
}

struct MergeSlices : autodiff::impl::AutodiffMergeSlicesBase<MergeSlices> {
  void runOnOperation() override {
    SmallVector<arith::AddFOp> roots;
    getOperation().walk([&](arith::AddFOp op) {
      bool inner = op->hasOneUse() && isa<arith::AddFOp>(*op->user_begin());
      if (!inner && isa<RankedTensorType>(op.getType()))
        roots.push_back(op);
    });
    for (arith::AddFOp root : roots)
      mergeTree(root);
  }
};

} // namespace
