//===- Parallel.h - generates kernels on several threads ----------------------*- C++ -*-===//
#ifndef LLMC_COMPILER_CODEGEN_PARALLEL_H
#define LLMC_COMPILER_CODEGEN_PARALLEL_H

#include "compiler/codegen/KernelForm.h"
#include <functional>

namespace llmc::codegen {

using KernelGenerator = std::function<llvm::Error(const KernelForm &form, size_t index)>;

/// Calls a generator for each form, on `threads` threads (0: as many as the machine has), each with a generator of its own
/// that `makeGenerator` makes there. Returns the first error in the order of the forms, with the kernel's name.
llvm::Error forEachKernel(llvm::ArrayRef<std::unique_ptr<KernelForm>> forms, unsigned threads,
                          llvm::function_ref<KernelGenerator()> makeGenerator);

} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_PARALLEL_H
