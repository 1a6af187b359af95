//===- Checkpoint.h - folders that a run can continue from ------*- C++ -*-===//
//
//   DIR/step-00000100/model.safetensors      parameters by logical name
//                     optimizer.safetensors  NAME.STATE per parameter and state
//                     manifest.json          written last; a folder without it is unfinished
// The manifest holds the digests of both files, so that a damaged checkpoint is noticed.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_RUNTIME_IO_CHECKPOINT_H
#define LLMC_RUNTIME_IO_CHECKPOINT_H

#include "runtime/io/Safetensors.h"
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace llmc::runtime {

/// What a manifest says beside the digests of its files.
struct Manifest {
  uint64_t step = 0; // finished steps
  uint64_t seed = 0;
  std::map<std::string, double> scalars;
  std::string planDigest, dataIdentity;
};

/// A complete checkpoint that passed its digests.
struct Checkpoint {
  std::string folder;
  Manifest manifest;
  std::shared_ptr<SafetensorsFile> model, optimizer;
};

/// Writes a checkpoint below `directory` (made if missing), then removes all but the newest two. A process killed at any
/// moment leaves the older checkpoints usable. Errors: BadInput if something cannot be written.
Status saveCheckpoint(const std::string &directory, const Manifest &manifest, const std::vector<TensorToWrite> &model,
                      const std::vector<TensorToWrite> &optimizer);

/// The steps of the complete checkpoints in `directory`, newest first; damaged ones count.
std::vector<uint64_t> checkpointSteps(const std::string &directory);

/// The newest complete, undamaged checkpoint; nothing if there is none at all. `notes` gets one line per damaged checkpoint
/// passed over. Errors: BadInput if there are complete ones but all are damaged.
Result<std::optional<Checkpoint>> openNewestCheckpoint(const std::string &directory, std::vector<std::string> &notes);

/// Opens the checkpoint in `folder` itself. Errors: BadInput.
Result<Checkpoint> openCheckpoint(const std::string &folder);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_IO_CHECKPOINT_H
