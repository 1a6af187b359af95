//===- Executor.h - replays the instructions of a plan ----------*- C++ -*-===//
#ifndef LLMC_RUNTIME_EXECUTOR_EXECUTOR_H
#define LLMC_RUNTIME_EXECUTOR_EXECUTOR_H

#include "runtime/comm/Communicator.h"
#include "runtime/executor/Arena.h"
#include "runtime/executor/Communication.h"
#include "runtime/executor/History.h"
#include "runtime/executor/KernelImage.h"
#include "runtime/executor/ThreadPool.h"
#include "runtime/executor/Trace.h"
#include "runtime/kernels/Gemm.h"
#include "runtime/plan/PlanFile.h"
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace llmc::runtime {

/// Measured time of one instruction over all its runs. The first one, which touches fresh memory, is kept apart.
struct InstructionTime {
  uint64_t runs = 0;
  int64_t nanoseconds = 0, first = 0;

  double mean() const {
    return runs > 1 ? static_cast<double>(nanoseconds - first) / static_cast<double>(runs - 1) : static_cast<double>(nanoseconds);
  }
};

/// One rank of a validated plan, in memory: arenas are allocated and zeroed, kernels loaded, contractions bound; running a
/// segment allocates nothing. Not thread-safe; uses all threads of the pool.
class Executor {
public:
  /// The pool must have been made with GemmLibrary::initializeThread as its start function, and must outlive the executor.
  /// `world`: how the rank reaches the others of its job, outliving the executor; null for a plan of one rank.
  /// `matrixUnits`: see GemmLibrary. Errors: PlanRefused (kernels), DoesNotFit.
  static Result<std::unique_ptr<Executor>> create(std::shared_ptr<PlanFile> plan, uint32_t rank, ThreadPool &pool,
                                                  bool matrixUnits = true, World *world = nullptr);

  const PlanFile &file() const { return *planFile; }
  const fb::Plan &plan() const { return planFile->plan(); }
  const fb::RankProgram &program() const { return *rankProgram; }
  ThreadPool &threads() { return pool; }
  uint32_t rank() const { return ownRank; }
  /// Null for a plan of one rank.
  World *world() const { return ranks; }

  /// The segment of this name; nothing if the plan has none.
  std::optional<uint32_t> segment(const std::string &name) const;
  /// Runs all instructions of a segment in order, for micro-batch `micro` of `step` (for the history alone). Errors: Internal
  /// if a library call fails; RankDied, DeadlinePassed, naming the collective and where it stands.
  Status run(uint32_t segment, uint64_t step = 0, uint32_t micro = 0);

  /// The bytes of a buffer, valid as long as the executor.
  uint8_t *data(uint32_t buffer) const { return addresses[buffer]; }
  const fb::Buffer &buffer(uint32_t index) const { return *rankProgram->buffers()->Get(index); }
  /// The value of a one-element f32, f64, i32 or i64 buffer.
  double scalar(uint32_t buffer) const;
  void setScalar(uint32_t buffer, double value);
  /// An output of `segment` by name, if it exists.
  std::optional<uint32_t> output(uint32_t segment, const std::string &name) const;

  /// Bytes of all arenas.
  uint64_t arenaBytes() const { return totalBytes; }
  /// Sets all arenas of state to zero.
  void clearState();

  /// Measured times, by segment and instruction.
  const std::vector<std::vector<InstructionTime>> &times() const { return measured; }
  /// What ran last. Any thread may ask, also while a segment runs.
  const History &history() const { return recent; }
  /// An entry of the history in words.
  std::string describe(const History::Entry &entry) const;
  /// The history as text: one line per instruction, the last one last.
  std::string historyText() const;
  /// Payload bytes that each instruction has sent to other ranks, over all its runs; by segment and instruction.
  std::vector<std::vector<uint64_t>> sentBytes() const;

  /// Records each instruction from now on; null stops. `trace` must outlive its use.
  void setTrace(Trace *trace) { this->trace = trace; }
  /// Writes `trace` as Chrome trace JSON. Errors: BadInput if `path` cannot be written.
  Status writeTrace(const Trace &trace, const std::string &path) const;
  /// Writes the mean time of each instruction, in nanoseconds, as JSON: {plan, threads, segments: {NAME: [...]}}.
  Status writeProfile(const std::string &path) const;

private:
  enum class Kind { Launch, Gemm, Copy, Blocks, Fill, Collective, Wait };
  /// A strided copy, with its blocks' places.
  struct Blocks {
    std::vector<uint64_t> sizes, to, from;
    uint64_t count = 0;
  };
  struct Step {
    Kind kind;
    KernelFunction kernel = nullptr;
    std::vector<void *> arguments;
    int64_t workgroups = 0;
    std::unique_ptr<Gemm> gemm;
    uint8_t *destination = nullptr;
    const uint8_t *source = nullptr;
    uint64_t bytes = 0, pattern = 0;
    uint8_t width = 0;
    Blocks blocks;
    std::unique_ptr<BoundCollective> collective;
    int32_t event = -1;
  };

  Executor(std::shared_ptr<PlanFile> plan, ThreadPool &pool) : planFile(std::move(plan)), pool(pool) {}
  Status allocate();
  Status resolve();
  Result<Step> resolveInstruction(const fb::Instruction &instruction);
  void resolveCopy(const fb::Instruction &instruction, const fb::Copy &copy, const std::vector<void *> &operands, Step &step) const;
  void resolveCollective(const fb::Instruction &instruction, const fb::Collective &body, const std::vector<void *> &operands, Step &step) const;
  void setPlaces();
  uint32_t place(int32_t groups) const { return groups < 0 ? 0 : places[groups]; }
  Status runStep(Step &step);
  void copyBlocks(const Step &step);
  Status located(Status status, uint32_t segment, uint32_t instruction, uint64_t step) const;
  uint8_t *address(const fb::Operand &operand) const { return addresses[operand.buffer()] + operand.offset(); }

  std::shared_ptr<PlanFile> planFile;
  const fb::RankProgram *rankProgram = nullptr;
  uint32_t ownRank = 0;
  World *ranks = nullptr;
  ThreadPool &pool;
  std::unique_ptr<GemmLibrary> gemms;
  std::unique_ptr<KernelImage> image;
  std::vector<KernelFunction> kernels;
  std::vector<std::unique_ptr<Arena>> arenas; // null for constants
  std::vector<uint8_t *> addresses;           // by buffer
  std::vector<uint32_t> places;               // by division into groups
  std::vector<uint64_t> tickets; // by event, of the segment that runs
  History recent;
  std::vector<std::vector<Step>> segments;
  std::unique_ptr<Communication> communication; // after what its thread touches
  std::vector<std::vector<InstructionTime>> measured;
  uint64_t totalBytes = 0;
  Trace *trace = nullptr;
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_EXECUTOR_EXECUTOR_H
