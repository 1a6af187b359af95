//===- GpuThreadsTest.cpp - kernels of GPU threads against the interpreter -------------===//
//
// Kernels that share memory between the threads of a block, run thread by thread in three orders: near the interpreter's
// results, and equal bits. Then each barrier is taken out of the code, one at a time: each must be missed, but for those known
// to be spare where they are: in front of the only walk of a workgroup, and of `once` when nothing is shared any more.
//
//===----------------------------------------------------------------------===//
#include "GpuEmulator.h"
#include "compiler/driver/Pipeline.h"
#include "mlir/Parser/Parser.h"

using namespace mlir;
using namespace llmc;
using namespace llmc::test;

namespace {

struct Case {
  const char *name;
  std::string text;   // one function
  unsigned spare = 0; // barriers that are not missed
};
void PrintTo(const Case &c, std::ostream *stream) { *stream << c.name; }

class GpuThreads : public testing::TestWithParam<Case> {
protected:
  void SetUp() override {
    DialectRegistry registry;
    driver::registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
    module = parseSourceString<ModuleOp>(GetParam().text, &context);
    ASSERT_TRUE(module);
    function = *module->getOps<func::FuncOp>().begin();
    arguments = randomArguments(function.getArgumentTypes(), [](std::vector<HostTensor> &) {});
    for (auto [tensor, type] : llvm::zip(arguments, function.getArgumentTypes()))
      inputs.push_back(toStorage(tensor, type));
  }
  void TearDown() override { EmulatedKernel::withoutBarrier(std::nullopt); }
  static bool isSame(ArrayRef<Storage> a, ArrayRef<Storage> b) {
    return llvm::all_of(llvm::zip_equal(a, b), [](auto pair) {
      auto &[x, y] = pair;
      return std::memcmp(x.data.get(), y.data.get(), static_cast<size_t>(x.size)) == 0;
    });
  }
  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  func::FuncOp function;
  std::vector<HostTensor> arguments;
  std::vector<Storage> inputs;
};

constexpr ThreadOrder kOrders[] = {ThreadOrder::Forward, ThreadOrder::Backward, ThreadOrder::Shuffled};

TEST_P(GpuThreads, OrdersGiveTheSameBits) {
  EmulatedKernel kernel(function);
  auto expected = reference::Interpreter(reference::Arithmetic::F64).run(function, arguments);
  ASSERT_TRUE(succeeded(expected));
  auto forward = kernel.run(inputs, function.getResultTypes(), ThreadOrder::Forward);
  compareResults(*expected, forward, function.getResultTypes(), 4e-6);
  for (ThreadOrder order : {ThreadOrder::Backward, ThreadOrder::Shuffled})
    EXPECT_TRUE(isSame(forward, kernel.run(inputs, function.getResultTypes(), order))) << static_cast<int>(order);
}

class GpuBarriers : public GpuThreads {};

TEST_P(GpuBarriers, EachIsMissed) {
  EmulatedKernel kernel(function);
  auto right = kernel.run(inputs, function.getResultTypes(), ThreadOrder::Forward);
  EXPECT_GT(kernel.barriers(), GetParam().spare);
  std::string spare;
  for (unsigned i = 0; i < kernel.barriers(); ++i) {
    EmulatedKernel::withoutBarrier(i);
    EmulatedKernel wrong(function);
    if (llvm::all_of(kOrders, [&](ThreadOrder order) { return isSame(right, wrong.run(inputs, function.getResultTypes(), order)); }))
      spare += " " + std::to_string(i);
  }
  EXPECT_EQ(llvm::count(spare, ' '), GetParam().spare) << "not missed:" << spare << ", of " << kernel.barriers();
}

std::string softmax(const std::string &t) {
  return "func.func private @k(%x: " + t + ") -> " + t + " {\n %0 = nn.softmax %x : (" + t + ") -> " + t + "\n return %0 : " + t + "\n}";
}

const char *const kLayerNorm = R"(
  func.func private @k(%x: tensor<23x300xf32>, %r: tensor<23x300xf32>, %s: tensor<300xf32>, %b: tensor<300xf32>) -> (tensor<23x300xf32>, tensor<23x300xf32>, tensor<23xf32>, tensor<23xf32>) {
    %0 = arith.addf %x, %r : tensor<23x300xf32>
    %1, %2, %3 = nn.layer_norm %0, %s, %b {epsilon = 1.0e-5} : (tensor<23x300xf32>, tensor<300xf32>, tensor<300xf32>) -> (tensor<23x300xf32>, tensor<23xf32>, tensor<23xf32>)
    return %0, %1, %2, %3 : tensor<23x300xf32>, tensor<23x300xf32>, tensor<23xf32>, tensor<23xf32>
  })";
const char *const kLayerNormBackward = R"(
  func.func private @k(%x: tensor<23x300xf32>, %s: tensor<300xf32>, %m: tensor<23xf32>, %r: tensor<23xf32>, %d: tensor<23x300xf32>) -> (tensor<23x300xf32>, tensor<300xf32>, tensor<300xf32>) {
    %0, %1, %2 = nn.layer_norm_backward %x, %s, %m, %r, %d : (tensor<23x300xf32>, tensor<300xf32>, tensor<23xf32>, tensor<23xf32>, tensor<23x300xf32>) -> (tensor<23x300xf32>, tensor<300xf32>, tensor<300xf32>)
    return %0, %1, %2 : tensor<23x300xf32>, tensor<300xf32>, tensor<300xf32>
  })";
const char *const kCrossEntropy = R"(
  func.func private @k(%x: tensor<12x517xf32>, %l: tensor<12xi64>) -> (tensor<f32>, tensor<f32>, tensor<12xf32>) {
    %0, %1, %2 = nn.cross_entropy %x, %l {ignore_index = -100} : (tensor<12x517xf32>, tensor<12xi64>) -> (tensor<f32>, tensor<f32>, tensor<12xf32>)
    return %0, %1, %2 : tensor<f32>, tensor<f32>, tensor<12xf32>
  })";
const char *const kRowSum = R"(
  func.func private @k(%x: tensor<21x1025xf32>) -> tensor<21xf32> {
    %0 = nn.reduce %x {kind = 0 : i32, dims = array<i64: 1>} : (tensor<21x1025xf32>) -> tensor<21xf32>
    return %0 : tensor<21xf32>
  })";
const char *const kChannels = R"(
  func.func private @k(%x: tensor<6x5x9x70xf32>) -> tensor<5xf32> {
    %0 = nn.reduce %x {kind = 0 : i32, dims = array<i64: 0, 2, 3>} : (tensor<6x5x9x70xf32>) -> tensor<5xf32>
    return %0 : tensor<5xf32>
  })";
const char *const kTurn = R"(
  func.func private @k(%x: tensor<3x130x70xf32>) -> tensor<70x130x3xf32> {
    %0 = nn.transpose %x {permutation = array<i64: 2, 1, 0>} : (tensor<3x130x70xf32>) -> tensor<70x130x3xf32>
    return %0 : tensor<70x130x3xf32>
  })";

std::string nameOf(const testing::TestParamInfo<Case> &info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Shared, GpuThreads,
                         testing::Values(Case{"softmax", softmax("tensor<21x300xf32>")}, Case{"softmax_1030", softmax("tensor<9x1030xf32>")},
                                         Case{"layer_norm", kLayerNorm}, Case{"layer_norm_backward", kLayerNormBackward},
                                         Case{"cross_entropy", kCrossEntropy}, Case{"row_sum", kRowSum}, Case{"channels", kChannels},
                                         Case{"turn", kTurn}),
                         nameOf);
INSTANTIATE_TEST_SUITE_P(Shared, GpuBarriers,
                         testing::Values(Case{"softmax", softmax("tensor<21x300xf32>")}, Case{"layer_norm", kLayerNorm, 3},
                                         Case{"layer_norm_backward", kLayerNormBackward}, Case{"row_sum", kRowSum, 2}, Case{"turn", kTurn}),
                         nameOf);

} // namespace
