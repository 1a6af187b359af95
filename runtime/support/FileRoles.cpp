//===- FileRoles.cpp - what a command reads and what it writes ------------===//
#include "runtime/support/FileRoles.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

namespace llmc::runtime {

namespace fs = std::filesystem;

void FileRoles::reads(const std::string &path, const std::string &what) {
  if (!path.empty())
    entries.push_back({Role::Reads, path, what});
}
void FileRoles::writes(const std::string &path, const std::string &what) {
  if (!path.empty())
    entries.push_back({Role::Writes, path, what});
}
void FileRoles::mayWrite(const std::string &path, const std::string &what) {
  if (!path.empty())
    entries.push_back({Role::MayWrite, path, what});
}
void FileRoles::writesFolder(const std::string &path, const std::string &what) {
  if (!path.empty())
    entries.push_back({Role::WritesFolder, path, what});
}
void FileRoles::readsFolder(const std::string &path, const std::string &what) {
  if (!path.empty())
    entries.push_back({Role::ReadsFolder, path, what});
}

/// Absolute, with links resolved as far as the path exists.
static std::string canonical(const std::string &path) {
  std::error_code error;
  fs::path result = fs::weakly_canonical(fs::absolute(path, error), error);
  return error ? path : result.string();
}

/// Whether two paths are, or would be, the same file: by name, or by what is there.
static bool isSame(const std::string &a, const std::string &b) {
  struct stat one, other;
  if (::stat(a.c_str(), &one) == 0 && ::stat(b.c_str(), &other) == 0)
    return one.st_dev == other.st_dev && one.st_ino == other.st_ino;
  return canonical(a) == canonical(b);
}

/// Devices take everything, and may be named as often as one likes.
static bool isDevice(const std::string &path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

/// Whether `path` lies in a checkpoint of `folder`, or in it if it is one itself.
static bool isInCheckpoint(const std::string &path, const std::string &folder) {
  std::string root = canonical(folder), file = canonical(path);
  if (file.compare(0, root.size() + 1, root + "/") != 0)
    return false;
  std::error_code error;
  return file.compare(root.size() + 1, 5, "step-") == 0 || fs::exists(fs::path(root) / "manifest.json", error) ||
         file == root + "/.lock";
}

static std::string quote(const std::string &text) { return "'" + text + "'"; }

/// One line per conflict.
std::string FileRoles::conflicts() const {
  std::string problems;
  for (size_t i = 0; i < entries.size(); ++i) {
    const Entry &written = entries[i];
    if (!isWritten(written.role) || isDevice(written.path))
      continue;
    for (size_t j = 0; j < entries.size(); ++j) {
      const Entry &other = entries[j];
      std::string name = "\n  " + written.what + " " + quote(written.path);
      bool isFolder = other.role == Role::WritesFolder || other.role == Role::ReadsFolder;
      if (i == j || (isWritten(other.role) && j < i))
        continue;
      if (isSame(written.path, other.path))
        problems += name + (other.role == Role::Reads ? " is " + other.what + ", which is read"
                                                      : " is also what " + other.what + " names");
      else if (other.role == Role::Reads && isSame(written.path + ".tmp", other.path))
        problems += name + " is first written as " + quote(written.path + ".tmp") + ", which is " + other.what;
      else if (isFolder && isInCheckpoint(written.path, other.path))
        problems += name + " lies in a checkpoint of " + quote(other.path);
    }
  }
  for (const Entry &folder : entries)
    for (const Entry &other : entries)
      if (folder.role == Role::WritesFolder && other.role == Role::Reads && isSame(folder.path, other.path))
        problems += "\n  " + folder.what + " " + quote(folder.path) + " is " + other.what + ", which is read";
  return problems;
}

/// Why `path` cannot be written; empty if it can. What is there stays as it is.
static std::string tryFile(const std::string &path) {
  struct stat info;
  if (::stat(path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode))
      return "it is a folder";
    if (S_ISFIFO(info.st_mode))
      return ::access(path.c_str(), W_OK) == 0 ? "" : std::strerror(errno);
    int descriptor = ::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0)
      return std::strerror(errno);
    ::close(descriptor);
    return "";
  }
  size_t slash = path.rfind('/');
  std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  if (::stat(folder.c_str(), &info) != 0 || !S_ISDIR(info.st_mode))
    return "there is no folder " + quote(folder);
  std::string trial = path + ".tmp";
  int descriptor = ::open(trial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor < 0)
    return errno == EEXIST ? "" : std::strerror(errno);
  ::close(descriptor);
  ::unlink(trial.c_str());
  return "";
}

static std::string tryFolder(const std::string &path) {
  std::error_code error;
  if (fs::exists(path, error) && !fs::is_directory(path, error))
    return "it is no folder";
  fs::path at = canonical(path);
  while (!fs::exists(at, error) && at.has_relative_path())
    at = at.parent_path();
  if (!fs::is_directory(at, error))
    return quote(at.string()) + " is no folder";
  return ::access(at.c_str(), W_OK | X_OK) == 0 ? "" : std::strerror(errno);
}

/// Why `path` is nothing to read from; empty where the reader will see for itself.
static std::string tryRead(const std::string &path) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0 || S_ISREG(info.st_mode))
    return "";
  return S_ISDIR(info.st_mode) ? "a folder" : S_ISFIFO(info.st_mode) ? "a pipe" : "a device";
}

Status FileRoles::check() const {
  if (std::string problems = conflicts(); !problems.empty()) {
    bool isOne = problems.find("\n  ", 1) == std::string::npos;
    return Status::wrongUse(isOne ? problems.substr(3) : "files that are given are not written over:" + problems,
                            "give each output a name of its own; nothing was written");
  }
  std::string problems;
  for (const Entry &entry : entries) {
    std::string problem = entry.role == Role::Writes         ? tryFile(entry.path)
                          : entry.role == Role::WritesFolder ? tryFolder(entry.path)
                                                             : "";
    if (!problem.empty())
      problems += (problems.empty() ? "" : "; ") + ("cannot write " + quote(entry.path)) + ": " + problem;
    if (entry.role == Role::Reads)
      if (std::string kind = tryRead(entry.path); !kind.empty())
        problems += (problems.empty() ? "" : "; ") + entry.what + " " + quote(entry.path) + " is " + kind + ", not a regular file";
  }
  return problems.empty() ? Status::success() : Status::badInput(problems);
}

} // namespace llmc::runtime
