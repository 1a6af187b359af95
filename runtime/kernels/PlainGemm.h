//===- PlainGemm.h - a contraction tile in plain loops ----------*- C++ -*-===//
//
// For element types and layouts that the library lacks, and to compare the library with in tests.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_RUNTIME_KERNELS_PLAINGEMM_H
#define LLMC_RUNTIME_KERNELS_PLAINGEMM_H

#include "runtime/plan/Plan_generated.h"
#include <cmath>
#include <cstdint>

namespace llmc::runtime {

/// Sizes and strides (elements) of one tile.
struct TileShape {
  int64_t m, n, k, aRow, aColumn, bRow, bColumn, cRow;
  auto operator<=>(const TileShape &) const = default;
};

template <typename T> T activate(T x, llmc::plan::fb::Activation activation) {
  switch (activation) {
  case llmc::plan::fb::Activation::None:
    return x;
  case llmc::plan::fb::Activation::GeluTanh:
    return T(0.5) * x * (T(1) + std::tanh(T(0.7978845608028654) * (x + T(0.044715) * x * x * x)));
  case llmc::plan::fb::Activation::GeluErf:
    return T(0.5) * x * (T(1) + std::erf(x * T(0.7071067811865476)));
  case llmc::plan::fb::Activation::Relu:
    return x > T(0) ? x : T(0);
  case llmc::plan::fb::Activation::Silu:
    return x / (T(1) + std::exp(-x));
  }
  return x;
}

/// c = activation(a b + bias) + beta c over one tile; `row` is scratch for tile.n elements; `bias` may be null.
template <typename T>
void plainTile(const TileShape &tile, const T *a, const T *b, T *c, const T *bias, float beta,
               llmc::plan::fb::Activation activation, T *row) {
  for (int64_t i = 0; i < tile.m; ++i) {
    for (int64_t j = 0; j < tile.n; ++j)
      row[j] = bias ? bias[j] : T(0);
    for (int64_t l = 0; l < tile.k; ++l) {
      T value = a[i * tile.aRow + l * tile.aColumn];
      const T *from = b + l * tile.bRow;
      for (int64_t j = 0; j < tile.n; ++j)
        row[j] += value * from[j * tile.bColumn];
    }
    T *to = c + i * tile.cRow;
    for (int64_t j = 0; j < tile.n; ++j) {
      T value = activate(row[j], activation);
      to[j] = beta == 0.0f ? value : value + T(beta) * to[j];
    }
  }
}

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_KERNELS_PLAINGEMM_H
