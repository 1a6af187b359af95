//===- PlanWriter.h - plan dialect and kernel image to a plan file -*- C++ -*-===//
#ifndef LLMC_COMPILER_TARGET_PLANWRITER_H
#define LLMC_COMPILER_TARGET_PLANWRITER_H

#include "compiler/codegen/Kernels.h"
#include "mlir/IR/BuiltinOps.h"
#include "runtime/plan/Plan_generated.h"
#include <string>
#include <vector>

namespace llmc::target {

struct PlanWriterOptions {
  std::string path;   // of the plan file
  std::string target; // "cpu"
  std::string folder; // that the paths of `train.source` are relative to; values found there get a digest
  bool digests = true; // false: initial values are not looked at
};

/// Writes `module` (level `plan`) and the code of its kernels as a plan file, validated as the runtime will validate it.
/// Equal arguments give equal bytes. Nothing is written if there is an error; one of code io_error says that the file cannot be
/// written, any other that the compiler is wrong.
/// The plan's FlatBuffer, finished in `builder`, and its constants. Fails if it is not valid, which is a mistake of the compiler.
llvm::Expected<std::vector<uint8_t>> buildPlan(mlir::ModuleOp module, const codegen::KernelImage &image, const PlanWriterOptions &options,
                                               flatbuffers::FlatBufferBuilder &builder);

llvm::Error writePlanFile(mlir::ModuleOp module, const codegen::KernelImage &image, const PlanWriterOptions &options);

} // namespace llmc::target

#endif // LLMC_COMPILER_TARGET_PLANWRITER_H
