//===- ModelState.h - parameters, optimizer state and scalars ---*- C++ -*-===//
#ifndef LLMC_RUNTIME_EXECUTOR_MODELSTATE_H
#define LLMC_RUNTIME_EXECUTOR_MODELSTATE_H

#include "runtime/executor/Executor.h"
#include "runtime/io/Checkpoint.h"
#include "runtime/io/ParameterInit.h"
#include "runtime/plan/StateLayout.h"
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace llmc::runtime {

/// What outlives a step, by logical name: moves it between files and an executor's buffers. If the plan has several ranks,
/// all of them call `initialize`, `restore`, `save` and `saveGradients`, each for its parts; errors are the same on all.
class ModelState {
public:
  explicit ModelState(Executor &executor) : executor(executor), layout(stateLayout(executor.plan())) {}

  using Progress = std::function<void(const std::string &phase, double fraction)>;

  /// First values: zeros, scalars, then each parameter from the plan's source (files below `folder`) or, if `weights` is
  /// not empty, from that safetensors file. Errors: BadInput, all problems at once.
  Status initialize(const std::string &folder, const std::string &weights, const Progress &progress);

  /// Replaces everything with a checkpoint, written by any number of ranks. Errors: BadInput, all problems at once; the
  /// state is then unusable.
  Status restore(CheckpointReader &checkpoint);

  /// The parameters of a plan of one rank in logical form; the executor must live and rest while they are fetched.
  std::vector<TensorToWrite> modelTensors() const;
  /// Writes a checkpoint below `directory`: saveCheckpoint if the plan has one rank, otherwise saveShards.
  Status save(const std::string &directory, Manifest manifest) const;
  /// Writes the gradients of the step, whole and averaged, before clipping, by parameter name. Errors: BadInput if the file
  /// cannot be written.
  Status saveGradients(const std::string &path) const;

  std::map<std::string, double> scalars() const;
  /// Errors: WrongUse if there is no settable scalar of this name.
  Status set(const std::string &name, double value);
  /// Finished steps: the scalar `step`, 0 if the plan has none.
  uint64_t step() const;

private:
  const fb::RankProgram &program() const { return executor.program(); }
  std::vector<TensorToWrite> wholeTensors(const std::vector<StateTensor> &tensors) const;
  Status initializeParameters(const std::string &folder, const std::string &weights, const Progress &progress);
  std::string restoreTensors(CheckpointReader &checkpoint, const std::vector<StateTensor> &tensors,
                             const StoredTensors &stored);
  Status loadWeights(ParameterInitializer &initializer, const std::string &path);
  void setInitialScalars();

  Executor &executor;
  StateLayout layout;
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_EXECUTOR_MODELSTATE_H
