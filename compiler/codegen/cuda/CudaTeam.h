//===- CudaTeam.h - the threads of a block ------------------------------------*- C++ -*-===//
#ifndef LLMC_COMPILER_CODEGEN_CUDA_CUDATEAM_H
#define LLMC_COMPILER_CODEGEN_CUDA_CUDATEAM_H

#include "compiler/codegen/fused/Team.h"

namespace llmc::codegen {

/// T threads, a multiple of 32. In a walk thread t has columns 4t .. 4t+3 of each 4T, and one of the last few; a column has
/// the same thread in all walks of a range. Reductions go over lanes by shuffles, then over warps in order.
class CudaTeam : public Team {
public:
  /// `code` is at the start of a stage function with `threads` threads.
  CudaTeam(Code &code, int64_t threads);
  llvm::SmallVector<mlir::Value> walk(Code &code, mlir::Value begin, mlir::Value end, int64_t count, Body body,
                                      llvm::ArrayRef<Accumulator> accumulators, WalkBody emit) override;
  void each(Code &code, mlir::Value begin, mlir::Value end, llvm::function_ref<void(mlir::Value)> body) override;
  void transpose(Code &code, const Tile &tile, mlir::Value source, mlir::Value target, mlir::Value countA, mlir::Value countB) override;
  /// After a barrier, since other threads may still read what the body overwrites.
  void once(Code &code, llvm::function_ref<void()> body) override;
  mlir::Value rowBuffer(Code &code, int64_t columns, int64_t bytes) override;
  /// Of shared memory that the stage needs.
  int64_t sharedBytes() const { return shared; }

private:
  mlir::Value allocate(Code &code, int64_t bytes);
  mlir::Value shuffle(Code &code, mlir::Value value, int64_t offset);
  mlir::Value reduceWarp(Code &code, Reduction kind, mlir::Value value);
  llvm::SmallVector<mlir::Value> reduceBlock(Code &code, llvm::ArrayRef<Accumulator> accumulators, llvm::ArrayRef<mlir::Value> values);

  int64_t threads, shared = 0;
  mlir::Value thread;                    // number within the block, i64
  mlir::Value reductionSlots, tileSlots; // in shared memory, once needed
};

} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_CUDA_CUDATEAM_H
