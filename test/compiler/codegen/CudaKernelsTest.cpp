//===- CudaKernelsTest.cpp - PTX of the kernels of a training step -----------------------===//
//
// Each case is a module of kernels as outlining leaves them. PTX is generated twice (equal text) and handed to ptxas where the
// CUDA toolkit is installed.
//
//===----------------------------------------------------------------------===//
#include "compiler/codegen/cuda/CudaKernels.h"
#include "compiler/driver/Pipeline.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"
#include <gtest/gtest.h>

using namespace mlir;
using namespace llmc;

namespace {

/// ptxas from PATH or the toolkit's usual place; empty if there is none.
std::string findPtxas() {
  if (auto found = llvm::sys::findProgramByName("ptxas"))
    return *found;
  auto usual = llvm::sys::findProgramByName("ptxas", {"/usr/local/cuda/bin"});
  return usual ? *usual : std::string();
}

/// libdevice of the toolkit that `ptxas` belongs to.
std::string libdeviceBeside(StringRef ptxas) {
  SmallString<128> path = llvm::sys::path::parent_path(llvm::sys::path::parent_path(ptxas));
  llvm::sys::path::append(path, "nvvm", "libdevice", "libdevice.10.bc");
  return llvm::sys::fs::exists(path) ? path.str().str() : std::string();
}

class CudaKernels : public testing::Test {
protected:
  void SetUp() override {
    ptxas = findPtxas();
    options.libdevice = libdeviceBeside(ptxas);
    DialectRegistry registry;
    driver::registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }

  void assemble(const std::string &ptx) {
    int descriptor;
    SmallString<128> input, messages;
    ASSERT_FALSE(llvm::sys::fs::createTemporaryFile("kernel", "ptx", descriptor, input));
    llvm::FileRemover removeInput(input);
    llvm::raw_fd_ostream(descriptor, true) << ptx;
    ASSERT_FALSE(llvm::sys::fs::createTemporaryFile("kernel", "txt", messages));
    llvm::FileRemover removeMessages(messages);
    std::optional<StringRef> redirects[] = {std::nullopt, StringRef(messages), StringRef(messages)};
    int code = llvm::sys::ExecuteAndWait(ptxas, {ptxas, "-arch=" + options.arch, "-o", "/dev/null", input}, std::nullopt, redirects);
    if (code != 0) {
      auto text = llvm::MemoryBuffer::getFile(messages);
      FAIL() << (text ? (*text)->getBuffer().str() : "") << "\n" << ptx;
    }
  }

  codegen::CudaImage generate(const std::string &text) {
    OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(text, &context);
    EXPECT_TRUE(module);
    auto image = codegen::generateCudaKernels(*module, options);
    auto again = codegen::generateCudaKernels(*module, options);
    if (!image || !again) {
      ADD_FAILURE() << llvm::toString(image.takeError()) << llvm::toString(again.takeError());
      return {};
    }
    EXPECT_EQ(image->arch, options.arch);
    for (auto [one, other] : llvm::zip(image->kernels, again->kernels))
      EXPECT_EQ(one.ptx, other.ptx);
    return std::move(*image);
  }

  void check(const std::string &text) {
    codegen::CudaImage image = generate(text);
    if (ptxas.empty())
      GTEST_SKIP() << "no ptxas in PATH or /usr/local/cuda/bin";
    for (const codegen::CudaKernel &kernel : image.kernels)
      assemble(kernel.ptx);
  }

  std::string ptxas;
  codegen::CudaOptions options;
  MLIRContext context;
};

TEST_F(CudaKernels, Forward) {
  check(R"(
    func.func private @embedding(%t: tensor<256x64xf32>, %i: tensor<8x32xi64>, %p: tensor<32x64xf32>) -> tensor<8x32x64xf32> {
      %0 = nn.gather %t, %i : (tensor<256x64xf32>, tensor<8x32xi64>) -> tensor<8x32x64xf32>
      %1 = nn.broadcast %p {dims = array<i64: 1, 2>} : (tensor<32x64xf32>) -> tensor<8x32x64xf32>
      %2 = arith.addf %0, %1 : tensor<8x32x64xf32>
      return %2 : tensor<8x32x64xf32>
    }
    func.func private @norm(%x: tensor<256x768xf32>, %r: tensor<256x768xf32>, %s: tensor<768xf32>, %b: tensor<768xf32>) -> (tensor<256x768xf32>, tensor<256x768xf32>, tensor<256xf32>, tensor<256xf32>) {
      %0 = arith.addf %x, %r : tensor<256x768xf32>
      %1, %2, %3 = nn.layer_norm %0, %s, %b {epsilon = 1.0e-5} : (tensor<256x768xf32>, tensor<768xf32>, tensor<768xf32>) -> (tensor<256x768xf32>, tensor<256xf32>, tensor<256xf32>)
      return %0, %1, %2, %3 : tensor<256x768xf32>, tensor<256x768xf32>, tensor<256xf32>, tensor<256xf32>
    }
    func.func private @gelu(%x: tensor<31x3073xf32>) -> tensor<31x3073xf32> {
      %0 = nn.gelu %x {tanh = false} : (tensor<31x3073xf32>) -> tensor<31x3073xf32>
      return %0 : tensor<31x3073xf32>
    }
    func.func private @softmax(%x: tensor<64x1024xbf16>) -> tensor<64x1024xbf16> {
      %0 = nn.softmax %x : (tensor<64x1024xbf16>) -> tensor<64x1024xbf16>
      return %0 : tensor<64x1024xbf16>
    }
    func.func private @loss(%x: tensor<40x50257xf32>, %l: tensor<40xi64>) -> (tensor<f32>, tensor<f32>, tensor<40xf32>) {
      %0, %1, %2 = nn.cross_entropy %x, %l {ignore_index = -100} : (tensor<40x50257xf32>, tensor<40xi64>) -> (tensor<f32>, tensor<f32>, tensor<40xf32>)
      return %0, %1, %2 : tensor<f32>, tensor<f32>, tensor<40xf32>
    })");
}

TEST_F(CudaKernels, Backward) {
  check(R"(
    func.func private @norm(%x: tensor<256x768xf32>, %s: tensor<768xf32>, %m: tensor<256xf32>, %r: tensor<256xf32>, %d: tensor<256x768xf32>) -> (tensor<256x768xf32>, tensor<768xf32>, tensor<768xf32>) {
      %0, %1, %2 = nn.layer_norm_backward %x, %s, %m, %r, %d : (tensor<256x768xf32>, tensor<768xf32>, tensor<256xf32>, tensor<256xf32>, tensor<256x768xf32>) -> (tensor<256x768xf32>, tensor<768xf32>, tensor<768xf32>)
      return %0, %1, %2 : tensor<256x768xf32>, tensor<768xf32>, tensor<768xf32>
    }
    func.func private @bias(%x: tensor<500x73xf32>) -> tensor<73xf32> {
      %0 = nn.reduce %x {kind = 0 : i32, dims = array<i64: 0>} : (tensor<500x73xf32>) -> tensor<73xf32>
      return %0 : tensor<73xf32>
    }
    func.func private @channels(%x: tensor<8x5x9x7xf32>) -> tensor<5xf32> {
      %0 = nn.reduce %x {kind = 1 : i32, dims = array<i64: 0, 2, 3>} : (tensor<8x5x9x7xf32>) -> tensor<5xf32>
      return %0 : tensor<5xf32>
    }
    func.func private @embedding(%i: tensor<64xi64>, %u: tensor<64x72xf32>, %o: tensor<500x72xf32>) -> tensor<500x72xf32> {
      %0 = nn.scatter_add %i, %u : (tensor<64xi64>, tensor<64x72xf32>) -> tensor<500x72xf32>
      %1 = arith.addf %0, %o : tensor<500x72xf32>
      return %1 : tensor<500x72xf32>
    }
    func.func private @routing(%i: tensor<40x2xi64>, %u: tensor<40x2xf32>) -> tensor<40x8xf32> {
      %0 = nn.scatter_add_along %i, %u {axis = 1 : i64} : (tensor<40x2xi64>, tensor<40x2xf32>) -> tensor<40x8xf32>
      return %0 : tensor<40x8xf32>
    }
    func.func private @turn(%x: tensor<3x130x70xbf16>) -> tensor<70x130x3xbf16> {
      %0 = nn.transpose %x {permutation = array<i64: 2, 1, 0>} : (tensor<3x130x70xbf16>) -> tensor<70x130x3xbf16>
      return %0 : tensor<70x130x3xbf16>
    })");
}

TEST_F(CudaKernels, Update) {
  check(R"(
    func.func private @clip(%a: tensor<100000xf32>, %b: tensor<5xf32>, %m: tensor<f32>) -> (tensor<f32>, tensor<f32>) {
      %0 = nn.sum_of_squares %a, %b : (tensor<100000xf32>, tensor<5xf32>) -> tensor<f32>
      %1 = math.sqrt %0 : tensor<f32>
      %2 = arith.divf %m, %1 : tensor<f32>
      return %1, %2 : tensor<f32>, tensor<f32>
    }
    func.func private @adamw(%p: tensor<70000xf32>, %g: tensor<70000xf32>, %m: tensor<70000xf32>, %v: tensor<70000xf32>, %lr: tensor<f32>, %s: tensor<f32>, %c1: tensor<f32>, %c2: tensor<f32>) -> (tensor<70000xf32>, tensor<70000xf32>, tensor<70000xf32>) {
      %0, %1, %2 = nn.adamw %p, %g, %m, %v, %lr, %s, %c1, %c2 {beta1 = 0.9, beta2 = 0.95, epsilon = 1.0e-8, decay = 0.1} : (tensor<70000xf32>, tensor<70000xf32>, tensor<70000xf32>, tensor<70000xf32>, tensor<f32>, tensor<f32>, tensor<f32>, tensor<f32>) -> (tensor<70000xf32>, tensor<70000xf32>, tensor<70000xf32>)
      return %0, %1, %2 : tensor<70000xf32>, tensor<70000xf32>, tensor<70000xf32>
    })");
}

// Functions without an approximation come from the toolkit's library; without it the error says so.
TEST_F(CudaKernels, Library) {
  std::string text = "func.func private @schedule(%x: tensor<f64>) -> tensor<f64> {\n %0 = math.cos %x : tensor<f64>\n return %0 : tensor<f64>\n}";
  if (!options.libdevice.empty())
    check(text);
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(text, &context);
  options.libdevice.clear();
  auto image = codegen::generateCudaKernels(*module, options);
  ASSERT_FALSE(static_cast<bool>(image));
  EXPECT_EQ(llvm::toString(image.takeError()), "kernel schedule: needs libdevice of the CUDA toolkit, which was not found");
}

} // namespace
