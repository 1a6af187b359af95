//===- Arena.h - one block of memory for many buffers -----------*- C++ -*-===//
#ifndef LLMC_RUNTIME_EXECUTOR_ARENA_H
#define LLMC_RUNTIME_EXECUTOR_ARENA_H

#include "runtime/support/Status.h"
#include <cstddef>
#include <cstdint>
#include <memory>

namespace llmc::runtime {

/// Zeroed memory, aligned to 2 MiB if it is that large and to a page otherwise; pages are taken when first touched.
class Arena {
public:
  /// Errors: DoesNotFit if the system refuses.
  static Result<std::unique_ptr<Arena>> allocate(uint64_t bytes);
  ~Arena();
  Arena(const Arena &) = delete;
  Arena &operator=(const Arena &) = delete;

  uint8_t *data() const { return begin; }
  uint64_t bytes() const { return size; }

private:
  Arena() = default;
  void *mapping = nullptr;
  uint64_t mapped = 0, size = 0;
  uint8_t *begin = nullptr;
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_EXECUTOR_ARENA_H
