//===- KernelOutliner.h - groups of ops become kernel functions -*- C++ -*-===//
#ifndef LLMC_PASSES_LOWERING_KERNELOUTLINER_H
#define LLMC_PASSES_LOWERING_KERNELOUTLINER_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "passes/analysis/FusionGroups.h"

namespace llmc::lowering {

/// Moves the compute of `functions` into private kernel functions of `module`, one per distinct text, named after their main
/// op and a hash of the text; the functions keep calls, views and constants. May be called again on other functions of the
/// module: kernels made before are shared.
void outlineKernels(mlir::ModuleOp module, llvm::ArrayRef<mlir::func::FuncOp> functions, const analysis::FusionOptions &options);

} // namespace llmc::lowering

#endif // LLMC_PASSES_LOWERING_KERNELOUTLINER_H
