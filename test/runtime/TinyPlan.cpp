//===- TinyPlan.cpp - a small plan that really trains ---------------------===//
#include "test/runtime/TinyPlan.h"
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace llmc::test {

using fb::Access;
using fb::DataType;

static constexpr int64_t kVocabulary = 8, kSequence = 4, kSamples = 2, kTokens = kSequence * kSamples;
static constexpr uint64_t kMatrix = kVocabulary * kVocabulary * 4, kRows = kTokens * kVocabulary * 4;
enum Arena { StateArena, InputArena, ScratchArena, OutputArena };
enum KernelIndex { OnehotKernel, LossKernel, UpdateKernel, EvaluateKernel, PredictKernel };

namespace {
/// Adds buffers one behind the other, each at a multiple of 64.
struct BufferBuilder {
  fb::RankProgramT &program;

  uint64_t add(const char *name, uint32_t arena, DataType type, std::vector<int64_t> shape, uint64_t bytes,
               int32_t segment = -1, uint32_t first = 0, uint32_t last = 0) {
    auto buffer = std::make_unique<fb::BufferT>();
    uint64_t &end = program.arenas[arena]->bytes;
    buffer->name = name;
    buffer->category = "test";
    buffer->arena = arena;
    buffer->offset = end;
    buffer->bytes = bytes;
    buffer->type = type;
    buffer->shape = std::move(shape);
    buffer->segment = segment;
    buffer->first = first;
    buffer->last = last;
    end += (bytes + 63) / 64 * 64;
    program.buffers.push_back(std::move(buffer));
    return program.buffers.back()->offset;
  }
};
} // namespace

static void addBuffers(fb::RankProgramT &program) {
  using fb::ArenaKind;
  for (auto [name, kind] : {std::pair("state", ArenaKind::State), std::pair("input", ArenaKind::Input),
                            std::pair("scratch", ArenaKind::Scratch), std::pair("output", ArenaKind::Output)}) {
    program.arenas.push_back(std::make_unique<fb::ArenaT>());
    program.arenas.back()->name = name;
    program.arenas.back()->kind = kind;
  }
  BufferBuilder add{program};
  for (const char *name : {"weight", "momentum", "gradient"})
    add.add(name, StateArena, DataType::F32, {kVocabulary, kVocabulary}, kMatrix);
  add.add("loss_sum", StateArena, DataType::F32, {}, 4);
  add.add("step", StateArena, DataType::I64, {}, 8);
  add.add("lr", StateArena, DataType::F32, {}, 4);
  add.add("ids", InputArena, DataType::I64, {kSamples, kSequence}, kTokens * 8);
  add.add("labels", InputArena, DataType::I64, {kSamples, kSequence}, kTokens * 8);
  add.add("predict_ids", InputArena, DataType::I64, {1, kSequence}, kSequence * 8);
  add.add("onehot", ScratchArena, DataType::F32, {kTokens, kVocabulary}, kRows, Accumulate, 0, 3);
  add.add("logits", ScratchArena, DataType::F32, {kTokens, kVocabulary}, kRows, Accumulate, 1, 3);
  add.add("logits_gradient", ScratchArena, DataType::F32, {kTokens, kVocabulary}, kRows, Accumulate, 2, 3);
  program.buffers[LogitsGradient]->alias_of = Logits;
  program.buffers[LogitsGradient]->offset = program.buffers[Logits]->offset;
  add.add("eval_onehot", ScratchArena, DataType::F32, {kTokens, kVocabulary}, kRows, Evaluate, 0, 1);
  add.add("eval_logits", ScratchArena, DataType::F32, {kTokens, kVocabulary}, kRows, Evaluate, 1, 2);
  add.add("predict_onehot", ScratchArena, DataType::F32, {kSequence, kVocabulary}, kRows / 2, Predict, 0, 1);
  add.add("predict_logits", ScratchArena, DataType::F32, {kSequence, kVocabulary}, kRows / 2, Predict, 1, 2);
  program.buffers[EvalOnehot]->offset = 0; // shares space with accumulate's
  program.buffers[EvalLogits]->offset = kRows;
  program.buffers[PredictOnehot]->offset = 0;
  program.buffers[PredictScratch]->offset = kRows;
  for (const char *name : {"loss", "grad_norm", "lr_used"})
    add.add(name, OutputArena, DataType::F32, {}, 4, Update, 0, 0);
  add.add("eval_sum", OutputArena, DataType::F32, {}, 4, Evaluate, 2, 2);
  add.add("eval_weight", OutputArena, DataType::F32, {}, 4, Evaluate, 2, 2);
  add.add("predicted", OutputArena, DataType::F32, {1, kSequence, kVocabulary}, kRows / 2, Predict, 2, 2);
}

static std::unique_ptr<fb::InstructionT> instruction(const fb::RankProgramT &program, const char *name,
                                                     std::vector<std::pair<int, Access>> operands) {
  auto result = std::make_unique<fb::InstructionT>();
  result->name = name;
  result->origin = std::string("/tiny/") + name;
  for (auto [buffer, access] : operands) {
    auto operand = std::make_unique<fb::OperandT>();
    operand->buffer = static_cast<uint32_t>(buffer);
    operand->bytes = program.buffers[buffer]->bytes;
    operand->access = access;
    result->operands.push_back(std::move(operand));
  }
  return result;
}

static void setLaunch(fb::InstructionT &instruction, uint32_t kernel) {
  fb::LaunchT launch;
  launch.kernel = kernel;
  instruction.body.Set(std::move(launch));
}

/// rows x 8 times 8 x 8, or with `transposed` (8 x rows) times (rows x 8).
static void setGemm(fb::InstructionT &instruction, int64_t rows, bool transposed) {
  fb::GemmT gemm;
  gemm.m = transposed ? kVocabulary : rows;
  gemm.n = kVocabulary;
  gemm.k = transposed ? rows : kVocabulary;
  gemm.a_row = transposed ? 1 : kVocabulary;
  gemm.a_column = transposed ? kVocabulary : 1;
  gemm.b_row = kVocabulary;
  gemm.b_column = 1;
  gemm.c_row = kVocabulary;
  gemm.beta = transposed ? 1.0f : 0.0f;
  gemm.tile_m = 3;
  gemm.tile_n = 5;
  instruction.body.Set(std::move(gemm));
}

static std::unique_ptr<fb::InputT> input(const char *name, int buffer, fb::Source source, bool ignores) {
  auto result = std::make_unique<fb::InputT>();
  result->name = name;
  result->buffer = static_cast<uint32_t>(buffer);
  result->source = source;
  result->limit = kVocabulary;
  result->allow_ignored = ignores;
  return result;
}

static std::unique_ptr<fb::OutputT> output(const char *name, int buffer) {
  auto result = std::make_unique<fb::OutputT>();
  result->name = name;
  result->buffer = static_cast<uint32_t>(buffer);
  return result;
}

static void addTrainingSegments(fb::RankProgramT &program) {
  auto accumulate = std::make_unique<fb::SegmentT>();
  accumulate->name = "accumulate";
  accumulate->inputs.push_back(input("ids", Ids, fb::Source::Tokens, false));
  accumulate->inputs.push_back(input("labels", Labels, fb::Source::TokensNext, true));
  auto add = [&](fb::SegmentT &segment, std::unique_ptr<fb::InstructionT> entry) -> fb::InstructionT & {
    segment.instructions.push_back(std::move(entry));
    return *segment.instructions.back();
  };
  setLaunch(add(*accumulate, instruction(program, "onehot", {{Ids, Access::Read}, {Onehot, Access::Write}})), OnehotKernel);
  setGemm(add(*accumulate, instruction(program, "logits", {{Onehot, Access::Read}, {Weight, Access::Read}, {Logits, Access::Write}})),
          kTokens, false);
  setLaunch(add(*accumulate, instruction(program, "loss", {{LogitsGradient, Access::ReadWrite}, {Labels, Access::Read}, {LossSum, Access::ReadWrite}})),
            LossKernel);
  setGemm(add(*accumulate, instruction(program, "gradient", {{Onehot, Access::Read}, {LogitsGradient, Access::Read}, {Gradient, Access::ReadWrite}})),
          kTokens, true);
  program.segments.push_back(std::move(accumulate));

  auto update = std::make_unique<fb::SegmentT>();
  update->name = "update";
  setLaunch(add(*update, instruction(program, "sgd", {{Weight, Access::ReadWrite}, {Momentum, Access::ReadWrite}, {Gradient, Access::ReadWrite},
                                                      {LossSum, Access::ReadWrite}, {StepCount, Access::ReadWrite}, {LearningRate, Access::Read},
                                                      {OutLoss, Access::Write}, {OutNorm, Access::Write}, {OutRate, Access::Write}})),
            UpdateKernel);
  update->outputs.push_back(output("loss", OutLoss));
  update->outputs.push_back(output("grad_norm", OutNorm));
  update->outputs.push_back(output("lr", OutRate));
  program.segments.push_back(std::move(update));
}

static void addOtherSegments(fb::RankProgramT &program) {
  auto evaluate = std::make_unique<fb::SegmentT>();
  evaluate->name = "evaluate";
  evaluate->inputs.push_back(input("ids", Ids, fb::Source::Tokens, false));
  evaluate->inputs.push_back(input("labels", Labels, fb::Source::TokensNext, true));
  evaluate->instructions.push_back(instruction(program, "onehot", {{Ids, Access::Read}, {EvalOnehot, Access::Write}}));
  setLaunch(*evaluate->instructions.back(), OnehotKernel);
  evaluate->instructions.push_back(
      instruction(program, "logits", {{EvalOnehot, Access::Read}, {Weight, Access::Read}, {EvalLogits, Access::Write}}));
  setGemm(*evaluate->instructions.back(), kTokens, false);
  evaluate->instructions.push_back(instruction(
      program, "evaluate", {{EvalLogits, Access::Read}, {Labels, Access::Read}, {OutSum, Access::Write}, {OutWeight, Access::Write}}));
  setLaunch(*evaluate->instructions.back(), EvaluateKernel);
  evaluate->outputs.push_back(output("loss_sum", OutSum));
  evaluate->outputs.push_back(output("weight", OutWeight));
  program.segments.push_back(std::move(evaluate));

  auto predict = std::make_unique<fb::SegmentT>();
  predict->name = "predict";
  predict->inputs.push_back(input("ids", PredictIds, fb::Source::Tokens, false));
  predict->instructions.push_back(instruction(program, "onehot", {{PredictIds, Access::Read}, {PredictOnehot, Access::Write}}));
  setLaunch(*predict->instructions.back(), PredictKernel);
  predict->instructions.push_back(
      instruction(program, "logits", {{PredictOnehot, Access::Read}, {Weight, Access::Read}, {PredictScratch, Access::Write}}));
  setGemm(*predict->instructions.back(), kSequence, false);
  predict->instructions.push_back(instruction(program, "copy", {{OutLogits, Access::Write}, {PredictScratch, Access::Read}}));
  predict->instructions.back()->body.Set(fb::CopyT());
  predict->outputs.push_back(output("logits", OutLogits));
  program.segments.push_back(std::move(predict));
}

static void addKernels(fb::PlanT &plan) {
  struct Signature {
    const char *symbol;
    uint32_t workgroups;
    uint32_t segment, instruction; // whose operands are its arguments
  };
  for (Signature signature : {Signature{"tiny_onehot", kTokens, Accumulate, 0}, Signature{"tiny_loss", 1, Accumulate, 2},
                              Signature{"tiny_update", 1, Update, 0}, Signature{"tiny_evaluate", 1, Evaluate, 2},
                              Signature{"tiny_onehot_predict", 1, Predict, 0}}) {
    auto kernel = std::make_unique<fb::KernelT>();
    kernel->symbol = kernel->name = signature.symbol;
    kernel->workgroups = signature.workgroups;
    for (const auto &operand : plan.programs[0]->segments[signature.segment]->instructions[signature.instruction]->operands) {
      kernel->arguments.push_back(std::make_unique<fb::KernelArgumentT>());
      kernel->arguments.back()->bytes = operand->bytes;
      kernel->arguments.back()->access = operand->access;
    }
    plan.kernels.push_back(std::move(kernel));
  }
}

static void addState(fb::RankProgramT &program) {
  auto parameter = std::make_unique<fb::ParameterT>();
  parameter->name = "bigram.weight";
  parameter->shape = {kVocabulary, kVocabulary};
  parameter->buffer = Weight;
  parameter->trainable = true;
  parameter->gradient = std::make_unique<fb::StateBufferT>();
  parameter->gradient->buffer = Gradient;
  parameter->aliases = {"head.weight"};
  parameter->view.push_back(std::make_unique<fb::ViewT>());
  parameter->view.back()->kind = fb::ViewKind::Permute;
  parameter->view.back()->values = {1, 0};
  parameter->init = std::make_unique<fb::InitT>();
  parameter->init->kind = fb::InitKind::Normal;
  parameter->init->b = 0.02;
  parameter->states.push_back(std::make_unique<fb::StateBufferT>());
  parameter->states.back()->name = "momentum";
  parameter->states.back()->buffer = Momentum;
  program.parameters.push_back(std::move(parameter));
  auto addScalar = [&](const char *name, uint32_t buffer, DataType type, double initial, bool settable) {
    auto scalar = std::make_unique<fb::ScalarT>();
    scalar->name = name;
    scalar->buffer = buffer;
    scalar->type = type;
    scalar->initial = initial;
    scalar->settable = settable;
    program.scalars.push_back(std::move(scalar));
  };
  addScalar("step", StepCount, DataType::I64, 0, false);
  addScalar("lr", LearningRate, DataType::F32, 0.5, true);
}

fb::PlanT tinyPlan() {
  fb::PlanT plan;
  plan.producer = "test";
  plan.target = "cpu";
  plan.samples_per_step = 2 * kSamples;
  plan.samples_per_micro_batch = kSamples;
  plan.micro_batches = 2;
  plan.sequence = kSequence;
  plan.vocabulary = kVocabulary;
  plan.seed = 7;
  plan.shuffle = true;
  plan.total_steps = 10;
  plan.programs.push_back(std::make_unique<fb::RankProgramT>());
  fb::RankProgramT &program = *plan.programs[0];
  addBuffers(program);
  addTrainingSegments(program);
  addOtherSegments(program);
  addKernels(plan);
  addState(program);
  for (uint32_t i = 0; i < 3; ++i) {
    program.schedule.push_back(std::make_unique<fb::ScheduleEntryT>());
    program.schedule.back()->segment = i == 2 ? Update : Accumulate;
    program.schedule.back()->micro_batch = i == 2 ? 0 : i;
  }
  plan.ranks.push_back(std::make_unique<fb::RankT>());
  plan.forecast = std::make_unique<fb::ForecastT>();
  plan.forecast->step_flops = 1000;
  return plan;
}

std::vector<uint8_t> pack(const fb::PlanT &plan) {
  flatbuffers::FlatBufferBuilder builder;
  fb::FinishPlanBuffer(builder, fb::Plan::Pack(builder, &plan));
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

std::vector<uint8_t> tinyKernels() { return readBytes(LLMC_TINY_KERNELS); }

void writeTinyPlan(const fb::PlanT &plan, const std::string &path) {
  runtime::Status status = runtime::writePlan(path, pack(plan), tinyKernels(), {});
  ASSERT_TRUE(status.ok()) << status.message;
}

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "llmc-test-XXXXXX").string();
  path = ::mkdtemp(pattern.data());
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code error;
  std::filesystem::remove_all(path, error);
}

std::vector<uint8_t> readBytes(const std::string &path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void writeBytes(const std::string &path, const std::vector<uint8_t> &bytes) {
  std::ofstream stream(path, std::ios::binary);
  stream.write(reinterpret_cast<const char *>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

void writeTokens(const std::string &path, size_t count, unsigned limit) {
  std::vector<uint8_t> bytes;
  uint32_t state = 1;
  for (size_t i = 0; i < count; ++i) {
    state = state * 1664525 + 1013904223;
    unsigned id = (i % 13 ? static_cast<unsigned>(i) : state >> 24) % limit;
    bytes.push_back(static_cast<uint8_t>(id));
    bytes.push_back(static_cast<uint8_t>(id >> 8));
  }
  writeBytes(path, bytes);
}

} // namespace llmc::test
