//===- Passes.h - passes of the import room -------------------*- C++ -*-===//
#ifndef LLMC_PASSES_IMPORT_PASSES_H
#define LLMC_PASSES_IMPORT_PASSES_H

#include "mlir/Pass/Pass.h"

namespace llmc::importing {
#define GEN_PASS_DECL
#include "passes/import/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "passes/import/Passes.h.inc"
} // namespace llmc::importing

#endif // LLMC_PASSES_IMPORT_PASSES_H
