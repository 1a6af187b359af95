//===- SampleFlow.h - how values depend on the samples of a batch -*- C++ -*-===//
#ifndef LLMC_PASSES_ANALYSIS_SAMPLEFLOW_H
#define LLMC_PASSES_ANALYSIS_SAMPLEFLOW_H

#include "passes/analysis/BatchTrace.h"
#include <optional>

namespace llmc::analysis {

/// How one value depends on the samples.
struct Samples {
  enum Kind {
    None,      // not at all: weights, constants, and what is computed of them
    PerSample, // each sample's part of it on that sample alone
    Mean,      // an average over samples of something per sample
    Sum,       // a sum over samples of something per sample
    Mixed      // in another way
  } kind = None;
  /// The power of the batch size that it grows with, if every sample is repeated as often: 0 for averages and what is per sample,
  /// 1 for sums, 0 again for a quotient of two sums; none if it is no power.
  std::optional<double> degree = 0.0;
  bool isConstant = false;     // known at compile time
  bool hasParameter = false;   // its gradient goes on to a trained weight
  mlir::Operation *mixed = nullptr; // of kind Mixed: the op that made it so
};

/// Says for every value of a function how it depends on the samples that BatchTrace follows. Two passes need it: a number that
/// scales a sum over samples may have been made of the batch size, and a loss can be split into micro-batches if it is an
/// average or a sum over samples, or a quotient of sums.
class SampleFlow {
public:
  SampleFlow(mlir::func::FuncOp function, const BatchTrace &trace);
  Samples operator[](mlir::Value value) const { return values.lookup(value); }

private:
  void visit(mlir::Operation *op);
  Samples reduced(mlir::Operation *op, mlir::OpResult result) const;
  Samples combined(mlir::Operation *op) const;

  const BatchTrace &trace;
  llvm::DenseMap<mlir::Value, Samples> values;
};

} // namespace llmc::analysis

#endif // LLMC_PASSES_ANALYSIS_SAMPLEFLOW_H
