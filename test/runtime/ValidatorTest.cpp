//===- ValidatorTest.cpp - altered plans are refused ----------------------===//
//
// Each case changes one thing in a valid plan and names a part of the message that must come.
//
//===----------------------------------------------------------------------===//
#include "runtime/plan/Validator.h"
#include "test/runtime/StatePlan.h"
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

using namespace llmc::runtime;
using namespace llmc::test;

namespace {

std::vector<std::string> problemsOf(const fb::PlanT &plan, PlanSizes sizes = {1000, 0}) {
  std::vector<uint8_t> bytes = pack(plan);
  flatbuffers::Verifier verifier(bytes.data(), bytes.size());
  EXPECT_TRUE(fb::VerifyPlanBuffer(verifier));
  return validatePlan(*fb::GetPlan(bytes.data()), sizes);
}

struct Case {
  const char *expected;
  std::function<void(fb::PlanT &)> alter;
};

fb::RankProgramT &program(fb::PlanT &plan) { return *plan.programs[0]; }
fb::BufferT &buffer(fb::PlanT &plan, int index) { return *program(plan).buffers[index]; }
fb::InstructionT &at(fb::PlanT &plan, int segment, int index) { return *program(plan).segments[segment]->instructions[index]; }
fb::GemmT &gemm(fb::PlanT &plan) { return *at(plan, Accumulate, 1).body.AsGemm(); }
fb::ParameterT &parameter(fb::PlanT &plan) { return *program(plan).parameters[0]; }

void expectProblem(const std::vector<std::string> &problems, const std::string &expected) {
  bool found = std::any_of(problems.begin(), problems.end(),
                           [&](const std::string &text) { return text.find(expected) != std::string::npos; });
  std::string all;
  for (const std::string &text : problems)
    all += "\n  " + text;
  EXPECT_TRUE(found) << "expected '" << expected << "', got:" << all;
}

void runCases(const std::vector<Case> &cases) {
  for (const Case &test : cases) {
    fb::PlanT plan = tinyPlan();
    test.alter(plan);
    expectProblem(problemsOf(plan), test.expected);
  }
}

TEST(Validator, TakesAValidPlan) { EXPECT_EQ(problemsOf(tinyPlan()), std::vector<std::string>()); }

TEST(Validator, Plan) {
  runCases({
      {"no micro-batches", [](fb::PlanT &p) { p.micro_batches = 0; }},
      {"no samples per micro-batch", [](fb::PlanT &p) { p.samples_per_micro_batch = 0; }},
      {"samples per step", [](fb::PlanT &p) { p.samples_per_step = 5; }},
      {"no ranks", [](fb::PlanT &p) { p.ranks.clear(); }},
      {"program out of range", [](fb::PlanT &p) { p.ranks[0]->program = 1; }},
      {"no program", [](fb::PlanT &p) { p.programs.clear(); }},
      {"symbol is not an identifier", [](fb::PlanT &p) { p.kernels[0]->symbol = "a b"; }},
      {"has no workgroups", [](fb::PlanT &p) { p.kernels[0]->workgroups = 0; }},
  });
  EXPECT_FALSE(problemsOf(tinyPlan(), {0, 0}).empty()) << "kernels without an image";
}

TEST(Validator, Buffers) {
  runCases({
      {"arena out of range", [](fb::PlanT &p) { buffer(p, Weight).arena = 4; }},
      {"leaves its arena", [](fb::PlanT &p) { buffer(p, Weight).bytes = 1 << 20; }},
      {"leaves its arena", [](fb::PlanT &p) { buffer(p, Weight).offset = UINT64_MAX - 15; }},
      {"leaves its arena", [](fb::PlanT &p) { program(p).arenas[0]->bytes = 64; }},
      {"impossibly large", [](fb::PlanT &p) { program(p).arenas[0]->bytes = UINT64_MAX; }},
      {"shape does not fit", [](fb::PlanT &p) { buffer(p, Weight).shape = {8, 9}; }},
      {"shape does not fit", [](fb::PlanT &p) { buffer(p, Weight).shape = {-8, -8}; }},
      {"shape does not fit", [](fb::PlanT &p) { buffer(p, Weight).shape = {INT64_MAX, INT64_MAX, 4}; }},
      {"not aligned", [](fb::PlanT &p) { buffer(p, Onehot).offset += 2; }},
      {"is empty", [](fb::PlanT &p) { buffer(p, LossSum).bytes = 0; }},
      {"unknown element type", [](fb::PlanT &p) { buffer(p, Weight).type = static_cast<fb::DataType>(77); }},
      {"unknown kind", [](fb::PlanT &p) { program(p).arenas[0]->kind = static_cast<fb::ArenaKind>(9); }},
      {"larger than the constants", [](fb::PlanT &p) { program(p).arenas[2]->kind = fb::ArenaKind::Constant; }},
      {"segment out of range", [](fb::PlanT &p) { buffer(p, Onehot).segment = 4; }},
      {"segment out of range", [](fb::PlanT &p) { buffer(p, Onehot).segment = -2; }},
      {"live range", [](fb::PlanT &p) { buffer(p, Onehot).first = 3, buffer(p, Onehot).last = 0; }},
      {"live range", [](fb::PlanT &p) { buffer(p, Onehot).last = 4; }},
      {"outlives segments", [](fb::PlanT &p) { buffer(p, Weight).segment = 0; }},
      {"overlaps 'weight'", [](fb::PlanT &p) { buffer(p, Momentum).offset = 128; }},
      {"overlaps", [](fb::PlanT &p) { buffer(p, Logits).offset = buffer(p, LogitsGradient).offset = 64; }},
      {"overlaps", [](fb::PlanT &p) { buffer(p, Onehot).segment = -1; }},
      {"goes in a circle", [](fb::PlanT &p) { buffer(p, Logits).alias_of = LogitsGradient; }},
      {"goes in a circle", [](fb::PlanT &p) { buffer(p, Logits).alias_of = 99; }},
      {"goes in a circle", [](fb::PlanT &p) { buffer(p, Logits).alias_of = Logits; }},
      {"does not lie inside", [](fb::PlanT &p) { buffer(p, LogitsGradient).alias_of = Onehot; }},
      {"outlives the buffer", [](fb::PlanT &p) { buffer(p, LogitsGradient).first = 0; }},
  });
}

TEST(Validator, Operands) {
  runCases({
      {"buffer out of range", [](fb::PlanT &p) { at(p, 0, 0).operands[0]->buffer = 99; }},
      {"leaves its buffer", [](fb::PlanT &p) { at(p, 0, 0).operands[1]->bytes += 4; }},
      {"leaves its buffer", [](fb::PlanT &p) { at(p, 0, 0).operands[1]->offset = UINT64_MAX - 3; }},
      {"leaves its buffer", [](fb::PlanT &p) { at(p, 0, 0).operands[1]->bytes = 0; }},
      {"not aligned", [](fb::PlanT &p) { at(p, 0, 0).operands[1]->offset = 1, at(p, 0, 0).operands[1]->bytes -= 4; }},
      {"unknown access", [](fb::PlanT &p) { at(p, 0, 0).operands[0]->access = static_cast<fb::Access>(3); }},
      {"used outside its life", [](fb::PlanT &p) { buffer(p, Onehot).last = 2; }},
      {"used outside its life", [](fb::PlanT &p) { at(p, 0, 1).operands[0]->buffer = EvalOnehot; }},
      {"read before it is written", [](fb::PlanT &p) { std::swap(program(p).segments[0]->instructions[0], program(p).segments[0]->instructions[1]), buffer(p, Logits).first = 0; }},
      {"read before it is written", [](fb::PlanT &p) { at(p, 2, 0).operands[1]->bytes = 128, p.kernels[0]->arguments[1]->bytes = 128; }},
      {"is no input of this segment", [](fb::PlanT &p) { program(p).segments[0]->inputs.erase(program(p).segments[0]->inputs.begin()); }},
      {"written outside training", [](fb::PlanT &p) { at(p, 2, 1).operands[2]->buffer = Weight; }},
      {"is an input, but written", [](fb::PlanT &p) { at(p, 0, 0).operands[0]->access = fb::Access::ReadWrite; }},
  });
}

/// Adds a division into groups of one rank.
void addGroups(fb::PlanT &plan) {
  plan.groups.push_back(std::make_unique<fb::GroupsT>());
  plan.groups.back()->size = 1;
  plan.groups.back()->ranks = {0};
}

/// Makes the gradient of the logits the rank's own part of the logits, and the contraction write only that.
void makeOwnPart(fb::PlanT &plan) {
  addGroups(plan);
  fb::BufferT &part = buffer(plan, LogitsGradient);
  part.place_groups = 0;
  part.place_stride = part.bytes;
  part.first = 1;
  at(plan, Accumulate, 1).operands[2]->buffer = LogitsGradient;
}

// A rank's own part is read where it was written as such, or where everything was.
TEST(Validator, OwnParts) {
  fb::PlanT plan = tinyPlan();
  makeOwnPart(plan);
  EXPECT_EQ(problemsOf(plan), std::vector<std::string>());
  at(plan, Accumulate, 1).operands[2]->buffer = Logits;
  EXPECT_EQ(problemsOf(plan), std::vector<std::string>());
  auto fillPart = [](fb::PlanT &p, uint64_t bytes) {
    fb::FillT fill;
    fill.width = 4;
    fb::InstructionT &first = at(p, Accumulate, 1);
    first.body.Set(std::move(fill));
    first.operands.erase(first.operands.begin(), first.operands.begin() + 2);
    first.operands[0]->bytes = bytes;
  };
  runCases({
      {"'logits_gradient': is read before it is written", [&](fb::PlanT &p) { makeOwnPart(p), fillPart(p, 128); }},
      {"'logits': is read before it is written", [](fb::PlanT &p) { makeOwnPart(p), at(p, Accumulate, 3).operands[1]->buffer = Logits; }},
      {"B is not aligned", [](fb::PlanT &p) { makeOwnPart(p), buffer(p, LogitsGradient).type = fb::DataType::U8, buffer(p, LogitsGradient).place_stride += 1; }},
      {"fill is not aligned", [&](fb::PlanT &p) { makeOwnPart(p), fillPart(p, 256), buffer(p, LogitsGradient).type = fb::DataType::U8, buffer(p, LogitsGradient).place_stride += 2; }},
  });
}

TEST(Validator, Launches) {
  runCases({
      {"kernel out of range", [](fb::PlanT &p) { at(p, 0, 0).body.AsLaunch()->kernel = 5; }},
      {"takes 2 arguments, not 1", [](fb::PlanT &p) { at(p, 0, 0).operands.pop_back(); }},
      {"takes 3 arguments", [](fb::PlanT &p) { at(p, 0, 0).body.AsLaunch()->kernel = 1; }},
      {"fewer bytes", [](fb::PlanT &p) { at(p, 0, 0).operands[1]->bytes -= 4; }},
      {"another access", [](fb::PlanT &p) { p.kernels[0]->arguments[1]->access = fb::Access::ReadWrite; }},
      {"is not executed", [](fb::PlanT &p) { at(p, 0, 0).body.Set(fb::SendT()); }},
      {"is not executed", [](fb::PlanT &p) { at(p, 0, 0).body.Set(fb::HostCallT()); }},
      {"is not executed", [](fb::PlanT &p) { at(p, 0, 0).body.Reset(); }},
      {"copy of unequal sizes", [](fb::PlanT &p) { at(p, 3, 2).operands[1]->bytes -= 4; }},
      {"wrong access", [](fb::PlanT &p) { at(p, 3, 2).operands[0]->access = fb::Access::ReadWrite; }},
      {"copy onto itself", [](fb::PlanT &p) { at(p, 3, 2).operands[1]->buffer = OutLogits; }},
      {"fill width", [](fb::PlanT &p) { at(p, 3, 2).operands.pop_back(), at(p, 3, 2).body.Set(fb::FillT()); }},
      {"instruction kind Send is not executed", [](fb::PlanT &p) { at(p, 0, 0).body.Set(fb::SendT()); }},
      {"copy needs a destination and a source", [](fb::PlanT &p) { at(p, 3, 2).operands.pop_back(); }},
      {"a wait has no operands", [](fb::PlanT &p) { at(p, 3, 2).body.Set(fb::WaitT()); }},
  });
}

/// The copy of segment `predict` becomes a fill of its destination.
fb::InstructionT &makeFill(fb::PlanT &p, uint8_t width) {
  fb::InstructionT &instruction = at(p, Predict, 2);
  instruction.operands.pop_back();
  fb::FillT fill;
  fill.width = width;
  instruction.body.Set(std::move(fill));
  return instruction;
}

TEST(Validator, Fills) {
  fb::PlanT good = tinyPlan();
  makeFill(good, 4);
  EXPECT_EQ(problemsOf(good), std::vector<std::string>());
  runCases({
      {"fill width is not 1, 2, 4 or 8", [](fb::PlanT &p) { makeFill(p, 3); }},
      {"fill needs one destination", [](fb::PlanT &p) { makeFill(p, 4).operands.clear(); }},
      {"fill has the wrong access", [](fb::PlanT &p) { makeFill(p, 4).operands[0]->access = fb::Access::Read; }},
      {"fill does not fit its destination", [](fb::PlanT &p) { makeFill(p, 8).operands[0]->bytes = 12; }},
      {"fill is not aligned", [](fb::PlanT &p) { makeFill(p, 8).operands[0]->bytes = 8, at(p, Predict, 2).operands[0]->offset = 4; }},
  });
}

TEST(Validator, Contractions) {
  fb::PlanT single = tinyPlan(); // a dimension of one element has any stride
  gemm(single).batch = {1}, gemm(single).a_batch = gemm(single).b_batch = gemm(single).c_batch = {0};
  EXPECT_EQ(problemsOf(single), std::vector<std::string>());
  runCases({
      {"size is impossible", [](fb::PlanT &p) { gemm(p).m = 0; }},
      {"size is impossible", [](fb::PlanT &p) { gemm(p).k = -8; }},
      {"A leaves its operand", [](fb::PlanT &p) { gemm(p).m = 9; }},
      {"strides of B", [](fb::PlanT &p) { gemm(p).n = 9; }},
      {"B leaves its operand", [](fb::PlanT &p) { gemm(p).b_row = 9; }},
      {"strides of A", [](fb::PlanT &p) { gemm(p).a_column = 2; }},
      {"strides of A", [](fb::PlanT &p) { gemm(p).a_row = int64_t(1) << 62; }},
      {"row stride of C", [](fb::PlanT &p) { gemm(p).c_row = 7; }},
      {"tile is impossible", [](fb::PlanT &p) { gemm(p).tile_m = 0; }},
      {"batch sizes and strides", [](fb::PlanT &p) { gemm(p).batch = {2}; }},
      {"elements of C overlap", [](fb::PlanT &p) { gemm(p).batch = {2}, gemm(p).a_batch = gemm(p).b_batch = gemm(p).c_batch = {0}; }},
      {"leaves its operand", [](fb::PlanT &p) { gemm(p).batch = {2}, gemm(p).a_batch = gemm(p).b_batch = {0}, gemm(p).c_batch = {64}; }},
      {"batch stride", [](fb::PlanT &p) { gemm(p).batch = {2}, gemm(p).a_batch = {-64}, gemm(p).b_batch = gemm(p).c_batch = {0}; }},
      {"type is not executed", [](fb::PlanT &p) { gemm(p).type = fb::DataType::I8; }},
      {"type is not executed", [](fb::PlanT &p) { gemm(p).output_type = fb::DataType::F64; }},
      {"wrong number of operands", [](fb::PlanT &p) { gemm(p).has_bias = true; }},
      {"access of C", [](fb::PlanT &p) { gemm(p).beta = 1; }},
      {"beta is not finite", [](fb::PlanT &p) { gemm(p).beta = NAN; }},
      {"unknown activation", [](fb::PlanT &p) { gemm(p).activation = static_cast<fb::Activation>(9); }},
      {"C overlaps", [](fb::PlanT &p) { at(p, 0, 3).operands[0]->buffer = Gradient; }},
      {"contraction has too many tiles", [](fb::PlanT &p) {
         gemm(p).tile_m = gemm(p).tile_n = 1;
         gemm(p).batch = {1 << 26};
         gemm(p).a_batch = gemm(p).b_batch = gemm(p).c_batch = {0};
       }},
      {"activation together with beta", [](fb::PlanT &p) {
         gemm(p).beta = 1, gemm(p).activation = fb::Activation::Relu;
         at(p, 0, 1).operands[2]->access = fb::Access::ReadWrite;
       }},
      {"A and B must be read only", [](fb::PlanT &p) { at(p, 0, 1).operands[1]->access = fb::Access::ReadWrite; }},
  });
}

/// The first contraction gets a bias: eight f32 values of `buffer` from `offset` on.
fb::OperandT &addBias(fb::PlanT &p, int buffer, uint64_t offset) {
  gemm(p).has_bias = true;
  at(p, Accumulate, 1).operands.push_back(std::make_unique<fb::OperandT>());
  fb::OperandT &bias = *at(p, Accumulate, 1).operands.back();
  bias.buffer = static_cast<uint32_t>(buffer);
  bias.offset = offset;
  bias.bytes = 32;
  bias.access = fb::Access::Read;
  return bias;
}

TEST(Validator, BiasOfContractions) {
  fb::PlanT good = tinyPlan();
  addBias(good, Momentum, 64);
  EXPECT_EQ(problemsOf(good), std::vector<std::string>());
  runCases({
      {"bias is too small or not read only", [](fb::PlanT &p) { addBias(p, Momentum, 0).bytes = 28; }},
      {"bias is too small or not read only", [](fb::PlanT &p) { addBias(p, Momentum, 0).access = fb::Access::ReadWrite; }},
      {"bias is not aligned", [](fb::PlanT &p) {
         buffer(p, Momentum).type = fb::DataType::U8, buffer(p, Momentum).shape = {256};
         addBias(p, Momentum, 2);
       }},
      {"C overlaps the bias", [](fb::PlanT &p) { addBias(p, Logits, 32); }},
  });
}

TEST(Validator, InputsOutputsSchedule) {
  auto inputOf = [](fb::PlanT &p) -> fb::InputT & { return *program(p).segments[0]->inputs[0]; };
  auto outputOf = [](fb::PlanT &p) -> fb::OutputT & { return *program(p).segments[1]->outputs[0]; };
  runCases({
      {"unknown source", [&](fb::PlanT &p) { inputOf(p).source = static_cast<fb::Source>(7); }},
      {"its array has no name", [&](fb::PlanT &p) { inputOf(p).source = fb::Source::Array; }},
      {"input arena", [&](fb::PlanT &p) { inputOf(p).buffer = Weight; }},
      {"its samples are cut", [&](fb::PlanT &p) { inputOf(p).cuts.push_back(std::make_unique<fb::CutT>()); }},
      {"its samples are cut", [&](fb::PlanT &p) {
         inputOf(p).cuts.push_back(std::make_unique<fb::CutT>());
         inputOf(p).cuts[0]->dim = 1;
         addGroups(p);
       }},
      {"written once, but its buffer lives in one segment", [&](fb::PlanT &p) {
         addGroups(p);
         inputOf(p).source = fb::Source::Place;
         inputOf(p).place_groups = 0;
         buffer(p, Ids).shape = {};
         buffer(p, Ids).segment = Accumulate;
       }},
      {"samples of a run", [&](fb::PlanT &p) { inputOf(p).buffer = PredictIds; }},
      {"its first dimension is not the 2 samples", [&](fb::PlanT &p) { inputOf(p).buffer = PredictIds; }},
      {"a position is not two 64-bit integers", [&](fb::PlanT &p) { inputOf(p).source = fb::Source::Position; }},
      {"its type cannot be filled from its source", [&](fb::PlanT &p) { buffer(p, Ids).type = fb::DataType::F64; }},
      {"its type cannot be filled from its source", [&](fb::PlanT &p) {
         inputOf(p).source = fb::Source::Array, inputOf(p).array = "x";
         buffer(p, Ids).type = fb::DataType::F16;
       }},
      {"a shifted array needs integer rows", [&](fb::PlanT &p) {
         inputOf(p).source = fb::Source::ArrayNext, inputOf(p).array = "x";
         buffer(p, Ids).type = fb::DataType::F64;
       }},
      {"its limit is impossible", [&](fb::PlanT &p) { inputOf(p).limit = uint64_t(1) << 63; }},
      {"is neither f32 nor f64", [&](fb::PlanT &p) { outputOf(p).buffer = StepCount; }},
      {"runs segment 'update' out of order", [](fb::PlanT &p) { std::swap(program(p).schedule[1], program(p).schedule[2]); }},
      {"its weights file leaves the folder", [](fb::PlanT &p) { p.weights = "../w.safetensors"; }},
      {"its weights file leaves the folder", [](fb::PlanT &p) { p.weights = "/w.safetensors"; }},
      {"weight: its buffer is no scalar of the state", [](fb::PlanT &p) { program(p).weight = OutLoss; }},
      {"weight: its buffer is no scalar of the state", [](fb::PlanT &p) { program(p).weight = 1000; }},
      {"not [samples, sequence]", [](fb::PlanT &p) { p.sequence = 3; }},
      {"two of one name", [&](fb::PlanT &p) { inputOf(p).name = "labels"; }},
      {"is never written", [&](fb::PlanT &p) { at(p, 1, 0).operands[6]->buffer = OutNorm; }},
      {"is not a scalar", [&](fb::PlanT &p) { outputOf(p).buffer = Gradient; }},
      {"buffer out of range", [&](fb::PlanT &p) { outputOf(p).buffer = 1000; }},
      {"does not outlive", [&](fb::PlanT &p) { program(p).segments[0]->outputs.push_back(std::make_unique<fb::OutputT>()), program(p).segments[0]->outputs[0]->name = "x", program(p).segments[0]->outputs[0]->buffer = Logits; }},
      {"is unknown to this runtime", [](fb::PlanT &p) { program(p).segments[0]->name = "forward"; }},
      {"two segments are named", [](fb::PlanT &p) { program(p).segments[3]->name = "evaluate"; }},
      {"every micro-batch once", [](fb::PlanT &p) { program(p).schedule.pop_back(); }},
      {"out of order", [](fb::PlanT &p) { std::swap(program(p).schedule[1], program(p).schedule[2]); }},
      {"micro-batch out of order", [](fb::PlanT &p) { program(p).schedule[1]->micro_batch = 0; }},
      {"slot out of range", [](fb::PlanT &p) { program(p).schedule[0]->slot = 1; }},
      {"segment out of range", [](fb::PlanT &p) { program(p).schedule[0]->segment = 9; }},
  });
}

void setView(fb::PlanT &p, fb::ViewKind kind, std::vector<int64_t> values) {
  parameter(p).view[0]->kind = kind;
  parameter(p).view[0]->values = std::move(values);
}

TEST(Validator, ParametersAndScalars) {
  auto setFile = [](fb::PlanT &p, const char *path) {
    parameter(p).init->kind = fb::InitKind::File;
    parameter(p).init->path = path;
    parameter(p).init->bytes = 256;
  };
  runCases({
      {"does not live in a state arena", [](fb::PlanT &p) { parameter(p).buffer = Onehot; }},
      {"out of range or unsound", [](fb::PlanT &p) { parameter(p).buffer = 99; }},
      {"do not match its buffer's shape", [](fb::PlanT &p) { parameter(p).shape = {4, 8}; }},
      {"too large", [](fb::PlanT &p) { parameter(p).shape = {INT64_MAX, 8}; }},
      {"not a permutation", [](fb::PlanT &p) { parameter(p).view[0]->values = {1, 1}; }},
      {"wrong number of dimensions", [](fb::PlanT &p) { parameter(p).view[0]->values = {0}; }},
      {"unknown view kind", [](fb::PlanT &p) { parameter(p).view[0]->kind = static_cast<fb::ViewKind>(8); }},
      {"type differs", [](fb::PlanT &p) { parameter(p).type = fb::DataType::F64; }},
      {"a name is empty", [](fb::PlanT &p) { parameter(p).name = ""; }},
      {"two parameters are named", [](fb::PlanT &p) { parameter(p).aliases = {"bigram.weight"}; }},
      {"is frozen", [](fb::PlanT &p) { parameter(p).trainable = false; }},
      {"gradient out of range", [](fb::PlanT &p) { parameter(p).gradient->buffer = 99; }},
      {"gradient and parameter differ", [](fb::PlanT &p) { parameter(p).gradient->buffer = LossSum; }},
      {"shares its buffer", [](fb::PlanT &p) { parameter(p).states[0]->buffer = Weight; }},
      {"state 'momentum': reshape changes the number of elements", [](fb::PlanT &p) { parameter(p).states[0]->view.push_back(std::make_unique<fb::ViewT>()), parameter(p).states[0]->view[0]->values = {3}; }},
      {"state without a name", [](fb::PlanT &p) { parameter(p).states[0]->name = ""; }},
      {"deviation is impossible", [](fb::PlanT &p) { parameter(p).init->b = -1; }},
      {"deviation is impossible", [](fb::PlanT &p) { parameter(p).init->a = INFINITY; }},
      {"its range is impossible", [](fb::PlanT &p) { parameter(p).init->kind = fb::InitKind::Uniform, parameter(p).init->a = 1, parameter(p).init->b = 0; }},
      {"its constant is not finite", [](fb::PlanT &p) { parameter(p).init->kind = fb::InitKind::Constant, parameter(p).init->a = NAN; }},
      {"unknown initializer", [](fb::PlanT &p) { parameter(p).init->kind = static_cast<fb::InitKind>(9); }},
      {"slice has the wrong number of values", [](fb::PlanT &p) { setView(p, fb::ViewKind::Slice, {0, 8}); }},
      {"slice leaves dimension 1", [](fb::PlanT &p) { setView(p, fb::ViewKind::Slice, {0, 8, 1, 8}); }},
      {"pad has the wrong number of values", [](fb::PlanT &p) { setView(p, fb::ViewKind::Pad, {0, 0, 0}); }},
      {"pad is negative or too large", [](fb::PlanT &p) { setView(p, fb::ViewKind::Pad, {0, 0, -1, 1}); }},
      {"gradient does not live from accumulate to update", [](fb::PlanT &p) { parameter(p).gradient->buffer = Logits; }},
      {"gradient is neither f32 nor f64", [](fb::PlanT &p) { buffer(p, Gradient).type = fb::DataType::I32; }},
      {"scalar 'lr': initial value is impossible", [](fb::PlanT &p) { program(p).scalars[1]->initial = 1e39; }},
      {"leaves the folder", [&](fb::PlanT &p) { setFile(p, "/etc/passwd"); }},
      {"leaves the folder", [&](fb::PlanT &p) { setFile(p, "a/../../b"); }},
      {"leaves the folder", [&](fb::PlanT &p) { setFile(p, ""); }},
      {"do not match its shape", [&](fb::PlanT &p) { setFile(p, "w.bin"), parameter(p).init->bytes = 255; }},
      {"overflows", [&](fb::PlanT &p) { setFile(p, "w.bin"), parameter(p).init->offset = UINT64_MAX - 100; }},
      {"type is not", [](fb::PlanT &p) { program(p).scalars[1]->type = fb::DataType::I8; }},
      {"initial value is impossible", [](fb::PlanT &p) { program(p).scalars[1]->initial = NAN; }},
      {"two of one name", [](fb::PlanT &p) { program(p).scalars[1]->name = "step"; }},
      {"shares its buffer", [](fb::PlanT &p) { program(p).scalars[1]->buffer = StepCount; }},
  });
}

void runSharedCases(const std::vector<Case> &cases) {
  for (const Case &test : cases) {
    fb::PlanT plan = statePlan({2, 2, true});
    ASSERT_EQ(problemsOf(plan), std::vector<std::string>());
    test.alter(plan);
    expectProblem(problemsOf(plan), test.expected);
  }
}

// What ranks hold of each tensor: parameters 0 embed [10, 8], 1 qkv [8, 3, 8], 2 proj [4, 8], 3 norm [16].
TEST(Validator, PartsOfTheState) {
  auto cut = [](fb::PlanT &p, int index) -> fb::CutT & { return *program(p).parameters[index]->cuts[0]; };
  auto state = [](fb::PlanT &p, int index) -> fb::StateBufferT & { return *program(p).parameters[index]->states[0]; };
  runSharedCases({
      {"does not exist", [&](fb::PlanT &p) { cut(p, 1).dim = 3; }},
      {"does not exist", [&](fb::PlanT &p) { cut(p, 1).groups = 2; }},
      {"is not cut evenly", [&](fb::PlanT &p) { cut(p, 1).dim = 1; }},
      {"state 'exp_avg': dimension 1 of size 3 is not cut evenly", [&](fb::PlanT &p) { state(p, 1).cuts[1]->dim = 1; }},
      {"do not match its buffer's shape", [&](fb::PlanT &p) { program(p).parameters[1]->cuts.clear(); }},
      {"do not match its buffer's shape", [&](fb::PlanT &p) { state(p, 3).cuts.clear(); }},
      {"gradient and parameter differ", [&](fb::PlanT &p) { program(p).parameters[3]->gradient->cuts.clear(); }},
      {"sum over no division", [&](fb::PlanT &p) { program(p).parameters[3]->gradient->sum = {2}; }},
      {"sum over no division", [&](fb::PlanT &p) { state(p, 3).sum = {2}; }},
      {"gradient: is a sum over ranks that hold different parts", [&](fb::PlanT &p) { program(p).parameters[1]->gradient->sum = {TpGroups}; }},
      {"state 'exp_avg': is a sum over ranks that hold different parts", [&](fb::PlanT &p) { state(p, 3).sum = {DpGroups}; }},
      {"weight: is a sum over no division", [&](fb::PlanT &p) { program(p).weight_sum = {2}; }},
      {"weight: its buffer is no scalar", [&](fb::PlanT &p) { program(p).weight = 0; }},
      {"weight: its buffer is no scalar", [&](fb::PlanT &p) { program(p).weight = 99; }},
      {"weight: its buffer is no scalar", [&](fb::PlanT &p) { buffer(p, program(p).weight).type = fb::DataType::U8; }},
      {"has the name of another parameter's state", [&](fb::PlanT &p) { program(p).parameters[1]->name = "norm.x", state(p, 1).name = "y", state(p, 3).name = "x.y"; }},
  });
}

// A second program, which ranks 2 and 3 run, must mean the same by the same names.
TEST(Validator, ProgramsShareTheState) {
  auto alterSecond = [](std::function<void(fb::ParameterT &)> alter) {
    return [alter](fb::PlanT &plan) {
      plan.programs.push_back(std::make_unique<fb::RankProgramT>(*plan.programs[0]));
      plan.ranks[2]->program = plan.ranks[3]->program = 1;
      alter(*plan.programs[1]->parameters[1]);
    };
  };
  std::string other = "has another shape, type or view than in another program";
  std::string parameterText = "program 1 parameter 'qkv': " + other, stateText = "program 1 state 'qkv.exp_avg': " + other,
              gradientText = "program 1 gradient of 'qkv': " + other;
  runSharedCases({
      {parameterText.c_str(), alterSecond([](fb::ParameterT &parameter) { parameter.shape = {24, 8}; })},
      {stateText.c_str(), alterSecond([](fb::ParameterT &parameter) { parameter.shape = {24, 8}; })},
      {gradientText.c_str(), alterSecond([](fb::ParameterT &parameter) { parameter.view[0]->values = {4, 2, 3, 8}, parameter.view.push_back(std::make_unique<fb::ViewT>()), parameter.view[1]->values = {8, 3, 8}; })},
      {"'qkv.exp_avg': some of it is held by no rank", alterSecond([](fb::ParameterT &parameter) { parameter.states[0]->name = "other"; })},
  });
}

TEST(Validator, ConstantsAreNotWritten) {
  fb::PlanT plan = tinyPlan();
  program(plan).arenas[2]->kind = fb::ArenaKind::Constant;
  std::vector<std::string> problems = problemsOf(plan, {1000, 1 << 20});
  ASSERT_FALSE(problems.empty());
  EXPECT_NE(problems[0].find("is constant, but written"), std::string::npos) << problems[0];
}

// All problems come at once, not only the first.
TEST(Validator, KernelsNeedTheirImage) {
  expectProblem(problemsOf(tinyPlan(), {0, 0}), "the file holds no kernel image");
}

TEST(Validator, LargeRatesAreTheUsersAffair) {
  fb::PlanT plan = tinyPlan();
  program(plan).scalars[1]->initial = 1e30;
  EXPECT_EQ(problemsOf(plan), std::vector<std::string>());
}

TEST(Validator, ReportsAllProblems) {
  fb::PlanT plan = tinyPlan();
  buffer(plan, Weight).arena = 9;
  program(plan).schedule[0]->slot = 3;
  program(plan).scalars[1]->initial = NAN;
  EXPECT_GE(problemsOf(plan).size(), 3u);
}

} // namespace
