//===- Forms.h - the generators for kernels that are not (rows, columns) ------*- C++ -*-===//
//
// Each returns null where the function is not of its kind, and an error where it is but cannot be generated.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_COMPILER_CODEGEN_FORMS_FORMS_H
#define LLMC_COMPILER_CODEGEN_FORMS_FORMS_H

#include "compiler/codegen/KernelForm.h"

namespace llmc::codegen {

using FormResult = llvm::Expected<std::unique_ptr<KernelForm>>;

/// nn.adamw or nn.sgd on any number of parameters, with scalar arithmetic before them.
FormResult makeOptimizerForm(mlir::func::FuncOp function);
/// One nn.sum_of_squares, with scalar arithmetic after it.
FormResult makeSumOfSquaresForm(mlir::func::FuncOp function);

} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_FORMS_FORMS_H
