//===- HostValues.cpp - stored bytes as values of the interpreter -----------------===//
#include "tools/llmc/HostValues.h"
#include "dialects/interfaces/Interfaces.h"

using namespace mlir;

namespace llmc::tool {

template <typename T> static HostTensor convert(runtime::Bytes bytes, HostTensor tensor) {
  for (int64_t i = 0, e = tensor.size(); i < e; ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    if (tensor.isReal)
      tensor.reals[i] = static_cast<double>(value);
    else
      tensor.integers[i] = static_cast<int64_t>(value);
  }
  return tensor;
}

std::optional<HostTensor> fromBytes(runtime::Bytes bytes, RankedTensorType type) {
  Type element = type.getElementType();
  if (static_cast<int64_t>(bytes.size()) != tensorBytes(type))
    return std::nullopt;
  HostTensor tensor = HostTensor::zeros(type);
  if (element.isF32())
    return convert<float>(bytes, std::move(tensor));
  if (element.isF64())
    return convert<double>(bytes, std::move(tensor));
  if (element.isInteger(64))
    return convert<int64_t>(bytes, std::move(tensor));
  if (element.isInteger(32))
    return convert<int32_t>(bytes, std::move(tensor));
  if (element.isInteger(8) || element.isInteger(1))
    return convert<int8_t>(bytes, std::move(tensor));
  return std::nullopt;
}

} // namespace llmc::tool
