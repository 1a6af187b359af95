//===- Code.h - shorthand for emitting scalar and vector code -----------------*- C++ -*-===//
//
// Addresses are byte-free: a pointer, an element type and an i64 index. Loops count in i64. Memory is accessed through the
// LLVM dialect, arithmetic is arith, math and vector, control flow is scf.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_COMPILER_CODEGEN_CODE_H
#define LLMC_COMPILER_CODEGEN_CODE_H

#include "compiler/codegen/ElementKind.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Builders.h"

namespace llmc::codegen {

class Code {
public:
  Code(mlir::OpBuilder builder, mlir::Location loc) : b(builder), loc(loc) {}

  mlir::OpBuilder b;
  mlir::Location loc;
  /// Whether there are 32 registers of 64 bytes, rather than 16 of 32.
  bool wideRegisters = true;

  mlir::Type i64Type() { return b.getI64Type(); }
  mlir::Type pointerType() { return mlir::LLVM::LLVMPointerType::get(b.getContext()); }
  mlir::Value i64(int64_t value);
  /// A scalar or splat constant of `type`.
  mlir::Value number(mlir::Type type, double value);
  mlir::Value integer(mlir::Type type, int64_t value);

  mlir::Value add(mlir::Value x, mlir::Value y); // integers
  mlir::Value sub(mlir::Value x, mlir::Value y);
  mlir::Value mul(mlir::Value x, mlir::Value y);
  mlir::Value mul(mlir::Value x, int64_t y) { return mul(x, i64(y)); }
  mlir::Value add(mlir::Value x, int64_t y) { return add(x, i64(y)); }
  mlir::Value div(mlir::Value x, int64_t y); // unsigned
  mlir::Value rem(mlir::Value x, int64_t y);
  mlir::Value min(mlir::Value x, mlir::Value y);
  mlir::Value max(mlir::Value x, mlir::Value y);
  mlir::Value compare(mlir::arith::CmpIPredicate predicate, mlir::Value x, mlir::Value y);
  mlir::Value select(mlir::Value condition, mlir::Value x, mlir::Value y);

  /// An op of one result by name; float arithmetic may be contracted to fused multiply-adds.
  mlir::Value op(llvm::StringRef name, mlir::ValueRange operands, mlir::Type result, int64_t predicate = -1);
  mlir::Value addf(mlir::Value x, mlir::Value y) { return op("arith.addf", {x, y}, x.getType()); }
  mlir::Value subf(mlir::Value x, mlir::Value y) { return op("arith.subf", {x, y}, x.getType()); }
  mlir::Value mulf(mlir::Value x, mlir::Value y) { return op("arith.mulf", {x, y}, x.getType()); }
  mlir::Value divf(mlir::Value x, mlir::Value y) { return op("arith.divf", {x, y}, x.getType()); }
  mlir::Value fma(mlir::Value x, mlir::Value y, mlir::Value z) { return op("math.fma", {x, y, z}, x.getType()); }
  /// The larger one; `y` where either is NaN (one instruction).
  mlir::Value fastMax(mlir::Value x, mlir::Value y);

  /// `scalar` in all lanes of a vector; itself if width is 0.
  mlir::Value splat(mlir::Value scalar, int64_t width);
  /// 0, 1, 2, ...
  mlir::Value iota(mlir::Type element, int64_t width);
  /// A scalar (width 0) or vector type.
  static mlir::Type vectorOf(mlir::Type element, int64_t width);

  mlir::Value address(mlir::Value base, mlir::Type element, mlir::Value index);
  /// Memory, with the alignment of the element unless stated. A null mask is all lanes; lanes off read 0.
  mlir::Value load(mlir::Type type, mlir::Value pointer, int64_t alignment = 0, mlir::Value mask = {});
  void store(mlir::Value value, mlir::Value pointer, int64_t alignment = 0, mlir::Value mask = {});
  /// Elements as they are computed with: i1 from bytes, f32 from f16 and bf16. Width 0 is a scalar; lanes are `stride`
  /// elements apart.
  mlir::Value loadElements(ElementKind kind, mlir::Value pointer, int64_t width, int64_t stride = 1, mlir::Value mask = {},
                           int64_t alignment = 0);
  void storeElements(ElementKind kind, mlir::Value value, mlir::Value pointer, int64_t stride = 1, mlir::Value mask = {},
                     int64_t alignment = 0);
  /// The elements at the given distances (a vector of i64) from `pointer`.
  mlir::Value gatherElements(ElementKind kind, mlir::Value pointer, mlir::Value indices, mlir::Value mask);
  /// The address of a constant array in the object.
  mlir::Value table(llvm::ArrayRef<int64_t> values);
  mlir::Value table(llvm::ArrayRef<double> values);
  /// Stack memory, aligned to 64 bytes, at the start of the function.
  mlir::Value stack(int64_t bytes);

  using LoopBody = llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value index, mlir::ValueRange carried)>;
  /// for (index = from; index < to; index += step), the body returns the next carried values.
  llvm::SmallVector<mlir::Value> loop(mlir::Value from, mlir::Value to, int64_t step, mlir::ValueRange initial, LoopBody body);
  void loop(mlir::Value from, mlir::Value to, int64_t step, llvm::function_ref<void(mlir::Value)> body);
  /// while (condition(carried)) carried = body(carried); returns the last carried values.
  llvm::SmallVector<mlir::Value> repeat(mlir::ValueRange initial, llvm::function_ref<mlir::Value(mlir::ValueRange)> condition,
                                        llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::ValueRange)> body);
  void ifThen(mlir::Value condition, llvm::function_ref<void()> body);
  void ifElse(mlir::Value condition, llvm::function_ref<void()> body, llvm::function_ref<void()> otherwise);

private:
  mlir::Value table(mlir::Type element, mlir::DenseElementsAttr values);
};

/// Declares a stage function in `module` and calls `body` with its operand pointers (or, if `asArray`, the pointer to the
/// array of them) and workgroup number.
void emitStageFunction(mlir::ModuleOp module, llvm::StringRef symbol, size_t operands, bool asArray,
                       llvm::function_ref<void(Code &, llvm::ArrayRef<mlir::Value>, mlir::Value)> body);

} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_CODE_H
