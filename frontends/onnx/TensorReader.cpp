//===- TensorReader.cpp - constant arrays of an ONNX file, inline and external ------===//
#include "frontends/onnx/ReaderParts.h"
#include "frontends/onnx/proto/onnx-ml.pb.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CheckedArithmetic.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

using llvm::StringRef;
using namespace llmc;
using namespace llmc::onnx;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

std::string llmc::onnx::nameOf(DType type) {
  static const char *names[] = {"undefined", "float32", "uint8",   "int8",   "uint16", "int16",     "int32",      "int64", "string",
                                "bool",      "float16", "float64", "uint32", "uint64", "complex64", "complex128", "bfloat16"};
  int32_t index = static_cast<int32_t>(type);
  return index >= 0 && index <= 16 ? names[index] : "type " + std::to_string(index);
}

int64_t llmc::onnx::bytesOf(DType type) {
  static const int64_t bytes[] = {0, 4, 1, 1, 2, 2, 4, 8, 0, 1, 2, 8, 4, 8, 8, 16, 2};
  int32_t index = static_cast<int32_t>(type);
  return index >= 0 && index <= 16 ? bytes[index] : 0;
}

/// Calls `visit(field, position, length)` for each length-delimited field of the message in [stream, limit).
template <typename F> static bool walkMessage(CodedInputStream &stream, F visit) {
  while (uint32_t tag = stream.ReadTag()) {
    if (WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      if (!WireFormatLite::SkipField(&stream, tag))
        return false;
      continue;
    }
    uint32_t length = 0;
    if (!stream.ReadVarint32(&length) || length > INT32_MAX)
      return false;
    auto limit = stream.PushLimit(static_cast<int>(length));
    int64_t position = stream.CurrentPosition();
    if (!visit(WireFormatLite::GetTagFieldNumber(tag), position, static_cast<int64_t>(length)))
      return false;
    int rest = stream.BytesUntilLimit();
    if (rest > 0 && !stream.Skip(rest))
      return false;
    stream.PopLimit(limit);
  }
  return true;
}

/// Reads the ranges of a TensorProto that the stream stands at; false on malformed bytes.
static bool walkTensor(CodedInputStream &stream, ElementRange &range) {
  int floatFields = 0;
  return walkMessage(stream, [&](int field, int64_t position, int64_t length) {
    if (field == ::onnx::TensorProto::kRawDataFieldNumber) {
      range.rawOffset = position;
      range.rawSize = length;
    } else if (field == ::onnx::TensorProto::kFloatDataFieldNumber) {
      range.floatOffset = position;
      range.floatSize = ++floatFields == 1 ? length : -1;
    }
    return true;
  });
}

/// Calls `visit(field)` for each message in the file's graph.
template <typename F> static void walkGraph(CodedInputStream &stream, F visit) {
  walkMessage(stream, [&](int field, int64_t, int64_t) {
    return field != ::onnx::ModelProto::kGraphFieldNumber || walkMessage(stream, [&](int field, int64_t, int64_t) { return visit(field); });
  });
}

std::vector<ElementRange> llmc::onnx::findInitializers(llvm::ArrayRef<char> file) {
  std::vector<ElementRange> ranges;
  CodedInputStream stream(reinterpret_cast<const uint8_t *>(file.data()), static_cast<int>(file.size()));
  walkGraph(stream, [&](int field) {
    if (field != ::onnx::GraphProto::kInitializerFieldNumber)
      return true;
    ElementRange range;
    bool ok = walkTensor(stream, range);
    ranges.push_back(range);
    return ok;
  });
  return ranges;
}

std::map<int, ElementRange> llmc::onnx::findConstants(llvm::ArrayRef<char> file) {
  std::map<int, ElementRange> ranges;
  CodedInputStream stream(reinterpret_cast<const uint8_t *>(file.data()), static_cast<int>(file.size()));
  int next = 0;
  walkGraph(stream, [&](int field) {
    if (field != ::onnx::GraphProto::kNodeFieldNumber)
      return true;
    int node = next++;
    return walkMessage(stream, [&](int field, int64_t, int64_t) {
      return field != ::onnx::NodeProto::kAttributeFieldNumber || walkMessage(stream, [&](int field, int64_t, int64_t) {
        return field != ::onnx::AttributeProto::kTFieldNumber || walkTensor(stream, ranges[node]);
      });
    });
  });
  return ranges;
}

void TensorReader::report(const std::string &message, StringRef where, const std::string &hint) {
  problems.push_back({message, where.str(), hint});
}

bool TensorReader::readDims(const ::onnx::TensorProto &proto, StringRef what, Tensor &tensor) {
  int64_t elements = 1;
  for (int64_t dim : proto.dims()) {
    std::optional<int64_t> product = llvm::checkedMul(elements, dim);
    if (dim < 0 || !product) {
      report(dim < 0 ? "a dimension is negative" : "the size of the tensor overflows", what);
      return false;
    }
    elements = *product;
    tensor.dims.push_back(dim);
  }
  tensor.elements = elements;
  int64_t width = bytesOf(tensor.type);
  if (tensor.type != DType::String && width == 0) {
    report("the element type (" + nameOf(tensor.type) + ") is unknown", what, "supported are float32, float64, integers and bool");
    return false;
  }
  if (!llvm::checkedMul(elements, std::max<int64_t>(width, 1)) || elements > (int64_t(1) << 46)) {
    report("the size of the tensor overflows", what);
    return false;
  }
  return true;
}

Tensor TensorReader::read(const ::onnx::TensorProto &proto, StringRef what, const ElementRange *range) {
  Tensor tensor;
  tensor.name = proto.name();
  tensor.type = static_cast<DType>(proto.data_type());
  if (!readDims(proto, what, tensor))
    return tensor;
  if (tensor.type == DType::String)
    return tensor;
  if (proto.has_segment()) {
    report("tensors stored in segments are not supported", what, "save the model again with onnx.save");
    return tensor;
  }
  if (proto.data_location() == ::onnx::TensorProto::EXTERNAL) {
    readExternal(proto, what, tensor);
  } else if (proto.has_raw_data()) {
    if (static_cast<int64_t>(proto.raw_data().size()) != tensor.bytes()) {
      report("the tensor has " + std::to_string(proto.raw_data().size()) + " bytes of data, its shape needs " +
                 std::to_string(tensor.bytes()),
             what, "the file is damaged; export it again");
      return tensor;
    }
    if (range && range->rawSize == tensor.bytes()) {
      llvm::ArrayRef<char> file(model.files.front()->getBufferStart(), model.files.front()->getBufferSize());
      tensor.data = file.slice(range->rawOffset, range->rawSize);
      tensor.source = Source{model.file, range->rawOffset, range->rawSize};
    } else {
      tensor.owned = std::make_shared<std::string>(proto.raw_data());
    }
  } else {
    readTyped(proto, what, tensor, range);
  }
  if (tensor.owned)
    tensor.data = llvm::ArrayRef<char>(tensor.owned->data(), tensor.owned->size());
  return tensor;
}

/// Appends the values of a typed field as elements of type T.
template <typename T, typename Field> static std::shared_ptr<std::string> pack(const Field &values) {
  auto bytes = std::make_shared<std::string>();
  bytes->reserve(values.size() * sizeof(T));
  for (auto value : values) {
    T element = static_cast<T>(value);
    bytes->append(reinterpret_cast<const char *>(&element), sizeof(T));
  }
  return bytes;
}

void TensorReader::readTyped(const ::onnx::TensorProto &proto, StringRef what, Tensor &tensor, const ElementRange *range) {
  switch (tensor.type) {
  case DType::Float:
    tensor.owned = pack<float>(proto.float_data());
    if (range && range->floatSize == tensor.bytes() && tensor.elements > 0)
      tensor.source = Source{model.file, range->floatOffset, range->floatSize};
    break;
  case DType::Double:
    tensor.owned = pack<double>(proto.double_data());
    break;
  case DType::Int64:
    tensor.owned = pack<int64_t>(proto.int64_data());
    break;
  case DType::Uint32:
    tensor.owned = pack<uint32_t>(proto.uint64_data());
    break;
  case DType::Uint64:
    tensor.owned = pack<uint64_t>(proto.uint64_data());
    break;
  case DType::Int32:
    tensor.owned = pack<int32_t>(proto.int32_data());
    break;
  case DType::Int16:
  case DType::Uint16:
  case DType::Float16:
  case DType::BFloat16:
    tensor.owned = pack<uint16_t>(proto.int32_data());
    break;
  case DType::Int8:
  case DType::Uint8:
  case DType::Bool:
    tensor.owned = pack<uint8_t>(proto.int32_data());
    break;
  default:
    tensor.owned = std::make_shared<std::string>();
  }
  int64_t have = static_cast<int64_t>(tensor.owned->size());
  if (have == tensor.bytes())
    return;
  report("the tensor has " + std::to_string(have / bytesOf(tensor.type)) + " elements of data, its shape needs " +
             std::to_string(tensor.elements),
         what, "the file is damaged; export it again");
  tensor.owned.reset();
  tensor.source.reset();
}

/// A byte count of the format: a decimal integer; some writers add ".0".
static std::optional<int64_t> parseCount(StringRef text) {
  text.consume_back(".0");
  int64_t value = 0;
  if (text.getAsInteger(10, value) || value < 0)
    return std::nullopt;
  return value;
}

void TensorReader::readExternal(const ::onnx::TensorProto &proto, StringRef what, Tensor &tensor) {
  std::string location;
  std::optional<int64_t> offset = 0, length = tensor.bytes();
  for (const auto &entry : proto.external_data()) {
    if (entry.key() == "location")
      location = entry.value();
    else if (entry.key() == "offset")
      offset = parseCount(entry.value());
    else if (entry.key() == "length")
      length = parseCount(entry.value());
  }
  if (location.empty() || location.find('\0') != std::string::npos)
    return report("external data without a location", what, "the file is damaged; export it again");
  if (!offset || !length)
    return report("offset or length of the external data is no byte count", what, "the file is damaged; export it again");
  if (*length != tensor.bytes())
    return report("the external data has " + std::to_string(*length) + " bytes, its shape needs " +
                      std::to_string(tensor.bytes()),
                  what, "the file is damaged; export it again");
  const DataFile &file = openData(location, what);
  if (!file.exists) {
    tensor.missing = file.usable; // unusable: already reported
    tensor.missingFile = location;
    return;
  }
  if (!file.usable)
    return;
  std::optional<int64_t> end = llvm::checkedAdd(*offset, *length);
  if (!end || *end > static_cast<int64_t>(file.bytes.size()))
    return report("the data file `" + location + "` ends before this tensor (" + std::to_string(file.bytes.size()) +
                      " bytes, needs offset " + std::to_string(*offset) + " + " + std::to_string(*length) + ")",
                  what, "the data file is truncated or belongs to another model");
  tensor.data = file.bytes.slice(*offset, *length);
  tensor.source = Source{location, *offset, *length};
}

const TensorReader::DataFile &TensorReader::openData(const std::string &location, StringRef what) {
  auto [it, fresh] = opened.try_emplace(location);
  DataFile &file = it->second;
  if (!fresh)
    return file;
  bool climbs = llvm::sys::path::is_absolute(location);
  for (auto part = llvm::sys::path::begin(location), end = llvm::sys::path::end(location); part != end; ++part)
    climbs |= *part == "..";
  llvm::SmallString<256> path(model.folder.empty() ? "." : model.folder);
  if (climbs) {
    report("external data `" + location + "` lies outside the model's folder", what,
           "move the file beside the model and save the model again");
    return file;
  }
  llvm::sys::path::append(path, location);
  llvm::SmallString<256> realFolder, realPath;
  if (llvm::sys::fs::real_path(model.folder.empty() ? "." : model.folder, realFolder) ||
      llvm::sys::fs::real_path(path, realPath)) {
    file.usable = true; // does not exist; it matters only if a value is needed
    return file;
  }
  file.exists = true;
  StringRef inside = realPath;
  if (!inside.consume_front(realFolder) || (!inside.starts_with("/") && realFolder != "/")) {
    report("external data `" + location + "` is a link to outside the model's folder", what,
           "put the file itself beside the model");
    return file;
  }
  if (!llvm::sys::fs::is_regular_file(realPath)) {
    report("external data `" + location + "` is no regular file", what);
    return file;
  }
  auto buffer = llvm::MemoryBuffer::getFile(realPath, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer) {
    report("cannot read external data `" + location + "`: " + buffer.getError().message(), what);
    return file;
  }
  file.bytes = llvm::ArrayRef<char>((*buffer)->getBufferStart(), (*buffer)->getBufferSize());
  file.usable = true;
  model.files.push_back(std::move(*buffer));
  return file;
}
