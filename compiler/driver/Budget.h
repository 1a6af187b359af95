//===- Budget.h - does a plan stay within its budget? -----------*- C++ -*-===//
#ifndef LLMC_COMPILER_DRIVER_BUDGET_H
#define LLMC_COMPILER_DRIVER_BUDGET_H

#include "frontends/Problem.h"
#include "mlir/IR/BuiltinOps.h"
#include <optional>

namespace llmc::driver {

/// Bytes of memory that `plan` (level `plan`) needs: all its arenas.
int64_t planBytes(mlir::ModuleOp plan);

/// Judges the budget of the recipe on the true addresses of `plan`. A refusal names the tensors at the peak, and what smaller
/// micro-batches need: these are compiled to level `plan` from `imported`, which may be null if it is not known.
std::optional<Problem> judgeBudget(mlir::ModuleOp plan, mlir::ModuleOp imported);

} // namespace llmc::driver

#endif // LLMC_COMPILER_DRIVER_BUDGET_H
