//===- BatchTrace.cpp - where the batch dimension goes --------------------------===//
//
//   1. the first dimension of every input is marked;
//   2. for each op, a mark of an operand or result lies in one factor of its dimension; wherever else that factor stands, the
//      dimension is marked too; repeat until nothing changes;
//   3. marks may reach constants and broadcasts backward, but never a weight.
// A batch of one is walked forward once instead. A reshape keeps the batch between the same elements, so its place is where as
// many elements lie behind it: a dimension of size 1 there if it is the only one, otherwise in front of what follows.
//
//===----------------------------------------------------------------------===//
#include "passes/analysis/BatchTrace.h"
#include "dialects/interfaces/Interfaces.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace llmc::analysis {

ArrayRef<BatchMark> BatchTrace::marked(Value value) const {
  auto it = marks.find(value);
  return it == marks.end() ? ArrayRef<BatchMark>() : ArrayRef<BatchMark>(it->second);
}

bool BatchTrace::mark(Value value, BatchMark mark) {
  auto &known = marks[value];
  if (llvm::is_contained(known, mark))
    return false;
  known.insert(llvm::lower_bound(known, mark, [](BatchMark a, BatchMark b) { return a.dim < b.dim; }), mark);
  return true;
}

void BatchTrace::problem(Operation *op, const Twine &message) {
  if (problemOf.try_emplace(op, found.size()).second)
    found.push_back({op, message.str()});
}

LogicalResult BatchTrace::report() const {
  for (const Problem &problem : found)
    problem.op->emitError() << problem.message;
  return success(found.empty());
}

LogicalResult BatchTrace::start(func::FuncOp function) {
  StringRef first;
  for (unsigned i = 0; i < function.getNumArguments(); ++i) {
    auto type = cast<RankedTensorType>(function.getArgumentTypes()[i]);
    if (train::argumentString(function, i, train::kRole) != train::kInput || type.getRank() == 0) // a scalar is for all samples
      continue;
    StringRef name = train::argumentString(function, i, train::kName);
    if (size != 0 && size != type.getDimSize(0))
      return function.emitError() << "inputs '" << first << "' and '" << name << "' have different batch sizes, " << size << " and "
                                  << type.getDimSize(0);
    size = type.getDimSize(0);
    first = name;
    mark(function.getArgument(i), {0, 1});
  }
  return size != 0 ? success() : function.emitError() << "the graph has no input with a batch dimension";
}

namespace {

constexpr const char *kWhole = "uses the samples of the batch together, so the batch size cannot be changed";
constexpr const char *kSome = "takes a fixed number of the batch's samples, so the batch size cannot be changed";

/// Where the batch stands within one factor: `inner` elements of the factor behind it.
struct Place {
  int64_t factor;
  int64_t inner;
  bool operator==(const Place &) const = default;
};

/// The factor of a dimension that contains the batch; nothing if the batch lies across several.
std::optional<Place> placeIn(const FactorRule &rule, const DimensionFactors &factors, int64_t batch, int64_t inner) {
  int64_t behind = 1;
  for (int64_t factor : llvm::reverse(factors)) {
    int64_t extent = rule.factors[factor].size;
    if (extent > 1 && inner < behind * extent) {
      bool fits = inner % behind == 0 && extent % (inner / behind * batch) == 0;
      return fits ? std::optional(Place{factor, inner / behind}) : std::nullopt;
    }
    behind *= extent;
  }
  return std::nullopt;
}

/// The marks of one tensor's dimensions that contain the factor of `place`.
SmallVector<BatchMark> marksOf(const FactorRule &rule, const TensorFactors &tensor, const Place &place) {
  SmallVector<BatchMark> result;
  for (auto [dim, factors] : llvm::enumerate(tensor)) {
    int64_t behind = 1;
    for (int64_t factor : llvm::reverse(factors)) {
      if (factor == place.factor)
        result.push_back({static_cast<int64_t>(dim), place.inner * behind});
      behind *= rule.factors[factor].size;
    }
  }
  return result;
}

bool isWeight(Value value) {
  auto argument = dyn_cast<BlockArgument>(value);
  if (!argument)
    return false;
  auto function = cast<func::FuncOp>(argument.getOwner()->getParentOp());
  StringRef role = train::argumentString(function, argument.getArgNumber(), train::kRole);
  return role == train::kParam || role == train::kBuffer;
}

/// The axes that the operator in the file acts on: see train::kAxes.
ArrayRef<int64_t> axesOf(Operation *op) {
  auto axes = op->getAttrOfType<DenseI64ArrayAttr>(train::kAxes);
  return axes ? axes.asArrayRef() : ArrayRef<int64_t>();
}

} // namespace

/// True if a mark was added.
bool BatchTrace::visit(Operation *op) {
  auto touches = [&](Value v) { return isMarked(v); };
  if (problemOf.contains(op) || (llvm::none_of(op->getOperands(), touches) && llvm::none_of(op->getResults(), touches)))
    return false;
  auto shardable = dyn_cast<Shardable>(op);
  if (!shardable)
    return problem(op, "the batch dimension cannot be traced through " + op->getName().getStringRef()), false;
  if (isa<tensor::ExtractSliceOp>(op))
    for (BatchMark mark : marked(op->getOperand(0)))
      if (llvm::is_contained(axesOf(op), mark.dim))
        return problem(op, kSome), false;
  FactorRule rule = shardable.getFactorRule();
  SmallVector<Place> places;
  auto collect = [&](Value value, const TensorFactors &tensor) {
    for (BatchMark mark : marked(value)) {
      if (mark.dim >= static_cast<int64_t>(tensor.size()) || tensor[mark.dim].empty())
        continue;
      std::optional<Place> place = placeIn(rule, tensor[mark.dim], size, mark.inner);
      if (!place)
        return problem(op, "splits the batch dimension (size " + Twine(size) + ")");
      if (rule.factors[place->factor].kind == FactorKind::NeedWhole)
        return problem(op, isa<tensor::ExtractSliceOp>(op) ? kSome : kWhole);
      places.push_back(*place);
    }
  };
  for (auto [value, tensor] : llvm::zip(op->getOperands(), rule.operands))
    collect(value, tensor);
  for (auto [value, tensor] : llvm::zip(op->getResults(), rule.results))
    collect(value, tensor);
  bool changed = false;
  auto spread = [&](Value value, const TensorFactors &tensor) {
    for (const Place &place : places)
      for (BatchMark found : marksOf(rule, tensor, place)) {
        if (isWeight(value))
          return problem(op, "ties the batch dimension to a weight");
        changed |= mark(value, found);
      }
  };
  if (problemOf.contains(op))
    return false;
  for (auto [value, tensor] : llvm::zip(op->getOperands(), rule.operands))
    spread(value, tensor);
  for (auto [value, tensor] : llvm::zip(op->getResults(), rule.results))
    spread(value, tensor);
  return changed;
}

/// A reshape of a value with a batch of one. Dimensions that ONNX names (Squeeze, Unsqueeze, an index) are followed exactly.
void BatchTrace::visitSingleReshape(Operation *op) {
  auto from = cast<RankedTensorType>(op->getOperand(0).getType()), to = cast<RankedTensorType>(op->getResult(0).getType());
  auto behind = [](RankedTensorType type, int64_t dim) {
    int64_t count = 1;
    for (int64_t extent : type.getShape().drop_front(dim + 1))
      count *= extent;
    return count;
  };
  auto onesAt = [&](RankedTensorType type, int64_t position) {
    SmallVector<int64_t> dims;
    for (int64_t d = 0; d < type.getRank(); ++d)
      if (type.getDimSize(d) == 1 && behind(type, d) == position)
        dims.push_back(d);
    return dims;
  };
  ArrayRef<int64_t> axes = axesOf(op);
  for (BatchMark mark : marked(op->getOperand(0))) {
    if (!axes.empty()) {
      bool drops = from.getRank() > to.getRank();
      if (drops && llvm::is_contained(axes, mark.dim))
        return problem(op, "drops the batch dimension, which has size 1 in this file, so the batch size cannot be changed");
      int64_t dim = mark.dim;
      for (int64_t axis : axes) // increasing
        if (drops)
          dim -= axis < mark.dim;
        else
          dim += axis <= dim;
      this->mark(op->getResult(0), {dim, mark.inner});
      continue;
    }
    int64_t position = behind(from, mark.dim) * mark.inner;
    SmallVector<int64_t> before = onesAt(from, position), after = onesAt(to, position);
    auto own = llvm::find(before, mark.dim);
    if (after.size() == 1) {
      this->mark(op->getResult(0), {after.front(), 1});
    } else if (after.size() > 1 && after.size() == before.size() && own != before.end()) {
      this->mark(op->getResult(0), {after[own - before.begin()], 1});
    } else if (after.empty()) {
      // Merged: in front of the dimension that follows, if nothing but the batch can be meant to be in front of it.
      int64_t dim = 0;
      while (dim < to.getRank() && behind(to, dim) >= position)
        ++dim;
      if (dim == to.getRank())
        return problem(op, "drops the batch dimension, which has size 1 in this file, so the batch size cannot be changed");
      if (behind(to, dim) * to.getDimSize(dim) == position && position != from.getNumElements())
        return problem(op, "may merge the batch dimension, which has size 1 in this file, into either of two others");
      this->mark(op->getResult(0), {dim, position / behind(to, dim)});
    } else {
      return problem(op, "makes dimensions of size 1 of which any may be the batch dimension, which has size 1 in this file");
    }
  }
}

/// A batch of one: it is where a mark stands, whatever the size of the factor there.
void BatchTrace::visitSingle(Operation *op) {
  if (llvm::none_of(op->getOperands(), [&](Value v) { return isMarked(v); }))
    return;
  auto shardable = dyn_cast<Shardable>(op);
  if (!shardable)
    return problem(op, "the batch dimension cannot be traced through " + op->getName().getStringRef());
  if (isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op))
    return visitSingleReshape(op);
  if (isa<tensor::ExtractSliceOp>(op))
    for (BatchMark mark : marked(op->getOperand(0)))
      if (llvm::is_contained(axesOf(op), mark.dim))
        return problem(op, kSome);
  FactorRule rule = shardable.getFactorRule();
  SmallVector<Place> places;
  for (auto [value, tensor] : llvm::zip(op->getOperands(), rule.operands))
    for (BatchMark mark : marked(value)) {
      if (mark.dim >= static_cast<int64_t>(tensor.size()) || tensor[mark.dim].empty())
        continue;
      if (tensor[mark.dim].size() != 1)
        return problem(op, "splits the batch dimension, which has size 1 in this file");
      int64_t factor = tensor[mark.dim].front();
      if (rule.factors[factor].kind == FactorKind::NeedWhole)
        return problem(op, isa<tensor::ExtractSliceOp>(op) ? kSome : kWhole);
      if (Place place{factor, mark.inner}; !llvm::is_contained(places, place))
        places.push_back(place);
    }
  for (auto [operand, tensor] : llvm::zip(op->getOpOperands(), rule.operands))
    for (const Place &place : places)
      if (!isMarked(operand.get()))
        for (BatchMark found : marksOf(rule, tensor, place))
          repeats.push_back({&operand, found});
  for (auto [value, tensor] : llvm::zip(op->getResults(), rule.results))
    for (const Place &place : places)
      for (BatchMark found : marksOf(rule, tensor, place))
        mark(value, found);
}

FailureOr<BatchTrace> BatchTrace::of(func::FuncOp function) {
  BatchTrace trace;
  if (failed(trace.start(function)))
    return failure();
  auto body = function.getBody().front().without_terminator();
  if (trace.size == 1) {
    for (Operation &op : body)
      trace.visitSingle(&op);
    return trace;
  }
  for (bool changed = true; changed;) {
    changed = false;
    for (Operation &op : body)
      changed |= trace.visit(&op);
  }
  return trace;
}

} // namespace llmc::analysis
