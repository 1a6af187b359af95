//===- VectorProduct.cpp - f32 products on 256-bit vectors ----------------===//
//
// Operands are packed in panels, of 6 rows of A or 16 columns of B, k by k: what one step of the innermost loop
// multiplies is adjacent. Its 6 x 16 sums fill 12 of the 16 registers. A tile is computed block by block along k. Of
// each block all of B is packed, and A by 96 rows, which stay in the second-level cache; a panel of B stays in the
// first-level cache while those of A stream past. Sums of earlier blocks wait in C.
//
// Panels begin a line beyond a multiple of their size: powers of two would put them all into the same few sets of a
// cache. For the same reason an operand is read along the dimension in which it is contiguous.
//
//===----------------------------------------------------------------------===//
#include "runtime/kernels/VectorProduct.h"
#include <algorithm>
#include <cstring>
#include <immintrin.h>

#define VECTORS __attribute__((target("avx2,fma")))
#define VECTORS_INLINE VECTORS __attribute__((always_inline)) inline

namespace llmc::runtime {
namespace {

constexpr int64_t kRows = 6, kColumns = 16; // of a panel of A, of B
constexpr int64_t kBlock = 256;             // along k
constexpr int64_t kRowsAtOnce = 96;         // of A
constexpr int64_t kLine = 16;               // floats
constexpr int64_t kPanelA = kRows * kBlock + kLine, kPanelB = kColumns * kBlock + kLine; // floats
constexpr int64_t kLanes = 8;

int64_t ceilDiv(int64_t x, int64_t y) { return (x + y - 1) / y; }

/// For maskload: lanes below `count`.
VECTORS_INLINE __m256i firstLanes(int64_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(std::min(count, kLanes))),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/// An 8 x 8 block in place.
VECTORS_INLINE void transpose(__m256 *rows) {
  __m256 pairs[8], quads[8];
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    quads[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
    quads[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xEE);
    quads[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
    quads[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xEE);
  }
  for (int i = 0; i < 4; ++i) {
    rows[i] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x20);
    rows[i + 4] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x31);
  }
}

/// Lines of an operand: rows of A, or columns of B. Where its elements of successive k are adjacent, `stride` is from
/// line to line; else those of successive lines are adjacent, and it is from k to k.
struct Lines {
  const float *from;
  int64_t stride, count;
};

/// Packs panels of `Width` lines over `k` values, from lines whose elements of successive k are adjacent. Lines beyond the last
/// are zero.
template <int64_t Width, int64_t Panel> VECTORS void packAcross(Lines lines, int64_t k, float *to) {
  for (int64_t first = 0; first < lines.count; first += Width, to += Panel)
    for (int64_t half = 0; half < Width; half += kLanes) {
      const float *from = lines.from + (first + half) * lines.stride;
      int64_t count = std::min(lines.count - first - half, std::min(Width, kLanes));
      for (int64_t l = 0; l < k; l += kLanes) {
        __m256 rows[kLanes];
        __m256i lanes = firstLanes(k - l);
        for (int64_t i = 0; i < kLanes; ++i)
          rows[i] = i < count ? _mm256_maskload_ps(from + i * lines.stride + l, lanes) : _mm256_setzero_ps();
        transpose(rows);
        for (int64_t i = 0; i < std::min(kLanes, k - l); ++i) // in order: the last lanes are those of the next k
          _mm256_storeu_ps(to + (l + i) * Width + half, rows[i]);
      }
    }
}

/// The same from lines that are adjacent.
template <int64_t Width, int64_t Panel> VECTORS void packAlong(Lines lines, int64_t k, float *to) {
  int64_t whole = lines.count / Width;
  for (int64_t l = 0; l < k; ++l) {
    const float *from = lines.from + l * lines.stride;
    float *panel = to + l * Width;
    for (int64_t i = 0; i < whole; ++i, from += Width, panel += Panel)
      std::memcpy(panel, from, Width * sizeof(float));
    if (int64_t rest = lines.count - whole * Width) {
      std::memset(panel, 0, Width * sizeof(float));
      std::memcpy(panel, from, static_cast<size_t>(rest) * sizeof(float));
    }
  }
}

template <int64_t Width, int64_t Panel> void pack(Lines lines, bool isAcross, int64_t k, float *to) {
  isAcross ? packAcross<Width, Panel>(lines, k, to) : packAlong<Width, Panel>(lines, k, to);
}

/// Up to 6 x 16 elements of C, and what their sums start with.
struct Window {
  float *c;
  int64_t stride, rows, columns;
  const float *bias; // null: none
  float beta;
};

/// Adds `sum` to the lanes of C below `count`.
VECTORS_INLINE void finish(const Window &window, int64_t row, int64_t half, __m256 sum, bool isWhole) {
  float *c = window.c + row * window.stride + half * kLanes;
  const float *bias = window.bias ? window.bias + half * kLanes : nullptr;
  __m256i lanes = firstLanes(isWhole ? kLanes : window.columns - half * kLanes);
  if (bias)
    sum = _mm256_add_ps(sum, isWhole ? _mm256_loadu_ps(bias) : _mm256_maskload_ps(bias, lanes));
  if (window.beta != 0.0f)
    sum = _mm256_fmadd_ps(isWhole ? _mm256_loadu_ps(c) : _mm256_maskload_ps(c, lanes), _mm256_set1_ps(window.beta), sum);
  isWhole ? _mm256_storeu_ps(c, sum) : _mm256_maskstore_ps(c, lanes, sum);
}

// Variables, since GCC keeps an array of sums in memory.
#define FOR_ROWS(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
#define START(row)                                                                                                     \
  __m256 left##row = _mm256_setzero_ps(), right##row = _mm256_setzero_ps();                                            \
  __builtin_prefetch(window.c + std::min<int64_t>(row, window.rows - 1) * window.stride, /*for writing*/ 1);           \
  __builtin_prefetch(window.c + std::min<int64_t>(row, window.rows - 1) * window.stride + window.columns - 1, 1);
#define MULTIPLY_ADD(row)                                                                                              \
  value = _mm256_broadcast_ss(a + row);                                                                                \
  left##row = _mm256_fmadd_ps(value, left, left##row);                                                                 \
  right##row = _mm256_fmadd_ps(value, right, right##row);
#define FINISH(row)                                                                                                    \
  if (row < window.rows) {                                                                                             \
    finish(window, row, 0, left##row, isWhole);                                                                        \
    finish(window, row, 1, right##row, isWhole);                                                                       \
  }

/// Products of a panel of A and one of B over `k` values.
VECTORS void multiplyPanels(const float *a, const float *b, int64_t k, const Window &window) {
  FOR_ROWS(START)
#pragma GCC unroll 4
  for (int64_t l = 0; l < k; ++l, a += kRows, b += kColumns) {
    __m256 left = _mm256_load_ps(b), right = _mm256_load_ps(b + kLanes), value;
    FOR_ROWS(MULTIPLY_ADD)
  }
  bool isWhole = window.rows == kRows && window.columns == kColumns;
  FOR_ROWS(FINISH)
}

#undef FOR_ROWS
#undef START
#undef MULTIPLY_ADD
#undef FINISH

} // namespace

bool hasVectorProduct() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

bool prefersVectorProduct() { return hasVectorProduct() && !__builtin_cpu_supports("avx512f"); }

bool suitsVectorProduct(const TileShape &shape) {
  bool layout = (shape.aColumn == 1 || shape.aRow == 1) && (shape.bColumn == 1 || shape.bRow == 1);
  return layout && std::min({shape.m, shape.n, shape.k}) >= kColumns / 2;
}

size_t vectorProductScratch(int64_t m, int64_t n) {
  int64_t panelsA = ceilDiv(std::min(m, kRowsAtOnce), kRows), panelsB = ceilDiv(n, kColumns);
  return static_cast<size_t>(panelsB * kPanelB + panelsA * kPanelA) * sizeof(float);
}

void vectorProduct(const TileShape &tile, const float *a, const float *b, float *c, const float *bias, float beta,
                   void *scratch) {
  float *panelsB = static_cast<float *>(scratch), *panelsA = panelsB + ceilDiv(tile.n, kColumns) * kPanelB;
  for (int64_t l = 0; l < tile.k; l += kBlock) {
    int64_t k = std::min(kBlock, tile.k - l);
    bool acrossB = tile.bRow == 1, acrossA = tile.aColumn == 1;
    pack<kColumns, kPanelB>({b + l * tile.bRow, acrossB ? tile.bColumn : tile.bRow, tile.n}, acrossB, k, panelsB);
    for (int64_t i = 0; i < tile.m; i += kRowsAtOnce) {
      int64_t rows = std::min(kRowsAtOnce, tile.m - i);
      pack<kRows, kPanelA>({a + i * tile.aRow + l * tile.aColumn, acrossA ? tile.aRow : tile.aColumn, rows}, acrossA, k, panelsA);
      for (int64_t j = 0; j < tile.n; j += kColumns)
        for (int64_t row = 0; row < rows; row += kRows)
          multiplyPanels(panelsA + row / kRows * kPanelA, panelsB + j / kColumns * kPanelB, k,
                         {c + (i + row) * tile.cRow + j, tile.cRow, std::min(kRows, rows - row), std::min(kColumns, tile.n - j),
                          bias && l == 0 ? bias + j : nullptr, l == 0 ? beta : 1.0f});
    }
  }
}

} // namespace llmc::runtime
