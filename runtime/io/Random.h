//===- Random.h - random numbers and orders as pure functions ---*- C++ -*-===//
#ifndef LLMC_RUNTIME_IO_RANDOM_H
#define LLMC_RUNTIME_IO_RANDOM_H

#include <array>
#include <cstdint>
#include <string>

namespace llmc::runtime {

/// Philox-4x32 with 10 rounds (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011).
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

/// A stream of random numbers with random access, named by (seed, name).
class RandomStream {
public:
  RandomStream(uint64_t seed, const std::string &name);
  /// Element `index`: uniform in [0, 1) with 24 bits.
  float uniform(uint64_t index) const;
  /// Elements `index` and `index + 1` (index even): standard normal, by Box and Muller's transform of one draw.
  std::array<float, 2> normalPair(uint64_t index) const;
  /// Draw `index`: uniform in [0, 1) with 53 bits.
  double uniform53(uint64_t index) const;

private:
  std::array<uint32_t, 4> draw(uint64_t index) const;
  std::array<uint32_t, 2> key;
};

/// A permutation of [0, size) for (seed, round), computed element by element: a Feistel network over the next power of
/// four, walked until the value lies inside.
class Permutation {
public:
  Permutation(uint64_t size, uint64_t seed, uint64_t round);
  uint64_t operator()(uint64_t index) const;

private:
  uint64_t encrypt(uint64_t value) const;
  uint64_t size, seed, round;
  unsigned halfBits;
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_IO_RANDOM_H
