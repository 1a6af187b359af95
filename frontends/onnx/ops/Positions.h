//===- Positions.h - what gathers and scatters ask of indices ----*- C++ -*-===//
#ifndef LLMC_FRONTENDS_ONNX_OPS_POSITIONS_H
#define LLMC_FRONTENDS_ONNX_OPS_POSITIONS_H

#include "frontends/onnx/NodeImporter.h"

namespace llmc::onnx {

/// Most positions that are written down as a constant.
inline constexpr int64_t kMaxPositions = int64_t(1) << 24;

inline bool isInteger(mlir::Value value) { return value && llvm::isa<mlir::IntegerType>(nn::typeOf(value).getElementType()); }

/// The first element if the known `indices` are start, start + 1, ... inside [0, extent).
std::optional<int64_t> consecutive(NodeImporter &n, mlir::Value indices, int64_t extent);

/// Fails if a known index lies outside [-extent, extent).
mlir::LogicalResult checkRange(NodeImporter &n, mlir::Value indices, int64_t extent);

/// Moves dimension `d` to the front; with `back`, the front to `d`.
llvm::SmallVector<int64_t> frontPermutation(int64_t rank, int64_t d, bool back);

/// Row-major position of each tuple of indices, the last dimension, as one index per tuple; none is negative.
mlir::Value flatIndex(NodeImporter &n, mlir::Value indices, llvm::ArrayRef<int64_t> extents);

/// `indices`, those below 0 counted from the end.
mlir::Value wrapped(NodeImporter &n, mlir::Value indices, int64_t extent);

/// An i64 tensor of `shape` whose elements are their positions along dimension `axis`, which has at most kMaxPositions.
mlir::Value positionsAlong(NodeImporter &n, llvm::ArrayRef<int64_t> shape, int64_t axis);

/// The rows `rows` of dimension `d`, in this order; none is negative.
mlir::Value gatherRows(NodeImporter &n, mlir::Value value, llvm::ArrayRef<int64_t> rows, int64_t d);

} // namespace llmc::onnx

#endif // LLMC_FRONTENDS_ONNX_OPS_POSITIONS_H
