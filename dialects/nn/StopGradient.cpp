//===- StopGradient.cpp - nn.stop_gradient ------------------------------------------===//
#include "dialects/nn/Family.h"

using namespace mlir;
using namespace llmc;
using namespace llmc::nn;

// y = x   dx = 0
LogicalResult StopGradientOp::emitVjp(OpBuilder &, ValueRange, ArrayRef<bool>, SmallVectorImpl<Value> &gradients) {
  return noGradients(1, gradients);
}

FactorRule StopGradientOp::getFactorRule() { return elementwiseFactorRule(*this); }

LogicalResult StopGradientOp::evaluate(Operands in, Results out) {
  out[0].reals = in[0]->reals;
  return success();
}
