//===- TopK.cpp - nn.top_k ------------------------------------------------------===//
#include "dialects/nn/Family.h"
#include <numeric>

using namespace mlir;
using namespace llmc;
using namespace llmc::nn;

LogicalResult TopKOp::verify() {
  RankedTensorType input = typeOf(getInput()), values = typeOf(getValues());
  if (input.getRank() == 0 || values.getRank() != input.getRank() || leading(input) != leading(values) ||
      values.getShape() != typeOf(getIndices()).getShape())
    return emitOpError("C1: result shapes do not follow the input's");
  return check(*this, values.getShape().back() >= 1 && values.getShape().back() <= input.getShape().back(),
               "C1: k is not between 1 and the input's last dimension");
}

// values = top_k(x)   dx = scatter_add_along(indices, dvalues)     saves: indices
LogicalResult TopKOp::emitVjp(OpBuilder &b, ValueRange cotangents, ArrayRef<bool> wanted, SmallVectorImpl<Value> &gradients) {
  if (!cotangents[0] || !wanted[0])
    return noGradients(1, gradients);
  gradients.push_back(ScatterAddAlongOp::create(b, getLoc(), getInput().getType(), getIndices(), cotangents[0],
                                                typeOf(getInput()).getRank() - 1));
  return success();
}

FactorRule TopKOp::getFactorRule() {
  RowRule r(typeOf(getInput()), FactorKind::NeedWhole);
  TensorFactors result = r.leadingDims;
  result.push_back({r.rule.add(typeOf(getValues()).getShape().back(), FactorKind::NeedWhole)});
  r.rule.operands = {r.whole};
  r.rule.results = {result, result};
  return r.rule;
}

LogicalResult TopKOp::evaluate(Operands in, Results out) {
  auto [rows, columns] = rowsOf(*in[0]);
  int64_t k = out[0].shape.back();
  std::vector<int64_t> order(columns);
  for (int64_t r = 0; r < rows; ++r) {
    const double *x = in[0]->reals.data() + r * columns;
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return x[a] > x[b]; });
    for (int64_t i = 0; i < k; ++i) {
      out[0].reals[r * k + i] = x[order[i]];
      out[1].integers[r * k + i] = order[i];
    }
  }
  return success();
}
