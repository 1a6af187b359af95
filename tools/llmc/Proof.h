//===- Proof.h - the proof beside a model, replayed -------------*- C++ -*-===//
//
// frontends/pytorch/export.py writes PyTorch's loss and gradients of two batches into MODEL.proof.safetensors; the format
// stands in frontends/pytorch/exporting/proof.py.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_TOOLS_LLMC_PROOF_H
#define LLMC_TOOLS_LLMC_PROOF_H

#include "frontends/onnx/Model.h"
#include "mlir/IR/MLIRContext.h"

namespace llmc::tool {

/// The proof's file for the model at `model`: its name with `.proof.safetensors` for `.onnx`.
std::string proofPath(llvm::StringRef model);

/// A recipe that trains `model` by its output `loss` on arrays named as its inputs, as text; with `batch` samples, or as many
/// as exported if 0.
std::string defaultRecipe(const onnx::Model &model, int64_t batch);

/// Writes `text` as recipe.yaml into a new temporary folder and passes its path to `use`. Returns what `use` returns, or an
/// exit code.
int withRecipeFile(const std::string &text, llvm::function_ref<int(llvm::StringRef)> use);

/// Computes what the proof of `model` (read from `path`) says, and compares. Prints what it did; returns the exit code:
/// 4 with the parameters that differ, and 0 if there is no proof.
int replayProof(llvm::StringRef path, const onnx::Model &model, mlir::MLIRContext &context);

} // namespace llmc::tool

#endif // LLMC_TOOLS_LLMC_PROOF_H
