//===- Constants.cpp - values known at compile time during import ------===//
#include "frontends/onnx/Constants.h"
#include "dialects/interfaces/Interfaces.h"
#include "dialects/nn/Nn.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/xxhash.h"
#include <cstring>

using namespace mlir;
using namespace llmc;
using namespace llmc::onnx;

static constexpr int64_t kInlineBytes = 1024;
static constexpr int64_t kMaxElements = int64_t(1) << 28; // of a value that is evaluated

Type llmc::onnx::elementType(DType type, MLIRContext *context) {
  switch (type) {
  case DType::Float:
    return Float32Type::get(context);
  case DType::Double:
    return Float64Type::get(context);
  case DType::Int64:
    return IntegerType::get(context, 64);
  case DType::Int32:
    return IntegerType::get(context, 32);
  case DType::Int16:
    return IntegerType::get(context, 16);
  case DType::Int8:
    return IntegerType::get(context, 8);
  case DType::Bool:
    return IntegerType::get(context, 1);
  default:
    return {};
  }
}

template <typename T, typename Out> static void copyElements(ArrayRef<char> bytes, std::vector<Out> &out) {
  out.resize(bytes.size() / sizeof(T));
  for (size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    out[i] = static_cast<Out>(value);
  }
}

HostTensor llmc::onnx::hostTensor(const Tensor &tensor) {
  HostTensor host;
  host.shape.assign(tensor.dims.begin(), tensor.dims.end());
  host.isReal = tensor.type == DType::Float || tensor.type == DType::Double;
  switch (tensor.type) {
  case DType::Float:
    copyElements<float>(tensor.data, host.reals);
    break;
  case DType::Double:
    copyElements<double>(tensor.data, host.reals);
    break;
  case DType::Int64:
    copyElements<int64_t>(tensor.data, host.integers);
    break;
  case DType::Int32:
    copyElements<int32_t>(tensor.data, host.integers);
    break;
  case DType::Int16:
    copyElements<int16_t>(tensor.data, host.integers);
    break;
  case DType::Int8:
    copyElements<int8_t>(tensor.data, host.integers);
    break;
  default: // bool
    copyElements<int8_t>(tensor.data, host.integers);
    for (int64_t &value : host.integers)
      value = value != 0;
  }
  return host;
}

Value ConstantPool::placeholder(Location loc, Constant constant) {
  Value value = UnrealizedConversionCastOp::create(builder, loc, TypeRange{constant.type}, ValueRange{}).getResult(0);
  known[value] = std::move(constant);
  order.push_back(value);
  return value;
}

Value ConstantPool::make(Location loc, RankedTensorType type, HostTensor data, ArrayRef<int64_t> dims) {
  Constant constant;
  constant.type = type;
  constant.dims.assign(dims.begin(), dims.end());
  if (data.shape.size() == static_cast<size_t>(type.getRank()) && dims.empty())
    for (int64_t d = 0; d < type.getRank(); ++d)
      constant.dims.push_back(d);
  constant.base = std::make_shared<const HostTensor>(std::move(data));
  return placeholder(loc, std::move(constant));
}

Value ConstantPool::makeSplat(Location loc, RankedTensorType type, double value) {
  HostTensor scalar = HostTensor::zeros(type.getElementType());
  if (scalar.isReal)
    scalar.reals[0] = value;
  else
    scalar.integers[0] = static_cast<int64_t>(value);
  roundTo(type.getElementType(), scalar);
  return make(loc, type, std::move(scalar));
}

Value ConstantPool::makeInts(Location loc, ArrayRef<int64_t> values) {
  HostTensor data;
  data.isReal = false;
  data.shape = {static_cast<int64_t>(values.size())};
  data.integers.assign(values.begin(), values.end());
  auto type = RankedTensorType::get(data.shape, builder.getI64Type());
  return make(loc, type, std::move(data));
}

Value ConstantPool::fromInitializer(Location loc, const Tensor &tensor, RankedTensorType type, bool isBuffer) {
  Constant constant;
  constant.type = type;
  constant.origin = &tensor;
  constant.isBuffer = isBuffer;
  for (int64_t d = 0; d < type.getRank(); ++d)
    constant.dims.push_back(d);
  return placeholder(loc, std::move(constant));
}

bool ConstantPool::load(Constant &constant) {
  if (constant.base)
    return true;
  used.insert(constant.origin);
  if (constant.origin->missing) {
    missing.insert(constant.origin);
    return false;
  }
  constant.base = std::make_shared<const HostTensor>(hostTensor(*constant.origin));
  return true;
}

/// Repeats `base` to `shape`.
static HostTensor repeat(const HostTensor &base, ArrayRef<int64_t> shape, ArrayRef<int64_t> dims) {
  HostTensor full;
  full.isReal = base.isReal;
  full.shape.assign(shape.begin(), shape.end());
  int64_t size = full.size();
  if (full.isReal)
    full.reals.resize(size);
  else
    full.integers.resize(size);
  SmallVector<int64_t, 4> step(shape.size(), 0), strides = base.strides();
  for (size_t i = 0; i < dims.size(); ++i)
    step[dims[i]] = base.shape[i] == 1 ? 0 : strides[i];
  SmallVector<int64_t, 4> index(shape.size(), 0);
  for (int64_t i = 0, from = 0; i < size; ++i) {
    if (full.isReal)
      full.reals[i] = base.reals[from];
    else
      full.integers[i] = base.integers[from];
    for (int64_t d = static_cast<int64_t>(shape.size()) - 1; d >= 0; --d) {
      from += step[d];
      if (++index[d] < shape[d])
        break;
      from -= step[d] * shape[d];
      index[d] = 0;
    }
  }
  return full;
}

const HostTensor *ConstantPool::elements(Value value) {
  auto it = known.find(value);
  if (it == known.end() || !load(it->second))
    return nullptr;
  Constant &constant = it->second;
  if (isWhole(constant))
    return constant.base.get();
  if (constant.type.getNumElements() > kMaxElements)
    return nullptr;
  if (!constant.full)
    constant.full = std::make_shared<const HostTensor>(repeat(*constant.base, constant.type.getShape(), constant.dims));
  return constant.full.get();
}

std::optional<double> ConstantPool::splatValue(Value value) {
  auto it = known.find(value);
  if (it == known.end() || !load(it->second) || it->second.base->size() != 1)
    return std::nullopt;
  return it->second.base->real(0);
}

Value ConstantPool::broadcast(Location loc, Value value, RankedTensorType type, ArrayRef<int64_t> dims) {
  if (!elements(value) && !known.count(value))
    return {};
  Constant constant = known[value];
  if (!constant.base)
    return {};
  Constant result;
  result.type = type;
  result.base = constant.base;
  for (int64_t d : constant.dims)
    result.dims.push_back(dims[d]);
  return placeholder(loc, std::move(result));
}

Value ConstantPool::reshape(Location loc, Value value, ArrayRef<int64_t> shape) {
  Constant &source = known[value];
  if (!load(source))
    return {};
  auto type = RankedTensorType::get(shape, source.type.getElementType());
  if (source.base->shape.empty())
    return make(loc, type, *source.base);
  const HostTensor *whole = elements(value);
  if (!whole)
    return {};
  HostTensor data = *whole;
  data.shape.assign(shape.begin(), shape.end());
  return make(loc, type, std::move(data));
}

bool ConstantPool::fold(Operation *op, SmallVectorImpl<Value> &results) {
  auto evaluable = dyn_cast<Evaluable>(op);
  if (!evaluable || isa<nn::DropoutOp>(op) || op->getNumOperands() == 0 || !llvm::all_of(op->getOperands(), [&](Value v) { return isKnown(v); }))
    return false;
  for (Type type : op->getResultTypes())
    if (cast<RankedTensorType>(type).getNumElements() > kMaxElements)
      return false;
  SmallVector<const HostTensor *> operands;
  for (Value operand : op->getOperands()) {
    operands.push_back(elements(operand));
    if (!operands.back())
      return false;
  }
  std::vector<HostTensor> outs;
  for (Type type : op->getResultTypes())
    outs.push_back(HostTensor::zeros(type));
  if (failed(evaluable.evaluate(operands, outs)))
    return false;
  for (auto [type, out] : llvm::zip_equal(op->getResultTypes(), outs)) {
    auto ranked = cast<RankedTensorType>(type);
    roundTo(ranked.getElementType(), out);
    results.push_back(make(op->getLoc(), ranked, std::move(out)));
  }
  op->erase();
  return true;
}

/// True if all slices of `t` along dimension `d` are equal.
static bool isUniform(const HostTensor &t, int64_t d) {
  int64_t extent = t.shape[d], inner = t.strides()[d], outer = t.size() / (extent * inner);
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t e = 1; e < extent; ++e)
      for (int64_t i = 0; i < inner; ++i) {
        int64_t a = o * extent * inner + i, b = a + e * inner;
        // Bit for bit, so that NaN equals itself and 0 does not equal -0.
        if (t.isReal ? std::memcmp(&t.reals[a], &t.reals[b], 8) != 0 : t.integers[a] != t.integers[b])
          return false;
      }
  return true;
}

/// Shrinks to 1 each dimension along which all elements are equal.
static HostTensor shrink(const HostTensor &tensor) {
  if (tensor.size() == 0)
    return tensor;
  HostTensor small = tensor;
  for (int64_t d = 0; d < small.rank(); ++d) {
    if (small.shape[d] <= 1 || !isUniform(small, d))
      continue;
    HostTensor next;
    next.isReal = small.isReal;
    next.shape = small.shape;
    next.shape[d] = 1;
    int64_t extent = small.shape[d], inner = small.strides()[d], outer = small.size() / (extent * inner);
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t i = 0; i < inner; ++i) {
        if (next.isReal)
          next.reals.push_back(small.reals[o * extent * inner + i]);
        else
          next.integers.push_back(small.integers[o * extent * inner + i]);
      }
    small = std::move(next);
  }
  return small;
}

namespace {
/// Makes the final constants of one function, equal ones once.
class Materializer {
public:
  Materializer(func::FuncOp function, OpBuilder &builder) : function(function), builder(builder) {}

  Value constant(Location loc, DenseElementsAttr attr, int64_t bytes) {
    auto [it, fresh] = shared.try_emplace(attr, Value());
    if (!fresh)
      return it->second;
    if (bytes <= kInlineBytes || attr.isSplat()) {
      OpBuilder::InsertionGuard guard(builder);
      builder.setInsertionPointToStart(&function.getBody().front());
      return it->second = arith::ConstantOp::create(builder, loc, attr);
    }
    NamedAttribute attrs[] = {builder.getNamedAttr("train.name", builder.getStringAttr("constant." + std::to_string(next++))),
                              builder.getNamedAttr("train.role", builder.getStringAttr("constant")),
                              builder.getNamedAttr("train.value", attr)};
    unsigned index = function.getNumArguments();
    (void)function.insertArgument(index, attr.getType(), builder.getDictionaryAttr(attrs), loc);
    return it->second = function.getArgument(index);
  }

private:
  func::FuncOp function;
  OpBuilder &builder;
  llvm::DenseMap<Attribute, Value> shared;
  unsigned next = 0;
};
} // namespace

void ConstantPool::materialize(func::FuncOp function) {
  Materializer out(function, builder);
  for (bool buffers : {true, false}) // arguments of role buffer come first
    for (Value value : order) {
      Constant &constant = known[value];
      Operation *op = value.getDefiningOp();
      if (constant.isBuffer != buffers || value.use_empty())
        continue;
      if (buffers) {
        const Tensor &tensor = *constant.origin;
        used.insert(&tensor);
        SmallVector<NamedAttribute> attrs = {builder.getNamedAttr("train.name", builder.getStringAttr(tensor.name)),
                                             builder.getNamedAttr("train.role", builder.getStringAttr("buffer"))};
        if (tensor.source)
          attrs.push_back(builder.getNamedAttr(
              "train.source", builder.getDictionaryAttr(
                                  {builder.getNamedAttr("bytes", builder.getI64IntegerAttr(tensor.source->bytes)),
                                   builder.getNamedAttr("offset", builder.getI64IntegerAttr(tensor.source->offset)),
                                   builder.getNamedAttr("path", builder.getStringAttr(tensor.source->path))})));
        unsigned index = function.getNumArguments();
        (void)function.insertArgument(index, constant.type, builder.getDictionaryAttr(attrs), op->getLoc());
        value.replaceAllUsesWith(function.getArgument(index));
        continue;
      }
      if (!load(constant))
        continue;
      HostTensor small = shrink(*constant.base);
      Type element = constant.type.getElementType();
      if (small.size() == 1) {
        small.shape.clear();
        HostTensor scalar = small;
        scalar.shape.assign(constant.type.getRank(), 1);
        auto attr = DenseElementsAttr::get(
            constant.type, scalar.toAttribute(RankedTensorType::get(scalar.shape, element)).getSplatValue<Attribute>());
        value.replaceAllUsesWith(out.constant(op->getLoc(), attr, 0));
        continue;
      }
      auto baseType = RankedTensorType::get(small.shape, element);
      Value base = out.constant(op->getLoc(), small.toAttribute(baseType), baseType.getNumElements() * elementBytes(element));
      if (baseType != constant.type) {
        OpBuilder::InsertionGuard guard(builder);
        builder.setInsertionPoint(op);
        base = nn::BroadcastOp::create(builder, op->getLoc(), constant.type, base, constant.dims);
      }
      value.replaceAllUsesWith(base);
    }
  for (Value value : order)
    if (value.use_empty())
      value.getDefiningOp()->erase();
  known.clear();
  order.clear();
}
