//===- Passes.h - passes of the verify room -------------------*- C++ -*-===//
#ifndef LLMC_PASSES_VERIFY_PASSES_H
#define LLMC_PASSES_VERIFY_PASSES_H

#include "mlir/Pass/Pass.h"

namespace llmc::verify {
#define GEN_PASS_DECL
#include "passes/verify/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "passes/verify/Passes.h.inc"
} // namespace llmc::verify

#endif // LLMC_PASSES_VERIFY_PASSES_H
