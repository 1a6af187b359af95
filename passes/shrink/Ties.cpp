//===- Ties.cpp - which sizes of a model are one ---------------------------------===//
#include "passes/shrink/Ties.h"
#include "dialects/interfaces/HostTensor.h"
#include "dialects/nn/Nn.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "passes/analysis/Ids.h"

using namespace mlir;

namespace llmc::shrink {

Cut cutOf(int64_t whole, int64_t size, int64_t offset, int64_t stride) {
  if (size == whole && stride == 1)
    return Cut::All;
  if (size == 1)
    return offset == 0 ? Cut::First : Cut::Other;
  if (stride != 1)
    return Cut::Other;
  return whole % size == 0 && offset % size == 0 ? Cut::Parts : Cut::Rest;
}

/// The least of the constants among the ids of `value`, 0 if inputs bring them all; none if other ids are among them or
/// constants that may not be below any new size.
std::optional<int64_t> Ties::leastId(Value value) {
  auto it = leastIds.find(value);
  if (it == leastIds.end())
    it = leastIds.insert({value, findLeastId(value)}).first; // each value once, however many lead to it
  return it->second;
}

std::optional<int64_t> Ties::findLeastId(Value value) {
  auto ofConstant = [&](Attribute attribute) -> std::optional<int64_t> {
    auto elements = dyn_cast_or_null<ElementsAttr>(attribute);
    FailureOr<HostTensor> tensor = elements ? HostTensor::fromAttribute(elements) : FailureOr<HostTensor>(failure());
    if (failed(tensor) || tensor->isReal)
      return std::nullopt;
    int64_t least = 0;
    for (int64_t id : tensor->integers) {
      if (id > small)
        return std::nullopt;
      least = std::min(least, id);
    }
    return least;
  };
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    auto function = cast<func::FuncOp>(argument.getOwner()->getParentOp());
    unsigned i = argument.getArgNumber();
    if (train::argumentString(function, i, train::kRole) == train::kInput)
      return 0;
    return ofConstant(function.getArgAttr(i, train::kValue));
  }
  Operation *op = value.getDefiningOp();
  if (auto constant = dyn_cast<arith::ConstantOp>(op))
    return ofConstant(constant.getValue());
  if (!analysis::keepsIds(op))
    return std::nullopt;
  int64_t least = 0;
  for (Value operand : op->getOperands()) {
    std::optional<int64_t> ofOperand = leastId(operand);
    if (!ofOperand)
      return std::nullopt;
    least = std::min(least, *ofOperand);
  }
  return least;
}

void Ties::add(func::FuncOp function) {
  for (BlockArgument argument : function.getArguments())
    addArgument(function, argument);
  for (Operation &op : function.getBody().front().without_terminator())
    addOp(&op);
}

ArrayRef<SizeClasses::Slot> Ties::of(Value value) {
  auto [it, isNew] = indices.insert({value, slots.size()});
  if (isNew) {
    slots.emplace_back();
    for (int64_t size : nn::typeOf(value).getShape())
      slots.back().push_back(sizes.add(size));
  }
  return slots[it->second];
}

void Ties::keep(Value value) {
  for (Slot slot : of(value))
    sizes.keepSize(slot);
}

void Ties::addArgument(func::FuncOp function, BlockArgument argument) {
  unsigned i = argument.getArgNumber();
  ArrayRef<Slot> dims = of(argument);
  StringRef role = train::argumentString(function, i, train::kRole);
  if (role == train::kInput && !dims.empty())
    sizes.keepSize(dims.front()); // samples: the recipe's
  if (function.getArgAttr(i, train::kView))
    keep(argument);
  if (role != train::kParam && role != train::kBuffer)
    return;
  auto [it, isNew] = parameters.insert({train::argumentString(function, i, train::kName), argument});
  if (isNew)
    return;
  for (auto [slot, other] : llvm::zip(dims, of(it->second)))
    sizes.tie(slot, {other});
}

void Ties::addOp(Operation *op) {
  if (isa<arith::ConstantOp>(op))
    return;
  if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op))
    return addSlice(slice, slice.getSource(), slice.getResult());
  if (auto slice = dyn_cast<tensor::InsertSliceOp>(op)) {
    for (auto [slot, other] : llvm::zip(of(slice.getDest()), of(slice.getResult())))
      sizes.tie(slot, {other});
    return addSlice(slice, slice.getResult(), slice.getSource());
  }
  if (auto concat = dyn_cast<tensor::ConcatOp>(op))
    return addConcat(concat);
  auto shardable = dyn_cast<Shardable>(op);
  if (!shardable) {
    llvm::for_each(op->getOperands(), [&](Value value) { keep(value); });
    llvm::for_each(op->getResults(), [&](Value value) { keep(value); });
    return;
  }
  addRule(op, shardable.getFactorRule());
  if (auto attention = dyn_cast<nn::AttentionOp>(op)) { // heads of one size stay so
    Slot key = of(attention.getKey()).back(), value = of(attention.getValue()).back();
    if (sizes.size(key) == sizes.size(value))
      sizes.tie(key, {value});
  }
  keepLookups(op);
}

/// What is looked up by indices that may not fit a smaller size: -1 is the last row of any table, -40 no row of one of 33. A
/// label may be any negative number, as those that count for nothing are.
void Ties::keepLookups(Operation *op) {
  auto keepTable = [&](Value ids, Slot rows) {
    std::optional<int64_t> least = leastId(ids);
    if (!least || *least < -small)
      sizes.keepSize(rows);
  };
  auto keepClasses = [&](Value labels, Slot classes) {
    if (!leastId(labels))
      sizes.keepSize(classes);
  };
  if (auto gather = dyn_cast<nn::GatherOp>(op))
    keepTable(gather.getIndices(), of(gather.getTable()).front());
  if (auto scatter = dyn_cast<nn::ScatterAddOp>(op))
    keepTable(scatter.getIndices(), of(scatter.getResult()).front());
  if (auto gather = dyn_cast<nn::GatherAlongOp>(op))
    sizes.keepSize(of(gather->getOperand(0))[gather.getAxis()]);
  if (auto scatter = dyn_cast<nn::ScatterAddAlongOp>(op))
    sizes.keepSize(of(scatter.getResult())[scatter.getAxis()]);
  if (auto loss = dyn_cast<nn::CrossEntropyOp>(op))
    keepClasses(loss.getLabels(), of(loss.getLogits()).back());
  if (auto loss = dyn_cast<nn::LinearCrossEntropyOp>(op))
    keepClasses(loss.getLabels(), of(loss.getWeightMatrix())[loss.getVocabularyLast() ? 1 : 0]);
}

/// Ops that need dimensions whole but mean the same for any size.
static bool isSizeless(Operation *op) {
  return isa<nn::SoftmaxOp, nn::LogSoftmaxOp, nn::LayerNormOp, nn::RmsNormOp, nn::AttentionOp, nn::CrossEntropyOp,
             nn::LinearCrossEntropyOp, nn::DropoutOp, nn::ContractOp, nn::ReduceOp>(op);
}

void Ties::addRule(Operation *op, const FactorRule &rule) {
  SmallVector<Slot> factors;
  for (const Factor &factor : rule.factors) {
    factors.push_back(sizes.add(factor.size));
    if (factor.kind == FactorKind::NeedWhole && !isSizeless(op))
      sizes.keepSize(factors.back());
  }
  auto tieTensor = [&](Value value, const TensorFactors &dims) {
    for (auto [d, slot] : llvm::enumerate(of(value))) {
      SmallVector<Slot> parts;
      int64_t size = 1;
      if (d < dims.size())
        for (int64_t factor : dims[d]) {
          parts.push_back(factors[factor]);
          size *= rule.factors[factor].size;
        }
      if (size == sizes.size(slot))
        sizes.tie(slot, parts);
      else
        sizes.keepSize(slot);
    }
  };
  for (auto [value, dims] : llvm::zip(op->getOperands(), rule.operands))
    tieTensor(value, dims);
  for (auto [value, dims] : llvm::zip(op->getResults(), rule.results))
    tieTensor(value, dims);
}

template <typename Slice> void Ties::addSlice(Slice slice, Value whole, Value part) {
  llvm::SmallBitVector dropped = slice.getDroppedDims();
  ArrayRef<Slot> wholeDims = of(whole), partDims = of(part);
  for (unsigned d = 0, p = 0; d < wholeDims.size(); ++d) {
    int64_t size = slice.getStaticSizes()[d];
    // A dimension that the part has not is 1.
    Slot partDim = dropped.test(d) ? sizes.add(1) : partDims[p++];
    switch (cutOf(sizes.size(wholeDims[d]), size, slice.getStaticOffsets()[d], slice.getStaticStrides()[d])) {
    case Cut::All:
      sizes.tie(wholeDims[d], {partDim});
      break;
    case Cut::Parts:
      tieParts(wholeDims[d], partDim);
      break;
    case Cut::Rest:
      sizes.keepDifference(wholeDims[d], partDim);
      break;
    case Cut::First:
      break;
    case Cut::Other:
      sizes.keepSize(wholeDims[d]);
      sizes.keepSize(partDim);
      break;
    }
  }
}

void Ties::tieParts(Slot whole, Slot part) {
  Slot count = sizes.add(sizes.size(whole) / sizes.size(part));
  sizes.keepSize(count);
  sizes.tie(whole, {count, part});
}

void Ties::addConcat(tensor::ConcatOp concat) {
  ArrayRef<Slot> whole = of(concat.getResult());
  uint64_t axis = concat.getDim();
  SmallVector<Slot> parts;
  for (Value input : concat.getInputs()) {
    ArrayRef<Slot> dims = of(input);
    for (size_t d = 0; d < dims.size(); ++d)
      if (d != axis)
        sizes.tie(whole[d], {dims[d]});
    parts.push_back(dims[axis]);
  }
  auto smaller = [&](Slot a, Slot b) { return sizes.size(a) < sizes.size(b); };
  Slot largest = *llvm::max_element(parts, smaller);
  bool areEqual = llvm::none_of(parts, [&](Slot part) { return smaller(part, largest); });
  for (Slot part : parts)
    if (areEqual)
      tieParts(whole[axis], part);
    else if (part == largest)
      sizes.keepDifference(whole[axis], part);
    else
      sizes.keepSize(part);
}

} // namespace llmc::shrink
