//===- ViewPatterns.h - simpler reshapes and broadcasts ---------*- C++ -*-===//
#ifndef LLMC_PASSES_IMPORT_VIEWPATTERNS_H
#define LLMC_PASSES_IMPORT_VIEWPATTERNS_H

#include "mlir/IR/PatternMatch.h"

namespace llmc::importing {

/// Reshapes that compose to one, broadcasts of broadcasts, broadcasts without size-1 dimensions in their input, reshapes of
/// broadcasts as broadcasts, transposes that move only size-1 dimensions as reshapes, slices of an expanded dimension before
/// it is expanded.
void populateViewPatterns(mlir::RewritePatternSet &patterns);

/// Transposes from above ops to below them, so that they meet and cancel, and out of contractions' operands into equations.
void populateSinkTransposePatterns(mlir::RewritePatternSet &patterns);

} // namespace llmc::importing

#endif // LLMC_PASSES_IMPORT_VIEWPATTERNS_H
