//===- Reduce.cpp - nn.reduce and nn.broadcast --------------------------------===//
#include "dialects/nn/Family.h"
#include <cmath>

using namespace mlir;
using namespace llmc;
using namespace llmc::nn;

//===-- nn.reduce --------------------------------------------------------------===//

/// The dimensions of a rank that are not in `dims`.
static SmallVector<int64_t> keptDims(int64_t rank, ArrayRef<int64_t> dims) {
  SmallVector<int64_t> kept;
  for (int64_t d = 0; d < rank; ++d)
    if (!llvm::is_contained(dims, d))
      kept.push_back(d);
  return kept;
}

void ReduceOp::build(OpBuilder &builder, OperationState &state, Value input, ReduceKind kind, ArrayRef<int64_t> dims) {
  SmallVector<int64_t> shape;
  for (int64_t d : keptDims(typeOf(input).getRank(), dims))
    shape.push_back(typeOf(input).getDimSize(d));
  build(builder, state, RankedTensorType::get(shape, typeOf(input).getElementType()), input, kind, dims);
}

LogicalResult ReduceOp::verify() {
  RankedTensorType type = typeOf(getInput());
  int64_t last = -1;
  for (int64_t d : getDims()) {
    if (d <= last || d >= type.getRank())
      return emitOpError("C1: dims must be increasing dimensions of the input");
    last = d;
  }
  SmallVector<int64_t> shape;
  for (int64_t d : keptDims(type.getRank(), getDims()))
    shape.push_back(type.getDimSize(d));
  return check(*this, typeOf(getResult()) == RankedTensorType::get(shape, type.getElementType()),
               "C2: the result's type must be the input's without the reduced dimensions");
}

// sum: dx = broadcast(dy); mean: dx = broadcast(dy) / n; max, min: dx = broadcast(dy) where x equals the extreme, shared
// evenly among ties (as torch.amax); prod: dx = broadcast(dy) times the product of the other elements
LogicalResult ReduceOp::emitVjp(OpBuilder &b, ValueRange cotangents, ArrayRef<bool> wanted, SmallVectorImpl<Value> &gradients) {
  if (!cotangents[0] || !wanted[0])
    return noGradients(1, gradients);
  Location loc = getLoc();
  RankedTensorType type = typeOf(getInput());
  SmallVector<int64_t> kept = keptDims(type.getRank(), getDims());
  auto spread = [&](Value v) { return BroadcastOp::create(b, loc, type, v, kept).getResult(); };
  Value dx;
  switch (getKind()) {
  case ReduceKind::Sum:
    dx = spread(cotangents[0]);
    break;
  case ReduceKind::Mean: {
    double count = static_cast<double>(type.getNumElements()) / std::max<int64_t>(1, elements(getResult()));
    Value scaled = arith::MulFOp::create(b, loc, cotangents[0], splat(b, loc, cotangents[0].getType(), 1.0 / count));
    dx = spread(scaled);
    break;
  }
  case ReduceKind::Max:
  case ReduceKind::Min: {
    Value hit = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, getInput(), spread(getResult()));
    Value one = splat(b, loc, type, 1.0), zero = splat(b, loc, type, 0.0);
    Value ones = arith::SelectOp::create(b, loc, hit, one, zero);
    Value ties = ReduceOp::create(b, loc, ones, ReduceKind::Sum, getDims());
    dx = arith::MulFOp::create(b, loc, ones, spread(arith::DivFOp::create(b, loc, cotangents[0], ties)));
    break;
  }
  case ReduceKind::Prod: {
    // y / x where x is not zero; the others of a single zero are all that is not zero, those of one of several have a zero.
    Value zero = splat(b, loc, type, 0.0), one = splat(b, loc, type, 1.0);
    Value isZero = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, getInput(), zero);
    Value nonzero = arith::SelectOp::create(b, loc, isZero, one, getInput());
    Value zeros = ReduceOp::create(b, loc, arith::SelectOp::create(b, loc, isZero, one, zero), ReduceKind::Sum, getDims());
    Value single = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, spread(zeros), one);
    Value rest = spread(ReduceOp::create(b, loc, nonzero, ReduceKind::Prod, getDims()));
    Value atZero = arith::SelectOp::create(b, loc, single, rest, zero);
    Value others = arith::SelectOp::create(b, loc, isZero, atZero, arith::DivFOp::create(b, loc, spread(getResult()), nonzero));
    dx = arith::MulFOp::create(b, loc, spread(cotangents[0]), others);
    break;
  }
  }
  gradients.push_back(dx);
  return success();
}

FactorRule ReduceOp::getFactorRule() {
  FactorRule rule;
  TensorFactors dims = rule.addDimensions(typeOf(getInput()).getShape()), result;
  FactorKind kind = getKind() == ReduceKind::Sum || getKind() == ReduceKind::Mean ? FactorKind::Sum
                    : getKind() == ReduceKind::Max                                ? FactorKind::Max
                                                                                  : FactorKind::NeedWhole;
  for (int64_t d : getDims())
    rule.factors[dims[d][0]].kind = kind;
  for (int64_t d : keptDims(typeOf(getInput()).getRank(), getDims()))
    result.push_back(dims[d]);
  rule.operands = {dims};
  rule.results = {result};
  return rule;
}

int64_t ReduceOp::getFlops() { return elements(getInput()); }

/// Integers stay integers: a double holds none above 2^53.
static void reduceIntegers(const HostTensor &in, ArrayRef<int64_t> kept, ReduceKind kind, HostTensor &result) {
  auto strides = in.strides();
  std::vector<bool> seen(result.size(), false);
  for (int64_t i = 0; i < in.size(); ++i) {
    int64_t at = 0, value = in.integers[i];
    for (int64_t d : kept)
      at = at * in.shape[d] + i / strides[d] % in.shape[d];
    int64_t &total = result.integers[at];
    uint64_t a = static_cast<uint64_t>(total), b = static_cast<uint64_t>(value); // wraps as machines do
    if (!seen[at])
      total = value;
    else if (kind == ReduceKind::Max || kind == ReduceKind::Min)
      total = kind == ReduceKind::Max ? std::max(total, value) : std::min(total, value);
    else
      total = static_cast<int64_t>(kind == ReduceKind::Prod ? a * b : a + b);
    seen[at] = true;
  }
  if (kind == ReduceKind::Mean && result.size() != 0)
    for (int64_t &total : result.integers)
      total /= std::max<int64_t>(1, in.size() / result.size());
}

LogicalResult ReduceOp::evaluate(Operands in, Results out) {
  SmallVector<int64_t> kept = keptDims(in[0]->rank(), getDims());
  auto strides = in[0]->strides();
  HostTensor &result = out[0];
  if (!in[0]->isReal) {
    reduceIntegers(*in[0], kept, getKind(), result);
    return success();
  }
  std::vector<double> sums(result.size());
  std::vector<bool> seen(result.size(), false);
  int64_t count = in[0]->size();
  for (int64_t i = 0; i < count; ++i) {
    int64_t at = 0;
    for (int64_t d : kept)
      at = at * in[0]->shape[d] + i / strides[d] % in[0]->shape[d];
    double value = in[0]->real(i);
    if (!seen[at]) {
      sums[at] = value;
      seen[at] = true;
      continue;
    }
    switch (getKind()) {
    case ReduceKind::Sum:
    case ReduceKind::Mean: sums[at] += value; break;
    case ReduceKind::Max: sums[at] = std::isnan(value) ? value : std::max(sums[at], value); break;
    case ReduceKind::Min: sums[at] = std::isnan(value) ? value : std::min(sums[at], value); break;
    case ReduceKind::Prod: sums[at] *= value; break;
    }
  }
  double scale = getKind() == ReduceKind::Mean && result.size() != 0 ? static_cast<double>(result.size()) / count : 1.0;
  for (int64_t i = 0; i < result.size(); ++i)
    result.reals[i] = getKind() == ReduceKind::Mean ? sums[i] * scale : sums[i];
  return success();
}

//===-- nn.broadcast -------------------------------------------------------------===//

LogicalResult BroadcastOp::verify() {
  RankedTensorType input = typeOf(getInput()), result = typeOf(getResult());
  if (static_cast<int64_t>(getDims().size()) != input.getRank())
    return emitOpError("C1: one entry of dims per input dimension");
  int64_t last = -1;
  for (auto [i, d] : llvm::enumerate(getDims())) {
    if (d <= last || d >= result.getRank())
      return emitOpError("C1: dims must be increasing dimensions of the result");
    last = d;
    if (input.getDimSize(i) != result.getDimSize(d) && input.getDimSize(i) != 1)
      return emitOpError("C2: input dimension ") << i << " is neither 1 nor the result's";
  }
  return check(*this, input.getElementType() == result.getElementType(), "C2: element types differ");
}

OpFoldResult BroadcastOp::fold(FoldAdaptor adaptor) {
  if (getInput().getType() == getResult().getType())
    return getInput();
  if (auto dense = dyn_cast_or_null<DenseElementsAttr>(adaptor.getInput()))
    if (dense.isSplat())
      return dense.resizeSplat(cast<ShapedType>(getType()));
  return {};
}

// y = broadcast(x)   dx = sum of dy over the repeated dimensions
LogicalResult BroadcastOp::emitVjp(OpBuilder &b, ValueRange cotangents, ArrayRef<bool> wanted, SmallVectorImpl<Value> &gradients) {
  if (!cotangents[0] || !wanted[0])
    return noGradients(1, gradients);
  gradients.push_back(sumToBroadcastInput(b, getLoc(), cotangents[0], getDims(), typeOf(getInput())));
  return success();
}

FactorRule BroadcastOp::getFactorRule() {
  FactorRule rule;
  TensorFactors dims = rule.addDimensions(typeOf(getResult()).getShape()), input;
  for (auto [i, d] : llvm::enumerate(getDims()))
    input.push_back(typeOf(getInput()).getDimSize(i) == typeOf(getResult()).getDimSize(d) ? dims[d] : DimensionFactors());
  rule.operands = {input};
  rule.results = {dims};
  return rule;
}

LogicalResult BroadcastOp::evaluate(Operands in, Results out) {
  auto from = in[0]->strides(), to = out[0].strides();
  for (int64_t i = 0, e = out[0].size(); i < e; ++i) {
    int64_t source = 0;
    for (auto [k, d] : llvm::enumerate(getDims()))
      if (in[0]->shape[k] != 1)
        source += i / to[d] % out[0].shape[d] * from[k];
    if (out[0].isReal)
      out[0].reals[i] = in[0]->reals[source];
    else
      out[0].integers[i] = in[0]->integers[source];
  }
  return success();
}
