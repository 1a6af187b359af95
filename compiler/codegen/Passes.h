//===- Passes.h - passes of code generation ---------------------*- C++ -*-===//
#ifndef LLMC_COMPILER_CODEGEN_PASSES_H
#define LLMC_COMPILER_CODEGEN_PASSES_H

#include "mlir/Pass/Pass.h"

namespace llmc::codegen {
#define GEN_PASS_DECL
#include "compiler/codegen/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "compiler/codegen/Passes.h.inc"
} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_PASSES_H
