//===- Team.h - who walks a row: one CPU thread, or the threads of a block ----*- C++ -*-===//
#ifndef LLMC_COMPILER_CODEGEN_FUSED_TEAM_H
#define LLMC_COMPILER_CODEGEN_FUSED_TEAM_H

#include "compiler/codegen/Code.h"
#include "compiler/codegen/fused/Graph.h"
#include "mlir/IR/PatternMatch.h"

namespace llmc::codegen {

/// Neighbouring columns that are computed as one vector.
struct Lanes {
  int64_t width;
  mlir::Value column; // of the first lane
  mlir::Value mask;   // null: all lanes are columns
  int64_t step = 1;   // what `column` minus the walk's first column is a multiple of
  /// In bytes, of element `column` of an aligned array, where walks begin at multiples of `begin`.
  int64_t alignment(int64_t elementBytes, int64_t begin) const;
};

/// A reduction carried through a walk; `type` is a scalar type.
struct Accumulator {
  Reduction kind;
  mlir::Type type;
};

mlir::Value neutral(Code &code, Reduction kind, mlir::Type type);
mlir::Value combine(Code &code, Reduction kind, mlir::Value x, mlir::Value y);
/// An Elementwise node of scalars (width 0) or vectors, in the types they are computed in.
mlir::Value emitElementwise(Code &code, const Node &node, llvm::ArrayRef<mlir::Value> values, int64_t width);

/// Patterns for the functions of math that are approximated by polynomials in f32, to a few ulp. sin and cos are not among
/// them: their polynomials are good near zero only.
void populateMathApproximations(mlir::RewritePatternSet &patterns);

/// Of a transposing copy, in elements of `type`.
struct Tile {
  mlir::Type type;
  int64_t sourceStride, targetStride;
  int64_t alignment; // of each row of the target, in bytes
  bool streaming;    // too large to be read again from a cache
};

/// The only part of the emitter that knows the machine. Every order of summation is fixed by the shape.
class Team {
public:
  virtual ~Team() = default;
  /// How much a body holds: decides the vector width on the CPU.
  enum class Body { Light, Heavy, Wide64 };
  using WalkBody = llvm::function_ref<llvm::SmallVector<mlir::Value>(const Lanes &, mlir::ValueRange)>;
  /// Emits code that visits the columns [begin, end), `count` many where that is the same for each workgroup, else -1. The
  /// body gets vectors of accumulated values and returns the next. Returns one scalar per accumulator, known to all threads.
  virtual llvm::SmallVector<mlir::Value> walk(Code &code, mlir::Value begin, mlir::Value end, int64_t count, Body body,
                                              llvm::ArrayRef<Accumulator> accumulators, WalkBody emit) = 0;
  /// Emits code that runs `body` for each index of [begin, end), which may not depend on one another.
  virtual void each(Code &code, mlir::Value begin, mlir::Value end, llvm::function_ref<void(mlir::Value)> body) = 0;
  /// Emits a transposing copy of a tile of at most transposeTile x transposeTile elements: element (a, b) at
  /// source + a * sourceStride + b goes to target + b * targetStride + a, for a < countA and b < countB.
  virtual void transpose(Code &code, const Tile &tile, mlir::Value source, mlir::Value target, mlir::Value countA, mlir::Value countB) = 0;
  static constexpr int64_t transposeTile = 128;
  /// Code that one thread runs: stores of values that the whole team has.
  virtual void once(Code &code, llvm::function_ref<void()> body) = 0;
  /// Memory for one value of `bytes` per column, which each thread reads where it wrote it.
  virtual mlir::Value rowBuffer(Code &code, int64_t columns, int64_t bytes) = 0;
};

} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_FUSED_TEAM_H
