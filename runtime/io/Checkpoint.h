//===- Checkpoint.h - folders that a run can continue from ------*- C++ -*-===//
//
//   DIR/step-00000100/model.safetensors      parameters by logical name
//                     optimizer.safetensors  NAME.STATE per parameter and state
//                     manifest.json          written last; a folder without it is unfinished
// Written by several ranks:
//   DIR/step-00000100/rank-00000.safetensors ... what each rank speaks for, in compiled form
//                     manifest.json          lists each tensor with its parts (Manifest.h)
// The manifest holds the digests of all files, so that a damaged checkpoint is noticed. Any number of ranks reads either.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_RUNTIME_IO_CHECKPOINT_H
#define LLMC_RUNTIME_IO_CHECKPOINT_H

#include "runtime/comm/Communicator.h"
#include "runtime/io/CheckpointReader.h"
#include <optional>
#include <string>
#include <vector>

namespace llmc::runtime {

/// Writes a checkpoint below `directory` (made if missing), then removes all but the newest two. A process killed at any
/// moment leaves the older checkpoints usable. Errors: BadInput if something cannot be written.
Status saveCheckpoint(const std::string &directory, Manifest manifest, const std::vector<TensorToWrite> &model,
                      const std::vector<TensorToWrite> &optimizer);

/// The name of a rank's file.
std::string shardName(uint32_t rank);

/// The same by all ranks of `world` together: each writes `parts`, the entries of its file that `manifest` (equal on all
/// ranks but for the digests) lists; rank 0 writes the manifest when all are done. Errors: the same on all ranks.
Status saveShards(const std::string &directory, Manifest manifest, const std::vector<TensorToWrite> &parts, World &world);

/// The steps of the complete checkpoints in `directory`, newest first; damaged ones count.
std::vector<uint64_t> checkpointSteps(const std::string &directory);

/// The newest complete, undamaged checkpoint; nothing if there is none at all. `notes` gets one line per damaged checkpoint
/// passed over. With a `world` all ranks call it, share the work of checking, and get the same one. Errors: BadInput if
/// there are complete ones but all are damaged.
Result<std::optional<CheckpointReader>> openNewestCheckpoint(const std::string &directory, std::vector<std::string> &notes,
                                                             World *world = nullptr);

/// Opens the checkpoint in `folder` itself, and checks its digests. Errors: BadInput.
Result<CheckpointReader> openCheckpoint(const std::string &folder);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_IO_CHECKPOINT_H
