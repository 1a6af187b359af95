//===- Compile.h - a module to a plan file ----------------------*- C++ -*-===//
#ifndef LLMC_COMPILER_DRIVER_COMPILE_H
#define LLMC_COMPILER_DRIVER_COMPILE_H

#include "compiler/target/PlanWriter.h"
#include "mlir/IR/BuiltinOps.h"

namespace llmc::driver {

struct PlanOptions {
  target::PlanWriterOptions file;
  std::string cpu; // see codegen::CpuOptions
};

/// Generates the kernels of a module of level `plan` and writes the plan file.
llvm::Error generatePlan(mlir::ModuleOp module, const PlanOptions &options);

/// The plan of a module of level `plan` without code, for forecasts; `builder` owns it.
llvm::Expected<const plan::fb::Plan *> forecastPlan(mlir::ModuleOp module, const PlanOptions &options, flatbuffers::FlatBufferBuilder &builder);

} // namespace llmc::driver

#endif // LLMC_COMPILER_DRIVER_COMPILE_H
