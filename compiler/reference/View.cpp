//===- View.cpp - parameters in the shape they are stored in -------------------===//
#include "compiler/reference/View.h"
#include "dialects/train/Train.h"

using namespace mlir;

namespace llmc::reference {

namespace {

using Shape = SmallVector<int64_t, 4>;

/// `tensor` in a box of `shape`: what it lacks is zero, what it has more is dropped.
HostTensor resized(const HostTensor &tensor, ArrayRef<int64_t> shape) {
  HostTensor result = HostTensor::zeros(shape, tensor.isReal);
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

/// `tensor` with dimension d of the result its dimension permutation[d].
HostTensor permuted(const HostTensor &tensor, ArrayRef<int64_t> permutation) {
  HostTensor result = tensor;
  for (auto [d, from] : llvm::enumerate(permutation))
    result.shape[d] = tensor.shape[from];
  auto from = tensor.strides(), to = result.strides();
  for (int64_t i = 0, e = tensor.size(); i < e; ++i) {
    int64_t at = 0;
    for (auto [d, source] : llvm::enumerate(permutation))
      at += i / to[d] % result.shape[d] * from[source];
    if (tensor.isReal)
      result.reals[i] = tensor.reals[at];
    else
      result.integers[i] = tensor.integers[at];
  }
  return result;
}

/// The steps of a view, each with the shape in front of it and behind it, or its permutation.
struct Step {
  StringRef kind;
  Shape before, after, permutation;

  HostTensor apply(HostTensor tensor) const {
    if (kind == "permute")
      return permuted(tensor, permutation);
    if (kind == "pad")
      return resized(tensor, after);
    tensor.shape.assign(after.begin(), after.end());
    return tensor;
  }
  Step inverse() const { return {kind, after, before, invert(permutation)}; }

  static Shape invert(ArrayRef<int64_t> permutation) {
    Shape inverse(permutation.size());
    for (auto [d, from] : llvm::enumerate(permutation))
      inverse[from] = static_cast<int64_t>(d);
    return inverse;
  }
};
SmallVector<Step> stepsOf(func::FuncOp function, unsigned index) {
  SmallVector<Step> steps;
  Shape shape(logicalType(function, index).getShape());
  if (auto view = function.getArgAttrOfType<ArrayAttr>(index, train::kView))
    for (Attribute step : view) {
      NamedAttribute only = *cast<DictionaryAttr>(step).begin();
      Step next{only.getName().strref(), shape, Shape(cast<DenseI64ArrayAttr>(only.getValue()).asArrayRef()), {}};
      if (next.kind == "permute") {
        next.permutation = next.after;
        for (auto [d, from] : llvm::enumerate(next.permutation))
          next.after[d] = shape[from];
      }
      shape = next.after;
      steps.push_back(std::move(next));
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
    logical = step.apply(std::move(logical));
  return logical;
}

HostTensor unviewed(HostTensor stored, func::FuncOp function, unsigned index) {
  SmallVector<Step> steps = stepsOf(function, index);
  for (Step &step : llvm::reverse(steps))
    stored = step.inverse().apply(std::move(stored));
  return stored;
}

} // namespace llmc::reference
