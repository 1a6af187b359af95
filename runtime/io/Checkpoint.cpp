//===- Checkpoint.cpp - folders that a run can continue from --------------===//
//
// Order of writing: all tensor files (each fsync and rename), then the manifest. Order of removing: the manifest first,
// so that a folder is never complete by name and incomplete by content. With several ranks, rank 0 alone makes,
// completes and removes folders, and no rank goes on before all have seen that.
//
//===----------------------------------------------------------------------===//
#include "runtime/io/Checkpoint.h"
#include "runtime/comm/Agree.h"
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>

namespace llmc::runtime {

namespace fs = std::filesystem;

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
    if (folderOf(directory, step) != it->path().string() || !it->is_directory(error))
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

/// True for the names that checkpoints give, finished or not.
static bool isOurs(std::string name) {
  if (name.ends_with(".tmp"))
    name.resize(name.size() - 4);
  if (name == "model.safetensors" || name == "optimizer.safetensors" || name == "manifest.json")
    return true;
  return name.starts_with("rank-") && name.ends_with(".safetensors") && name.size() > 17 &&
         std::all_of(name.begin() + 5, name.end() - 12, [](unsigned char c) { return std::isdigit(c); });
}

/// Empties the folder of a checkpoint, the manifest first.
static void clearFolder(const std::string &folder) {
  std::error_code error;
  if (fs::remove(folder + "/manifest.json", error))
    (void)syncDirectory(folder);
  std::vector<fs::path> files;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (isOurs(it->path().filename().string()))
      files.push_back(it->path());
  for (const fs::path &file : files)
    fs::remove(file, error);
}

static void removeCheckpoint(const std::string &folder) {
  std::error_code error;
  clearFolder(folder);
  fs::remove(folder, error);
}

/// Makes the folder of a step, without what an earlier attempt left there.
static Status beginCheckpoint(const std::string &folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
    return Status::badInput("cannot make the folder '" + folder + "': " + error.message());
  clearFolder(folder);
  return Status::success();
}

/// Writes the manifest, then removes what is too old or unfinished.
static Status completeCheckpoint(const std::string &directory, const std::string &folder, const Manifest &manifest) {
  auto file = DurableFile::create(folder + "/manifest.json");
  if (!file.ok())
    return file.status();
  if (Status status = (*file)->write(manifestText(manifest)); !status.ok())
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

Status saveCheckpoint(const std::string &directory, Manifest manifest, const std::vector<TensorToWrite> &model,
                      const std::vector<TensorToWrite> &optimizer) {
  std::string folder = folderOf(directory, manifest.step);
  if (Status status = beginCheckpoint(folder); !status.ok())
    return status;
  std::string digest;
  if (Status status = writeSafetensors(folder + "/model.safetensors", model, &digest); !status.ok())
    return status;
  manifest.files["model.safetensors"] = digest;
  if (Status status = writeSafetensors(folder + "/optimizer.safetensors", optimizer, &digest); !status.ok())
    return status;
  manifest.files["optimizer.safetensors"] = digest;
  return completeCheckpoint(directory, folder, manifest);
}

std::string shardName(uint32_t rank) {
  char name[32];
  std::snprintf(name, sizeof(name), "rank-%05u.safetensors", rank);
  return name;
}

Status saveShards(const std::string &directory, Manifest manifest, const std::vector<TensorToWrite> &parts,
                  World &world) {
  std::string folder = folderOf(directory, manifest.step), digest;
  bool leads = world.rank() == 0;
  if (Status status = agree(&world, leads ? beginCheckpoint(folder) : Status::success()); !status.ok())
    return status;
  Status written =
      parts.empty() ? Status::success() : writeSafetensors(folder + "/" + shardName(world.rank()), parts, &digest);
  if (Status status = agree(&world, written); !status.ok())
    return status;
  auto digests = gatherTexts(world, digest);
  if (!digests.ok())
    return digests.status();
  for (uint32_t rank = 0; rank < world.size(); ++rank)
    if (!(*digests)[rank].empty())
      manifest.files[shardName(rank)] = (*digests)[rank];
  manifest.inParts = true;
  return agree(&world, leads ? completeCheckpoint(directory, folder, manifest) : Status::success());
}

/// Opens a checkpoint. All ranks do so, check digests in turn, and agree.
static Result<CheckpointReader> openShared(const std::string &folder, World *world) {
  auto reader = CheckpointReader::open(folder);
  Status status =
      reader.ok() ? reader->checkDigests(world ? world->rank() : 0, world ? world->size() : 1) : reader.status();
  status = agree(world, status);
  if (!status.ok())
    return status;
  return reader;
}

Result<CheckpointReader> openCheckpoint(const std::string &folder) { return openShared(folder, nullptr); }

/// Rank 0's list of steps, on all ranks.
static Result<std::vector<uint64_t>> sharedSteps(const std::string &directory, World *world) {
  std::vector<uint64_t> steps = listSteps(directory);
  if (!world)
    return steps;
  std::string text(reinterpret_cast<const char *>(steps.data()), steps.size() * sizeof(uint64_t));
  auto texts = gatherTexts(*world, world->rank() == 0 ? text : "");
  if (!texts.ok())
    return texts.status();
  steps.resize((*texts)[0].size() / sizeof(uint64_t));
  std::memcpy(steps.data(), (*texts)[0].data(), steps.size() * sizeof(uint64_t));
  return steps;
}

Result<std::optional<CheckpointReader>> openNewestCheckpoint(const std::string &directory,
                                                             std::vector<std::string> &notes, World *world) {
  auto steps = sharedSteps(directory, world);
  if (!steps.ok())
    return steps.status();
  for (uint64_t step : *steps) {
    auto checkpoint = openShared(folderOf(directory, step), world);
    if (checkpoint.ok() && checkpoint->manifest().step == step)
      return std::optional<CheckpointReader>(std::move(*checkpoint));
    if (!checkpoint.ok() && checkpoint.status().code != StatusCode::BadInput)
      return checkpoint.status();
    notes.push_back(checkpoint.ok() ? "checkpoint '" + folderOf(directory, step) + "' says that it is of another step"
                                    : checkpoint.status().message);
  }
  if (!steps->empty())
    return Status::badInput("all checkpoints in '" + directory + "' are damaged: " + notes.back());
  return std::optional<CheckpointReader>();
}

} // namespace llmc::runtime
