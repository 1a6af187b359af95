//===- ProofRun.h - one step of a model, for the replay of its proof --*- C++ -*-===//
#ifndef LLMC_TOOLS_LLMC_PROOFRUN_H
#define LLMC_TOOLS_LLMC_PROOFRUN_H

#include "dialects/interfaces/HostTensor.h"
#include "mlir/IR/BuiltinOps.h"
#include "runtime/io/Safetensors.h"
#include <map>
#include <optional>

namespace llmc::tool {

using ProofInputs = std::map<std::string, HostTensor>;

struct ProofResult {
  double loss = 0;
  std::map<std::string, HostTensor> gradients, buffers; // by logical name, of those that have one
  std::string how; // in which way it was computed, for people
};

/// The elements of a stored tensor; nothing for element types that no proof has.
std::optional<HostTensor> valueOf(const runtime::SafetensorsFile &file, const runtime::TensorInfo &info, mlir::MLIRContext *context);

/// Runs one step of `module`, which is of level `step` with one micro-batch, on `inputs`: in the reference interpreter if it is
/// small, else as a compiled plan. `folder` holds the files of its parameters. Returns the exit code.
int runProof(mlir::ModuleOp module, llvm::StringRef folder, const ProofInputs &inputs, ProofResult &result);

} // namespace llmc::tool

#endif // LLMC_TOOLS_LLMC_PROOFRUN_H
