//===- TokenFile.h - streams of token ids -----------------------*- C++ -*-===//
#ifndef LLMC_RUNTIME_IO_TOKENFILE_H
#define LLMC_RUNTIME_IO_TOKENFILE_H

#include "runtime/support/File.h"
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace llmc::runtime {

enum class TokenType { U8, I8, U16, I16, U32, I32, I64, U64 };

/// A file as an argument names it: FILE, or FILE:TYPE for ids that stand in it one after the other and nothing else, with TYPE
/// one of u8 (or bytes), i8, u16, i16, u32, i32, i64, u64. A file whose own name ends so is taken as it is.
struct TokenFileName {
  std::string path;
  std::optional<TokenType> type;
  static TokenFileName parse(const std::string &argument);
};

/// A file of token ids. What it is is told by TYPE, or by its name, capitals or not:
///   .u8 .u16 .u32 .i32 .i64   ids, little endian, nothing else in the file
///   .npy                      integers as NumPy saves them, in one row (more dimensions are read in order)
///   .bin                      llm.c's: a header of 256 32-bit integers, magic 20240520 for 16-bit ids, 20240801 for 32-bit ones
///   .idx, .bin with its .idx  Megatron's: the index of documents, and their ids
///   .txt .text .md            text, a byte a token: only where the vocabulary has exactly 256 ids
/// Everything else is refused, saying how to name the type.
class TokenFile {
public:
  /// `vocabulary`: ids of the model; without it text is read as bytes. Errors: BadInput if the file is missing, empty, cut, or not to
  /// be told; with the way to say what it is.
  static Result<std::shared_ptr<TokenFile>> open(const std::string &argument, std::optional<uint64_t> vocabulary = std::nullopt);
  /// The files that `argument` stands for: two, for Megatron's.
  static std::vector<std::string> filesOf(const std::string &argument);

  uint64_t count() const { return tokens; }
  /// The id at `position` < count(); those above 2^63 come out negative.
  int64_t at(uint64_t position) const;
  /// The first position in [begin, end) whose id is outside [0, limit) and not `ignored`; `end` if there is none.
  uint64_t firstOutside(uint64_t begin, uint64_t end, uint64_t limit, std::optional<int64_t> ignored) const;
  /// The whole file with the ids.
  Bytes bytes() const { return file->bytes(); }
  const std::string &path() const { return file->path(); }
  /// What a user should know about how it was read; may be empty.
  const std::string &note() const { return remark; }

private:
  Status readLlmC();
  Status readNpy();
  Status readMegatron(const std::string &index);
  Status refuseUnknown(std::optional<uint64_t> vocabulary) const;
  Status bad(const std::string &what, const std::string &hint = "") const;

  std::shared_ptr<MappedFile> file;
  Bytes content;
  uint64_t tokens = 0;
  TokenType type = TokenType::U8;
  std::string remark;
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_IO_TOKENFILE_H
