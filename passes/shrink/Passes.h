//===- Passes.h - passes of the shrink room -------------------*- C++ -*-===//
#ifndef LLMC_PASSES_SHRINK_PASSES_H
#define LLMC_PASSES_SHRINK_PASSES_H

#include "mlir/Pass/Pass.h"

namespace llmc::shrink {
#define GEN_PASS_DECL
#include "passes/shrink/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "passes/shrink/Passes.h.inc"
} // namespace llmc::shrink

#endif // LLMC_PASSES_SHRINK_PASSES_H
