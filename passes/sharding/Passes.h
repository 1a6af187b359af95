//===- Passes.h - passes of the sharding room ----------------------*- C++ -*-===//
#ifndef LLMC_PASSES_SHARDING_PASSES_H
#define LLMC_PASSES_SHARDING_PASSES_H

#include "mlir/Pass/Pass.h"

namespace llmc::sharding {
#define GEN_PASS_DECL
#include "passes/sharding/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "passes/sharding/Passes.h.inc"
} // namespace llmc::sharding

#endif // LLMC_PASSES_SHARDING_PASSES_H
