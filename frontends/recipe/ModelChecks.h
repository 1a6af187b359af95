//===- ModelChecks.h - what a recipe says of a model's parameters -*- C++ -*-===//
#ifndef LLMC_FRONTENDS_RECIPE_MODELCHECKS_H
#define LLMC_FRONTENDS_RECIPE_MODELCHECKS_H

#include "frontends/recipe/RecipeParser.h"

namespace llmc::recipe {

/// A parameter as a recipe can name it.
struct NamedParameter {
  std::vector<std::string> names; // tied ones too
  int64_t rank = 0;
  bool hasValue = false; // that the model's files hold
  bool isFrozen = false; // the module does not train it
};

/// Globs of `trainable`, `no_decay`, `init` and `sharding` that match no parameter, with the nearest names; shardings with
/// another number of dimensions than the parameter; initializers that initialize nothing.
Problems checkParameters(const ParsedRecipe &parsed, const std::vector<NamedParameter> &parameters);

} // namespace llmc::recipe

#endif // LLMC_FRONTENDS_RECIPE_MODELCHECKS_H
