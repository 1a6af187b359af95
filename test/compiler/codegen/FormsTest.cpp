//===- FormsTest.cpp - kernels that are not (rows, columns), against the interpreter -----===//
#include "KernelHarness.h"

using namespace llmc;
using namespace llmc::test;

namespace {

/// A function of adamw updates of tensors of the given sizes, every second one without decay.
std::string adamw(llvm::ArrayRef<int64_t> sizes, const std::string &type, const std::string &prologue, const std::string &lr) {
  std::string arguments = "%lr: tensor<f32>, %scale: tensor<f32>, %c1: tensor<f32>, %c2: tensor<f32>", body = prologue, returned, types;
  for (size_t i = 0; i < sizes.size(); ++i) {
    std::string n = std::to_string(i), t = "tensor<" + std::to_string(sizes[i]) + "x" + type + ">";
    arguments += ", %p" + n + ": " + t + ", %g" + n + ": " + t + ", %m" + n + ": " + t + ", %v" + n + ": " + t;
    body += " %q" + n + ":3 = nn.adamw %p" + n + ", %g" + n + ", %m" + n + ", %v" + n + ", " + lr +
            ", %scale, %c1, %c2 {beta1 = 0.9, beta2 = 0.95, epsilon = 1.0e-8, decay = " + (i % 2 ? "0.0" : "0.1") + "} : (" + t + ", " + t +
            ", " + t + ", " + t + ", tensor<f32>, tensor<f32>, tensor<f32>, tensor<f32>) -> (" + t + ", " + t + ", " + t + ")\n";
    std::string comma = i ? ", " : "";
    returned += comma + "%q" + n + "#0, %q" + n + "#1, %q" + n + "#2";
    types += comma + t + ", " + t + ", " + t;
  }
  return "func.func private @k(" + arguments + ") -> (" + types + ") {\n" + body + " return " + returned + " : " + types + "\n}";
}

/// Learning rate, scale and corrections of a real step; second moments are not negative.
void likeTraining(std::vector<HostTensor> &arguments) {
  const double scalars[] = {3e-2, 0.5, 0.271, 0.143};
  for (int i = 0; i < 4; ++i)
    arguments[i].reals[0] = scalars[i];
  for (size_t i = 7; i < arguments.size(); i += 4)
    for (double &entry : arguments[i].reals)
      entry = std::abs(entry);
}

// Tensors of one chunk, of several, of a part of one, of nothing; the number of them is no power of two.
TEST(Optimizer, AdamWUpdatesManyTensors) {
  compareWithInterpreter(adamw({5, 70000, 32768, 1, 0, 100}, "f32", "", "%lr"), 4e-6, likeTraining);
}
TEST(Optimizer, AdamWInF64) { compareWithInterpreter(adamw({77, 3}, "f64", "", "%lr"), 1e-12, likeTraining); }
TEST(Optimizer, AdamWInBF16) { compareWithInterpreter(adamw({77, 64}, "bf16", "", "%lr"), 8e-3, likeTraining); }
// Scalars that the kernel computes itself.
TEST(Optimizer, ScalarsBeforeTheUpdate) {
  compareWithInterpreter(adamw({40, 3}, "f32",
                               "%w = arith.extf %lr : tensor<f32> to tensor<f64>\n%h = arith.constant dense<0.5> : tensor<f64>\n"
                               "%x = arith.mulf %w, %h : tensor<f64>\n%e = math.exp %x : tensor<f64>\n%r = arith.truncf %e : tensor<f64> to tensor<f32>\n",
                               "%r"),
                         4e-6, likeTraining);
}
TEST(Optimizer, SgdWithAndWithoutNesterov) {
  auto sgd = [](const std::string &n, const std::string &nesterov) {
    return " %q" + n + ":2 = nn.sgd %p" + n + ", %g" + n + ", %b" + n + ", %lr, %s {momentum = 0.9, decay = 0.1, nesterov = " + nesterov +
           "} : (tensor<70xf32>, tensor<70xf32>, tensor<70xf32>, tensor<f32>, tensor<f32>) -> (tensor<70xf32>, tensor<70xf32>)\n";
  };
  compareWithInterpreter("func.func private @k(%lr: tensor<f32>, %s: tensor<f32>, %p0: tensor<70xf32>, %g0: tensor<70xf32>, %b0: tensor<70xf32>,"
                         " %p1: tensor<70xf32>, %g1: tensor<70xf32>, %b1: tensor<70xf32>) -> (tensor<70xf32>, tensor<70xf32>, tensor<70xf32>, tensor<70xf32>) {\n" +
                             sgd("0", "true") + sgd("1", "false") +
                             " return %q1#0, %q1#1, %q0#0, %q0#1 : tensor<70xf32>, tensor<70xf32>, tensor<70xf32>, tensor<70xf32>\n}",
                         4e-6);
}

TEST(SumOfSquares, AddsUpManyTensors) {
  compareWithInterpreter("func.func private @k(%a: tensor<100000xf32>, %b: tensor<3x5xf32>, %c: tensor<0xf32>, %d: tensor<32768xf32>) -> tensor<f32> {\n"
                         " %0 = nn.sum_of_squares %a, %b, %c, %d : (tensor<100000xf32>, tensor<3x5xf32>, tensor<0xf32>, tensor<32768xf32>) -> tensor<f32>\n"
                         " return %0 : tensor<f32>\n}",
                         1e-6);
}
// Two element types, and the clip factor computed from the sum.
TEST(SumOfSquares, ScalarsAfterTheSum) {
  compareWithInterpreter("func.func private @k(%a: tensor<1000xf32>, %b: tensor<50xbf16>, %m: tensor<f32>) -> (tensor<f32>, tensor<f32>) {\n"
                         " %0 = nn.sum_of_squares %a, %b : (tensor<1000xf32>, tensor<50xbf16>) -> tensor<f32>\n"
                         " %1 = math.sqrt %0 : tensor<f32>\n %2 = arith.divf %m, %1 : tensor<f32>\n return %1, %2 : tensor<f32>, tensor<f32>\n}",
                         1e-6);
}

} // namespace
