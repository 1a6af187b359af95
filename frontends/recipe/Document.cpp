//===- Document.cpp - a YAML or JSON text as a tree with line numbers ----*- C++ -*-===//
#include "frontends/recipe/Document.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/YAMLParser.h"

using llvm::StringRef;
using namespace llmc;
using namespace llmc::recipe;

static constexpr size_t kMaxBytes = 1 << 20;
static constexpr unsigned kMaxDepth = 64;

std::string Value::describe() const {
  switch (kind) {
  case Null:
    return "nothing";
  case Scalar:
    return "`" + scalar + "`";
  case List:
    return "a list";
  case Map:
    return "a mapping";
  }
  return "";
}

/// The line (from 1) on which nesting may exceed the limit, 0 if none. A block level needs a column of indentation or an
/// indicator in front of the first word of its line; a flow level needs a bracket.
static unsigned tooDeepAt(StringRef text) {
  unsigned line = 1;
  int flow = 0;
  while (!text.empty()) {
    auto [current, rest] = text.split('\n');
    size_t comment = current.starts_with("#") ? 0 : current.find(" #");
    current = current.take_front(comment);
    size_t lead = std::min(current.find_first_not_of(" \t-?:"), current.size());
    for (char c : current) {
      flow += (c == '[' || c == '{') - (c == ']' || c == '}');
      flow = std::max(flow, 0);
      if (flow > static_cast<int>(kMaxDepth))
        return line;
    }
    if (flow == 0 && lead > 2 * kMaxDepth)
      return line;
    text = rest;
    ++line;
  }
  return 0;
}

namespace {
class Converter {
public:
  Converter(llvm::MemoryBufferRef buffer, Problems &problems) : file(buffer.getBufferIdentifier()), problems(problems) {
    sm.setDiagHandler(
        [](const llvm::SMDiagnostic &diag, void *self) {
          auto &c = *static_cast<Converter *>(self);
          c.report(diag.getLineNo() < 1 ? 1 : diag.getLineNo(), "not valid YAML: " + diag.getMessage().str(), "");
        },
        this);
  }

  Value run(llvm::MemoryBufferRef buffer) {
    llvm::yaml::Stream stream(buffer, sm, /*ShowColors=*/false);
    Value root;
    auto doc = stream.begin();
    if (doc == stream.end())
      return root;
    if (llvm::yaml::Node *node = doc->getRoot())
      root = convert(node, 0);
    if (!stream.failed() && problems.empty() && ++doc != stream.end())
      report(root.line, "the file holds more than one document", "remove the `---` line and what follows");
    return root;
  }

private:
  unsigned lineOf(llvm::yaml::Node *node) {
    llvm::SMLoc loc = node->getSourceRange().Start;
    return loc.isValid() ? sm.getLineAndColumn(loc).first : 1;
  }

  void report(unsigned line, const llvm::Twine &message, const llvm::Twine &hint) {
    if (problems.size() < 50)
      problems.push_back({message.str(), (file + ":" + llvm::Twine(line)).str(), hint.str()});
  }

  Value convert(llvm::yaml::Node *node, unsigned depth) {
    Value value;
    value.line = lineOf(node);
    if (depth > kMaxDepth) {
      report(value.line, "nested too deeply", "a recipe needs no more than 4 levels");
      return value;
    }
    llvm::SmallString<64> storage;
    if (auto *scalar = llvm::dyn_cast<llvm::yaml::ScalarNode>(node)) {
      StringRef raw = scalar->getRawValue();
      value.kind = Value::Scalar;
      value.quoted = raw.starts_with("\"") || raw.starts_with("'");
      value.scalar = scalar->getValue(storage).str();
      if (!value.quoted && (value.scalar == "~" || value.scalar == "null" || value.scalar.empty()))
        value.kind = Value::Null;
    } else if (auto *block = llvm::dyn_cast<llvm::yaml::BlockScalarNode>(node)) {
      value.kind = Value::Scalar;
      value.quoted = true;
      value.scalar = block->getValue().str();
    } else if (auto *list = llvm::dyn_cast<llvm::yaml::SequenceNode>(node)) {
      value.kind = Value::List;
      for (llvm::yaml::Node &item : *list)
        value.items.push_back(convert(&item, depth + 1));
    } else if (auto *map = llvm::dyn_cast<llvm::yaml::MappingNode>(node)) {
      value.kind = Value::Map;
      convertMap(map, value, depth);
    } else if (llvm::isa<llvm::yaml::AliasNode>(node)) {
      report(value.line, "aliases (`*name`) are not supported", "put a value that begins with `*` in quotes");
    }
    return value;
  }

  void convertMap(llvm::yaml::MappingNode *map, Value &value, unsigned depth) {
    for (llvm::yaml::KeyValueNode &pair : *map) {
      auto *key = llvm::dyn_cast_or_null<llvm::yaml::ScalarNode>(pair.getKey());
      if (!key) {
        report(value.line, "a key must be a word or quoted text", "put a key that begins with `*` in quotes");
        pair.skip();
        continue;
      }
      llvm::SmallString<64> storage;
      Value::Entry entry{key->getValue(storage).str(), lineOf(key), {}};
      if (llvm::yaml::Node *node = pair.getValue())
        entry.value = convert(node, depth + 1);
      if (entry.value.kind == Value::Null)
        entry.value.line = entry.line;
      value.entries.push_back(std::move(entry));
    }
  }

  StringRef file;
  Problems &problems;
  llvm::SourceMgr sm;
};
} // namespace

Value recipe::parseDocument(llvm::MemoryBufferRef buffer, Problems &problems) {
  StringRef text = buffer.getBuffer();
  std::string file = buffer.getBufferIdentifier().str();
  if (text.size() > kMaxBytes) {
    problems.push_back({"the file is larger than 1 MiB", file, "a recipe is a short text; is this the right file?"});
    return {};
  }
  if (text.contains('\0')) {
    problems.push_back({"the file is not text", file, "is this the right file?"});
    return {};
  }
  if (unsigned line = tooDeepAt(text)) {
    problems.push_back({"nested too deeply", file + ":" + std::to_string(line), "a recipe needs no more than 4 levels"});
    return {};
  }
  return Converter(buffer, problems).run(buffer);
}
