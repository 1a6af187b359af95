//===- Random.cpp - random numbers and orders as pure functions -----------===//
#include "runtime/io/Random.h"
#include <cmath>
#include <xxhash.h>

namespace llmc::runtime {

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    uint64_t a = uint64_t(0xD2511F53) * counter[0], b = uint64_t(0xCD9E8D57) * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

RandomStream::RandomStream(uint64_t seed, const std::string &name) {
  uint64_t hash = XXH3_64bits_withSeed(name.data(), name.size(), seed);
  key = {static_cast<uint32_t>(hash), static_cast<uint32_t>(hash >> 32)};
}

std::array<uint32_t, 4> RandomStream::draw(uint64_t index) const {
  return philox({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), 0, 0}, key);
}

float RandomStream::uniform(uint64_t index) const {
  return static_cast<float>(draw(index / 4)[index % 4] >> 8) * 0x1p-24f;
}

double RandomStream::uniform53(uint64_t index) const {
  std::array<uint32_t, 4> bits = draw(index);
  return static_cast<double>((uint64_t(bits[0]) << 21) ^ (bits[1] >> 11)) * 0x1p-53;
}

std::array<float, 2> RandomStream::normalPair(uint64_t index) const {
  std::array<uint32_t, 4> bits = draw(index / 4);
  size_t half = index % 4; // 0 or 2
  double radius = std::sqrt(-2.0 * std::log((static_cast<double>(bits[half]) + 1.0) * 0x1p-32));
  double angle = 6.283185307179586 * (static_cast<double>(bits[half + 1]) * 0x1p-32);
  return {static_cast<float>(radius * std::cos(angle)), static_cast<float>(radius * std::sin(angle))};
}

static uint64_t mix(uint64_t value) { // finalizer of SplitMix64
  value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9;
  value = (value ^ value >> 27) * 0x94D049BB133111EB;
  return value ^ value >> 31;
}

Permutation::Permutation(uint64_t size, uint64_t seed, uint64_t round) : size(size), seed(seed), round(round), halfBits(1) {
  while (halfBits < 32 && (uint64_t(1) << (2 * halfBits)) < size)
    ++halfBits;
}

uint64_t Permutation::encrypt(uint64_t value) const {
  uint64_t mask = (uint64_t(1) << halfBits) - 1, left = value >> halfBits & mask, right = value & mask;
  for (uint64_t i = 0; i < 6; ++i) {
    uint64_t next = left ^ (mix(mix(mix(seed + 0x9E3779B97F4A7C15) ^ round) + i * 0x9E3779B97F4A7C15 + right) & mask);
    left = right;
    right = next;
  }
  return left << halfBits | right;
}

uint64_t Permutation::operator()(uint64_t index) const {
  do
    index = encrypt(index);
  while (index >= size);
  return index;
}

} // namespace llmc::runtime
