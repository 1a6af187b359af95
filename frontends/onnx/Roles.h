//===- Roles.h - which initializers are trained -----------------*- C++ -*-===//
#ifndef LLMC_FRONTENDS_ONNX_ROLES_H
#define LLMC_FRONTENDS_ONNX_ROLES_H

#include "frontends/Problem.h"
#include "frontends/onnx/Model.h"
#include "llvm/ADT/StringSet.h"

namespace llmc::train {
struct Recipe;
} // namespace llmc::train

namespace llmc::onnx {

struct Roles {
  llvm::StringMap<Kind> kinds;                                // of each initializer that is no plain constant
  std::map<std::string, std::vector<std::string>> aliases;    // parameter -> other names of it (tied)
  std::vector<std::string> lost;                              // parameters of the PyTorch model that the file no longer has
  std::vector<std::string> unclear;                           // of which their use does not tell whether they are trained
  std::vector<std::pair<std::string, size_t>> merged;         // probably several equal ones that an exporter made one; its uses
  llvm::StringSet<> frozen;                                   // parameters that the module itself does not train
  std::map<std::string, std::string> reasons;                 // of each real initializer: why it has this role
  bool fromMetadata = false;                                  // else by use, see Uses.h

  Kind of(llvm::StringRef name) const {
    auto it = kinds.find(name);
    return it == kinds.end() ? Kind::None : it->second;
  }
};

/// Finds parameters and buffers. With the exporter's metadata they are as it says, and a parameter that the signature names
/// but no initializer holds is
///   - tied, if export.py says so (the graph's metadata `llmc.tied`), if a module of that name uses a parameter listed later (PyTorch keeps the last name), or if a module below it
///     has a parameter of the same last name, and no node says that it was called with the missing one;
///   - else lost: merged with an equal one, or folded into a constant.
/// Without metadata their uses decide.
Roles findRoles(const Model &model);

/// What an explicit `trainable` says beyond the file: a real initializer that it names is a parameter, and so is one of unclear
/// use that a glob of it matches, if the glob is more than `*`; unclear ones that none matches are not. A merged one that it names
/// is trained as one.
void chooseTrainable(const Model &model, const train::Recipe &recipe, Roles &roles);

/// The errors for initializers of unclear use, which `trainable` is to decide, and for those that an exporter merged. Exit code 4.
Problems reportUnclear(const Roles &roles);

/// The error for lost parameters that `recipe` would train; none if there are none. Exit code 4.
Problems reportLost(const Roles &roles, const train::Recipe &recipe);

} // namespace llmc::onnx

#endif // LLMC_FRONTENDS_ONNX_ROLES_H
