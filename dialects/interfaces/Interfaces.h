//===- Interfaces.h - Differentiable, Shardable, Cost, Evaluable -*- C++ -*-===//
#ifndef LLMC_DIALECTS_INTERFACES_INTERFACES_H
#define LLMC_DIALECTS_INTERFACES_INTERFACES_H

#include "dialects/interfaces/FactorRule.h"
#include "dialects/interfaces/HostTensor.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/IR/OpDefinition.h"

namespace llmc {

/// Elements of all results together.
int64_t countResultElements(mlir::Operation *op);
/// Bytes of all tensor operands and results; i1 counts one byte.
int64_t countBytes(mlir::Operation *op);
/// Bytes of one element; i1 is one byte, index eight.
int64_t elementBytes(mlir::Type elementType);
/// Bytes of a value's ranked static tensor type, or of its scalar type.
int64_t tensorBytes(mlir::Type type);

/// The rule of an op whose operands and results all have one shape; rank-0 operands are constant over every factor.
FactorRule elementwiseFactorRule(mlir::Operation *op);

/// Attaches the four interfaces to the ops of arith, math and tensor that models use.
void registerExternalModels(mlir::DialectRegistry &registry);
void registerArithModels(mlir::DialectRegistry &registry);
void registerMathModels(mlir::DialectRegistry &registry);
void registerTensorModels(mlir::DialectRegistry &registry);

} // namespace llmc

#include "dialects/interfaces/Interfaces.h.inc"

#endif // LLMC_DIALECTS_INTERFACES_INTERFACES_H
