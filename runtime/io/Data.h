//===- Data.h - what feeds the inputs of a plan -----------------*- C++ -*-===//
//
// The samples of a step are a pure function of (seed, step): sample j of step k has the global number k * samples + j. A
// token file is cut into windows of `sequence` tokens; window number and global number are related by a permutation per
// epoch. Arrays of a safetensors file are taken in order, NAME.k in step k, and split in order into micro-batches; of n arrays,
// step k takes number k mod n, for as many epochs as are asked for.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_RUNTIME_IO_DATA_H
#define LLMC_RUNTIME_IO_DATA_H

#include "runtime/io/Safetensors.h"
#include "runtime/io/TokenFile.h"
#include "runtime/plan/Plan_generated.h"
#include <memory>
#include <string>
#include <vector>

namespace llmc::runtime {

struct DataOptions {
  std::vector<std::string> files; // at most one token file (TokenFile.h) and one safetensors file
  uint64_t samplesPerStep = 1, samplesPerMicroBatch = 1, sequence = 1, vocabulary = 0, seed = 0;
  bool shuffle = true;
  const fb::Plan *plan = nullptr;
  std::vector<uint32_t> places; // of the rank, by division of the plan
  uint64_t epochs = 1;          // how often arrays are gone through
  uint32_t rank = 0, ranks = 1; // that share the work of checking ids

  /// What `rank` of `plan` needs from `files`. `plan` must outlive what is opened with it.
  static DataOptions of(const fb::Plan &plan, std::vector<std::string> files, uint32_t rank = 0);
};

class DataSet {
public:
  /// Opens the files and checks that they can feed every input of `segment`, and all ids against the inputs' limits: this
  /// rank's share of them (of more than kCheckedTokens tokens, evenly spread ones). Errors: BadInput, all problems at once.
  static Result<std::unique_ptr<DataSet>> open(const DataOptions &options, const fb::Segment &segment,
                                               const fb::RankProgram &program);

  static constexpr uint64_t kCheckedTokens = uint64_t(1) << 32;
  /// Steps the data lasts for; UINT64_MAX if it starts over.
  uint64_t steps() const;
  /// What a user should know about the files.
  const std::vector<std::string> &notes() const { return remarks; }
  /// Micro-batches of distinct samples.
  uint64_t microBatches() const;
  /// Fills one input with the rank's samples of micro-batch `micro` of `step` (from 0). Errors: BadInput for an id outside the input's limit, with
  /// file, position and id; or if the data has run out.
  Status fill(const fb::Input &input, const fb::Buffer &buffer, uint64_t step, uint64_t micro, void *to) const;
  /// Names, sizes and a digest of both ends of each file: to notice other data on resume.
  std::string identity() const;

private:
  explicit DataSet(const DataOptions &options) : options(options) {}
  std::string checkArray(const fb::Input &input, const fb::Buffer &buffer);
  Status checkIds(const fb::Segment &segment, const fb::RankProgram &program);
  Status checkTokens(const fb::Input &input);
  Status checkArrayIds(const fb::Input &input) const;
  /// `first`: sample within the step; as many as the buffer holds are filled.
  Status fillTokens(const fb::Input &input, const fb::Buffer &buffer, uint64_t step, uint64_t first, void *to) const;
  Status fillArray(const fb::Input &input, const fb::Buffer &buffer, uint64_t step, uint64_t first, void *to) const;
  uint64_t window(uint64_t sample) const;

  DataOptions options;
  std::shared_ptr<TokenFile> tokens;
  std::shared_ptr<SafetensorsFile> arrays;
  uint64_t windows = 0;
  uint64_t arraySteps = UINT64_MAX;
  std::vector<std::string> remarks;
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_IO_DATA_H
