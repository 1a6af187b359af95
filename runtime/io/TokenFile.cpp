//===- TokenFile.cpp - streams of token ids -------------------------------===//
#include "runtime/io/TokenFile.h"
#include "runtime/support/Checked.h"
#include <algorithm>
#include <cctype>
#include <cstring>
#include <unistd.h>

namespace llmc::runtime {

static constexpr const char *kTypes = "u8 (bytes), u16, u32, i32 or i64";

static std::optional<TokenType> typeNamed(const std::string &name) {
  static const std::pair<const char *, TokenType> names[] = {
      {"u8", TokenType::U8},   {"bytes", TokenType::U8}, {"i8", TokenType::I8},   {"u16", TokenType::U16}, {"i16", TokenType::I16},
      {"u32", TokenType::U32}, {"i32", TokenType::I32},  {"i64", TokenType::I64}, {"u64", TokenType::U64}};
  for (auto [known, type] : names)
    if (name == known)
      return type;
  return std::nullopt;
}

static unsigned widthOf(TokenType type) {
  switch (type) {
  case TokenType::U8:
  case TokenType::I8:
    return 1;
  case TokenType::U16:
  case TokenType::I16:
    return 2;
  case TokenType::U32:
  case TokenType::I32:
    return 4;
  case TokenType::I64:
  case TokenType::U64:
    return 8;
  }
  return 1;
}

static bool exists(const std::string &path) { return ::access(path.c_str(), F_OK) == 0; }

TokenFileName TokenFileName::parse(const std::string &argument) {
  size_t colon = argument.rfind(':');
  if (colon != std::string::npos && colon > 0 && !exists(argument))
    if (auto type = typeNamed(argument.substr(colon + 1)))
      return {argument.substr(0, colon), type};
  return {argument, std::nullopt};
}

/// What follows the last dot of the file's name, in small letters.
static std::string extensionOf(const std::string &path) {
  size_t dot = path.rfind('.'), slash = path.rfind('/');
  if (dot == std::string::npos || (slash != std::string::npos && dot < slash))
    return "";
  std::string text = path.substr(dot + 1);
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

/// `path` with another extension.
static std::string sibling(const std::string &path, const char *extension) {
  return path.substr(0, path.rfind('.') + 1) + extension;
}

static bool hasIndex(const std::string &path) { return extensionOf(path) == "bin" && exists(sibling(path, "idx")); }

std::vector<std::string> TokenFile::filesOf(const std::string &argument) {
  TokenFileName name = TokenFileName::parse(argument);
  if (name.type)
    return {name.path};
  if (extensionOf(name.path) == "idx")
    return {name.path, sibling(name.path, "bin")};
  if (hasIndex(name.path))
    return {name.path, sibling(name.path, "idx")};
  return {name.path};
}

Status TokenFile::bad(const std::string &what, const std::string &hint) const {
  return Status::badInput("token file '" + path() + "' " + what, hint);
}

template <typename T> static T load(const uint8_t *from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

/// Magic number, version, count; then ids.
Status TokenFile::readLlmC() {
  constexpr size_t kHeaderBytes = 256 * sizeof(int32_t);
  std::string hint = "raw ids are named with their type, as in --data " + path() + ":u16 for nanoGPT's (" +
                     (exists(path().substr(0, path().rfind('/') + 1) + "meta.pkl") ? "there is a meta.pkl beside it, as nanoGPT writes one"
                                                                                   : "there is no meta.pkl beside it, which would say so") +
                     "); Megatron's need their .idx beside them";
  if (content.size() < kHeaderBytes)
    return bad("is too short for the header of llm.c's format", hint);
  int32_t magic = load<int32_t>(content.data()), version = load<int32_t>(content.data() + 4), count = load<int32_t>(content.data() + 8);
  bool isSmall = magic == 20240520 && version == 1, isLarge = magic == 20240801 && (version == 1 || version == 7);
  if (!isSmall && !isLarge)
    return bad("does not start with llm.c's magic number (20240520 with version 1, or 20240801 with version 7)", hint);
  type = isSmall ? TokenType::U16 : TokenType::U32;
  content = content.subspan(kHeaderBytes);
  if (count < 0 || static_cast<uint64_t>(count) * widthOf(type) != content.size())
    return bad("holds " + std::to_string(content.size()) + " bytes of ids, its header says " + std::to_string(count) + " ids of " +
               std::to_string(widthOf(type)) + " bytes");
  return Status::success();
}

/// The text after `key` in a header of NumPy, up to the next comma outside of brackets.
static std::string fieldOf(const std::string &header, const std::string &key) {
  size_t at = header.find("'" + key + "':");
  if (at == std::string::npos)
    return "";
  at += key.size() + 3;
  int depth = 0;
  std::string text;
  for (; at < header.size() && (depth > 0 || (header[at] != ',' && header[at] != '}')); ++at) {
    depth += header[at] == '(' ? 1 : header[at] == ')' ? -1 : 0;
    if (header[at] != ' ')
      text += header[at];
  }
  return text;
}

Status TokenFile::readNpy() {
  const char magic[] = "\x93NUMPY";
  if (content.size() < 12 || std::memcmp(content.data(), magic, 6) != 0)
    return bad("does not start as NumPy's files do", "save it with numpy.save");
  bool isLong = content[6] >= 2;
  uint64_t start = isLong ? 12 : 10, length = isLong ? load<uint32_t>(&content[8]) : load<uint16_t>(&content[8]);
  if (content[6] < 1 || content[6] > 3 || length > content.size() - start)
    return bad("has a header that is cut or of an unknown version");
  std::string header(reinterpret_cast<const char *>(content.data()) + start, length);
  std::string kind = fieldOf(header, "descr"), shape = fieldOf(header, "shape");
  static const std::pair<const char *, TokenType> kinds[] = {
      {"'|u1'", TokenType::U8},  {"'|i1'", TokenType::I8},  {"'<u2'", TokenType::U16}, {"'<i2'", TokenType::I16},
      {"'<u4'", TokenType::U32}, {"'<i4'", TokenType::I32}, {"'<i8'", TokenType::I64}, {"'<u8'", TokenType::U64}};
  auto known = std::find_if(std::begin(kinds), std::end(kinds), [&](const auto &entry) { return kind == entry.first; });
  if (known == std::end(kinds))
    return bad("holds " + (kind.empty() ? "something unknown" : kind) + ", not little-endian integers",
               "save it with numpy.save(FILE, ids.astype(numpy.uint16)), or numpy.uint32");
  type = known->second;
  Checked count(1);
  unsigned dimensions = 0;
  for (size_t at = 0; at < shape.size();) {
    size_t end = at;
    while (end < shape.size() && std::isdigit(static_cast<unsigned char>(shape[end])))
      ++end;
    if (end > at && end - at < 19) {
      count = count * static_cast<int64_t>(std::stoll(shape.substr(at, end - at)));
      ++dimensions;
    } else if (end > at)
      return bad("has an impossible shape " + shape);
    at = std::max(end, at + 1);
  }
  content = content.subspan(start + length);
  if (!(count * widthOf(type)).equals(content.size()))
    return bad("holds " + std::to_string(content.size()) + " bytes of ids, its shape " + shape + " says something else");
  if (dimensions > 1 && fieldOf(header, "fortran_order") != "False")
    return bad("is stored column by column", "save it with numpy.save(FILE, numpy.ascontiguousarray(ids))");
  if (dimensions != 1)
    remark = "'" + path() + "' has shape " + shape + "; its ids are read in order, as one row";
  return Status::success();
}

/// Megatron's index: magic, version, type, numbers of sequences and documents, then sizes and places of sequences.
Status TokenFile::readMegatron(const std::string &index) {
  auto mapped = MappedFile::open(index);
  if (!mapped.ok())
    return mapped.status();
  Bytes bytes = (*mapped)->bytes();
  auto damaged = [&](const std::string &what) { return Status::badInput("Megatron's index '" + index + "' " + what); };
  constexpr size_t kHeaderBytes = 9 + 8 + 1 + 8 + 8;
  if (bytes.size() < kHeaderBytes || std::memcmp(bytes.data(), "MMIDIDX\0\0", 9) != 0)
    return damaged("does not start with MMIDIDX");
  uint64_t version = load<uint64_t>(&bytes[9]), sequences = load<uint64_t>(&bytes[18]), documents = load<uint64_t>(&bytes[26]);
  static const std::optional<TokenType> types[] = {std::nullopt,   TokenType::U8,  TokenType::I8, TokenType::I16,
                                                   TokenType::I32, TokenType::I64, std::nullopt,  std::nullopt, TokenType::U16};
  uint8_t code = bytes[17];
  if (version != 1 || code >= std::size(types) || !types[code])
    return damaged("has version " + std::to_string(version) + " and type " + std::to_string(code) + ", not version 1 and integers");
  type = *types[code];
  if (!(Checked(sequences) * 12 + Checked(documents) * 8 + kHeaderBytes).equals(bytes.size()))
    return damaged("is cut, or has other entries than sizes, places and documents");
  uint64_t at = 0, width = widthOf(type);
  for (uint64_t i = 0; i < sequences; ++i) {
    int32_t size = load<int32_t>(&bytes[kHeaderBytes + i * 4]);
    uint64_t place = load<uint64_t>(&bytes[kHeaderBytes + sequences * 4 + i * 8]);
    if (size < 0 || place != at)
      return damaged("does not list the ids of '" + path() + "' one sequence after the other (sequence " + std::to_string(i) + ")");
    at += static_cast<uint64_t>(size) * width;
  }
  if (at != content.size())
    return damaged("counts " + std::to_string(at) + " bytes of ids, '" + path() + "' has " + std::to_string(content.size()));
  return Status::success();
}

/// Text is told from ids by its name and by a vocabulary that has just the bytes.
Status TokenFile::refuseUnknown(std::optional<uint64_t> vocabulary) const {
  std::string extension = extensionOf(path());
  bool isText = extension == "txt" || extension == "text" || extension == "md";
  if (isText && vocabulary.value_or(256) == 256)
    return Status::success();
  if (isText)
    return bad("is text, but the model's vocabulary has " + std::to_string(*vocabulary) + " ids, and bytes are 256",
               "write the ids of the model's tokenizer to a .u16 or .u32 file" +
                   (*vocabulary > 256 ? "; for a model whose first 256 ids are bytes say --data " + path() + ":bytes" : std::string()));
  return bad("is of no kind that is known by its name",
             std::string("known are .u16, .u32, .npy, llm.c's and Megatron's .bin, .txt for models of bytes, and .safetensors for arrays; "
                         "otherwise name the type of its ids, ") +
                 kTypes + ", as in --data " + path() + ":u16");
}

Result<std::shared_ptr<TokenFile>> TokenFile::open(const std::string &argument, std::optional<uint64_t> vocabulary) {
  TokenFileName name = TokenFileName::parse(argument);
  std::string extension = name.type ? "" : extensionOf(name.path);
  bool isIndex = extension == "idx";
  std::string path = isIndex ? sibling(name.path, "bin") : name.path;
  if (isIndex && exists(name.path) && !exists(path))
    return Status::badInput("'" + name.path + "' is the index of Megatron's '" + path + "', which is not there",
                            "put it beside the index");
  auto mapped = MappedFile::open(path);
  if (!mapped.ok())
    return mapped.status();
  auto result = std::make_shared<TokenFile>();
  result->file = *mapped;
  result->content = result->file->bytes();
  if (result->content.empty())
    return result->bad("is empty");
  static const char *const raw[] = {"u8", "u16", "u32", "i32", "i64"};
  Status status;
  if (name.type)
    result->type = *name.type;
  else if (std::find(std::begin(raw), std::end(raw), extension) != std::end(raw))
    result->type = *typeNamed(extension);
  else if (isIndex || hasIndex(path))
    status = result->readMegatron(sibling(path, "idx"));
  else if (extension == "bin")
    status = result->readLlmC();
  else if (extension == "npy")
    status = result->readNpy();
  else
    status = result->refuseUnknown(vocabulary);
  if (!status.ok())
    return status;
  unsigned width = widthOf(result->type);
  if (result->content.size() % width != 0)
    return result->bad("is cut: " + std::to_string(result->content.size()) + " bytes are no multiple of " + std::to_string(width));
  result->tokens = result->content.size() / width;
  if (result->tokens == 0)
    return result->bad("is empty");
  return result;
}

int64_t TokenFile::at(uint64_t position) const {
  const uint8_t *from = content.data() + position * widthOf(type);
  switch (type) {
  case TokenType::U8:
    return *from;
  case TokenType::I8:
    return load<int8_t>(from);
  case TokenType::U16:
    return load<uint16_t>(from);
  case TokenType::I16:
    return load<int16_t>(from);
  case TokenType::U32:
    return load<uint32_t>(from);
  case TokenType::I32:
    return load<int32_t>(from);
  case TokenType::I64:
    return load<int64_t>(from);
  case TokenType::U64:
    return static_cast<int64_t>(load<uint64_t>(from));
  }
  return -1;
}

template <typename T>
static uint64_t firstBeyond(const uint8_t *from, uint64_t begin, uint64_t end, uint64_t limit, std::optional<int64_t> ignored) {
  for (uint64_t position = begin; position < end; ++position) {
    auto id = static_cast<int64_t>(load<T>(from + position * sizeof(T)));
    if (static_cast<uint64_t>(id) >= limit && id != ignored) // negative ones are beyond everything
      return position;
  }
  return end;
}

uint64_t TokenFile::firstOutside(uint64_t begin, uint64_t end, uint64_t limit, std::optional<int64_t> ignored) const {
  const uint8_t *from = content.data();
  switch (type) {
  case TokenType::U8:
    return firstBeyond<uint8_t>(from, begin, end, limit, ignored);
  case TokenType::I8:
    return firstBeyond<int8_t>(from, begin, end, limit, ignored);
  case TokenType::U16:
    return firstBeyond<uint16_t>(from, begin, end, limit, ignored);
  case TokenType::I16:
    return firstBeyond<int16_t>(from, begin, end, limit, ignored);
  case TokenType::U32:
    return firstBeyond<uint32_t>(from, begin, end, limit, ignored);
  case TokenType::I32:
    return firstBeyond<int32_t>(from, begin, end, limit, ignored);
  case TokenType::I64:
    return firstBeyond<int64_t>(from, begin, end, limit, ignored);
  case TokenType::U64:
    return firstBeyond<uint64_t>(from, begin, end, limit, ignored);
  }
  return begin;
}

} // namespace llmc::runtime
