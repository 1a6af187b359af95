//===- CudaKernels.cpp - PTX for all kernels of a plan -------------------------===//
#include "compiler/codegen/cuda/CudaKernels.h"
#include "compiler/codegen/Parallel.h"
#include "compiler/codegen/cuda/CudaLowering.h"

using namespace mlir;

namespace llmc::codegen {

llvm::Expected<CudaImage> generateCudaKernels(ModuleOp kernels, const CudaOptions &options) {
  CudaImage image;
  image.arch = options.arch;
  std::vector<std::unique_ptr<KernelForm>> forms;
  for (auto function : kernels.getOps<func::FuncOp>()) {
    auto form = selectForm(function);
    if (!form)
      return form.takeError();
    forms.push_back(std::move(*form));
  }
  image.kernels.resize(forms.size());
  llvm::Error error = forEachKernel(forms, options.threads, [&] {
    return [worker = std::make_shared<CudaWorker>(options), &image](const KernelForm &form, size_t i) -> llvm::Error {
      auto kernel = worker->generate(form);
      if (!kernel)
        return kernel.takeError();
      image.kernels[i] = std::move(*kernel);
      return llvm::Error::success();
    };
  });
  if (error)
    return error;
  return image;
}

} // namespace llmc::codegen
