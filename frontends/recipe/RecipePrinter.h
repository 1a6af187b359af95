//===- RecipePrinter.h - a recipe as text, and its keys explained -*- C++ -*-===//
#ifndef LLMC_FRONTENDS_RECIPE_RECIPEPRINTER_H
#define LLMC_FRONTENDS_RECIPE_RECIPEPRINTER_H

#include "dialects/train/Recipe.h"

namespace llmc::recipe {

/// All values in force, as YAML that parses to the same recipe.
std::string printRecipe(const train::Recipe &recipe);

/// Type, default, text and example of a key and of those below it, or of all keys of this name; empty if there is none.
/// `near` is then the nearest one, if any.
std::string explainKey(llvm::StringRef path, std::string &near);

/// The page docs/recipe.md.
std::string keysAsMarkdown();

} // namespace llmc::recipe

#endif // LLMC_FRONTENDS_RECIPE_RECIPEPRINTER_H
