//===- SplitProduct.cpp - f32 products on bf16 matrix units ---------------===//
//
// Operands are packed in panels of 32 rows of A or 32 columns of B, by steps of 32 along k. A step of a panel is 6 KiB:
// for each of the three terms 32 rows of 64 bytes, which is two tile registers. A row of A's panel holds, for q below
// 16, the pair of terms at k = q and k = q + 16; row q of B's first or second tile holds the same pair for 16 columns.
// (The instruction wants pairs along k; which elements make a pair is free as long as A and B agree, and this choice
// needs no shuffles.)
//
// A tile is computed block by block along k: A's panels are packed for one block and stay in the second-level cache,
// B's are packed one by one and stay in the first-level cache while A's stream past. Partial sums wait in scratch, 32 x
// 32 at a time.
//
//===----------------------------------------------------------------------===//
#include "runtime/kernels/SplitProduct.h"
#include <algorithm>
#include <chrono>
#include <cpuid.h>
#include <cstring>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MATRIX_UNITS __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,amx-tile,amx-bf16")))
#define MATRIX_UNITS_INLINE MATRIX_UNITS __attribute__((always_inline)) inline

namespace llmc::runtime {
namespace {

constexpr int64_t kPanel = 32;        // rows of A, columns of B
constexpr int64_t kStep = 32;         // along k
constexpr int64_t kBlock = 4 * kStep; // along k: panels of A and B fill the first-level cache
constexpr int64_t kTermBytes = 2048;  // one term of a step of a panel
constexpr int64_t kTileBytes = 1024;  // one tile register
constexpr int64_t kStepBytes = 3 * kTermBytes;
constexpr int64_t kPanelBytes = kBlock / kStep * kStepBytes;
constexpr int64_t kSums = kPanel * kPanel; // a block of partial sums: its four quarters of 16 x 16 one after the other
constexpr int64_t kLargest = 512;          // rows and columns computed at once

int64_t ceilDiv(int64_t x, int64_t y) { return (x + y - 1) / y; }

__mmask16 firstLanes(int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xFFFF : count <= 0 ? 0 : (1u << count) - 1);
}

struct Terms {
  __m512i term[3]; // in the upper halves of 32-bit lanes, whose lower halves are zero
};

/// The first term is rounded, so that the rest has a random sign; the rest has 16 bits, the upper 8 and lower 8 of
/// which are the other terms.
MATRIX_UNITS_INLINE Terms split(__m512 x) {
  const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xFFFF0000u));
  Terms terms;
  terms.term[0] = _mm512_and_si512(_mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000)), upper);
  __m512 rest = _mm512_sub_ps(x, _mm512_castsi512_ps(terms.term[0]));
  terms.term[1] = _mm512_and_si512(_mm512_castps_si512(rest), upper);
  terms.term[2] = _mm512_castps_si512(_mm512_sub_ps(rest, _mm512_castsi512_ps(terms.term[1])));
  return terms;
}

/// Stores 16 pairs (x, y), term by term.
MATRIX_UNITS_INLINE void storePairs(char *to, __m512 x, __m512 y) {
  Terms first = split(x), second = split(y);
  for (int i = 0; i < 3; ++i)
    _mm512_store_si512(to + i * kTermBytes, _mm512_or_si512(_mm512_srli_epi32(first.term[i], 16), second.term[i]));
}

/// columns[i] is column i of the 16 x 16 block whose rows lie `stride` elements apart.
MATRIX_UNITS_INLINE void transpose(const float *block, int64_t stride, __m512 *columns) {
  for (int quarter = 0; quarter < 4; ++quarter) {
    __m512 rows[4]; // rows i, i + 4, i + 8, i + 12 of four columns
    for (int i = 0; i < 4; ++i) {
      const float *from = block + i * stride + quarter * 4;
      rows[i] = _mm512_castps128_ps512(_mm_loadu_ps(from));
      rows[i] = _mm512_insertf32x4(rows[i], _mm_loadu_ps(from + 4 * stride), 1);
      rows[i] = _mm512_insertf32x4(rows[i], _mm_loadu_ps(from + 8 * stride), 2);
      rows[i] = _mm512_insertf32x4(rows[i], _mm_loadu_ps(from + 12 * stride), 3);
    }
    __m512d low01 = _mm512_castps_pd(_mm512_unpacklo_ps(rows[0], rows[1]));
    __m512d high01 = _mm512_castps_pd(_mm512_unpackhi_ps(rows[0], rows[1]));
    __m512d low23 = _mm512_castps_pd(_mm512_unpacklo_ps(rows[2], rows[3]));
    __m512d high23 = _mm512_castps_pd(_mm512_unpackhi_ps(rows[2], rows[3]));
    columns[quarter * 4 + 0] = _mm512_castpd_ps(_mm512_unpacklo_pd(low01, low23));
    columns[quarter * 4 + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low01, low23));
    columns[quarter * 4 + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high01, high23));
    columns[quarter * 4 + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high01, high23));
  }
}

/// The same where the block may reach beyond `rows` and `count` columns of the matrix; what lies there is zero.
MATRIX_UNITS_INLINE void transposeWithin(const float *block, int64_t stride, int64_t rows, int64_t count,
                                         __m512 *columns) {
  if (rows >= 16 && count >= 16)
    return transpose(block, stride, columns);
  alignas(64) float padded[256];
  for (int i = 0; i < 16; ++i)
    _mm512_store_ps(padded + 16 * i,
                    i < rows ? _mm512_maskz_loadu_ps(firstLanes(count), block + i * stride) : _mm512_setzero_ps());
  transpose(padded, 16, columns);
}

/// One panel over k values of up to 32 lines, for which elements of the same line and successive k are adjacent: rows
/// of A, or columns of a transposed B. `along` is a line's stride.
struct Lines {
  const float *from;
  int64_t along, count;
};

MATRIX_UNITS void packRows(Lines a, int64_t k, char *to) {
  for (int64_t l = 0; l < k; l += kStep, to += kStepBytes)
    for (int64_t i = 0; i < kPanel; ++i) {
      const float *from = a.from + i * a.along + l;
      bool inside = i < a.count;
      storePairs(to + i * 64, _mm512_maskz_loadu_ps(inside ? firstLanes(k - l) : 0, from),
                 _mm512_maskz_loadu_ps(inside ? firstLanes(k - l - 16) : 0, from + 16));
    }
}

/// A's panel where A is transposed: elements of successive rows are adjacent, `along` is the stride of k.
MATRIX_UNITS void packRowsTransposed(Lines a, int64_t k, char *to) {
  for (int64_t l = 0; l < k; l += kStep, to += kStepBytes)
    for (int64_t half = 0; half < 2; ++half) {
      __m512 x[16], y[16];
      const float *from = a.from + l * a.along + half * 16;
      transposeWithin(from, a.along, k - l, a.count - half * 16, x);
      transposeWithin(from + 16 * a.along, a.along, k - l - 16, a.count - half * 16, y);
      for (int i = 0; i < 16; ++i)
        storePairs(to + half * kTileBytes + i * 64, x[i], y[i]);
    }
}

/// B's panel where elements of successive columns are adjacent, `along` is the stride of k.
MATRIX_UNITS void packColumns(Lines b, int64_t k, char *to) {
  for (int64_t l = 0; l < k; l += kStep, to += kStepBytes)
    for (int64_t half = 0; half < 2; ++half)
      for (int64_t q = 0; q < 16; ++q) {
        const float *from = b.from + (l + q) * b.along + half * 16;
        __mmask16 lanes = firstLanes(b.count - half * 16);
        storePairs(to + half * kTileBytes + q * 64, _mm512_maskz_loadu_ps(l + q < k ? lanes : 0, from),
                   _mm512_maskz_loadu_ps(l + q + 16 < k ? lanes : 0, from + 16 * b.along));
      }
}

MATRIX_UNITS void packColumnsTransposed(Lines b, int64_t k, char *to) {
  for (int64_t l = 0; l < k; l += kStep, to += kStepBytes)
    for (int64_t half = 0; half < 2; ++half) {
      __m512 x[16], y[16];
      const float *from = b.from + half * 16 * b.along + l;
      transposeWithin(from, b.along, b.count - half * 16, k - l, x);
      transposeWithin(from + 16, b.along, b.count - half * 16, k - l - 16, y);
      for (int q = 0; q < 16; ++q)
        storePairs(to + half * kTileBytes + q * 64, x[q], y[q]);
    }
}

/// GCC's tile intrinsics do not tell the compiler which memory they read: what `address` leads to must be written
/// before.
inline void finishWriting(const void *address) { asm volatile("" : : "r"(address) : "memory"); }

#define LOAD_A(term)                                                                                                   \
  _tile_loadd(4, a + (term)*kTermBytes, 64);                                                                           \
  _tile_loadd(5, a + (term)*kTermBytes + kTileBytes, 64)
#define LOAD_B(term)                                                                                                   \
  _tile_loadd(6, b + (term)*kTermBytes, 64);                                                                           \
  _tile_loadd(7, b + (term)*kTermBytes + kTileBytes, 64)
#define MULTIPLY_ADD()                                                                                                 \
  _tile_dpbf16ps(0, 4, 6);                                                                                             \
  _tile_dpbf16ps(1, 4, 7);                                                                                             \
  _tile_dpbf16ps(2, 5, 6);                                                                                             \
  _tile_dpbf16ps(3, 5, 7)

/// to = from + a b over `steps` steps of two panels, on blocks of kSums; `from` null: zero.
MATRIX_UNITS_INLINE void multiplyPanels(const char *a, const char *b, int64_t steps, const float *from, float *to) {
  finishWriting(a);
  finishWriting(b);
  finishWriting(from);
  if (from) {
    _tile_loadd(0, from, 64);
    _tile_loadd(1, from + kSums / 4, 64);
    _tile_loadd(2, from + kSums / 2, 64);
    _tile_loadd(3, from + kSums / 4 * 3, 64);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t step = 0; step < steps; ++step, a += kStepBytes, b += kStepBytes) {
    LOAD_A(0);
    LOAD_B(2);
    MULTIPLY_ADD();
    LOAD_B(1);
    MULTIPLY_ADD();
    LOAD_B(0);
    MULTIPLY_ADD();
    LOAD_A(2);
    MULTIPLY_ADD();
    LOAD_A(1);
    MULTIPLY_ADD();
    LOAD_B(1);
    MULTIPLY_ADD();
  }
  _tile_stored(0, to, 64);
  _tile_stored(1, to + kSums / 4, 64);
  _tile_stored(2, to + kSums / 2, 64);
  _tile_stored(3, to + kSums / 4 * 3, 64);
  finishWriting(to);
}

/// Up to 32 x 32 elements of C.
struct Window {
  float *c;
  int64_t stride, rows, columns;
};

const float *rowOfSums(const float *sums, int64_t row) { return sums + row / 16 * (kSums / 2) + row % 16 * 16; }

/// Fetches C while the products before it run: it is read at the first block along k and written at the last.
void prefetch(const Window &window) {
  for (int64_t row = 0; row < window.rows; ++row)
    for (int64_t line = 0; line < window.columns; line += 16)
      __builtin_prefetch(window.c + row * window.stride + line, /*for writing*/ 1);
}

/// Fetches what the next panel of B is packed from, some lines before each product: its rows or columns lie too far apart for
/// the processor to foresee, and all lines at once would hold up the loads of tiles.
class PanelFetch {
public:
  /// `runs` runs of `floats` elements, `stride` apart; `shares` calls of `next` fetch them all.
  PanelFetch(const float *from, int64_t stride, int64_t runs, int64_t floats, int64_t shares)
      : from(from), stride(stride), linesOfRun(ceilDiv(floats, kFloats)), lines(runs * linesOfRun),
        share(ceilDiv(lines, shares)) {}
  void next() {
    for (int64_t end = std::min(line + share, lines); line < end; ++line)
      __builtin_prefetch(from + line / linesOfRun * stride + line % linesOfRun * kFloats, /*for reading*/ 0,
                         /*into the second-level cache*/ 2);
  }

private:
  static constexpr int64_t kFloats = 16; // of a line
  const float *from;
  int64_t stride, linesOfRun, lines, share, line = 0;
};

MATRIX_UNITS void startSums(const Window &window, const float *bias, float beta, float *sums) {
  for (int64_t half = 0; half < 2; ++half) {
    __mmask16 lanes = firstLanes(window.columns - half * 16);
    __m512 start = bias ? _mm512_maskz_loadu_ps(lanes, bias + half * 16) : _mm512_setzero_ps();
    for (int64_t row = 0; row < kPanel; ++row) {
      __m512 sum = start;
      if (beta != 0.0f && row < window.rows)
        sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(lanes, window.c + row * window.stride + half * 16),
                              _mm512_set1_ps(beta), sum);
      _mm512_store_ps(const_cast<float *>(rowOfSums(sums, row)) + half * (kSums / 4), sum);
    }
  }
}

MATRIX_UNITS void finishSums(const Window &window, const float *sums) {
  for (int64_t half = 0; half < 2; ++half)
    for (int64_t row = 0; row < window.rows; ++row)
      _mm512_mask_storeu_ps(window.c + row * window.stride + half * 16, firstLanes(window.columns - half * 16),
                            _mm512_load_ps(rowOfSums(sums, row) + half * (kSums / 4)));
}

/// Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18: the palette of eight tiles.
struct TileConfiguration {
  uint8_t palette = 1, startRow = 0, reserved[14] = {};
  uint16_t columnBytes[16] = {};
  uint8_t rows[16] = {};
};

MATRIX_UNITS void configureTiles() {
  alignas(64) TileConfiguration configuration;
  for (int i = 0; i < 8; ++i) {
    configuration.columnBytes[i] = 64;
    configuration.rows[i] = 16;
  }
  finishWriting(&configuration);
  _tile_loadconfig(&configuration);
}

MATRIX_UNITS void releaseTiles() { _tile_release(); }

/// What is packed after the panel of B at (l, j): the next one of the block, or the first one of the next block.
PanelFetch fetchAfter(const TileShape &tile, const float *b, int64_t l, int64_t j, int64_t shares) {
  bool isLast = j + kPanel >= tile.n;
  int64_t row = isLast ? l + kBlock : l, column = isLast ? 0 : j + kPanel;
  int64_t k = std::clamp<int64_t>(tile.k - row, 0, kBlock), columns = std::min(kPanel, tile.n - column);
  const float *from = b + row * tile.bRow + column * tile.bColumn;
  return tile.bColumn == 1 ? PanelFetch(from, tile.bRow, k, columns, shares) : PanelFetch(from, tile.bColumn, columns, k, shares);
}

MATRIX_UNITS void multiplyTile(const TileShape &tile, const float *a, const float *b, float *c, const float *bias,
                               float beta, char *scratch) {
  int64_t panelsA = ceilDiv(tile.m, kPanel);
  char *panelB = scratch, *panelOfA = panelB + kPanelBytes;
  float *sums = reinterpret_cast<float *>(panelOfA + panelsA * kPanelBytes);
  alignas(64) float last[kSums];
  for (int64_t l = 0; l < tile.k; l += kBlock) {
    int64_t k = std::min(kBlock, tile.k - l), steps = ceilDiv(k, kStep);
    bool isFirst = l == 0, isLast = l + kBlock >= tile.k;
    for (int64_t i = 0; i < panelsA; ++i) {
      const float *from = a + i * kPanel * tile.aRow + l * tile.aColumn;
      int64_t count = tile.m - i * kPanel;
      if (tile.aColumn == 1)
        packRows({from, tile.aRow, count}, k, panelOfA + i * kPanelBytes);
      else
        packRowsTransposed({from, tile.aColumn, count}, k, panelOfA + i * kPanelBytes);
    }
    for (int64_t j = 0; j < tile.n; j += kPanel) {
      const float *from = b + l * tile.bRow + j * tile.bColumn;
      if (tile.bColumn == 1)
        packColumns({from, tile.bRow, tile.n - j}, k, panelB);
      else
        packColumnsTransposed({from, tile.bColumn, tile.n - j}, k, panelB);
      auto windowAt = [&](int64_t i) {
        return Window{c + i * kPanel * tile.cRow + j, tile.cRow, std::min(kPanel, tile.m - i * kPanel),
                      std::min(kPanel, tile.n - j)};
      };
      PanelFetch fetch = fetchAfter(tile, b, l, j, panelsA);
      for (int64_t i = 0; i < panelsA; ++i) {
        fetch.next();
        float *block = sums + (j / kPanel * panelsA + i) * kSums;
        Window window = windowAt(i);
        bool fromZero = isFirst && !bias && beta == 0.0f;
        if (isLast || (isFirst && beta != 0.0f))
          prefetch(i + 1 < panelsA ? windowAt(i + 1) : window);
        if (isFirst && !fromZero)
          startSums(window, bias ? bias + j : nullptr, beta, block);
        multiplyPanels(panelOfA + i * kPanelBytes, panelB, steps, fromZero ? nullptr : block, isLast ? last : block);
        if (isLast)
          finishSums(window, last);
      }
    }
  }
}

/// Products of panels that stay in the first-level cache.
MATRIX_UNITS double multiplyHotPanels(int64_t rounds) {
  alignas(64) char a[kPanelBytes], b[kPanelBytes];
  std::memset(a, 0x3f, sizeof a);
  std::memset(b, 0x3f, sizeof b);
  alignas(64) float sums[kSums] = {};
  configureTiles();
  auto begin = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < rounds; ++i)
    multiplyPanels(a, b, kBlock / kStep, nullptr, sums);
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  releaseTiles();
  return 2.0 * kPanel * kPanel * kBlock * static_cast<double>(rounds) / seconds;
}

bool askForMatrixUnits() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr unsigned kAmxBf16 = 1u << 22, kAmxTile = 1u << 24;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(edx & kAmxBf16) || !(edx & kAmxTile))
    return false;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq"))
    return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18; // Linux: ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

} // namespace

bool hasMatrixUnits() {
  static const bool has = askForMatrixUnits();
  return has;
}

bool suitsMatrixUnits(const TileShape &shape) {
  bool layout = (shape.aColumn == 1 || shape.aRow == 1) && (shape.bColumn == 1 || shape.bRow == 1);
  return layout && std::min({shape.m, shape.n, shape.k}) >= kPanel / 2;
}

size_t splitProductScratch(int64_t m, int64_t n) {
  int64_t panelsA = ceilDiv(std::min(m, kLargest), kPanel), panelsB = ceilDiv(std::min(n, kLargest), kPanel);
  return static_cast<size_t>((panelsA + 1) * kPanelBytes +
                             panelsA * panelsB * kSums * static_cast<int64_t>(sizeof(float)));
}

void splitProduct(const TileShape &tile, const float *a, const float *b, float *c, const float *bias, float beta,
                  void *scratch) {
  configureTiles();
  for (int64_t i = 0; i < tile.m; i += kLargest)
    for (int64_t j = 0; j < tile.n; j += kLargest) {
      TileShape part = tile;
      part.m = std::min(kLargest, tile.m - i);
      part.n = std::min(kLargest, tile.n - j);
      multiplyTile(part, a + i * tile.aRow, b + j * tile.bColumn, c + i * tile.cRow + j, bias ? bias + j : nullptr,
                   beta, static_cast<char *>(scratch));
    }
  releaseTiles();
}

double splitProductPeak(int64_t rounds) { return multiplyHotPanels(rounds); }

} // namespace llmc::runtime
