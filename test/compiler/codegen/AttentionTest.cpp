//===- AttentionTest.cpp - attention kernels against the interpreter ---------------===//
//
// Each shape is run forward and backward, with the workgroups in both orders (which must give equal bits), and compared with
// the interpreter in f64. The backward kernel gets the interpreter's result and log-sum-exp.
//
//===----------------------------------------------------------------------===//
#include "compiler/driver/Pipeline.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "test/compiler/codegen/AttentionText.h"
#include "test/compiler/codegen/KernelHarness.h"
#include <cmath>
#include <gtest/gtest.h>
#include <random>

using namespace mlir;
using namespace llmc;
using namespace llmc::test;

namespace {

struct Case {
  const char *name;
  AttentionShape shape;
};
void PrintTo(const Case &c, std::ostream *stream) { *stream << c.name; }

class Attention : public testing::TestWithParam<Case> {
protected:
  Attention() : context(registry()) { context.loadAllAvailableDialects(); }
  static DialectRegistry registry() {
    DialectRegistry result;
    driver::registerAllDialects(result);
    return result;
  }

  HostTensor randomTensor(Type type) {
    std::uniform_real_distribution<float> value(-2.0f, 2.0f);
    HostTensor tensor = HostTensor::zeros(type);
    for (double &entry : tensor.reals)
      entry = value(random);
    for (int64_t &entry : tensor.integers)
      entry = static_cast<int64_t>(random() % 3 != 0);
    // Some rows of a mask of seen keys see nothing, or only the last key.
    if (tensor.isReal)
      return tensor;
    int64_t keys = tensor.shape[3];
    for (int64_t row = 0; row < tensor.size() / keys; row += 5)
      for (int64_t key = 0; key < keys; ++key)
        tensor.integers[row * keys + key] = row % 2 && key == keys - 1;
    return tensor;
  }

  /// Runs @k of `text`, compares with the interpreter and returns what it got.
  std::vector<HostTensor> check(const std::string &text, std::vector<HostTensor> given) {
    OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(text, &context);
    if (!module) {
      ADD_FAILURE() << text;
      return {};
    }
    auto function = *module->getOps<func::FuncOp>().begin();
    std::vector<Storage> inputs;
    for (auto [i, type] : llvm::enumerate(function.getArgumentTypes())) {
      if (i == given.size())
        given.push_back(randomTensor(type));
      roundTo(getElementTypeOrSelf(type), given[i]);
      inputs.push_back(toStorage(given[i], type));
    }
    arguments = given;
    auto expected = reference::Interpreter(reference::Arithmetic::F64).run(function, given);
    codegen::CpuOptions options;
    options.cpu = cpu;
    auto image = codegen::generateCpuKernels(*module, options);
    if (failed(expected) || !image) {
      ADD_FAILURE() << (image ? "interpreter" : llvm::toString(image.takeError()));
      return {};
    }
    LoadedImage loaded(image->elf);
    TypeRange types = function.getResultTypes();
    auto outputs = runKernel(loaded, image->kernels.front(), inputs, types);
    auto reversed = runKernel(loaded, image->kernels.front(), inputs, types, {.backward = true});
    for (size_t r = 0; r < outputs.size(); ++r) {
      EXPECT_EQ(std::memcmp(outputs[r].data.get(), reversed[r].data.get(), outputs[r].size), 0) << "result " << r;
      compare((*expected)[r], fromStorage(outputs[r], types[r]), getElementTypeOrSelf(types[r]).isF32() ? 4e-6 : 5e-3, r);
    }
    return *expected;
  }

  void compare(const HostTensor &expected, const HostTensor &got, double tolerance, size_t result) {
    double largest = 1.0;
    for (double entry : expected.reals)
      largest = std::isfinite(entry) ? std::max(largest, std::abs(entry)) : largest;
    for (int64_t i = 0; i < expected.size(); ++i) {
      double entry = expected.reals[i];
      bool equal = std::isfinite(entry) ? std::abs(got.reals[i] - entry) <= tolerance * largest : got.reals[i] == entry;
      ASSERT_TRUE(equal) << "result " << result << " entry " << i << ": " << got.reals[i] << " instead of " << entry;
    }
  }

  /// Forward, then backward with the interpreter's results.
  void checkBoth(const AttentionShape &shape) {
    std::vector<HostTensor> results = check(attentionText(shape, false), {});
    ASSERT_EQ(results.size(), 2u);
    std::vector<HostTensor> inputs = arguments;
    std::optional<HostTensor> mask;
    if (shape.mask != AttentionShape::None) {
      mask = inputs.back();
      inputs.pop_back();
    }
    results[0].shape = {shape.B, shape.T, shape.H, shape.E};
    inputs.push_back(results[0]);
    inputs.push_back(results[1]);
    inputs.push_back(randomTensor(RankedTensorType::get(results[0].shape, Float32Type::get(&context))));
    if (mask)
      inputs.push_back(*mask);
    check(attentionText(shape, true), inputs);
  }

  std::string cpu;
  MLIRContext context;
  std::mt19937 random{3};
  std::vector<HostTensor> arguments;
};

TEST_P(Attention, AgreesWithTheInterpreter) { checkBoth(GetParam().shape); }

// Processors without AVX-512 have half as many registers of half the size.
TEST_P(Attention, AgreesWithTheInterpreterOnSmallerProcessors) {
  cpu = "x86-64-v3";
  checkBoth(GetParam().shape);
}

using S = AttentionShape;
INSTANTIATE_TEST_SUITE_P(
    Shapes, Attention,
    testing::Values(
        // B, T, H, D, S, G, E
        Case{"causal", S{2, 100, 3, 16, 100, 3, 16}}, Case{"whole_blocks", S{1, 128, 2, 64, 128, 2, 64}},
        Case{"all_seen", S{1, 70, 2, 32, 70, 2, 32, false}}, Case{"size_20", S{2, 67, 2, 20, 67, 2, 20}},
        Case{"size_12", S{1, 31, 3, 12, 31, 3, 12}}, Case{"size_128", S{1, 130, 1, 128, 130, 1, 128}},
        Case{"other_value_size", S{1, 40, 2, 24, 40, 2, 17}}, Case{"one_token", S{2, 1, 2, 8, 1, 2, 8}},
        Case{"long_head", S{1, 20, 1, 700, 20, 1, 300}}, Case{"grouped", S{2, 80, 6, 16, 80, 2, 16}},
        Case{"one_key_head", S{1, 200, 4, 8, 200, 1, 8}}, Case{"more_keys", S{1, 30, 2, 16, 150, 2, 16}},
        Case{"fewer_keys", S{1, 150, 2, 16, 30, 2, 16}}, Case{"cross", S{2, 50, 2, 16, 90, 2, 16, false}},
        Case{"seen_mask", S{2, 70, 2, 16, 70, 2, 16, false, S::Seen}},
        Case{"seen_mask_whole", S{2, 33, 2, 16, 50, 2, 16, false, S::Seen, 2, 2}},
        Case{"additive_mask", S{2, 70, 2, 16, 70, 2, 16, true, S::Additive}},
        Case{"additive_mask_per_head", S{2, 33, 4, 16, 81, 2, 16, false, S::Additive, 1, 4}},
        Case{"fused", S{2, 67, 3, 16, 67, 3, 16, true, S::None, 1, 1, true}},
        Case{"fused_grouped", S{1, 140, 4, 20, 140, 2, 20, true, S::Seen, 1, 1, true}},
        Case{"many_blocks", S{1, 300, 1, 8, 300, 1, 8}}, Case{"bf16", S{1, 90, 2, 20, 90, 1, 20, true, S::Additive, 1, 1, false, "bf16"}}),
    [](const auto &info) { return std::string(info.param.name); });

class AttentionViews : public Attention {};

// Operands and results that are views: merged from parts that lie one after the other, transposed, of one value; the result is transposed and merged.
TEST_F(AttentionViews, AgreeWithTheInterpreter) {
  check(R"(module { func.func @k(%qp: tensor<2x30x3x2x8xf32>, %kt: tensor<2x3x40x16xf32>, %vt: tensor<16x2x40x3xf32>) -> (tensor<2x3x480xf32>, tensor<2x3x30xf32>) {
    %m = arith.constant dense<-0.5> : tensor<1x1x30x40xf32>
    %q = tensor.collapse_shape %qp [[0], [1], [2], [3, 4]] : tensor<2x30x3x2x8xf32> into tensor<2x30x3x16xf32>
    %k = nn.transpose %kt {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x3x40x16xf32>) -> tensor<2x40x3x16xf32>
    %v = nn.transpose %vt {permutation = array<i64: 1, 2, 3, 0>} : (tensor<16x2x40x3xf32>) -> tensor<2x40x3x16xf32>
    %o, %l = nn.attention %q, %k, %v, %m {scale = 0.25 : f64, causal = false} : (tensor<2x30x3x16xf32>, tensor<2x40x3x16xf32>, tensor<2x40x3x16xf32>, tensor<1x1x30x40xf32>) -> (tensor<2x30x3x16xf32>, tensor<2x3x30xf32>)
    %t = nn.transpose %o {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x30x3x16xf32>) -> tensor<2x3x30x16xf32>
    %y = tensor.collapse_shape %t [[0], [1], [2, 3]] : tensor<2x3x30x16xf32> into tensor<2x3x480xf32>
    return %y, %l : tensor<2x3x480xf32>, tensor<2x3x30xf32>
  } })",
        {});
  // A mask of one value that hides nothing, or everything: nothing is seen then, and the result is zero.
  for (const char *seen : {"true", "false"})
    check(std::string(R"(module { func.func @k(%q: tensor<1x20x2x8xf32>, %k: tensor<1x20x2x8xf32>, %v: tensor<1x20x2x8xf32>) -> tensor<1x20x2x8xf32> {
    %m = arith.constant dense<)") + seen + R"(> : tensor<1x1x20x20xi1>
    %o, %l = nn.attention %q, %k, %v, %m {scale = 0.25 : f64, causal = true} : (tensor<1x20x2x8xf32>, tensor<1x20x2x8xf32>, tensor<1x20x2x8xf32>, tensor<1x1x20x20xi1>) -> (tensor<1x20x2x8xf32>, tensor<1x2x20xf32>)
    return %o : tensor<1x20x2x8xf32>
  } })",
          {});
}

} // namespace
