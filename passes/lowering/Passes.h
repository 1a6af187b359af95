//===- Passes.h - passes of the lowering room -------------------*- C++ -*-===//
#ifndef LLMC_PASSES_LOWERING_PASSES_H
#define LLMC_PASSES_LOWERING_PASSES_H

#include "mlir/Pass/Pass.h"

namespace llmc::lowering {
#define GEN_PASS_DECL
#include "passes/lowering/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "passes/lowering/Passes.h.inc"
} // namespace llmc::lowering

#endif // LLMC_PASSES_LOWERING_PASSES_H
