//===- VectorProduct.h - f32 products on 256-bit vectors --------*- C++ -*-===//
//
// For x86 processors with AVX2 and FMA but no wider vectors, where the library's code loses half of its rate as soon as
// rows lie a multiple of a page apart. Operands are packed, so that the layout does not matter (Goto, van de Geijn:
// Anatomy of High-Performance Matrix Multiplication, ACM TOMS 34(3), 2008). A sum is a chain of multiply-adds over 256
// values along k; the sums of such blocks are added in order. So an element's bits depend on its row, its column and k
// alone, not on the tile that computes it.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_RUNTIME_KERNELS_VECTORPRODUCT_H
#define LLMC_RUNTIME_KERNELS_VECTORPRODUCT_H

#include "runtime/kernels/PlainGemm.h"
#include <cstddef>
#include <cstdint>

namespace llmc::runtime {

/// Whether the processor can run vectorProduct.
bool hasVectorProduct();
/// Whether it is what to run: the processor has no wider vectors, for which the library is good.
bool prefersVectorProduct();

/// Whether a contraction of this shape and layout can be computed here, and is not mostly padding.
bool suitsVectorProduct(const TileShape &shape);

/// Bytes of scratch memory that vectorProduct needs for a tile of at most m x n, at an address divisible by 64.
size_t vectorProductScratch(int64_t m, int64_t n);

/// c = a b + bias + beta c over one tile in f32; `bias` (tile.n elements) may be null. `scratch` is for this call
/// alone.
void vectorProduct(const TileShape &tile, const float *a, const float *b, float *c, const float *bias, float beta,
                   void *scratch);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_KERNELS_VECTORPRODUCT_H
