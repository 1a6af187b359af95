//===- HostValues.h - stored bytes as values of the interpreter -*- C++ -*-===//
#ifndef LLMC_TOOLS_LLMC_HOSTVALUES_H
#define LLMC_TOOLS_LLMC_HOSTVALUES_H

#include "dialects/interfaces/HostTensor.h"
#include "runtime/support/File.h"
#include <optional>

namespace llmc::tool {

/// The elements of a stored tensor of `type`; nothing if the number of bytes is another, or for element types that no
/// model here holds.
std::optional<HostTensor> fromBytes(runtime::Bytes bytes, mlir::RankedTensorType type);

} // namespace llmc::tool

#endif // LLMC_TOOLS_LLMC_HOSTVALUES_H
