//===- HostTensor.cpp - dense host arrays and their attributes --------------===//
#include "dialects/interfaces/HostTensor.h"
#include "mlir/IR/DialectResourceBlobManager.h"

using namespace mlir;

namespace llmc {

int64_t HostTensor::size() const {
  int64_t count = 1;
  for (int64_t extent : shape)
    count *= extent;
  return count;
}

llvm::SmallVector<int64_t, 4> HostTensor::strides() const {
  llvm::SmallVector<int64_t, 4> result(shape.size(), 1);
  for (int64_t i = rank() - 2; i >= 0; --i)
    result[i] = result[i + 1] * shape[i + 1];
  return result;
}

HostTensor HostTensor::zeros(ArrayRef<int64_t> shape, bool isReal) {
  HostTensor tensor;
  tensor.shape.assign(shape.begin(), shape.end());
  tensor.isReal = isReal;
  if (isReal)
    tensor.reals.assign(tensor.size(), 0.0);
  else
    tensor.integers.assign(tensor.size(), 0);
  return tensor;
}

HostTensor HostTensor::zeros(Type type) {
  auto ranked = dyn_cast<RankedTensorType>(type);
  return zeros(ranked ? ranked.getShape() : ArrayRef<int64_t>(), isa<FloatType>(getElementTypeOrSelf(type)));
}

static void fillFromDense(DenseElementsAttr dense, HostTensor &tensor) {
  int64_t index = 0;
  if (tensor.isReal) {
    if (dense.getElementType().isF32()) {
      for (float value : dense.getValues<float>())
        tensor.reals[index++] = value;
      return;
    }
    for (APFloat value : dense.getValues<APFloat>()) {
      bool lossy;
      value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lossy);
      tensor.reals[index++] = value.convertToDouble();
    }
    return;
  }
  bool isBool = dense.getElementType().isInteger(1);
  for (APInt value : dense.getValues<APInt>())
    tensor.integers[index++] = isBool ? static_cast<int64_t>(value.getZExtValue()) : value.getSExtValue();
}

FailureOr<HostTensor> HostTensor::fromAttribute(ElementsAttr attribute) {
  HostTensor tensor = zeros(attribute.getType());
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(attribute)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    if (!blob)
      return failure();
    bool splat;
    if (!DenseElementsAttr::isValidRawBuffer(resource.getType(), blob->getData(), splat))
      return failure();
    fillFromDense(DenseElementsAttr::getFromRawBuffer(resource.getType(), blob->getData()), tensor);
    return tensor;
  }
  auto dense = dyn_cast<DenseElementsAttr>(attribute);
  if (!dense)
    return failure();
  fillFromDense(dense, tensor);
  return tensor;
}

template <typename T, typename Source>
static DenseElementsAttr makeDense(RankedTensorType type, const std::vector<Source> &values) {
  std::vector<T> data(values.begin(), values.end());
  ArrayRef<char> bytes(reinterpret_cast<const char *>(data.data()), data.size() * sizeof(T));
  bool splat = !data.empty();
  for (size_t i = 1; i < data.size() && splat; ++i)
    splat = std::memcmp(&data[i], &data[0], sizeof(T)) == 0;
  return DenseElementsAttr::getFromRawBuffer(type, splat ? bytes.take_front(sizeof(T)) : bytes);
}

DenseElementsAttr HostTensor::toAttribute(RankedTensorType type) const {
  Type element = type.getElementType();
  if (element.isF32())
    return makeDense<float>(type, reals);
  if (element.isF64())
    return makeDense<double>(type, reals);
  if (element.isInteger(64) || element.isIndex())
    return makeDense<int64_t>(type, integers);
  if (element.isInteger(32))
    return makeDense<int32_t>(type, integers);
  if (element.isInteger(8))
    return makeDense<int8_t>(type, integers);
  if (element.isInteger(16))
    return makeDense<int16_t>(type, integers);
  if (auto integer = dyn_cast<IntegerType>(element)) {
    SmallVector<APInt> data;
    for (int64_t value : integers)
      data.push_back(APInt(integer.getWidth(), static_cast<uint64_t>(value), false, true));
    return DenseElementsAttr::get(type, data);
  }
  SmallVector<APFloat> data;
  for (double value : reals) {
    APFloat rounded(value);
    bool lossy;
    rounded.convert(cast<FloatType>(element).getFloatSemantics(), APFloat::rmNearestTiesToEven, &lossy);
    data.push_back(rounded);
  }
  return DenseElementsAttr::get(type, data);
}

void roundTo(Type elementType, HostTensor &tensor) {
  if (elementType.isF64())
    return;
  if (elementType.isF32()) {
    for (double &value : tensor.reals)
      value = static_cast<float>(value);
    return;
  }
  if (auto type = dyn_cast<FloatType>(elementType)) {
    for (double &value : tensor.reals) {
      APFloat rounded(value);
      bool lossy;
      rounded.convert(type.getFloatSemantics(), APFloat::rmNearestTiesToEven, &lossy);
      rounded.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lossy);
      value = rounded.convertToDouble();
    }
    return;
  }
  auto integer = dyn_cast<IntegerType>(elementType);
  if (!integer || integer.getWidth() >= 64)
    return;
  for (int64_t &value : tensor.integers) {
    APInt wrapped(integer.getWidth(), static_cast<uint64_t>(value), false, true);
    value = integer.getWidth() == 1 ? static_cast<int64_t>(wrapped.getZExtValue()) : wrapped.getSExtValue();
  }
}

} // namespace llmc
