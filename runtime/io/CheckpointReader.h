//===- CheckpointReader.h - tensors of a checkpoint -------------*- C++ -*-===//
#ifndef LLMC_RUNTIME_IO_CHECKPOINTREADER_H
#define LLMC_RUNTIME_IO_CHECKPOINTREADER_H

#include "runtime/io/Manifest.h"
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace llmc::runtime {

/// A complete checkpoint, written by any number of ranks. Files are mapped when they are first needed.
class CheckpointReader {
public:
  /// Reads the manifest in `folder`. Digests are not checked. Errors: BadInput, all problems at once.
  static Result<CheckpointReader> open(const std::string &folder);

  const std::string &folder() const { return path; }
  const Manifest &manifest() const { return contents; }
  const StoredTensors &model() const { return contents.model; }
  const StoredTensors &optimizer() const { return contents.optimizer; }

  /// Compares files first, first + stride, ... with their digests in the manifest. Errors: BadInput, naming all that are
  /// missing or damaged.
  Status checkDigests(size_t first = 0, size_t stride = 1);

  /// Writes `box` of the compiled form that `view` makes of the tensor: straight from its parts if they are parts of the
  /// same form, otherwise by way of the logical tensor. `name` is for messages. Errors: BadInput if a file or a part is
  /// missing or damaged.
  Status readBox(const std::string &name, const StoredTensor &tensor, const std::vector<ViewStep> &view, const Box &box,
                 void *to);

  /// The logical tensor: mapped bytes, valid as long as this, or bytes in `scratch`. Errors: as `readBox`.
  Result<Bytes> readLogical(const std::string &name, const StoredTensor &tensor, std::vector<uint8_t> &scratch);

private:
  Result<std::shared_ptr<SafetensorsFile>> file(const std::string &name);
  Result<Bytes> part(const StoredTensor &tensor, const StoredPart &part);
  Status listTensors(const std::string &file, StoredTensors &tensors);
  struct Piece {
    Box box;
    Bytes bytes;
  };
  Result<std::vector<Piece>> piecesOf(const std::string &name, const StoredTensor &tensor, const Box &box);
  Status bad(const std::string &what) const { return Status::badInput("checkpoint '" + path + "': " + what); }

  std::string path;
  Manifest contents;
  std::map<std::string, std::shared_ptr<SafetensorsFile>> files;
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_IO_CHECKPOINTREADER_H
