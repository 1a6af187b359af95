//===- TrainingLoop.h - steps, evaluations, checkpoints ---------*- C++ -*-===//
#ifndef LLMC_RUNTIME_EXECUTOR_TRAININGLOOP_H
#define LLMC_RUNTIME_EXECUTOR_TRAININGLOOP_H

#include "runtime/executor/Metrics.h"
#include "runtime/executor/ModelState.h"
#include "runtime/io/Data.h"
#include "runtime/io/FolderLock.h"
#include <atomic>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace llmc::runtime {

struct TrainingOptions {
  std::vector<std::string> dataFiles;
  uint64_t epochs = 1; // how often arrays are gone through
  uint64_t steps = 0; // run until this many steps are finished
  std::string checkpointFolder;
  uint64_t checkpointEvery = 0; // 0: only after the last step
  bool resume = false;
  std::string weights;
  std::string modelFolder; // where the plan's parameter files lie; empty: beside the plan
  std::vector<std::string> evalFiles;
  uint64_t evalEvery = 0, evalBatches = 8;
  std::optional<std::pair<uint64_t, std::string>> saveGradients; // step (from 1), file
  std::vector<std::pair<std::string, double>> settings;
  const std::atomic<int> *stop = nullptr; // if not null: becomes SIGINT or SIGTERM when the user wants the run to end

  /// What all ranks of a job must agree on, as text.
  std::string summary() const;
};

/// Receives what happens; called on the thread of the loop.
class TrainingObserver {
public:
  virtual ~TrainingObserver() = default;
  /// A long phase is `fraction` done.
  virtual void onPhase(const std::string &phase, double fraction) {}
  /// Something the user should know that is no error.
  virtual void onNote(const std::string &text) {}
  /// An error ends the run.
  virtual Status onStep(const StepReport &report) { return Status::success(); }
  virtual Status onEvaluation(uint64_t step, double loss) { return Status::success(); }
};

/// Trains one plan. A step's samples are a function of (seed, step), so a resumed run repeats what an uninterrupted one
/// does, bit for bit.
class TrainingLoop {
public:
  TrainingLoop(Executor &executor, TrainingOptions options, TrainingObserver &observer);

  /// Loads the newest checkpoint (with `resume`) or initial values, then applies settings. A run that trains locks its
  /// checkpoint folder before. Errors: WrongUse if a run that is to start anew would mix its checkpoints with those of another,
  /// or if another run has the folder.
  Status prepareState();
  /// Opens the data. Errors: BadInput; WrongUse if the plan cannot train.
  Status prepareData();
  /// Steps until `options.steps`. If the state came from another plan's checkpoint of just that step, it is written again, as
  /// this plan's ranks hold it. Errors: NumbersBad* if loss or gradient norm is not finite: the run is then repeated from
  /// the last checkpoint (or the start) up to that step, if it is at most kReplayLimit steps away, to tell whether the same
  /// numbers come again; without a repetition it counts as repeatable. No checkpoint is written then, nor one of a state that
  /// is not finite. Interrupted, Terminated: `stop` was set on some rank; all ranks have finished the same step, and written a
  /// checkpoint if there is a folder for it.
  Status run();
  /// Mean loss over the evaluation data. Errors: as `run`.
  Result<double> evaluate();

  static constexpr uint64_t kReplayLimit = 200;
  ModelState &state() { return modelState; }

private:
  struct StepNumbers {
    double loss = 0, gradNorm = 0, lr = 0;
    std::string unsound; // what of the state is infinite or NaN after the step, if it was looked at
    bool finite() const;
    bool isSameAs(const StepNumbers &other) const;
  };
  Status fillInputs(uint32_t segment, const DataSet &data, uint64_t step, uint64_t micro);
  Result<StepNumbers> step(uint64_t index);
  Status loadState();
  Status openData();
  Status restoreNewest(bool &found);
  Status lockFolder();
  Status saveCheckpointNow();
  Status afterStep(uint64_t finished, StepNumbers &numbers);
  Result<std::string> firstUnsound();
  Result<std::vector<int64_t>> countedLabels(uint64_t step);
  Status checkLabels(uint64_t finished, const StepNumbers &numbers);
  Result<int> stopAsked();
  Status endForUser(int signal);
  Status diagnose(uint64_t badStep, const StepNumbers &numbers);
  StepReport report(uint64_t finished, const StepNumbers &numbers, double seconds) const;
  uint64_t tokensPerStep() const;

  Executor &executor;
  TrainingOptions options;
  TrainingObserver &observer;
  ModelState modelState;
  std::unique_ptr<DataSet> data, evalData;
  std::optional<uint32_t> accumulate, update, evaluation;
  std::unique_ptr<FolderLock> lock;     // rank 0 holds it
  std::map<std::string, double> set;    // by --set, now or in the run that goes on
  uint64_t lastCheckpoint = UINT64_MAX; // step of the newest checkpoint of this run
  bool isMoved = false;                 // it came from another plan
  double peakFlops = 0;
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_EXECUTOR_TRAININGLOOP_H
