//===- NodeValues.h - which value stands for a result of an ONNX node -*- C++ -*-===//
#ifndef LLMC_PASSES_ANALYSIS_NODEVALUES_H
#define LLMC_PASSES_ANALYSIS_NODEVALUES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringMap.h"

namespace llmc::analysis {

/// The ONNX node that an op comes from, by its location; empty if none is known.
llvm::StringRef nodeOf(mlir::Operation *op);

/// Finds the values of a function that stand for results of ONNX nodes. Ops keep the name of the node that they come from;
/// its result is the last of them of its shape, but for the batch, which may have been resized. Values that a rewrite took
/// away, such as those inside an attention, are not found.
class NodeValues {
public:
  /// `isOf` says which ops count.
  NodeValues(mlir::func::FuncOp function, llvm::function_ref<bool(mlir::Operation *)> isOf);

  /// Result `output` of the `outputs` that `node` has; null if there is no such value any more, or if it cannot be told from
  /// the others.
  mlir::Value find(llvm::StringRef node, int64_t output, int64_t outputs, llvm::ArrayRef<int64_t> shape) const;

private:
  llvm::StringMap<llvm::SmallVector<mlir::Value>> values; // by node, in program order
};

} // namespace llmc::analysis

#endif // LLMC_PASSES_ANALYSIS_NODEVALUES_H
