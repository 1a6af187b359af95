//===- Reduce.cpp - the one loop that reduces -----------------------------===//
//
// A chunk of results stays in registers while all sources are added to it; only then is it stored, so that targets may be
// sources. The loop is compiled for each width of vectors; additions stay additions, so all of them give the same bits.
//
//===----------------------------------------------------------------------===//
#include "runtime/comm/Reduce.h"
#include <cassert>
#include <type_traits>

#define EACH_VECTOR_WIDTH __attribute__((target_clones("avx512f", "avx2", "default")))

namespace llmc::runtime {
namespace {

/// Integers add as unsigned ones, which wrap.
template <typename T> struct AddedAs { using Type = T; };
template <> struct AddedAs<int32_t> { using Type = uint32_t; };
template <> struct AddedAs<int64_t> { using Type = uint64_t; };

template <Reduction reduction, typename V> [[gnu::always_inline]] inline void combine(V &result, const V &other) {
  if constexpr (reduction == Reduction::Sum)
    result += other;
  else
    result = (other > result) | (other != other) ? other : result;
}

struct Call {
  std::span<const void *const> sources;
  std::span<void *const> targets;
  size_t elements;
};

/// `count` vectors of type V from `byte` of each array.
template <Reduction reduction, typename V, size_t count>
[[gnu::always_inline]] inline void reduceChunk(const Call &call, size_t byte) {
  V chunk[count];
  for (size_t i = 0; i < count; ++i)
    chunk[i] = reinterpret_cast<const V *>(static_cast<const char *>(call.sources[0]) + byte)[i];
  for (size_t k = 1; k < call.sources.size(); ++k)
    for (size_t i = 0; i < count; ++i)
      combine<reduction>(chunk[i], reinterpret_cast<const V *>(static_cast<const char *>(call.sources[k]) + byte)[i]);
  for (void *target : call.targets)
    for (size_t i = 0; i < count; ++i)
      reinterpret_cast<V *>(static_cast<char *>(target) + byte)[i] = chunk[i];
}

template <Reduction reduction, typename T> [[gnu::always_inline]] inline void reduceAll(const Call &call) {
  using Element = std::conditional_t<reduction == Reduction::Sum, typename AddedAs<T>::Type, T>;
  typedef Element Vector __attribute__((vector_size(64), aligned(alignof(T)), may_alias));
  typedef Element Scalar __attribute__((may_alias));
  constexpr size_t kVectors = 4;
  size_t bytes = call.elements * sizeof(T), byte = 0;
  for (; byte + kVectors * sizeof(Vector) <= bytes; byte += kVectors * sizeof(Vector))
    reduceChunk<reduction, Vector, kVectors>(call, byte);
  for (; byte < bytes; byte += sizeof(T))
    reduceChunk<reduction, Scalar, 1>(call, byte);
}

template <typename T> [[gnu::always_inline]] inline void reduceTyped(const Call &call, Reduction reduction) {
  reduction == Reduction::Sum ? reduceAll<Reduction::Sum, T>(call) : reduceAll<Reduction::Max, T>(call);
}

EACH_VECTOR_WIDTH void reduceF32(const Call &call, Reduction reduction) { reduceTyped<float>(call, reduction); }
EACH_VECTOR_WIDTH void reduceF64(const Call &call, Reduction reduction) { reduceTyped<double>(call, reduction); }
EACH_VECTOR_WIDTH void reduceI32(const Call &call, Reduction reduction) { reduceTyped<int32_t>(call, reduction); }
EACH_VECTOR_WIDTH void reduceI64(const Call &call, Reduction reduction) { reduceTyped<int64_t>(call, reduction); }

} // namespace

bool canReduce(fb::DataType type) {
  return type == fb::DataType::F32 || type == fb::DataType::F64 || type == fb::DataType::I32 ||
         type == fb::DataType::I64;
}

void reduceInOrder(std::span<const void *const> sources, std::span<void *const> targets, size_t elements,
                   fb::DataType type, Reduction reduction) {
  assert(!sources.empty() && canReduce(type));
  Call call{sources, targets, elements};
  switch (type) {
  case fb::DataType::F32:
    return reduceF32(call, reduction);
  case fb::DataType::F64:
    return reduceF64(call, reduction);
  case fb::DataType::I32:
    return reduceI32(call, reduction);
  default:
    return reduceI64(call, reduction);
  }
}

} // namespace llmc::runtime
