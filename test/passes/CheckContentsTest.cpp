//===- CheckContentsTest.cpp - assigned addresses, and what is wrong with them ------------===//
//
// A small program is planned; then one thing at a time is changed for the worse, which the check must see.
//
//===----------------------------------------------------------------------===//
#include "compiler/driver/Pipeline.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "passes/scheduling/Program.h"
#include <gtest/gtest.h>

using namespace mlir;
using namespace llmc;
using namespace llmc::scheduling;

namespace {

std::string kernel(const std::string &name, int operands, const std::string &alias) {
  std::string arguments, list, types;
  for (int i = 0; i < operands; ++i) {
    arguments += (i ? ", %" : "%") + std::string(1, static_cast<char>('a' + i)) + ": tensor<16xf32>";
    list += "[\"input\", " + std::to_string(i) + " : i64, \"read\"], ";
  }
  return "func.func private @" + name + "(" + arguments + ") -> tensor<16xf32> attributes {plan.kernel = \"fused\", plan.stages = {stages = [{workgroups = 1 : i64, "
         "operands = [" + list + "[\"output\", 0 : i64, \"write\"]]}], scratch = array<i64>, alias = array<i64" + alias + ">}} {\n"
         "  %r = math.exp %a : tensor<16xf32>\n  return %r : tensor<16xf32>\n}\n";
}

class CheckContentsTest : public testing::Test {
protected:
  void SetUp() override {
    DialectRegistry registry;
    driver::registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
    module = parseSourceString<ModuleOp>(R"(
module attributes {dist.mesh = #dist.mesh<dp = 2>} {
func.func @accumulate(%x: tensor<16xf32> {train.name = "x", train.role = "input"}, %w: tensor<16xf32> {train.name = "w", train.role = "param"})
    -> (tensor<32xf32> {train.name = "v", train.role = "gradient"}, tensor<16xf32> {train.name = "w", train.role = "gradient"}) {
  %0 = call @make(%x) : (tensor<16xf32>) -> tensor<16xf32>
  %1 = dist.all_gather %0 {axes = ["dp"], dim = 0 : i64, reason = "test"} : (tensor<16xf32>) -> tensor<32xf32>
  %2 = call @make(%w) : (tensor<16xf32>) -> tensor<16xf32>
  %3 = call @change(%0) : (tensor<16xf32>) -> tensor<16xf32>
  %4 = call @add(%2, %3) : (tensor<16xf32>, tensor<16xf32>) -> tensor<16xf32>
  return %1, %4 : tensor<32xf32>, tensor<16xf32>
}
)" + kernel("make", 1, "") + kernel("change", 1, ": 0, 0") + kernel("add", 2, "") + "}\n", &context);
    ASSERT_TRUE(module);
    ASSERT_TRUE(succeeded(planSegment(module->lookupSymbol<func::FuncOp>("accumulate"), program)));
    assignOffsets(program);
  }

  /// What the check says; empty if nothing.
  std::string problem() {
    std::string text;
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
      text += diagnostic.str();
      return success();
    });
    bool good = succeeded(checkContents(program));
    EXPECT_EQ(good, text.empty());
    return text;
  }
  void expectProblem(StringRef part) {
    std::string text = problem();
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
  std::vector<Instruction> &instructions() { return program.segments[0].instructions; }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  Program program;
};

TEST_F(CheckContentsTest, TakesWhatIsRight) {
  EXPECT_EQ(problem(), "");
  // make, all_gather, make, wait, change over its operand, add
  ASSERT_EQ(instructions().size(), 6u);
  EXPECT_EQ(instructions()[3].kind, Instruction::Wait);
  EXPECT_EQ(program.rootOf(instructions()[4].operands[1].buffer), program.rootOf(instructions()[4].operands[0].buffer));
}

TEST_F(CheckContentsTest, TwoValuesAtOnePlace) {
  int first = instructions()[0].operands[1].buffer, second = instructions()[2].operands[1].buffer;
  program.buffers[second].offset = program.buffers[first].offset;
  expectProblem("is written while a collective uses it");
}

TEST_F(CheckContentsTest, PartlyWrittenOver) {
  int changed = instructions()[4].operands[1].buffer, other = instructions()[2].operands[1].buffer;
  program.buffers[changed].offset = program.buffers[other].offset + 60;
  expectProblem("no longer holds what is read from it");
}

TEST_F(CheckContentsTest, ReadTooEarly) {
  std::swap(instructions()[4], instructions()[5]);
  expectProblem("no longer holds what is read from it");
}

TEST_F(CheckContentsTest, NotWaitedFor) {
  instructions().erase(instructions().begin() + 3);
  expectProblem("is written while a collective uses it");
}

TEST_F(CheckContentsTest, NeverWaitedFor) {
  instructions().erase(instructions().begin() + 3, instructions().end());
  program.segments[0].results.pop_back();
  expectProblem("is not there at the end");
}

TEST_F(CheckContentsTest, InPlaceWithoutLeave) {
  module->lookupSymbol<func::FuncOp>("change")->setAttr(
      plan::kStages, cast<DictionaryAttr>(cast<func::FuncOp>(module->lookupSymbol("make"))->getAttr(plan::kStages)));
  expectProblem("is written over what else the instruction uses");
}

TEST_F(CheckContentsTest, ResultElsewhere) {
  program.segments[0].results[1].second = instructions()[2].operands[1].buffer;
  expectProblem("is not there at the end");
}

} // namespace
