//===- StepModel.h - what llmc verify runs: a module of level `step` -*- C++ -*-===//
#ifndef LLMC_TOOLS_LLMC_STEPMODEL_H
#define LLMC_TOOLS_LLMC_STEPMODEL_H

#include "tools/llmc/Tool.h"

namespace llmc::tool {

/// Brings the model of `options` to level `step`, as small as `options.shrink` says, and prints what it is: first what was left
/// out, if anything was, then the work of a step. Returns the exit code; kDoesNotFit if it is too much for the interpreter.
int loadStepModel(const VerifyOptions &options, mlir::MLIRContext &context, driver::LoadedModel &loaded);

} // namespace llmc::tool

#endif // LLMC_TOOLS_LLMC_STEPMODEL_H
