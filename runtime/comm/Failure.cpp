//===- Failure.cpp - how backends word what went wrong --------------------===//
#include "runtime/comm/Failure.h"
#include <algorithm>

namespace llmc::runtime {

/// "rank 3" or "ranks 3, 5".
static std::string named(std::vector<unsigned> ranks) {
  std::sort(ranks.begin(), ranks.end());
  ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < ranks.size(); ++i)
    text += (i ? ", " : "") + std::to_string(ranks[i]);
  return text;
}

Status deadlinePassed(std::vector<unsigned> missing, std::chrono::milliseconds deadline) {
  std::string message = named(std::move(missing)) + " did not arrive within " + std::to_string(deadline.count()) + " ms";
  return {StatusCode::DeadlinePassed, std::move(message), ""};
}

Status toldToEnd(std::vector<unsigned> missing) {
  std::string who = missing.empty() ? "no rank is missing, but" : named(std::move(missing)) + " did not arrive before";
  return {StatusCode::RankDied, who + " the job was told to end (SIGTERM)", ""};
}

Status rankDied(unsigned rank) {
  return {StatusCode::RankDied, "rank " + std::to_string(rank) + " died", "its own log says why"};
}

Status during(const std::string &what, Status status) {
  if (status.code == StatusCode::RankDied || status.code == StatusCode::DeadlinePassed)
    status.message = what + ": " + status.message;
  return status;
}

Status causeOf(const std::vector<Status> &outcomes) {
  auto weight = [](const Status &status) {
    return status.ok() ? 0 : status.code == StatusCode::RankDied ? 1 : status.code == StatusCode::DeadlinePassed ? 2 : 3;
  };
  return *std::max_element(outcomes.begin(), outcomes.end(), [&](const Status &a, const Status &b) { return weight(a) < weight(b); });
}

Status checkGroup(const std::vector<unsigned> &ranks, unsigned rank, unsigned size) {
  std::vector<unsigned> sorted = ranks;
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end())
    return Status::wrongUse("a group names a rank twice");
  if (!sorted.empty() && sorted.back() >= size)
    return Status::wrongUse("a group names rank " + std::to_string(sorted.back()) + " of " + std::to_string(size));
  if (!std::binary_search(sorted.begin(), sorted.end(), rank))
    return Status::wrongUse("rank " + std::to_string(rank) + " is not in the group that it asks for");
  return Status::success();
}

} // namespace llmc::runtime
