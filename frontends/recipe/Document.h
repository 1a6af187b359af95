//===- Document.h - a YAML or JSON text as a tree with line numbers ------*- C++ -*-===//
#ifndef LLMC_FRONTENDS_RECIPE_DOCUMENT_H
#define LLMC_FRONTENDS_RECIPE_DOCUMENT_H

#include "frontends/Problem.h"
#include "llvm/Support/MemoryBufferRef.h"
#include <string>
#include <utility>
#include <vector>

namespace llmc::recipe {

/// One value of the text, with the line it begins on (from 1).
struct Value {
  enum Kind { Null, Scalar, List, Map } kind = Null;
  unsigned line = 1;
  std::string scalar;  // Scalar: the text without quotes
  bool quoted = false; // Scalar: stood in quotes, so never a number
  std::vector<Value> items;
  struct Entry;
  std::vector<Entry> entries; // Map: in the order of the text

  /// "a list", "text", ... for error messages.
  std::string describe() const;
};

struct Value::Entry {
  std::string key;
  unsigned line;
  Value value;
};

/// Parses YAML 1.2 (hence JSON too) without aliases and tags. Nesting is limited to 64 levels and the size to 1 MiB, since
/// the parser recurses. Problems name `file`:line; the tree is then incomplete.
Value parseDocument(llvm::MemoryBufferRef buffer, Problems &problems);

} // namespace llmc::recipe

#endif // LLMC_FRONTENDS_RECIPE_DOCUMENT_H
