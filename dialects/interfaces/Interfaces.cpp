//===- Interfaces.cpp - shared parts of the op interfaces -------------------===//
#include "dialects/interfaces/Interfaces.h"

using namespace mlir;

namespace llmc {

int64_t elementBytes(Type elementType) {
  if (elementType.isIndex())
    return 8;
  return std::max<int64_t>(1, (elementType.getIntOrFloatBitWidth() + 7) / 8);
}

int64_t tensorBytes(Type type) {
  if (auto ranked = dyn_cast<RankedTensorType>(type))
    return ranked.getNumElements() * elementBytes(ranked.getElementType());
  return elementBytes(type);
}

int64_t countResultElements(Operation *op) {
  int64_t count = 0;
  for (Type type : op->getResultTypes())
    if (auto ranked = dyn_cast<RankedTensorType>(type))
      count += ranked.getNumElements();
  return count;
}

int64_t countBytes(Operation *op) {
  int64_t count = 0;
  for (Type type : op->getOperandTypes())
    count += tensorBytes(type);
  for (Type type : op->getResultTypes())
    count += tensorBytes(type);
  return count;
}

FactorRule elementwiseFactorRule(Operation *op) {
  FactorRule rule;
  TensorFactors dims;
  if (op->getNumResults() != 0)
    if (auto ranked = dyn_cast<RankedTensorType>(op->getResult(0).getType()))
      dims = rule.addDimensions(ranked.getShape());
  auto factorsOf = [&](Type type) {
    auto ranked = dyn_cast<RankedTensorType>(type);
    return ranked && ranked.getRank() == static_cast<int64_t>(dims.size()) ? dims : TensorFactors();
  };
  for (Type type : op->getOperandTypes())
    rule.operands.push_back(factorsOf(type));
  for (Type type : op->getResultTypes())
    rule.results.push_back(factorsOf(type));
  return rule;
}

void registerExternalModels(DialectRegistry &registry) {
  registerArithModels(registry);
  registerMathModels(registry);
  registerTensorModels(registry);
}

} // namespace llmc

#include "dialects/interfaces/Interfaces.cpp.inc"
