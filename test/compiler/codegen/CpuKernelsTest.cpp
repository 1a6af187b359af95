//===- CpuKernelsTest.cpp - generated kernels against the interpreter ------------------===//
//
// Each case is one kernel function over f32 tensors (and i64 labels). It is generated, loaded, run workgroup by workgroup
// forward and backward (which must give equal bits), and compared with the interpreter in f64.
//
//===----------------------------------------------------------------------===//
#include "compiler/codegen/Kernels.h"
#include "compiler/driver/Pipeline.h"
#include "compiler/reference/Interpreter.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <random>
#include <sys/mman.h>
#include <unistd.h>

using namespace mlir;
using namespace llmc;

namespace {

struct Case {
  const char *name;
  std::string text; // one function @k
};
void PrintTo(const Case &c, std::ostream *stream) { *stream << c.name; }

/// Storage of one kernel operand, aligned as the runtime aligns buffers.
struct Storage {
  explicit Storage(int64_t bytes) : size(bytes), data(std::aligned_alloc(64, (bytes + 64) / 64 * 64), std::free) {
    std::memset(data.get(), 0x7f, (bytes + 64) / 64 * 64);
  }
  int64_t size;
  std::shared_ptr<void> data;
};

void store(const HostTensor &tensor, Storage &storage) {
  for (int64_t i = 0; i < tensor.size(); ++i) {
    if (tensor.isReal)
      static_cast<float *>(storage.data.get())[i] = static_cast<float>(tensor.reals[i]);
    else
      static_cast<int64_t *>(storage.data.get())[i] = tensor.integers[i];
  }
}

class CpuKernels : public testing::TestWithParam<Case> {
protected:
  using Function = void (*)(void *const *, int64_t);

  static void *load(const std::vector<char> &elf) {
    int descriptor = memfd_create("kernels", 0);
    EXPECT_EQ(write(descriptor, elf.data(), elf.size()), static_cast<ssize_t>(elf.size()));
    void *handle = dlopen(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), RTLD_NOW | RTLD_LOCAL);
    EXPECT_TRUE(handle) << dlerror();
    close(descriptor);
    return handle;
  }

  static std::vector<Storage> run(void *image, const codegen::GeneratedKernel &kernel, const std::vector<Storage> &inputs,
                                  TypeRange resultTypes, bool backward) {
    std::vector<Storage> outputs, scratch;
    for (Type type : resultTypes)
      outputs.emplace_back(tensorBytes(type));
    for (int64_t bytes : kernel.scratchBytes)
      scratch.emplace_back(bytes);
    for (const codegen::KernelStage &stage : kernel.stages) {
      auto function = reinterpret_cast<Function>(dlsym(image, stage.symbol.c_str()));
      EXPECT_TRUE(function) << stage.symbol;
      std::vector<void *> arguments;
      for (const codegen::StageOperand &operand : stage.operands) {
        const auto &list = operand.kind == codegen::OperandKind::Input    ? inputs
                           : operand.kind == codegen::OperandKind::Output ? outputs
                                                                          : scratch;
        arguments.push_back(list[operand.index].data.get());
      }
      for (int64_t w = 0; w < stage.workgroups; ++w)
        function(arguments.data(), backward ? stage.workgroups - 1 - w : w);
    }
    return outputs;
  }
};

TEST_P(CpuKernels, AgreeWithTheInterpreter) {
  DialectRegistry registry;
  driver::registerAllDialects(registry);
  MLIRContext context(registry);
  context.loadAllAvailableDialects();
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(GetParam().text, &context);
  ASSERT_TRUE(module);
  auto function = *module->getOps<func::FuncOp>().begin();

  std::mt19937 random(3);
  std::uniform_real_distribution<float> value(-2.0f, 2.0f);
  std::vector<HostTensor> arguments;
  std::vector<Storage> inputs;
  for (Type type : function.getArgumentTypes()) {
    HostTensor tensor = HostTensor::zeros(type);
    for (double &entry : tensor.reals)
      entry = value(random);
    for (int64_t &entry : tensor.integers)
      entry = static_cast<int64_t>(random() % 7);
    inputs.emplace_back(tensorBytes(type));
    store(tensor, inputs.back());
    arguments.push_back(std::move(tensor));
  }
  auto expected = reference::Interpreter(reference::Arithmetic::F64).run(function, arguments);
  ASSERT_TRUE(succeeded(expected));

  auto image = codegen::generateCpuKernels(*module, {});
  ASSERT_TRUE(static_cast<bool>(image)) << llvm::toString(image.takeError());
  auto again = codegen::generateCpuKernels(*module, {});
  ASSERT_TRUE(static_cast<bool>(again));
  EXPECT_EQ(image->elf, again->elf);
  void *handle = load(image->elf);
  ASSERT_TRUE(handle);
  auto outputs = run(handle, image->kernels.front(), inputs, function.getResultTypes(), false);
  auto reversed = run(handle, image->kernels.front(), inputs, function.getResultTypes(), true);
  for (size_t r = 0; r < outputs.size(); ++r) {
    EXPECT_EQ(std::memcmp(outputs[r].data.get(), reversed[r].data.get(), outputs[r].size), 0) << "result " << r;
    double largest = 1.0;
    for (double entry : (*expected)[r].reals)
      largest = std::max(largest, std::abs(entry));
    for (int64_t i = 0; i < (*expected)[r].size(); ++i)
      ASSERT_NEAR(static_cast<float *>(outputs[r].data.get())[i], (*expected)[r].reals[i], 4e-6 * largest) << "result " << r << " entry " << i;
  }
  dlclose(handle);
}

std::string elementwise(int64_t rows, int64_t columns) {
  std::string t = "tensor<" + std::to_string(rows) + "x" + std::to_string(columns) + "xf32>", c = "tensor<" + std::to_string(columns) + "xf32>";
  return "func.func private @k(%x: " + t + ", %b: " + c + ") -> " + t + " {\n %0 = nn.broadcast %b {dims = array<i64: 1>} : (" + c + ") -> " + t +
         "\n %1 = arith.addf %x, %0 : " + t + "\n %2 = nn.gelu %1 {tanh = true} : (" + t + ") -> " + t + "\n return %2 : " + t + "\n}";
}
std::string layerNorm(int64_t rows, int64_t columns) {
  std::string t = "tensor<" + std::to_string(rows) + "x" + std::to_string(columns) + "xf32>", c = "tensor<" + std::to_string(columns) + "xf32>",
              r = "tensor<" + std::to_string(rows) + "xf32>";
  return "func.func private @k(%x: " + t + ", %s: " + c + ", %b: " + c + ") -> (" + t + ", " + r + ", " + r + ") {\n" +
         " %0, %1, %2 = nn.layer_norm %x, %s, %b {epsilon = 1.0e-5} : (" + t + ", " + c + ", " + c + ") -> (" + t + ", " + r + ", " + r +
         ")\n return %0, %1, %2 : " + t + ", " + r + ", " + r + "\n}";
}
std::string softmax(int64_t rows, int64_t columns) {
  std::string t = "tensor<" + std::to_string(rows) + "x" + std::to_string(columns) + "xf32>";
  return "func.func private @k(%x: " + t + ") -> " + t + " {\n %0 = nn.softmax %x : (" + t + ") -> " + t + "\n return %0 : " + t + "\n}";
}
std::string columnSum(int64_t rows, int64_t columns) {
  std::string t = "tensor<" + std::to_string(rows) + "x" + std::to_string(columns) + "xf32>", c = "tensor<" + std::to_string(columns) + "xf32>";
  return "func.func private @k(%x: " + t + ") -> " + c + " {\n %0 = nn.reduce %x {kind = 0 : i32, dims = array<i64: 0>} : (" + t + ") -> " + c +
         "\n return %0 : " + c + "\n}";
}

INSTANTIATE_TEST_SUITE_P(Fused, CpuKernels,
                         testing::Values(Case{"gelu_1", elementwise(3, 1)}, Case{"gelu_31", elementwise(5, 31)}, Case{"gelu_257", elementwise(40, 257)},
                                         Case{"layer_norm_72", layerNorm(31, 72)}, Case{"layer_norm_768", layerNorm(64, 768)},
                                         Case{"softmax_31", softmax(9, 31)}, Case{"softmax_257", softmax(33, 257)},
                                         Case{"column_sum_72", columnSum(186, 72)}, Case{"column_sum_257", columnSum(1000, 257)}),
                         [](const auto &info) { return std::string(info.param.name); });

} // namespace
