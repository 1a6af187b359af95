//===- Manifest.cpp - what a checkpoint says about itself -----------------===//
#include "runtime/io/Manifest.h"
#include "runtime/io/Json.h"
#include "runtime/support/Checked.h"
#include <algorithm>

namespace llmc::runtime {

using Json = nlohmann::json;

static const char *const kFormat1 = "llmc checkpoint 1", *const kFormat2 = "llmc checkpoint 2";
static constexpr size_t kMostDimensions = 32;

static Json describe(const StoredTensors &tensors) {
  Json all = Json::object();
  for (const auto &[name, tensor] : tensors) {
    Json view = Json::array(), parts = Json::array();
    for (const ViewStep &step : tensor.view)
      view.push_back({fb::EnumNameViewKind(step.kind), step.values});
    for (const StoredPart &part : tensor.parts)
      parts.push_back(
          {{"file", part.file}, {"tensor", part.entry}, {"begin", part.box.begin}, {"size", part.box.size}});
    all[name] = {{"type", nameOf(tensor.type)}, {"shape", tensor.shape}, {"view", view}, {"parts", parts}};
  }
  return all;
}

std::string manifestText(const Manifest &manifest) {
  Json json = {{"format", manifest.inParts ? kFormat2 : kFormat1},
               {"step", manifest.step},
               {"seed", manifest.seed},
               {"scalars", manifest.scalars},
               {"plan", manifest.planDigest},
               {"data", manifest.dataIdentity},
               {"files", manifest.files}};
  if (manifest.settings)
    json["settings"] = *manifest.settings;
  if (manifest.inParts)
    json["tensors"] = {{"model", describe(manifest.model)}, {"optimizer", describe(manifest.optimizer)}};
  return json.dump(manifest.inParts ? -1 : 2, ' ', false, Json::error_handler_t::replace) + "\n";
}

static bool parseNumbers(const Json &json, std::vector<int64_t> &numbers) {
  if (!json.is_array())
    return false;
  for (const Json &number : json) {
    if (!number.is_number_unsigned() || number.get<uint64_t>() > INT64_MAX)
      return false;
    numbers.push_back(number.get<int64_t>());
  }
  return true;
}

template <typename E> static std::optional<E> findEnum(const Json &json, const char *const *names) {
  for (uint8_t i = 0; json.is_string() && names[i]; ++i)
    if (json.get<std::string>() == names[i])
      return static_cast<E>(i);
  return std::nullopt;
}

static std::string parseView(const Json &json, std::vector<ViewStep> &view) {
  if (!json.is_array())
    return "its view is no list";
  for (const Json &entry : json) {
    if (!entry.is_array() || entry.size() != 2)
      return "its view is damaged";
    auto kind = findEnum<fb::ViewKind>(entry[0], fb::EnumNamesViewKind());
    ViewStep step{kind.value_or(fb::ViewKind::Reshape), {}};
    if (!kind || !parseNumbers(entry[1], step.values) || step.values.size() > 2 * kMostDimensions)
      return "its view is damaged";
    view.push_back(std::move(step));
  }
  return "";
}

/// `compiled`: the shape of which it is a part.
static std::string parsePart(const Json &json, const Shape &compiled, const Manifest &manifest, StoredPart &part) {
  auto isText = [&](const char *key) { return json.is_object() && json.contains(key) && json[key].is_string(); };
  if (!isText("file") || !isText("tensor") || !json.contains("begin") || !json.contains("size") ||
      !parseNumbers(json["begin"], part.box.begin) || !parseNumbers(json["size"], part.box.size))
    return "a part lacks file, tensor, begin or size";
  part.file = json["file"].get<std::string>();
  part.entry = json["tensor"].get<std::string>();
  if (!manifest.files.count(part.file))
    return "a part lies in '" + part.file + "', which is no file of the checkpoint";
  bool fits = part.box.begin.size() == compiled.size() && part.box.size.size() == compiled.size();
  for (size_t d = 0; fits && d < compiled.size(); ++d)
    fits = (Checked(part.box.begin[d]) + part.box.size[d]).atMost(static_cast<uint64_t>(compiled[d]));
  return fits ? "" : "part '" + part.entry + "' does not lie in it";
}

static std::string parseTensor(const Json &json, const Manifest &manifest, StoredTensor &tensor) {
  if (!json.is_object() || !json.contains("type") || !json.contains("shape") || !json.contains("view") ||
      !json.contains("parts") || !json["parts"].is_array())
    return "needs type, shape, view and parts";
  auto type = findEnum<fb::DataType>(json["type"], fb::EnumNamesDataType());
  if (!type)
    return "its type is unknown";
  tensor.type = *type;
  tensor.typeName = nameOf(*type);
  if (!parseNumbers(json["shape"], tensor.shape) || tensor.shape.size() > kMostDimensions)
    return "its shape is no list of sizes";
  if (std::string problem = parseView(json["view"], tensor.view); !problem.empty())
    return problem;
  Shape compiled = tensor.shape;
  std::string problem;
  if (!applyToShape(tensor.view, compiled, problem))
    return "its view does not fit: " + problem;
  for (const Json &entry : json["parts"]) {
    tensor.parts.emplace_back();
    if (std::string problem = parsePart(entry, compiled, manifest, tensor.parts.back()); !problem.empty())
      return problem;
  }
  return "";
}

static std::string parseTensors(const Json &json, const Manifest &manifest, StoredTensors &tensors) {
  std::string problems;
  if (!json.is_object())
    return "\n  its tensors are not listed";
  for (const auto &[name, entry] : json.items())
    if (std::string problem = parseTensor(entry, manifest, tensors[name]); !problem.empty())
      problems += "\n  tensor '" + name + "': " + problem;
  return problems;
}

/// A name of the kind that saveCheckpoint gives.
static bool isFileName(const std::string &name) {
  return name.size() > 12 && name.ends_with(".safetensors") && name.size() < 100 && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '.'; });
}

std::string parseManifest(Bytes text, Manifest &manifest) {
  std::optional<std::string> twice;
  Json json = parseJson(text.begin(), text.end(), twice);
  if (!json.is_object())
    return "its manifest is damaged";
  if (twice)
    return "its manifest is damaged: it has '" + *twice + "' twice";
  Json format = json.value("format", Json());
  if (format != kFormat1 && format != kFormat2)
    return "its manifest is damaged or of another format";
  manifest.inParts = format == kFormat2;
  auto isCount = [&](const char *key) { return json.contains(key) && json[key].is_number_unsigned(); };
  auto isText = [&](const char *key) { return json.contains(key) && json[key].is_string(); };
  auto isObject = [&](const char *key) { return json.contains(key) && json[key].is_object(); };
  if (!isCount("step") || !isCount("seed") || !isText("plan") || !isText("data") || !isObject("scalars") ||
      !isObject("files") || (manifest.inParts && !isObject("tensors")))
    return "its manifest lacks entries";
  manifest.step = json["step"].get<uint64_t>();
  manifest.seed = json["seed"].get<uint64_t>();
  manifest.planDigest = json["plan"].get<std::string>();
  manifest.dataIdentity = json["data"].get<std::string>();
  auto readNumbers = [&](const char *key, std::map<std::string, double> &numbers) -> std::string {
    for (const auto &[name, value] : json[key].items()) {
      if (!value.is_number())
        return "its scalar '" + name + "' is no number";
      numbers[name] = value.get<double>();
    }
    return "";
  };
  if (std::string problem = readNumbers("scalars", manifest.scalars); !problem.empty())
    return problem;
  if (isObject("settings"))
    if (std::string problem = readNumbers("settings", manifest.settings.emplace()); !problem.empty())
      return problem;
  for (const auto &[name, value] : json["files"].items()) {
    if (!isFileName(name) || !value.is_string())
      return "'" + name + "' is no file with a digest";
    manifest.files[name] = value.get<std::string>();
  }
  if (!manifest.inParts)
    return "";
  std::string problems = parseTensors(json["tensors"].value("model", Json()), manifest, manifest.model) +
                         parseTensors(json["tensors"].value("optimizer", Json()), manifest, manifest.optimizer);
  return problems.empty() ? "" : "its manifest is damaged:" + problems;
}

} // namespace llmc::runtime
