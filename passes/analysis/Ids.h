//===- Ids.h - integers that name rows or classes ---------------*- C++ -*-===//
#ifndef LLMC_PASSES_ANALYSIS_IDS_H
#define LLMC_PASSES_ANALYSIS_IDS_H

#include "mlir/IR/Operation.h"

namespace llmc::analysis {

/// Whether the integers that `op` makes are those of its operands: it changes shapes, places or widths alone.
bool keepsIds(mlir::Operation *op);

} // namespace llmc::analysis

#endif // LLMC_PASSES_ANALYSIS_IDS_H
