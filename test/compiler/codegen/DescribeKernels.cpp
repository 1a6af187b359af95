//===- DescribeKernels.cpp - describe-kernels FILE.mlir: which kernels have code ---------===//
//
// Prints one line per kernel function of a module at level `kernels`, except contractions: its name and number of stages, or
// the error. With --generate the code of all of them is generated as well; with --ptx [LIBDEVICE] their PTX is printed, except
// that of attention. Exits with 1 if one has no form.
//
//===----------------------------------------------------------------------===//
#include "compiler/codegen/Kernels.h"
#include "compiler/codegen/cuda/CudaKernels.h"
#include "compiler/driver/Pipeline.h"
#include "dialects/nn/Nn.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace llmc;

int main(int count, char **arguments) {
  if (count < 2)
    return 2;
  DialectRegistry registry;
  driver::registerAllDialects(registry);
  MLIRContext context(registry);
  context.loadAllAvailableDialects();
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(arguments[1], &context);
  if (!module)
    return 3;
  bool ptx = count > 2 && StringRef(arguments[2]) == "--ptx";
  int failures = 0;
  for (auto function : llvm::make_early_inc_range(module->getOps<func::FuncOp>())) {
    bool outer = !function.isPrivate();
    function.walk([&](Operation *op) {
      outer |= isa<nn::ContractOp>(op) || (ptx && isa<nn::AttentionOp, nn::AttentionBackwardOp>(op));
    });
    if (outer) {
      function.erase();
      continue;
    }
    auto kernel = codegen::describeKernel(function);
    if (kernel) {
      llvm::outs() << kernel->name << ": " << kernel->stages.size() << " stages, " << kernel->mayAlias.size() << " aliases\n";
      continue;
    }
    llvm::outs() << llvm::toString(kernel.takeError()) << "\n";
    function.erase();
    ++failures;
  }
  if (count > 2 && StringRef(arguments[2]) == "--generate") {
    auto image = codegen::generateCpuKernels(*module, {});
    if (image)
      llvm::outs() << image->elf.size() << " bytes of code\n";
    else {
      llvm::outs() << llvm::toString(image.takeError()) << "\n";
      ++failures;
    }
  }
  if (ptx) {
    codegen::CudaOptions options;
    if (count > 3)
      options.libdevice = arguments[3];
    auto image = codegen::generateCudaKernels(*module, options);
    if (!image) {
      llvm::errs() << llvm::toString(image.takeError()) << "\n";
      return 1;
    }
    for (const codegen::CudaKernel &kernel : image->kernels)
      llvm::outs() << kernel.ptx;
  }
  return failures != 0;
}
