//===- ModelState.h - parameters, optimizer state and scalars ---*- C++ -*-===//
#ifndef LLMC_RUNTIME_EXECUTOR_MODELSTATE_H
#define LLMC_RUNTIME_EXECUTOR_MODELSTATE_H

#include "runtime/executor/Executor.h"
#include "runtime/io/Checkpoint.h"
#include "runtime/io/ParameterInit.h"
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace llmc::runtime {

/// What outlives a step, by logical name: moves it between files and an executor's buffers.
class ModelState {
public:
  explicit ModelState(Executor &executor) : executor(executor) {}

  using Progress = std::function<void(const std::string &phase, double fraction)>;

  /// First values: zeros, scalars, then each parameter from the plan's source (files below `folder`) or, if `weights` is
  /// not empty, from that safetensors file. Errors: BadInput, all problems at once.
  Status initialize(const std::string &folder, const std::string &weights, const Progress &progress);

  /// Replaces everything with a checkpoint. Errors: BadInput, all problems at once; the state is then unusable.
  Status restore(const Checkpoint &checkpoint);

  /// Tensors of a checkpoint; the executor must live and rest while they are written.
  std::vector<TensorToWrite> modelTensors() const;
  std::vector<TensorToWrite> optimizerTensors() const;
  /// Writes the gradients of the step, averaged, before clipping, by parameter name. Errors: BadInput if the file cannot be written.
  Status saveGradients(const std::string &path) const;

  std::map<std::string, double> scalars() const;
  /// Errors: WrongUse if there is no settable scalar of this name.
  Status set(const std::string &name, double value);
  /// Finished steps: the scalar `step`, 0 if the plan has none.
  uint64_t step() const;

private:
  struct Extra {
    std::string name;
    uint32_t buffer;
  };
  const fb::RankProgram &program() const { return executor.program(); }
  uint32_t rootOf(uint32_t buffer) const;
  std::vector<Extra> extraBuffers() const;
  TensorToWrite logicalTensor(const std::string &name, const fb::Parameter &parameter, uint32_t buffer) const;
  Status loadWeights(ParameterInitializer &initializer, const std::string &path);
  void setInitialScalars();

  Executor &executor;
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_EXECUTOR_MODELSTATE_H
