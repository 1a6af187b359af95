//===- Problem.h - what an attention kernel reads, computes and writes --------*- C++ -*-===//
#ifndef LLMC_COMPILER_CODEGEN_ATTENTION_PROBLEM_H
#define LLMC_COMPILER_CODEGEN_ATTENTION_PROBLEM_H

#include "compiler/codegen/ElementKind.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <optional>
#include <string>

namespace llmc::codegen::attention {

/// Elements of an argument or result of the kernel, as a tensor with strides.
struct AffineView {
  int tensor = -1; // index of the argument or result; -1: every element is `splat`
  double splat = 0;
  ElementKind type = ElementKind::F32;
  int64_t offset = 0;
  llvm::SmallVector<int64_t, 4> shape, strides;
};

/// One nn.attention or nn.attention_backward with the views of its operands and results; holds no MLIR objects. Sizes are
/// named as in the op: query [B, T, H, D], key [B, S, G, D], value [B, S, G, E].
struct Problem {
  std::string name;
  bool backward = false;
  int64_t B, T, H, D, S, G, E;
  double scale;
  bool causal;
  AffineView query, key, value;
  std::optional<AffineView> mask;
  AffineView forwardResult, lse, cotangent; // backward only
  /// Where the op's results go: result and lse, or the gradients of query, key and value. None: not wanted.
  std::optional<AffineView> stores[3];
  llvm::SmallVector<int64_t> inputBytes, outputBytes;
};

/// Whether the function holds an attention.
bool holdsAttention(mlir::func::FuncOp function);
/// The error names the op that is neither a view, nor the attention, nor a concatenation of its results.
llvm::Expected<Problem> readProblem(mlir::func::FuncOp function);

} // namespace llmc::codegen::attention

#endif // LLMC_COMPILER_CODEGEN_ATTENTION_PROBLEM_H
