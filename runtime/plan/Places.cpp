//===- Places.cpp - where a rank stands in its groups ---------------------===//
#include "runtime/plan/Places.h"
#include "runtime/plan/Tables.h"
#include <algorithm>

namespace llmc::runtime {

PlaceInGroup placeOf(const fb::Plan &plan, uint32_t groups, uint32_t rank) {
  const fb::Groups &division = *plan.groups()->Get(groups);
  const auto &ranks = *division.ranks();
  auto found = std::find(ranks.begin(), ranks.end(), rank);
  auto index = static_cast<uint32_t>(found - ranks.begin());
  uint32_t first = index / division.size() * division.size();
  PlaceInGroup result;
  for (uint32_t i = first; i < first + division.size(); ++i)
    result.members.push_back(ranks.Get(i));
  result.place = index - first;
  return result;
}

std::vector<uint32_t> placesOfRank(const fb::Plan &plan, uint32_t rank) {
  std::vector<uint32_t> places;
  for (uint32_t i = 0; i < sizeOf(plan.groups()); ++i) {
    const auto &ranks = *plan.groups()->Get(i)->ranks();
    auto index = static_cast<uint32_t>(std::find(ranks.begin(), ranks.end(), rank) - ranks.begin());
    places.push_back(index % plan.groups()->Get(i)->size());
  }
  return places;
}

} // namespace llmc::runtime
