//===- TensorParallel.cpp - which parameters tensor parallelism cuts ---------------===//
#include "passes/sharding/annotate/TensorParallel.h"
#include "dialects/interfaces/Interfaces.h"
#include "dialects/nn/Nn.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "passes/sharding/Axes.h"
#include "llvm/ADT/MapVector.h"
#include <set>

using namespace mlir;

namespace llmc::sharding {

namespace {

RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

/// Of each factor of a dimension that is cut, major to minor: into how many parts.
using TakenFactors = SmallVector<std::pair<int64_t, int64_t>>;

class PairFinder {
public:
  PairFinder(func::FuncOp function, int64_t ranks) : function(function), ranks(ranks), divisions(ranks) {}

  std::map<std::string, TensorCut> run() {
    for (auto loss : function.getOps<nn::LinearCrossEntropyOp>())
      cutVocabulary(loss);
    for (auto contract : function.getOps<nn::ContractOp>())
      for (bool parameterIsRhs : {true, false})
        tryPair(contract, parameterIsRhs ? contract.getRhs() : contract.getLhs(),
                parameterIsRhs ? contract.getLhs() : contract.getRhs(),
                parameterIsRhs ? contract.rhsLabels() : contract.lhsLabels(),
                parameterIsRhs ? contract.lhsLabels() : contract.rhsLabels());
    return found;
  }

private:
  bool isParameter(Value value) {
    auto argument = dyn_cast<BlockArgument>(value);
    return argument && train::argumentString(function, argument.getArgNumber(), train::kRole) == train::kParam;
  }

  std::string nameOf(Value value) {
    return train::argumentString(function, cast<BlockArgument>(value).getArgNumber(), train::kName).str();
  }

  //===-- Vocabularies -------------------------------------------------------------===//

  /// The weight of a head along its classes, with its bias; tables of as many rows along those.
  void cutVocabulary(nn::LinearCrossEntropyOp loss) {
    int64_t dim = loss.getVocabularyLast() ? 1 : 0, classes = typeOf(loss.getWeightMatrix()).getDimSize(dim);
    if (classes % ranks != 0 || !isParameter(loss.getWeightMatrix()) || !isReadByNumber(loss.getWeightMatrix()))
      return;
    found[nameOf(loss.getWeightMatrix())] = {dim, ranks};
    for (Value bias = loss.getBias(); bias;) {
      if (isParameter(bias))
        found[nameOf(bias)] = {0, ranks};
      auto masked = bias.getDefiningOp<arith::AddFOp>(); // with the mask of what is padded
      bias = masked ? masked.getLhs() : Value();
    }
    for (auto gather : function.getOps<nn::GatherOp>())
      if (Value table = gather.getTable();
          isParameter(table) && typeOf(table).getDimSize(0) == classes && isReadByNumber(table))
        found[nameOf(table)] = {0, ranks};
  }

  static bool isReadByNumber(Value table) {
    return llvm::all_of(table.getUsers(), [](Operation *user) {
      return isa<nn::GatherOp, nn::LinearCrossEntropyOp, nn::ContractOp>(user);
    });
  }

  //===-- Pairs --------------------------------------------------------------------===//

  /// Other readers, such as an embedding's, would have to gather the parameter again.
  bool mayBeCut(Value parameter, int64_t dim, int64_t parts) {
    return typeOf(parameter).getDimSize(dim) % parts == 0 && !found.count(nameOf(parameter)) &&
           llvm::all_of(parameter.getUsers(),
                        [](Operation *user) { return isa<nn::ContractOp, nn::BroadcastOp>(user); });
  }

  void tryPair(nn::ContractOp contract, Value parameter, Value activation, StringRef parameterLabels,
               StringRef activationLabels) {
    if (!isParameter(parameter) || isParameter(activation))
      return;
    for (int64_t parts : divisorsOf(ranks))
      for (auto [dim, label] : llvm::enumerate(parameterLabels)) {
        auto d = static_cast<int64_t>(dim);
        if (contract.resultLabels().contains(label) || !activationLabels.contains(label) ||
            !mayBeCut(parameter, d, parts))
          continue;
        cut.clear();
        contractions = 0;
        if (!trace(activation, {static_cast<int64_t>(activationLabels.find(label)), parts}) || contractions == 0 ||
            cut.count(parameter))
          continue;
        cut[parameter] = {d, parts};
        if (keep())
          return;
      }
  }

  /// Takes the present pair, if its numbers of parts go with those of earlier ones.
  bool keep() {
    Divisions all = divisions;
    for (auto &[value, own] : cut)
      if (!all.admit(own.parts))
        return false;
    divisions = all;
    for (auto &[value, own] : cut)
      found[nameOf(value)] = own;
    return true;
  }

  /// Whether `value` can be made cut so; collects the parameters that are then cut.
  bool trace(Value value, TensorCut wanted) {
    SmallVector<std::pair<Value, TensorCut>> open = {{value, wanted}};
    llvm::DenseMap<Value, TensorCut> seen;
    while (!open.empty()) {
      auto [at, own] = open.pop_back_val();
      if (auto [it, isNew] = seen.insert({at, own}); !isNew) {
        if (it->second != own)
          return false;
        continue;
      }
      if (isa<BlockArgument>(at)) {
        if (!isParameter(at) || !mayBeCut(at, own.dim, own.parts))
          return false;
        cut.insert({at, own});
      } else if (!isa<arith::ConstantOp>(at.getDefiningOp()) && !traceOp(cast<OpResult>(at), own, open)) {
        return false;
      }
    }
    return true;
  }

  /// The major factors that `parts` parts of a dimension cut; nothing if they do not divide them.
  static std::optional<TakenFactors> take(const FactorRule &rule, const DimensionFactors &factors, int64_t parts) {
    TakenFactors taken;
    for (int64_t factor : factors) {
      int64_t size = rule.factors[factor].size, own = size % parts == 0 ? parts : size;
      if (parts == 1)
        break;
      if (rule.factors[factor].kind != FactorKind::Parallel || parts % own != 0)
        return std::nullopt;
      taken.push_back({factor, own});
      parts /= own;
    }
    return parts == 1 ? std::optional(taken) : std::nullopt;
  }

  bool traceOp(OpResult result, TensorCut wanted, SmallVectorImpl<std::pair<Value, TensorCut>> &open) {
    auto shardable = dyn_cast<Shardable>(result.getOwner());
    if (!shardable)
      return false;
    FactorRule rule = shardable.getFactorRule();
    std::optional<TakenFactors> taken = take(rule, rule.results[result.getResultNumber()][wanted.dim], wanted.parts);
    if (!taken)
      return false;
    for (auto [tensor, operand] : llvm::zip(rule.operands, result.getOwner()->getOperands()))
      for (auto [d, own] : llvm::enumerate(tensor)) {
        // The operand's dimension must begin with as many of the cut factors as it has at all.
        size_t count = 0;
        int64_t parts = 1;
        for (; count < own.size() && count < taken->size() && own[count] == (*taken)[count].first; ++count)
          parts *= (*taken)[count].second;
        for (auto [factor, size] : llvm::drop_begin(*taken, count))
          if (llvm::is_contained(own, factor))
            return false;
        if (count == 0)
          continue;
        open.push_back({operand, {static_cast<int64_t>(d), parts}});
        contractions += isa<nn::ContractOp>(result.getOwner()) && isParameter(operand);
      }
    return true;
  }

  func::FuncOp function;
  int64_t ranks;
  Divisions divisions;
  std::map<std::string, TensorCut> found;
  llvm::MapVector<Value, TensorCut> cut; // parameters of the present pair
  int contractions = 0;                  // with a parameter, in the present trace
};

} // namespace

std::map<std::string, TensorCut> findTensorParallel(func::FuncOp forward, int64_t ranks) {
  return PairFinder(forward, ranks).run();
}

} // namespace llmc::sharding
