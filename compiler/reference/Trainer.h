//===- Trainer.h - trains with the interpreter ------------------*- C++ -*-===//
#ifndef LLMC_COMPILER_REFERENCE_TRAINER_H
#define LLMC_COMPILER_REFERENCE_TRAINER_H

#include "compiler/reference/Interpreter.h"
#include "dialects/dist/Dist.h"
#include <map>
#include <string>

namespace llmc::reference {

/// Runs the functions of a module at level `step` as the executor runs a plan: state by name, one call of @accumulate
/// per micro-batch, then @update. State that was not set starts at zero. A module at level `local` runs on the ranks of
/// its mesh; what goes in and out is whole all the same.
class Trainer {
public:
  Trainer(mlir::ModuleOp module, Arithmetic arithmetic);

  /// Sets a parameter, buffer or scalar; a parameter in its logical shape.
  void set(llvm::StringRef name, HostTensor value);
  /// A parameter, moment ("exp_avg.NAME") or scalar by name, in its logical shape; null if there is none.
  const HostTensor *get(llvm::StringRef name) const;
  /// The same as the functions hold it, once one has read it.
  const HostTensor *getStored(llvm::StringRef name) const;
  /// The gradient of parameter `name` of the last step: the average over its tokens or samples, before clipping, in its
  /// logical shape; null if it has none.
  const HostTensor *gradient(llvm::StringRef name) const;

  /// The inputs of one micro-batch by name.
  using Inputs = std::map<std::string, HostTensor>;
  /// One step; `loss`, `grad_norm` and `lr` are in `outputs` afterwards.
  mlir::LogicalResult step(llvm::ArrayRef<Inputs> microBatches);
  /// Runs @evaluate or @predict; results by name.
  mlir::FailureOr<std::map<std::string, HostTensor>> evaluate(llvm::StringRef function, const Inputs &inputs);

  std::map<std::string, HostTensor> outputs;

private:
  mlir::LogicalResult call(mlir::func::FuncOp function, const Inputs &inputs);

  /// A value as the ranks hold it, and whole: made when it is asked for.
  struct Held {
    std::optional<HostTensor> whole;
    std::vector<HostTensor> parts;
    dist::Sharding sharding;
    bool stored = true; // false: `whole` has the logical shape still
    std::optional<HostTensor> logical; // made when it is asked for
  };
  using Key = std::pair<std::string, std::string>; // role, name
  const Key *find(llvm::StringRef name) const;
  const HostTensor &wholeOf(Held &held) const;
  const HostTensor &logicalOf(const Key &key, Held &held) const;
  void findViews();
  std::vector<HostTensor> partsOf(const HostTensor &whole, mlir::func::FuncOp function, unsigned argument) const;
  int64_t ranks() const { return mesh ? mesh.ranks() : 1; }

  mlir::ModuleOp module;
  dist::MeshAttr mesh;
  Interpreter interpreter;
  mutable std::map<Key, Held> state;
  std::map<Key, std::pair<mlir::func::FuncOp, unsigned>> views; // the argument that has the view of state
  std::map<std::string, HostTensor> lastGradients;
};

} // namespace llmc::reference

#endif // LLMC_COMPILER_REFERENCE_TRAINER_H
