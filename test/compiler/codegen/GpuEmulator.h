//===- GpuEmulator.h - runs the stages of GPU threads on the CPU -----------------------===//
//
// Each thread of a block is a fiber. One fiber runs at a time, until it waits: at a barrier for all threads of the block, at a
// shuffle for those of its warp. Then the first one, in some order, that can go on does. So a warp runs ahead of the others as
// far as barriers let it, and what reads or writes shared memory without one meets stale or later values, in another way with
// each order: kernels that are right give equal bits with all of them.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_TEST_COMPILER_CODEGEN_GPUEMULATOR_H
#define LLMC_TEST_COMPILER_CODEGEN_GPUEMULATOR_H

#include "KernelHarness.h"
#include "compiler/codegen/cuda/GpuStage.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"

namespace llmc::test {

enum class ThreadOrder { Forward, Backward, Shuffled };

/// The stages of one kernel, as code of this machine.
class EmulatedKernel {
public:
  /// The only function of `module`. The test fails if there is no such code.
  explicit EmulatedKernel(mlir::func::FuncOp function);

  const std::vector<codegen::CudaStage> &stages() const { return launches; }
  /// Barriers in the code of all stages.
  unsigned barriers() const { return barrierCount; }
  /// Takes barrier `index` out of the code, for kernels that must then fail; before the first run.
  static void withoutBarrier(std::optional<unsigned> index) { removed = index; }

  std::vector<Storage> run(const std::vector<Storage> &inputs, mlir::TypeRange resultTypes, ThreadOrder order);

private:
  void compile(mlir::ModuleOp module);

  codegen::GeneratedKernel kernel;
  std::vector<codegen::CudaStage> launches;
  std::unique_ptr<llvm::orc::LLJIT> jit;
  unsigned barrierCount = 0;
  static std::optional<unsigned> removed;
};

} // namespace llmc::test

#endif // LLMC_TEST_COMPILER_CODEGEN_GPUEMULATOR_H
