//===- Keys.h - the table of all keys of a recipe ---------------*- C++ -*-===//
//
// One row for each key: what the parser accepts, what `llmc recipe` explains and what docs/recipe.md lists are this table.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_FRONTENDS_RECIPE_KEYS_H
#define LLMC_FRONTENDS_RECIPE_KEYS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include <string>

namespace llmc::recipe {

class Binder;
struct Value;

struct KeyInfo {
  llvm::StringRef path;     // dotted; INPUT, DIMENSION and GLOB stand for the user's names
  llvm::StringRef type;     // in words, with the range
  llvm::StringRef fallback; // the default as it would be written; empty: none, or needed
  llvm::StringRef text;     // what it does, whole sentences
  llvm::StringRef example;  // a line of a recipe
  /// Reads the value at `path`; null for rows below the user's names, which the row above reads.
  void (*read)(const Value &value, const std::string &path, Binder &binder);

  llvm::StringRef name() const { return path.contains('.') ? path.rsplit('.').second : path; }
};

llvm::ArrayRef<KeyInfo> allKeys();

/// The rows directly below `path` ("" for the top).
llvm::SmallVector<const KeyInfo *> keysBelow(llvm::StringRef path);

/// The row of a dotted key; null if there is none.
const KeyInfo *findKey(llvm::StringRef path);

} // namespace llmc::recipe

#endif // LLMC_FRONTENDS_RECIPE_KEYS_H
