//===- ModelState.h - parameters, optimizer state and scalars ---*- C++ -*-===//
#ifndef LLMC_RUNTIME_EXECUTOR_MODELSTATE_H
#define LLMC_RUNTIME_EXECUTOR_MODELSTATE_H

#include "runtime/executor/Executor.h"
#include "runtime/io/Checkpoint.h"
#include "runtime/io/ParameterInit.h"
#include "runtime/io/WeightFiles.h"
#include "runtime/plan/StateLayout.h"
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace llmc::runtime {

/// Where the first values of parameters come from.
struct InitialValues {
  std::string folder;  // in which the plan's files lie
  std::string weights; // instead of them: a safetensors file, or an index of several; empty: none
  bool mayBeZero = false; // parameters that nothing gives a value stay zero, instead of being an error
};

/// What outlives a step, by logical name: moves it between files and an executor's buffers. If the plan has several
/// ranks, all of them call `initialize`, `restore`, `save` and `saveGradients`, each for its parts; errors are the same
/// on all.
class ModelState {
public:
  explicit ModelState(Executor &executor) : executor(executor), layout(stateLayout(executor.plan())) {}

  using Progress = std::function<void(const std::string &phase, double fraction)>;

  /// First values: zeros, scalars, then each parameter from `from.weights`, else from the weights that the plan names, else
  /// from the parameter's own source. `notes`, if not null, gets what the user should know. Errors: BadInput, all problems
  /// at once.
  Status initialize(const InitialValues &from, const Progress &progress, std::vector<std::string> *notes = nullptr);

  /// Replaces everything with a checkpoint, written by any number of ranks. Errors: BadInput, all problems at once; the
  /// state is then unusable.
  Status restore(CheckpointReader &checkpoint);

  /// The parameters of a plan of one rank in logical form; the executor must live and rest while they are fetched.
  std::vector<TensorToWrite> modelTensors() const;
  /// Writes a checkpoint below `directory`: saveCheckpoint if the plan has one rank, otherwise saveShards.
  Status save(const std::string &directory, Manifest manifest) const;
  /// Writes the gradients of the step, whole and averaged, before clipping, by parameter name. Errors: BadInput if the
  /// file cannot be written.
  Status saveGradients(const std::string &path) const;

  std::map<std::string, double> scalars() const;
  /// What the plan says of the scalars that can be set.
  std::map<std::string, double> planScalars() const;
  /// The first trained parameter, or optimizer state of one, of which this rank holds something infinite or NaN, as a
  /// message names it; empty if there is none.
  std::string firstUnsound() const;
  /// Errors: WrongUse if there is no settable scalar of this name, or if it cannot be this value.
  Status set(const std::string &name, double value);
  /// Finished steps: the scalar `step`, 0 if the plan has none.
  uint64_t step() const;

private:
  const fb::RankProgram &program() const { return executor.program(); }
  std::vector<TensorToWrite> wholeTensors(const std::vector<StateTensor> &tensors) const;
  Status initializeParameters(const InitialValues &from, const Progress &progress, std::vector<std::string> &notes);
  std::string restoreTensors(CheckpointReader &checkpoint, const std::vector<StateTensor> &tensors,
                             const StoredTensors &stored);
  Status loadWeights(ParameterInitializer &initializer, const std::string &path, std::vector<std::string> &notes);
  void setInitialScalars();

  Executor &executor;
  StateLayout layout;
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_EXECUTOR_MODELSTATE_H
