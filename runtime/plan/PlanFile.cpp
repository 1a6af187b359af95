//===- PlanFile.cpp - writes and reads plan files -------------------------===//
#include "runtime/plan/PlanFile.h"
#include "runtime/plan/Validator.h"
#include <cstdio>
#include <cstring>
#include <xxhash.h>

namespace llmc::runtime {

static const char kMagic[8] = {'L', 'L', 'M', 'C', 'P', 'L', 'A', 'N'};
static constexpr SectionKind kKinds[3] = {SectionKind::Flatbuffer, SectionKind::KernelImage, SectionKind::Constants};

static uint64_t alignUp(uint64_t value) { return (value + kPlanAlignment - 1) / kPlanAlignment * kPlanAlignment; }

template <typename T> static Bytes bytesOf(const T &value) {
  return {reinterpret_cast<const uint8_t *>(&value), sizeof(T)};
}

static std::string toHex(XXH128_hash_t hash) {
  char text[33];
  std::snprintf(text, sizeof(text), "%016llx%016llx", static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  return text;
}

std::string digestOf(Bytes bytes) { return toHex(XXH3_128bits(bytes.data(), bytes.size())); }

namespace {
/// Writes to a file and hashes what it writes.
struct HashingWriter {
  DurableFile &file;
  XXH3_state_t *state;
  Status status;

  void write(Bytes bytes) {
    if (!status.ok() || bytes.empty())
      return;
    XXH3_128bits_update(state, bytes.data(), bytes.size());
    status = file.write(bytes);
  }
  void padTo(uint64_t offset) {
    static const uint8_t zeros[kPlanAlignment] = {};
    while (status.ok() && file.size() < offset)
      write({zeros, static_cast<size_t>(std::min<uint64_t>(offset - file.size(), sizeof(zeros)))});
  }
};
} // namespace

Status writePlan(const std::string &path, Bytes flatbuffer, Bytes kernelImage, Bytes constants) {
  Bytes contents[3] = {flatbuffer, kernelImage, constants};
  PlanFileSection table[3];
  uint64_t end = sizeof(PlanFileHeader) + sizeof(table);
  for (int i = 0; i < 3; ++i) {
    table[i] = {static_cast<uint32_t>(kKinds[i]), 0, alignUp(end), contents[i].size()};
    end = table[i].offset + table[i].bytes;
  }
  auto file = DurableFile::create(path);
  if (!file.ok())
    return file.status();
  PlanFileHeader header = {};
  Status status = (*file)->write(bytesOf(header));
  if (!status.ok())
    return status;
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t *)> state(XXH3_createState(), XXH3_freeState);
  XXH3_128bits_reset(state.get());
  HashingWriter writer{**file, state.get(), Status::success()};
  writer.write(bytesOf(table));
  for (int i = 0; i < 3; ++i) {
    writer.padTo(table[i].offset);
    writer.write(contents[i]);
  }
  if (!writer.status.ok())
    return writer.status;
  XXH128_hash_t digest = XXH3_128bits_digest(state.get());
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.version = kPlanVersion;
  header.sections = 3;
  header.fileBytes = end;
  header.digest[0] = digest.low64;
  header.digest[1] = digest.high64;
  status = (*file)->rewrite(0, bytesOf(header));
  return status.ok() ? (*file)->commit() : status;
}

/// Checks header, digest and section table of `bytes`, fills `sections`. Returns the problem, empty if there is none.
static std::string openSections(Bytes bytes, Bytes (&sections)[3], std::string &digestText) {
  PlanFileHeader header;
  PlanFileSection table[3];
  if (bytes.size() < sizeof(header) + sizeof(table))
    return "is too short to be a plan";
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0)
    return "is not a plan file (wrong magic)";
  if (header.version != kPlanVersion)
    return "has plan version " + std::to_string(header.version) + ", this runtime reads version " +
           std::to_string(kPlanVersion);
  static const uint8_t zeros[sizeof(header.reserved)] = {};
  if (header.sections != 3 || std::memcmp(header.reserved, zeros, sizeof(zeros)) != 0)
    return "has a damaged header";
  if (header.fileBytes != bytes.size())
    return "is " + std::to_string(bytes.size()) + " bytes long, its header says " + std::to_string(header.fileBytes);
  Bytes body = bytes.subspan(sizeof(header));
  XXH128_hash_t digest = XXH3_128bits(body.data(), body.size());
  if (digest.low64 != header.digest[0] || digest.high64 != header.digest[1])
    return "is damaged: its digest does not match its bytes";
  digestText = toHex(digest);
  std::memcpy(table, body.data(), sizeof(table));
  uint64_t end = sizeof(header) + sizeof(table);
  for (int i = 0; i < 3; ++i) {
    if (table[i].kind != static_cast<uint32_t>(kKinds[i]) || table[i].reserved != 0 || table[i].offset != alignUp(end) ||
        table[i].offset > bytes.size() || table[i].bytes > bytes.size() - table[i].offset)
      return "has a damaged section table";
    sections[i] = bytes.subspan(table[i].offset, table[i].bytes);
    end = table[i].offset + table[i].bytes;
  }
  return end == bytes.size() ? "" : "has bytes after its last section";
}

Result<std::shared_ptr<PlanFile>> PlanFile::readUnvalidated(const std::string &path) {
  auto mapped = MappedFile::open(path);
  if (!mapped.ok())
    return mapped.status();
  auto result = std::make_shared<PlanFile>();
  result->file = *mapped;
  std::string problem = openSections(result->file->bytes(), result->sections, result->digestText);
  if (!problem.empty())
    return Status::planRefused("plan '" + path + "' " + problem, "compile it again");
  Bytes buffer = result->flatbuffer();
  flatbuffers::Verifier verifier(buffer.data(), buffer.size(), /*max_depth=*/64, /*max_tables=*/50'000'000);
  if (buffer.size() >= FLATBUFFERS_MAX_BUFFER_SIZE || !fb::VerifyPlanBuffer(verifier))
    return Status::planRefused("plan '" + path + "' is malformed", "compile it again");
  result->root = fb::GetPlan(buffer.data());
  return result;
}

Result<std::shared_ptr<PlanFile>> PlanFile::read(const std::string &path) {
  auto result = readUnvalidated(path);
  if (!result.ok())
    return result;
  PlanSizes sizes{(*result)->kernelImage().size(), (*result)->constants().size()};
  std::vector<std::string> problems = validatePlan((*result)->plan(), sizes);
  if (problems.empty())
    return result;
  constexpr size_t kShown = 50;
  std::string message = "plan '" + path + "' is refused: " + std::to_string(problems.size()) + " problems";
  for (size_t i = 0; i < problems.size() && i < kShown; ++i)
    message += "\n  " + problems[i];
  if (problems.size() > kShown)
    message += "\n  and " + std::to_string(problems.size() - kShown) + " more";
  return Status::planRefused(message, "compile it again; if that does not help, this is a mistake of the compiler");
}

std::string PlanFile::folder() const {
  size_t slash = path().rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path().substr(0, slash);
}

} // namespace llmc::runtime
