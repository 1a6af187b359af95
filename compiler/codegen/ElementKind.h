//===- ElementKind.h - element types without an MLIR context ------------------*- C++ -*-===//
#ifndef LLMC_COMPILER_CODEGEN_ELEMENTKIND_H
#define LLMC_COMPILER_CODEGEN_ELEMENTKIND_H

#include "mlir/IR/BuiltinTypes.h"
#include <optional>

namespace llmc::codegen {

enum class ElementKind : uint8_t { I1, I8, I16, I32, I64, F16, BF16, F32, F64 };

/// Bytes in memory; i1 takes one.
int64_t bytesOf(ElementKind kind);
inline bool isFloat(ElementKind kind) { return kind >= ElementKind::F16; }
/// The kind of a scalar MLIR type (index counts as i64), if there is one.
std::optional<ElementKind> elementKindOf(mlir::Type type);
/// The type values of this kind have in memory: i1 is stored as i8.
mlir::Type storageType(mlir::MLIRContext *context, ElementKind kind);
/// The type they are computed in: f16 and bf16 in f32.
mlir::Type computeType(mlir::MLIRContext *context, ElementKind kind);

} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_ELEMENTKIND_H
