//===- Segments.h - a model as pieces of one straight line ------*- C++ -*-===//
#ifndef LLMC_PASSES_SHRINK_SEGMENTS_H
#define LLMC_PASSES_SHRINK_SEGMENTS_H

#include "dialects/train/Recipe.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace llmc::shrink {

/// What lies between two cuts, values through which all goes that depends on both inputs and parameters: with the
/// residual stream of a transformer, an attention with its norm and sum, or a feed-forward part.
struct Segment {
  mlir::Value input;  // null for the first one
  mlir::Value output; // null for the last one, which ends in the return
  unsigned kind = 0;  // equal for segments that compute the same of their inputs, each with parameters of its own
  unsigned ops = 0;
  llvm::SmallVector<mlir::BlockArgument> parameters; // that no other segment reads, in the order they are found
};

/// The segments of a function in order; one if there is no cut. What depends on inputs or on parameters alone, such as
/// masks, belongs to the segment that reads it; read by several, it is the same for all and must be for them to be
/// equal. Parameters are told apart by type, role and what `recipe` says of their names.
std::vector<Segment> findSegments(mlir::func::FuncOp function, const train::Recipe &recipe);

} // namespace llmc::shrink

#endif // LLMC_PASSES_SHRINK_SEGMENTS_H
