//===- Passes.h - passes of the scheduling room -------------------*- C++ -*-===//
#ifndef LLMC_PASSES_SCHEDULING_PASSES_H
#define LLMC_PASSES_SCHEDULING_PASSES_H

#include "mlir/Pass/Pass.h"

namespace llmc::scheduling {
#define GEN_PASS_DECL
#include "passes/scheduling/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "passes/scheduling/Passes.h.inc"
} // namespace llmc::scheduling

#endif // LLMC_PASSES_SCHEDULING_PASSES_H
