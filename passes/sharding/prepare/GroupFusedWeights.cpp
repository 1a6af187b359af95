//===- GroupFusedWeights.cpp - sharding-group-fused-weights ---------------------------===//
#include "dialects/nn/Nn.h"
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/sharding/Passes.h"

namespace llmc::sharding {
#define GEN_PASS_DEF_SHARDINGGROUPFUSEDWEIGHTS
#include "passes/sharding/Passes.h.inc"
} // namespace llmc::sharding

using namespace mlir;
using namespace llmc;

namespace {

RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

/// shape with dimension `dim` as (groups, size / groups).
SmallVector<int64_t> grouped(ArrayRef<int64_t> shape, int64_t dim, int64_t groups) {
  SmallVector<int64_t> result(shape);
  result[dim] /= groups;
  result.insert(result.begin() + dim, groups);
  return result;
}

/// A contraction with a fused weight: its result, perhaps with a bias, is read by slices of equal parts alone.
struct Fused {
  nn::ContractOp contract;
  bool weightIsRhs;
  int64_t weightDim, resultDim, groups;
  arith::AddFOp sum;    // null without bias
  nn::BroadcastOp bias; // null without bias
  SmallVector<tensor::ExtractSliceOp> slices;

  BlockArgument weight() { return cast<BlockArgument>(weightIsRhs ? contract.getRhs() : contract.getLhs()); }
};

class Grouper {
public:
  Grouper(func::FuncOp function) : function(function) {}

  void run() {
    SmallVector<nn::ContractOp> contracts(function.getOps<nn::ContractOp>());
    for (nn::ContractOp contract : contracts)
      for (bool weightIsRhs : {true, false})
        if (std::optional<Fused> fused = match(contract, weightIsRhs)) {
          rewrite(*fused);
          break;
        }
  }

private:
  bool isParameter(Value value) {
    auto argument = dyn_cast<BlockArgument>(value);
    return argument && argument.hasOneUse() &&
           train::argumentString(function, argument.getArgNumber(), train::kRole) == train::kParam;
  }

  std::optional<Fused> match(nn::ContractOp contract, bool weightIsRhs) {
    Value weight = weightIsRhs ? contract.getRhs() : contract.getLhs();
    StringRef labels = weightIsRhs ? contract.rhsLabels() : contract.lhsLabels(),
              others = weightIsRhs ? contract.lhsLabels() : contract.rhsLabels();
    if (!isParameter(weight))
      return std::nullopt;
    for (auto [dim, label] : llvm::enumerate(labels)) {
      size_t at = contract.resultLabels().find(label);
      if (at == StringRef::npos || others.contains(label))
        continue;
      Fused fused{contract, weightIsRhs, static_cast<int64_t>(dim), static_cast<int64_t>(at), 0, {}, {}, {}};
      if (matchReaders(fused))
        return fused;
    }
    return std::nullopt;
  }

  bool matchReaders(Fused &fused) {
    Value result = fused.contract.getResult();
    if (result.hasOneUse())
      if (auto sum = dyn_cast<arith::AddFOp>(*result.user_begin())) {
        Value other = sum.getLhs() == result ? sum.getRhs() : sum.getLhs();
        auto bias = other.getDefiningOp<nn::BroadcastOp>();
        if (!bias || !bias->hasOneUse() || !isParameter(bias.getInput()) ||
            !llvm::equal(bias.getDims(), ArrayRef<int64_t>{fused.resultDim}))
          return false;
        fused.sum = sum;
        fused.bias = bias;
        result = sum.getResult();
      }
    int64_t size = typeOf(result).getDimSize(fused.resultDim), part = 0;
    for (Operation *user : result.getUsers()) {
      auto slice = dyn_cast<tensor::ExtractSliceOp>(user);
      if (!slice || slice.getType().getRank() != typeOf(result).getRank() || slice->getNumOperands() != 1)
        return false;
      for (int64_t d = 0; d < typeOf(result).getRank(); ++d)
        if (slice.getStaticStride(d) != 1 ||
            (d != fused.resultDim && slice.getStaticSize(d) != typeOf(result).getDimSize(d)))
          return false;
      int64_t own = slice.getStaticSize(fused.resultDim);
      if ((part && part != own) || slice.getStaticOffset(fused.resultDim) % own != 0)
        return false;
      part = own;
      fused.slices.push_back(slice);
    }
    if (part == 0 || part == size || size % part != 0)
      return false;
    fused.groups = size / part;
    return true;
  }

  /// The argument with its dimension in two; `train.shape` remembers the logical shape, `train.view` how it is split.
  void groupArgument(BlockArgument argument, int64_t dim, int64_t groups) {
    RankedTensorType type = typeOf(argument);
    function.setArgAttr(argument.getArgNumber(), train::kShape,
                        DenseI64ArrayAttr::get(function.getContext(), type.getShape()));
    argument.setType(RankedTensorType::get(grouped(type.getShape(), dim, groups), type.getElementType()));
    Builder b(function.getContext());
    function.setArgAttr(argument.getArgNumber(), train::kView,
                        b.getArrayAttr(b.getDictionaryAttr(
                            b.getNamedAttr("reshape", b.getDenseI64ArrayAttr(typeOf(argument).getShape())))));
    SmallVector<Type> inputs(function.getArgumentTypes());
    inputs[argument.getArgNumber()] = argument.getType();
    function.setType(FunctionType::get(function.getContext(), inputs, function.getResultTypes()));
  }

  void rewrite(Fused &fused) {
    nn::ContractOp contract = fused.contract;
    OpBuilder b(contract);
    char group = 'a';
    while (contract.getEquation().contains(group))
      ++group;
    if (!llvm::isAlpha(group))
      return;
    std::string lhs = contract.lhsLabels().str(), rhs = contract.rhsLabels().str(),
                result = contract.resultLabels().str();
    (fused.weightIsRhs ? rhs : lhs).insert(fused.weightDim, 1, group);
    result.insert(fused.resultDim, 1, group);
    groupArgument(fused.weight(), fused.weightDim, fused.groups);
    Value value = nn::ContractOp::create(b, contract.getLoc(), lhs + "," + rhs + "->" + result, contract.getLhs(),
                                         contract.getRhs());
    if (fused.sum) {
      b.setInsertionPoint(fused.sum);
      groupArgument(cast<BlockArgument>(fused.bias.getInput()), 0, fused.groups);
      Value bias = nn::BroadcastOp::create(b, fused.bias.getLoc(), value.getType(), fused.bias.getInput(),
                                           b.getDenseI64ArrayAttr({fused.resultDim, fused.resultDim + 1}));
      value = arith::AddFOp::create(b, fused.sum.getLoc(), value, bias);
    }
    for (tensor::ExtractSliceOp slice : fused.slices) {
      b.setInsertionPoint(slice);
      int64_t part = slice.getStaticSize(fused.resultDim);
      SmallVector<OpFoldResult> offsets, sizes, strides(typeOf(value).getRank(), b.getIndexAttr(1));
      for (auto [d, size] : llvm::enumerate(typeOf(value).getShape())) {
        bool isGroup = static_cast<int64_t>(d) == fused.resultDim;
        offsets.push_back(b.getIndexAttr(isGroup ? slice.getStaticOffset(d) / part : 0));
        sizes.push_back(b.getIndexAttr(isGroup ? 1 : size));
      }
      Value own = tensor::ExtractSliceOp::create(b, slice.getLoc(), slice.getType(), value, offsets, sizes, strides);
      slice.getResult().replaceAllUsesWith(own);
      slice.erase();
    }
    if (fused.sum) {
      fused.sum.erase();
      fused.bias.erase();
    }
    contract.erase();
  }

  func::FuncOp function;
};

struct GroupFusedWeights : sharding::impl::ShardingGroupFusedWeightsBase<GroupFusedWeights> {
  void runOnOperation() override {
    auto isTensorAxis = [](const auto &axis) { return axis.first == "tp" && axis.second > 1; };
    if (!llvm::any_of(train::recipeOf(getOperation()).mesh, isTensorAxis))
      return;
    for (auto function : getOperation().getOps<func::FuncOp>())
      Grouper(function).run();
  }
};

} // namespace
