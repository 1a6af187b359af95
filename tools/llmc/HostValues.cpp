//===- HostValues.cpp - stored bytes as values of the interpreter -----------------===//
#include "tools/llmc/HostValues.h"
#include "compiler/reference/View.h"
#include "dialects/interfaces/Interfaces.h"
#include "dialects/train/Train.h"
#include "runtime/io/Random.h"
#include "runtime/io/WeightFiles.h"

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

std::optional<Type> elementTypeOf(runtime::fb::DataType type, MLIRContext *context) {
  switch (type) {
  case runtime::fb::DataType::F32:
    return Float32Type::get(context);
  case runtime::fb::DataType::F64:
    return Float64Type::get(context);
  case runtime::fb::DataType::I64:
    return IntegerType::get(context, 64);
  case runtime::fb::DataType::I32:
    return IntegerType::get(context, 32);
  case runtime::fb::DataType::Bool:
    return IntegerType::get(context, 1);
  default:
    return std::nullopt;
  }
}

runtime::Bytes toBytes(const HostTensor &value, runtime::fb::DataType type, std::vector<uint8_t> &scratch) {
  scratch.resize(static_cast<size_t>(value.size()) * runtime::elementBytes(type));
  if (value.isReal)
    runtime::convertElements(runtime::fb::DataType::F64, value.reals.data(), type, scratch.data(), value.size());
  else
    runtime::convertElements(runtime::fb::DataType::I64, value.integers.data(), type, scratch.data(), value.size());
  return runtime::Bytes(scratch);
}

HostTensor valueOf(const runtime::Executor &executor, uint32_t index, MLIRContext *context) {
  const runtime::fb::Buffer &buffer = executor.buffer(index);
  Type element = elementTypeOf(buffer.type(), context).value_or(IntegerType::get(context, 8));
  auto type = RankedTensorType::get(runtime::shapeOf(buffer.shape()), element);
  return *fromBytes({executor.data(index), static_cast<size_t>(tensorBytes(type))}, type);
}

std::optional<HostTensor> averageGradient(const runtime::Executor &executor, const runtime::fb::Parameter &parameter, MLIRContext *context) {
  if (!parameter.gradient())
    return std::nullopt;
  HostTensor gradient = valueOf(executor, parameter.gradient()->buffer(), context);
  double weight = executor.program().weight() >= 0 ? executor.scalar(executor.program().weight()) : 1.0;
  for (double &value : gradient.reals)
    value /= weight;
  return gradient;
}

runtime::Result<HostTensor> readParameter(func::FuncOp function, unsigned index, StringRef folder) {
  std::string name = train::argumentString(function, index, train::kName).str();
  auto source = function.getArgAttrOfType<DictionaryAttr>(index, train::kSource);
  if (!source)
    return runtime::Status::badInput("parameter '" + name + "' has no value in the model");
  auto path = runtime::resolveInside(folder.str(), source.getAs<StringAttr>("path").str());
  if (!path.ok())
    return path.status();
  auto file = runtime::MappedFile::open(*path);
  if (!file.ok())
    return file.status();
  uint64_t offset = source.getAs<IntegerAttr>("offset").getInt(), bytes = source.getAs<IntegerAttr>("bytes").getInt();
  if (offset > (*file)->bytes().size() || bytes > (*file)->bytes().size() - offset)
    return runtime::Status::badInput("parameter '" + name + "' lies outside of " + *path);
  auto value =
      fromBytes((*file)->bytes().subspan(offset, bytes), reference::logicalType(function, index));
  if (!value)
    return runtime::Status::badInput("parameter '" + name + "' has another size or type in " + *path);
  return std::move(*value);
}

static runtime::Result<HostTensor> toHost(const runtime::WeightFiles::Entry &entry, const std::string &name, RankedTensorType type) {
  using runtime::fb::DataType;
  const runtime::TensorInfo &info = *entry.info;
  if (!llvm::equal(info.shape, type.getShape()) || !info.supported || !runtime::isFloat(info.type))
    return runtime::Status::badInput("tensor of parameter '" + name + "' in '" + entry.file->path() + "' has another shape or type than the model's");
  HostTensor value = HostTensor::zeros(type);
  int64_t count = value.size();
  runtime::Bytes bytes = entry.file->data(info);
  std::vector<float> rounded(type.getElementType().isF64() ? 0 : count);
  if (rounded.empty() && count > 0) {
    runtime::convertElements(info.type, bytes.data(), DataType::F64, value.reals.data(), count);
    return value;
  }
  runtime::convertElements(info.type, bytes.data(), DataType::F32, rounded.data(), count);
  llvm::copy(rounded, value.reals.begin());
  return value;
}

runtime::Result<std::map<std::string, HostTensor>> readWeights(ModuleOp module, StringRef folder, StringRef weights) {
  auto path = runtime::resolveInside(folder.str(), weights.str());
  if (!path.ok())
    return path.status();
  auto files = runtime::WeightFiles::open(*path);
  if (!files.ok())
    return files.status();
  std::map<std::string, RankedTensorType> types;
  std::map<std::string, std::vector<std::string>> aliases;
  for (auto function : module.getOps<func::FuncOp>())
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      if (StringRef role = train::argumentString(function, i, train::kRole); role == train::kParam || role == train::kBuffer) {
        std::string name = train::argumentString(function, i, train::kName).str();
        types[name] = reference::logicalType(function, i);
        aliases[name].clear();
        if (auto others = function.getArgAttrOfType<ArrayAttr>(i, train::kAliases))
          for (auto other : others.getAsRange<StringAttr>())
            aliases[name].push_back(other.str());
      }
  std::vector<runtime::WeightFiles::Wanted> wanted;
  for (auto &[name, type] : types)
    wanted.push_back({name, aliases[name]});
  runtime::WeightFiles::Match match = files->match(wanted);
  std::map<std::string, HostTensor> values;
  std::string problems = match.problem;
  for (auto [tensor, entry] : llvm::zip_equal(wanted, match.entries)) {
    if (!entry.file)
      continue;
    auto value = toHost(entry, tensor.name, types[tensor.name]);
    if (value.ok())
      values[tensor.name] = std::move(*value);
    else
      problems += "\n  " + value.status().message;
  }
  if (!problems.empty())
    return runtime::Status::badInput("weights file '" + *path + "' does not fit the model:" + problems);
  return values;
}

HostTensor makeUpInput(func::FuncOp function, unsigned index, ArrayRef<int64_t> shape, uint64_t seed, const std::string &name) {
  auto type = cast<RankedTensorType>(function.getArgumentTypes()[index]);
  HostTensor value = HostTensor::zeros(shape, isa<FloatType>(type.getElementType()));
  runtime::RandomStream random(seed, "verify " + name);
  auto limit = function.getArgAttrOfType<IntegerAttr>(index, train::kLimit);
  auto ignored = function.getArgAttrOfType<IntegerAttr>(index, train::kIgnored);
  int64_t count = value.size(), row = shape.empty() ? 1 : std::max<int64_t>(1, shape.back());
  for (int64_t k = 0; k < count; ++k) {
    double draw = random.uniform53(k);
    if (value.isReal)
      value.reals[k] = 2 * draw - 1;
    else if (ignored && k % row != 0 && random.uniform53(count + k) < 0.125)
      value.integers[k] = ignored.getInt();
    else
      value.integers[k] = limit ? static_cast<int64_t>(draw * static_cast<double>(limit.getInt())) : 1;
  }
  return value;
}

} // namespace llmc::tool
