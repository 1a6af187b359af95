//===- Safetensors.h - reads and writes safetensors files -------*- C++ -*-===//
//
// The format: 8 bytes little-endian header length, a JSON header {name: {dtype, shape, data_offsets}}, then the data.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_RUNTIME_IO_SAFETENSORS_H
#define LLMC_RUNTIME_IO_SAFETENSORS_H

#include "runtime/io/Numbers.h"
#include "runtime/plan/View.h"
#include "runtime/support/File.h"
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace llmc::runtime {

struct TensorInfo {
  bool supported = false; // false: an element type that this runtime lacks; `type` is meaningless then
  fb::DataType type = fb::DataType::F32;
  std::string typeName; // as in the file
  Shape shape;
  uint64_t begin = 0, end = 0; // bytes within the data
};

/// A safetensors file, mapped and checked: header, types, sizes, offsets without overlap or gap, no bytes missing or left.
class SafetensorsFile {
public:
  /// Errors: BadInput, all problems at once.
  static Result<std::shared_ptr<SafetensorsFile>> open(const std::string &path);

  const std::map<std::string, TensorInfo> &tensors() const { return entries; }
  const TensorInfo *find(const std::string &name) const;
  Bytes data(const TensorInfo &info) const { return content.subspan(info.begin, info.end - info.begin); }
  const std::string &path() const { return file->path(); }
  /// The whole file.
  Bytes bytes() const { return file->bytes(); }

private:
  std::shared_ptr<MappedFile> file;
  Bytes content;
  std::map<std::string, TensorInfo> entries;
};

/// One tensor to write. `fetch` returns its bytes (row-major), which may lie in `scratch`, or the error that ends the writing.
struct TensorToWrite {
  std::string name;
  fb::DataType type;
  Shape shape;
  std::function<Result<Bytes>(std::vector<uint8_t> &scratch)> fetch;
};

/// Writes a file that appears under `path` only when whole and on disk; equal tensors give equal bytes. On success
/// `digest`, if not null, is the XXH3-128 of the file. Errors: BadInput if the file cannot be written.
Status writeSafetensors(const std::string &path, const std::vector<TensorToWrite> &tensors, std::string *digest = nullptr);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_IO_SAFETENSORS_H
