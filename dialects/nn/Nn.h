//===- Nn.h - the nn dialect ------------------------------------*- C++ -*-===//
#ifndef LLMC_DIALECTS_NN_NN_H
#define LLMC_DIALECTS_NN_NN_H

#include "dialects/interfaces/Interfaces.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/nn/NnDialect.h.inc"
#include "dialects/nn/NnEnums.h.inc"
#define GET_OP_CLASSES
#include "dialects/nn/NnOps.h.inc"

namespace llmc::nn {

/// Reshapes `value` to `shape` (same number of elements) by at most one tensor.collapse_shape and one expand_shape.
mlir::Value reshape(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value, llvm::ArrayRef<int64_t> shape);
/// A splat constant of `type` (float or integer elements).
mlir::Value splat(mlir::OpBuilder &builder, mlir::Location loc, mlir::Type type, double value);
/// Repeats a rank-0 tensor to `type`.
mlir::Value broadcastScalar(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value scalar, mlir::RankedTensorType type);
/// Sums `value` to the shape that `dims` of a broadcast came from: the derivative of nn.broadcast.
mlir::Value sumToBroadcastInput(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value, llvm::ArrayRef<int64_t> dims,
                                mlir::RankedTensorType inputType);
/// The value that `value` shows in another shape.
mlir::Value throughReshapes(mlir::Value value);
/// The type of `value` as a ranked tensor.
inline mlir::RankedTensorType typeOf(mlir::Value value) { return llvm::cast<mlir::RankedTensorType>(value.getType()); }

} // namespace llmc::nn

#endif // LLMC_DIALECTS_NN_NN_H
