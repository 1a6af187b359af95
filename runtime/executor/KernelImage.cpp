//===- KernelImage.cpp - the machine code of a plan -----------------------===//
#include "runtime/executor/KernelImage.h"
#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

namespace llmc::runtime {

Result<std::unique_ptr<KernelImage>> KernelImage::load(Bytes image) {
  std::unique_ptr<KernelImage> result(new KernelImage);
  if (image.empty())
    return result;
  result->descriptor = ::memfd_create("llmc-kernels", MFD_CLOEXEC);
  if (result->descriptor < 0)
    return Status::internal(std::string("cannot create memory for kernels: ") + std::strerror(errno));
  for (Bytes rest = image; !rest.empty();) {
    ssize_t count = ::write(result->descriptor, rest.data(), rest.size());
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return Status::internal(std::string("cannot hold the kernels in memory: ") + std::strerror(errno));
    rest = rest.subspan(static_cast<size_t>(count));
  }
  std::string path = "/proc/self/fd/" + std::to_string(result->descriptor);
  result->handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  const char *problem = result->handle ? nullptr : ::dlerror();
  if (!result->handle)
    return Status::planRefused(std::string("its kernels cannot be loaded: ") + (problem ? problem : "unknown reason"),
                               "compile the plan on this machine");
  return result;
}

KernelImage::~KernelImage() {
  if (handle)
    ::dlclose(handle);
  if (descriptor >= 0)
    ::close(descriptor);
}

KernelFunction KernelImage::find(const char *symbol) const {
  return handle ? reinterpret_cast<KernelFunction>(::dlsym(handle, symbol)) : nullptr;
}

} // namespace llmc::runtime
