//===- HostValues.h - stored bytes as values of the interpreter -*- C++ -*-===//
#ifndef LLMC_TOOLS_LLMC_HOSTVALUES_H
#define LLMC_TOOLS_LLMC_HOSTVALUES_H

#include "dialects/interfaces/HostTensor.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "runtime/support/File.h"
#include "runtime/support/Status.h"
#include <optional>

namespace llmc::tool {

/// The elements of a stored tensor of `type`; nothing if the number of bytes is another, or for element types that no
/// model here holds.
std::optional<HostTensor> fromBytes(runtime::Bytes bytes, mlir::RankedTensorType type);

/// The value of argument `index` of `function` from the file below `folder` that its `train.source` names. Errors:
/// BadInput, with the argument's name.
runtime::Result<HostTensor> readParameter(mlir::func::FuncOp function, unsigned index, llvm::StringRef folder);

} // namespace llmc::tool

#endif // LLMC_TOOLS_LLMC_HOSTVALUES_H
