//===- PrintRoles.cpp - which initializers are trained, and why --------------------------===//
#include "frontends/onnx/PrintRoles.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"

using namespace llmc;
using namespace llmc::onnx;

static std::string shapeText(llvm::ArrayRef<int64_t> dims) {
  std::string text = "[";
  for (size_t i = 0; i < dims.size(); ++i)
    text += (i ? ", " : "") + std::to_string(dims[i]);
  return text + "]";
}

void llmc::onnx::printRoles(const Model &model, const Roles &roles, const train::Recipe &recipe, llvm::raw_ostream &os) {
  auto isTrained = [&](const std::string &name) {
    return roles.of(name) == Kind::Parameter &&
           (recipe.trainable.empty()
                ? !roles.frozen.contains(name)
                : llvm::any_of(recipe.trainable, [&](const std::string &glob) { return train::matchesGlob(glob, name); }));
  };
  std::vector<std::string> trained, others;
  size_t width = 0;
  for (const auto &entry : roles.reasons)
    width = std::max(width, std::min<size_t>(entry.first.size(), 48));
  for (const Tensor &tensor : model.initializers) {
    auto it = roles.reasons.find(tensor.name);
    if (it == roles.reasons.end())
      continue;
    std::string reason = it->second;
    bool isParameter = roles.of(tensor.name) == Kind::Parameter, unclear = llvm::is_contained(roles.unclear, tensor.name);
    if (isParameter && !isTrained(tensor.name) && !recipe.trainable.empty())
      reason = "no glob of `trainable` matches it";
    std::string name;
    llvm::raw_string_ostream(name) << llvm::left_justify(tensor.name, static_cast<unsigned>(width));
    std::string line = "  " + name + "  " + shapeText(tensor.dims) + "  " +
                       (unclear ? "unclear, name it under `trainable` if it is to be: " : "") + reason + "\n";
    (isTrained(tensor.name) ? trained : others).push_back(line);
  }
  os << "trained: " << trained.size() << "\n" << llvm::join(trained, "");
  os << "not trained: " << others.size() << "\n" << llvm::join(others, "");
}
