//===- KnownValues.h - constants of a function ------------------*- C++ -*-===//
#ifndef LLMC_PASSES_IMPORT_KNOWNVALUES_H
#define LLMC_PASSES_IMPORT_KNOWNVALUES_H

#include "dialects/interfaces/Interfaces.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace llmc::importing {

/// Constants up to 1 KiB and splats are `arith.constant`, larger ones arguments of role `constant`. This reads and makes them.
class KnownValues {
public:
  explicit KnownValues(mlir::func::FuncOp function) : function(function) {}

  /// The elements of a constant op or argument; null if `value` is neither.
  mlir::ElementsAttr attributeOf(mlir::Value value);
  /// A constant with these elements; equal ones share one value.
  mlir::Value make(mlir::Location loc, mlir::DenseElementsAttr attribute);
  /// The constant result of `value`'s op if all its operands are constants, after folding those in turn; else `value`
  /// itself. Ops that become unused are erased.
  mlir::Value fold(mlir::Value value);
  /// Erases arguments of role `constant` that nothing uses.
  void eraseUnused();

private:
  mlir::func::FuncOp function;
  llvm::DenseMap<mlir::Attribute, mlir::Value> made;
};

} // namespace llmc::importing

#endif // LLMC_PASSES_IMPORT_KNOWNVALUES_H
