//===- Summary.cpp - what `llmc check` prints ------===//
#include "frontends/onnx/Summary.h"
#include "frontends/onnx/OpTable.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include <set>

using llvm::StringRef;
using namespace llmc;
using namespace llmc::onnx;

static std::string sizeText(double bytes) {
  static const char *units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  while (bytes >= 1024 && unit < 4) {
    bytes /= 1024;
    ++unit;
  }
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format(unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
  return text;
}

static std::string shapeText(llvm::ArrayRef<int64_t> dims) {
  std::string text = "[";
  for (size_t i = 0; i < dims.size(); ++i)
    text += (i ? ", " : "") + std::to_string(dims[i]);
  return text + "]";
}

static std::string shapeText(llvm::ArrayRef<Dim> dims) {
  std::string text = "[";
  for (size_t i = 0; i < dims.size(); ++i)
    text += (i ? ", " : "") + (dims[i].symbol.empty() ? std::to_string(dims[i].size) : dims[i].symbol);
  return text + "]";
}

/// True if the graph pads or cuts `input` before anything else: labels that it shifts itself.
static bool isShifted(const Model &model, const std::string &input) {
  for (const Node &node : model.nodes)
    if ((node.op == "Pad" || node.op == "Slice") && !node.inputs.empty() && node.inputs[0] == input)
      return true;
  return false;
}

std::string llmc::onnx::suggestSource(const Model &model, const ValueInfo &input) {
  StringRef name = input.name;
  bool labels = name.contains_insensitive("label") || name.contains_insensitive("target");
  bool integers = input.type == DType::Int64 || input.type == DType::Int32;
  if (!integers || input.dims.size() != 2)
    return input.name;
  if (!labels)
    return name.contains_insensitive("id") || name.contains_insensitive("token") ? "tokens" : input.name;
  return isShifted(model, input.name) ? "tokens" : "tokens.next";
}

static void printTensors(const Model &model, const Roles &roles, Kind kind, llvm::raw_ostream &os) {
  int64_t count = 0, elements = 0, bytes = 0;
  size_t width = 0;
  for (const Tensor &tensor : model.initializers)
    if (roles.of(tensor.name) == kind) {
      ++count;
      elements += tensor.elements;
      bytes += tensor.bytes();
      width = std::max(width, tensor.name.size());
    }
  if (count == 0 && kind == Kind::Buffer)
    return;
  os << "\n"
     << (kind == Kind::Parameter ? "trainable parameters: " : "buffers: ") << count << " tensors, "
     << llvm::formatv("{0:N}", elements) << " values, " << sizeText(static_cast<double>(bytes)) << "\n";
  for (const Tensor &tensor : model.initializers) {
    if (roles.of(tensor.name) != kind)
      continue;
    os << "  " << llvm::left_justify(tensor.name, static_cast<unsigned>(width)) << "  " << nameOf(tensor.type) << " "
       << shapeText(tensor.dims) << "  " << sizeText(static_cast<double>(tensor.bytes()));
    if (auto it = roles.aliases.find(tensor.name); it != roles.aliases.end())
      os << "  tied: " << llvm::join(it->second, ", ");
    if (tensor.missing)
      os << "  no data (" << tensor.missingFile << ")";
    os << "\n";
  }
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

static void printOperators(const Model &model, llvm::raw_ostream &os) {
  std::map<std::string, std::pair<size_t, bool>> operators;
  for (const Node &node : model.nodes) {
    auto &entry = operators[node.opName()];
    ++entry.first;
    entry.second = OpTable::get().find(node) != nullptr;
  }
  os << "\noperators: " << model.nodes.size() << " nodes\n";
  for (auto &[name, entry] : operators)
    os << "  " << name << " " << entry.first << (entry.second ? "" : "  not supported") << "\n";
}

void llmc::onnx::printSummary(const Model &model, const Roles &roles, llvm::raw_ostream &os) {
  os << model.path << ": operator set " << model.opset << ", " << sizeText(static_cast<double>(model.fileBytes)) << "\n";
  if (!roles.fromMetadata)
    os << "the file does not say which initializers are parameters: found by how they are used\n";
  if (!roles.unclear.empty())
    os << "unclear whether they are trained: " << llvm::join(roles.unclear, ", ") << "\n";
  printTensors(model, roles, Kind::Parameter, os);
  printTensors(model, roles, Kind::Buffer, os);
  printOperators(model, os);
  os << "\ninputs that a recipe must feed:\n";
  std::string data;
  std::set<std::string> symbols;
  for (const ValueInfo &input : model.inputs) {
    std::string source = suggestSource(model, input);
    data += (data.empty() ? "" : ", ") + input.name + ": " + source;
    os << "  " << input.name << "  " << nameOf(input.type) << " " << shapeText(input.dims) << "\n";
    for (const Dim &dim : input.dims)
      if (!dim.symbol.empty())
        symbols.insert(dim.symbol);
  }
  os << "  for example  data: {" << data << "}\n";
  if (!symbols.empty())
    os << "symbolic dimensions, bound by `shapes` (the first one of an input by `batch`): "
       << llvm::join(symbols, ", ") << "\n";
  os << "outputs:\n";
  for (const ValueInfo &output : model.outputs)
    os << "  " << output.name << "  " << nameOf(output.type) << " " << shapeText(output.dims) << "\n";
}
