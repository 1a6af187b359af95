//===- Manifest.h - what a checkpoint says about itself ---------*- C++ -*-===//
// "scalars" holds what the run had (step, lr, ...), "settings" those of them that --set has set: the others are the plan's affair.
//
// Format 1, one rank: all tensors lie whole in two files, which say themselves what they hold.
// Format 2, several ranks: the manifest lists each tensor with its parts.
//   "tensors": {"model": {NAME: {"type": "F32", "shape": [8, 24], "view": [["Reshape", [8, 3, 8]]],
//                                "parts": [{"file": "rank-00001.safetensors", "tensor": "NAME#1", "begin": [0, 0, 4],
//                                "size": [8, 3, 4]}]}},
//               "optimizer": ...}
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_RUNTIME_IO_MANIFEST_H
#define LLMC_RUNTIME_IO_MANIFEST_H

#include "runtime/io/Safetensors.h"
#include "runtime/plan/Part.h"
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace llmc::runtime {

/// A box of a tensor's compiled form: tensor `entry` of a file of the checkpoint.
struct StoredPart {
  std::string file, entry;
  Box box;
};

/// A tensor of a checkpoint.
struct StoredTensor {
  bool supported = true; // false: an element type that this runtime lacks; `type` is meaningless then
  fb::DataType type = fb::DataType::F32;
  std::string typeName;
  Shape shape; // logical
  std::vector<ViewStep> view;
  std::vector<StoredPart> parts;
};
using StoredTensors = std::map<std::string, StoredTensor>;

struct Manifest {
  uint64_t step = 0; // finished steps
  uint64_t seed = 0;
  std::map<std::string, double> scalars;
  std::optional<std::map<std::string, double>> settings; // those that --set has set; unknown in older checkpoints
  std::string planDigest, dataIdentity;
  std::map<std::string, std::string> files; // digests by name
  bool inParts = false;                     // format 2: the tensors are known without the files
  StoredTensors model, optimizer;
};

std::string manifestText(const Manifest &manifest);

/// Reads a manifest. Everything in it is checked: files lie in its folder, parts lie in their tensors. Returns the
/// problems, empty if there are none.
std::string parseManifest(Bytes text, Manifest &manifest);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_IO_MANIFEST_H
