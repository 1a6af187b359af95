//===- SplitProduct.h - f32 products on bf16 matrix units -------*- C++ -*-===//
//
// x86 processors with AMX multiply bf16 matrices at sixteen times the rate of f32 vectors. Each f32 operand is cut into
// three bf16 terms whose sum it is, exactly: x = x1 + x2 + x3, |x2| <= 2^-8 |x|, |x3| <= 2^-15 |x|. A product is the
// sum of the six products of terms down to 2^-16,
//   x y ~ x1 y1 + (x1 y2 + x2 y1) + (x2 y2 + x1 y3 + x3 y1),
// each exact in f32, and added in f32. What is left out is below 2^-22 |x y| with random sign, so that a contraction is
// as accurate as one of f32 multiply-adds (Henry, Tang, Heinecke: Leveraging the bfloat16 Artificial Intelligence
// Datatype For Higher-Precision Computations, ARITH 2019; "BF16_BF16_F32_X6" in StableHLO). Subnormal terms count as
// zero, and an infinite operand gives NaN. An element's bits depend on its row, its column and k alone, not on the tile
// that computes it.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_RUNTIME_KERNELS_SPLITPRODUCT_H
#define LLMC_RUNTIME_KERNELS_SPLITPRODUCT_H

#include "runtime/kernels/PlainGemm.h"
#include <cstddef>
#include <cstdint>

namespace llmc::runtime {

/// Whether processor and operating system have the matrix units; asks the system for their registers at the first call.
bool hasMatrixUnits();

/// Whether a contraction of this shape and layout can be computed here, and is not mostly padding.
bool suitsMatrixUnits(const TileShape &shape);

/// Bytes of scratch memory that splitProduct needs for a tile of at most m x n, at an address divisible by 64.
size_t splitProductScratch(int64_t m, int64_t n);

/// c = a b + bias + beta c over one tile in f32; `bias` (tile.n elements) may be null. `scratch` is for this call
/// alone.
void splitProduct(const TileShape &tile, const float *a, const float *b, float *c, const float *bias, float beta,
                  void *scratch);

/// Multiplies plus adds of f32 numbers per second on one core, from operands that are packed already and in the
/// first-level cache, over `rounds` products of 32 x 32 x 128.
double splitProductPeak(int64_t rounds);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_KERNELS_SPLITPRODUCT_H
