//===- LocalParts.h - flat forms on one rank --------------------*- C++ -*-===//
#ifndef LLMC_PASSES_SHARDING_LOCAL_LOCALPARTS_H
#define LLMC_PASSES_SHARDING_LOCAL_LOCALPARTS_H

#include "mlir/IR/Operation.h"

namespace llmc::sharding {

/// Replaces nn.flatten_parts or nn.unflatten_parts, whose types are local: by a reshape, zeros behind it or a slice in front
/// of it, and, where a rank has several parts, a transpose.
void expandParts(mlir::Operation *op);

} // namespace llmc::sharding

#endif // LLMC_PASSES_SHARDING_LOCAL_LOCALPARTS_H
