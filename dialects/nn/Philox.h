//===- Philox.h - counter-based random numbers ------------------*- C++ -*-===//
#ifndef LLMC_DIALECTS_NN_PHILOX_H
#define LLMC_DIALECTS_NN_PHILOX_H

#include <array>
#include <cstdint>

namespace llmc::nn {

/// Philox-4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
inline std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    uint64_t a = uint64_t(0xD2511F53) * counter[0], b = uint64_t(0xCD9E8D57) * counter[2];
    counter = {uint32_t(b >> 32) ^ counter[1] ^ key[0], uint32_t(b), uint32_t(a >> 32) ^ counter[3] ^ key[1], uint32_t(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

/// Uniform in [0, 1) with 24 bits for one element of a dropout: counter (element, sample, step, id), key the seed. Four
/// neighbouring elements share one block: element e uses word e % 4 of the block e / 4.
inline float dropoutUniform(uint64_t seed, uint64_t step, uint32_t id, uint64_t sample, uint64_t element) {
  uint64_t block = element / 4;
  auto words = philox({uint32_t(block), uint32_t(sample), uint32_t(step), id ^ uint32_t(block >> 32)},
                      {uint32_t(seed), uint32_t(seed >> 32)});
  return static_cast<float>(words[element % 4] >> 8) * 0x1p-24f;
}

} // namespace llmc::nn

#endif // LLMC_DIALECTS_NN_PHILOX_H
