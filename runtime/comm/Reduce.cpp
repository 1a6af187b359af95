//===- Reduce.cpp - the one loop that reduces -----------------------------===//
//
// A block of results stays in the first-level cache while all sources are added to it; only then is it stored, so that
// targets may be sources.
//
//===----------------------------------------------------------------------===//
#include "runtime/comm/Reduce.h"
#include <algorithm>
#include <cassert>
#include <cstring>
#include <type_traits>

namespace llmc::runtime {

static constexpr size_t kBlockBytes = 4096;

template <typename T> static void addBlock(T *block, const T *source, size_t count) {
  for (size_t i = 0; i < count; ++i)
    if constexpr (std::is_integral_v<T>) {
      using Unsigned = std::make_unsigned_t<T>; // wraps
      block[i] = static_cast<T>(static_cast<Unsigned>(block[i]) + static_cast<Unsigned>(source[i]));
    } else {
      block[i] += source[i];
    }
}

template <typename T> static void maxBlock(T *block, const T *source, size_t count) {
  for (size_t i = 0; i < count; ++i)
    block[i] = source[i] > block[i] || source[i] != source[i] ? source[i] : block[i];
}

template <typename T>
static void reduceTyped(std::span<const void *const> sources, std::span<void *const> targets, size_t elements,
                        Reduction reduction) {
  constexpr size_t capacity = kBlockBytes / sizeof(T);
  T block[capacity];
  for (size_t begin = 0; begin < elements; begin += capacity) {
    size_t count = std::min(capacity, elements - begin);
    std::memcpy(block, static_cast<const T *>(sources[0]) + begin, count * sizeof(T));
    for (const void *source : sources.subspan(1)) {
      const T *values = static_cast<const T *>(source) + begin;
      if (reduction == Reduction::Sum)
        addBlock(block, values, count);
      else
        maxBlock(block, values, count);
    }
    for (void *target : targets)
      std::memcpy(static_cast<T *>(target) + begin, block, count * sizeof(T));
  }
}

bool canReduce(fb::DataType type) {
  return type == fb::DataType::F32 || type == fb::DataType::F64 || type == fb::DataType::I32 ||
         type == fb::DataType::I64;
}

void reduceInOrder(std::span<const void *const> sources, std::span<void *const> targets, size_t elements,
                   fb::DataType type, Reduction reduction) {
  assert(!sources.empty() && canReduce(type));
  switch (type) {
  case fb::DataType::F32:
    return reduceTyped<float>(sources, targets, elements, reduction);
  case fb::DataType::F64:
    return reduceTyped<double>(sources, targets, elements, reduction);
  case fb::DataType::I32:
    return reduceTyped<int32_t>(sources, targets, elements, reduction);
  default:
    return reduceTyped<int64_t>(sources, targets, elements, reduction);
  }
}

} // namespace llmc::runtime
