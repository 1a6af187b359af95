//===- FolderLock.cpp - one run at a time writes to a folder --------------===//
#include "runtime/io/FolderLock.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <unistd.h>

namespace llmc::runtime {

static std::string holderOf(int descriptor) {
  char text[256];
  ssize_t length = ::pread(descriptor, text, sizeof(text), 0);
  std::string holder(text, length > 0 ? static_cast<size_t>(length) : 0);
  return holder.substr(0, holder.find('\n'));
}

Result<std::unique_ptr<FolderLock>> FolderLock::take(const std::string &folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    return Status::badInput("cannot make the folder '" + folder + "': " + error.message());
  std::string path = folder + "/.lock";
  int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (descriptor < 0)
    return Status::badInput("cannot write to the folder '" + folder + "': " + std::strerror(errno));
  std::unique_ptr<FolderLock> lock(new FolderLock(descriptor));
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK)
      return lock; // a file system without locks
    std::string holder = holderOf(descriptor);
    return Status::wrongUse("'" + folder + "' is in use by another run" + (holder.empty() ? "" : ": " + holder),
                            "wait until it ends, or name another folder with --checkpoint");
  }
  char host[256] = "";
  ::gethostname(host, sizeof(host) - 1);
  std::string text = "process " + std::to_string(::getpid()) + " on " + host + "\n";
  bool written = ::ftruncate(descriptor, 0) == 0 &&
                 ::pwrite(descriptor, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
  if (!written)
    return Status::badInput("cannot write '" + path + "': " + std::strerror(errno));
  return lock;
}

FolderLock::~FolderLock() { ::close(descriptor); }

} // namespace llmc::runtime
