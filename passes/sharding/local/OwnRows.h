//===- OwnRows.h - ops that look into one part of a table --------*- C++ -*-===//
#ifndef LLMC_PASSES_SHARDING_LOCAL_OWNROWS_H
#define LLMC_PASSES_SHARDING_LOCAL_OWNROWS_H

#include "dialects/dist/Dist.h"

namespace llmc::sharding {

/// The axes that cut the table whose rows `op` finds by number, of a gather, scatter_add or linear head with results in
/// these shardings; empty for other ops.
dist::Axes axesOfRows(mlir::Operation *op, llvm::ArrayRef<dist::Sharding> results);

/// Makes the numbers that `op`, of local types already, reads those of the rank's own rows. A gather finds zeros for
/// rows of other ranks, a scatter_add adds nothing for them, a loss does not count their labels, and its derivative
/// counts them as those of classes elsewhere.
void useOwnRows(mlir::Operation *op, llvm::ArrayRef<mlir::StringAttr> axes, dist::MeshAttr mesh);

} // namespace llmc::sharding

#endif // LLMC_PASSES_SHARDING_LOCAL_OWNROWS_H
