//===- OpSharding.cpp - shardings that one op's factor rule allows ----------------===//
#include "passes/sharding/propagate/OpSharding.h"
#include "dialects/nn/Nn.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/sharding/Axes.h"
#include <numeric>

using namespace mlir;

namespace llmc::sharding {

using dist::Axes;
using dist::Sharding;

namespace {

/// The axes of each factor.
struct Assignment {
  Assignment(const FactorRule &rule, dist::MeshAttr mesh) : rule(rule), mesh(mesh), axes(rule.factors.size()) {}

  /// Gives the axes of one dimension to its factors, major to minor, as far as they divide them; what a factor has of other
  /// operands is kept, and cut further where the axes begin alike.
  void adopt(const DimensionFactors &factors, const Axes &wanted) {
    size_t at = 0, taken = 0; // the present factor, and how many of its axes have been met
    int64_t parts = 1;        // that these make of it
    for (StringAttr axis : wanted) {
      while (at < factors.size() && parts == rule.factors[factors[at]].size)
        ++at, parts = 1, taken = 0;
      if (at == factors.size())
        return;
      const Factor &factor = rule.factors[factors[at]];
      Axes &present = axes[factors[at]];
      parts *= mesh.size(axis);
      if (taken < present.size() ? present[taken] != axis
                                 : factor.kind == FactorKind::NeedWhole || factor.size % parts != 0 || llvm::is_contained(used, axis))
        return;
      if (taken++ < present.size())
        continue;
      present.push_back(axis);
      used.push_back(axis);
    }
  }

  /// A dimension is cut into contiguous parts only if all factors but the last cut one are cut to single entries.
  bool isContiguous(const DimensionFactors &factors) const {
    bool open = false;
    for (int64_t factor : factors) {
      if (open && !axes[factor].empty())
        return false;
      open |= mesh.size(axes[factor]) != rule.factors[factor].size;
    }
    return true;
  }

  void dropInterleaved(const TensorFactors &tensor) {
    for (const DimensionFactors &factors : tensor)
      while (!isContiguous(factors))
        for (int64_t factor : llvm::reverse(factors))
          if (!axes[factor].empty()) {
            axes[factor].clear();
            break;
          }
  }

  Axes of(const DimensionFactors &factors) const {
    Axes all;
    for (int64_t factor : factors)
      llvm::append_range(all, axes[factor]);
    return all;
  }

  Sharding of(const TensorFactors &tensor) const {
    Sharding sharding;
    for (const DimensionFactors &factors : tensor)
      sharding.dims.push_back(of(factors));
    return sharding;
  }

  const FactorRule &rule;
  dist::MeshAttr mesh;
  SmallVector<Axes> axes;
  Axes used;
};

bool has(const TensorFactors &tensor, int64_t factor) {
  return llvm::any_of(tensor, [&](const DimensionFactors &dim) { return llvm::is_contained(dim, factor); });
}

} // namespace

OpSharding shardByRule(const FactorRule &rule, ArrayRef<Sharding> operands, ArrayRef<int64_t> operandBytes,
                       dist::MeshAttr mesh, const Sharding &wanted) {
  Assignment assignment(rule, mesh);
  SmallVector<size_t> order(operands.size());
  std::iota(order.begin(), order.end(), 0);
  llvm::stable_sort(order, [&](size_t a, size_t b) { return operandBytes[a] > operandBytes[b]; });
  for (size_t i : order) {
    if (rule.separable)
      assignment.used.clear();
    for (auto [factors, axes] : llvm::zip(rule.operands[i], operands[i].dims))
      assignment.adopt(factors, axes);
  }
  if (!wanted.dims.empty())
    for (auto [factors, axes] : llvm::zip_equal(rule.results[0], wanted.dims))
      if (llvm::none_of(rule.operands,
                        [&](const TensorFactors &tensor) { return !factors.empty() && has(tensor, factors[0]); }))
        assignment.adopt(factors, axes);
  for (const auto *tensors : {&rule.operands, &rule.results})
    for (const TensorFactors &tensor : *tensors)
      assignment.dropInterleaved(tensor);

  OpSharding result;
  for (const TensorFactors &tensor : rule.operands)
    result.operands.push_back(assignment.of(tensor));
  for (const TensorFactors &tensor : rule.results) {
    Sharding sharding = assignment.of(tensor);
    for (auto [factor, axes] : llvm::enumerate(assignment.axes))
      for (StringAttr axis : axes)
        if (Axes &partial = rule.factors[factor].kind == FactorKind::Max ? sharding.max : sharding.sum;
            !has(tensor, static_cast<int64_t>(factor)) && !llvm::is_contained(partial, axis))
          partial.push_back(axis);
    sortAxes(sharding.sum, mesh);
    sortAxes(sharding.max, mesh);
    result.results.push_back(sharding);
  }
  return result;
}

/// The operand whose partial sums `op` may keep beside whole other operands; -1 if there is none.
static int64_t linearOperand(Operation *op, ArrayRef<Sharding> operands) {
  if (isa<nn::RopeOp>(op))
    return 0;
  if (isa<nn::ContractOp>(op) && operands[0].isPartial() != operands[1].isPartial())
    return operands[0].isPartial() ? 0 : 1;
  return -1;
}

static bool isLinear(Operation *op) {
  if (auto reduce = dyn_cast<nn::ReduceOp>(op))
    return reduce.getKind() == nn::ReduceKind::Sum;
  return isa<arith::AddFOp, arith::SubFOp, arith::NegFOp, nn::TransposeOp, tensor::CollapseShapeOp,
             tensor::ExpandShapeOp, tensor::ExtractSliceOp, tensor::InsertSliceOp, tensor::ConcatOp,
             nn::FlattenPartsOp>(op);
}

/// Zeros are a partial sum of zeros.
static bool isZero(Value value) {
  auto constant = value.getDefiningOp<arith::ConstantOp>();
  auto elements = constant ? dyn_cast<DenseFPElementsAttr>(constant.getValue()) : DenseFPElementsAttr();
  return elements && elements.isSplat() && elements.getSplatValue<APFloat>().isZero();
}

void keepPartialSums(Operation *op, ArrayRef<Sharding> operands, OpSharding &chosen, dist::MeshAttr mesh) {
  int64_t only = linearOperand(op, operands);
  if (!isLinear(op) && only < 0)
    return;
  Axes sum = operands[std::max<int64_t>(only, 0)].sum;
  for (auto [i, operand] : llvm::enumerate(operands))
    if (!(only < 0 && isZero(op->getOperand(i))) && (!operand.max.empty() || operand.sum != (only < 0 || static_cast<int64_t>(i) == only ? sum : Axes())))
      return;
  // An axis that cuts the op otherwise cannot be summed over as well.
  for (const auto *shardings : {&chosen.operands, &chosen.results})
    for (const Sharding &sharding : *shardings) {
      Axes all = sharding.sum;
      for (const Axes &axes : sharding.dims)
        llvm::append_range(all, axes);
      if (llvm::any_of(sum, [&](StringAttr axis) { return llvm::is_contained(all, axis); }))
        return;
    }
  for (auto [i, operand] : llvm::enumerate(chosen.operands))
    if (only < 0 || static_cast<int64_t>(i) == only)
      operand.sum = sum;
  for (Sharding &result : chosen.results) {
    llvm::append_range(result.sum, sum);
    sortAxes(result.sum, mesh);
  }
}

} // namespace llmc::sharding
