//===- Matching.cpp - what recomposition looks for in IR ------------------------===//
#include "passes/import/Matching.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include <cmath>

using namespace mlir;

namespace llmc::importing {

std::optional<double> splatOf(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isa<nn::BroadcastOp, tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op))
      break;
    value = op->getOperand(0);
  }
  DenseElementsAttr dense;
  if (!matchPattern(value, m_Constant(&dense)) || !dense.isSplat())
    return std::nullopt;
  if (isa<FloatType>(dense.getElementType()))
    return dense.getSplatValue<APFloat>().convertToDouble();
  if (dense.getElementType().isInteger(1))
    return dense.getSplatValue<bool>();
  if (isa<IntegerType>(dense.getElementType()))
    return static_cast<double>(dense.getSplatValue<APInt>().getSExtValue());
  return std::nullopt;
}

double roundingOf(Type elementType) { return elementType.isF64() || elementType.isF32() ? 1.2e-7 : 8e-3; }

bool isSplat(Value value, double expected) {
  std::optional<double> splat = splatOf(value);
  return splat && std::abs(*splat - expected) <= roundingOf(nn::typeOf(value).getElementType()) * std::abs(expected);
}

static SmallVector<int64_t> largeDims(RankedTensorType type) {
  SmallVector<int64_t> dims;
  for (auto [d, size] : llvm::enumerate(type.getShape()))
    if (size != 1)
      dims.push_back(static_cast<int64_t>(d));
  return dims;
}

static SmallVector<int64_t> largeSizes(RankedTensorType type) {
  return llvm::filter_to_vector(type.getShape(), [](int64_t size) { return size != 1; });
}

Spread spreadOf(Value value) {
  Spread spread{value, largeDims(nn::typeOf(value))};
  while (Operation *op = spread.source.getDefiningOp()) {
    if (isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op)) {
      if (largeSizes(nn::typeOf(op->getOperand(0))) != largeSizes(nn::typeOf(spread.source)))
        break;
    } else if (auto broadcast = dyn_cast<nn::BroadcastOp>(op)) {
      SmallVector<int64_t> dims, outer = largeDims(nn::typeOf(spread.source));
      for (int64_t i : largeDims(nn::typeOf(broadcast.getInput())))
        dims.push_back(spread.dims[llvm::find(outer, broadcast.getDims()[i]) - outer.begin()]);
      spread.dims = dims;
    } else {
      break;
    }
    spread.source = op->getOperand(0);
  }
  return spread;
}

Value Spread::squeezed(OpBuilder &builder, Location loc) const {
  return nn::reshape(builder, loc, source, largeSizes(nn::typeOf(source)));
}

Value respread(OpBuilder &builder, Location loc, const Spread &spread, ArrayRef<int64_t> dims, ArrayRef<int64_t> shape) {
  if (nn::typeOf(spread.source).getShape() == shape)
    return spread.source;
  Value source = spread.squeezed(builder, loc);
  auto type = RankedTensorType::get(shape, nn::typeOf(source).getElementType());
  if (nn::typeOf(source).getNumElements() == type.getNumElements())
    return nn::reshape(builder, loc, source, shape);
  return nn::BroadcastOp::create(builder, loc, type, source, dims);
}

DenseSet<Value> valuesOfParameters(func::FuncOp function) {
  DenseSet<Value> values;
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    if (train::argumentString(function, i, train::kRole) == train::kParam)
      values.insert(function.getArgument(i));
  for (Operation &op : function.getBody().front())
    if (llvm::any_of(op.getOperands(), [&](Value v) { return values.contains(v); }))
      for (Value result : op.getResults())
        if (isa<FloatType>(getElementTypeOrSelf(result.getType())))
          values.insert(result);
  return values;
}

} // namespace llmc::importing
