//===- View.cpp - parameters in the shape they are stored in -------------------===//
#include "compiler/reference/View.h"
#include "dialects/train/Train.h"

using namespace mlir;

namespace llmc::reference {

namespace {

using Shape = SmallVector<int64_t, 4>;

/// `tensor` in a box of `shape`: what it lacks is zero, what it has more is dropped.
HostTensor resized(const HostTensor &tensor, ArrayRef<int64_t> shape) {
  HostTensor result;
  result.shape.assign(shape.begin(), shape.end());
  result.isReal = tensor.isReal;
  (tensor.isReal ? result.reals.resize(result.size()) : result.integers.resize(result.size()));
  auto from = tensor.strides(), to = result.strides();
  for (int64_t i = 0, e = tensor.size(); i < e; ++i) {
    int64_t at = 0;
    bool inside = true;
    for (int64_t d = 0; d < tensor.rank(); ++d) {
      int64_t index = i / from[d] % tensor.shape[d];
      inside &= index < shape[d];
      at += index * to[d];
    }
    if (inside && tensor.isReal)
      result.reals[at] = tensor.reals[i];
    else if (inside)
      result.integers[at] = tensor.integers[i];
  }
  return result;
}

/// The steps of a view, each with the shape in front of it and behind it.
struct Step {
  bool pads;
  Shape before, after;
};
SmallVector<Step> stepsOf(func::FuncOp function, unsigned index) {
  SmallVector<Step> steps;
  Shape shape(logicalType(function, index).getShape());
  if (auto view = function.getArgAttrOfType<ArrayAttr>(index, train::kView))
    for (Attribute step : view) {
      NamedAttribute only = *cast<DictionaryAttr>(step).begin();
      Shape after(cast<DenseI64ArrayAttr>(only.getValue()).asArrayRef());
      steps.push_back({only.getName() == "pad", shape, after});
      shape = after;
    }
  return steps;
}

} // namespace

RankedTensorType logicalType(func::FuncOp function, unsigned index) {
  auto type = cast<RankedTensorType>(function.getArgumentTypes()[index]);
  auto shape = function.getArgAttrOfType<DenseI64ArrayAttr>(index, train::kShape);
  return shape ? type.clone(shape.asArrayRef()) : type;
}

HostTensor viewed(HostTensor logical, func::FuncOp function, unsigned index) {
  for (Step &step : stepsOf(function, index))
    if (step.pads)
      logical = resized(logical, step.after);
    else
      logical.shape.assign(step.after.begin(), step.after.end());
  return logical;
}

HostTensor unviewed(HostTensor stored, func::FuncOp function, unsigned index) {
  SmallVector<Step> steps = stepsOf(function, index);
  for (Step &step : llvm::reverse(steps))
    if (step.pads)
      stored = resized(stored, step.before);
    else
      stored.shape.assign(step.before.begin(), step.before.end());
  return stored;
}

} // namespace llmc::reference
