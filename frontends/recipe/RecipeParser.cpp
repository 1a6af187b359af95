//===- RecipeParser.cpp - text or file to ParsedRecipe --------*- C++ -*-===//
#include "frontends/recipe/RecipeParser.h"
#include "frontends/recipe/Binder.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"

using llvm::StringRef;
using namespace llmc;
using namespace llmc::recipe;

std::string ParsedRecipe::where(const std::string &key) const {
  // The nearest key above, if the file does not hold this one.
  for (StringRef path = key; !path.empty(); path = path.contains('.') ? path.rsplit('.').first : "")
    if (auto it = lines.find(path.str()); it != lines.end())
      return file + ":" + std::to_string(it->second);
  return file;
}

void recipe::locate(Problems &problems, const ParsedRecipe &parsed) {
  for (Problem &problem : problems)
    if (!problem.key.empty())
      problem.where = parsed.where(problem.key);
}

/// A file is DeepSpeed's if its name says JSON or a top-level key is one that only DeepSpeed has.
static bool isDeepSpeed(const Value &root, StringRef file) {
  if (file.ends_with(".json"))
    return true;
  static const StringRef telling[] = {"train_batch_size", "train_micro_batch_size_per_gpu", "zero_optimization",
                                      "gradient_accumulation_steps"};
  return llvm::any_of(root.entries, [](const Value::Entry &entry) { return llvm::is_contained(telling, entry.key); });
}

ParsedRecipe recipe::parseRecipe(llvm::MemoryBufferRef buffer) {
  ParsedRecipe out;
  out.file = buffer.getBufferIdentifier().str();
  Value root = parseDocument(buffer, out.problems);
  if (!out.problems.empty())
    return out;
  Binder binder(out);
  if (isDeepSpeed(root, out.file))
    readDeepSpeed(root, binder);
  else
    binder.section(root, "");
  checkCombinations(binder);
  return out;
}

ParsedRecipe recipe::parseRecipeFile(StringRef path) {
  ParsedRecipe out;
  out.file = path.str();
  llvm::sys::fs::file_status status;
  std::error_code error = llvm::sys::fs::status(path, status);
  if (!error && status.type() != llvm::sys::fs::file_type::regular_file) { // a pipe would be waited for
    out.problems.push_back({"the recipe is no file", path.str(), "give a YAML file, or a DeepSpeed JSON file"});
    return out;
  }
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/true);
  if (buffer)
    return parseRecipe(**buffer);
  out.problems.push_back({"cannot read the recipe: " + buffer.getError().message(), path.str(), ""});
  return out;
}
