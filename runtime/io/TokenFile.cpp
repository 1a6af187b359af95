//===- TokenFile.cpp - streams of token ids -------------------------------===//
#include "runtime/io/TokenFile.h"
#include <cstring>

namespace llmc::runtime {

static bool endsWith(const std::string &text, const std::string &end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

Result<std::shared_ptr<TokenFile>> TokenFile::open(const std::string &path) {
  constexpr int32_t kMagic = 20240520;
  constexpr size_t kHeaderBytes = 256 * sizeof(int32_t);
  auto mapped = MappedFile::open(path);
  if (!mapped.ok())
    return mapped.status();
  auto result = std::make_shared<TokenFile>();
  result->file = *mapped;
  result->content = result->file->bytes();
  auto bad = [&](const std::string &what, const std::string &hint = "") {
    return Status::badInput("token file '" + path + "' " + what, hint);
  };
  if (endsWith(path, ".u16"))
    result->width = 2;
  else if (endsWith(path, ".u32"))
    result->width = 4;
  if (endsWith(path, ".bin")) {
    int32_t header[3];
    if (result->content.size() < kHeaderBytes)
      return bad("is too short for the header of llm.c's format", "raw ids are read from .u16 and .u32 files");
    std::memcpy(header, result->content.data(), sizeof(header));
    if (header[0] != kMagic || header[1] != 1)
      return bad("does not start with llm.c's magic number 20240520 and version 1",
                 "raw ids are read from .u16 and .u32 files");
    result->width = 2;
    result->content = result->content.subspan(kHeaderBytes);
    if (header[2] < 0 || static_cast<uint64_t>(header[2]) * 2 != result->content.size())
      return bad("holds " + std::to_string(result->content.size()) + " bytes of ids, its header says " +
                 std::to_string(header[2]) + " ids of 2 bytes");
  }
  if (result->content.size() % result->width != 0)
    return bad("is cut: " + std::to_string(result->content.size()) + " bytes are no multiple of " +
               std::to_string(result->width));
  result->tokens = result->content.size() / result->width;
  if (result->tokens == 0)
    return bad("is empty");
  return result;
}

} // namespace llmc::runtime
