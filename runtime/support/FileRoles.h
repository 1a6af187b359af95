//===- FileRoles.h - what a command reads and what it writes ----*- C++ -*-===//
//
// Every tool declares here, before it does anything, all files that it reads and all that it writes: nothing that is read is
// written over, no two outputs share a name, and what cannot be written is said before the work and not after it.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_RUNTIME_SUPPORT_FILEROLES_H
#define LLMC_RUNTIME_SUPPORT_FILEROLES_H

#include "runtime/support/Status.h"
#include <string>
#include <sys/types.h>
#include <vector>

namespace llmc::runtime {

class FileRoles {
public:
  /// `what` is how messages call the file: "the plan", "--data". An empty path is no file.
  void reads(const std::string &path, const std::string &what);
  /// A file that appears, or that is written over if it is there, and its temporary name beside it.
  void writes(const std::string &path, const std::string &what);
  /// The same for a file that may be written in the end, such as a log: whether it can be is not tried.
  void mayWrite(const std::string &path, const std::string &what);
  /// A folder of checkpoints, made if it is missing.
  void writesFolder(const std::string &path, const std::string &what);
  /// A folder of checkpoints, or a checkpoint, that is read.
  void readsFolder(const std::string &path, const std::string &what);

  /// Tries each output without changing anything that is there. Errors: WrongUse if a written file is also read, under whatever
  /// name (links), is written twice, or lies inside of a checkpoint; BadInput if one cannot be written, or if a read one is a
  /// pipe, a device or a folder. All of one kind at once, WrongUse first.
  Status check() const;

private:
  enum class Role { Reads, Writes, MayWrite, WritesFolder, ReadsFolder };
  struct Entry {
    Role role;
    std::string path, what;
  };
  static bool isWritten(Role role) { return role == Role::Writes || role == Role::MayWrite; }
  std::string conflicts() const;
  std::vector<Entry> entries;
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_SUPPORT_FILEROLES_H
