//===- Generate.h - continues a prompt --------------------------*- C++ -*-===//
#ifndef LLMC_RUNTIME_EXECUTOR_GENERATE_H
#define LLMC_RUNTIME_EXECUTOR_GENERATE_H

#include "runtime/executor/Executor.h"
#include <functional>
#include <string>
#include <vector>

namespace llmc::runtime {

struct GenerateOptions {
  std::vector<int64_t> prompt; // ids, at least one
  uint64_t count = 0;          // ids to add
  double temperature = 0;      // 0: the likeliest id each time
  uint64_t seed = 0;           // draws are a function of (seed, position)
};

/// Runs the segment `predict` once per new id, on a window of the last ids; `onToken` gets each new one, and
/// says whether to go on.
/// Errors: WrongUse if the plan has no such segment, or one that ids alone cannot feed; BadInput for ids beyond the limit.
Status generate(Executor &executor, const GenerateOptions &options, const std::function<bool(int64_t)> &onToken);

/// Runs the segment `predict` once and writes tensor `logits` [ids, vocabulary] of the prompt's places (the last ones, if the
/// window is shorter) to a safetensors file. Errors: as `generate`; BadInput if the file cannot be written.
Status saveLogits(Executor &executor, const std::vector<int64_t> &prompt, const std::string &path);

/// Ids of a prompt: `ids:1,2,3`; the bytes of a text if the vocabulary is just these, or if it has room for them and the prompt
/// says `bytes:TEXT`. Errors: WrongUse.
Result<std::vector<int64_t>> parsePrompt(const std::string &prompt, uint64_t vocabulary);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_EXECUTOR_GENERATE_H
