//===- BatchTrace.h - where the batch dimension goes ------------*- C++ -*-===//
#ifndef LLMC_PASSES_IMPORT_BATCHTRACE_H
#define LLMC_PASSES_IMPORT_BATCHTRACE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace llmc::importing {

/// The dimensions of each value of a function whose major part is the batch: dimension d of a value is marked if it is
/// batch x (something), the batch being the slowest. Found through factor rules, forward from dimension 0 of every input and
/// backward to constants and broadcasts. A batch of one cannot be told from other dimensions of size 1 by its factors: then
/// marks go forward only, and an operand without a mark that meets one is to be repeated.
class BatchTrace {
public:
  /// Fails, naming the op, where the batch is split, merged as a minor part, cut, or tied to a weight.
  static mlir::FailureOr<BatchTrace> of(mlir::func::FuncOp function);

  int64_t batch() const { return size; }
  /// Marked dimensions of `value`, increasing; empty if it does not depend on the batch size.
  llvm::ArrayRef<int64_t> marked(mlir::Value value) const;

  /// Operands that are the same for all samples, with the dimension that has to be as large as the batch.
  llvm::ArrayRef<std::pair<mlir::OpOperand *, int64_t>> repeated() const { return repeats; }

private:
  mlir::LogicalResult start(mlir::func::FuncOp function);
  mlir::LogicalResult visit(mlir::Operation *op, bool &changed);
  mlir::LogicalResult visitSingle(mlir::Operation *op);
  bool mark(mlir::Value value, int64_t dim);

  int64_t size = 0;
  llvm::DenseMap<mlir::Value, llvm::SmallVector<int64_t, 2>> dims;
  llvm::SmallVector<std::pair<mlir::OpOperand *, int64_t>> repeats;
};

} // namespace llmc::importing

#endif // LLMC_PASSES_IMPORT_BATCHTRACE_H
