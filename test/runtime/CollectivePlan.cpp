//===- CollectivePlan.cpp - plans in which ranks only talk ----------------===//
#include "test/runtime/CollectivePlan.h"
#include "runtime/plan/View.h"

namespace llmc::test {

enum Arena { StateArena, InputArena };

CollectivePlan::CollectivePlan(uint32_t ranks) {
  plan.samples_per_step = plan.samples_per_micro_batch = plan.micro_batches = plan.sequence = 1;
  auto addGroups = [&](const char *name, uint32_t size) {
    plan.groups.push_back(std::make_unique<fb::GroupsT>());
    plan.groups.back()->name = name;
    plan.groups.back()->size = size;
    return std::ref(plan.groups.back()->ranks);
  };
  std::vector<uint32_t> &all = addGroups("all", ranks), &across = addGroups("across", 2), &alone = addGroups("alone", 1);
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    plan.ranks.push_back(std::make_unique<fb::RankT>());
    all.push_back(rank);
    alone.push_back(rank);
    if (rank < ranks / 2)
      across.insert(across.end(), {rank + ranks / 2, rank});
  }
  plan.programs.push_back(std::make_unique<fb::RankProgramT>());
  for (fb::ArenaKind kind : {fb::ArenaKind::State, fb::ArenaKind::Input}) {
    program().arenas.push_back(std::make_unique<fb::ArenaT>());
    program().arenas.back()->kind = kind;
  }
  program().segments.push_back(std::make_unique<fb::SegmentT>());
  program().segments[0]->name = "update";
}

uint32_t CollectivePlan::add(const std::string &name, uint32_t arena, int64_t elements, fb::DataType type) {
  auto buffer = std::make_unique<fb::BufferT>();
  uint64_t &end = program().arenas[arena]->bytes;
  buffer->name = name;
  buffer->category = "test";
  buffer->arena = arena;
  buffer->offset = end;
  buffer->bytes = static_cast<uint64_t>(elements) * runtime::elementBytes(type);
  buffer->type = type;
  buffer->shape = {elements};
  end += (buffer->bytes + 63) / 64 * 64;
  program().buffers.push_back(std::move(buffer));
  return static_cast<uint32_t>(program().buffers.size() - 1);
}

uint32_t CollectivePlan::addBuffer(const std::string &name, int64_t elements, fb::DataType type) {
  return add(name, StateArena, elements, type);
}

uint32_t CollectivePlan::addPart(const std::string &name, uint32_t whole, CollectiveGroups groups) {
  auto part = std::make_unique<fb::BufferT>(buffer(whole));
  part->name = name;
  part->shape = {part->shape[0] / members(groups)};
  part->bytes /= members(groups);
  part->alias_of = static_cast<int32_t>(whole);
  part->place_groups = static_cast<int32_t>(groups);
  part->place_stride = part->bytes;
  program().buffers.push_back(std::move(part));
  return static_cast<uint32_t>(program().buffers.size() - 1);
}

uint32_t CollectivePlan::addPlace(const std::string &name, CollectiveGroups groups) {
  auto input = std::make_unique<fb::InputT>();
  input->name = name;
  input->buffer = add(name, InputArena, 1, fb::DataType::I64);
  input->source = fb::Source::Place;
  input->place_groups = static_cast<int32_t>(groups);
  program().segments[0]->inputs.push_back(std::move(input));
  return program().segments[0]->inputs.back()->buffer;
}

fb::InstructionT &CollectivePlan::addInstruction(const std::string &name) {
  auto &instructions = program().segments[0]->instructions;
  instructions.push_back(std::make_unique<fb::InstructionT>());
  instructions.back()->name = name + std::to_string(instructions.size());
  return *instructions.back();
}

void CollectivePlan::addOperand(fb::InstructionT &instruction, uint32_t index, fb::Access access) {
  instruction.operands.push_back(std::make_unique<fb::OperandT>());
  instruction.operands.back()->buffer = index;
  instruction.operands.back()->bytes = buffer(index).bytes;
  instruction.operands.back()->access = access;
}

fb::InstructionT &CollectivePlan::addCollective(fb::CollectiveKind kind, CollectiveGroups groups,
                                                const std::vector<std::pair<uint32_t, uint32_t>> &buffers, int32_t event) {
  fb::InstructionT &instruction = addInstruction("collective");
  fb::CollectiveT body;
  body.kind = kind;
  body.groups = groups;
  body.type = buffer(buffers[0].first).type;
  body.reason = "test of " + buffer(buffers[0].second).name;
  body.event = event;
  instruction.body.Set(std::move(body));
  for (auto [from, to] : buffers) {
    addOperand(instruction, from, fb::Access::Read);
    addOperand(instruction, to, fb::Access::Write);
  }
  return instruction;
}

fb::InstructionT &CollectivePlan::addWait(uint32_t event) {
  fb::InstructionT &instruction = addInstruction("wait");
  fb::WaitT body;
  body.event = event;
  instruction.body.Set(std::move(body));
  return instruction;
}

fb::InstructionT &CollectivePlan::addCopy(uint32_t to, uint32_t from) {
  fb::InstructionT &instruction = addInstruction("copy");
  instruction.body.Set(fb::CopyT());
  addOperand(instruction, to, fb::Access::Write);
  addOperand(instruction, from, fb::Access::Read);
  return instruction;
}

fb::RankProgramT &CollectivePlan::giveOwnProgram(uint32_t rank) {
  plan.ranks[rank]->program = static_cast<uint32_t>(plan.programs.size());
  plan.programs.push_back(std::make_unique<fb::RankProgramT>(program()));
  return *plan.programs.back();
}

} // namespace llmc::test
