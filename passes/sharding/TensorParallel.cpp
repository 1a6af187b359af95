//===- TensorParallel.cpp - which parameters tensor parallelism cuts ---------------===//
#include "passes/sharding/TensorParallel.h"
#include "dialects/interfaces/Interfaces.h"
#include "dialects/nn/Nn.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;

namespace llmc::sharding {

using dist::Sharding;

namespace {

RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

class PairFinder {
public:
  PairFinder(func::FuncOp function, dist::MeshAttr mesh, StringAttr axis) : function(function), axis(axis), parts(mesh.size(axis)) {}

  std::map<std::string, Sharding> run() {
    for (auto loss : function.getOps<nn::LinearCrossEntropyOp>())
      cutVocabulary(loss);
    for (auto contract : function.getOps<nn::ContractOp>())
      for (bool parameterIsRhs : {true, false})
        tryPair(contract, parameterIsRhs ? contract.getRhs() : contract.getLhs(), parameterIsRhs ? contract.getLhs() : contract.getRhs(),
                parameterIsRhs ? contract.rhsLabels() : contract.lhsLabels(), parameterIsRhs ? contract.lhsLabels() : contract.rhsLabels());
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

  /// The weight of a head along its classes, with its bias; tables of as many rows along those.
  void cutVocabulary(nn::LinearCrossEntropyOp loss) {
    int64_t dim = loss.getVocabularyLast() ? 1 : 0, classes = typeOf(loss.getWeightMatrix()).getDimSize(dim);
    if (classes % parts != 0)
      return;
    auto keep = [&](Value parameter, int64_t d) {
      Sharding sharding = Sharding::whole(typeOf(parameter).getRank());
      sharding.dims[d] = {axis};
      found[nameOf(parameter)] = sharding;
    };
    if (!isParameter(loss.getWeightMatrix()) || !isReadByNumber(loss.getWeightMatrix()))
      return;
    keep(loss.getWeightMatrix(), dim);
    for (Value bias = loss.getBias(); bias;) {
      auto sum = bias.getDefiningOp<arith::AddFOp>(); // with the mask of what is padded
      if (isParameter(bias))
        keep(bias, 0);
      bias = sum ? sum.getLhs() : Value();
    }
    for (auto gather : function.getOps<nn::GatherOp>())
      if (Value table = gather.getTable(); isParameter(table) && typeOf(table).getDimSize(0) == classes && isReadByNumber(table))
        keep(table, 0);
  }

  static bool isReadByNumber(Value table) {
    return llvm::all_of(table.getUsers(), [](Operation *user) { return isa<nn::GatherOp, nn::LinearCrossEntropyOp, nn::ContractOp>(user); });
  }

  /// Other readers, such as an embedding's, would have to gather the parameter again.
  bool mayBeCut(Value parameter, int64_t dim) {
    return typeOf(parameter).getDimSize(dim) % parts == 0 && !found.count(nameOf(parameter)) &&
           llvm::all_of(parameter.getUsers(), [](Operation *user) { return isa<nn::ContractOp, nn::BroadcastOp>(user); });
  }

  void tryPair(nn::ContractOp contract, Value parameter, Value activation, StringRef parameterLabels, StringRef activationLabels) {
    if (!isParameter(parameter) || isParameter(activation))
      return;
    for (auto [dim, label] : llvm::enumerate(parameterLabels)) {
      if (contract.resultLabels().contains(label) || !activationLabels.contains(label) || !mayBeCut(parameter, static_cast<int64_t>(dim)))
        continue;
      cut.clear();
      contractions = 0;
      if (!trace(activation, static_cast<int64_t>(activationLabels.find(label))) || contractions == 0 || cut.count(parameter))
        continue;
      cut[parameter] = static_cast<int64_t>(dim);
      for (auto [value, d] : cut) {
        Sharding sharding = Sharding::whole(typeOf(value).getRank());
        sharding.dims[d] = {axis};
        found[nameOf(value)] = sharding;
      }
      return;
    }
  }

  /// Whether `value` can be made cut along `dim`; collects the parameters that are then cut.
  bool trace(Value value, int64_t dim) {
    SmallVector<std::pair<Value, int64_t>> open = {{value, dim}};
    llvm::DenseSet<std::pair<Value, int64_t>> seen;
    while (!open.empty()) {
      auto [at, d] = open.pop_back_val();
      if (!seen.insert({at, d}).second)
        continue;
      if (isa<BlockArgument>(at)) {
        if (!isParameter(at) || !mayBeCut(at, d) || cut.insert({at, d}).first->second != d)
          return false;
      } else if (!isa<arith::ConstantOp>(at.getDefiningOp()) && !traceOp(cast<OpResult>(at), d, open)) {
        return false;
      }
    }
    return true;
  }

  bool traceOp(OpResult result, int64_t dim, SmallVectorImpl<std::pair<Value, int64_t>> &open) {
    auto shardable = dyn_cast<Shardable>(result.getOwner());
    if (!shardable)
      return false;
    FactorRule rule = shardable.getFactorRule();
    const DimensionFactors &factors = rule.results[result.getResultNumber()][dim];
    if (factors.empty())
      return false;
    int64_t major = factors.front();
    if (rule.factors[major].kind != FactorKind::Parallel || rule.factors[major].size % parts != 0)
      return false;
    for (auto [tensor, operand] : llvm::zip(rule.operands, result.getOwner()->getOperands()))
      for (auto [d, own] : llvm::enumerate(tensor)) {
        if (!llvm::is_contained(own, major))
          continue;
        if (own.front() != major)
          return false;
        open.push_back({operand, static_cast<int64_t>(d)});
        contractions += isa<nn::ContractOp>(result.getOwner()) && isParameter(operand);
      }
    return true;
  }

  func::FuncOp function;
  StringAttr axis;
  int64_t parts;
  std::map<std::string, Sharding> found;
  llvm::MapVector<Value, int64_t> cut; // parameters of the present pair, by the dimension that is cut
  int contractions = 0;                // with a parameter, in the present trace
};

} // namespace

std::map<std::string, Sharding> findTensorParallel(func::FuncOp forward, dist::MeshAttr mesh, StringAttr axis) {
  return PairFinder(forward, mesh, axis).run();
}

} // namespace llmc::sharding
