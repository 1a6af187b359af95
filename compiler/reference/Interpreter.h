//===- Interpreter.h - the judge of numbers ---------------------*- C++ -*-===//
#ifndef LLMC_COMPILER_REFERENCE_INTERPRETER_H
#define LLMC_COMPILER_REFERENCE_INTERPRETER_H

#include "dialects/interfaces/Interfaces.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace llmc::reference {

/// F64 keeps every value in double; AsTyped rounds each op's result to its element type.
enum class Arithmetic { F64, AsTyped };

/// Runs straight-line functions op by op through the Evaluable interface. Simple on purpose: no fusion, no reuse of
/// storage beyond dropping values after their last use.
class Interpreter {
public:
  explicit Interpreter(Arithmetic arithmetic) : arithmetic(arithmetic) {}

  /// The results of `function` for `arguments` (one per argument, of its shape). Fails with a diagnostic at an op that
  /// is not Evaluable or whose evaluation fails (an index out of range).
  mlir::FailureOr<std::vector<HostTensor>> run(mlir::func::FuncOp function, std::vector<HostTensor> arguments) const;

  /// The same at level `local` on the ranks of the module's mesh, in lockstep: arguments and results by rank.
  /// Collectives add in the order of ranks.
  mlir::FailureOr<std::vector<std::vector<HostTensor>>> runRanks(mlir::func::FuncOp function,
                                                                 std::vector<std::vector<HostTensor>> arguments) const;

private:
  Arithmetic arithmetic;
};

} // namespace llmc::reference

#endif // LLMC_COMPILER_REFERENCE_INTERPRETER_H
