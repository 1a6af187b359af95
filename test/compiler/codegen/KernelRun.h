//===- KernelRun.h - generated kernels, loaded and called as the executor does --*- C++ -*-===//
#ifndef LLMC_TEST_COMPILER_CODEGEN_KERNELRUN_H
#define LLMC_TEST_COMPILER_CODEGEN_KERNELRUN_H

#include "compiler/codegen/Kernels.h"
#include "dialects/interfaces/HostTensor.h"
#include "dialects/interfaces/Interfaces.h"
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <memory>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

namespace llmc::test {

/// Storage of one kernel operand, aligned as the runtime aligns buffers, filled with a pattern that is no number.
struct Storage {
  explicit Storage(int64_t bytes) : size(bytes), data(std::aligned_alloc(64, (bytes + 64) / 64 * 64), std::free) {
    std::memset(data.get(), 0xff, (bytes + 64) / 64 * 64);
  }
  /// `tensor` in the form that kernels read: f32, i1 as bytes.
  Storage(const HostTensor &tensor, mlir::Type type) : Storage(tensorBytes(type)) {
    for (int64_t i = 0; i < tensor.size(); ++i)
      if (tensor.isReal)
        static_cast<float *>(data.get())[i] = static_cast<float>(tensor.reals[i]);
      else if (mlir::getElementTypeOrSelf(type).isInteger(1))
        static_cast<char *>(data.get())[i] = static_cast<char>(tensor.integers[i]);
      else
        static_cast<int64_t *>(data.get())[i] = tensor.integers[i];
  }
  int64_t size;
  std::shared_ptr<void> data;
  const float *floats() const { return static_cast<const float *>(data.get()); }
};

/// The shared object of an image; null if it cannot be loaded. The caller closes it.
inline void *loadImage(const codegen::KernelImage &image) {
  int descriptor = memfd_create("kernels", 0);
  bool written = write(descriptor, image.elf.data(), image.elf.size()) == static_cast<ssize_t>(image.elf.size());
  void *handle = written ? dlopen(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), RTLD_NOW | RTLD_LOCAL) : nullptr;
  close(descriptor);
  return handle;
}

/// One call of a kernel, workgroup by workgroup, from the first to the last or from the last to the first.
class KernelRun {
public:
  KernelRun(void *handle, const codegen::GeneratedKernel &kernel, std::vector<Storage> inputs_, mlir::TypeRange results)
      : inputs(std::move(inputs_)) {
    for (mlir::Type type : results)
      outputs.emplace_back(tensorBytes(type));
    for (int64_t bytes : kernel.scratchBytes)
      scratch.emplace_back(bytes);
    for (const codegen::KernelStage &stage : kernel.stages) {
      Call call{reinterpret_cast<Function>(dlsym(handle, stage.symbol.c_str())), {}, stage.workgroups};
      for (const codegen::StageOperand &operand : stage.operands) {
        const auto &list = operand.kind == codegen::OperandKind::Input    ? inputs
                           : operand.kind == codegen::OperandKind::Output ? outputs
                                                                          : scratch;
        call.arguments.push_back(list[operand.index].data.get());
      }
      calls.push_back(std::move(call));
    }
  }
  void run(bool backwards = false) {
    for (Call &call : calls)
      for (int64_t w = 0; w < call.workgroups; ++w)
        call.function(call.arguments.data(), backwards ? call.workgroups - 1 - w : w);
  }
  /// Runs all workgroups and lowers `best`, one entry per workgroup, to the seconds that each took; empty at first.
  void time(std::vector<double> &best) {
    size_t index = 0;
    for (Call &call : calls)
      for (int64_t w = 0; w < call.workgroups; ++w, ++index) {
        auto begin = std::chrono::steady_clock::now();
        call.function(call.arguments.data(), w);
        double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        if (index == best.size())
          best.push_back(seconds);
        best[index] = std::min(best[index], seconds);
      }
  }
  std::vector<Storage> inputs, outputs, scratch;

private:
  using Function = void (*)(void *const *, int64_t);
  struct Call {
    Function function;
    std::vector<void *> arguments;
    int64_t workgroups;
  };
  std::vector<Call> calls;
};

} // namespace llmc::test

#endif // LLMC_TEST_COMPILER_CODEGEN_KERNELRUN_H
