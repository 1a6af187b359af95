//===- BatchTrace.cpp - where the batch dimension goes --------------------------===//
//
//   1. dimension 0 of every input is marked;
//   2. for each op, a marked operand dimension marks the factor that is its major part; every operand and result dimension
//      that has this factor as its major part is marked too; repeat until nothing changes;
//   3. marks may reach constants and broadcasts backward, but never a weight;
//   4. a batch of one is walked forward once: what meets it without a mark is to be repeated.
//
//===----------------------------------------------------------------------===//
#include "passes/import/BatchTrace.h"
#include "dialects/interfaces/Interfaces.h"
#include "dialects/train/Train.h"

using namespace mlir;

namespace llmc::importing {

ArrayRef<int64_t> BatchTrace::marked(Value value) const {
  auto it = dims.find(value);
  return it == dims.end() ? ArrayRef<int64_t>() : ArrayRef<int64_t>(it->second);
}

bool BatchTrace::mark(Value value, int64_t dim) {
  auto &marks = dims[value];
  if (llvm::is_contained(marks, dim))
    return false;
  marks.insert(llvm::lower_bound(marks, dim), dim);
  return true;
}

LogicalResult BatchTrace::start(func::FuncOp function) {
  StringRef first;
  for (unsigned i = 0; i < function.getNumArguments(); ++i) {
    if (train::argumentString(function, i, train::kRole) != train::kInput)
      continue;
    auto type = cast<RankedTensorType>(function.getArgumentTypes()[i]);
    StringRef name = train::argumentString(function, i, train::kName);
    if (type.getRank() == 0)
      return function.emitError() << "input '" << name << "' has no batch dimension";
    if (size != 0 && size != type.getDimSize(0))
      return function.emitError() << "inputs '" << first << "' and '" << name << "' have different batch sizes, " << size << " and "
                                  << type.getDimSize(0);
    size = type.getDimSize(0);
    first = name;
    mark(function.getArgument(i), 0);
  }
  return size != 0 ? success() : function.emitError() << "the graph has no input";
}

namespace {

/// The first factor of a dimension that is larger than 1; -1 if there is none.
int64_t majorFactor(const FactorRule &rule, const DimensionFactors &factors) {
  for (int64_t factor : factors)
    if (rule.factors[factor].size != 1)
      return factor;
  return -1;
}

/// Where a factor stands in one tensor: the dimension, and whether as its major part.
struct Place {
  int64_t dim;
  bool major;
};
std::optional<Place> placeOf(const FactorRule &rule, const TensorFactors &tensor, int64_t factor) {
  for (auto [dim, factors] : llvm::enumerate(tensor))
    if (llvm::is_contained(factors, factor))
      return Place{static_cast<int64_t>(dim), majorFactor(rule, factors) == factor};
  return std::nullopt;
}

bool isFixed(Value value) {
  auto argument = dyn_cast<BlockArgument>(value);
  if (!argument)
    return false;
  auto function = cast<func::FuncOp>(argument.getOwner()->getParentOp());
  StringRef role = train::argumentString(function, argument.getArgNumber(), train::kRole);
  return role == train::kParam || role == train::kBuffer;
}

} // namespace

LogicalResult BatchTrace::visit(Operation *op, bool &changed) {
  auto shardable = dyn_cast<Shardable>(op);
  auto touches = [&](Value v) { return !marked(v).empty(); };
  if (llvm::none_of(op->getOperands(), touches) && llvm::none_of(op->getResults(), touches))
    return success();
  if (!shardable)
    return op->emitError() << "the batch dimension cannot be traced through " << op->getName();
  FactorRule rule = shardable.getFactorRule();
  llvm::SmallDenseSet<int64_t> factors;
  auto collect = [&](Value value, const TensorFactors &tensor) -> LogicalResult {
    for (int64_t dim : marked(value)) {
      int64_t factor = dim < static_cast<int64_t>(tensor.size()) ? majorFactor(rule, tensor[dim]) : -1;
      if (factor < 0)
        continue;
      if (rule.factors[factor].kind == FactorKind::NeedWhole)
        return op->emitError() << "uses the batch dimension as a whole, so its size cannot be changed";
      if (rule.factors[factor].size % size != 0)
        return op->emitError() << "splits the batch dimension (size " << size << ")";
      factors.insert(factor);
    }
    return success();
  };
  for (auto [value, tensor] : llvm::zip(op->getOperands(), rule.operands))
    if (failed(collect(value, tensor)))
      return failure();
  for (auto [value, tensor] : llvm::zip(op->getResults(), rule.results))
    if (failed(collect(value, tensor)))
      return failure();
  auto spread = [&](Value value, const TensorFactors &tensor) -> LogicalResult {
    for (int64_t factor : factors)
      if (std::optional<Place> place = placeOf(rule, tensor, factor)) {
        if (!place->major)
          return op->emitError() << "merges the batch dimension behind another one";
        if (isFixed(value))
          return op->emitError() << "ties the batch dimension to a weight";
        changed |= mark(value, place->dim);
      }
    return success();
  };
  for (auto [value, tensor] : llvm::zip(op->getOperands(), rule.operands))
    if (failed(spread(value, tensor)))
      return failure();
  for (auto [value, tensor] : llvm::zip(op->getResults(), rule.results))
    if (failed(spread(value, tensor)))
      return failure();
  return success();
}

/// A batch of one: the first factor of a marked dimension is the batch, whatever its size.
LogicalResult BatchTrace::visitSingle(Operation *op) {
  if (llvm::all_of(op->getOperands(), [&](Value v) { return marked(v).empty(); }))
    return success();
  auto shardable = dyn_cast<Shardable>(op);
  if (!shardable)
    return op->emitError() << "the batch dimension cannot be traced through " << op->getName();
  FactorRule rule = shardable.getFactorRule();
  llvm::SmallDenseSet<int64_t> factors;
  for (auto [value, tensor] : llvm::zip(op->getOperands(), rule.operands))
    for (int64_t dim : marked(value))
      if (dim < static_cast<int64_t>(tensor.size()) && !tensor[dim].empty()) {
        if (rule.factors[tensor[dim].front()].kind == FactorKind::NeedWhole)
          return op->emitError() << "uses the batch dimension as a whole, so its size cannot be changed";
        factors.insert(tensor[dim].front());
      }
  auto placesIn = [&](const TensorFactors &tensor, auto act) -> LogicalResult {
    for (auto [dim, list] : llvm::enumerate(tensor))
      for (auto [at, factor] : llvm::enumerate(list)) {
        if (!factors.contains(factor))
          continue;
        if (llvm::any_of(ArrayRef(list).take_front(at), [&](int64_t before) { return rule.factors[before].size != 1; }))
          return op->emitError() << "merges the batch dimension behind another one";
        act(static_cast<int64_t>(dim));
      }
    return success();
  };
  for (auto [operand, tensor] : llvm::zip(op->getOpOperands(), rule.operands))
    if (marked(operand.get()).empty() && failed(placesIn(tensor, [&](int64_t dim) { repeats.push_back({&operand, dim}); })))
      return failure();
  for (auto [value, tensor] : llvm::zip(op->getResults(), rule.results))
    if (failed(placesIn(tensor, [&](int64_t dim) { mark(value, dim); })))
      return failure();
  return success();
}

FailureOr<BatchTrace> BatchTrace::of(func::FuncOp function) {
  BatchTrace trace;
  if (failed(trace.start(function)))
    return failure();
  if (trace.size == 1) {
    for (Operation &op : function.getBody().front().without_terminator())
      if (failed(trace.visitSingle(&op)))
        return failure();
    return trace;
  }
  for (bool changed = true; changed;) {
    changed = false;
    for (Operation &op : function.getBody().front().without_terminator())
      if (failed(trace.visit(&op, changed)))
        return failure();
  }
  return trace;
}

} // namespace llmc::importing
