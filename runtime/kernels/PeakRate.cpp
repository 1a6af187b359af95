//===- PeakRate.cpp - how fast one core could be --------------------------===//
#include "runtime/kernels/PeakRate.h"
#include "runtime/kernels/SplitProduct.h"
#include <algorithm>
#include <chrono>
#include <immintrin.h>

namespace llmc::runtime {

static constexpr int kChains = 12, kRounds = 100'000;

__attribute__((target("avx512f"))) static float chains512() {
  __m512 values[kChains], scale = _mm512_set1_ps(0.999f), shift = _mm512_set1_ps(0.1f);
  for (int i = 0; i < kChains; ++i)
    values[i] = _mm512_set1_ps(static_cast<float>(i));
  for (int round = 0; round < kRounds; ++round)
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i)
      values[i] = _mm512_fmadd_ps(values[i], scale, shift);
  float sum = 0;
  for (__m512 value : values)
    sum += _mm512_cvtss_f32(value);
  return sum;
}

__attribute__((target("avx2,fma"))) static float chains256() {
  __m256 values[kChains], scale = _mm256_set1_ps(0.999f), shift = _mm256_set1_ps(0.1f);
  for (int i = 0; i < kChains; ++i)
    values[i] = _mm256_set1_ps(static_cast<float>(i));
  for (int round = 0; round < kRounds; ++round)
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i)
      values[i] = _mm256_fmadd_ps(values[i], scale, shift);
  float sum = 0;
  for (__m256 value : values)
    sum += _mm256_cvtss_f32(value);
  return sum;
}

double measurePeakFlops() {
  if (hasMatrixUnits()) {
    double best = 0;
    for (int repetition = 0; repetition < 10; ++repetition)
      best = std::max(best, splitProductPeak(1000));
    return best;
  }
  bool wide = __builtin_cpu_supports("avx512f"),
       narrow = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (!wide && !narrow)
    return 0;
  double best = 0;
  for (int repetition = 0; repetition < 10; ++repetition) {
    auto begin = std::chrono::steady_clock::now();
    volatile float sink = wide ? chains512() : chains256();
    (void)sink;
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    best = std::max(best, 2.0 * (wide ? 16 : 8) * kChains * kRounds / seconds);
  }
  return best;
}

} // namespace llmc::runtime
