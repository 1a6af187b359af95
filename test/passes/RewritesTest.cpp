//===- RewritesTest.cpp - passes that must not change what is computed -----------------===//
//
// Runs each case of a pass's lit test in the interpreter, in f64, before and after the pass, on random inputs. Then each case with
// one thing changed: an operand that is another value of the same type, another constant, another attribute, two operands
// that trade places. Whether a pattern still applies is its own affair; what is computed must stay.
//
//===----------------------------------------------------------------------===//
#include "compiler/driver/Pipeline.h"
#include "compiler/reference/Interpreter.h"
#include "dialects/train/Train.h"
#include "dialects/nn/Nn.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/Support/MemoryBuffer.h"
#include <cmath>
#include <gtest/gtest.h>
#include <optional>
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
  FailureOr<std::vector<HostTensor>> interpret(func::FuncOp function, const std::vector<HostTensor> &inputs) {
    std::vector<HostTensor> arguments;
    size_t next = 0;
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      arguments.push_back(isConstant(function, i) ? *HostTensor::fromAttribute(function.getArgAttrOfType<ElementsAttr>(i, train::kValue))
                                                  : inputs.at(next++));
    return reference::Interpreter(reference::Arithmetic::F64).run(function, arguments);
  }

  /// The same of a function that must have results.
  std::vector<HostTensor> run(func::FuncOp function, const std::vector<HostTensor> &inputs) {
    auto results = interpret(function, inputs);
    EXPECT_TRUE(succeeded(results));
    return succeeded(results) ? *results : std::vector<HostTensor>();
  }

  /// The results for `inputs`; nothing if there are none, as for an index out of range, or one is not finite.
  std::optional<std::vector<HostTensor>> tryRun(func::FuncOp function, const std::vector<HostTensor> &inputs) {
    ScopedDiagnosticHandler quiet(&context, [](Diagnostic &) { return success(); });
    auto results = interpret(function, inputs);
    if (failed(results))
      return std::nullopt;
    for (const HostTensor &result : *results)
      if (llvm::any_of(result.reals, [](double x) { return !std::isfinite(x); }))
        return std::nullopt;
    return *results;
  }

  /// Applies `change` to the function, runs the pass, and compares. `change` returns what it changed, empty if it does not apply.
  void expectKept(func::FuncOp original, llvm::function_ref<std::string(func::FuncOp)> change) {
    OwningOpRef<ModuleOp> module = ModuleOp::create(original.getLoc());
    auto source = original->getParentOfType<ModuleOp>();
    (*module)->setAttrs(source->getAttrs());
    func::FuncOp function = original.clone();
    module->push_back(function);
    std::string what = change(function);
    ScopedDiagnosticHandler quiet(&context, [](Diagnostic &) { return success(); });
    if (what.empty() || failed(verify(*module)))
      return;
    std::vector<HostTensor> inputs = randomInputs(function);
    std::optional<std::vector<HostTensor>> before = tryRun(function, inputs);
    if (!before) { // the root of a negative number, say
      for (HostTensor &input : inputs)
        for (double &x : input.reals)
          x = std::abs(x);
      before = tryRun(function, inputs);
    }
    if (!before)
      return;
    PassManager pm(&context);
    ASSERT_TRUE(succeeded(parsePassPipeline(GetParam().pipeline, pm)));
    if (failed(pm.run(*module))) // refused
      return;
    SCOPED_TRACE(original.getName().str() + ": " + what);
    std::optional<std::vector<HostTensor>> after = tryRun(module->lookupSymbol<func::FuncOp>(original.getName()), inputs);
    ASSERT_TRUE(after);
    compare(*before, *after);
    ++tried;
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

  /// The cases of the lit test.
  std::vector<OwningOpRef<ModuleOp>> cases() {
    auto buffer = llvm::MemoryBuffer::getFile(std::string(LLMC_TEST_DIR) + "/passes/" + GetParam().file);
    std::vector<OwningOpRef<ModuleOp>> modules;
    SmallVector<StringRef> chunks;
    (*buffer)->getBuffer().split(chunks, "// -----");
    for (StringRef chunk : chunks)
      modules.push_back(parseSourceString<ModuleOp>(chunk, &context));
    return modules;
  }

  MLIRContext context;
  int tried = 0;
};

/// The `n`th op of a function, the same in its clones.
Operation *opAt(func::FuncOp function, size_t n) { return &*std::next(function.getBody().front().begin(), static_cast<ptrdiff_t>(n)); }

std::string useAnotherValue(func::FuncOp function, size_t n, unsigned operand) {
  Operation *op = opAt(function, n);
  unsigned place = function.getNumArguments();
  if (failed(function.insertArgument(place, op->getOperand(operand).getType(), {}, op->getLoc())))
    return "";
  op->setOperand(operand, function.getArgument(place));
  return "operand " + std::to_string(operand) + " of " + op->getName().getStringRef().str() + " is another value";
}

std::string useAnotherConstant(func::FuncOp function, size_t n) {
  auto constant = dyn_cast<arith::ConstantOp>(opAt(function, n));
  auto value = constant ? HostTensor::fromAttribute(cast<ElementsAttr>(constant.getValue())) : FailureOr<HostTensor>(failure());
  if (failed(value) || value->size() == 0)
    return "";
  int64_t last = value->size() - 1;
  bool isMask = nn::typeOf(constant.getResult()).getElementType().isInteger(1);
  if (value->isReal)
    value->reals[last] = std::isfinite(value->reals[last]) ? 1.25 * value->reals[last] + 0.1 : -1.0;
  else
    value->integers[last] = isMask ? 1 - value->integers[last] : value->integers[last] + 1;
  constant.setValueAttr(value->toAttribute(nn::typeOf(constant.getResult())));
  return "the last element of a constant is another one";
}

/// True is false, a number is another one, the last two numbers of a list trade places.
std::string useAnotherAttribute(func::FuncOp function, size_t n, StringAttr name) {
  Operation *op = opAt(function, n);
  Attribute old = op->getAttr(name), changed;
  Builder builder(function.getContext());
  if (auto flag = dyn_cast<BoolAttr>(old))
    changed = builder.getBoolAttr(!flag.getValue());
  else if (auto integer = dyn_cast<IntegerAttr>(old))
    changed = IntegerAttr::get(integer.getType(), integer.getInt() > 0 ? integer.getInt() - 1 : integer.getInt() + 1);
  else if (auto real = dyn_cast<FloatAttr>(old))
    changed = FloatAttr::get(real.getType(), 1.25 * real.getValueAsDouble());
  else if (auto list = dyn_cast<DenseI64ArrayAttr>(old); list && list.size() > 1) {
    SmallVector<int64_t> swapped(list.asArrayRef());
    std::swap(swapped[swapped.size() - 2], swapped.back());
    changed = builder.getDenseI64ArrayAttr(swapped);
  }
  if (!changed || isa<arith::ConstantOp>(op))
    return "";
  op->setAttr(name, changed);
  return name.str() + " of " + op->getName().getStringRef().str() + " is another one";
}

std::string swapOperands(func::FuncOp function, size_t n, unsigned first) {
  Operation *op = opAt(function, n);
  Value a = op->getOperand(first), b = op->getOperand(first + 1);
  op->setOperand(first, b);
  op->setOperand(first + 1, a);
  return "operands " + std::to_string(first) + " and " + std::to_string(first + 1) + " of " + op->getName().getStringRef().str() + " are swapped";
}

TEST_P(RewritesTest, KeepsResultsOfNearMisses) {
  for (OwningOpRef<ModuleOp> &module : cases())
    for (auto function : module->getOps<func::FuncOp>()) {
      size_t n = 0;
      for (Operation &op : function.getBody().front()) {
        for (unsigned i = 0; i < op.getNumOperands(); ++i)
          expectKept(function, [&](func::FuncOp clone) { return useAnotherValue(clone, n, i); });
        for (unsigned i = 0; i + 1 < op.getNumOperands(); ++i)
          if (op.getOperand(i).getType() == op.getOperand(i + 1).getType() && op.getOperand(i) != op.getOperand(i + 1) && !op.hasTrait<OpTrait::IsCommutative>())
            expectKept(function, [&](func::FuncOp clone) { return swapOperands(clone, n, i); });
        for (NamedAttribute attribute : op.getAttrs())
          expectKept(function, [&](func::FuncOp clone) { return useAnotherAttribute(clone, n, attribute.getName()); });
        expectKept(function, [&](func::FuncOp clone) { return useAnotherConstant(clone, n); });
        ++n;
      }
    }
  EXPECT_GT(tried, 10);
}

TEST_P(RewritesTest, KeepsResults) {
  for (OwningOpRef<ModuleOp> &module : cases()) {
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
