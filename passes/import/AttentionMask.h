//===- AttentionMask.h - constant masks by value ----------------*- C++ -*-===//
#ifndef LLMC_PASSES_IMPORT_ATTENTIONMASK_H
#define LLMC_PASSES_IMPORT_ATTENTIONMASK_H

#include "mlir/IR/Value.h"
#include "passes/import/KnownValues.h"

namespace llmc::importing {

/// Hides nothing; hides key s from query t exactly if s > t + S - T; anything else, and all that is not constant.
enum class MaskKind { Nothing, Causal, Other };

/// What masks of scores hide. A mask is i1 (true: seen) or added to the scores, where anything up to kHidden hides: its
/// exponential is zero beside any score that is seen.
class MaskReader {
public:
  explicit MaskReader(mlir::func::FuncOp function) : known(function) {}
  /// `mask` has the shape of the scores or repeats to it, its last dimensions being queries and keys. If `inverted`, true of an
  /// i1 mask means hidden.
  MaskKind kindOf(mlir::Value mask, bool inverted = false);

  static constexpr double kHidden = -1e4;

private:
  KnownValues known;
  llvm::DenseMap<std::pair<mlir::Attribute, int>, MaskKind> kinds; // of [T, S] constants and `inverted`
};

} // namespace llmc::importing

#endif // LLMC_PASSES_IMPORT_ATTENTIONMASK_H
