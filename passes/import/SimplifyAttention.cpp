//===- SimplifyAttention.cpp - import-simplify-attention -----------------------------------===//
//
//   1. a factor of all queries or keys goes into the scale;
//   2. a constant mask that is causal becomes the attribute, one that hides nothing goes, any other has the smallest shape;
//   3. keys and values that repeat each head for a group of query heads are used unrepeated.
//
//===----------------------------------------------------------------------===//
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/import/AttentionMask.h"
#include "passes/import/Matching.h"
#include "passes/import/Passes.h"

namespace llmc::importing {
#define GEN_PASS_DEF_IMPORTSIMPLIFYATTENTION
#include "passes/import/Passes.h.inc"
} // namespace llmc::importing

using namespace mlir;
using namespace llmc;
using namespace llmc::importing;

namespace {

/// `value` without its splat factors, which go into `scale`; looks through views and rotations, which are linear.
Value withoutFactors(OpBuilder &builder, Value value, double &scale) {
  Operation *op = value.getDefiningOp();
  if (isa_and_nonnull<tensor::CollapseShapeOp, tensor::ExpandShapeOp, nn::TransposeOp, nn::RopeOp>(op)) {
    Value inner = withoutFactors(builder, op->getOperand(0), scale);
    if (inner == op->getOperand(0))
      return value;
    Operation *view = builder.clone(*op);
    view->setOperand(0, inner);
    return view->getResult(0);
  }
  if (!isa_and_nonnull<arith::MulFOp, arith::DivFOp>(op))
    return value;
  bool divides = isa<arith::DivFOp>(op);
  std::optional<double> right = splatOf(op->getOperand(1)), left = divides ? std::nullopt : splatOf(op->getOperand(0));
  if ((!left && !right) || (right && *right == 0.0))
    return value;
  scale *= divides ? 1.0 / *right : right ? *right : *left;
  return withoutFactors(builder, op->getOperand(right ? 0 : 1), scale);
}

void simplifyMask(nn::AttentionOp op, MaskReader &reader) {
  Value mask = op.getMask();
  if (!mask)
    return;
  MaskKind kind = reader.kindOf(mask);
  if (kind != MaskKind::Other) {
    op.setCausal(op.getCausal() || kind == MaskKind::Causal);
    op.getMaskMutable().clear();
    return;
  }
  Spread spread = spreadOf(mask);
  SmallVector<int64_t> shape(nn::typeOf(mask).getShape());
  for (int64_t d : {0, 1})
    if (!llvm::is_contained(spread.dims, d))
      shape[d] = 1;
  if (nn::typeOf(mask).getShape() == ArrayRef<int64_t>(shape))
    return;
  OpBuilder builder(op);
  op.getMaskMutable().assign(respread(builder, op.getLoc(), spread, spread.dims, shape));
}

/// x [B, S, G, D], if `value` [B, S, H, D] repeats each of its heads H / G times; null otherwise.
Value unrepeated(OpBuilder &builder, Value value) {
  RankedTensorType type = nn::typeOf(value);
  if (auto broadcast = value.getDefiningOp<nn::BroadcastOp>()) { // one head for all
    Spread spread = spreadOf(value);
    SmallVector<int64_t> shape(type.getShape());
    shape[2] = 1;
    if (llvm::is_contained(spread.dims, 2) || type.getDimSize(2) == 1)
      return {};
    return respread(builder, value.getLoc(), spread, spread.dims, shape);
  }
  auto collapse = value.getDefiningOp<tensor::CollapseShapeOp>();
  if (!collapse || !collapse.getSrc().getDefiningOp<nn::BroadcastOp>())
    return {};
  auto groups = collapse.getReassociationIndices();
  if (groups.size() != 4 || groups[0].size() != 1 || groups[1].size() != 1 || groups[2].size() != 2 || groups[3].size() != 1)
    return {};
  ArrayRef<int64_t> wide = nn::typeOf(collapse.getSrc()).getShape();
  Spread spread = spreadOf(collapse.getSrc());
  if (llvm::is_contained(spread.dims, 3) || wide[3] == 1)
    return {};
  SmallVector<int64_t> dims;
  for (int64_t d : spread.dims)
    dims.push_back(d > 3 ? d - 1 : d);
  return respread(builder, value.getLoc(), spread, dims, {wide[0], wide[1], wide[2], wide[4]});
}

void groupHeads(nn::AttentionOp op) {
  OpBuilder builder(op);
  Value key = unrepeated(builder, op.getKey()), value = unrepeated(builder, op.getValue());
  if (!key || !value || nn::typeOf(key).getDimSize(2) != nn::typeOf(value).getDimSize(2))
    return;
  op.getKeyMutable().assign(key);
  op.getValueMutable().assign(value);
}

struct SimplifyAttention : importing::impl::ImportSimplifyAttentionBase<SimplifyAttention> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      MaskReader reader(function);
      for (auto op : function.getOps<nn::AttentionOp>()) {
        double scale = op.getScale().convertToDouble();
        OpBuilder builder(op);
        op.getQueryMutable().assign(withoutFactors(builder, op.getQuery(), scale));
        op.getKeyMutable().assign(withoutFactors(builder, op.getKey(), scale));
        op.setScale(APFloat(scale));
        simplifyMask(op, reader);
        groupHeads(op);
      }
    }
  }
};

} // namespace
