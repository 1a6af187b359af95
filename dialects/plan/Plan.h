//===- Plan.h - the plan dialect --------------------------------*- C++ -*-===//
#ifndef LLMC_DIALECTS_PLAN_PLAN_H
#define LLMC_DIALECTS_PLAN_PLAN_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"

#include "dialects/plan/PlanDialect.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/plan/PlanAttrs.h.inc"
#define GET_OP_CLASSES
#include "dialects/plan/PlanOps.h.inc"

namespace llmc::plan {

// Attributes of kernel functions at level `kernels`.
inline constexpr llvm::StringLiteral kKernel = "plan.kernel"; // StrAttr: "fused", or "gemm"
inline constexpr llvm::StringLiteral kGemm = "plan.gemm";     // DictionaryAttr: fields of Gemm, set by lowering-select-library
// DictionaryAttr, set by codegen-describe-kernels:
//   {stages = [{workgroups = i64, operands = [[kind, index, access], ...]}], scratch = array<i64>, alias = array<i64: out, in, ...>}
// with kind one of "input", "output", "scratch" and access one of "read", "write", "readwrite".
inline constexpr llvm::StringLiteral kStages = "plan.stages";

} // namespace llmc::plan

#endif // LLMC_DIALECTS_PLAN_PLAN_H
