//===- KeepBatch.cpp - import-keep-batch ---------------------------------------------===//
//
// One walk in program order. An op with an operand `collapse_shape` that merges the batch is rewritten on the unmerged
// operand by splitting the factor that the merged dimension stands for, in all its operands and results; its results are
// merged again, so the op after it sees the same form. Reshapes that meet cancel in canonicalization.
//
//===----------------------------------------------------------------------===//
#include "dialects/nn/Nn.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/analysis/BatchTrace.h"
#include "passes/import/Passes.h"

namespace llmc::importing {
#define GEN_PASS_DEF_IMPORTKEEPBATCH
#include "passes/import/Passes.h.inc"
} // namespace llmc::importing

using namespace mlir;
using namespace llmc;
using namespace llmc::importing;
using analysis::BatchMark;
using analysis::BatchTrace;

namespace {

/// A factor of an op and the sizes it is to be split into.
struct Split {
  int64_t factor;
  SmallVector<int64_t> sizes;
};

/// True if dimension `dim` of the result merges the batch with other dimensions.
bool mergesBatch(tensor::CollapseShapeOp collapse, int64_t dim, ArrayRef<BatchMark> marks) {
  ReassociationIndices group = collapse.getReassociationIndices()[dim];
  auto source = cast<RankedTensorType>(collapse.getSrc().getType());
  return llvm::any_of(marks, [&](BatchMark mark) {
    return llvm::is_contained(group, mark.dim) &&
           llvm::any_of(group, [&](int64_t d) { return d != mark.dim && source.getDimSize(d) != 1; });
  });
}

/// The factor of a batch-merging operand, if splitting it is possible. `merging`: the dimensions of values that merge the batch.
std::optional<Split> findSplit(Operation *op, const FactorRule &rule, const DenseMap<Value, SmallVector<int64_t>> &merging) {
  for (auto [value, tensor] : llvm::zip(op->getOperands(), rule.operands)) {
    auto collapse = value.getDefiningOp<tensor::CollapseShapeOp>();
    if (!collapse || !merging.contains(value))
      continue;
    auto source = cast<RankedTensorType>(collapse.getSrc().getType());
    for (auto [dim, group] : llvm::enumerate(collapse.getReassociationIndices())) {
      if (!llvm::is_contained(merging.lookup(value), static_cast<int64_t>(dim)))
        continue;
      if (group.size() < 2 || dim >= tensor.size() || tensor[dim].size() != 1)
        continue;
      if (rule.factors[tensor[dim][0]].kind == FactorKind::NeedWhole)
        return std::nullopt;
      Split split{tensor[dim][0], {}};
      for (int64_t d : group)
        split.sizes.push_back(source.getDimSize(d));
      return split;
    }
  }
  return std::nullopt;
}

/// Splits one factor in an op: operands are reshaped, results have the split shape and are merged again.
class FactorSplitter {
public:
  FactorSplitter(Operation *op, const FactorRule &rule, const Split &split) : op(op), rule(rule), split(split), builder(op) {}

  /// The merged results that replace the op's, in order, each with its dimensions that merge; the op is erased.
  SmallVector<std::pair<Value, SmallVector<int64_t>>> run() {
    SmallVector<Value> operands;
    for (auto [value, tensor] : llvm::zip(op->getOperands(), rule.operands))
      operands.push_back(nn::reshape(builder, op->getLoc(), value, splitShape(value, tensor)));
    SmallVector<Type> types;
    for (auto [value, tensor] : llvm::zip(op->getResults(), rule.results))
      types.push_back(nn::typeOf(value).clone(splitShape(value, tensor)));
    OperationState state(op->getLoc(), op->getName().getStringRef(), operands, types, op->getAttrs());
    patchAttributes(state);
    Operation *replacement = builder.create(state);
    SmallVector<std::pair<Value, SmallVector<int64_t>>> merged;
    for (auto [old, value, tensor] : llvm::zip(op->getResults(), replacement->getResults(), rule.results)) {
      auto &[result, dims] = merged.emplace_back(nn::reshape(builder, op->getLoc(), value, nn::typeOf(old).getShape()), SmallVector<int64_t>());
      for (auto [dim, factors] : llvm::enumerate(tensor))
        if (llvm::is_contained(factors, split.factor))
          dims.push_back(static_cast<int64_t>(dim));
      old.replaceAllUsesWith(result);
    }
    op->erase();
    return merged;
  }

private:
  SmallVector<int64_t> splitShape(Value value, const TensorFactors &tensor) {
    SmallVector<int64_t> shape;
    for (auto [d, size] : llvm::enumerate(nn::typeOf(value).getShape())) {
      if (d < tensor.size() && llvm::is_contained(tensor[d], split.factor))
        llvm::append_range(shape, split.sizes);
      else
        shape.push_back(size);
    }
    return shape;
  }

  /// Old dimension -> its new dimensions, for one tensor.
  SmallVector<SmallVector<int64_t>> newDims(const TensorFactors &tensor) {
    SmallVector<SmallVector<int64_t>> result;
    int64_t next = 0;
    for (const DimensionFactors &factors : tensor) {
      int64_t count = llvm::is_contained(factors, split.factor) ? split.sizes.size() : 1;
      result.emplace_back();
      while (count-- > 0)
        result.back().push_back(next++);
    }
    return result;
  }

  /// Attributes that name dimensions follow the split.
  void patchAttributes(OperationState &state) {
    auto setDims = [&](StringRef name, ArrayRef<int64_t> old, const TensorFactors &tensor) {
      SmallVector<int64_t> dims;
      auto map = newDims(tensor);
      for (int64_t d : old)
        llvm::append_range(dims, map[d]);
      state.attributes.set(name, builder.getDenseI64ArrayAttr(dims));
    };
    if (auto contract = dyn_cast<nn::ContractOp>(op)) {
      state.attributes.set("equation", builder.getStringAttr(splitEquation(contract)));
    } else if (auto reduce = dyn_cast<nn::ReduceOp>(op)) {
      setDims("dims", reduce.getDims(), rule.operands[0]);
    } else if (auto transpose = dyn_cast<nn::TransposeOp>(op)) {
      setDims("permutation", transpose.getPermutation(), rule.operands[0]);
    } else if (auto broadcast = dyn_cast<nn::BroadcastOp>(op)) {
      auto inputMap = newDims(rule.operands[0]), resultMap = newDims(rule.results[0]);
      SmallVector<int64_t> dims;
      for (auto [i, d] : llvm::enumerate(broadcast.getDims())) {
        // A size-1 dimension that repeats along the split one stays one dimension, at its last part.
        if (inputMap[i].size() == resultMap[d].size())
          llvm::append_range(dims, resultMap[d]);
        else
          dims.push_back(resultMap[d].back());
      }
      state.attributes.set("dims", builder.getDenseI64ArrayAttr(dims));
    } else if (auto along = dyn_cast<nn::GatherAlongOp>(op)) {
      state.attributes.set("axis", builder.getI64IntegerAttr(newDims(rule.operands[0])[along.getAxis()].front()));
    } else if (auto scatter = dyn_cast<nn::ScatterAddAlongOp>(op)) {
      state.attributes.set("axis", builder.getI64IntegerAttr(newDims(rule.results[0])[scatter.getAxis()].front()));
    } else if (auto concat = dyn_cast<tensor::ConcatOp>(op)) {
      state.attributes.set("dim", builder.getI64IntegerAttr(newDims(rule.results[0])[concat.getDim()].front()));
    }
  }

  std::string splitEquation(nn::ContractOp contract) {
    char label = 0;
    for (auto [labels, tensor] : {std::pair(contract.lhsLabels(), rule.operands[0]), std::pair(contract.rhsLabels(), rule.operands[1])})
      for (auto [l, factors] : llvm::zip(labels, tensor))
        if (llvm::is_contained(factors, split.factor))
          label = l;
    std::string fresh, equation = contract.getEquation().str();
    for (char c = 'a'; fresh.size() < split.sizes.size(); c = c == 'z' ? 'A' : c + 1)
      if (equation.find(c) == std::string::npos)
        fresh.push_back(c);
    std::string result;
    for (char c : equation)
      result += c == label ? fresh : std::string(1, c);
    return result;
  }

  Operation *op;
  const FactorRule &rule;
  const Split &split;
  OpBuilder builder;
};

struct KeepBatch : importing::impl::ImportKeepBatchBase<KeepBatch> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      FailureOr<BatchTrace> trace = BatchTrace::of(function);
      if (failed(trace))
        return signalPassFailure();
      if (trace->batch() > 1) // a batch of one that is still there cannot be told from other dimensions of size 1
        keepBatch(function, *trace);
    }
  }

  void keepBatch(func::FuncOp function, const BatchTrace &trace) {
    DenseMap<Value, SmallVector<int64_t>> merging; // results of collapse_shape, with their dimensions that merge the batch with more
    for (Operation &op : llvm::make_early_inc_range(function.getBody().front().without_terminator())) {
      if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(op)) {
        for (int64_t dim = 0; dim < collapse.getResultType().getRank(); ++dim)
          if (mergesBatch(collapse, dim, trace.marked(collapse.getSrc())))
            merging[collapse.getResult()].push_back(dim);
        continue;
      }
      auto shardable = dyn_cast<Shardable>(op);
      // Slices and reshapes keep what they have; canonicalization composes them.
      if (!shardable || isa<tensor::ExpandShapeOp, tensor::ExtractSliceOp, tensor::InsertSliceOp, nn::RopeOp, nn::AttentionOp, nn::BatchNormOp>(op))
        continue;
      FactorRule rule = shardable.getFactorRule();
      if (std::optional<Split> split = findSplit(&op, rule, merging))
        for (auto &[merged, dims] : FactorSplitter(&op, rule, *split).run())
          if (merged.getDefiningOp<tensor::CollapseShapeOp>())
            merging[merged] = dims;
    }
  }
};

} // namespace
