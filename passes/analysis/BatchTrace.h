//===- BatchTrace.h - where the batch dimension goes ------------*- C++ -*-===//
#ifndef LLMC_PASSES_ANALYSIS_BATCHTRACE_H
#define LLMC_PASSES_ANALYSIS_BATCHTRACE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace llmc::analysis {

/// A dimension that contains the batch: it is (something) x batch x `inner`, row-major.
struct BatchMark {
  int64_t dim;
  int64_t inner;
  bool operator==(const BatchMark &) const = default;
};

/// Where the batch stands in each value of a function. It is dimension 0 of every input, and is followed through factor rules,
/// never by its size: forward to results, and backward to constants and broadcasts.
///
/// A batch of one cannot be told from other dimensions of size 1 by its factors. It is followed forward only, by its position
/// among the dimensions, and an operand without a mark that meets one is to be repeated for each sample.
///
/// What cannot be followed is a problem of an op: the op uses the samples together (a softmax over them), splits the batch,
/// takes some of the samples, or ties the batch to a weight. A graph with problems computes what it should at the batch size
/// it was exported with, and at no other.
class BatchTrace {
public:
  struct Problem {
    mlir::Operation *op;
    std::string message;
  };

  /// Fails, with an error, if the inputs do not agree on the size of the batch, or there is none.
  static mlir::FailureOr<BatchTrace> of(mlir::func::FuncOp function);

  int64_t batch() const { return size; }
  /// The marks of `value`, by increasing dimension; empty if its shape does not depend on the batch size.
  llvm::ArrayRef<BatchMark> marked(mlir::Value value) const;
  /// True if a dimension of `value` contains the batch.
  bool isMarked(mlir::Value value) const { return !marked(value).empty(); }

  /// Operands that are the same for all samples, with the mark that their dimension has to get.
  llvm::ArrayRef<std::pair<mlir::OpOperand *, BatchMark>> repeated() const { return repeats; }

  llvm::ArrayRef<Problem> problems() const { return found; }
  /// One error for each problem.
  mlir::LogicalResult report() const;

private:
  mlir::LogicalResult start(mlir::func::FuncOp function);
  bool visit(mlir::Operation *op);
  void visitSingle(mlir::Operation *op);
  void visitSingleReshape(mlir::Operation *op);
  bool mark(mlir::Value value, BatchMark mark);
  void problem(mlir::Operation *op, const llvm::Twine &message);

  int64_t size = 0;
  llvm::DenseMap<mlir::Value, llvm::SmallVector<BatchMark, 2>> marks;
  llvm::DenseMap<mlir::Operation *, size_t> problemOf;
  llvm::SmallVector<std::pair<mlir::OpOperand *, BatchMark>> repeats;
  std::vector<Problem> found;
};

} // namespace llmc::analysis

#endif // LLMC_PASSES_ANALYSIS_BATCHTRACE_H
