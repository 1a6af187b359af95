//===- TeamEmitter.h - code for the stages of a fused kernel ------------------*- C++ -*-===//
#ifndef LLMC_COMPILER_CODEGEN_FUSED_TEAMEMITTER_H
#define LLMC_COMPILER_CODEGEN_FUSED_TEAMEMITTER_H

#include "compiler/codegen/fused/StagePlan.h"
#include "compiler/codegen/fused/Team.h"

namespace llmc::codegen {

/// Emits stage `index` at the insertion point: `operands` in the order of the stage's description.
void emitStage(const StagedKernel &kernel, size_t index, Team &team, Code &code, llvm::ArrayRef<mlir::Value> operands,
               mlir::Value workgroup);

} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_FUSED_TEAMEMITTER_H
