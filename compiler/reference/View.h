//===- View.h - parameters in the shape they are stored in ------*- C++ -*-===//
#ifndef LLMC_COMPILER_REFERENCE_VIEW_H
#define LLMC_COMPILER_REFERENCE_VIEW_H

#include "dialects/interfaces/HostTensor.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace llmc::reference {

/// The logical type of argument `index` of `function`: that of `train.shape`, or its own.
mlir::RankedTensorType logicalType(mlir::func::FuncOp function, unsigned index);

/// A value of the logical type as the argument, by the steps of `train.view`; and the other way.
HostTensor viewed(HostTensor logical, mlir::func::FuncOp function, unsigned index);
HostTensor unviewed(HostTensor stored, mlir::func::FuncOp function, unsigned index);

} // namespace llmc::reference

#endif // LLMC_COMPILER_REFERENCE_VIEW_H
