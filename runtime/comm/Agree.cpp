//===- Agree.cpp - decisions that all ranks take together -----------------===//
#include "runtime/comm/Agree.h"
#include <algorithm>
#include <set>

namespace llmc::runtime {

Result<std::vector<std::string>> gatherTexts(World &world, const std::string &text) {
  auto gather = [&](const void *from, void *to, size_t bytes) {
    Operand operand{from, to, bytes};
    return world.all().allGather({&operand, 1}, fb::DataType::U8);
  };
  std::vector<std::string> texts(world.size());
  std::vector<uint64_t> sizes(world.size());
  uint64_t own = text.size();
  if (Status status = gather(&own, sizes.data(), sizeof(own)); !status.ok())
    return status;
  uint64_t longest = *std::max_element(sizes.begin(), sizes.end());
  if (longest == 0)
    return texts;
  std::string padded = text, all(longest * world.size(), '\0');
  padded.resize(longest);
  if (Status status = gather(padded.data(), all.data(), longest); !status.ok())
    return status;
  for (unsigned rank = 0; rank < world.size(); ++rank)
    texts[rank] = all.substr(rank * longest, sizes[rank]);
  return texts;
}

/// An error as text: code, message, NUL, hint. Success is empty.
static std::string pack(const Status &status) {
  constexpr size_t kLongest = 1 << 16;
  if (status.ok())
    return "";
  return static_cast<char>(status.code) + status.message.substr(0, kLongest) + '\0' + status.hint.substr(0, kLongest);
}

Status agree(World *world, const Status &own) {
  if (!world || world->size() == 1)
    return own;
  auto texts = gatherTexts(*world, pack(own));
  if (!texts.ok())
    return own.ok() ? texts.status() : own;
  Status result;
  std::set<std::string> seen;
  for (unsigned rank = 0; rank < world->size(); ++rank) {
    const std::string &text = (*texts)[rank];
    if (text.empty() || !seen.insert(text).second)
      continue;
    size_t end = std::min(text.find('\0', 1), text.size());
    if (result.ok())
      result = {static_cast<StatusCode>(text[0]), "", text.substr(std::min(end + 1, text.size()))};
    result.message += (result.message.empty() ? "rank " : "\nrank ") + std::to_string(rank) + ": " + text.substr(1, end - 1);
  }
  return result;
}

} // namespace llmc::runtime
