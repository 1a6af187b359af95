//===- RewritesTest.cpp - passes that must not change what is computed -----------------===//
//
// Runs each case of a pass's lit test in the interpreter, in f64, before and after the pass, on random inputs.
//
//===----------------------------------------------------------------------===//
#include "compiler/driver/Pipeline.h"
#include "compiler/reference/Interpreter.h"
#include "dialects/train/Train.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/Support/MemoryBuffer.h"
#include <cmath>
#include <gtest/gtest.h>
#include <random>

using namespace mlir;
using namespace llmc;

namespace {

struct Case {
  const char *file, *pipeline;
};
void PrintTo(const Case &c, std::ostream *os) { *os << c.pipeline; }

class RewritesTest : public testing::TestWithParam<Case> {
protected:
  RewritesTest() {
    static bool registered = (driver::registerAllPasses(), true);
    (void)registered;
    DialectRegistry registry;
    driver::registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }

  /// Normal reals; integers 0 and 1, which index and mask everything.
  std::vector<HostTensor> randomInputs(func::FuncOp function) {
    std::mt19937 engine(7);
    std::normal_distribution<double> normal;
    std::vector<HostTensor> inputs;
    for (BlockArgument argument : function.getArguments()) {
      HostTensor tensor = HostTensor::zeros(argument.getType());
      for (double &x : tensor.reals)
        x = normal(engine);
      for (int64_t &x : tensor.integers)
        x = static_cast<int64_t>(engine() % 4 != 0); // a row of a mask that hides all is left to the lit test
      if (!isConstant(function, argument.getArgNumber()))
        inputs.push_back(std::move(tensor));
    }
    return inputs;
  }

  static bool isConstant(func::FuncOp function, unsigned i) {
    return train::argumentString(function, i, train::kRole) == train::kConstant;
  }

  /// The results for `inputs`, constants from the function itself.
  std::vector<HostTensor> run(func::FuncOp function, const std::vector<HostTensor> &inputs) {
    std::vector<HostTensor> arguments;
    size_t next = 0;
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      arguments.push_back(isConstant(function, i) ? *HostTensor::fromAttribute(function.getArgAttrOfType<ElementsAttr>(i, train::kValue))
                                                  : inputs.at(next++));
    auto results = reference::Interpreter(reference::Arithmetic::F64).run(function, arguments);
    EXPECT_TRUE(succeeded(results));
    return succeeded(results) ? *results : std::vector<HostTensor>();
  }

  void compare(const std::vector<HostTensor> &before, const std::vector<HostTensor> &after) {
    ASSERT_EQ(before.size(), after.size());
    for (size_t i = 0; i < before.size(); ++i) {
      ASSERT_EQ(before[i].shape, after[i].shape);
      for (int64_t k = 0; k < before[i].size(); ++k) {
        double expected = before[i].real(k);
        ASSERT_TRUE(std::isfinite(expected));
        // Constants in the IR are f32, those of composites are exact.
        EXPECT_NEAR(expected, after[i].real(k), 1e-6 * std::max(1.0, std::abs(expected))) << "result " << i << " at " << k;
      }
    }
  }

  MLIRContext context;
};

TEST_P(RewritesTest, KeepsResults) {
  auto buffer = llvm::MemoryBuffer::getFile(std::string(LLMC_TEST_DIR) + "/passes/" + GetParam().file);
  ASSERT_TRUE(buffer);
  SmallVector<StringRef> chunks;
  (*buffer)->getBuffer().split(chunks, "// -----");
  for (StringRef chunk : chunks) {
    auto module = parseSourceString<ModuleOp>(chunk, &context);
    ASSERT_TRUE(module);
    PassManager pm(&context);
    ASSERT_TRUE(succeeded(parsePassPipeline(GetParam().pipeline, pm)));
    OwningOpRef<ModuleOp> original = module->clone();
    ASSERT_TRUE(succeeded(pm.run(*module)));
    for (auto function : original->getOps<func::FuncOp>()) {
      SCOPED_TRACE(function.getName().str());
      std::vector<HostTensor> inputs = randomInputs(function);
      compare(run(function, inputs), run(module->lookupSymbol<func::FuncOp>(function.getName()), inputs));
    }
  }
}

constexpr const char *kRecompose =
    "import-keep-batch,canonicalize,cse,import-sink-transposes,import-recompose-norms,import-recompose-activations,import-recompose-rope,"
    "import-recompose-attention,import-sink-transposes,import-simplify-attention,import-recompose-loss,canonicalize,cse";

INSTANTIATE_TEST_SUITE_P(Passes, RewritesTest,
                         testing::Values(Case{"import/keep_batch.mlir", "import-keep-batch"},
                                         Case{"import/sink_transposes.mlir", "import-sink-transposes"},
                                         Case{"import/recompose_norms.mlir", "import-recompose-norms"},
                                         Case{"import/recompose_activations.mlir", "import-recompose-activations"},
                                         Case{"import/recompose_rope.mlir", "import-recompose-rope"},
                                         Case{"import/recompose_attention.mlir", "import-recompose-attention"},
                                         Case{"import/simplify_attention.mlir", "import-simplify-attention"},
                                         Case{"import/recompose_loss.mlir", "import-recompose-loss"},
                                         Case{"import/recompose_layers.mlir", kRecompose},
                                         Case{"autodiff/merge_slices.mlir", "autodiff-merge-slices"},
                                         Case{"remat/recompute_cheap.mlir", "remat-recompute-cheap{min-bytes=1}"},
                                         Case{"lowering/order_sums.mlir", "lowering-order-sums"},
                                         Case{"lowering/expand_loss.mlir", "lowering-expand-loss{chunk-bytes=16384}"}));

} // namespace
