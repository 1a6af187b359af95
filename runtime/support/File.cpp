//===- File.cpp - mapped input files, durable output files ----------------===//
#include "runtime/support/File.h"
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace llmc::runtime {

static std::string describeErrno(const std::string &what, const std::string &path) {
  return what + " '" + path + "': " + std::strerror(errno);
}

namespace {
/// Where files are mapped, for `nameAt`. A slot is filled name last, and emptied name first.
struct MappedPlace {
  std::atomic<const char *> name{nullptr};
  std::atomic<uintptr_t> begin{0}, end{0};
  std::atomic<bool> taken{false};
};
MappedPlace mappedPlaces[4096]; // more are not told apart
} // namespace

static void notePlace(const char *name, uintptr_t begin, size_t size) {
  for (MappedPlace &place : mappedPlaces)
    if (!place.taken.load(std::memory_order_relaxed) && !place.taken.exchange(true)) {
      place.begin = begin;
      place.end = begin + size;
      place.name = name;
      return;
    }
}

static void forgetPlace(const char *name) {
  for (MappedPlace &place : mappedPlaces)
    if (place.name.load() == name) {
      place.name = nullptr;
      place.taken = false;
      return;
    }
}

const char *MappedFile::nameAt(const void *address) {
  auto at = reinterpret_cast<uintptr_t>(address);
  for (const MappedPlace &place : mappedPlaces)
    if (const char *name = place.name.load(); name && at >= place.begin.load() && at < place.end.load())
      return name;
  return nullptr;
}

Result<std::shared_ptr<MappedFile>> MappedFile::open(const std::string &path) {
  int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0)
    return Status::badInput(describeErrno("cannot open", path));
  struct stat info;
  if (::fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(descriptor);
    return Status::badInput("'" + path + "' is not a regular file");
  }
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->name = path;
  file->size = static_cast<size_t>(info.st_size);
  if (file->size > 0) {
    void *address = ::mmap(nullptr, file->size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (address == MAP_FAILED) {
      Status status = Status::badInput(describeErrno("cannot map", path));
      ::close(descriptor);
      return status;
    }
    file->data = static_cast<const uint8_t *>(address);
    notePlace(file->name.c_str(), reinterpret_cast<uintptr_t>(address), file->size);
  }
  ::close(descriptor);
  return file;
}

MappedFile::~MappedFile() {
  if (data)
    forgetPlace(name.c_str());
  if (data)
    ::munmap(const_cast<uint8_t *>(data), size);
}

Result<std::unique_ptr<DurableFile>> DurableFile::create(const std::string &path) {
  std::unique_ptr<DurableFile> file(new DurableFile);
  file->target = path;
  struct stat info;
  if (::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode))
    return Status::badInput("cannot write '" + path + "': it is a folder");
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    file->descriptor = ::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    if (file->descriptor < 0)
      return Status::badInput(describeErrno("cannot write", path));
    return file;
  }
  file->temporary = path + ".tmp";
  file->descriptor = ::open(file->temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file->descriptor < 0)
    return Status::badInput(describeErrno("cannot write", file->temporary));
  return file;
}

DurableFile::~DurableFile() {
  if (descriptor < 0)
    return;
  ::close(descriptor);
  if (!temporary.empty())
    ::unlink(temporary.c_str());
}

Status DurableFile::fail(const char *what) const { return Status::badInput(describeErrno(what, temporary.empty() ? target : temporary)); }

Status DurableFile::write(Bytes bytes) {
  while (!bytes.empty()) {
    ssize_t count = ::write(descriptor, bytes.data(), std::min<size_t>(bytes.size(), size_t(1) << 30));
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return fail("cannot write");
    bytes = bytes.subspan(static_cast<size_t>(count));
    written += static_cast<uint64_t>(count);
  }
  return Status::success();
}

Status DurableFile::alignTo(uint64_t alignment) {
  static const uint8_t zeros[4096] = {};
  while (written % alignment != 0) {
    uint64_t missing = alignment - written % alignment;
    Status status = write({zeros, static_cast<size_t>(std::min<uint64_t>(missing, sizeof(zeros)))});
    if (!status.ok())
      return status;
  }
  return Status::success();
}

Status DurableFile::rewrite(uint64_t offset, Bytes bytes) {
  while (!bytes.empty()) {
    ssize_t count = ::pwrite(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return fail("cannot write");
    bytes = bytes.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
  return Status::success();
}

Status DurableFile::commit() {
  if (temporary.empty()) {
    ::close(descriptor);
    descriptor = -1;
    return Status::success();
  }
  if (::fsync(descriptor) != 0)
    return fail("cannot flush");
  ::close(descriptor);
  descriptor = -1;
  if (::rename(temporary.c_str(), target.c_str()) != 0) {
    Status status = fail("cannot rename");
    ::unlink(temporary.c_str());
    return status;
  }
  size_t slash = target.rfind('/');
  return syncDirectory(slash == std::string::npos ? "." : slash == 0 ? "/" : target.substr(0, slash));
}

Status syncDirectory(const std::string &path) {
  int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0)
    return Status::badInput(describeErrno("cannot open folder", path));
  int failed = ::fsync(descriptor);
  ::close(descriptor);
  if (failed && errno != EINVAL)
    return Status::badInput(describeErrno("cannot flush folder", path));
  return Status::success();
}

bool isContainedPath(const std::string &path) {
  if (path.empty() || path[0] == '/' || path.find('\0') != std::string::npos)
    return false;
  for (size_t begin = 0; begin <= path.size();) {
    size_t end = std::min(path.find('/', begin), path.size());
    if (path.compare(begin, end - begin, "..") == 0)
      return false;
    begin = end + 1;
  }
  return true;
}

Result<std::string> resolveInside(const std::string &folder, const std::string &relative) {
  if (!isContainedPath(relative))
    return Status::badInput("path '" + relative + "' leaves its folder");
  std::unique_ptr<char, void (*)(void *)> root(::realpath(folder.empty() ? "." : folder.c_str(), nullptr), std::free);
  if (!root)
    return Status::badInput(describeErrno("cannot open folder", folder));
  std::string path = std::string(root.get()) + "/" + relative;
  std::unique_ptr<char, void (*)(void *)> resolved(::realpath(path.c_str(), nullptr), std::free);
  if (!resolved)
    return Status::badInput(describeErrno("cannot open", path));
  std::string prefix = std::string(root.get()) == "/" ? "/" : std::string(root.get()) + "/";
  if (std::string(resolved.get()).compare(0, prefix.size(), prefix) != 0)
    return Status::badInput("'" + path + "' is a link that leaves the folder '" + root.get() + "'");
  return std::string(resolved.get());
}

} // namespace llmc::runtime
