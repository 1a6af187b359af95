//===- Binder.cpp - typed access to a parsed document --------*- C++ -*-===//
#include "frontends/recipe/Binder.h"
#include "frontends/recipe/Keys.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>

using llvm::ArrayRef;
using llvm::StringRef;
using namespace llmc;
using namespace llmc::recipe;

std::string recipe::nearest(StringRef word, ArrayRef<StringRef> valid) {
  unsigned best = std::max<size_t>(2, word.size() / 3) + 1;
  std::string found;
  for (StringRef candidate : valid) {
    unsigned distance = word.lower() == candidate.lower() ? 0 : word.edit_distance(candidate, true, best);
    if (distance < best) {
      best = distance;
      found = candidate.str();
    }
  }
  return found;
}

std::string recipe::listOf(ArrayRef<StringRef> words) {
  if (words.size() > 20)
    return llvm::join(words.take_front(12), ", ") + ", ...";
  std::string text;
  for (size_t i = 0; i < words.size(); ++i)
    text += (i == 0 ? "" : i + 1 == words.size() ? " or " : ", ") + words[i].str();
  return text;
}

std::optional<double> recipe::parseNumber(StringRef text) {
  // StringRef::getAsDouble also takes "nan", "inf" and hexadecimal; a recipe means none of them.
  double value = 0;
  if (text.empty() || text.find_first_not_of("0123456789+-.eE") != StringRef::npos || text.getAsDouble(value) ||
      !std::isfinite(value))
    return std::nullopt;
  return value;
}

/// "for example `...`" for a key of the table; empty for others.
static std::string exampleOf(const std::string &name) {
  const KeyInfo *key = findKey(name);
  if (!key)
    return "";
  size_t end = key->example.rfind('\n'); // the lines before are what the key needs
  return "for example `" + key->example.substr(end + 1).str() + "`";
}

/// Keys of a recipe that have no effect yet.
static const StringRef kPlanned[] = {"pipeline", "quantize", "lora"};

static std::string pretty(double value) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%g", value);
  return text;
}

void Binder::problem(unsigned line, const std::string &message, const std::string &hint) {
  out.problems.push_back({message, out.file + ":" + std::to_string(line), hint});
}

void Binder::mapping(const Value &value, const std::string &path, ArrayRef<Key> keys) {
  llvm::SmallVector<StringRef> names;
  for (const Key &key : keys)
    names.push_back(key.name);
  std::string what = path.empty() ? "the recipe" : "`" + StringRef(path).drop_back().str() + "`";
  if (value.kind != Value::Map) {
    if (value.kind != Value::Null || !path.empty())
      problem(value.line, what + " must be a mapping, got " + value.describe(), "its keys are " + listOf(names));
    return;
  }
  for (const Value::Entry &entry : value.entries) {
    const Key *key = llvm::find_if(keys, [&](const Key &k) { return k.name == entry.key; });
    if (key == keys.end() && path.empty() && llvm::is_contained(kPlanned, entry.key)) {
      problem(entry.line, "`" + entry.key + "` is not supported yet", "remove it");
      continue;
    }
    if (key == keys.end()) {
      std::string close = nearest(entry.key, names);
      problem(entry.line, "unknown key `" + path + entry.key + "`",
              close.empty() ? "the keys here are " + listOf(names) : "did you mean `" + close + "`?");
      continue;
    }
    auto [it, fresh] = out.lines.try_emplace(path + entry.key, entry.line);
    if (!fresh) {
      problem(entry.line, "`" + path + entry.key + "` is given twice",
              "line " + std::to_string(it->second) + " has it too; remove one");
      continue;
    }
    if (entry.value.kind == Value::Null)
      problem(entry.line, "`" + path + entry.key + "` has no value", "give a value or remove the key");
    else
      key->read(entry.value);
  }
}

void Binder::section(const Value &value, const std::string &path) {
  std::vector<Key> keys;
  std::string prefix = path.empty() ? "" : path + ".";
  for (const KeyInfo *row : keysBelow(path))
    keys.push_back({row->name(), [this, row, prefix](const Value &v) { row->read(v, prefix + row->name().str(), *this); }});
  mapping(value, prefix, keys);
}

void Binder::freeMapping(const Value &value, const std::string &path, StringRef key, StringRef what,
                         llvm::function_ref<void(const Value::Entry &)> read) {
  if (value.kind != Value::Map)
    return problem(value.line, ("`" + path + "` must be a mapping from " + key + " to " + what + ", got " + value.describe()).str(), exampleOf(path));
  for (const Value::Entry &entry : value.entries) {
    auto [it, fresh] = out.lines.try_emplace(path + "." + entry.key, entry.line);
    if (!fresh)
      problem(entry.line, "`" + path + "." + entry.key + "` is given twice", "line " + std::to_string(it->second) + " has it too; remove one");
    else if (entry.key.empty())
      problem(entry.line, ("`" + path + "` has an empty name of a" + (key.find_first_of("aeiou") == 0 ? "n " : " ") + key).str(), exampleOf(path));
    else if (entry.value.kind == Value::Null)
      problem(entry.line, "`" + path + "." + entry.key + "` has no value", "give a value or remove the key");
    else
      read(entry);
  }
}

const Value::Entry *Binder::choice(const Value &value, const std::string &path, ArrayRef<StringRef> kinds,
                                   Value::Entry &storage) {
  const Value::Entry *entry = nullptr;
  if (value.kind == Value::Scalar) {
    storage = {value.scalar, value.line, {}};
    storage.value.kind = Value::Map;
    storage.value.line = value.line;
    entry = &storage;
  } else if (value.kind == Value::Map && value.entries.size() == 1) {
    entry = &value.entries.front();
  }
  if (!entry) {
    problem(value.line, "`" + path + "` must name exactly one of " + listOf(kinds) + ", got " + value.describe(), exampleOf(path));
    return nullptr;
  }
  if (!llvm::is_contained(kinds, entry->key)) {
    std::string close = nearest(entry->key, kinds);
    problem(entry->line, "unknown " + path + " `" + entry->key + "`",
            close.empty() ? "choose " + listOf(kinds) : "did you mean `" + close + "`?");
    return nullptr;
  }
  if (entry->value.kind == Value::Null) { // `adamw:` without a value: all defaults
    storage = *entry;
    storage.value.kind = Value::Map;
    entry = &storage;
  }
  return entry;
}

void Binder::number(const Value &value, const std::string &name, double &into, double low, double high, bool openLow) {
  std::optional<double> parsed;
  if (value.kind == Value::Scalar && !value.quoted)
    parsed = parseNumber(value.scalar);
  if (!parsed)
    return problem(value.line, "`" + name + "` must be a number, got " + value.describe(), exampleOf(name));
  if (*parsed < low || (openLow && *parsed == low) || *parsed > high) {
    std::string range = openLow ? "greater than " + pretty(low) : "at least " + pretty(low);
    if (high < 1e300)
      range += " and at most " + pretty(high);
    return problem(value.line, "`" + name + "` must be " + range + ", got " + value.scalar, exampleOf(name));
  }
  into = *parsed;
}

bool Binder::integer(const Value &value, const std::string &name, int64_t &into, int64_t low, int64_t high) {
  int64_t parsed = 0;
  if (value.kind != Value::Scalar || value.quoted || StringRef(value.scalar).getAsInteger(10, parsed)) {
    problem(value.line, "`" + name + "` must be an integer, got " + value.describe(), exampleOf(name));
    return false;
  }
  if (parsed < low || parsed > high) {
    std::string range = "at least " + std::to_string(low);
    if (high != INT64_MAX)
      range += " and at most " + std::to_string(high);
    problem(value.line, "`" + name + "` must be " + range + ", got " + value.scalar, exampleOf(name));
    return false;
  }
  into = parsed;
  return true;
}

void Binder::boolean(const Value &value, const std::string &name, bool &into) {
  if (value.kind == Value::Scalar && !value.quoted && (value.scalar == "true" || value.scalar == "false"))
    into = value.scalar == "true";
  else
    problem(value.line, "`" + name + "` must be true or false, got " + value.describe(), exampleOf(name));
}

void Binder::text(const Value &value, const std::string &name, std::string &into) {
  if (value.kind == Value::Scalar && !value.scalar.empty())
    into = value.scalar;
  else
    problem(value.line, "`" + name + "` must be a word, got " + value.describe(), exampleOf(name));
}

void Binder::word(const Value &value, const std::string &name, std::string &into, ArrayRef<StringRef> allowed) {
  std::string word;
  size_t before = out.problems.size();
  text(value, name, word);
  if (out.problems.size() != before)
    return;
  if (!llvm::is_contained(allowed, word)) {
    std::string close = nearest(word, allowed);
    return problem(value.line, "unknown " + name + " `" + word + "`",
                   close.empty() ? "choose " + listOf(allowed) : "did you mean `" + close + "`?");
  }
  into = word;
}

bool Binder::texts(const Value &value, const std::string &name, std::vector<std::string> &into) {
  std::vector<std::string> read;
  if (value.kind == Value::Scalar)
    read.push_back(value.scalar);
  else if (value.kind == Value::List) {
    for (const Value &item : value.items) {
      if (item.kind != Value::Scalar) {
        problem(item.line, "`" + name + "` must be a list of words, an entry is " + item.describe(), exampleOf(name));
        return false;
      }
      read.push_back(item.scalar);
    }
  } else {
    problem(value.line, "`" + name + "` must be a list of words, got " + value.describe(), exampleOf(name));
    return false;
  }
  into = std::move(read);
  return true;
}

void Binder::bytes(const Value &value, const std::string &name, std::optional<int64_t> &into, int64_t low) {
  StringRef text = value.scalar;
  size_t digits = text.find_first_not_of("0123456789.");
  StringRef unit = digits == StringRef::npos ? "" : text.substr(digits).ltrim();
  double scale = llvm::StringSwitch<double>(unit)
                     .Case("B", 1.0)
                     .Case("KB", 1e3)
                     .Case("MB", 1e6)
                     .Case("GB", 1e9)
                     .Case("TB", 1e12)
                     .Case("KiB", 1024.0)
                     .Case("MiB", 1048576.0)
                     .Case("GiB", 1073741824.0)
                     .Case("TiB", 1099511627776.0)
                     .Default(0);
  std::optional<double> count = parseNumber(text.take_front(digits));
  if (unit.empty() && count && *count == 0)
    scale = 1;
  if (unit.empty() && count && scale == 0)
    return problem(value.line, "`" + name + "` has no unit: " + value.describe(), "write " + text.str() + "MiB, or " + text.str() + "B for bytes");
  if (value.kind != Value::Scalar || !count || scale == 0)
    return problem(value.line, "`" + name + "` must be a size such as 24GiB or 512MB, got " + value.describe(), exampleOf(name));
  double total = *count * scale;
  if (total > 9e18 || (total < 1 && (low > 0 || total > 0)))
    return problem(value.line, "`" + name + "` must be " + (low > 0 ? "" : "0, or ") + "between 1 byte and 9 EB, got " + value.scalar);
  into = static_cast<int64_t>(total);
}
