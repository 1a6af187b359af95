//===- FolderLock.h - one run at a time writes to a folder ------*- C++ -*-===//
#ifndef LLMC_RUNTIME_IO_FOLDERLOCK_H
#define LLMC_RUNTIME_IO_FOLDERLOCK_H

#include "runtime/support/Status.h"
#include <memory>
#include <string>

namespace llmc::runtime {

/// Holds the folder's file `.lock`, which says who does. The lock goes with this object, or with the process, however that
/// ends; the file stays.
class FolderLock {
public:
  /// Makes the folder if it is missing. Errors: WrongUse, naming the holder, if another run has the lock; BadInput if the
  /// folder cannot be written to.
  static Result<std::unique_ptr<FolderLock>> take(const std::string &folder);
  ~FolderLock();
  FolderLock(const FolderLock &) = delete;
  FolderLock &operator=(const FolderLock &) = delete;

private:
  explicit FolderLock(int descriptor) : descriptor(descriptor) {}
  int descriptor;
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_IO_FOLDERLOCK_H
