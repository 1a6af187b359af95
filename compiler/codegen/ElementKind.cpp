//===- ElementKind.cpp - element types without an MLIR context ---------------===//
#include "compiler/codegen/ElementKind.h"

using namespace mlir;

namespace llmc::codegen {

int64_t bytesOf(ElementKind kind) {
  switch (kind) {
  case ElementKind::I1:
  case ElementKind::I8:
    return 1;
  case ElementKind::I16:
  case ElementKind::F16:
  case ElementKind::BF16:
    return 2;
  case ElementKind::I32:
  case ElementKind::F32:
    return 4;
  case ElementKind::I64:
  case ElementKind::F64:
    return 8;
  }
  llvm_unreachable("element kind");
}

std::optional<ElementKind> elementKindOf(Type type) {
  if (type.isInteger(1))
    return ElementKind::I1;
  if (type.isInteger(8))
    return ElementKind::I8;
  if (type.isInteger(16))
    return ElementKind::I16;
  if (type.isInteger(32))
    return ElementKind::I32;
  if (type.isInteger(64) || type.isIndex())
    return ElementKind::I64;
  if (type.isF16())
    return ElementKind::F16;
  if (type.isBF16())
    return ElementKind::BF16;
  if (type.isF32())
    return ElementKind::F32;
  if (type.isF64())
    return ElementKind::F64;
  return std::nullopt;
}

Type storageType(MLIRContext *context, ElementKind kind) {
  switch (kind) {
  case ElementKind::F16:
    return Float16Type::get(context);
  case ElementKind::BF16:
    return BFloat16Type::get(context);
  case ElementKind::F32:
    return Float32Type::get(context);
  case ElementKind::F64:
    return Float64Type::get(context);
  default:
    return IntegerType::get(context, static_cast<unsigned>(bytesOf(kind) * 8));
  }
}

Type computeType(MLIRContext *context, ElementKind kind) {
  if (kind == ElementKind::I1)
    return IntegerType::get(context, 1);
  if (kind == ElementKind::F16 || kind == ElementKind::BF16)
    return Float32Type::get(context);
  return storageType(context, kind);
}

} // namespace llmc::codegen
