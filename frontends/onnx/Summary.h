//===- Summary.h - what `llmc check` prints ---------------------*- C++ -*-===//
#ifndef LLMC_FRONTENDS_ONNX_SUMMARY_H
#define LLMC_FRONTENDS_ONNX_SUMMARY_H

#include "dialects/train/Recipe.h"
#include "frontends/onnx/Model.h"
#include "frontends/onnx/Roles.h"
#include "llvm/Support/raw_ostream.h"

namespace llmc::onnx {

/// What a recipe could feed an input with: "tokens" or "tokens.next" for integer sequences (labels that the graph shifts
/// itself are "tokens"), else a name of an array.
std::string suggestSource(const Model &model, const ValueInfo &input);

/// Prints, of each real initializer that `recipe` may name under `trainable`, whether it is trained and why.
void printRoles(const Model &model, const Roles &roles, const train::Recipe &recipe, llvm::raw_ostream &os);

/// Prints parameters with sizes and other names, buffers, operators with counts, outputs, symbolic dimensions and the
/// `data` line that a recipe needs.
void printSummary(const Model &model, const Roles &roles, llvm::raw_ostream &os);

} // namespace llmc::onnx

#endif // LLMC_FRONTENDS_ONNX_SUMMARY_H
