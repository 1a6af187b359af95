//===- WeightFiles.cpp - weights of a model by its names ------------------===//
#include "runtime/io/WeightFiles.h"
#include <nlohmann/json.hpp>
#include <set>

namespace llmc::runtime {

using Json = nlohmann::json;

std::string withoutPrefixes(std::string name) {
  for (bool found = true; found;) {
    found = false;
    for (const char *prefix : {"model.", "module.", "_orig_mod.", "transformer."})
      if (std::string text = prefix; name.starts_with(text) && name.size() > text.size()) {
        name.erase(0, text.size());
        found = true;
      }
  }
  return name;
}

Status WeightFiles::openFile(const std::string &path, std::shared_ptr<SafetensorsFile> &file) {
  auto result = SafetensorsFile::open(path);
  if (!result.ok())
    return result.status();
  file = *result;
  files.push_back(file);
  opened.push_back(path);
  return Status::success();
}

Status WeightFiles::openIndex(const std::string &path) {
  auto mapped = MappedFile::open(path);
  if (!mapped.ok())
    return mapped.status();
  opened.push_back(path);
  Bytes text = (*mapped)->bytes();
  Json index = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
    return Status::badInput("'" + path + "' is no index of safetensors files: it has no \"weight_map\"",
                            "give a .safetensors file, or a model.safetensors.index.json as Hugging Face writes it");
  size_t slash = path.rfind('/');
  std::string folder = slash == std::string::npos ? "" : path.substr(0, slash + 1), problems;
  std::map<std::string, std::shared_ptr<SafetensorsFile>> known;
  for (const auto &[name, value] : index["weight_map"].items()) {
    std::string file = value.is_string() ? value.get<std::string>() : "";
    if (!isContainedPath(file)) {
      problems += "\n  tensor '" + name + "' names no file beside the index";
      continue;
    }
    auto [at, isNew] = known.try_emplace(file);
    if (isNew)
      if (Status status = openFile(folder + file, at->second); !status.ok())
        problems += "\n  " + status.message;
    if (!at->second)
      continue;
    if (const TensorInfo *info = at->second->find(name))
      all[name] = {at->second.get(), info, name};
    else
      problems += "\n  '" + file + "' has no tensor '" + name + "'";
  }
  return problems.empty() ? Status::success() : Status::badInput("the weights of '" + path + "' are not complete:" + problems);
}

Result<WeightFiles> WeightFiles::open(const std::string &path) {
  WeightFiles result;
  if (path.ends_with(".json")) {
    if (Status status = result.openIndex(path); !status.ok())
      return status;
    return result;
  }
  if (path.ends_with(".bin") || path.ends_with(".pt") || path.ends_with(".pth") || path.ends_with(".ckpt"))
    return Status::badInput("'" + path + "' is no safetensors file",
                            "convert it: safetensors.torch.save_file(torch.load(FILE), \"model.safetensors\")");
  std::shared_ptr<SafetensorsFile> file;
  if (Status status = result.openFile(path, file); !status.ok())
    return status;
  for (const auto &[name, info] : file->tensors())
    result.all[name] = {file.get(), &info, name};
  return result;
}

WeightFiles::Match WeightFiles::match(const std::vector<Wanted> &wanted) const {
  std::map<std::string, std::vector<const Entry *>> plain; // by name without prefixes
  for (const auto &[name, entry] : all)
    plain[withoutPrefixes(name)].push_back(&entry);
  Match result;
  std::map<std::string, std::string> takenBy;
  for (const Wanted &tensor : wanted) {
    std::vector<std::string> names = {tensor.name};
    names.insert(names.end(), tensor.aliases.begin(), tensor.aliases.end());
    const Entry *found = nullptr;
    for (const std::string &name : names)
      if (auto exact = all.find(name); !found && exact != all.end())
        found = &exact->second;
    bool isExact = found != nullptr;
    for (const std::string &name : names) {
      auto near = plain.find(withoutPrefixes(name));
      if (found || near == plain.end())
        continue;
      if (near->second.size() > 1)
        result.problem += "\n  parameter '" + name + "' may be '" + near->second[0]->name + "' or '" + near->second[1]->name + "'";
      found = near->second[0];
    }
    result.entries.push_back(found ? *found : Entry());
    result.renamed += found && !isExact;
    if (!found)
      continue;
    auto [other, isNew] = takenBy.try_emplace(found->name, tensor.name);
    if (!isNew)
      result.problem += "\n  '" + found->name + "' fits both parameters '" + other->second + "' and '" + tensor.name + "'";
  }
  return result;
}

} // namespace llmc::runtime
