//===- Failure.cpp - how backends word what went wrong --------------------===//
#include "runtime/comm/Failure.h"
#include <algorithm>

namespace llmc::runtime {

Status deadlinePassed(std::vector<unsigned> missing, std::chrono::milliseconds deadline) {
  std::sort(missing.begin(), missing.end());
  missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
  std::string message = missing.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < missing.size(); ++i)
    message += (i ? ", " : "") + std::to_string(missing[i]);
  message += " did not arrive within " + std::to_string(deadline.count()) + " ms";
  return {StatusCode::DeadlinePassed, std::move(message), ""};
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
