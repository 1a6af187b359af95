//===- CpuKernelsTest.cpp - generated kernels against the interpreter ------------------===//
//
// Each case is one kernel function over f32 tensors (and i64 labels). It is generated, loaded, run workgroup by workgroup
// forward and backward (which must give equal bits), and compared with the interpreter in f64.
//
//===----------------------------------------------------------------------===//
#include "KernelHarness.h"

using namespace llmc;

namespace {

struct Case {
  const char *name;
  std::string text; // one function @k
};
void PrintTo(const Case &c, std::ostream *stream) { *stream << c.name; }

class CpuKernels : public testing::TestWithParam<Case> {};

TEST_P(CpuKernels, AgreeWithTheInterpreter) { test::compareWithInterpreter(GetParam().text, 4e-6); }

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
/// The first result may take the place of %a, which the second one still needs.
std::string crossed(const std::string &shape) {
  std::string t = "tensor<" + shape + "f32>";
  return "func.func private @k(%a: " + t + ", %b: " + t + ") -> (" + t + ", " + t + ") {\n %0 = math.absf %b : " + t + "\n %1 = arith.mulf %a, %0 : " +
         t + "\n return %0, %1 : " + t + ", " + t + "\n}";
}

/// Whether rows of a table are the rank's own, their place there, and zeros for those that are not.
const char *const kOwn = "func.func private @k(%i: tensor<50xi64>) -> (tensor<50xi1>, tensor<50xi64>) {\n %p = arith.constant dense<1> : tensor<50xi64>\n"
                         " %n = arith.constant dense<3> : tensor<50xi64>\n %0 = arith.divsi %i, %n : tensor<50xi64>\n"
                         " %1 = arith.cmpi eq, %0, %p : tensor<50xi64>\n %2 = arith.remsi %i, %n : tensor<50xi64>\n"
                         " return %1, %2 : tensor<50xi1>, tensor<50xi64>\n}";
const char *const kMasked = "func.func private @k(%m: tensor<50xi1>, %x: tensor<50x31xf32>) -> tensor<50x31xf32> {\n"
                            " %0 = nn.broadcast %m {dims = array<i64: 0>} : (tensor<50xi1>) -> tensor<50x31xi1>\n"
                            " %1 = arith.constant dense<0.0> : tensor<50x31xf32>\n"
                            " %2 = arith.select %0, %x, %1 : tensor<50x31xi1>, tensor<50x31xf32>\n return %2 : tensor<50x31xf32>\n}";

/// Dropout of a part [samples, rows, columns] of a tensor that has more of each, whose entries it numbers; of a whole one without `strides`.
std::string dropout(int64_t rows, int64_t columns, const std::string &strides) {
  std::string t = "tensor<3x" + std::to_string(rows) + "x" + std::to_string(columns) + "xf32>",
              p = strides.empty() ? "tensor<2xi64>" : "tensor<3xi64>";
  return "func.func private @k(%x: " + t + ", %p: " + p + ") -> " + t + " {\n %0 = nn.dropout %x, %p {ratio = 0.4 : f64, seed = 5 : i64, id = 1 : i64" +
         (strides.empty() ? "" : ", strides = array<i64: " + strides + ">") + "} : (" + t + ", " + p + ") -> " + t + "\n return %0 : " + t + "\n}";
}

INSTANTIATE_TEST_SUITE_P(Fused, CpuKernels,
                         testing::Values(Case{"gelu_1", elementwise(3, 1)}, Case{"gelu_31", elementwise(5, 31)}, Case{"gelu_257", elementwise(40, 257)},
                                         Case{"layer_norm_72", layerNorm(31, 72)}, Case{"layer_norm_768", layerNorm(64, 768)},
                                         Case{"softmax_31", softmax(9, 31)}, Case{"softmax_257", softmax(33, 257)},
                                         Case{"column_sum_72", columnSum(186, 72)}, Case{"column_sum_257", columnSum(1000, 257)},
                                         Case{"crossed_scalars", crossed("")}, Case{"crossed_column", crossed("6x1x")}, Case{"crossed_rows", crossed("3x5x")},
                                         Case{"dropout", dropout(7, 31, "")}, Case{"dropout_of_rows", dropout(7, 31, "31, 1")},
                                         Case{"dropout_of_columns", dropout(7, 31, "62, 1")}, Case{"dropout_far", dropout(7, 31, "4294967296, 3")},
                                         Case{"own_rows", kOwn}, Case{"masked_rows", kMasked}),
                         [](const auto &info) { return std::string(info.param.name); });

} // namespace
