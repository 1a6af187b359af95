//===- StreamingCopyTest.cpp - every byte arrives, none beyond -----------===//
#include "runtime/comm/local/StreamingCopy.h"
#include <cstdint>
#include <gtest/gtest.h>
#include <vector>

using llmc::runtime::local::streamingCopy;

namespace {

TEST(StreamingCopy, CopiesAnySizeAtAnyAlignment) {
  constexpr size_t kGuard = 128;
  for (size_t bytes : {size_t(0), size_t(100), size_t(256) << 10, (size_t(256) << 10) + 1, (size_t(1) << 20) + 16383})
    for (size_t alignment : {0, 4, 60}) {
      std::vector<uint8_t> from(bytes + kGuard), to(bytes + 3 * kGuard, 0xEE);
      for (size_t i = 0; i < from.size(); ++i)
        from[i] = static_cast<uint8_t>(i * 2654435761u >> 13);
      uint8_t *target = to.data() + kGuard + alignment;
      streamingCopy(target, from.data() + 12, bytes);
      EXPECT_EQ(std::vector<uint8_t>(target, target + bytes),
                std::vector<uint8_t>(from.begin() + 12, from.begin() + 12 + static_cast<ptrdiff_t>(bytes)));
      EXPECT_EQ(target[-1], 0xEE);
      EXPECT_EQ(target[bytes], 0xEE);
    }
}

} // namespace
