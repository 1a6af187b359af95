//===- Explain.h - what a plan does, in words -------------------*- C++ -*-===//
#ifndef LLMC_COMPILER_DRIVER_EXPLAIN_H
#define LLMC_COMPILER_DRIVER_EXPLAIN_H

#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"
#include "runtime/plan/PlanFile.h"

namespace llmc::driver {

/// Prints parameters, arenas with the tensors alive at the peak, FLOPs and bytes per kernel, and the forecast of a step.
/// `profile`, if not empty, is the text of a profile that `llmc-run --profile` wrote for this plan: measured times stand
/// beside the forecast then. Fails if the profile is not one of this plan.
llvm::Error explainPlan(const runtime::PlanFile &file, llvm::StringRef profile, llvm::raw_ostream &out);

/// Writes the figures of a rank as JSON: {plan, ranks, mesh, micro_batches, arenas, state, forecast, ledger}, in bytes and
/// nanoseconds; `state` by category, `ledger` one object per collective.
void writeJson(const plan::fb::Plan &plan, const std::string &digest, llvm::raw_ostream &out);

/// As explainPlan, of a plan that was not generated.
void explainForecast(const plan::fb::Plan &plan, llvm::raw_ostream &out);

} // namespace llmc::driver

#endif // LLMC_COMPILER_DRIVER_EXPLAIN_H
