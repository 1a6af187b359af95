//===- Roles.h - which initializers are trained -----------------*- C++ -*-===//
#ifndef LLMC_FRONTENDS_ONNX_ROLES_H
#define LLMC_FRONTENDS_ONNX_ROLES_H

#include "frontends/Problem.h"
#include "frontends/onnx/Model.h"

namespace llmc::train {
struct Recipe;
} // namespace llmc::train

namespace llmc::onnx {

struct Roles {
  llvm::StringMap<Kind> kinds;                                // of each initializer that is no plain constant
  std::map<std::string, std::vector<std::string>> aliases;    // parameter -> other names of it (tied)
  std::vector<std::string> lost;                              // parameters of the PyTorch model that the file no longer has
  bool fromMetadata = false;                                  // else by use, see below

  Kind of(llvm::StringRef name) const {
    auto it = kinds.find(name);
    return it == kinds.end() ? Kind::None : it->second;
  }
};

/// Finds parameters and buffers. With the exporter's metadata they are as it says, and a parameter that the signature names
/// but no initializer holds is
///   - tied, if a module of that name uses a parameter listed later (PyTorch keeps the last name), or if a module below it
///     has a parameter of the same last name, and no node says that it was called with the missing one;
///   - else lost: merged with an equal one, or folded into a constant.
/// Without metadata, a parameter is a real initializer of rank 1 or more that feeds, directly or through Transpose, Reshape
/// and the like, a weight operand (MatMul, Gemm, Conv, Gather, normalizations), or that is added or multiplied and has
/// a dotted name as modules give them.
Roles findRoles(const Model &model);

/// The error for lost parameters that `recipe` would train; none if there are none. Exit code 4.
Problems reportLost(const Roles &roles, const train::Recipe &recipe);

} // namespace llmc::onnx

#endif // LLMC_FRONTENDS_ONNX_ROLES_H
