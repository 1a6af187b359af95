//===- WeightFiles.h - weights of a model by its names ----------*- C++ -*-===//
//
// One safetensors file, or several that a `model.safetensors.index.json` names ({"weight_map": {TENSOR: FILE}}, files
// beside it), as one set of tensors.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_RUNTIME_IO_WEIGHTFILES_H
#define LLMC_RUNTIME_IO_WEIGHTFILES_H

#include "runtime/io/Safetensors.h"
#include <map>
#include <string>
#include <vector>

namespace llmc::runtime {

class WeightFiles {
public:
  struct Entry {
    const SafetensorsFile *file = nullptr;
    const TensorInfo *info = nullptr;
    std::string name; // as in the file
  };
  /// A tensor that a model wants: its name and the names of parameters tied to it.
  struct Wanted {
    std::string name;
    std::vector<std::string> aliases;
  };
  struct Match {
    std::vector<Entry> entries; // one per wanted tensor; without a file where there is none
    std::string problem;        // of names that fit several ways; empty if there is none
    size_t renamed = 0;         // found under a name with another prefix
  };

  /// Errors: BadInput if a file is missing or damaged, or lacks a tensor that the index promises; all problems at once.
  static Result<WeightFiles> open(const std::string &path);

  /// The files that were opened, the index included.
  const std::vector<std::string> &paths() const { return opened; }
  const std::map<std::string, Entry> &entries() const { return all; }

  /// Finds each tensor by its own name, by one of its aliases, or by a name that differs only in prefixes that frameworks put
  /// before all names (`model.`, `module.`, `_orig_mod.`, `transformer.`). No two wanted tensors get the same one.
  Match match(const std::vector<Wanted> &wanted) const;

private:
  Status openIndex(const std::string &path);
  Status openFile(const std::string &path, std::shared_ptr<SafetensorsFile> &file);

  std::vector<std::shared_ptr<SafetensorsFile>> files;
  std::vector<std::string> opened;
  std::map<std::string, Entry> all;
};

/// `name` without the prefixes that frameworks put before all names.
std::string withoutPrefixes(std::string name);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_IO_WEIGHTFILES_H
