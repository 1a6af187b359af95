//===- VerifyShardings.cpp - levels sharded and scheduled ---------------------------===//
//
// Judges what `sharding-propagate` decided, and shares no code with it: shardings of operands and results are read back
// into axes per factor, on which all tensors of the op must agree.
//
//===----------------------------------------------------------------------===//
#include "passes/verify/VerifyShardings.h"
#include "dialects/dist/Dist.h"
#include "dialects/interfaces/Interfaces.h"
#include "dialects/nn/Nn.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include <map>

using namespace mlir;

namespace llmc::verify {

using dist::Axes;
using dist::Sharding;
using dist::ShardingAttr;

namespace {

RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

class ShardingVerifier {
public:
  ShardingVerifier(func::FuncOp function, dist::MeshAttr mesh) : function(function), mesh(mesh) {}

  bool run() {
    for (BlockArgument argument : function.getArguments())
      take(argument, function.getArgAttrOfType<ShardingAttr>(argument.getArgNumber(), dist::kSharding), function);
    for (Operation &op : function.getBody().front().without_terminator())
      visit(&op);
    Operation *terminator = function.getBody().front().getTerminator();
    for (auto [i, value] : llvm::enumerate(terminator->getOperands())) {
      auto expected = function.getResultAttrOfType<ShardingAttr>(i, dist::kSharding);
      if (!expected || Sharding::of(expected) != shardings.lookup(value))
        fail(function, "result " + std::to_string(i) + " is returned in another sharding than `dist.sharding` says");
    }
    return valid;
  }

private:
  void fail(Operation *op, const std::string &text) {
    valid = false;
    op->emitError() << "`" << op->getName() << "`: " << text;
  }

  void take(Value value, ShardingAttr attribute, Operation *at) {
    if (!attribute)
      return fail(at, "has a value without sharding");
    Sharding sharding = Sharding::of(attribute);
    if (std::string problem = problemOf(sharding, typeOf(value), mesh); !problem.empty())
      return fail(at, "a sharding does not fit its tensor: " + problem);
    shardings[value] = sharding;
  }

  void visit(Operation *op) {
    auto list = op->getAttrOfType<ArrayAttr>(dist::kShardings);
    if (isa<arith::ConstantOp>(op) && !list) {
      shardings[op->getResult(0)] = Sharding::whole(typeOf(op->getResult(0)).getRank());
      return;
    }
    if (!list || list.size() != op->getNumResults())
      return fail(op, "`dist.shardings` must have one sharding per result");
    for (auto [result, attribute] : llvm::zip_equal(op->getResults(), list))
      take(result, dyn_cast<ShardingAttr>(attribute), op);
    if (!valid)
      return;
    if (auto reshard = dyn_cast<dist::ReshardOp>(op)) {
      if (Sharding::of(reshard.getFrom()) != shardings.lookup(reshard.getInput()) ||
          Sharding::of(reshard.getTo()) != shardings.lookup(reshard.getResult()))
        fail(op, "`from` and `to` are not the shardings of operand and result");
    } else if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
      auto elements = dyn_cast<DenseElementsAttr>(constant.getValue());
      if (!elements || !elements.isSplat() ||
          (shardings[constant].isPartial() && !(isa<FloatType>(elements.getElementType()) && elements.getSplatValue<APFloat>().isZero())))
        fail(op, "a constant is cut, or a partial sum, that cannot be");
    } else if (auto shardable = dyn_cast<Shardable>(op)) {
      checkRule(op, shardable.getFactorRule());
    }
  }

  /// Reads the axes of one dimension back into axes per factor; false if they do not fit.
  bool readDimension(const FactorRule &rule, const DimensionFactors &factors, ArrayRef<StringAttr> axes,
                     SmallVectorImpl<std::optional<Axes>> &known) {
    for (int64_t factor : factors) {
      int64_t left = rule.factors[factor].size;
      Axes own;
      while (!axes.empty() && left > 1 && left % mesh.size(axes.front()) == 0) {
        own.push_back(axes.front());
        left /= mesh.size(axes.front());
        axes = axes.drop_front();
      }
      if (known[factor] && *known[factor] != own)
        return false;
      known[factor] = own;
      if (!own.empty() && rule.factors[factor].kind == FactorKind::NeedWhole)
        return false;
      if (left > 1 && !axes.empty())
        return false; // not contiguous
    }
    return axes.empty();
  }

  void checkRule(Operation *op, const FactorRule &rule) {
    SmallVector<std::optional<Axes>> known(rule.factors.size());
    auto read = [&](const TensorFactors &tensor, Value value) {
      for (auto [factors, axes] : llvm::zip_equal(tensor, shardings.lookup(value).dims))
        if (!readDimension(rule, factors, axes, known))
          return false;
      return true;
    };
    for (auto [tensor, value] : llvm::zip(rule.operands, op->getOperands()))
      if (!read(tensor, value))
        return fail(op, "an operand's sharding contradicts the op's factor rule");
    for (auto [tensor, value] : llvm::zip(rule.results, op->getResults()))
      if (!read(tensor, value))
        return fail(op, "a result's sharding contradicts the op's factor rule");
    checkPartial(op, rule, known);
  }

  void checkPartial(Operation *op, const FactorRule &rule, ArrayRef<std::optional<Axes>> known) {
    // Linear ops keep sums: of all operands together, or of one beside whole ones.
    bool linear = isa<arith::AddFOp, arith::SubFOp, arith::NegFOp, nn::TransposeOp, tensor::CollapseShapeOp,
                      tensor::ExpandShapeOp, tensor::ExtractSliceOp, tensor::InsertSliceOp, tensor::ConcatOp,
                      nn::FlattenPartsOp>(op);
    if (auto reduce = dyn_cast<nn::ReduceOp>(op))
      linear = reduce.getKind() == nn::ReduceKind::Sum;
    bool linearInOne = isa<nn::ContractOp, nn::RopeOp>(op);
    Axes kept;
    int64_t partial = 0;
    for (auto [i, operand] : llvm::enumerate(op->getOperands())) {
      const Sharding &sharding = shardings[operand];
      if (linear ? i == 0 : linearInOne && !sharding.sum.empty())
        kept = sharding.sum;
      partial += !sharding.sum.empty();
      if (!sharding.max.empty() || (!sharding.sum.empty() && kept.empty()) || (linear && sharding.sum != kept) ||
          (linearInOne && (partial > 1 || (isa<nn::RopeOp>(op) && i > 0 && !sharding.sum.empty()))))
        return fail(op, "reads a partial sum or maximum");
    }
    for (auto [tensor, result] : llvm::zip(rule.results, op->getResults())) {
      Axes sum = kept, max;
      for (auto [factor, axes] : llvm::enumerate(known)) {
        bool isReduced = llvm::none_of(
            tensor, [&](const DimensionFactors &dim) { return llvm::is_contained(dim, static_cast<int64_t>(factor)); });
        for (StringAttr axis : axes.value_or(Axes()))
          if (Axes &partial = rule.factors[factor].kind == FactorKind::Max ? max : sum;
              isReduced && !llvm::is_contained(partial, axis))
            partial.push_back(axis);
      }
      if (auto same = [](Axes a, Axes b) { return llvm::sort(a, less), llvm::sort(b, less), a == b; };
          !same(sum, shardings[result].sum) || !same(max, shardings[result].max))
        fail(op, "a result's partial axes are not those of the factors that are reduced");
    }
  }

  static bool less(StringAttr a, StringAttr b) { return a.getValue() < b.getValue(); }

  func::FuncOp function;
  dist::MeshAttr mesh;
  bool valid = true;
  DenseMap<Value, Sharding> shardings;
};

} // namespace

bool verifyShardings(ModuleOp module) {
  dist::MeshAttr mesh = dist::meshOf(module);
  if (!mesh)
    return true;
  bool valid = true;
  std::map<std::pair<StringRef, StringRef>, Attribute> state;
  for (auto function : module.getOps<func::FuncOp>()) {
    valid &= ShardingVerifier(function, mesh).run();
    auto agree = [&](StringRef role, StringRef name, Attribute sharding) {
      if (role == train::kInput || role == train::kOutput || role == train::kPosition || role == train::kConstant)
        return;
      if (state.try_emplace({role, name}, sharding).first->second != sharding)
        valid = (function.emitError() << "state '" << name << "' has another sharding in another function", false);
    };
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      agree(train::argumentString(function, i, train::kRole), train::argumentString(function, i, train::kName),
            function.getArgAttr(i, dist::kSharding));
    for (unsigned i = 0; i < function.getNumResults(); ++i)
      agree(train::resultString(function, i, train::kRole), train::resultString(function, i, train::kName),
            function.getResultAttr(i, dist::kSharding));
  }
  return valid;
}

} // namespace llmc::verify
