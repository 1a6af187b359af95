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
#include "passes/shrink/Ties.h"
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

constexpr int64_t kSmall = 32;   // sizes up to this stay
constexpr int64_t kModulus = 16; // keeps what depends on multiples, such as vectors

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

//===-- The smaller model --------------------------------------------------------------===//

class Shrinker {
public:
  Shrinker(ModuleOp module, train::Recipe recipe) : module(module), recipe(std::move(recipe)), ties(sizes, kSmall) {}

  LogicalResult run() {
    int64_t ranks = 1;
    for (auto &[axis, size] : recipe.mesh)
      ranks *= size;
    for (auto function : module.getOps<func::FuncOp>())
      ties.add(function);
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
    for (SizeClasses::Slot slot : ties.of(value))
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
      for (auto [d, slot] : llvm::enumerate(ties.of(argument)))
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
      Cut cut = cutOf(sizes.size(ties.of(whole)[d]), size, offsets[d], slice.getStaticStrides()[d]);
      newSizes[d] = sizes.newSize(ties.of(part)[p++]);
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
  Ties ties;
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
