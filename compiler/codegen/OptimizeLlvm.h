//===- OptimizeLlvm.h - LLVM's passes on generated code ---------*- C++ -*-===//
#ifndef LLMC_COMPILER_CODEGEN_OPTIMIZELLVM_H
#define LLMC_COMPILER_CODEGEN_OPTIMIZELLVM_H

#include "llvm/ADT/StringRef.h"
#include "llvm/IR/Module.h"
#include "llvm/Target/TargetMachine.h"

namespace llmc::codegen {

/// Runs a pipeline, as `opt -passes=` reads it, on `module`. The text must be valid.
void optimizeLlvm(llvm::Module &module, llvm::TargetMachine &machine, llvm::StringRef pipeline);

} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_OPTIMIZELLVM_H
