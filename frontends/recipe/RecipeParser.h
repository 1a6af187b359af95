//===- RecipeParser.h - recipe files -> train::Recipe ------------*- C++ -*-===//
//
// Reads the YAML grammar of a recipe, or a DeepSpeed JSON file. All problems are collected.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_FRONTENDS_RECIPE_RECIPEPARSER_H
#define LLMC_FRONTENDS_RECIPE_RECIPEPARSER_H

#include "dialects/train/Recipe.h"
#include "frontends/Problem.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/MemoryBufferRef.h"
#include <map>
#include <string>
#include <vector>

namespace llmc::recipe {

struct ParsedRecipe {
  train::Recipe recipe;           // defaults where a key was absent or wrong
  std::string file;               // as given, for messages
  std::map<std::string, unsigned> lines; // "optimizer.lr" -> line of each key that the file holds
  Problems problems;              // each with file:line; usable only if empty
  std::vector<std::string> notes; // keys that have no meaning here, and choices worth telling

  bool has(const std::string &key) const { return lines.count(key) != 0; }
  /// "file:line" of `key`, or of the nearest key above it that the file holds; "file" if there is none.
  std::string where(const std::string &key) const;
};

/// Parses the text of a recipe; the buffer's identifier is the file name of the messages. A `.json` name, or the top-level
/// keys of DeepSpeed, select the DeepSpeed grammar; there an object `llmc` may hold keys of the YAML grammar (data, loss, ...).
ParsedRecipe parseRecipe(llvm::MemoryBufferRef buffer);

/// The same for a file; an unreadable file is a problem of the result.
ParsedRecipe parseRecipeFile(llvm::StringRef path);

/// Gives problems that name a key of the recipe its file and line.
void locate(Problems &problems, const ParsedRecipe &parsed);

/// What `parsed` asks for and this version cannot do yet, one problem per key (exit code 3).
Problems checkSupported(const ParsedRecipe &parsed);

} // namespace llmc::recipe

#endif // LLMC_FRONTENDS_RECIPE_RECIPEPARSER_H
