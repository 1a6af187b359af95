//===- VerifyPlan.h - level `plan`: addresses and order ---------*- C++ -*-===//
#ifndef LLMC_PASSES_VERIFY_VERIFYPLAN_H
#define LLMC_PASSES_VERIFY_VERIFYPLAN_H

#include "mlir/IR/BuiltinOps.h"

namespace llmc::verify {

/// Checks a module of level `plan`; reports everything that is wrong. Shares nothing with the validator of the runtime.
bool verifyPlan(mlir::ModuleOp module);

} // namespace llmc::verify

#endif // LLMC_PASSES_VERIFY_VERIFYPLAN_H
