//===- CollectivePlan.h - plans in which ranks only talk --------*- C++ -*-===//
//
// One segment, `update`, on buffers of training state, which a test fills before and reads after. All ranks run the same
// program until a test gives one another.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_TEST_RUNTIME_COLLECTIVEPLAN_H
#define LLMC_TEST_RUNTIME_COLLECTIVEPLAN_H

#include "test/runtime/TinyPlan.h"
#include <utility>

namespace llmc::test {

/// Divisions of the ranks: all together; ranks that are ranks/2 apart, the higher one at place 0; each rank alone.
enum CollectiveGroups : uint32_t { AllRanks, Across, Alone };

class CollectivePlan {
public:
  /// `ranks` is even.
  explicit CollectivePlan(uint32_t ranks);

  uint32_t addBuffer(const std::string &name, int64_t elements, fb::DataType type = fb::DataType::F32);
  /// The rank's own part of `whole`, by its place in `groups`.
  uint32_t addPart(const std::string &name, uint32_t whole, CollectiveGroups groups);
  /// A 64-bit integer that says the rank's place in `groups`.
  uint32_t addPlace(const std::string &name, CollectiveGroups groups);

  /// Pairs of buffers: from, to. All of each is used.
  fb::InstructionT &addCollective(fb::CollectiveKind kind, CollectiveGroups groups, const std::vector<std::pair<uint32_t, uint32_t>> &buffers,
                                  int32_t event = -1);
  fb::InstructionT &addWait(uint32_t event);
  fb::InstructionT &addCopy(uint32_t to, uint32_t from);
  /// From now on `rank` has a program of its own, a copy of what there is.
  fb::RankProgramT &giveOwnProgram(uint32_t rank);

  fb::RankProgramT &program() { return *plan.programs[0]; }
  fb::BufferT &buffer(uint32_t index) { return *program().buffers[index]; }
  fb::InstructionT &at(uint32_t index) { return *program().segments[0]->instructions[index]; }
  uint32_t members(CollectiveGroups groups) const { return plan.groups[groups]->size; }

  fb::PlanT plan;

private:
  uint32_t add(const std::string &name, uint32_t arena, int64_t elements, fb::DataType type);
  fb::InstructionT &addInstruction(const std::string &name);
  void addOperand(fb::InstructionT &instruction, uint32_t buffer, fb::Access access);
};

} // namespace llmc::test

#endif // LLMC_TEST_RUNTIME_COLLECTIVEPLAN_H
