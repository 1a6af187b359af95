//===- Parts.cpp - nn.flatten_parts, nn.unflatten_parts -----------------------------===//
#include "dialects/nn/Family.h"

using namespace mlir;
using namespace llmc;
using namespace llmc::nn;

/// What is wrong with `flat` as the flat form of `tensor`.
static LogicalResult verifyParts(Operation *op, RankedTensorType tensor, RankedTensorType flat, int64_t dim,
                                 int64_t parts) {
  bool exists = dim >= 0 && dim < tensor.getRank() && parts >= 1 && tensor.getDimSize(dim) % parts == 0;
  if (failed(check(op, parts == 1 ? dim == 0 : exists, "C1: the parts do not divide the dimension")))
    return failure();
  bool fits = flat.getElementType() == tensor.getElementType() && flat.getRank() == (parts == 1 ? 1 : 2) &&
              (parts == 1 || flat.getDimSize(0) == parts) && flat.getNumElements() >= tensor.getNumElements();
  return check(op, fits, "C2: the flat form is no row of the tensor's elements for each part");
}

/// Only the parts can be cut. `flat` and `tensor` share them.
static std::pair<TensorFactors, TensorFactors> partFactors(FactorRule &rule, RankedTensorType tensor,
                                                           RankedTensorType flat, int64_t dim, int64_t parts) {
  TensorFactors dims, row;
  for (auto [d, size] : llvm::enumerate(tensor.getShape()))
    if (static_cast<int64_t>(d) == dim && parts > 1)
      dims.push_back({rule.add(parts), rule.add(size / parts, FactorKind::NeedWhole)});
    else
      dims.push_back({rule.add(size, FactorKind::NeedWhole)});
  if (parts > 1)
    row.push_back({dims[dim][0]});
  row.push_back({rule.add(flat.getShape().back(), FactorKind::NeedWhole)});
  return {dims, row};
}

/// The element of the flat form that is element `i` of `tensor`.
static int64_t placeInParts(const HostTensor &tensor, int64_t width, int64_t dim, int64_t parts, int64_t i) {
  if (parts == 1)
    return i;
  int64_t inner = tensor.size() == 0 ? 1 : tensor.strides()[dim] * tensor.shape[dim] / parts;
  int64_t outer = i / inner; // (before `dim`, part)
  return outer % parts * width + outer / parts * inner + i % inner;
}

static void copyElement(const HostTensor &from, int64_t i, HostTensor &to, int64_t j) {
  if (to.isReal)
    to.reals[j] = from.reals[i];
  else
    to.integers[j] = from.integers[i];
}

//===-- nn.flatten_parts ---------------------------------------------------------------===//

LogicalResult FlattenPartsOp::verify() {
  return verifyParts(*this, typeOf(getInput()), typeOf(getResult()), getDim(), getParts());
}

// y = flatten(x)   dx = unflatten(dy)
LogicalResult FlattenPartsOp::emitVjp(OpBuilder &b, ValueRange cotangents, ArrayRef<bool>,
                                      SmallVectorImpl<Value> &gradients) {
  if (!cotangents[0])
    return noGradients(1, gradients);
  gradients.push_back(
      UnflattenPartsOp::create(b, getLoc(), getInput().getType(), cotangents[0], getDimAttr(), getPartsAttr()));
  return success();
}

FactorRule FlattenPartsOp::getFactorRule() {
  FactorRule rule;
  auto [dims, row] = partFactors(rule, typeOf(getInput()), typeOf(getResult()), getDim(), getParts());
  rule.operands = {dims};
  rule.results = {row};
  return rule;
}

LogicalResult FlattenPartsOp::evaluate(Operands in, Results out) {
  for (int64_t i = 0, e = in[0]->size(); i < e; ++i)
    copyElement(*in[0], i, out[0], placeInParts(*in[0], out[0].shape.back(), getDim(), getParts(), i));
  return success();
}

//===-- nn.unflatten_parts -------------------------------------------------------------===//

LogicalResult UnflattenPartsOp::verify() {
  return verifyParts(*this, typeOf(getResult()), typeOf(getInput()), getDim(), getParts());
}

// y = unflatten(x)   dx = flatten(dy)
LogicalResult UnflattenPartsOp::emitVjp(OpBuilder &b, ValueRange cotangents, ArrayRef<bool>,
                                        SmallVectorImpl<Value> &gradients) {
  if (!cotangents[0])
    return noGradients(1, gradients);
  gradients.push_back(
      FlattenPartsOp::create(b, getLoc(), getInput().getType(), cotangents[0], getDimAttr(), getPartsAttr()));
  return success();
}

FactorRule UnflattenPartsOp::getFactorRule() {
  FactorRule rule;
  auto [dims, row] = partFactors(rule, typeOf(getResult()), typeOf(getInput()), getDim(), getParts());
  rule.operands = {row};
  rule.results = {dims};
  return rule;
}

LogicalResult UnflattenPartsOp::evaluate(Operands in, Results out) {
  for (int64_t i = 0, e = out[0].size(); i < e; ++i)
    copyElement(*in[0], placeInParts(out[0], in[0]->shape.back(), getDim(), getParts(), i), out[0], i);
  return success();
}
