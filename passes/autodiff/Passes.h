//===- Passes.h - passes of the autodiff room -------------------*- C++ -*-===//
#ifndef LLMC_PASSES_AUTODIFF_PASSES_H
#define LLMC_PASSES_AUTODIFF_PASSES_H

#include "mlir/Pass/Pass.h"

namespace llmc::autodiff {
#define GEN_PASS_DECL
#include "passes/autodiff/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "passes/autodiff/Passes.h.inc"
} // namespace llmc::autodiff

#endif // LLMC_PASSES_AUTODIFF_PASSES_H
