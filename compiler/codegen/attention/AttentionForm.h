//===- AttentionForm.h - kernels of attention and its backward op -------------*- C++ -*-===//
#ifndef LLMC_COMPILER_CODEGEN_ATTENTION_ATTENTIONFORM_H
#define LLMC_COMPILER_CODEGEN_ATTENTION_ATTENTIONFORM_H

#include "compiler/codegen/KernelForm.h"

namespace llmc::codegen::attention {

/// The form of a function that holds one attention among views of its operands and results; null if it holds none.
llvm::Expected<std::unique_ptr<KernelForm>> createAttentionForm(mlir::func::FuncOp function);

} // namespace llmc::codegen::attention

#endif // LLMC_COMPILER_CODEGEN_ATTENTION_ATTENTIONFORM_H
