//===- Sizes.cpp - shrink-sizes ----------------------------------------------------===//
//
//   1. each dimension of each value is a slot; ops tie them by their factor rules, parameters of the same name and of two
//      functions each to each;
//   2. what has a meaning beyond its size stays: the batch, ids that are not of an input, rotated and chosen dimensions;
//   3. slices: parts of equal size stay as many parts, [0:4] of [0:12] is the first of three; others leave the same rest,
//      [0:2048] of [0:2049] all but one;
//   4. types, sizes of slices and values of constants follow; a constant keeps its first elements.
//
//===----------------------------------------------------------------------===//
#include "dialects/interfaces/HostTensor.h"
#include "dialects/nn/Nn.h"
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/shrink/Passes.h"
#include "passes/shrink/SizeClasses.h"
#include <deque>
#include <map>
#include <numeric>

namespace llmc::shrink {
#define GEN_PASS_DEF_SHRINKSIZES
#include "passes/shrink/Passes.h.inc"
} // namespace llmc::shrink

using namespace mlir;
using namespace llmc;
using namespace llmc::shrink;

namespace {

using Slot = SizeClasses::Slot;

constexpr int64_t kSmall = 32;   // sizes up to this stay
constexpr int64_t kModulus = 16; // keeps what depends on multiples, such as vectors

/// How a slice takes part of a dimension.
enum class Cut { All, Parts, Rest, First, Other };

Cut cutOf(int64_t whole, int64_t size, int64_t offset, int64_t stride) {
  if (size == whole && stride == 1)
    return Cut::All;
  if (size == 1)
    return offset == 0 ? Cut::First : Cut::Other;
  if (stride != 1)
    return Cut::Other;
  return whole % size == 0 && offset % size == 0 ? Cut::Parts : Cut::Rest;
}

/// Whether all values of `value` are ids that an input brings, or small: they stay below any new size.
bool comesFromInputs(Value value) {
  auto isSmall = [](Attribute attribute) {
    auto elements = dyn_cast_or_null<ElementsAttr>(attribute);
    FailureOr<HostTensor> tensor = elements ? HostTensor::fromAttribute(elements) : FailureOr<HostTensor>(failure());
    return succeeded(tensor) && !tensor->isReal &&
           llvm::all_of(tensor->integers, [](int64_t x) { return x <= kSmall; });
  };
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    auto function = cast<func::FuncOp>(argument.getOwner()->getParentOp());
    unsigned i = argument.getArgNumber();
    return train::argumentString(function, i, train::kRole) == train::kInput ||
           isSmall(function.getArgAttr(i, train::kValue));
  }
  Operation *op = value.getDefiningOp();
  if (auto constant = dyn_cast<arith::ConstantOp>(op))
    return isSmall(constant.getValue());
  return isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp, tensor::ExtractSliceOp, tensor::InsertSliceOp,
             tensor::ConcatOp, nn::TransposeOp, nn::BroadcastOp, arith::ExtSIOp, arith::TruncIOp, arith::IndexCastOp>(
             op) &&
         llvm::all_of(op->getOperands(), comesFromInputs);
}

/// The first elements of a constant, as many as `type` has in each dimension.
FailureOr<DenseElementsAttr> firstElements(ElementsAttr value, RankedTensorType type) {
  if (auto dense = dyn_cast<DenseElementsAttr>(value); dense && dense.isSplat())
    return dense.resizeSplat(type);
  FailureOr<HostTensor> from = HostTensor::fromAttribute(value);
  if (failed(from))
    return failure();
  HostTensor to = HostTensor::zeros(type);
  auto oldStrides = from->strides(), newStrides = to.strides();
  for (int64_t i = 0, e = to.size(); i < e; ++i) {
    int64_t at = 0;
    for (size_t d = 0; d < to.shape.size(); ++d)
      at += i / newStrides[d] % to.shape[d] * oldStrides[d];
    if (to.isReal)
      to.reals[i] = from->reals[at];
    else
      to.integers[i] = from->integers[at];
  }
  return to.toAttribute(type);
}

//===-- What is tied to what -----------------------------------------------------------===//

class Tier {
public:
  explicit Tier(SizeClasses &sizes) : sizes(sizes) {}

  void visit(func::FuncOp function) {
    for (BlockArgument argument : function.getArguments())
      visitArgument(function, argument);
    for (Operation &op : function.getBody().front().without_terminator())
      visitOp(&op);
  }

  /// The slots of a value's dimensions; they stay where they are.
  ArrayRef<Slot> of(Value value) {
    auto [it, isNew] = indices.insert({value, slots.size()});
    if (isNew) {
      slots.emplace_back();
      for (int64_t size : nn::typeOf(value).getShape())
        slots.back().push_back(sizes.add(size));
    }
    return slots[it->second];
  }

private:
  void keep(Value value) {
    for (Slot slot : of(value))
      sizes.keepSize(slot);
  }

  void visitArgument(func::FuncOp function, BlockArgument argument) {
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

  void visitOp(Operation *op) {
    if (isa<arith::ConstantOp>(op))
      return;
    if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op))
      return visitSlice(slice, slice.getSource(), slice.getResult());
    if (auto slice = dyn_cast<tensor::InsertSliceOp>(op)) {
      for (auto [slot, other] : llvm::zip(of(slice.getDest()), of(slice.getResult())))
        sizes.tie(slot, {other});
      return visitSlice(slice, slice.getResult(), slice.getSource());
    }
    if (auto concat = dyn_cast<tensor::ConcatOp>(op))
      return visitConcat(concat);
    auto shardable = dyn_cast<Shardable>(op);
    if (!shardable) {
      llvm::for_each(op->getOperands(), [&](Value value) { keep(value); });
      llvm::for_each(op->getResults(), [&](Value value) { keep(value); });
      return;
    }
    visitRule(op, shardable.getFactorRule());
    if (auto attention = dyn_cast<nn::AttentionOp>(op)) { // heads of one size stay so
      Slot key = of(attention.getKey()).back(), value = of(attention.getValue()).back();
      if (sizes.size(key) == sizes.size(value))
        sizes.tie(key, {value});
    }
    if (auto gather = dyn_cast<nn::GatherOp>(op); gather && !comesFromInputs(gather.getIndices()))
      sizes.keepSize(of(gather.getTable()).front());
    if (auto scatter = dyn_cast<nn::ScatterAddOp>(op); scatter && !comesFromInputs(scatter.getIndices()))
      sizes.keepSize(of(scatter.getResult()).front());
    if (auto gather = dyn_cast<nn::GatherAlongOp>(op))
      sizes.keepSize(of(gather->getOperand(0))[gather.getAxis()]);
    if (auto scatter = dyn_cast<nn::ScatterAddAlongOp>(op))
      sizes.keepSize(of(scatter.getResult())[scatter.getAxis()]);
    if (auto loss = dyn_cast<nn::CrossEntropyOp>(op); loss && !comesFromInputs(loss.getLabels()))
      sizes.keepSize(of(loss.getLogits()).back());
    if (auto loss = dyn_cast<nn::LinearCrossEntropyOp>(op); loss && !comesFromInputs(loss.getLabels()))
      sizes.keepSize(of(loss.getWeightMatrix())[loss.getVocabularyLast() ? 1 : 0]);
  }

  /// Ops that need dimensions whole but mean the same for any size.
  static bool isSizeless(Operation *op) {
    return isa<nn::SoftmaxOp, nn::LogSoftmaxOp, nn::LayerNormOp, nn::RmsNormOp, nn::AttentionOp, nn::CrossEntropyOp,
               nn::LinearCrossEntropyOp, nn::DropoutOp, nn::ContractOp, nn::ReduceOp>(op);
  }

  void visitRule(Operation *op, const FactorRule &rule) {
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

  template <typename Slice> void visitSlice(Slice slice, Value whole, Value part) {
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

  void tieParts(Slot whole, Slot part) {
    Slot count = sizes.add(sizes.size(whole) / sizes.size(part));
    sizes.keepSize(count);
    sizes.tie(whole, {count, part});
  }

  void visitConcat(tensor::ConcatOp concat) {
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

  SizeClasses &sizes;
  llvm::DenseMap<Value, size_t> indices;
  std::deque<SmallVector<Slot, 4>> slots;
  std::map<StringRef, BlockArgument> parameters;
};

//===-- The smaller model --------------------------------------------------------------===//

class Shrinker {
public:
  Shrinker(ModuleOp module, train::Recipe recipe) : module(module), recipe(std::move(recipe)), tier(sizes) {}

  LogicalResult run() {
    int64_t ranks = 1;
    for (auto &[axis, size] : recipe.mesh)
      ranks *= size;
    for (auto function : module.getOps<func::FuncOp>())
      tier.visit(function);
    sizes.shrink(kSmall, std::lcm(ranks, kModulus));
    for (auto function : module.getOps<func::FuncOp>())
      if (failed(resize(function)))
        return failure();
    writeReport();
    writeRecipe();
    return success();
  }

private:
  RankedTensorType resized(Value value) {
    SmallVector<int64_t> shape;
    for (Slot slot : tier.of(value))
      shape.push_back(sizes.newSize(slot));
    return nn::typeOf(value).clone(shape);
  }

  LogicalResult resize(func::FuncOp function) {
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      if (failed(resizeArgument(function, i)))
        return failure();
    for (Operation &op : function.getBody().front().without_terminator())
      if (failed(resizeOp(&op)))
        return failure();
    Block &body = function.getBody().front();
    function.setType(FunctionType::get(function.getContext(), body.getArgumentTypes(),
                                       body.getTerminator()->getOperandTypes()));
    return success();
  }

  LogicalResult resizeArgument(func::FuncOp function, unsigned i) {
    BlockArgument argument = function.getArgument(i);
    RankedTensorType type = resized(argument);
    StringRef name = train::argumentString(function, i, train::kName);
    if (function.getName() == train::kForward && train::argumentString(function, i, train::kRole) != train::kConstant)
      for (auto [d, slot] : llvm::enumerate(tier.of(argument)))
        if (type.getDimSize(static_cast<int64_t>(d)) != sizes.size(slot))
          smaller[{-sizes.size(slot), type.getDimSize(static_cast<int64_t>(d))}].push_back(
              ("dimension " + Twine(d) + " of " + name).str());
    if (type == argument.getType())
      return success();
    if (auto value = function.getArgAttrOfType<ElementsAttr>(i, train::kValue)) {
      FailureOr<DenseElementsAttr> first = firstElements(value, type);
      if (failed(first))
        return function.emitError() << "constant `" << name << "` has no value";
      function.setArgAttr(i, train::kValue, *first);
    }
    if (function.removeArgAttr(i, train::kSource))
      lost.push_back(name.str());
    argument.setType(type);
    return success();
  }

  LogicalResult resizeOp(Operation *op) {
    if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
      auto value = dyn_cast<ElementsAttr>(constant.getValue());
      if (!value || resized(constant) == constant.getType())
        return success();
      FailureOr<DenseElementsAttr> first = firstElements(value, resized(constant));
      if (failed(first))
        return op->emitError() << "a constant has no value";
      constant.setValueAttr(*first);
    }
    if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op))
      resizeSlice(slice, slice.getSource(), slice.getResult());
    else if (auto slice = dyn_cast<tensor::InsertSliceOp>(op))
      resizeSlice(slice, slice.getResult(), slice.getSource());
    for (Value result : op->getResults())
      if (isa<RankedTensorType>(result.getType()))
        result.setType(resized(result));
    if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op))
      expand.setStaticOutputShape(expand.getResultType().getShape());
    return success();
  }

  template <typename Slice> void resizeSlice(Slice slice, Value whole, Value part) {
    SmallVector<int64_t> newSizes(slice.getStaticSizes()), offsets(slice.getStaticOffsets());
    llvm::SmallBitVector dropped = slice.getDroppedDims();
    for (unsigned d = 0, p = 0; d < newSizes.size(); ++d) {
      int64_t size = newSizes[d];
      if (dropped.test(d))
        continue;
      Cut cut = cutOf(sizes.size(tier.of(whole)[d]), size, offsets[d], slice.getStaticStrides()[d]);
      newSizes[d] = sizes.newSize(tier.of(part)[p++]);
      if (cut == Cut::Parts)
        offsets[d] = offsets[d] / size * newSizes[d];
    }
    slice.setStaticSizes(newSizes);
    slice.setStaticOffsets(offsets);
  }

  void writeReport() {
    SmallVector<std::string> lines;
    if (auto before = module->getAttrOfType<ArrayAttr>(train::kLeftOut))
      for (StringRef line : before.getAsValueRange<StringAttr>())
        lines.push_back(line.str());
    for (auto &[sizes, dimensions] : smaller) {
      std::string more =
          dimensions.size() > 1 ? " and " + std::to_string(dimensions.size() - 1) + " more" : std::string();
      lines.push_back("size " + std::to_string(-sizes.first) + " becomes " + std::to_string(sizes.second) + ": " +
                      dimensions.front() + more);
    }
    if (!smaller.empty())
      lines.push_back("choices by size may be others in the whole model: which of two shardings is cheaper, what is "
                      "one message, which kernel computes");
    if (!lost.empty())
      lines.push_back(std::to_string(lost.size()) + " smaller parameters have made up values, not those of the model");
    Builder b(module.getContext());
    if (!lines.empty())
      module->setAttr(train::kLeftOut, b.getStrArrayAttr(SmallVector<StringRef>(lines.begin(), lines.end())));
  }

  /// What has lost its value gets one, small enough to train with.
  void writeRecipe() {
    if (lost.empty())
      return;
    recipe.weights.clear();
    std::vector<train::Initializer> init;
    for (const std::string &name : lost)
      init.push_back({train::Initializer::Uniform, name, -0.05, 0.05});
    recipe.init.insert(recipe.init.begin(), init.begin(), init.end()); // the user's come later and count
    module->setAttr(train::kRecipe, train::toAttribute(module.getContext(), recipe));
  }

  ModuleOp module;
  train::Recipe recipe;
  SizeClasses sizes;
  Tier tier;
  std::map<std::pair<int64_t, int64_t>, std::vector<std::string>> smaller; // {-old, new}: largest first
  std::vector<std::string> lost;                                           // parameters whose value in a file is of another size
};

struct Sizes : shrink::impl::ShrinkSizesBase<Sizes> {
  void runOnOperation() override {
    if (failed(Shrinker(getOperation(), train::recipeOf(getOperation())).run()))
      signalPassFailure();
  }
};

} // namespace
