//===- Ties.h - which sizes of a model are one -------------------*- C++ -*-===//
#ifndef LLMC_PASSES_SHRINK_TIES_H
#define LLMC_PASSES_SHRINK_TIES_H

#include "dialects/interfaces/FactorRule.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/shrink/SizeClasses.h"
#include <deque>
#include <map>
#include <optional>

namespace llmc::shrink {

/// How a slice takes part of a dimension: all of it, one of several equal parts, all but a rest, its first element, or in a
/// way that a smaller dimension would change.
enum class Cut { All, Parts, Rest, First, Other };

Cut cutOf(int64_t whole, int64_t size, int64_t offset, int64_t stride);

/// Ties the dimensions of all values of functions in `sizes`: by the factor rules of ops, and parameters by their names.
/// What has a meaning beyond its size keeps it.
class Ties {
public:
  /// Values of constants up to `small` are below every new size.
  Ties(SizeClasses &sizes, int64_t small) : sizes(sizes), small(small) {}

  void add(mlir::func::FuncOp function);
  /// The slots of a value's dimensions; they stay where they are.
  llvm::ArrayRef<SizeClasses::Slot> of(mlir::Value value);

private:
  using Slot = SizeClasses::Slot;

  std::optional<int64_t> leastId(mlir::Value value);
  std::optional<int64_t> findLeastId(mlir::Value value);
  void keep(mlir::Value value);
  void addArgument(mlir::func::FuncOp function, mlir::BlockArgument argument);
  void addOp(mlir::Operation *op);
  void addRule(mlir::Operation *op, const FactorRule &rule);
  void keepLookups(mlir::Operation *op);
  template <typename Slice> void addSlice(Slice slice, mlir::Value whole, mlir::Value part);
  void addConcat(mlir::tensor::ConcatOp concat);
  void tieParts(Slot whole, Slot part);

  SizeClasses &sizes;
  int64_t small;
  llvm::DenseMap<mlir::Value, size_t> indices;
  std::deque<llvm::SmallVector<Slot, 4>> slots;
  std::map<llvm::StringRef, mlir::BlockArgument> parameters;
  llvm::DenseMap<mlir::Value, std::optional<int64_t>> leastIds; // what leastId has said
};

} // namespace llmc::shrink

#endif // LLMC_PASSES_SHRINK_TIES_H
