//===- Ledger.h - every byte between ranks, with its reason -----*- C++ -*-===//
#ifndef LLMC_COMPILER_DRIVER_LEDGER_H
#define LLMC_COMPILER_DRIVER_LEDGER_H

#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include "runtime/plan/Plan_generated.h"
#include <string>
#include <vector>

namespace llmc::driver {

/// One collective of a program.
struct LedgerEntry {
  std::string segment, kind, groups, reason, origin;
  uint32_t position = 0;     // instruction within the segment
  uint32_t ranks = 1;        // of a group
  uint64_t payload = 0;      // bytes of the larger side of all its tensors
  double sent = 0;           // bytes that a rank sends to others, the mean over the group: 2P(n-1)/n for all_reduce, P(n-1)/n
  uint64_t timesPerStep = 0; // 0: not part of a training step
  uint64_t nanoseconds = 0;  // forecast
  uint64_t exposed = 0;      // of these, what no compute hides
};

std::vector<LedgerEntry> ledgerOf(const plan::fb::Plan &plan, const plan::fb::RankProgram &program);

/// A table of all entries, and what a rank sends in a step by segment, kind and group.
void printLedger(const std::vector<LedgerEntry> &ledger, llvm::raw_ostream &out);

llvm::json::Array toJson(const std::vector<LedgerEntry> &ledger);

} // namespace llmc::driver

#endif // LLMC_COMPILER_DRIVER_LEDGER_H
