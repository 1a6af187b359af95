//===- Roles.cpp - which initializers are trained ------===//
#include "frontends/onnx/Roles.h"
#include "dialects/train/Recipe.h"
#include "frontends/onnx/Uses.h"
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
} // namespace

static bool isReal(const Tensor &tensor) {
  return tensor.type == DType::Float || tensor.type == DType::Double || tensor.type == DType::Float16 ||
         tensor.type == DType::BFloat16;
}

static void judgeByUse(const Model &model, Roles &roles) {
  UseJudge judge(model);
  for (const Tensor &tensor : model.initializers) {
    Verdict verdict = judge.judge(tensor);
    if (verdict.kind == Verdict::Parameter)
      roles.kinds[tensor.name] = Kind::Parameter;
    else if (verdict.kind == Verdict::Buffer)
      roles.kinds[tensor.name] = Kind::Buffer;
    else if (verdict.kind == Verdict::Unclear)
      roles.unclear.push_back(tensor.name);
    if (isReal(tensor))
      roles.reasons[tensor.name] = verdict.reason;
    // Two norms that start with ones are one initializer in files of exporters that look for equal ones; trained as one, they
    // would stay equal.
    if (size_t count = judge.countEqual(tensor); count > 1 && roles.of(tensor.name) != Kind::None)
      roles.merged.emplace_back(tensor.name, count);
  }
}

Roles llmc::onnx::findRoles(const Model &model) {
  Roles roles;
  roles.fromMetadata = model.hasKinds;
  if (!model.hasKinds) {
    judgeByUse(model, roles);
    return roles;
  }
  for (const Tensor &tensor : model.initializers) {
    Kind kind = model.kinds.lookup(tensor.name);
    if (kind != Kind::None)
      roles.kinds[tensor.name] = kind;
    if (kind == Kind::Parameter && model.frozen.contains(tensor.name))
      roles.frozen.insert(tensor.name);
    if (isReal(tensor))
      roles.reasons[tensor.name] = kind == Kind::Parameter ? roles.frozen.contains(tensor.name)
                                                                 ? "a parameter that the module does not train (requires_grad=False)"
                                                                 : "a parameter of the module"
                                   : kind == Kind::Buffer ? "a buffer of the module"
                                                          : "a constant of the graph";
  }
  TieFinder ties(model);
  for (const SignatureEntry &entry : model.signature) {
    if (entry.kind != Kind::Parameter || model.initializer(entry.target))
      continue;
    std::string partner = model.tied.lookup(entry.target);
    if (!model.initializer(partner))
      partner = ties.partner(entry);
    if (partner.empty())
      roles.lost.push_back(entry.target);
    else
      roles.aliases[partner].push_back(entry.target);
  }
  return roles;
}

void llmc::onnx::chooseTrainable(const Model &model, const train::Recipe &recipe, Roles &roles) {
  if (recipe.trainable.empty())
    return;
  auto choose = [&](const std::string &name) {
    roles.kinds[name] = Kind::Parameter;
    roles.reasons[name] = "named by `trainable`";
    llvm::erase(roles.unclear, name);
  };
  for (const std::string &glob : recipe.trainable)
    if (const Tensor *tensor = model.initializer(glob); tensor && isReal(*tensor)) {
      llvm::erase_if(roles.merged, [&](const auto &entry) { return entry.first == glob; });
      if (roles.of(glob) != Kind::Parameter)
        choose(glob);
    }
  bool says = false; // which of them are trained
  for (const std::string &glob : recipe.trainable) {
    if (StringRef(glob).find_first_not_of('*') == StringRef::npos)
      continue;
    says = true;
    for (const std::string &name : std::vector<std::string>(roles.unclear))
      if (train::matchesGlob(glob, name))
        choose(name);
  }
  if (says)
    roles.unclear.clear();
}

static Problem describeMerged(const Roles &roles) {
  std::string message = std::to_string(roles.merged.size()) + " initializers hold equal numbers and are read by several nodes: the exporter "
                                                              "may have merged parameters that were equal, which would stay so";
  for (auto &[name, count] : roles.merged)
    message += "\n  " + name + "  " + std::to_string(count) + " nodes";
  return {message, "",
          "export with frontends/pytorch/export.py, or with torch.onnx.export(..., training=torch.onnx.TrainingMode.TRAINING, "
          "do_constant_folding=False); or name each under `trainable` to train it as one",
          Problem::kUnsupported};
}

Problems llmc::onnx::reportUnclear(const Roles &roles) {
  Problems problems;
  if (!roles.merged.empty())
    problems.push_back(describeMerged(roles));
  if (roles.unclear.empty())
    return problems;
  std::string message = "this file does not say what its parameters are, and of " + std::to_string(roles.unclear.size()) +
                        " initializers their use does not tell whether they are trained";
  constexpr size_t kShown = 20;
  for (auto [i, name] : llvm::enumerate(roles.unclear))
    if (i < kShown)
      message += "\n  " + name + "  " + roles.reasons.at(name);
  if (roles.unclear.size() > kShown)
    message += "\n  and " + std::to_string(roles.unclear.size() - kShown) + " more";
  problems.push_back({message, "",
                      "list what is trained, with those of them that are: `trainable: [\"" + roles.unclear.front() +
                          "\", \"NAME*\"]`; `llmc check` shows all names",
                      Problem::kUnsupported});
  return problems;
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
