//===- Ranks.h - simulated ranks --------------------------------*- C++ -*-===//
#ifndef LLMC_COMPILER_REFERENCE_RANKS_H
#define LLMC_COMPILER_REFERENCE_RANKS_H

#include "dialects/dist/Dist.h"
#include "dialects/interfaces/HostTensor.h"

namespace llmc::reference {

/// Evaluates an op of the dist dialect on all ranks at once; `operands` and `results` by rank. Fails with a diagnostic
/// at a reshard, which has no meaning on local shapes.
mlir::LogicalResult evaluateCollective(mlir::Operation *op,
                                       llvm::ArrayRef<llvm::SmallVector<const HostTensor *>> operands,
                                       std::vector<std::vector<HostTensor>> &results);

/// The part of `whole` that `rank` holds. Of a partial sum the first rank along its axes holds all.
HostTensor partOf(const HostTensor &whole, const dist::Sharding &sharding, dist::MeshAttr mesh, int64_t rank);

/// The tensor whose parts the ranks hold. Where ranks hold the same part it is the first one's.
HostTensor assemble(llvm::ArrayRef<const HostTensor *> parts, const dist::Sharding &sharding, dist::MeshAttr mesh);

} // namespace llmc::reference

#endif // LLMC_COMPILER_REFERENCE_RANKS_H
