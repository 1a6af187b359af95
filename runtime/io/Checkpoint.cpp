//===- Checkpoint.cpp - folders that a run can continue from --------------===//
//
// Order of writing: both tensor files (each fsync and rename), then the manifest. Order of removing: the manifest first, so
// that a folder is never complete by name and incomplete by content.
//
//===----------------------------------------------------------------------===//
#include "runtime/io/Checkpoint.h"
#include "runtime/plan/PlanFile.h"
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace llmc::runtime {

namespace fs = std::filesystem;
using Json = nlohmann::json;

static constexpr size_t kKept = 2;

static std::string folderOf(const std::string &directory, uint64_t step) {
  char name[32];
  std::snprintf(name, sizeof(name), "step-%08llu", static_cast<unsigned long long>(step));
  return directory + "/" + name;
}

/// Steps of the complete checkpoints (those with a manifest), newest first; unfinished folders go to `unfinished`.
static std::vector<uint64_t> listSteps(const std::string &directory, std::vector<std::string> *unfinished = nullptr) {
  std::vector<uint64_t> steps;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    std::string name = it->path().filename().string();
    if (name.rfind("step-", 0) != 0 || name.size() < 6 || name.size() > 24 ||
        !std::all_of(name.begin() + 5, name.end(), [](unsigned char c) { return std::isdigit(c); }))
      continue;
    uint64_t step = std::strtoull(name.c_str() + 5, nullptr, 10);
    if (folderOf(directory, step) != it->path().string())
      continue;
    if (fs::exists(it->path() / "manifest.json", error))
      steps.push_back(step);
    else if (unfinished)
      unfinished->push_back(it->path().string());
  }
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

std::vector<uint64_t> checkpointSteps(const std::string &directory) { return listSteps(directory); }

static void removeCheckpoint(const std::string &folder) {
  std::error_code error;
  fs::remove(folder + "/manifest.json", error);
  (void)syncDirectory(folder);
  for (const char *name : {"model.safetensors", "optimizer.safetensors", "model.safetensors.tmp",
                           "optimizer.safetensors.tmp", "manifest.json.tmp"})
    fs::remove(folder + "/" + name, error);
  fs::remove(folder, error);
}

Status saveCheckpoint(const std::string &directory, const Manifest &manifest, const std::vector<TensorToWrite> &model,
                      const std::vector<TensorToWrite> &optimizer) {
  std::error_code error;
  std::string folder = folderOf(directory, manifest.step);
  fs::create_directories(folder, error);
  if (error)
    return Status::badInput("cannot make the folder '" + folder + "': " + error.message());
  fs::remove(folder + "/manifest.json", error); // the same step again: unfinished until the new manifest
  std::string modelDigest, optimizerDigest;
  if (Status status = writeSafetensors(folder + "/model.safetensors", model, &modelDigest); !status.ok())
    return status;
  if (Status status = writeSafetensors(folder + "/optimizer.safetensors", optimizer, &optimizerDigest); !status.ok())
    return status;
  Json json = {{"format", "llmc checkpoint 1"},
               {"step", manifest.step},
               {"seed", manifest.seed},
               {"scalars", manifest.scalars},
               {"plan", manifest.planDigest},
               {"data", manifest.dataIdentity},
               {"files", {{"model.safetensors", modelDigest}, {"optimizer.safetensors", optimizerDigest}}}};
  auto file = DurableFile::create(folder + "/manifest.json");
  if (!file.ok())
    return file.status();
  if (Status status = (*file)->write(json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"); !status.ok())
    return status;
  if (Status status = (*file)->commit(); !status.ok())
    return status;
  if (Status status = syncDirectory(directory); !status.ok())
    return status;
  std::vector<std::string> unfinished;
  std::vector<uint64_t> steps = listSteps(directory, &unfinished);
  for (size_t i = kKept; i < steps.size(); ++i)
    removeCheckpoint(folderOf(directory, steps[i]));
  for (const std::string &leftover : unfinished)
    removeCheckpoint(leftover);
  return Status::success();
}

/// Reads the manifest's JSON. Returns the problem, empty if there is none.
static std::string parseManifest(const Json &json, Manifest &manifest, std::map<std::string, std::string> &digests) {
  if (!json.is_object() || json.value("format", Json()) != "llmc checkpoint 1")
    return "its manifest is damaged or of another format";
  auto isCount = [&](const char *key) { return json.contains(key) && json[key].is_number_unsigned(); };
  auto isText = [&](const char *key) { return json.contains(key) && json[key].is_string(); };
  if (!isCount("step") || !isCount("seed") || !isText("plan") || !isText("data") || !json.contains("scalars") ||
      !json["scalars"].is_object() || !json.contains("files") || !json["files"].is_object())
    return "its manifest lacks entries";
  manifest.step = json["step"].get<uint64_t>();
  manifest.seed = json["seed"].get<uint64_t>();
  manifest.planDigest = json["plan"].get<std::string>();
  manifest.dataIdentity = json["data"].get<std::string>();
  for (const auto &[name, value] : json["scalars"].items()) {
    if (!value.is_number())
      return "its scalar '" + name + "' is no number";
    manifest.scalars[name] = value.get<double>();
  }
  for (const auto &[name, value] : json["files"].items())
    if (value.is_string())
      digests[name] = value.get<std::string>();
  return "";
}

Result<Checkpoint> openCheckpoint(const std::string &folder) {
  auto bad = [&](const std::string &what) { return Status::badInput("checkpoint '" + folder + "': " + what); };
  auto mapped = MappedFile::open(folder + "/manifest.json");
  if (!mapped.ok())
    return mapped.status();
  Bytes text = (*mapped)->bytes();
  Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  Checkpoint checkpoint;
  checkpoint.folder = folder;
  std::map<std::string, std::string> digests;
  std::string problem = parseManifest(json, checkpoint.manifest, digests);
  if (!problem.empty())
    return bad(problem);
  auto open = [&](const char *name, std::shared_ptr<SafetensorsFile> &file) {
    auto opened = SafetensorsFile::open(folder + "/" + name);
    if (!opened.ok())
      return opened.status();
    file = *opened;
    return digests[name] == digestOf(file->bytes())
               ? Status::success()
               : bad(std::string(name) + " is damaged: its digest does not match the manifest");
  };
  if (Status status = open("model.safetensors", checkpoint.model); !status.ok())
    return status;
  if (Status status = open("optimizer.safetensors", checkpoint.optimizer); !status.ok())
    return status;
  return checkpoint;
}

Result<std::optional<Checkpoint>> openNewestCheckpoint(const std::string &directory, std::vector<std::string> &notes) {
  std::vector<uint64_t> steps = listSteps(directory);
  for (uint64_t step : steps) {
    auto checkpoint = openCheckpoint(folderOf(directory, step));
    if (checkpoint.ok() && checkpoint->manifest.step == step)
      return std::optional<Checkpoint>(std::move(*checkpoint));
    notes.push_back(checkpoint.ok() ? "checkpoint '" + folderOf(directory, step) + "' says that it is of another step"
                                    : checkpoint.status().message);
  }
  if (!steps.empty())
    return Status::badInput("all checkpoints in '" + directory + "' are damaged: " + notes.back());
  return std::optional<Checkpoint>();
}

} // namespace llmc::runtime
