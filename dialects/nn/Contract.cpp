//===- Contract.cpp - nn.contract: einsum of two tensors ---------------------===//
#include "dialects/nn/Family.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace llmc;
using namespace llmc::nn;

StringRef ContractOp::lhsLabels() { return getEquation().split(',').first; }
StringRef ContractOp::rhsLabels() { return getEquation().split(',').second.split("->").first; }
StringRef ContractOp::resultLabels() { return getEquation().split("->").second; }

void ContractOp::build(OpBuilder &builder, OperationState &state, StringRef equation, Value lhs, Value rhs) {
  StringRef lhsLabels = equation.split(',').first, rhsLabels = equation.split(',').second.split("->").first;
  SmallVector<int64_t> shape;
  for (char label : equation.split("->").second) {
    size_t position = lhsLabels.find(label);
    shape.push_back(position != StringRef::npos ? typeOf(lhs).getDimSize(position)
                                                : typeOf(rhs).getDimSize(rhsLabels.find(label)));
  }
  build(builder, state, RankedTensorType::get(shape, typeOf(lhs).getElementType()), lhs, rhs, equation);
}

static bool validLabels(StringRef labels, RankedTensorType type) {
  if (static_cast<int64_t>(labels.size()) != type.getRank())
    return false;
  for (size_t i = 0; i < labels.size(); ++i)
    if (!llvm::isAlpha(labels[i]) || labels.drop_front(i + 1).contains(labels[i]))
      return false;
  return true;
}

LogicalResult ContractOp::verify() {
  RankedTensorType lhs = typeOf(getLhs()), rhs = typeOf(getRhs()), result = typeOf(getResult());
  if (!validLabels(lhsLabels(), lhs) || !validLabels(rhsLabels(), rhs) || !validLabels(resultLabels(), result))
    return emitOpError("C1: equation '") << getEquation() << "' does not label each dimension once";
  llvm::SmallDenseMap<char, int64_t> sizes;
  auto bind = [&](StringRef labels, RankedTensorType type) {
    for (auto [label, size] : llvm::zip(labels, type.getShape()))
      if (sizes.try_emplace(label, size).first->second != size)
        return label;
    return '\0';
  };
  for (auto [labels, type] : {std::pair(lhsLabels(), lhs), std::pair(rhsLabels(), rhs)})
    if (char label = bind(labels, type))
      return emitOpError("C2: label '") << label << "' has two sizes";
  for (char label : resultLabels())
    if (!sizes.contains(label))
      return emitOpError("C3: result label '") << label << "' stands in no operand";
  if (char label = bind(resultLabels(), result))
    return emitOpError("C2: label '") << label << "' has two sizes";
  for (auto [labels, other] : {std::pair(lhsLabels(), rhsLabels()), std::pair(rhsLabels(), lhsLabels())})
    for (char label : labels)
      if (!other.contains(label) && !resultLabels().contains(label))
        return emitOpError("C3: label '") << label << "' stands in one operand only and not in the result";
  return check(*this, lhs.getElementType() == rhs.getElementType() && lhs.getElementType() == result.getElementType(),
               "C4: element types differ");
}

// y = contract(a, b)   da = contract(dy, b), db = contract(dy, a) to the operand's labels     saves: a, b
LogicalResult ContractOp::emitVjp(OpBuilder &builder, ValueRange cotangents, ArrayRef<bool> wanted,
                                  SmallVectorImpl<Value> &gradients) {
  Value dy = cotangents[0];
  if (!dy)
    return noGradients(2, gradients);
  std::string forLhs = (resultLabels() + "," + rhsLabels() + "->" + lhsLabels()).str();
  std::string forRhs = (resultLabels() + "," + lhsLabels() + "->" + rhsLabels()).str();
  gradients.push_back(wanted[0] ? ContractOp::create(builder, getLoc(), forLhs, dy, getRhs()) : Value());
  gradients.push_back(wanted[1] ? ContractOp::create(builder, getLoc(), forRhs, dy, getLhs()) : Value());
  return success();
}

FactorRule ContractOp::getFactorRule() {
  FactorRule rule;
  llvm::SmallDenseMap<char, int64_t> factors;
  auto dimsOf = [&](StringRef labels, Value value) {
    TensorFactors dims;
    for (auto [label, size] : llvm::zip(labels, typeOf(value).getShape())) {
      auto [it, isNew] = factors.try_emplace(label, 0);
      if (isNew)
        it->second = rule.add(size, resultLabels().contains(label) ? FactorKind::Parallel : FactorKind::Sum);
      dims.push_back({it->second});
    }
    return dims;
  };
  rule.operands = {dimsOf(lhsLabels(), getLhs()), dimsOf(rhsLabels(), getRhs())};
  rule.results = {dimsOf(resultLabels(), getResult())};
  return rule;
}

int64_t ContractOp::getFlops() {
  int64_t flops = 2 * elements(getLhs());
  for (auto [label, size] : llvm::zip(rhsLabels(), typeOf(getRhs()).getShape()))
    if (!lhsLabels().contains(label))
      flops *= size;
  return flops;
}

namespace {
/// One loop of the einsum with its step in each array (0 where the label is absent).
struct Loop {
  int64_t size, lhs, rhs, out;
};

void contractLoops(ArrayRef<Loop> loops, const double *lhs, const double *rhs, double *out) {
  const Loop &loop = loops.front();
  if (loops.size() == 1) {
    if (loop.out == 0) {
      double sum = 0.0;
      for (int64_t i = 0; i < loop.size; ++i)
        sum += lhs[i * loop.lhs] * rhs[i * loop.rhs];
      *out += sum;
      return;
    }
    for (int64_t i = 0; i < loop.size; ++i)
      out[i * loop.out] += lhs[i * loop.lhs] * rhs[i * loop.rhs];
    return;
  }
  for (int64_t i = 0; i < loop.size; ++i)
    contractLoops(loops.drop_front(), lhs + i * loop.lhs, rhs + i * loop.rhs, out + i * loop.out);
}
} // namespace

LogicalResult ContractOp::evaluate(Operands in, Results out) {
  SmallVector<Loop> loops;
  auto stride = [](StringRef labels, const HostTensor &tensor, char label) {
    size_t position = labels.find(label);
    return position == StringRef::npos ? int64_t(0) : tensor.strides()[position];
  };
  std::string labels = resultLabels().str();
  for (char label : (lhsLabels() + rhsLabels()).str())
    if (!StringRef(labels).contains(label))
      labels.push_back(label);
  for (char label : labels) {
    size_t position = lhsLabels().find(label);
    int64_t size = position != StringRef::npos ? in[0]->shape[position] : in[1]->shape[rhsLabels().find(label)];
    loops.push_back({size, stride(lhsLabels(), *in[0], label), stride(rhsLabels(), *in[1], label),
                     stride(resultLabels(), out[0], label)});
  }
  if (loops.empty())
    out[0].reals[0] = in[0]->reals[0] * in[1]->reals[0];
  else if (out[0].size() != 0)
    contractLoops(loops, in[0]->reals.data(), in[1]->reals.data(), out[0].reals.data());
  return success();
}
