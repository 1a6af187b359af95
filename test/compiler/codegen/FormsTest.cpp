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
// A gradient's scale of zero keeps parameter and state, bit for bit.
TEST(Optimizer, AScaleOfZeroChangesNothing) {
  compareWithInterpreter(adamw({70, 3}, "f32", "", "%lr"), 0, [](std::vector<HostTensor> &arguments) {
    likeTraining(arguments);
    arguments[1].reals[0] = 0;
  });
}
// The same of SGD, whose result is compared with what was there.
TEST(Optimizer, AScaleOfZeroKeepsMomentum) {
  for (const char *nesterov : {"false", "true"})
    for (const char *decay : {"0.0", "0.1"}) {
      std::string t = "tensor<70xf32>", text = "func.func private @k(%lr: tensor<f32>, %s: tensor<f32>, %p: " + t + ", %g: " + t + ", %b: " + t + ") -> (" + t + ", " + t +
                      ") {\n %q:2 = nn.sgd %p, %g, %b, %lr, %s {momentum = 0.9, decay = " + decay + ", nesterov = " + nesterov + "} : (" + t + ", " + t + ", " + t +
                      ", tensor<f32>, tensor<f32>) -> (" + t + ", " + t + ")\n return %q#0, %q#1 : " + t + ", " + t + "\n}";
      std::vector<HostTensor> arguments = {{{}, true, {0.1}, {}}, {{}, true, {0}, {}}};
      for (double first : {1.0, -2.0, 0.25}) {
        arguments.push_back({{70}, true, {}, {}});
        for (int i = 0; i < 70; ++i)
          arguments.back().reals.push_back(first + 0.125 * i);
      }
      auto results = resultsOf(text, arguments);
      ASSERT_EQ(results.size(), 2u);
      EXPECT_EQ(results[0].reals, arguments[2].reals) << "nesterov " << nesterov << ", decay " << decay;
      EXPECT_EQ(results[1].reals, arguments[4].reals) << "nesterov " << nesterov << ", decay " << decay;
      compareWithInterpreter(text, 0, [](std::vector<HostTensor> &values) { values[1].reals[0] = 0; });
    }
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

std::string scatter(int64_t rows, int64_t columns, int64_t positions, bool added, const std::string &index, const std::string &type) {
  std::string t = "tensor<" + std::to_string(rows) + "x" + std::to_string(columns) + "x" + type + ">", i = "tensor<" + std::to_string(positions) + "x" + index + ">",
              u = "tensor<" + std::to_string(positions) + "x" + std::to_string(columns) + "x" + type + ">";
  return "func.func private @k(%i: " + i + ", %u: " + u + (added ? ", %o: " + t : "") + ") -> " + t + " {\n %0 = nn.scatter_add %i, %u : (" + i + ", " + u +
         ") -> " + t + "\n" + (added ? " %1 = arith.addf %0, %o : " + t + "\n return %1 : " : " return %0 : ") + t + "\n}";
}

/// Indices from the whole range of `size` entries, a third of them counted from the end.
void spreadIndices(std::vector<HostTensor> &arguments, size_t which, int64_t size) {
  int64_t i = 0;
  for (int64_t &entry : arguments[which].integers) {
    entry = (i * 7919 + i * i) % size;
    entry -= i++ % 3 == 0 ? size : 0;
  }
}

// Rows that occur often, once and never; more positions than rows and fewer.
TEST(Scatter, AddsRowsInOrder) {
  compareWithInterpreter(scatter(50, 72, 186, false, "i64", "f32"), 4e-6, [](auto &arguments) { spreadIndices(arguments, 0, 50); });
  compareWithInterpreter(scatter(3000, 300, 40, false, "i32", "f32"), 4e-6, [](auto &arguments) { spreadIndices(arguments, 0, 3000); });
  compareWithInterpreter(scatter(9, 3, 100, false, "i64", "f64"), 1e-14, [](auto &arguments) { spreadIndices(arguments, 0, 9); });
}

// f32 sums of a row go from the first position to the last: 1e8 + 1 is rounded to 1e8, 1e8 - 1e8 + 1 is 1.
TEST(Scatter, AddsInTheOrderOfPositions) {
  constexpr int64_t columns = 40;
  auto sums = [&](const std::vector<int64_t> &rows, const std::vector<double> &values) {
    auto count = static_cast<int64_t>(rows.size());
    HostTensor indices{{count}, false, {}, rows}, updates{{count, columns}, true, {}, {}};
    for (double value : values)
      updates.reals.insert(updates.reals.end(), columns, value);
    auto results = resultsOf(scatter(3, columns, count, false, "i64", "f32"), {indices, updates});
    EXPECT_EQ(results.size(), 1u);
    std::vector<double> found;
    for (int64_t row = 0; row < 3; ++row) {
      found.push_back(results[0].reals[row * columns]);
      for (int64_t column = 1; column < columns; ++column)
        EXPECT_EQ(results[0].reals[row * columns + column], found.back());
    }
    return found;
  };
  EXPECT_EQ(sums({1, 1, 1}, {1e8, 1, -1e8}), (std::vector<double>{0, 0, 0}));
  EXPECT_EQ(sums({1, 1, 1}, {1e8, -1e8, 1}), (std::vector<double>{0, 1, 0}));
  EXPECT_EQ(sums({1, 0, 2, 1, 2, 0, 1, 2, 0}, {1, 1e8, -1e8, 1e8, 1e8, 1, -1e8, 1, -1e8}), (std::vector<double>{0, 0, 1}));
}
// A tied embedding: in place over the gradient of the head, or into memory of its own.
TEST(Scatter, AddsToAnotherTensor) {
  compareWithInterpreter(scatter(500, 256, 64, true, "i64", "f32"), 4e-6, [](auto &arguments) { spreadIndices(arguments, 0, 500); });
  compareWithInterpreter(scatter(50, 33, 64, true, "i64", "bf16"), 8e-3, [](auto &arguments) { spreadIndices(arguments, 0, 50); });
}

// One row for all positions, which an embedding of token types has; one update for all, which counts.
TEST(Scatter, ConstantOperands) {
  compareWithInterpreter("func.func private @k(%u: tensor<8x4x70xf32>) -> tensor<2x70xf32> {\n %i = arith.constant dense<-1> : tensor<8x4xi64>\n"
                         " %0 = nn.scatter_add %i, %u : (tensor<8x4xi64>, tensor<8x4x70xf32>) -> tensor<2x70xf32>\n return %0 : tensor<2x70xf32>\n}",
                         4e-6);
  compareWithInterpreter("func.func private @k(%i: tensor<256x1xi64>) -> tensor<256x7xf32> {\n %u = arith.constant dense<1.0> : tensor<256x1xf32>\n"
                         " %0 = nn.scatter_add_along %i, %u {axis = 1 : i64} : (tensor<256x1xi64>, tensor<256x1xf32>) -> tensor<256x7xf32>\n"
                         " return %0 : tensor<256x7xf32>\n}",
                         0);
}

std::string alongAxis(const std::string &whole, const std::string &picked, const std::string &axis) {
  std::string i = "tensor<" + picked + "xi64>", u = "tensor<" + picked + "xf32>", t = "tensor<" + whole + "xf32>";
  return "func.func private @k(%i: " + i + ", %u: " + u + ") -> " + t + " {\n %0 = nn.scatter_add_along %i, %u {axis = " + axis + " : i64} : (" + i + ", " + u +
         ") -> " + t + "\n return %0 : " + t + "\n}";
}
TEST(Along, ScatterAddAlongEachAxis) {
  compareWithInterpreter(alongAxis("40x7x5", "40x7x9", "2"), 4e-6, [](auto &arguments) { spreadIndices(arguments, 0, 5); });
  compareWithInterpreter(alongAxis("4x7x50", "4x9x50", "1"), 4e-6, [](auto &arguments) { spreadIndices(arguments, 0, 7); });
  compareWithInterpreter(alongAxis("300x3", "2x3", "0"), 4e-6, [](auto &arguments) { spreadIndices(arguments, 0, 300); });
}

// Ties go to the lower index, also when only one of the results is used.
TEST(Along, TopK) {
  auto ties = [](std::vector<HostTensor> &arguments) {
    for (double &entry : arguments[0].reals)
      entry = std::round(entry * 2);
  };
  compareWithInterpreter("func.func private @k(%x: tensor<5x40x9xf32>) -> (tensor<5x40x3xf32>, tensor<5x40x3xi64>) {\n"
                         " %0, %1 = nn.top_k %x : (tensor<5x40x9xf32>) -> (tensor<5x40x3xf32>, tensor<5x40x3xi64>)\n"
                         " return %0, %1 : tensor<5x40x3xf32>, tensor<5x40x3xi64>\n}",
                         0, ties);
  compareWithInterpreter("func.func private @k(%x: tensor<40x9xbf16>) -> tensor<40x9xi32> {\n"
                         " %0, %1 = nn.top_k %x : (tensor<40x9xbf16>) -> (tensor<40x9xbf16>, tensor<40x9xi32>)\n return %1 : tensor<40x9xi32>\n}",
                         0, ties);
}

std::string reduction(const std::string &from, const std::string &dims, const std::string &to, int kind) {
  std::string f = "tensor<" + from + ">", t = "tensor<" + to + ">";
  return "func.func private @k(%x: " + f + ") -> " + t + " {\n %0 = nn.reduce %x {kind = " + std::to_string(kind) + " : i32, dims = array<i64: " + dims + ">} : (" +
         f + ") -> " + t + "\n return %0 : " + t + "\n}";
}
// Over the middle, and as a batch norm reduces: around the channels.
TEST(Reduce, DimensionsInTheMiddle) {
  for (int kind = 0; kind < 4; ++kind) {
    compareWithInterpreter(reduction("6x40x33xf32", "1", "6x33xf32", kind), 4e-6);
    compareWithInterpreter(reduction("8x5x9x7xf32", "0, 2, 3", "5xf32", kind), 4e-6);
  }
  compareWithInterpreter(reduction("3x4x5x6xf64", "0, 2", "4x6xf64", 1), 1e-12);
  compareWithInterpreter(reduction("3x4x5xi64", "1", "3x5xi64", 4), 0);
  compareWithInterpreter(reduction("3x40x5xbf16", "1", "3x5xbf16", 0), 8e-3);
}

std::string transposed(const std::string &from, const std::string &to, const std::string &permutation) {
  std::string f = "tensor<" + from + ">", t = "tensor<" + to + ">";
  return "func.func private @k(%x: " + f + ") -> " + t + " {\n %0 = nn.transpose %x {permutation = array<i64: " + permutation + ">} : (" + f + ") -> " + t +
         "\n return %0 : " + t + "\n}";
}
// Whole tiles and rests of them, elements of each size, dimensions around and between.
TEST(Transpose, Tiles) {
  compareWithInterpreter(transposed("72x300xf32", "300x72xf32", "1, 0"), 0);
  compareWithInterpreter(transposed("3x130x5xf32", "5x130x3xf32", "2, 1, 0"), 0);
  compareWithInterpreter(transposed("2x40x3x17xf64", "2x3x17x40xf64", "0, 2, 3, 1"), 0);
  compareWithInterpreter(transposed("33x70xbf16", "70x33xbf16", "1, 0"), 0);
  compareWithInterpreter(transposed("33x70xi1", "70x33xi1", "1, 0"), 0);
  compareWithInterpreter(transposed("2x9x3x16xf32", "2x3x9x16xf32", "0, 2, 1, 3"), 0); // rows stay rows
}

} // namespace
