//===- TokenFile.h - streams of token ids -----------------------*- C++ -*-===//
#ifndef LLMC_RUNTIME_IO_TOKENFILE_H
#define LLMC_RUNTIME_IO_TOKENFILE_H

#include "runtime/support/File.h"
#include <memory>
#include <string>

namespace llmc::runtime {

/// A file of token ids: `.u16` and `.u32` (little endian, nothing else in the file), llm.c's `.bin` (a header of 256
/// 32-bit integers: 20240520, 1, count; then 16-bit ids), anything else as one token per byte.
class TokenFile {
public:
  /// Errors: BadInput if the file is missing, empty, cut, or its header is not llm.c's.
  static Result<std::shared_ptr<TokenFile>> open(const std::string &path);

  uint64_t count() const { return tokens; }
  /// The id at `position` < count().
  int64_t at(uint64_t position) const {
    const uint8_t *p = content.data() + position * width;
    return width == 1 ? p[0] : width == 2 ? p[0] | p[1] << 8 : p[0] | p[1] << 8 | p[2] << 16 | int64_t(p[3]) << 24;
  }
  /// The whole file.
  Bytes bytes() const { return file->bytes(); }
  /// True if tokens are bytes of a text.
  bool isText() const { return width == 1; }
  const std::string &path() const { return file->path(); }

private:
  std::shared_ptr<MappedFile> file;
  Bytes content;
  uint64_t tokens = 0;
  unsigned width = 1;
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_IO_TOKENFILE_H
