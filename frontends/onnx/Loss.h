//===- Loss.h - the cross-entropy that the importer emits -------*- C++ -*-===//
#ifndef LLMC_FRONTENDS_ONNX_LOSS_H
#define LLMC_FRONTENDS_ONNX_LOSS_H

#include "mlir/IR/Value.h"

namespace llmc::onnx {

class NodeImporter;

/// Results of nn.cross_entropy: rank-0 sum and weight, log-sum-exp of each row.
struct CrossEntropy {
  mlir::Value sum, weight, lse;
};

/// Emits nn.cross_entropy of logits [..., V] and labels [...].
CrossEntropy emitCrossEntropy(NodeImporter &n, mlir::Value logits, mlir::Value labels, int64_t ignoreIndex);

} // namespace llmc::onnx

#endif // LLMC_FRONTENDS_ONNX_LOSS_H
