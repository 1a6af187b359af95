//===- CpuTeam.h - one thread with vectors -----------------------------------*- C++ -*-===//
#ifndef LLMC_COMPILER_CODEGEN_CPU_CPUTEAM_H
#define LLMC_COMPILER_CODEGEN_CPU_CPUTEAM_H

#include "compiler/codegen/fused/Team.h"

namespace llmc::codegen {

/// Walks in vectors of 64 elements (four registers, hence four accumulators), then in masked vectors of 16.
class CpuTeam : public Team {
public:
  llvm::SmallVector<mlir::Value> walk(Code &code, mlir::Value begin, mlir::Value end, int64_t count, Body body,
                                      llvm::ArrayRef<Accumulator> accumulators, WalkBody emit) override;
  void each(Code &code, mlir::Value begin, mlir::Value end, llvm::function_ref<void(mlir::Value)> body) override {
    code.loop(begin, end, 1, body);
  }
  void transpose(Code &code, const Tile &tile, mlir::Value source, mlir::Value target, mlir::Value countA, mlir::Value countB) override;
  void once(Code &code, llvm::function_ref<void()> body) override { body(); }
  mlir::Value rowBuffer(Code &code, int64_t columns, int64_t bytes) override { return code.stack(columns * bytes); }
};

/// The lanes of `vector` reduced in halves: (0, 8), (1, 9), ... down to one.
mlir::Value reduceLanes(Code &code, Reduction kind, mlir::Value vector);

} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_CPU_CPUTEAM_H
