//===- Ids.cpp - integers that name rows or classes -------------------------------===//
#include "passes/analysis/Ids.h"
#include "dialects/nn/Nn.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

bool llmc::analysis::keepsIds(Operation *op) {
  return isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp, tensor::ExtractSliceOp, tensor::InsertSliceOp,
             tensor::ConcatOp, nn::TransposeOp, nn::BroadcastOp, arith::ExtSIOp, arith::TruncIOp, arith::IndexCastOp>(op);
}
