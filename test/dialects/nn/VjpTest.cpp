//===- VjpTest.cpp - every derivative and factor rule, in f64 --------------------------===//
//
// Derivatives are compared with central differences; and function and derivative are computed by simulated ranks, with
// each input cut along each dimension that divides, and compared with one rank. Each case is the body of a function of
// %x (and %y, %z); its result is weighted with fixed numbers and summed, so that every entry of the Jacobian counts. |a
// - b| <= 1e-6 max(1, largest |b|).
//
//===----------------------------------------------------------------------===//
#include "compiler/driver/Pipeline.h"
#include "compiler/reference/Interpreter.h"
#include "compiler/reference/Ranks.h"
#include "dialects/dist/Dist.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "passes/autodiff/Passes.h"
#include "passes/sharding/Passes.h"
#include <gtest/gtest.h>
#include <random>

using namespace mlir;
using namespace llmc;

namespace {

struct Case {
  const char *name;
  std::vector<std::string> inputs; // shapes of %x, %y, %z, as in tensor<SHAPExf64>
  std::string result;              // shape of %r
  std::string body;                // defines %r
  double low = -1.5, high = 1.5;   // range of the inputs
};

void PrintTo(const Case &c, std::ostream *stream) { *stream << c.name; }

std::string tensor(const std::string &shape) { return "tensor<" + (shape.empty() ? "" : shape + "x") + "f64>"; }

std::vector<int64_t> dims(const std::string &shape) {
  std::vector<int64_t> result;
  SmallVector<StringRef> parts;
  StringRef(shape).split(parts, 'x', -1, false);
  for (StringRef part : parts)
    result.push_back(std::stoll(part.str()));
  return result;
}

/// @f computes sum(weights * r); @g its gradient for every input.
std::string moduleText(const Case &c) {
  std::string names[] = {"%x", "%y", "%z"}, arguments, operands, types, gradients, wrt;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    arguments += (i ? ", " : "") + names[i] + ": " + tensor(c.inputs[i]);
    operands += (i ? ", " : "") + names[i];
    types += (i ? ", " : "") + tensor(c.inputs[i]);
    wrt += (i ? ", " : "") + std::to_string(i);
  }
  std::string r = tensor(c.result), reduced;
  for (size_t d = 0; d < dims(c.result).size(); ++d)
    reduced += (d ? ", " : "") + std::to_string(d);
  arguments += ", %weights: " + r;
  std::string callTypes = "(" + types + ", " + r + ")", count = std::to_string(c.inputs.size());
  std::string results;
  for (size_t i = 0; i < c.inputs.size(); ++i)
    results += (i ? ", " : "") + ("%g#" + std::to_string(i + 1));
  return "func.func @f(" + arguments + ") -> tensor<f64> {\n" + c.body +
         "\n  %weighted = arith.mulf %r, %weights : " + r +
         "\n  %sum = nn.reduce %weighted {kind = 0 : i32, dims = array<i64" + (reduced.empty() ? "" : ": " + reduced) +
         ">} : (" + r + ") -> tensor<f64>\n  return %sum : tensor<f64>\n}\nfunc.func @g(" + arguments + ") -> (" +
         types + ") {\n  %g:" + std::to_string(c.inputs.size() + 1) + " = train.value_and_grad @f(" + operands +
         ", %weights) {wrt = array<i64: " + wrt + ">} : " + callTypes + " -> (tensor<f64>, " + types + ")\n  return " +
         results + " : " + types + "\n}\n";
}

class Vjp : public testing::TestWithParam<Case> {};

/// The module of a case, its derivative expanded.
OwningOpRef<ModuleOp> parse(const Case &c, MLIRContext &context) {
  DialectRegistry registry;
  driver::registerAllDialects(registry);
  context.appendDialectRegistry(registry);
  context.loadAllAvailableDialects();
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(moduleText(c), &context);
  EXPECT_TRUE(module) << moduleText(c);
  PassManager pm(&context);
  pm.addPass(autodiff::createAutodiffExpand());
  EXPECT_TRUE(succeeded(pm.run(*module)));
  return module;
}

/// Values of the inputs and of the weights.
std::vector<HostTensor> makeArguments(const Case &c) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> value(c.low, c.high), weight(-1.0, 1.0);
  std::vector<HostTensor> arguments;
  auto make = [&](const std::string &shape, auto &distribution) {
    HostTensor t;
    auto extents = dims(shape);
    t.shape.assign(extents.begin(), extents.end());
    t.reals.resize(t.size());
    for (double &entry : t.reals)
      entry = distribution(random);
    return t;
  };
  for (const std::string &shape : c.inputs)
    arguments.push_back(make(shape, value));
  arguments.push_back(make(c.result, weight));
  return arguments;
}

/// Which axes cut which dimensions of an argument.
using Cut = std::pair<size_t, size_t>; // argument, dimension

/// Both functions on the ranks of a mesh of one axis per cut, with these cuts of their arguments, against one rank.
void expectSameOnRanks(const Case &c, ArrayRef<Cut> cuts, ArrayRef<int64_t> sizes) {
  MLIRContext context;
  OwningOpRef<ModuleOp> whole = parse(c, context), module = whole->clone();
  SmallVector<StringAttr> axes;
  std::string where;
  for (size_t i = 0; i < cuts.size(); ++i) {
    axes.push_back(StringAttr::get(&context, std::string(1, static_cast<char>('a' + i))));
    where += "input " + std::to_string(cuts[i].first) + " dimension " + std::to_string(cuts[i].second) + " over " +
             std::to_string(sizes[i]) + "; ";
  }
  dist::MeshAttr mesh = dist::MeshAttr::get(&context, axes, sizes);
  (*module)->setAttr(dist::kMesh, mesh);
  std::vector<dist::Sharding> shardings;
  for (auto function : module->getOps<func::FuncOp>()) {
    shardings.clear();
    for (auto [i, type] : llvm::enumerate(function.getArgumentTypes())) {
      shardings.push_back(dist::Sharding::whole(cast<RankedTensorType>(type).getRank()));
      for (auto [axis, cut] : llvm::zip(axes, cuts))
        if (cut.first == i)
          shardings[i].dims[cut.second].push_back(axis);
      function.setArgAttr(i, dist::kSharding, shardings[i].toAttribute(&context));
    }
    for (auto [i, type] : llvm::enumerate(function.getResultTypes()))
      function.setResultAttr(i, dist::kSharding,
                             dist::Sharding::whole(cast<RankedTensorType>(type).getRank()).toAttribute(&context));
  }
  PassManager pm(&context);
  pm.addPass(sharding::createShardingPropagate());
  pm.addPass(sharding::createShardingPartition());
  ASSERT_TRUE(succeeded(pm.run(*module))) << where;
  reference::Interpreter interpreter(reference::Arithmetic::F64);
  std::vector<HostTensor> arguments = makeArguments(c);
  std::vector<std::vector<HostTensor>> parts(mesh.ranks());
  for (int64_t rank = 0; rank < mesh.ranks(); ++rank)
    for (auto [argument, sharding] : llvm::zip_equal(arguments, shardings))
      parts[rank].push_back(reference::partOf(argument, sharding, mesh, rank));
  for (const char *name : {"f", "g"}) {
    auto expected = interpreter.run(whole->lookupSymbol<func::FuncOp>(name), arguments);
    auto found = interpreter.runRanks(module->lookupSymbol<func::FuncOp>(name), parts);
    ASSERT_TRUE(succeeded(expected) && succeeded(found)) << where;
    for (const std::vector<HostTensor> &results : *found)
      for (auto [result, tensor] : llvm::zip_equal(results, *expected))
        for (int64_t k = 0; k < tensor.size(); ++k)
          EXPECT_NEAR(result.reals[k], tensor.reals[k], 1e-12 * std::max(1.0, std::abs(tensor.reals[k])))
              << where << "@" << name;
  }
}

TEST_P(Vjp, IsTheSameOnRanks) {
  const Case &c = GetParam();
  std::vector<Cut> even;
  std::vector<std::string> shapes = c.inputs;
  shapes.push_back(c.result);
  for (size_t i = 0; i < shapes.size(); ++i) {
    std::vector<int64_t> extents = dims(shapes[i]);
    for (size_t d = 0; d < extents.size(); ++d) {
      for (int64_t ranks : {2, 4})
        if (extents[d] % ranks == 0)
          expectSameOnRanks(c, {{i, d}}, {ranks});
      if (extents[d] % 2 == 0)
        even.push_back({i, d});
    }
  }
  // Two axes at once: each pair of different dimensions.
  for (const Cut &first : even)
    for (const Cut &second : even)
      if (first < second)
        expectSameOnRanks(c, {first, second}, {2, 2});
}

TEST_P(Vjp, AgreesWithCentralDifferences) {
  const Case &c = GetParam();
  MLIRContext context;
  OwningOpRef<ModuleOp> module = parse(c, context);
  std::vector<HostTensor> arguments = makeArguments(c);

  reference::Interpreter interpreter(reference::Arithmetic::F64);
  auto f = module->lookupSymbol<func::FuncOp>("f"), g = module->lookupSymbol<func::FuncOp>("g");
  auto gradients = interpreter.run(g, arguments);
  ASSERT_TRUE(succeeded(gradients));
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    std::vector<double> expected;
    double largest = 1.0;
    for (int64_t k = 0; k < arguments[i].size(); ++k) {
      constexpr double step = 1e-5;
      auto shifted = arguments;
      shifted[i].reals[k] += step;
      double up = (*interpreter.run(f, shifted))[0].reals[0];
      shifted[i].reals[k] -= 2 * step;
      double down = (*interpreter.run(f, shifted))[0].reals[0];
      expected.push_back((up - down) / (2 * step));
      largest = std::max(largest, std::abs(expected.back()));
    }
    for (int64_t k = 0; k < arguments[i].size(); ++k)
      EXPECT_NEAR((*gradients)[i].reals[k], expected[k], 1e-6 * largest) << "input " << i << " entry " << k;
  }
}

Case unary(const char *name, const std::string &op, double low = -1.5, double high = 1.5) {
  return {name, {"2x3"}, "2x3", "  %r = " + op + " %x : tensor<2x3xf64>", low, high};
}
Case binary(const char *name, const std::string &op, double low = -1.5, double high = 1.5) {
  return {name, {"2x3", "2x3"}, "2x3", "  %r = " + op + " %x, %y : tensor<2x3xf64>", low, high};
}
Case activation(const char *name, const std::string &attributes) {
  return {name, {"2x3"}, "2x3", "  %r = " + attributes + " : (tensor<2x3xf64>) -> tensor<2x3xf64>"};
}

const std::string kLabels = "  %labels = arith.constant dense<[2, -100, 0]> : tensor<3xi64>\n";
const std::string kIds = "  %ids = arith.constant dense<[[1, 0], [3, 1]]> : tensor<2x2xi64>\n";

INSTANTIATE_TEST_SUITE_P(
    Elementwise, Vjp,
    testing::Values(
        binary("addf", "arith.addf"), binary("subf", "arith.subf"), binary("mulf", "arith.mulf"),
        binary("divf", "arith.divf", 0.5, 2.0), unary("negf", "arith.negf"), binary("maximumf", "arith.maximumf"),
        binary("minimumf", "arith.minimumf"), unary("exp", "math.exp"), unary("log", "math.log", 0.5, 2.0),
        unary("sqrt", "math.sqrt", 0.5, 2.0), unary("rsqrt", "math.rsqrt", 0.5, 2.0), unary("tanh", "math.tanh"),
        unary("erf", "math.erf"), unary("sin", "math.sin"), unary("cos", "math.cos"),
        unary("log1p", "math.log1p", -0.5, 2.0), unary("expm1", "math.expm1"), unary("absf", "math.absf", 0.1, 2.0),
        binary("powf", "math.powf", 0.5, 2.0),
        Case{"powf_cube",
             {"2x3"},
             "2x3",
             "  %p = arith.constant dense<3.0> : tensor<2x3xf64>\n  %r = math.powf %x, %p : tensor<2x3xf64>"},
        Case{"powf_half",
             {"2x3"},
             "2x3",
             "  %p = arith.constant dense<1.5> : tensor<2x3xf64>\n  %r = math.powf %x, %p : tensor<2x3xf64>",
             0.5,
             2.0},
        Case{"select",
             {"2x3", "2x3"},
             "2x3",
             "  %c = arith.constant dense<[[true, false, true], [false, false, true]]> : tensor<2x3xi1>\n"
             "  %r = arith.select %c, %x, %y : tensor<2x3xi1>, tensor<2x3xf64>"},
        activation("gelu_tanh", "nn.gelu %x {tanh = true}"), activation("gelu_erf", "nn.gelu %x {tanh = false}"),
        activation("sigmoid", "nn.sigmoid %x"), activation("silu", "nn.silu %x"),
        Case{"swiglu",
             {"2x3", "2x3"},
             "2x3",
             "  %r = nn.swiglu %x, %y : (tensor<2x3xf64>, tensor<2x3xf64>) -> tensor<2x3xf64>"},
        Case{"used_twice",
             {"2x3"},
             "2x3",
             "  %s = math.exp %x : tensor<2x3xf64>\n  %t = arith.mulf %s, %x : tensor<2x3xf64>\n"
             "  %r = arith.addf %t, %s : tensor<2x3xf64>"}),
    [](const auto &info) { return std::string(info.param.name); });

INSTANTIATE_TEST_SUITE_P(
    Shapes, Vjp,
    testing::Values(
        Case{"collapse",
             {"2x3x2"},
             "6x2",
             "  %r = tensor.collapse_shape %x [[0, 1], [2]] : tensor<2x3x2xf64> into tensor<6x2xf64>"},
        Case{"expand",
             {"6x2"},
             "2x3x2",
             "  %r = tensor.expand_shape %x [[0, 1], [2]] output_shape [2, 3, 2] : tensor<6x2xf64> into "
             "tensor<2x3x2xf64>"},
        Case{"extract_slice",
             {"4x5"},
             "2x3",
             "  %r = tensor.extract_slice %x[1, 0] [2, 3] [1, 2] : tensor<4x5xf64> to tensor<2x3xf64>"},
        Case{"insert_slice",
             {"2x3", "4x5"},
             "4x5",
             "  %r = tensor.insert_slice %x into %y[1, 2] [2, 3] [1, 1] : tensor<2x3xf64> into tensor<4x5xf64>"},
        Case{"concat",
             {"2x3", "2x1"},
             "2x4",
             "  %r = tensor.concat dim(1) %x, %y : (tensor<2x3xf64>, tensor<2x1xf64>) -> tensor<2x4xf64>"},
        Case{"flatten_parts",
             {"3x6"},
             "2x12",
             "  %r = nn.flatten_parts %x {dim = 1 : i64, parts = 2 : i64} : (tensor<3x6xf64>) -> tensor<2x12xf64>"},
        Case{"unflatten_parts",
             {"2x12"},
             "3x6",
             "  %r = nn.unflatten_parts %x {dim = 1 : i64, parts = 2 : i64} : (tensor<2x12xf64>) -> tensor<3x6xf64>"},
        Case{"transpose",
             {"2x3x4"},
             "4x2x3",
             "  %r = nn.transpose %x {permutation = array<i64: 2, 0, 1>} : (tensor<2x3x4xf64>) -> tensor<4x2x3xf64>"},
        Case{"broadcast_row",
             {"3"},
             "2x3",
             "  %r = nn.broadcast %x {dims = array<i64: 1>} : (tensor<3xf64>) -> tensor<2x3xf64>"},
        Case{"broadcast_one",
             {"2x1"},
             "2x3",
             "  %r = nn.broadcast %x {dims = array<i64: 0, 1>} : (tensor<2x1xf64>) -> tensor<2x3xf64>"},
        Case{"reduce_sum",
             {"2x3x2"},
             "3",
             "  %r = nn.reduce %x {kind = 0 : i32, dims = array<i64: 0, 2>} : (tensor<2x3x2xf64>) -> tensor<3xf64>"},
        Case{"reduce_mean",
             {"2x3"},
             "2",
             "  %r = nn.reduce %x {kind = 1 : i32, dims = array<i64: 1>} : (tensor<2x3xf64>) -> tensor<2xf64>"},
        Case{"reduce_max",
             {"2x3"},
             "2",
             "  %r = nn.reduce %x {kind = 2 : i32, dims = array<i64: 1>} : (tensor<2x3xf64>) -> tensor<2xf64>"},
        Case{"reduce_min",
             {"2x3"},
             "3",
             "  %r = nn.reduce %x {kind = 3 : i32, dims = array<i64: 0>} : (tensor<2x3xf64>) -> tensor<3xf64>"},
        Case{"reduce_prod",
             {"2x3"},
             "2",
             "  %r = nn.reduce %x {kind = 4 : i32, dims = array<i64: 1>} : (tensor<2x3xf64>) -> tensor<2xf64>",
             0.5,
             2.0},
        Case{"contract_linear",
             {"2x3x4", "5x4"},
             "2x3x5",
             "  %r = nn.contract %x, %y {equation = \"btk,nk->btn\"} : (tensor<2x3x4xf64>, tensor<5x4xf64>) -> "
             "tensor<2x3x5xf64>"},
        Case{"contract_batched",
             {"2x3x4", "2x4x5"},
             "3x2x5",
             "  %r = nn.contract %x, %y {equation = \"bmk,bkn->mbn\"} : (tensor<2x3x4xf64>, tensor<2x4x5xf64>) -> "
             "tensor<3x2x5xf64>"},
        Case{"gather",
             {"4x3"},
             "2x2x3",
             kIds + "  %r = nn.gather %x, %ids : (tensor<4x3xf64>, tensor<2x2xi64>) -> tensor<2x2x3xf64>"},
        Case{"scatter_add",
             {"2x2x3"},
             "4x3",
             kIds + "  %r = nn.scatter_add %ids, %x : (tensor<2x2xi64>, tensor<2x2x3xf64>) -> tensor<4x3xf64>"},
        Case{"gather_along",
             {"2x4"},
             "2x2",
             kIds + "  %r = nn.gather_along %x, %ids {axis = 1 : i64} : (tensor<2x4xf64>, tensor<2x2xi64>) -> "
                    "tensor<2x2xf64>"},
        Case{"scatter_add_along",
             {"2x2"},
             "2x4",
             kIds + "  %r = nn.scatter_add_along %ids, %x {axis = 1 : i64} : (tensor<2x2xi64>, tensor<2x2xf64>) -> "
                    "tensor<2x4xf64>"},
        Case{"top_k",
             {"2x4"},
             "2x2",
             "  %r, %i = nn.top_k %x : (tensor<2x4xf64>) -> (tensor<2x2xf64>, tensor<2x2xi64>)"}),
    [](const auto &info) { return std::string(info.param.name); });

// Where all extents are equal, rules and derivatives that tell operands or dimensions by their sizes go wrong. Indices that count from the
// end do so from the end of the whole.
const std::string kSquareIds = "  %ids = arith.constant dense<[[1, -4, 0, 3], [3, -1, -2, 1], [0, 0, -3, 2], [2, 2, 1, -4]]> : tensor<4x4xi64>\n";
const std::string kRowIds = "  %ids = arith.constant dense<[3, -4, -1, 1]> : tensor<4xi64>\n";
const std::string kSquare = "tensor<4x4xf64>", kRow = "tensor<4xf64>", kCube = "tensor<4x4x4xf64>", kFour = "tensor<4x4x4x4xf64>";

INSTANTIATE_TEST_SUITE_P(
    EqualExtents, Vjp,
    testing::Values(
        Case{"layer_norm", {"4x4", "4", "4"}, "4x4",
             "  %r, %m, %s = nn.layer_norm %x, %y, %z {epsilon = 1.0e-2} : (" + kSquare + ", " + kRow + ", " + kRow + ") -> (" + kSquare + ", " + kRow + ", " + kRow + ")"},
        Case{"layer_norm_no_bias", {"4x4", "4"}, "4x4",
             "  %r, %m, %s = nn.layer_norm %x, %y {epsilon = 1.0e-2} : (" + kSquare + ", " + kRow + ") -> (" + kSquare + ", " + kRow + ", " + kRow + ")"},
        Case{"layer_norm_cube", {"4x4x4", "4", "4"}, "4x4x4",
             "  %r, %m, %s = nn.layer_norm %x, %y, %z {epsilon = 1.0e-2} : (" + kCube + ", " + kRow + ", " + kRow + ") -> (" + kCube + ", " + kSquare + ", " + kSquare + ")"},
        Case{"rms_norm", {"4x4", "4"}, "4x4", "  %r, %s = nn.rms_norm %x, %y {epsilon = 1.0e-2} : (" + kSquare + ", " + kRow + ") -> (" + kSquare + ", " + kRow + ")"},
        Case{"softmax", {"4x4"}, "4x4", "  %r = nn.softmax %x : (" + kSquare + ") -> " + kSquare},
        Case{"log_softmax", {"4x4"}, "4x4", "  %r = nn.log_softmax %x : (" + kSquare + ") -> " + kSquare},
        Case{"transpose", {"4x4x4"}, "4x4x4", "  %r = nn.transpose %x {permutation = array<i64: 2, 0, 1>} : (" + kCube + ") -> " + kCube},
        Case{"broadcast", {"4"}, "4x4", "  %r = nn.broadcast %x {dims = array<i64: 0>} : (" + kRow + ") -> " + kSquare},
        Case{"reduce_first", {"4x4"}, "4", "  %r = nn.reduce %x {kind = 0 : i32, dims = array<i64: 0>} : (" + kSquare + ") -> " + kRow},
        Case{"reduce_max_first", {"4x4"}, "4", "  %r = nn.reduce %x {kind = 2 : i32, dims = array<i64: 0>} : (" + kSquare + ") -> " + kRow},
        Case{"contract_turned", {"4x4", "4x4"}, "4x4", "  %r = nn.contract %x, %y {equation = \"km,nk->nm\"} : (" + kSquare + ", " + kSquare + ") -> " + kSquare},
        Case{"contract_batched", {"4x4x4", "4x4x4"}, "4x4x4", "  %r = nn.contract %x, %y {equation = \"kbm,nkb->mbn\"} : (" + kCube + ", " + kCube + ") -> " + kCube},
        Case{"gather", {"4x4"}, "4x4x4", kSquareIds + "  %r = nn.gather %x, %ids : (" + kSquare + ", tensor<4x4xi64>) -> " + kCube},
        Case{"scatter_add", {"4x4"}, "4x4", kRowIds + "  %r = nn.scatter_add %ids, %x : (tensor<4xi64>, " + kSquare + ") -> " + kSquare},
        Case{"gather_along", {"4x4"}, "4x4", kSquareIds + "  %r = nn.gather_along %x, %ids {axis = 0 : i64} : (" + kSquare + ", tensor<4x4xi64>) -> " + kSquare},
        Case{"gather_along_rows", {"4x4"}, "4x4", kSquareIds + "  %r = nn.gather_along %x, %ids {axis = 1 : i64} : (" + kSquare + ", tensor<4x4xi64>) -> " + kSquare},
        Case{"scatter_add_along", {"4x4"}, "4x4", kSquareIds + "  %r = nn.scatter_add_along %ids, %x {axis = 0 : i64} : (tensor<4x4xi64>, " + kSquare + ") -> " + kSquare},
        Case{"attention", {"4x4x4x4", "4x4x4x4", "4x4x4x4"}, "4x4x4x4",
             "  %r, %l = nn.attention %x, %y, %z {scale = 0.7, causal = true} : (" + kFour + ", " + kFour + ", " + kFour + ") -> (" + kFour + ", " + kCube + ")"},
        Case{"cross_entropy", {"4x4"}, "",
             "  %labels = arith.constant dense<[2, -100, 0, 3]> : tensor<4xi64>\n  %r, %w, %l = nn.cross_entropy %x, %labels {ignore_index = -100 : i64} : (" + kSquare +
                 ", tensor<4xi64>) -> (tensor<f64>, tensor<f64>, " + kRow + ")"},
        Case{"linear_cross_entropy", {"4x4", "4x4", "4"}, "",
             "  %labels = arith.constant dense<[2, -100, 0, 3]> : tensor<4xi64>\n  %r, %w, %l = nn.linear_cross_entropy %x, %y, %labels, %z {ignore_index = -100 : i64} : (" +
                 kSquare + ", " + kSquare + ", tensor<4xi64>, " + kRow + ") -> (tensor<f64>, tensor<f64>, " + kRow + ")"}),
    [](const auto &info) { return std::string(info.param.name); });

/// A product whose inner dimension may be cut: on ranks %p is a partial sum, of which `body` makes %r.
Case ofPartial(const char *name, const std::string &result, const std::string &body) {
  return {name, {"4x4", "4x4"}, result,
          "  %p = nn.contract %x, %y {equation = \"mk,kn->mn\"} : (tensor<4x4xf64>, tensor<4x4xf64>) -> tensor<4x4xf64>\n"
          "  %c = arith.constant dense<0.7> : tensor<4x4xf64>\n"
          "  %mask = arith.constant dense<[[true, false, true, false], [true, true, false, false], [false, true, true, true], [true, false, false, true]]> : "
          "tensor<4x4xi1>\n" + body};
}

// What holds for partial sums and for sums alike, and what asks for the whole sum first: a constant counts once.
INSTANTIATE_TEST_SUITE_P(
    PartialSums, Vjp,
    testing::Values(
        ofPartial("plus_constant", "4x4", "  %r = arith.addf %p, %c : tensor<4x4xf64>"),
        ofPartial("constant_minus", "4x4", "  %r = arith.subf %c, %p : tensor<4x4xf64>"),
        ofPartial("times_constant", "4x4", "  %r = arith.mulf %c, %p : tensor<4x4xf64>"),
        ofPartial("by_constant", "4x4", "  %r = arith.divf %p, %c : tensor<4x4xf64>"),
        ofPartial("squared", "4x4", "  %r = arith.mulf %p, %p : tensor<4x4xf64>"),
        ofPartial("plus_input", "4x4", "  %r = arith.addf %p, %x : tensor<4x4xf64>"),
        ofPartial("twice", "4x4", "  %n = arith.negf %p : tensor<4x4xf64>\n  %m = arith.mulf %n, %c : tensor<4x4xf64>\n  %r = arith.addf %m, %p : tensor<4x4xf64>"),
        ofPartial("larger_than_constant", "4x4", "  %r = arith.maximumf %p, %c : tensor<4x4xf64>"),
        ofPartial("exp", "4x4", "  %r = math.exp %p : tensor<4x4xf64>"),
        ofPartial("selected", "4x4", "  %r = arith.select %mask, %p, %c : tensor<4x4xi1>, tensor<4x4xf64>"),
        ofPartial("select_by", "4x4", "  %z = arith.constant dense<0.0> : tensor<4x4xf64>\n  %b = arith.cmpf ogt, %p, %z : tensor<4x4xf64>\n"
                                      "  %r = arith.select %b, %x, %c : tensor<4x4xi1>, tensor<4x4xf64>"),
        ofPartial("turned", "4x4", "  %t = nn.transpose %p {permutation = array<i64: 1, 0>} : (tensor<4x4xf64>) -> tensor<4x4xf64>\n  %r = arith.addf %t, %p : tensor<4x4xf64>"),
        ofPartial("beside_constant", "8x4", "  %r = tensor.concat dim(0) %p, %c : (tensor<4x4xf64>, tensor<4x4xf64>) -> tensor<8x4xf64>"),
        ofPartial("into_constant", "4x4", "  %s = tensor.extract_slice %p[0, 0] [2, 2] [1, 1] : tensor<4x4xf64> to tensor<2x2xf64>\n"
                                          "  %r = tensor.insert_slice %s into %c[1, 1] [2, 2] [1, 1] : tensor<2x2xf64> into tensor<4x4xf64>"),
        ofPartial("summed_plus_constant", "4", "  %s = nn.reduce %p {kind = 0 : i32, dims = array<i64: 1>} : (tensor<4x4xf64>) -> tensor<4xf64>\n"
                                               "  %d = arith.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf64>\n  %r = arith.addf %s, %d : tensor<4xf64>"),
        ofPartial("largest", "4", "  %r = nn.reduce %p {kind = 2 : i32, dims = array<i64: 1>} : (tensor<4x4xf64>) -> tensor<4xf64>"),
        ofPartial("mean_of_mean", "", "  %s = nn.reduce %p {kind = 1 : i32, dims = array<i64: 0, 1>} : (tensor<4x4xf64>) -> tensor<f64>\n"
                                      "  %d = arith.constant dense<2.0> : tensor<f64>\n  %r = arith.subf %s, %d : tensor<f64>"),
        ofPartial("multiplied_again", "4x4", "  %r = nn.contract %p, %y {equation = \"mk,kn->mn\"} : (tensor<4x4xf64>, tensor<4x4xf64>) -> tensor<4x4xf64>"),
        ofPartial("bias_of_a_row", "4x4", "  %s = nn.reduce %x {kind = 0 : i32, dims = array<i64: 1>} : (tensor<4x4xf64>) -> tensor<4xf64>\n"
                                          "  %b = nn.broadcast %s {dims = array<i64: 1>} : (tensor<4xf64>) -> tensor<4x4xf64>\n  %r = arith.addf %p, %b : tensor<4x4xf64>")),
    [](const auto &info) { return std::string(info.param.name); });

const std::string kAttention = " : (tensor<2x3x4x2xf64>, tensor<2x3x2x2xf64>, tensor<2x3x2x2xf64>";
const std::string kAttentionResult = " -> (tensor<2x3x4x2xf64>, tensor<2x4x3xf64>)";

INSTANTIATE_TEST_SUITE_P(
    Composites, Vjp,
    testing::Values(
        Case{"softmax", {"2x4"}, "2x4", "  %r = nn.softmax %x : (tensor<2x4xf64>) -> tensor<2x4xf64>"},
        Case{"log_softmax", {"2x4"}, "2x4", "  %r = nn.log_softmax %x : (tensor<2x4xf64>) -> tensor<2x4xf64>"},
        Case{"layer_norm",
             {"2x3x4", "4", "4"},
             "2x3x4",
             "  %r, %m, %s = nn.layer_norm %x, %y, %z {epsilon = 1.0e-5} : (tensor<2x3x4xf64>, tensor<4xf64>, "
             "tensor<4xf64>) -> (tensor<2x3x4xf64>, tensor<2x3xf64>, tensor<2x3xf64>)"},
        Case{"layer_norm_no_bias",
             {"3x4", "4"},
             "3x4",
             "  %r, %m, %s = nn.layer_norm %x, %y {epsilon = 1.0e-5} : (tensor<3x4xf64>, tensor<4xf64>) -> "
             "(tensor<3x4xf64>, tensor<3xf64>, tensor<3xf64>)"},
        Case{"rms_norm",
             {"2x3x4", "4"},
             "2x3x4",
             "  %r, %s = nn.rms_norm %x, %y {epsilon = 1.0e-5} : (tensor<2x3x4xf64>, tensor<4xf64>) -> "
             "(tensor<2x3x4xf64>, tensor<2x3xf64>)"},
        Case{"rope",
             {"2x2x1x4"},
             "2x2x1x4",
             "  %c = arith.constant dense<[[0.5, 0.2], [0.9, -0.3]]> : tensor<2x2xf64>\n  %s = arith.constant "
             "dense<[[0.1, 0.7], [-0.4, 0.6]]> : tensor<2x2xf64>\n"
             "  %r = nn.rope %x, %c, %s : (tensor<2x2x1x4xf64>, tensor<2x2xf64>, tensor<2x2xf64>) -> "
             "tensor<2x2x1x4xf64>"},
        Case{"rope_interleaved",
             {"2x2x1x4"},
             "2x2x1x4",
             "  %c = arith.constant dense<0.6> : tensor<2x4xf64>\n  %s = arith.constant dense<[[0.1, 0.7, 0.2, 0.3], "
             "[-0.4, 0.6, 0.5, 0.8]]> : tensor<2x4xf64>\n"
             "  %r = nn.rope %x, %c, %s {interleaved} : (tensor<2x2x1x4xf64>, tensor<2x4xf64>, tensor<2x4xf64>) -> "
             "tensor<2x2x1x4xf64>"},
        Case{"attention",
             {"2x3x4x2", "2x3x2x2", "2x3x2x2"},
             "2x3x4x2",
             "  %r, %l = nn.attention %x, %y, %z {scale = 0.7, causal = false}" + kAttention + ")" + kAttentionResult},
        Case{"attention_causal",
             {"2x3x4x2", "2x3x2x2", "2x3x2x2"},
             "2x3x4x2",
             "  %r, %l = nn.attention %x, %y, %z {scale = 0.7, causal = true}" + kAttention + ")" + kAttentionResult},
        Case{"attention_masked_row",
             {"2x3x4x2", "2x3x2x2", "2x3x2x2"},
             "2x3x4x2",
             "  %mask = arith.constant dense<[[[[false, false, false], [true, false, true], [true, true, true]]]]> : "
             "tensor<1x1x3x3xi1>\n"
             "  %r, %l = nn.attention %x, %y, %z, %mask {scale = 0.7, causal = false}" +
                 kAttention + ", tensor<1x1x3x3xi1>)" + kAttentionResult},
        Case{"cross_entropy",
             {"3x4"},
             "",
             kLabels + "  %r, %w, %l = nn.cross_entropy %x, %labels {ignore_index = -100 : i64} : (tensor<3x4xf64>, "
                       "tensor<3xi64>) -> (tensor<f64>, tensor<f64>, tensor<3xf64>)"},
        Case{"linear_cross_entropy",
             {"3x4", "6x4", "6"},
             "",
             kLabels + "  %r, %w, %l = nn.linear_cross_entropy %x, %y, %labels, %z {ignore_index = -100 : i64} : "
                       "(tensor<3x4xf64>, tensor<6x4xf64>, tensor<3xi64>, tensor<6xf64>) -> (tensor<f64>, tensor<f64>, "
                       "tensor<3xf64>)"},
        Case{"linear_cross_entropy_last",
             {"3x4", "4x6"},
             "",
             kLabels +
                 "  %r, %w, %l = nn.linear_cross_entropy %x, %y, %labels {ignore_index = -100 : i64, vocabulary_last} "
                 ": (tensor<3x4xf64>, tensor<4x6xf64>, tensor<3xi64>) -> (tensor<f64>, tensor<f64>, tensor<3xf64>)"},
        Case{"dropout",
             {"2x4x6"},
             "2x4x6",
             "  %p = arith.constant dense<[3, 8]> : tensor<2xi64>\n  %r = nn.dropout %x, %p {ratio = 0.4, seed = 5 : "
             "i64, id = 1 : i64} : (tensor<2x4x6xf64>, tensor<2xi64>) -> tensor<2x4x6xf64>"},
        Case{"dropout_of_a_part",
             {"2x4x6"},
             "2x4x6",
             "  %p = arith.constant dense<[3, 8, 36]> : tensor<3xi64>\n  %r = nn.dropout %x, %p {ratio = 0.4, seed = 5 : "
             "i64, id = 1 : i64, strides = array<i64: 12, 1>} : (tensor<2x4x6xf64>, tensor<3xi64>) -> tensor<2x4x6xf64>"}),
    [](const auto &info) { return std::string(info.param.name); });

} // namespace
