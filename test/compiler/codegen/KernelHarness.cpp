//===- KernelHarness.cpp - runs generated kernels beside the interpreter -----------------===//
#include "KernelHarness.h"
#include "compiler/driver/Pipeline.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/APFloat.h"
#include <dlfcn.h>
#include <random>
#include <set>
#include <sys/mman.h>
#include <unistd.h>

using namespace mlir;

namespace llmc::test {

Storage::Storage(int64_t bytes) : size(bytes), data(std::aligned_alloc(64, (bytes + 64) / 64 * 64), std::free) {
  std::memset(data.get(), 0x7f, (bytes + 64) / 64 * 64);
}

static int64_t bytesOfElement(Type type) { return std::max<int64_t>(1, getElementTypeOrSelf(type).getIntOrFloatBitWidth() / 8); }

Storage toStorage(const HostTensor &tensor, Type type) {
  int64_t width = bytesOfElement(type);
  Storage storage(tensor.size() * width);
  auto real = dyn_cast<FloatType>(getElementTypeOrSelf(type));
  for (int64_t i = 0; i < tensor.size(); ++i) {
    uint64_t bits;
    if (real) {
      APFloat value(tensor.reals[i]);
      bool lossy;
      value.convert(real.getFloatSemantics(), APFloat::rmNearestTiesToEven, &lossy);
      bits = value.bitcastToAPInt().getZExtValue();
    } else {
      bits = static_cast<uint64_t>(tensor.integers[i]);
    }
    std::memcpy(static_cast<char *>(storage.data.get()) + i * width, &bits, width);
  }
  return storage;
}

HostTensor fromStorage(const Storage &storage, Type type) {
  HostTensor tensor = HostTensor::zeros(type);
  int64_t width = bytesOfElement(type);
  auto real = dyn_cast<FloatType>(getElementTypeOrSelf(type));
  for (int64_t i = 0; i < tensor.size(); ++i) {
    uint64_t bits = 0;
    std::memcpy(&bits, static_cast<char *>(storage.data.get()) + i * width, width);
    if (real) {
      APFloat value(real.getFloatSemantics(), APInt(width * 8, bits));
      bool lossy;
      value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lossy);
      tensor.reals[i] = value.convertToDouble();
    } else {
      tensor.integers[i] = APInt(width * 8, bits).getSExtValue();
    }
  }
  return tensor;
}

LoadedImage::LoadedImage(const std::vector<char> &elf) {
  int descriptor = memfd_create("kernels", 0);
  EXPECT_EQ(write(descriptor, elf.data(), elf.size()), static_cast<ssize_t>(elf.size()));
  handle = dlopen(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), RTLD_NOW | RTLD_LOCAL);
  EXPECT_TRUE(handle) << dlerror();
  close(descriptor);
}

LoadedImage::~LoadedImage() {
  if (handle)
    dlclose(handle);
}

LoadedImage::Function LoadedImage::find(const std::string &symbol) const {
  auto function = handle ? reinterpret_cast<Function>(dlsym(handle, symbol.c_str())) : nullptr;
  EXPECT_TRUE(function) << symbol;
  return function;
}

std::vector<Storage> runKernel(const LoadedImage &image, const codegen::GeneratedKernel &kernel, const std::vector<Storage> &original,
                               TypeRange resultTypes, RunOptions options) {
  std::vector<Storage> inputs, outputs, scratch;
  for (const Storage &storage : original) {
    inputs.emplace_back(storage.size);
    std::memcpy(inputs.back().data.get(), storage.data.get(), storage.size);
  }
  for (Type type : resultTypes)
    outputs.emplace_back(cast<RankedTensorType>(type).getNumElements() * bytesOfElement(type));
  std::set<int> usedInputs, usedOutputs;
  for (auto [input, output] : kernel.mayAlias)
    if (options.aliased && !usedInputs.count(input) && !usedOutputs.count(output)) {
      usedInputs.insert(input);
      usedOutputs.insert(output);
      outputs[output] = inputs[input];
    }
  for (int64_t bytes : kernel.scratchBytes)
    scratch.emplace_back(bytes);
  for (const codegen::KernelStage &stage : kernel.stages) {
    LoadedImage::Function function = image.find(stage.symbol);
    std::vector<void *> arguments;
    for (const codegen::StageOperand &operand : stage.operands) {
      const auto &list = operand.kind == codegen::OperandKind::Input    ? inputs
                         : operand.kind == codegen::OperandKind::Output ? outputs
                                                                        : scratch;
      EXPECT_EQ(list[operand.index].size, operand.bytes) << stage.symbol;
      arguments.push_back(list[operand.index].data.get());
    }
    for (int64_t w = 0; w < stage.workgroups && function; ++w)
      function(arguments.data(), options.backward ? stage.workgroups - 1 - w : w);
  }
  return outputs;
}

void compareResults(ArrayRef<HostTensor> expected, ArrayRef<Storage> outputs, TypeRange types, double tolerance) {
  for (auto [r, type] : llvm::enumerate(types)) {
    HostTensor actual = fromStorage(outputs[r], type);
    double largest = 1.0;
    for (double entry : expected[r].reals)
      largest = std::max(largest, std::abs(entry));
    for (int64_t i = 0; i < actual.size(); ++i) {
      if (actual.isReal)
        ASSERT_NEAR(actual.reals[i], expected[r].reals[i], tolerance * largest) << "result " << r << " entry " << i;
      else
        ASSERT_EQ(actual.integers[i], expected[r].integers[i]) << "result " << r << " entry " << i;
    }
  }
}

std::vector<HostTensor> resultsOf(const std::string &text, const std::vector<HostTensor> &arguments) {
  DialectRegistry registry;
  driver::registerAllDialects(registry);
  MLIRContext context(registry);
  context.loadAllAvailableDialects();
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(text, &context);
  auto image = codegen::generateCpuKernels(*module, {});
  if (!image) {
    ADD_FAILURE() << llvm::toString(image.takeError());
    return {};
  }
  auto function = *module->getOps<func::FuncOp>().begin();
  std::vector<Storage> inputs;
  for (auto [tensor, type] : llvm::zip_equal(arguments, function.getArgumentTypes()))
    inputs.push_back(toStorage(tensor, type));
  std::vector<HostTensor> results;
  LoadedImage loaded(image->elf);
  auto outputs = runKernel(loaded, image->kernels.front(), inputs, function.getResultTypes());
  for (auto [output, type] : llvm::zip_equal(outputs, function.getResultTypes()))
    results.push_back(fromStorage(output, type));
  return results;
}

std::vector<HostTensor> randomArguments(TypeRange types, llvm::function_ref<void(std::vector<HostTensor> &)> fill) {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> value(-2.0f, 2.0f);
  std::vector<HostTensor> arguments;
  for (Type type : types) {
    HostTensor tensor = HostTensor::zeros(type);
    for (double &entry : tensor.reals)
      entry = value(random);
    for (int64_t &entry : tensor.integers)
      entry = static_cast<int64_t>(random() % 7);
    arguments.push_back(std::move(tensor));
  }
  fill(arguments);
  for (auto [tensor, type] : llvm::zip(arguments, types))
    roundTo(getElementTypeOrSelf(type), tensor);
  return arguments;
}

void compareWithInterpreter(const std::string &text, double tolerance, llvm::function_ref<void(std::vector<HostTensor> &)> fill) {
  DialectRegistry registry;
  driver::registerAllDialects(registry);
  MLIRContext context(registry);
  context.loadAllAvailableDialects();
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(text, &context);
  ASSERT_TRUE(module);
  auto function = *module->getOps<func::FuncOp>().begin();
  std::vector<HostTensor> arguments = randomArguments(function.getArgumentTypes(), fill);
  std::vector<Storage> inputs;
  for (auto [tensor, type] : llvm::zip(arguments, function.getArgumentTypes()))
    inputs.push_back(toStorage(tensor, type));
  auto expected = reference::Interpreter(reference::Arithmetic::F64).run(function, arguments);
  ASSERT_TRUE(succeeded(expected));

  auto image = codegen::generateCpuKernels(*module, {});
  ASSERT_TRUE(static_cast<bool>(image)) << llvm::toString(image.takeError());
  auto again = codegen::generateCpuKernels(*module, {});
  ASSERT_TRUE(static_cast<bool>(again));
  EXPECT_EQ(image->elf, again->elf);
  LoadedImage loaded(image->elf);
  const codegen::GeneratedKernel &kernel = image->kernels.front();
  auto outputs = runKernel(loaded, kernel, inputs, function.getResultTypes());
  auto reversed = runKernel(loaded, kernel, inputs, function.getResultTypes(), {.backward = true});
  auto aliased = runKernel(loaded, kernel, inputs, function.getResultTypes(), {.aliased = true});
  compareResults(*expected, outputs, function.getResultTypes(), tolerance);
  for (size_t r = 0; r < outputs.size(); ++r) {
    EXPECT_EQ(std::memcmp(outputs[r].data.get(), reversed[r].data.get(), outputs[r].size), 0) << "backward, result " << r;
    EXPECT_EQ(std::memcmp(outputs[r].data.get(), aliased[r].data.get(), outputs[r].size), 0) << "aliased, result " << r;
  }
}

} // namespace llmc::test
