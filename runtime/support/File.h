//===- File.h - mapped input files, durable output files --------*- C++ -*-===//
#ifndef LLMC_RUNTIME_SUPPORT_FILE_H
#define LLMC_RUNTIME_SUPPORT_FILE_H

#include "runtime/support/Status.h"
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace llmc::runtime {

using Bytes = std::span<const uint8_t>;

/// A whole file, mapped read-only; unmapped by the destructor. An empty file is an empty span.
class MappedFile {
public:
  /// Errors: BadInput if the file is missing, unreadable or not a regular file.
  static Result<std::shared_ptr<MappedFile>> open(const std::string &path);
  ~MappedFile();
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;

  Bytes bytes() const { return {data, size}; }
  const std::string &path() const { return name; }

  /// The name of the mapped file that `address` lies in, or null. For signal handlers: takes no lock, allocates nothing.
  static const char *nameAt(const void *address);

private:
  MappedFile() = default;
  std::string name;
  const uint8_t *data = nullptr;
  size_t size = 0;
};

/// A file that appears under its name only when it is whole and on disk: written under a temporary name beside it, then
/// fsync, rename, fsync of the folder. Without `commit` the destructor removes the temporary file. A name that is a device or
/// a pipe is written to as it is.
class DurableFile {
public:
  static Result<std::unique_ptr<DurableFile>> create(const std::string &path);
  ~DurableFile();
  DurableFile(const DurableFile &) = delete;
  DurableFile &operator=(const DurableFile &) = delete;

  Status write(Bytes bytes);
  Status write(const std::string &text) { return write({reinterpret_cast<const uint8_t *>(text.data()), text.size()}); }
  /// Writes zeros until the file's size is a multiple of `alignment`.
  Status alignTo(uint64_t alignment);
  uint64_t size() const { return written; }
  /// Overwrites `bytes` at `offset`, which must have been written before.
  Status rewrite(uint64_t offset, Bytes bytes);
  Status commit();

private:
  DurableFile() = default;
  Status fail(const char *what) const;
  std::string target, temporary; // the temporary name is empty for devices and pipes
  int descriptor = -1;
  uint64_t written = 0;
};

/// Flushes a directory's entries to disk.
Status syncDirectory(const std::string &path);

/// `folder/relative` with symbolic links resolved, if it exists and lies inside `folder`. Errors: BadInput.
Result<std::string> resolveInside(const std::string &folder, const std::string &relative);

/// True for a relative path that never steps above its folder (no empty path, leading slash, `..` or NUL).
bool isContainedPath(const std::string &path);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_SUPPORT_FILE_H
