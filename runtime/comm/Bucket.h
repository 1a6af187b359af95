//===- Bucket.h - the operands of a call as one sequence of bytes -*- C++ -*-===//
//
// A bucket of small tensors is divided between ranks as if it were one array, so that each rank's share is one message.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_RUNTIME_COMM_BUCKET_H
#define LLMC_RUNTIME_COMM_BUCKET_H

#include "runtime/comm/Communicator.h"
#include <algorithm>
#include <cstring>

namespace llmc::runtime {

/// The first of `total` elements that belongs to part `index` of `parts`; sizes of parts differ by one at most.
inline size_t partBegin(size_t total, size_t index, size_t parts) {
  return total / parts * index + std::min(index, total % parts);
}

/// Elements of all operands, as their `elements` says.
inline size_t countElements(std::span<const Operand> operands) {
  size_t count = 0;
  for (const Operand &operand : operands)
    count += operand.elements;
  return count;
}

/// Elements that a rank sends for a call: the formulas of Communicator.h, to the element.
inline size_t elementsSent(const Collective &call, unsigned rank, unsigned size) {
  size_t total = countElements(call.operands);
  auto share = [&](size_t index, size_t parts) {
    return partBegin(total, index + 1, parts) - partBegin(total, index, parts);
  };
  if (call.kind == CollectiveKind::AllReduce)
    return total - share(rank, size) + (size - 1) * share(rank, size);
  if (call.kind != CollectiveKind::Broadcast)
    return (size - 1) * total;
  if (rank == call.root)
    return size > 1 ? total : 0;
  return (size - 2) * share((rank + size - call.root) % size - 1, size - 1);
}

/// `bytes` bytes from byte `begin` of part `part` of all operands, one after the other; operand k's part is its
/// `elements` elements at part * elements.
struct Range {
  std::span<const Operand> operands;
  size_t width = 1; // bytes of an element
  bool to = false;  // of the operands' two sides
  size_t part = 0, begin = 0, bytes = 0;

  Range slice(size_t offset, size_t size) const {
    Range result = *this;
    result.begin += offset;
    result.bytes = size;
    return result;
  }
  char *address(size_t operand) const {
    const Operand &o = operands[operand];
    char *base = to ? static_cast<char *>(o.to) : static_cast<char *>(const_cast<void *>(o.from));
    return base ? base + part * o.elements * width : nullptr;
  }
  /// Calls visit(operand, first byte within its part, bytes) for each piece that is contiguous.
  template <typename F> void forEach(F &&visit) const {
    size_t first = 0, end = begin + bytes;
    for (size_t k = 0; k < operands.size() && first < end; ++k) {
      size_t size = operands[k].elements * width, low = std::max(first, begin), high = std::min(first + size, end);
      if (low < high)
        visit(k, low - first, high - low);
      first += size;
    }
  }
  /// Where the range begins, if it is contiguous; otherwise null.
  char *contiguous() const {
    char *start = nullptr;
    forEach([&](size_t k, size_t offset, size_t size) { start = size == bytes ? address(k) + offset : nullptr; });
    return start;
  }
  void copyTo(char *memory) const {
    forEach([&](size_t k, size_t offset, size_t size) {
      std::memcpy(memory, address(k) + offset, size);
      memory += size;
    });
  }
  void copyFrom(const char *memory) const {
    forEach([&](size_t k, size_t offset, size_t size) {
      std::memcpy(address(k) + offset, memory, size);
      memory += size;
    });
  }
  /// Copies another range of the same operands and the same bytes of them, unless it is this one.
  void copyFrom(const Range &other) const {
    forEach([&](size_t k, size_t offset, size_t size) {
      if (address(k) != other.address(k))
        std::memcpy(address(k) + offset, other.address(k) + offset, size);
    });
  }
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_COMM_BUCKET_H
