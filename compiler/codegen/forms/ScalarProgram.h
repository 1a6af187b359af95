//===- ScalarProgram.h - arithmetic on rank-0 tensors -------------------------*- C++ -*-===//
#ifndef LLMC_COMPILER_CODEGEN_FORMS_SCALARPROGRAM_H
#define LLMC_COMPILER_CODEGEN_FORMS_SCALARPROGRAM_H

#include "compiler/codegen/Kernels.h"
#include "compiler/codegen/fused/Team.h"
#include "llvm/ADT/DenseMap.h"

namespace llmc::codegen {

/// The rank-0 values of a kernel function: arguments, constants, arith and math ops. Holds no MLIR objects once built.
class ScalarProgram {
public:
  /// Takes `op` in if it is arithmetic on known rank-0 values or a constant; false if it is not.
  bool add(mlir::Operation *op);
  /// The number of `value`, an argument of rank 0 or the result of an op taken in; -1 if it is neither.
  int idOf(mlir::Value value);
  /// A value that the form computes itself.
  int addExternal(mlir::Value value);
  llvm::ArrayRef<int> externalIds() const { return externals; }
  ElementKind kindOf(int id) const { return nodes[id].type; }
  /// The arguments read, in the order of first use.
  llvm::ArrayRef<int> inputs() const { return arguments; }
  /// Computes the values `wanted`, in the type they are computed in. `pointer` gives the address of inputs()[i], `external`
  /// the external values in the order they were added.
  llvm::SmallVector<mlir::Value> emit(Code &code, llvm::ArrayRef<int> wanted, llvm::function_ref<mlir::Value(size_t)> pointer,
                                      llvm::ArrayRef<mlir::Value> external) const;

private:
  std::vector<Node> nodes; // Load: `input` is a position in `arguments`, or -1 - the number of an external value
  llvm::DenseMap<mlir::Value, int> ids;
  llvm::SmallVector<int> arguments;
  llvm::SmallVector<int, 1> externals;
};

/// Whether `type` is a tensor of rank 0 of a known element type.
bool isScalar(mlir::Type type);

} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_FORMS_SCALARPROGRAM_H
