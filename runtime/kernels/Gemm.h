//===- Gemm.h - contractions in fixed tiles ---------------------*- C++ -*-===//
//
// A contraction is cut into the tiles that the plan names, whatever the number of threads, or into tiles that do not
// change its bits. On processors with matrix units a tile is one call of splitProduct; on those whose vectors have 256
// bits, one of vectorProduct; elsewhere, and for what these leave out, one single-threaded oneDNN call with an
// instruction set chosen by a fixed rule (the widest that processor and library know). So a machine gives the same bits
// for any number of threads. Primitives are made once, at load; equal ones are shared.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_RUNTIME_KERNELS_GEMM_H
#define LLMC_RUNTIME_KERNELS_GEMM_H

#include "runtime/plan/Plan_generated.h"
#include "runtime/support/Status.h"
#include <cstdint>
#include <memory>

namespace llmc::runtime {

namespace fb = llmc::plan::fb;

/// Addresses of a contraction's operands; `bias` is null without has_bias.
struct GemmOperands {
  const void *a = nullptr, *b = nullptr;
  void *c = nullptr;
  const void *bias = nullptr;
};

/// A contraction that is bound to its operands.
class Gemm {
public:
  virtual ~Gemm() = default;
  virtual int64_t tiles() const = 0;
  /// Computes one tile. Tiles are independent: any thread may run any of them at any time. `thread` is below the number
  /// of threads of the library and used by one caller at a time. Returns false if the library failed.
  virtual bool runTile(int64_t tile, unsigned thread) const = 0;
  /// Which implementation computes most of the tiles, for traces.
  virtual const char *implementation() const = 0;
};

/// Which implementations a library chooses among, for contractions of f32 without an activation; all others go to the library
/// oneDNN, or to plain loops where it has only its reference code.
enum class Products {
  Best,        ///< the processor's best
  VectorUnits, ///< the best on vector units, also where the processor has matrix units
  // For tests, so that each runs wherever the processor can:
  Matrix, ///< splitProduct, where the shape suits it
  Vector, ///< vectorProduct, where the shape suits it
  OneDnn, ///< neither
};

/// Whether this processor can run what `products` forces.
bool isAvailable(Products products);

/// Makes contractions and owns what they share: primitives, and streams and scratch memory per thread.
class GemmLibrary {
public:
  /// `products` must be available.
  static Result<std::unique_ptr<GemmLibrary>> create(unsigned threads, Products products = Products::Best);
  virtual ~GemmLibrary() = default;
  /// `gemm` must have passed the validator. The library must outlive the result.
  virtual Result<std::unique_ptr<Gemm>> bind(const fb::Gemm &gemm, const GemmOperands &operands) = 0;
  /// To be called once in each thread that runs tiles: keeps the library's own threading off.
  static void initializeThread();
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_KERNELS_GEMM_H
