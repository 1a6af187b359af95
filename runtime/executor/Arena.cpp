//===- Arena.cpp - one block of memory for many buffers -------------------===//
#include "runtime/executor/Arena.h"
#include <sys/mman.h>

namespace llmc::runtime {

Result<std::unique_ptr<Arena>> Arena::allocate(uint64_t bytes) {
  constexpr uint64_t kHugePage = uint64_t(2) << 20;
  bool isHuge = bytes >= kHugePage;
  std::unique_ptr<Arena> arena(new Arena);
  arena->size = bytes;
  arena->mapped = isHuge ? bytes + kHugePage : (bytes ? bytes : 1);
  void *address = ::mmap(nullptr, arena->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED)
    return Status{StatusCode::DoesNotFit, "cannot allocate " + std::to_string(bytes) + " bytes of memory",
                  "compile with a memory budget below what this machine has"};
  arena->mapping = address;
  uintptr_t begin = reinterpret_cast<uintptr_t>(address);
  if (isHuge)
    begin = (begin + kHugePage - 1) / kHugePage * kHugePage;
  arena->begin = reinterpret_cast<uint8_t *>(begin);
  if (isHuge)
    ::madvise(arena->begin, bytes, MADV_HUGEPAGE);
  return arena;
}

Arena::~Arena() {
  if (mapping)
    ::munmap(mapping, mapped);
}

} // namespace llmc::runtime
