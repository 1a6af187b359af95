//===- PrintRoles.h - which initializers are trained, and why ----*- C++ -*-===//
#ifndef LLMC_FRONTENDS_ONNX_PRINTROLES_H
#define LLMC_FRONTENDS_ONNX_PRINTROLES_H

#include "dialects/train/Recipe.h"
#include "frontends/onnx/Model.h"
#include "frontends/onnx/Roles.h"
#include "llvm/Support/raw_ostream.h"

namespace llmc::onnx {

/// Prints, of each real initializer that `recipe` may name under `trainable`, whether it is trained and why.
void printRoles(const Model &model, const Roles &roles, const train::Recipe &recipe, llvm::raw_ostream &os);

} // namespace llmc::onnx

#endif // LLMC_FRONTENDS_ONNX_PRINTROLES_H
