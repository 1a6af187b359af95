//===- Ledger.cpp - every byte between ranks, with its reason -----------------------===//
#include "compiler/driver/Ledger.h"
#include "runtime/plan/Tables.h"
#include "llvm/Support/FormatVariadic.h"
#include <algorithm>
#include <map>
#include <tuple>

namespace llmc::driver {

namespace fb = llmc::plan::fb;
using llvm::formatv;
using runtime::textOf;

static const char *nameOf(fb::CollectiveKind kind) {
  switch (kind) {
  case fb::CollectiveKind::AllReduce:
    return "all_reduce";
  case fb::CollectiveKind::AllGather:
    return "all_gather";
  case fb::CollectiveKind::ReduceScatter:
    return "reduce_scatter";
  case fb::CollectiveKind::AllToAll:
    return "all_to_all";
  }
  return "unknown";
}

/// Forecast of the compute between instruction `position` and the wait for `event`.
static uint64_t hiddenUntilWait(const fb::Segment &segment, uint32_t position, int32_t event) {
  uint64_t compute = 0;
  if (event < 0)
    return 0;
  for (uint32_t i = position + 1; i < segment.instructions()->size(); ++i) {
    const fb::Instruction &instruction = *segment.instructions()->Get(i);
    if (const fb::Wait *wait = instruction.body_as_Wait(); wait && static_cast<int32_t>(wait->event()) == event)
      break;
    if (!instruction.body_as_Collective())
      compute += instruction.predicted_ns();
  }
  return compute;
}

static LedgerEntry entryOf(const fb::Plan &plan, const fb::Segment &segment, uint32_t position) {
  const fb::Instruction &instruction = *segment.instructions()->Get(position);
  const fb::Collective &collective = *instruction.body_as_Collective();
  LedgerEntry entry;
  entry.segment = textOf(segment.name());
  entry.kind = nameOf(collective.kind());
  entry.groups = textOf(plan.groups()->Get(collective.groups())->name());
  entry.reason = textOf(collective.reason());
  entry.origin = textOf(instruction.origin());
  entry.position = position;
  entry.ranks = plan.groups()->Get(collective.groups())->size();
  for (uint32_t i = 0; i + 1 < instruction.operands()->size(); i += 2)
    entry.payload += std::max(instruction.operands()->Get(i)->bytes(), instruction.operands()->Get(i + 1)->bytes());
  double n = entry.ranks;
  entry.sent = static_cast<double>(entry.payload) * (n - 1) / n * (collective.kind() == fb::CollectiveKind::AllReduce ? 2 : 1);
  entry.timesPerStep = entry.segment == "accumulate" ? plan.micro_batches() : entry.segment == "update" ? 1 : 0;
  entry.nanoseconds = instruction.predicted_ns();
  entry.exposed = entry.nanoseconds - std::min(entry.nanoseconds, hiddenUntilWait(segment, position, collective.event()));
  return entry;
}

std::vector<LedgerEntry> ledgerOf(const fb::Plan &plan, const fb::RankProgram &program) {
  std::vector<LedgerEntry> ledger;
  if (program.segments())
    for (const fb::Segment *segment : *program.segments())
      for (uint32_t i = 0; segment->instructions() && i < segment->instructions()->size(); ++i)
        if (segment->instructions()->Get(i)->body_as_Collective())
          ledger.push_back(entryOf(plan, *segment, i));
  return ledger;
}

void printLedger(const std::vector<LedgerEntry> &ledger, llvm::raw_ostream &out) {
  out << "\ncommunication of a rank\n"
      << formatv("  {0,-10} {1,5} {2,-14} {3,-16} {4,5} {5,15} {6,15} {7,10} {8,10}  reason\n", "segment", "at", "collective", "groups",
                 "ranks", "payload bytes", "sent bytes", "forecast", "exposed");
  std::map<std::tuple<std::string, std::string, std::string>, std::pair<uint64_t, double>> sums;
  double step = 0;
  for (const LedgerEntry &entry : ledger) {
    out << formatv("  {0,-10} {1,5} {2,-14} {3,-16} {4,5} {5,15:N} {6,15:F1} {7,7:F3} ms {8,7:F3} ms  {9}{10}\n", entry.segment, entry.position,
                   entry.kind, entry.groups, entry.ranks, entry.payload, entry.sent, entry.nanoseconds / 1e6, entry.exposed / 1e6, entry.reason,
                   entry.origin.empty() ? "" : " [" + entry.origin + "]");
    auto &[calls, bytes] = sums[{entry.segment, entry.kind, entry.groups}];
    ++calls;
    bytes += entry.sent;
    step += entry.sent * static_cast<double>(entry.timesPerStep);
  }
  out << "\n  per run of a segment\n";
  for (auto &[key, sum] : sums)
    out << formatv("  {0,-10} {1,-14} {2,-16} {3,5} calls {4,17:F1} bytes sent\n", std::get<0>(key), std::get<1>(key), std::get<2>(key), sum.first,
                   sum.second);
  out << formatv("  a step: {0:F1} bytes sent\n", step);
}

llvm::json::Array toJson(const std::vector<LedgerEntry> &ledger) {
  llvm::json::Array array;
  for (const LedgerEntry &entry : ledger)
    array.push_back(llvm::json::Object{{"segment", entry.segment},
                                       {"instruction", entry.position},
                                       {"collective", entry.kind},
                                       {"groups", entry.groups},
                                       {"ranks", entry.ranks},
                                       {"payload_bytes", entry.payload},
                                       {"sent_bytes", entry.sent},
                                       {"times_per_step", entry.timesPerStep},
                                       {"forecast_ns", entry.nanoseconds},
                                       {"exposed_ns", entry.exposed},
                                       {"reason", entry.reason},
                                       {"origin", entry.origin}});
  return array;
}

} // namespace llmc::driver
