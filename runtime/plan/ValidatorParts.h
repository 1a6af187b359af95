//===- ValidatorParts.h - what the parts of the validator share -*- C++ -*-===//
#ifndef LLMC_RUNTIME_PLAN_VALIDATORPARTS_H
#define LLMC_RUNTIME_PLAN_VALIDATORPARTS_H

#include "runtime/plan/Part.h"
#include "runtime/plan/Tables.h"
#include "runtime/plan/Validator.h"
#include "runtime/plan/View.h"
#include "runtime/support/Checked.h"
#include <string>
#include <utility>
#include <vector>

namespace llmc::runtime {

/// Collects problems, each prefixed with where it is.
class Problems {
public:
  void add(const std::string &where, const std::string &what) {
    if (texts.size() < kLimit)
      texts.push_back(where + ": " + what);
  }
  /// Adds the problem unless `good`; returns `good`.
  bool require(bool good, const std::string &where, const std::string &what) {
    if (!good)
      add(where, what);
    return good;
  }
  std::vector<std::string> texts;

private:
  static constexpr size_t kLimit = 10'000;
};

template <typename E> bool isEnumerator(E value, E last) { return static_cast<uint8_t>(value) <= static_cast<uint8_t>(last); }

/// One rank program with what the checks of its buffers found out. `sound[b]`: buffer b lies in its arena and its chain of
/// aliases ends at `root[b]`.
struct ProgramContext {
  const fb::Plan &plan;
  const fb::RankProgram &program;
  std::string where;
  std::vector<bool> sound;
  std::vector<uint32_t> root;

  const fb::Buffer &buffer(uint32_t index) const { return *program.buffers()->Get(index); }
  const fb::Arena &arenaOf(uint32_t index) const { return *program.arenas()->Get(buffer(index).arena()); }
  uint32_t buffers() const { return sizeOf(program.buffers()); }
  uint32_t segments() const { return sizeOf(program.segments()); }
  bool isSound(int64_t index) const { return index >= 0 && index < static_cast<int64_t>(sound.size()) && sound[index]; }
};

/// Places of a group of this division; 0 if there is no such division.
uint32_t placesOf(const fb::Plan &plan, int64_t groups);

/// The bytes of its arena that an operand touches on some rank, [begin, end). Its buffer must be sound.
std::pair<uint64_t, uint64_t> reachOf(const ProgramContext &context, const fb::Operand &operand);

/// Whether an operand begins at a multiple of `width` on all ranks. Its buffer must be sound.
bool isAligned(const ProgramContext &context, const fb::Operand &operand, uint64_t width);

/// The mesh and the divisions of ranks into groups.
void validateGroups(const fb::Plan &plan, Problems &problems);
/// One collective or copy whose operands lie in their buffers.
void validateCollective(const ProgramContext &context, const fb::Collective &body,
                        const flatbuffers::Vector<flatbuffers::Offset<fb::Operand>> *operands, const std::string &where,
                        Problems &problems);
void validateCopy(const ProgramContext &context, const fb::Copy &body,
                  const flatbuffers::Vector<flatbuffers::Offset<fb::Operand>> &operands, const std::string &where, Problems &problems);
/// Each collective with an event is waited for once, and nothing touches what it works on before.
void validateEvents(const ProgramContext &context, const fb::Segment &segment, const std::string &where, Problems &problems);
/// All members of each group issue the same collectives in the same order.
void validateMeetings(const fb::Plan &plan, Problems &problems);

/// Divisions over whose groups a tensor with these cuts (null: none) is to be added up.
void validateSums(const fb::Plan &plan, const flatbuffers::Vector<uint32_t> *sum, const Cuts *cuts, const std::string &where,
                  Problems &problems);
/// That programs mean the same by a name, and that all ranks together hold all of each tensor. Of a plan without problems.
void validateSharedState(const fb::Plan &plan, Problems &problems);

/// Instructions, inputs and outputs of every segment.
void validateSegments(const ProgramContext &context, Problems &problems);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_PLAN_VALIDATORPARTS_H
