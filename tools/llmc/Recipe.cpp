//===- Recipe.cpp - llmc recipe --------------------------------------------------------===//
#include "frontends/recipe/Keys.h"
#include "frontends/recipe/RecipePrinter.h"
#include "tools/llmc/Tool.h"

namespace llmc::tool {

int explainRecipe(llvm::StringRef key, bool markdown) {
  if (markdown) {
    llvm::outs() << recipe::keysAsMarkdown();
    return kDone;
  }
  if (key.empty()) { // all keys, a line each
    for (const recipe::KeyInfo &row : recipe::allKeys())
      llvm::outs() << row.path << ": " << row.type << (row.fallback.empty() ? "" : " (default " + row.fallback.str() + ")") << "\n";
    return kDone;
  }
  std::string near, text = recipe::explainKey(key, near);
  if (text.empty())
    return fail(kWrongUse, "a recipe has no key '" + key + "'", near.empty() ? "`llmc recipe` lists all" : "did you mean `" + near + "`?");
  llvm::outs() << text;
  return kDone;
}

} // namespace llmc::tool
