//===- Plan.h - block sizes, stages and scratch of an attention kernel --------*- C++ -*-===//
#ifndef LLMC_COMPILER_CODEGEN_ATTENTION_PLAN_H
#define LLMC_COMPILER_CODEGEN_ATTENTION_PLAN_H

#include "compiler/codegen/Kernels.h"
#include "compiler/codegen/attention/Tile.h"

namespace llmc::codegen::attention {

/// Everything here follows from the shapes alone.
struct Plan {
  Problem problem;
  GeneratedKernel description;
  /// Queries and keys of one score tile. The lanes of a tile are queries in the forward pass and keys in the backward pass.
  int64_t queryBlock, keyBlock;
  /// Forward: blocks of queries that a workgroup takes through the keys together.
  int64_t panels = 1;
  /// Backward: a workgroup has the key blocks [chunks[c], chunks[c + 1]) of one batch entry and key head.
  llvm::SmallVector<int64_t> chunks;
  /// Backward: dQ is summed in scratch, [chunk, B, T, H, D], rather than in place.
  bool partialQuery = false;
  int deltaScratch = -1, queryScratch = -1;

  int64_t heads() const { return problem.H / problem.G; } // of one group
};

Plan makePlan(Problem problem);

/// One stage during emission: its problem, operands and workgroup.
struct StageCode {
  const Plan &plan;
  const Problem &problem;
  TileCode &tile;
  Code &code;
  const KernelStage &stage;
  llvm::ArrayRef<mlir::Value> operands;

  mlir::Value pointer(OperandKind kind, int index) const;
  mlir::Value input(const AffineView &view) const { return view.tensor < 0 ? mlir::Value() : pointer(OperandKind::Input, view.tensor); }
  mlir::Value output(const AffineView &view) const { return pointer(OperandKind::Output, view.tensor); }
};

/// One block of queries of one head: all of its keys, block by block.
void emitForward(const StageCode &stage, mlir::Value workgroup);
/// delta = rowsum(cotangent * result) for a block of rows.
void emitDelta(const StageCode &stage, mlir::Value workgroup);
/// The gradients for one chunk of keys.
void emitBackward(const StageCode &stage, mlir::Value workgroup);
/// dQ as the sum of its parts.
void emitQuerySum(const StageCode &stage, mlir::Value workgroup);

/// Rows of the sequence that one workgroup of emitDelta and emitQuerySum walks.
constexpr int64_t kRowBlock = 32;

} // namespace llmc::codegen::attention

#endif // LLMC_COMPILER_CODEGEN_ATTENTION_PLAN_H
