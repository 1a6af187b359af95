//===- Places.h - where a rank stands in its groups -------------*- C++ -*-===//
#ifndef LLMC_RUNTIME_PLAN_PLACES_H
#define LLMC_RUNTIME_PLAN_PLACES_H

#include "runtime/plan/Plan_generated.h"
#include <cstdint>
#include <vector>

namespace llmc::runtime {

namespace fb = llmc::plan::fb;

/// A rank's group: its members in order, and the rank's place among them.
struct PlaceInGroup {
  std::vector<unsigned> members;
  uint32_t place = 0;
};

/// The group of `rank` in division `groups` of a validated plan.
PlaceInGroup placeOf(const fb::Plan &plan, uint32_t groups, uint32_t rank);

/// The rank's place in each division of a validated plan.
std::vector<uint32_t> placesOfRank(const fb::Plan &plan, uint32_t rank);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_PLAN_PLACES_H
