//===- Resizer.h - another batch size ----------------------------*- C++ -*-===//
#ifndef LLMC_PASSES_IMPORT_BATCH_RESIZER_H
#define LLMC_PASSES_IMPORT_BATCH_RESIZER_H

#include "passes/analysis/BatchTrace.h"

namespace llmc::importing {

/// Gives every traced dimension of `function` `target` samples in place of `trace.batch()`; the trace has no problems. A constant
/// that has a batch dimension must be equal for all samples: if it is not, this fails, naming it, with `function` half changed.
mlir::LogicalResult resizeBatch(mlir::func::FuncOp function, const analysis::BatchTrace &trace, int64_t target);

/// The samples that `function` is to have at the end of level `model`: the recipe's micro-batch, one in @predict; 0: as exported.
int64_t wantedBatch(mlir::func::FuncOp function);

/// On a function that had a batch of one until `import-unfold-batch` (IntegerAttr: 1).
inline constexpr llvm::StringLiteral kExportedBatch = "train.exported_batch";

/// The samples that `function` was exported with, if it has `present` now.
int64_t exportedBatch(mlir::func::FuncOp function, int64_t present);

} // namespace llmc::importing

#endif // LLMC_PASSES_IMPORT_BATCH_RESIZER_H
