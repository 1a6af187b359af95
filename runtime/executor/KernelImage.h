//===- KernelImage.h - the machine code of a plan ---------------*- C++ -*-===//
#ifndef LLMC_RUNTIME_EXECUTOR_KERNELIMAGE_H
#define LLMC_RUNTIME_EXECUTOR_KERNELIMAGE_H

#include "runtime/support/File.h"
#include <memory>

namespace llmc::runtime {

using KernelFunction = void (*)(void *const *arguments, int64_t workgroup);

/// An ELF shared object loaded from memory; never touches the file system.
class KernelImage {
public:
  /// Errors: PlanRefused if the loader does not take `image`.
  static Result<std::unique_ptr<KernelImage>> load(Bytes image);
  ~KernelImage();
  KernelImage(const KernelImage &) = delete;
  KernelImage &operator=(const KernelImage &) = delete;

  /// Null if there is no such symbol.
  KernelFunction find(const char *symbol) const;

private:
  KernelImage() = default;
  void *handle = nullptr;
  int descriptor = -1; // stays open: the loader tells images apart by path, and the path is its number
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_EXECUTOR_KERNELIMAGE_H
