//===- GemmForm.h - a contraction as a batched matrix product ---*- C++ -*-===//
#ifndef LLMC_PASSES_ANALYSIS_GEMMFORM_H
#define LLMC_PASSES_ANALYSIS_GEMMFORM_H

#include "dialects/nn/Nn.h"
#include <optional>

namespace llmc::analysis {

/// C[b, m, n] = sum over k of A[b, m, k] B[b, k, n]; strides in elements. C's columns have stride 1; one inner stride of A
/// and one of B is 1. If `swapped`, A is the contraction's rhs and B its lhs.
struct GemmForm {
  int64_t m = 1, n = 1, k = 1;
  llvm::SmallVector<int64_t> batch, aBatch, bBatch, cBatch;
  int64_t aRow = 1, aColumn = 1, bRow = 1, bColumn = 1, cRow = 1;
  bool swapped = false;
};

/// The form of a contraction of contiguous tensors; nothing if its dimensions do not merge into one (see
/// lowering-prepare-contractions, which makes them).
std::optional<GemmForm> gemmFormOf(nn::ContractOp op);

} // namespace llmc::analysis

#endif // LLMC_PASSES_ANALYSIS_GEMMFORM_H
