//===- ModelChecks.cpp - what a recipe says of a model's parameters ---===//
#include "frontends/recipe/ModelChecks.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"

using llvm::StringRef;
using namespace llmc;
using namespace llmc::recipe;

/// The longest part of a glob without wildcards, and without dots around it.
static StringRef wordOf(StringRef glob) {
  StringRef longest;
  while (!glob.empty()) {
    StringRef part = glob.take_until([](char c) { return c == '*' || c == '?'; });
    glob = glob.drop_front(std::min(glob.size(), part.size() + 1));
    if (part.trim('.').size() > longest.size())
      longest = part.trim('.');
  }
  return longest;
}

/// How far `word` is from a name or from the nearest run of its parts.
static unsigned distance(StringRef word, StringRef name) {
  unsigned best = StringRef(word.lower()).edit_distance(name.lower());
  llvm::SmallVector<StringRef> parts;
  name.split(parts, '.');
  for (StringRef part : parts)
    best = std::min(best, StringRef(word.lower()).edit_distance(part.lower()));
  return best;
}

namespace {
class ParameterChecks {
public:
  ParameterChecks(const ParsedRecipe &parsed, const std::vector<NamedParameter> &parameters) : parsed(parsed), parameters(parameters) {}

  Problems run() {
    const train::Recipe &r = parsed.recipe;
    if (parsed.has("trainable"))
      for (const std::string &glob : r.trainable)
        mustMatch("trainable", glob);
    bool allFrozen = !parameters.empty() && llvm::all_of(parameters, [](const NamedParameter &p) { return p.isFrozen; });
    if (r.trainable.empty() && allFrozen)
      problems.push_back({"the module trains none of its parameters (requires_grad=False)", parsed.where("trainable"),
                          "name those to train, for example `trainable: [\"" + parameters.front().names.front() + "\"]`"});
    std::string kind = r.optimizer.kind == train::Optimizer::AdamW ? "adamw" : "sgd";
    if (r.optimizer.noDecay)
      for (const std::string &glob : *r.optimizer.noDecay)
        mustMatch("optimizer." + kind + ".no_decay", glob);
    for (const train::Initializer &init : r.init)
      initializer(init);
    for (const train::ParameterSharding &entry : r.sharding)
      sharding(entry);
    return std::move(problems);
  }

private:
  std::vector<const NamedParameter *> matching(const std::string &glob) const {
    std::vector<const NamedParameter *> found;
    for (const NamedParameter &parameter : parameters)
      if (train::matchesAny({glob}, parameter.names))
        found.push_back(&parameter);
    return found;
  }

  bool mustMatch(const std::string &key, const std::string &glob) {
    if (!matching(glob).empty())
      return true;
    problems.push_back({"`" + key + "`: no parameter of the model is called `" + glob + "`", parsed.where(key + "." + glob), hintFor(glob)});
    return false;
  }

  void initializer(const train::Initializer &init) {
    if (!mustMatch("init", init.glob))
      return;
    auto found = matching(init.glob);
    if (llvm::all_of(found, [](auto *p) { return p->hasValue; }))
      problems.push_back({"`init." + init.glob + "` has no effect: the model holds values of all " + std::to_string(found.size()) +
                              " parameters that it names",
                          parsed.where("init." + init.glob), "remove it, or export the model without weights to begin anew"});
  }

  void sharding(const train::ParameterSharding &entry) {
    if (!mustMatch("sharding", entry.glob))
      return;
    for (const NamedParameter *parameter : matching(entry.glob))
      if (parameter->rank != static_cast<int64_t>(entry.dims.size()))
        problems.push_back({"`sharding." + entry.glob + "`: parameter '" + parameter->names.front() + "' has " + std::to_string(parameter->rank) +
                                " dimensions, " + std::to_string(entry.dims.size()) + " are given",
                            parsed.where("sharding." + entry.glob), "give one entry per dimension, {} for one that is whole"});
  }

  /// All names if they are few, else the nearest ones.
  std::string hintFor(StringRef glob) const {
    std::vector<StringRef> names;
    for (const NamedParameter &parameter : parameters)
      for (const std::string &name : parameter.names)
        names.push_back(name);
    constexpr size_t kAll = 12, kNearest = 4;
    if (names.size() <= kAll)
      return "its parameters are " + llvm::join(names, ", ");
    StringRef word = wordOf(glob);
    llvm::stable_sort(names, [&](StringRef a, StringRef b) { return distance(word, a) < distance(word, b); });
    names.resize(kNearest);
    return "the nearest of its names are " + llvm::join(names, ", ") + "; `llmc check` lists all";
  }

  const ParsedRecipe &parsed;
  const std::vector<NamedParameter> &parameters;
  Problems problems;
};
} // namespace

Problems recipe::checkParameters(const ParsedRecipe &parsed, const std::vector<NamedParameter> &parameters) {
  return ParameterChecks(parsed, parameters).run();
}
