//===- Passes.h - passes of the remat room ----------------------*- C++ -*-===//
#ifndef LLMC_PASSES_REMAT_PASSES_H
#define LLMC_PASSES_REMAT_PASSES_H

#include "mlir/Pass/Pass.h"

namespace llmc::remat {
#define GEN_PASS_DECL
#include "passes/remat/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "passes/remat/Passes.h.inc"
} // namespace llmc::remat

#endif // LLMC_PASSES_REMAT_PASSES_H
