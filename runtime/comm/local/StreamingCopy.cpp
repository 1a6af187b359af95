//===- StreamingCopy.cpp - copies of what caches do not hold --------------===//
#include "runtime/comm/local/StreamingCopy.h"
#include <cstdint>
#include <cstring>
#include <immintrin.h>

namespace llmc::runtime::local {

static constexpr size_t kPage = 4096, kPages = 4, kLine = 64;
static constexpr size_t kSmallest = size_t(256) << 10; // below, caches serve better

/// One line; `to` is aligned to a line.
static void streamLine(char *to, const char *from) {
  for (size_t i = 0; i < kLine; i += 16)
    _mm_stream_si128(reinterpret_cast<__m128i *>(to + i), _mm_loadu_si128(reinterpret_cast<const __m128i *>(from + i)));
}

void streamingCopy(void *to, const void *from, size_t bytes) {
  char *target = static_cast<char *>(to);
  const char *source = static_cast<const char *>(from);
  if (bytes >= kSmallest) {
    size_t head = (kLine - reinterpret_cast<uintptr_t>(target) % kLine) % kLine;
    std::memcpy(target, source, head);
    target += head, source += head, bytes -= head;
    for (; bytes >= kPages * kPage; target += kPages * kPage, source += kPages * kPage, bytes -= kPages * kPage)
      for (size_t i = 0; i < kPage; i += 2 * kLine)
        for (size_t page = 0; page < kPages; ++page) {
          streamLine(target + page * kPage + i, source + page * kPage + i);
          streamLine(target + page * kPage + i + kLine, source + page * kPage + i + kLine);
        }
    _mm_sfence(); // what follows may be told to others
  }
  std::memcpy(target, source, bytes);
}

} // namespace llmc::runtime::local
