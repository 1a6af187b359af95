//===- StatePlan.h - plans of several ranks that only have state -*- C++ -*-===//
//
// Four parameters with all kinds of views, cut over the axes of a mesh in the ways that tensor parallelism and ZeRO cut
// them. There are no segments: such plans start, save, restore and gather, but do not train.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_TEST_RUNTIME_STATEPLAN_H
#define LLMC_TEST_RUNTIME_STATEPLAN_H

#include "runtime/executor/ModelState.h"
#include "test/runtime/TinyPlan.h"
#include <functional>

namespace llmc::test {

/// Ranks are numbered with tp running fastest.
struct StateMesh {
  uint32_t dp = 1, tp = 1;
  bool zero = false;   // states and gradients cut over dp, too
  int64_t padding = 0; // rows added to the vocabulary of 10
  uint32_t ranks() const { return dp * tp; }
  std::string text() const;
};

/// Divisions of ranks in such a plan.
enum StateGroups { DpGroups, TpGroups };

fb::PlanT statePlan(const StateMesh &mesh);

/// One rank of a plan in a thread of its own.
struct RankOfPlan {
  runtime::Executor &executor;
  runtime::ModelState &state;
  runtime::World *world; // null for one rank
};
/// Runs `body` on all ranks of the plan at `path`, as threads. They all arrive at the end, unless not `together`.
void onRanks(const std::string &path, const std::function<void(RankOfPlan &)> &body, bool together = true);

/// Bytes of a logical tensor of the state: a function of its name and `seed`. Buffers that are kept as they are, too.
std::vector<uint8_t> logicalBytes(const runtime::StateTensor &tensor, uint64_t seed);
/// What `rank` holds of that; empty if nothing.
std::vector<uint8_t> partBytes(const runtime::StateTensor &tensor, uint32_t rank, uint64_t seed);

/// Sets everything that checkpoints keep, and the step to `seed`.
void fillState(RankOfPlan &rank, uint64_t seed);
/// Whether all of it is as `fillState` left it on ranks of any mesh.
void expectState(RankOfPlan &rank, uint64_t seed, const std::string &what);

} // namespace llmc::test

#endif // LLMC_TEST_RUNTIME_STATEPLAN_H
