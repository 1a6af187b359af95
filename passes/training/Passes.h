//===- Passes.h - passes of the training room -------------------*- C++ -*-===//
#ifndef LLMC_PASSES_TRAINING_PASSES_H
#define LLMC_PASSES_TRAINING_PASSES_H

#include "mlir/Pass/Pass.h"

namespace llmc::training {
#define GEN_PASS_DECL
#include "passes/training/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "passes/training/Passes.h.inc"
} // namespace llmc::training

#endif // LLMC_PASSES_TRAINING_PASSES_H
