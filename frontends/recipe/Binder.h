//===- Binder.h - typed access to a parsed document, with every problem collected ---*- C++ -*-===//
#ifndef LLMC_FRONTENDS_RECIPE_BINDER_H
#define LLMC_FRONTENDS_RECIPE_BINDER_H

#include "frontends/recipe/Document.h"
#include "frontends/recipe/RecipeParser.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include <functional>
#include <optional>

namespace llmc::recipe {

/// One allowed key of a mapping and what reads its value.
struct Key {
  llvm::StringRef name;
  std::function<void(const Value &)> read;
};

/// Reads values of the expected type, or reports with the line what was expected.
class Binder {
public:
  explicit Binder(ParsedRecipe &out) : out(out) {}

  void problem(unsigned line, const std::string &message, const std::string &hint = "");

  /// Calls the reader of each entry. Unknown keys are reported with the nearest valid one, repeated keys with the line of
  /// the first. `path` is the dotted prefix ("optimizer."), empty at the top.
  void mapping(const Value &value, const std::string &path, llvm::ArrayRef<Key> keys);
  /// The same with the rows of the table of keys below `path`, "" for the top.
  void section(const Value &value, const std::string &path);
  /// A mapping from names of the user's, each of them once. `key` and `what` are for messages: "input", "source".
  void freeMapping(const Value &value, const std::string &path, llvm::StringRef key, llvm::StringRef what,
                   llvm::function_ref<void(const Value::Entry &)> read);

  /// The single key of `{kind: {...}}`, or a bare word `kind`; reports and returns null for anything else.
  const Value::Entry *choice(const Value &value, const std::string &path, llvm::ArrayRef<llvm::StringRef> kinds,
                             Value::Entry &storage);

  // Each of these leaves `into` alone on a problem, and may return whether there was none. `name` is the dotted key.
  void number(const Value &value, const std::string &name, double &into, double low, double high, bool openLow = false);
  bool integer(const Value &value, const std::string &name, int64_t &into, int64_t low, int64_t high = INT64_MAX);
  void boolean(const Value &value, const std::string &name, bool &into);
  void text(const Value &value, const std::string &name, std::string &into);
  void word(const Value &value, const std::string &name, std::string &into, llvm::ArrayRef<llvm::StringRef> allowed);
  bool texts(const Value &value, const std::string &name, std::vector<std::string> &into);
  /// Bytes: a number with a unit (B, KB, MB, GB, TB, KiB, MiB, GiB, TiB), which 0 may lack; `low` is 0 or 1.
  void bytes(const Value &value, const std::string &name, std::optional<int64_t> &into, int64_t low = 1);

  ParsedRecipe &out;
};

/// The entry of `valid` with the smallest edit distance to `word` if it is close enough to be meant, else "".
std::string nearest(llvm::StringRef word, llvm::ArrayRef<llvm::StringRef> valid);

/// A finite number if the whole of `text` is one.
std::optional<double> parseNumber(llvm::StringRef text);

/// "a, b or c".
std::string listOf(llvm::ArrayRef<llvm::StringRef> words);

/// The checks across keys (batch sizes that divide, schedules with an end, ...).
void checkCombinations(Binder &binder);
/// The DeepSpeed grammar.
void readDeepSpeed(const Value &root, Binder &binder);

} // namespace llmc::recipe

#endif // LLMC_FRONTENDS_RECIPE_BINDER_H
