//===- KernelImage.cpp - the machine code of a plan -----------------------===//
#include "runtime/executor/KernelImage.h"
#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

namespace llmc::runtime {

/// The loader trusts the headers and faults on a cut image, so they are checked before. Returns the problem, empty if none.
static std::string checkHeaders(Bytes image) {
  Elf64_Ehdr header;
  if (image.size() < sizeof(header))
    return "they are cut";
  std::memcpy(&header, image.data(), sizeof(header));
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_type != ET_DYN)
    return "they are no 64-bit shared object";
  if (header.e_machine != EM_X86_64)
    return "they are for another processor";
  uint64_t tableBytes = uint64_t(header.e_phnum) * sizeof(Elf64_Phdr);
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phoff > image.size() || tableBytes > image.size() - header.e_phoff)
    return "they are cut";
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr part;
    std::memcpy(&part, image.data() + header.e_phoff + i * sizeof(part), sizeof(part));
    if (part.p_offset > image.size() || part.p_filesz > image.size() - part.p_offset)
      return "they are cut";
  }
  return "";
}

Result<std::unique_ptr<KernelImage>> KernelImage::load(Bytes image) {
  std::unique_ptr<KernelImage> result(new KernelImage);
  if (image.empty())
    return result;
  if (std::string problem = checkHeaders(image); !problem.empty())
    return Status::planRefused("its kernels cannot be loaded: " + problem, "compile the plan again");
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
