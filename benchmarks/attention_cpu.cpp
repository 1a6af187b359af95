//===- attention_cpu.cpp - attention kernels against the machine ----------===//
//
// Prints, for each shape, the rate of the generated forward and backward kernels on one thread, counting the products of
// seen keys only (2 forward, 5 backward), its share of the peak of one core measured in the same run, the time that
// generating the kernel took, and the bytes of its scratch. The time of a kernel is the sum of the best times of its
// workgroups, so that others who use the machine for moments do not count. An argument names another processor to
// generate for, such as x86-64-v3.
//
//===----------------------------------------------------------------------===//
#include "compiler/driver/Pipeline.h"
#include "dialects/interfaces/Interfaces.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "runtime/kernels/PeakRate.h"
#include "test/compiler/codegen/AttentionText.h"
#include "test/compiler/codegen/KernelHarness.h"
#include <algorithm>
#include <chrono>
#include <cstdio>

using namespace mlir;
using namespace llmc;
using namespace llmc::test;

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Runs all workgroups of a kernel and lowers `best`, one entry per workgroup, to the seconds that each took; empty at first.
void timeWorkgroups(const LoadedImage &image, const codegen::GeneratedKernel &kernel, ArrayRef<Storage> inputs, ArrayRef<Storage> outputs,
                    ArrayRef<Storage> scratch, std::vector<double> &best) {
  size_t index = 0;
  for (const codegen::KernelStage &stage : kernel.stages) {
    LoadedImage::Function function = image.find(stage.symbol);
    std::vector<void *> arguments;
    for (const codegen::StageOperand &operand : stage.operands) {
      ArrayRef<Storage> list = operand.kind == codegen::OperandKind::Input ? inputs : operand.kind == codegen::OperandKind::Output ? outputs : scratch;
      arguments.push_back(list[operand.index].data.get());
    }
    for (int64_t w = 0; w < stage.workgroups; ++w, ++index) {
      double begin = now();
      function(arguments.data(), w);
      double seconds = now() - begin;
      if (index == best.size())
        best.push_back(seconds);
      best[index] = std::min(best[index], seconds);
    }
  }
}

void measure(MLIRContext &context, const AttentionShape &s, bool backward, const char *cpu) {
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(attentionText(s, backward), &context);
  auto function = *module->getOps<func::FuncOp>().begin();
  double before = now();
  codegen::CpuOptions options;
  options.threads = 1;
  options.cpu = cpu;
  auto image = codegen::generateCpuKernels(*module, options);
  double generation = now() - before;
  if (!image) {
    std::printf("%s\n", llvm::toString(image.takeError()).c_str());
    return;
  }
  std::vector<Storage> inputs;
  for (Type type : function.getArgumentTypes()) {
    HostTensor tensor = HostTensor::zeros(type);
    for (size_t i = 0; i < tensor.reals.size(); ++i)
      tensor.reals[i] = static_cast<double>(i * 7919 % 101) / 101 - 0.5;
    // The log-sum-exp of scores near zero.
    if (tensor.shape.size() == 3 && tensor.shape[1] == s.H)
      tensor.reals.assign(tensor.reals.size(), 4.0);
    inputs.push_back(toStorage(tensor, type));
  }
  LoadedImage loaded(image->elf);
  const codegen::GeneratedKernel &kernel = image->kernels.front();
  std::vector<Storage> outputs, scratch;
  for (Type type : function.getResultTypes())
    outputs.emplace_back(tensorBytes(type));
  for (int64_t bytes : kernel.scratchBytes)
    scratch.emplace_back(bytes);
  double best = 0, peak = 0;
  std::vector<double> bestOfWorkgroup;
  for (double begin = now(); now() - begin < 3;) {
    peak = std::max(peak, runtime::measurePeakFlops());
    timeWorkgroups(loaded, kernel, inputs, outputs, scratch, bestOfWorkgroup);
  }
  for (double seconds : bestOfWorkgroup)
    best += seconds;
  double pairs = static_cast<double>(s.B * s.H) * (s.causal ? s.T * (s.T + 1) / 2.0 : s.T * static_cast<double>(s.S));
  double flops = 2.0 * pairs * (backward ? 3.0 * s.D + 2.0 * s.E : static_cast<double>(s.D + s.E)) / best;
  int64_t scratchBytes = 0;
  for (int64_t bytes : kernel.scratchBytes)
    scratchBytes += bytes;
  std::printf("%-8s B%lld T%lld H%lld G%lld D%lld %s: %7.2f ms %4.0f GFLOP/s, peak %.0f, ratio=%.2f, workgroups %lld, generated in %.0f ms, scratch %lld\n",
              backward ? "backward" : "forward", (long long)s.B, (long long)s.T, (long long)s.H, (long long)s.G, (long long)s.D,
              s.fused ? "fused" : "plain", best * 1e3, flops / 1e9, peak / 1e9, flops / peak,
              (long long)kernel.stages[backward ? 1 : 0].workgroups, generation * 1e3, (long long)scratchBytes);
  std::fflush(stdout);
}

} // namespace

int main(int count, char **arguments) {
  DialectRegistry registry;
  driver::registerAllDialects(registry);
  MLIRContext context(registry);
  context.loadAllAvailableDialects();
  auto shape = [](int64_t b, int64_t t, int64_t h, int64_t g, int64_t d, bool fused) {
    AttentionShape s{b, t, h, d, t, g, d};
    s.fused = fused;
    return s;
  };
  for (const AttentionShape &s : {shape(4, 256, 12, 12, 64, true), shape(1, 1024, 12, 12, 64, true), shape(1, 2048, 32, 8, 64, false),
                                  shape(1, 1024, 8, 8, 128, false)})
    for (bool backward : {false, true})
      measure(context, s, backward, count > 1 ? arguments[1] : "");
  return 0;
}
