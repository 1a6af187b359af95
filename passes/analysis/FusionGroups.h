//===- FusionGroups.h - which ops become one kernel -------------*- C++ -*-===//
#ifndef LLMC_PASSES_ANALYSIS_FUSIONGROUPS_H
#define LLMC_PASSES_ANALYSIS_FUSIONGROUPS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace llmc::analysis {

/// UnitAttr on an op that is computed again where it stands: it does not join the kernels of its operands.
inline constexpr llvm::StringLiteral kRecomputed = "remat.recomputed";

/// Ops of one block that run as one kernel, in program order.
struct FusionGroup {
  llvm::SmallVector<mlir::Operation *> ops;
};

struct FusionOptions {
  bool fuse = true;         // false: one op per kernel
  unsigned maxOperands = 28; // tensors that one kernel may touch
};

/// The kernels of a straight-line function, in an order in which each comes after those it depends on. Recompute and
/// lowering share this, so that both see the same kernels: chains over the same rows and columns, and attention with the
/// concatenation of its gradients. Every op stands in exactly one group but views
/// (collapse_shape, expand_shape), constants and what `isAbsorbed` says, which are copied to where they are used.
llvm::SmallVector<FusionGroup> findFusionGroups(mlir::func::FuncOp function, const FusionOptions &options);

/// Ops that are no kernel of their own because their only effect is how a kernel reads its operand: splat constants,
/// broadcasts of smaller tensors into a fused kernel, slices of the last dimension into a fused kernel or attention.
bool isAbsorbed(mlir::Operation *op);

/// Whether `op` takes a splat constant as a number in its code; other ops (products, lookups, optimizers) read all of their
/// operands from memory.
bool takesSplats(mlir::Operation *op);

/// A view: the same bytes under another shape, or a contiguous part of them that starts at a multiple of 64 bytes.
bool isView(mlir::Operation *op);

/// True if the parts of dimension `dim` of a tensor of `type` lie one after the other in memory.
bool isOutermost(mlir::RankedTensorType type, int64_t dim);

/// A view whose place depends on the rank: a dist.part of an outermost dimension in parts of multiples of 64 bytes,
/// of what is not such a part itself.
bool isPlaceView(mlir::Operation *op);

/// The first element of a contiguous slice within its source.
int64_t sliceOffset(mlir::tensor::ExtractSliceOp op);

/// A concatenation that costs nothing: its operands, each used by it alone, are written side by side.
bool isAssembly(mlir::Operation *op);

} // namespace llmc::analysis

#endif // LLMC_PASSES_ANALYSIS_FUSIONGROUPS_H
