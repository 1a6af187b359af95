//===- KernelHarness.h - runs generated kernels beside the interpreter ------------------===//
#ifndef LLMC_TEST_COMPILER_CODEGEN_KERNELHARNESS_H
#define LLMC_TEST_COMPILER_CODEGEN_KERNELHARNESS_H

#include "compiler/codegen/Kernels.h"
#include "compiler/reference/Interpreter.h"
#include <gtest/gtest.h>
#include <memory>
#include <vector>

namespace llmc::test {

/// Memory of one kernel operand, aligned as the runtime aligns buffers, filled with rubbish.
struct Storage {
  explicit Storage(int64_t bytes);
  int64_t size;
  std::shared_ptr<void> data;
};

/// A host tensor in the memory form of its type: i1 in bytes, all integer and float types.
Storage toStorage(const HostTensor &tensor, mlir::Type type);
HostTensor fromStorage(const Storage &storage, mlir::Type type);

/// A loaded shared object.
class LoadedImage {
public:
  explicit LoadedImage(const std::vector<char> &elf);
  ~LoadedImage();
  using Function = void (*)(void *const *, int64_t);
  Function find(const std::string &symbol) const;

private:
  void *handle;
};

struct RunOptions {
  bool backward = false; // workgroups from the last to the first
  bool aliased = false;  // outputs lie in the inputs of the kernel's mayAlias, as far as each is free
};

/// Runs all stages and returns the outputs. Inputs are copied first, so that aliasing leaves them as they are.
std::vector<Storage> runKernel(const LoadedImage &image, const codegen::GeneratedKernel &kernel, const std::vector<Storage> &inputs,
                               mlir::TypeRange resultTypes, RunOptions options = {});

/// Random values (reals in [-2, 2], integers in [0, 7)), which `fill` may change, rounded to their types.
std::vector<HostTensor> randomArguments(mlir::TypeRange types, llvm::function_ref<void(std::vector<HostTensor> &)> fill);

/// Reals must be within `tolerance` of the largest entry, integers equal.
void compareResults(llvm::ArrayRef<HostTensor> expected, llvm::ArrayRef<Storage> outputs, mlir::TypeRange types, double tolerance);

/// Compares the only function of `text` with the interpreter: reals within `tolerance` of the largest entry, integers
/// exactly; the same bits backward and, of each real result, aliased. `fill` changes random arguments.
void compareWithInterpreter(const std::string &text, double tolerance,
                            llvm::function_ref<void(std::vector<HostTensor> &)> fill = [](std::vector<HostTensor> &) {});

/// The results of the only function of `text`, computed by its kernel.
std::vector<HostTensor> resultsOf(const std::string &text, const std::vector<HostTensor> &arguments);

} // namespace llmc::test

#endif // LLMC_TEST_COMPILER_CODEGEN_KERNELHARNESS_H
