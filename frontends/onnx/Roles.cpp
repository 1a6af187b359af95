//===- Roles.cpp - which initializers are trained ------===//
#include "frontends/onnx/Roles.h"
#include "dialects/train/Recipe.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"

using llvm::StringRef;
using namespace llmc;
using namespace llmc::onnx;

namespace {
/// Decides for each parameter that is in the signature only whether it is tied to another one.
class TieFinder {
public:
  explicit TieFinder(const Model &model) : model(model) {
    for (auto [i, entry] : llvm::enumerate(model.signature))
      place[entry.target] = i;
    for (const Node &node : model.nodes) {
      collectPlaceholders(node.fxNode);
      // The innermost module; the last scope is the call itself.
      if (node.scopes.size() >= 2)
        for (const std::string &input : node.inputs)
          if (model.initializer(input))
            usedIn[node.scopes[node.scopes.size() - 2]].push_back(input);
    }
  }

  /// The parameter that `entry` is another name of; empty if it is lost.
  std::string partner(const SignatureEntry &entry) const {
    if (placeholders.contains(entry.placeholder))
      return ""; // a node was called with it, and now reads something else
    auto [module, leaf] = StringRef(entry.target).rsplit('.');
    size_t own = place.lookup(entry.target);
    auto isLater = [&](StringRef name) {
      auto it = place.find(name);
      return model.kinds.lookup(name) == Kind::Parameter && it != place.end() && it->second > own;
    };
    if (auto it = usedIn.find(module); it != usedIn.end())
      for (const std::string &name : it->second)
        if (isLater(name) && StringRef(name).rsplit('.').first != module)
          return name;
    for (const SignatureEntry &other : model.signature)
      if (isLater(other.target) && StringRef(other.target).starts_with((module + ".").str()) &&
          StringRef(other.target).rsplit('.').second == leaf)
        return other.target;
    return "";
  }

private:
  /// Records the names after `%` in the text of an exported program's node.
  void collectPlaceholders(StringRef text) {
    size_t at = text.find('(');
    while ((at = text.find('%', at)) != StringRef::npos) {
      StringRef name = text.drop_front(at + 1).take_while([](char c) { return llvm::isAlnum(c) || c == '_'; });
      if (!name.empty())
        placeholders.insert(name);
      ++at;
    }
  }

  const Model &model;
  llvm::StringSet<> placeholders;
  llvm::StringMap<size_t> place;
  llvm::StringMap<std::vector<std::string>> usedIn;
};

/// Finds parameters by how they are used.
class UseFinder {
public:
  explicit UseFinder(const Model &model) : model(model) {
    for (const Node &node : model.nodes)
      for (auto [i, input] : llvm::enumerate(node.inputs))
        if (!input.empty())
          uses[input].push_back({&node, i});
  }

  Kind kindOf(const Tensor &tensor) const {
    bool real = tensor.type == DType::Float || tensor.type == DType::Double || tensor.type == DType::Float16 ||
                tensor.type == DType::BFloat16;
    return real && !tensor.dims.empty() ? follow(tensor.name, tensor.name, 0) : Kind::None;
  }

private:
  struct Use {
    const Node *node;
    size_t operand;
  };

  Kind follow(StringRef value, StringRef name, unsigned depth) const {
    static const StringRef views[] = {"Transpose", "Reshape",   "Cast",  "CastLike", "Identity",
                                      "Squeeze",   "Unsqueeze", "Split", "Slice",    "Expand"};
    auto it = uses.find(value);
    if (it == uses.end() || depth > 8)
      return Kind::None;
    for (const Use &use : it->second) {
      StringRef op = use.node->op;
      bool first = use.operand == 0;
      if (op == "BatchNormalization" && use.operand >= 3)
        return Kind::Buffer;
      bool weight = op == "MatMul" || op == "Gemm" || op == "Einsum" || (op == "Gather" && first) ||
                    (op == "GatherND" && first) ||
                    (!first && (op == "Conv" || op == "ConvTranspose" || op == "PRelu" || op.ends_with("Normalization")));
      bool named = (op == "Add" || op == "Mul" || op == "Sub" || op == "Concat" || op == "Expand") && name.contains('.');
      if (weight || named)
        return Kind::Parameter;
      if (first && llvm::is_contained(views, op))
        for (const std::string &output : use.node->outputs)
          if (Kind kind = follow(output, name, depth + 1); kind != Kind::None)
            return kind;
    }
    return Kind::None;
  }

  const Model &model;
  llvm::StringMap<std::vector<Use>> uses;
};
} // namespace

Roles llmc::onnx::findRoles(const Model &model) {
  Roles roles;
  roles.fromMetadata = model.hasKinds;
  if (!model.hasKinds) {
    UseFinder finder(model);
    for (const Tensor &tensor : model.initializers)
      if (Kind kind = finder.kindOf(tensor); kind != Kind::None)
        roles.kinds[tensor.name] = kind;
    return roles;
  }
  for (const auto &entry : model.kinds)
    if (model.initializer(entry.first()))
      roles.kinds[entry.first()] = entry.second;
  TieFinder ties(model);
  for (const SignatureEntry &entry : model.signature) {
    if (entry.kind != Kind::Parameter || model.initializer(entry.target))
      continue;
    std::string partner = ties.partner(entry);
    if (partner.empty())
      roles.lost.push_back(entry.target);
    else
      roles.aliases[partner].push_back(entry.target);
  }
  return roles;
}

Problems llmc::onnx::reportLost(const Roles &roles, const train::Recipe &recipe) {
  std::vector<std::string> wanted;
  for (const std::string &name : roles.lost)
    if (recipe.trainable.empty() || train::matchesAny(recipe.trainable, {name}))
      wanted.push_back(name);
  if (wanted.empty())
    return {};
  std::string message = std::to_string(wanted.size()) + " parameters of the PyTorch model are not in this file";
  for (const std::string &name : wanted)
    message += "\n  " + name;
  return {{message, "",
           "the exporter merged equal parameters or folded them into constants: export with "
           "torch.onnx.export(..., optimize=False), or before training makes them different",
           Problem::kUnsupported}};
}
