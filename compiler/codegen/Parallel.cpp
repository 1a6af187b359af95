//===- Parallel.cpp - generates kernels on several threads --------------------===//
#include "compiler/codegen/Parallel.h"
#include <atomic>
#include <thread>

namespace llmc::codegen {

llvm::Error forEachKernel(llvm::ArrayRef<std::unique_ptr<KernelForm>> forms, unsigned threads,
                          llvm::function_ref<KernelGenerator()> makeGenerator) {
  std::vector<std::string> problems(forms.size());
  std::atomic<size_t> next = 0;
  auto work = [&] {
    KernelGenerator generate = makeGenerator();
    for (size_t i = next++; i < forms.size(); i = next++)
      if (llvm::Error error = generate(*forms[i], i))
        problems[i] = "kernel " + forms[i]->description().name + ": " + llvm::toString(std::move(error));
  };
  unsigned count = threads ? threads : std::max(1u, std::thread::hardware_concurrency());
  count = static_cast<unsigned>(std::min<size_t>(count, forms.size()));
  std::vector<std::thread> others;
  for (unsigned i = 1; i < count; ++i)
    others.emplace_back(work);
  work();
  for (std::thread &thread : others)
    thread.join();
  for (const std::string &problem : problems)
    if (!problem.empty())
      return llvm::createStringError(problem);
  return llvm::Error::success();
}

} // namespace llmc::codegen
