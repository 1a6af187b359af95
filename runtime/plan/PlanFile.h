//===- PlanFile.h - writes and reads plan files -----------------*- C++ -*-===//
//
// On disk (little endian):
//   header    64 bytes: PlanFileHeader
//   table     one PlanFileSection per section, in the order of SectionKind
//   sections  each at an offset that is a multiple of 4096, zeros between them
// The digest is XXH3-128 over all bytes after the header, so that a change anywhere is noticed before anything is read.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_RUNTIME_PLAN_PLANFILE_H
#define LLMC_RUNTIME_PLAN_PLANFILE_H

#include "runtime/plan/Plan_generated.h"
#include "runtime/support/File.h"
#include <memory>
#include <string>

namespace llmc::runtime {

namespace fb = llmc::plan::fb;

constexpr uint32_t kPlanVersion = 1;
constexpr uint64_t kPlanAlignment = 4096;

enum class SectionKind : uint32_t { Flatbuffer = 1, KernelImage = 2, Constants = 3 };

struct PlanFileHeader {
  char magic[8]; // "LLMCPLAN"
  uint32_t version;
  uint32_t sections;
  uint64_t fileBytes;
  uint64_t digest[2]; // low, high half
  uint8_t reserved[24]; // zero
};
static_assert(sizeof(PlanFileHeader) == 64);

struct PlanFileSection {
  uint32_t kind;
  uint32_t reserved; // zero
  uint64_t offset, bytes;
};
static_assert(sizeof(PlanFileSection) == 24);

/// Writes a plan file; equal arguments give equal bytes. `flatbuffer` is a finished fb::Plan; `kernelImage` an ELF shared
/// object, `constants` the raw constants (both may be empty). The file appears under `path` only when it is whole.
Status writePlan(const std::string &path, Bytes flatbuffer, Bytes kernelImage, Bytes constants);

/// A plan file, mapped into memory. Its bytes are intact, its FlatBuffer is well formed, and its meaning passed
/// `validatePlan`.
class PlanFile {
public:
  /// Errors: BadInput if the file cannot be read, PlanRefused for anything wrong inside (all problems in the message).
  static Result<std::shared_ptr<PlanFile>> read(const std::string &path);
  /// As `read`, without the semantic validator: for tools that show a refused plan.
  static Result<std::shared_ptr<PlanFile>> readUnvalidated(const std::string &path);

  const fb::Plan &plan() const { return *root; }
  Bytes flatbuffer() const { return sections[0]; }
  Bytes kernelImage() const { return sections[1]; }
  Bytes constants() const { return sections[2]; }
  const std::string &path() const { return file->path(); }
  /// The folder that relative paths in the plan start from.
  std::string folder() const;
  /// 32 hexadecimal digits.
  const std::string &digest() const { return digestText; }

private:
  std::shared_ptr<MappedFile> file;
  const fb::Plan *root = nullptr;
  Bytes sections[3];
  std::string digestText;
};

/// XXH3-128 of `bytes` as 32 hexadecimal digits.
std::string digestOf(Bytes bytes);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_PLAN_PLANFILE_H
