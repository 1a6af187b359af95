//===- ReshardTest.cpp - every kind of reshard on simulated ranks ----------------------===//
//
// Each pair of shardings, on two, four and eight ranks: what the ranks hold after the collectives that a reshard becomes
// must be parts of the tensor that they held before.
//
//===----------------------------------------------------------------------===//
#include "compiler/driver/Pipeline.h"
#include "compiler/reference/Interpreter.h"
#include "compiler/reference/Ranks.h"
#include "dialects/dist/Dist.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "passes/sharding/Passes.h"
#include <gtest/gtest.h>
#include <random>

using namespace mlir;
using namespace llmc;

namespace {

/// A sharding of an 8 x 8 tensor: one-letter axes of both dimensions, of partial sums, of partial maxima.
using Names = std::array<const char *, 4>;

struct ReshardTest : testing::Test {
  ReshardTest() {
    DialectRegistry registry;
    driver::registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }

  dist::Axes axes(StringRef names) {
    dist::Axes result;
    for (char name : names)
      result.push_back(StringAttr::get(&context, StringRef(&name, 1)));
    return result;
  }

  dist::Sharding sharding(const Names &names) {
    return {{axes(names[0]), axes(names[1])}, axes(names[2]), axes(names[3])};
  }

  HostTensor random() {
    std::uniform_real_distribution<double> value(-1, 1);
    HostTensor tensor;
    tensor.shape = {8, 8};
    tensor.reals.resize(64);
    for (double &entry : tensor.reals)
      entry = value(engine);
    return tensor;
  }

  /// What the ranks hold of a tensor, and the tensor: terms of a partial sum, candidates of a partial maximum are random.
  std::pair<std::vector<std::vector<HostTensor>>, HostTensor> makeParts(const dist::Sharding &sharding, dist::MeshAttr mesh) {
    const dist::Axes &partial = sharding.sum.empty() ? sharding.max : sharding.sum;
    std::vector<HostTensor> terms(static_cast<size_t>(mesh.size(partial)));
    for (HostTensor &term : terms)
      term = random();
    HostTensor whole = terms[0];
    for (const HostTensor &term : ArrayRef(terms).drop_front())
      for (size_t i = 0; i < whole.reals.size(); ++i)
        whole.reals[i] = sharding.max.empty() ? whole.reals[i] + term.reals[i] : std::max(whole.reals[i], term.reals[i]);
    std::vector<std::vector<HostTensor>> parts;
    for (int64_t rank = 0; rank < mesh.ranks(); ++rank)
      parts.push_back({reference::partOf(terms[static_cast<size_t>(mesh.index(rank, partial))], sharding.withoutPartial(), mesh, rank)});
    return {std::move(parts), std::move(whole)};
  }

  static std::string textOf(Attribute attribute) {
    std::string text;
    llvm::raw_string_ostream(text) << attribute;
    return text;
  }

  /// Resolves what is partial, too, so that all can be compared.
  std::string moduleText(const dist::Sharding &from, const dist::Sharding &to, dist::MeshAttr mesh) {
    auto text = [&](const dist::Sharding &sharding) { return textOf(sharding.toAttribute(&context)); };
    std::string type = " : tensor<8x8xf64>\n", resharded = "  %y = dist.reshard %x {from = " + text(from) + ", to = " + text(to) + ", reason = \"y\"}" + type;
    if (to.isPartial())
      resharded += "  %z = dist.reshard %y {from = " + text(to) + ", to = " + text(to.withoutPartial()) + ", reason = \"z\"}" + type;
    return "module attributes {" + dist::kMesh.str() + " = " + textOf(mesh) + "} {\nfunc.func @f(%x: tensor<8x8xf64> {dist.sharding = " + text(from) + "}) -> (tensor<8x8xf64> {dist.sharding = " +
           text(to.withoutPartial()) + "}) {\n" + resharded + "  return " + (to.isPartial() ? "%z" : "%y") + type + "}\n}\n";
  }

  void expectSame(const dist::Sharding &from, const dist::Sharding &to, dist::MeshAttr mesh) {
    std::string text = moduleText(from, to, mesh);
    OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(text, &context);
    ASSERT_TRUE(module) << text;
    PassManager pm(&context);
    pm.addPass(sharding::createShardingPartition());
    ASSERT_TRUE(succeeded(pm.run(*module))) << text;
    auto [parts, whole] = makeParts(from, mesh);
    reference::Interpreter interpreter(reference::Arithmetic::F64);
    auto found = interpreter.runRanks(module->lookupSymbol<func::FuncOp>("f"), parts);
    ASSERT_TRUE(succeeded(found)) << text;
    for (int64_t rank = 0; rank < mesh.ranks(); ++rank) {
      HostTensor expected = reference::partOf(whole, to.withoutPartial(), mesh, rank);
      const HostTensor &result = (*found)[static_cast<size_t>(rank)][0];
      ASSERT_EQ(result.shape, expected.shape) << text;
      for (int64_t i = 0; i < expected.size(); ++i)
        ASSERT_NEAR(result.reals[i], expected.reals[i], 1e-12) << text << "rank " << rank << " at " << i;
    }
  }

  /// All pairs that are legal: a whole tensor is never made partial. Returns how many.
  int expectSameOfPairs(ArrayRef<Names> shardings, dist::MeshAttr mesh) {
    auto within = [](const dist::Axes &some, const dist::Axes &all) {
      return llvm::all_of(some, [&](StringAttr axis) { return llvm::is_contained(all, axis); });
    };
    int pairs = 0;
    for (const Names &one : shardings)
      for (const Names &other : shardings) {
        dist::Sharding from = sharding(one), to = sharding(other);
        if (!within(to.sum, from.sum) || !within(to.max, from.max))
          continue;
        expectSame(from, to, mesh);
        ++pairs;
      }
    return pairs;
  }

  MLIRContext context;
  std::mt19937 engine{11};
};

TEST_F(ReshardTest, OneAxis) {
  constexpr Names kShardings[] = {{"", "", "", ""}, {"a", "", "", ""}, {"", "a", "", ""}, {"", "", "a", ""}, {"", "", "", "a"}};
  for (int64_t ranks : {2, 4})
    EXPECT_EQ(expectSameOfPairs(kShardings, dist::MeshAttr::get(&context, axes("a"), {ranks})), 17);
}

TEST_F(ReshardTest, TwoAxes) {
  constexpr Names kShardings[] = {{"", "", "", ""},   {"a", "", "", ""},  {"", "b", "", ""},  {"a", "b", "", ""}, {"b", "a", "", ""}, {"ab", "", "", ""},
                                  {"ba", "", "", ""}, {"", "ab", "", ""}, {"", "", "a", ""},  {"b", "", "a", ""}, {"", "a", "b", ""}, {"", "", "ab", ""},
                                  {"", "", "", "b"},  {"a", "", "", "b"}, {"", "", "", "ab"}};
  for (auto [first, second] : {std::pair<int64_t, int64_t>{2, 2}, {2, 4}, {4, 2}})
    EXPECT_EQ(expectSameOfPairs(kShardings, dist::MeshAttr::get(&context, axes("ab"), {first, second})), 136);
}

} // namespace
