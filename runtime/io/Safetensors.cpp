//===- Safetensors.cpp - reads and writes safetensors files ---------------===//
#include "runtime/io/Safetensors.h"
#include "runtime/io/Json.h"
#include "runtime/support/Checked.h"
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <xxhash.h>

namespace llmc::runtime {

using Json = nlohmann::json;

static constexpr uint64_t kLongestHeader = 100'000'000;

namespace {
struct TypeName {
  const char *name;
  uint64_t bytes;
  bool supported;
  fb::DataType type;
};
} // namespace

static const TypeName kTypes[] = {
    {"F64", 8, true, fb::DataType::F64},        {"F32", 4, true, fb::DataType::F32},
    {"F16", 2, true, fb::DataType::F16},        {"BF16", 2, true, fb::DataType::BF16},
    {"I64", 8, true, fb::DataType::I64},        {"I32", 4, true, fb::DataType::I32},
    {"I8", 1, true, fb::DataType::I8},          {"U8", 1, true, fb::DataType::U8},
    {"BOOL", 1, true, fb::DataType::Bool},      {"F8_E4M3", 1, true, fb::DataType::F8E4M3},
    {"F8_E5M2", 1, true, fb::DataType::F8E5M2}, {"I16", 2, false, fb::DataType::I32},
    {"U16", 2, false, fb::DataType::I32},       {"U32", 4, false, fb::DataType::I64},
    {"U64", 8, false, fb::DataType::I64}};

/// Fills `info` from one entry of the header. Returns the problem, empty if there is none.
static std::string readEntry(const Json &entry, uint64_t dataBytes, TensorInfo &info) {
  if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") || !entry.contains("data_offsets"))
    return "needs dtype, shape and data_offsets";
  const Json &type = entry["dtype"], &shape = entry["shape"], &offsets = entry["data_offsets"];
  if (!type.is_string())
    return "its dtype is not a string";
  info.typeName = type.get<std::string>();
  const TypeName *known = std::find_if(std::begin(kTypes), std::end(kTypes),
                                       [&](const TypeName &candidate) { return info.typeName == candidate.name; });
  if (known == std::end(kTypes))
    return "its dtype '" + info.typeName + "' is unknown";
  info.supported = known->supported;
  info.type = known->type;
  if (!shape.is_array() || shape.size() > 32)
    return "its shape is not a list of sizes";
  for (const Json &size : shape) {
    if (!size.is_number_unsigned() || size.get<uint64_t>() > INT64_MAX)
      return "its shape holds something else than sizes";
    info.shape.push_back(size.get<int64_t>());
  }
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() || !offsets[1].is_number_unsigned())
    return "its data_offsets are not two numbers";
  info.begin = offsets[0].get<uint64_t>();
  info.end = offsets[1].get<uint64_t>();
  if (info.begin > info.end || info.end > dataBytes)
    return "its data [" + std::to_string(info.begin) + ", " + std::to_string(info.end) + ") leaves the file, which has " +
           std::to_string(dataBytes) + " bytes of data";
  int64_t count = elementCount(info.shape);
  if (count < 0 || !(Checked(count) * known->bytes).equals(info.end - info.begin))
    return "its shape and dtype do not make " + std::to_string(info.end - info.begin) + " bytes";
  return "";
}

/// Problems of how the tensors share the data: overlaps, gaps, bytes left at the end.
static std::string checkLayout(const std::map<std::string, TensorInfo> &entries, uint64_t dataBytes) {
  std::vector<std::pair<const TensorInfo *, const std::string *>> order;
  for (const auto &[name, info] : entries)
    order.emplace_back(&info, &name);
  std::sort(order.begin(), order.end(), [](const auto &a, const auto &b) {
    return std::tie(a.first->begin, a.first->end) < std::tie(b.first->begin, b.first->end);
  });
  uint64_t end = 0;
  std::string problems;
  for (auto [info, name] : order) {
    if (info->begin != end)
      problems += "\n  tensor '" + *name + "' " + (info->begin < end ? "overlaps the one before it" : "leaves a gap before it");
    end = std::max(end, info->end);
  }
  if (end != dataBytes)
    problems += "\n  " + std::to_string(dataBytes - end) + " bytes after the last tensor";
  return problems;
}

Result<std::shared_ptr<SafetensorsFile>> SafetensorsFile::open(const std::string &path) {
  auto mapped = MappedFile::open(path);
  if (!mapped.ok())
    return mapped.status();
  auto result = std::make_shared<SafetensorsFile>();
  result->file = *mapped;
  Bytes bytes = result->file->bytes();
  auto bad = [&](const std::string &what) { return Status::badInput("safetensors file '" + path + "' " + what); };
  uint64_t length = 0;
  if (bytes.size() < sizeof(length))
    return bad("is too short");
  std::memcpy(&length, bytes.data(), sizeof(length));
  if (length > kLongestHeader || length > bytes.size() - sizeof(length))
    return bad("is cut or no safetensors file: its header would be " + std::to_string(length) + " bytes long");
  const char *text = reinterpret_cast<const char *>(bytes.data()) + sizeof(length);
  std::optional<std::string> twice;
  Json header = parseJson(text, text + length, twice);
  if (!header.is_object())
    return bad("has a header that is not a JSON object");
  if (twice)
    return bad("is damaged: its header has '" + *twice + "' twice");
  result->content = bytes.subspan(sizeof(length) + length);
  std::string problems;
  for (const auto &[name, entry] : header.items()) {
    if (name == "__metadata__")
      continue;
    TensorInfo info;
    std::string problem = readEntry(entry, result->content.size(), info);
    if (!problem.empty())
      problems += "\n  tensor '" + name + "': " + problem;
    else
      result->entries.emplace(name, std::move(info));
  }
  if (problems.empty())
    problems = checkLayout(result->entries, result->content.size());
  if (!problems.empty())
    return bad("is damaged:" + problems);
  return result;
}

const TensorInfo *SafetensorsFile::find(const std::string &name) const {
  auto found = entries.find(name);
  return found == entries.end() ? nullptr : &found->second;
}

static std::string headerOf(const std::vector<TensorToWrite> &tensors) {
  Json header = Json::object();
  uint64_t offset = 0;
  for (const TensorToWrite &tensor : tensors) {
    const TypeName *type = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const TypeName &candidate) {
      return candidate.supported && candidate.type == tensor.type;
    });
    uint64_t end = offset + static_cast<uint64_t>(elementCount(tensor.shape)) * elementBytes(tensor.type);
    header[tensor.name] = {{"dtype", type->name}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

Status writeSafetensors(const std::string &path, const std::vector<TensorToWrite> &tensors, std::string *digest) {
  auto file = DurableFile::create(path);
  if (!file.ok())
    return file.status();
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t *)> state(XXH3_createState(), XXH3_freeState);
  XXH3_128bits_reset(state.get());
  auto write = [&](const void *data, size_t bytes) {
    XXH3_128bits_update(state.get(), data, bytes);
    return (*file)->write({static_cast<const uint8_t *>(data), bytes});
  };
  std::string header = headerOf(tensors);
  uint64_t length = header.size();
  if (Status status = write(&length, sizeof(length)); !status.ok())
    return status;
  if (Status status = write(header.data(), header.size()); !status.ok())
    return status;
  std::vector<uint8_t> scratch;
  for (const TensorToWrite &tensor : tensors) {
    auto bytes = tensor.fetch(scratch);
    if (!bytes.ok())
      return bytes.status();
    if (Status status = write(bytes->data(), bytes->size()); !status.ok())
      return status;
  }
  if (digest) {
    XXH128_hash_t hash = XXH3_128bits_digest(state.get());
    char text[33];
    std::snprintf(text, sizeof(text), "%016llx%016llx", static_cast<unsigned long long>(hash.high64),
                  static_cast<unsigned long long>(hash.low64));
    *digest = text;
  }
  return (*file)->commit();
}

} // namespace llmc::runtime
