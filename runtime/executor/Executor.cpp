//===- Executor.cpp - replays the instructions of a plan ------------------===//
#include "runtime/executor/Executor.h"
#include "runtime/plan/Places.h"
#include "runtime/plan/Tables.h"
#include "runtime/plan/View.h"
#include <algorithm>
#include <cstring>

namespace llmc::runtime {

Result<std::unique_ptr<Executor>> Executor::create(std::shared_ptr<PlanFile> plan, uint32_t rank, ThreadPool &pool,
                                                   bool matrixUnits, World *world) {
  const fb::Plan &root = plan->plan();
  if (rank >= root.ranks()->size())
    return Status::wrongUse("the plan has " + std::to_string(root.ranks()->size()) + " ranks, there is no rank " +
                            std::to_string(rank));
  std::unique_ptr<Executor> executor(new Executor(std::move(plan), pool));
  executor->ownRank = rank;
  executor->ranks = world;
  executor->rankProgram = root.programs()->Get(root.ranks()->Get(rank)->program());
  auto gemms = GemmLibrary::create(pool.threads(), matrixUnits ? Products::Best : Products::VectorUnits);
  if (!gemms.ok())
    return gemms.status();
  executor->gemms = std::move(*gemms);
  auto communication = Communication::open(root, rank, world);
  if (!communication.ok())
    return communication.status();
  executor->communication = std::move(*communication);
  executor->places = placesOfRank(root, rank);
  if (Status status = executor->allocate(); !status.ok())
    return status;
  if (Status status = executor->resolve(); !status.ok())
    return status;
  return executor;
}

Status Executor::allocate() {
  std::vector<uint8_t *> bases;
  if (rankProgram->arenas())
    for (const fb::Arena *arena : *rankProgram->arenas()) {
      if (arena->kind() == fb::ArenaKind::Constant) {
        arenas.push_back(nullptr);
        bases.push_back(const_cast<uint8_t *>(planFile->constants().data())); // never written: see the validator
        continue;
      }
      auto memory = Arena::allocate(arena->bytes());
      if (!memory.ok())
        return memory.status();
      bases.push_back((*memory)->data());
      arenas.push_back(std::move(*memory));
      totalBytes += arena->bytes();
    }
  if (rankProgram->buffers())
    for (const fb::Buffer *buffer : *rankProgram->buffers())
      addresses.push_back(bases[buffer->arena()] + buffer->offset() + place(buffer->place_groups()) * buffer->place_stride());
  setPlaces();
  return Status::success();
}

/// Inputs that say where the rank stands never change.
void Executor::setPlaces() {
  if (!rankProgram->segments())
    return;
  for (const fb::Segment *segment : *rankProgram->segments())
    if (segment->inputs())
      for (const fb::Input *input : *segment->inputs())
        if (input->source() == fb::Source::Place)
          setScalar(input->buffer(), place(input->place_groups()));
}

void Executor::clearState() {
  for (size_t i = 0; i < arenas.size(); ++i)
    if (arenas[i] && rankProgram->arenas()->Get(i)->kind() == fb::ArenaKind::State)
      std::memset(arenas[i]->data(), 0, arenas[i]->bytes());
}

Status Executor::resolve() {
  auto loaded = KernelImage::load(planFile->kernelImage());
  if (!loaded.ok())
    return loaded.status();
  image = std::move(*loaded);
  std::string missing;
  if (plan().kernels())
    for (const fb::Kernel *kernel : *plan().kernels()) {
      kernels.push_back(image->find(kernel->symbol()->c_str()));
      if (!kernels.back())
        missing += " " + kernel->symbol()->str();
    }
  if (!missing.empty())
    return Status::planRefused("the kernel image lacks:" + missing, "compile the plan again");
  if (!rankProgram->segments())
    return Status::success();
  for (const fb::Segment *segment : *rankProgram->segments()) {
    std::vector<Step> steps;
    if (segment->instructions())
      for (const fb::Instruction *instruction : *segment->instructions()) {
        auto step = resolveInstruction(*instruction);
        if (!step.ok())
          return step.status();
        steps.push_back(std::move(*step));
      }
    measured.emplace_back(steps.size());
    segments.push_back(std::move(steps));
  }
  return Status::success();
}

Result<Executor::Step> Executor::resolveInstruction(const fb::Instruction &instruction) {
  Step step;
  std::vector<void *> operands;
  if (instruction.operands())
    for (const fb::Operand *operand : *instruction.operands())
      operands.push_back(address(*operand));
  if (const fb::Launch *launch = instruction.body_as_Launch()) {
    step.kind = Kind::Launch;
    step.kernel = kernels[launch->kernel()];
    step.workgroups = plan().kernels()->Get(launch->kernel())->workgroups();
    step.arguments = std::move(operands);
  } else if (const fb::Gemm *gemm = instruction.body_as_Gemm()) {
    step.kind = Kind::Gemm;
    GemmOperands places{operands[0], operands[1], operands[2], gemm->has_bias() ? operands[3] : nullptr};
    auto bound = gemms->bind(*gemm, places);
    if (!bound.ok())
      return bound.status();
    step.gemm = std::move(*bound);
    step.workgroups = step.gemm->tiles();
  } else if (const fb::Copy *copy = instruction.body_as_Copy()) {
    resolveCopy(instruction, *copy, operands, step);
  } else if (const fb::Collective *collective = instruction.body_as_Collective()) {
    resolveCollective(instruction, *collective, operands, step);
  } else if (const fb::Wait *wait = instruction.body_as_Wait()) {
    step.kind = Kind::Wait;
    step.event = static_cast<int32_t>(wait->event());
  } else if (const fb::Fill *fill = instruction.body_as_Fill()) {
    step.kind = Kind::Fill;
    step.destination = static_cast<uint8_t *>(operands[0]);
    step.bytes = instruction.operands()->Get(0)->bytes();
    step.pattern = fill->pattern();
    step.width = fill->width();
  } else {
    return Status::internal("an instruction kind passed the validator that the executor does not know");
  }
  return step;
}

void Executor::resolveCopy(const fb::Instruction &instruction, const fb::Copy &copy, const std::vector<void *> &operands,
                           Step &step) const {
  bool isBlocks = copy.sizes() && copy.sizes()->size() > 0;
  step.kind = isBlocks ? Kind::Blocks : Kind::Copy;
  step.destination = static_cast<uint8_t *>(operands[0]);
  step.source = static_cast<const uint8_t *>(operands[1]) + place(copy.place_groups()) * copy.place_stride();
  step.bytes = isBlocks ? copy.unit() : instruction.operands()->Get(0)->bytes();
  if (!isBlocks)
    return;
  step.blocks.sizes.assign(copy.sizes()->begin(), copy.sizes()->end());
  step.blocks.to.assign(copy.to_strides()->begin(), copy.to_strides()->end());
  step.blocks.from.assign(copy.from_strides()->begin(), copy.from_strides()->end());
  step.blocks.count = 1;
  for (uint64_t size : step.blocks.sizes)
    step.blocks.count *= size;
}

void Executor::resolveCollective(const fb::Instruction &instruction, const fb::Collective &body,
                                 const std::vector<void *> &operands, Step &step) const {
  step.kind = Kind::Collective;
  step.event = body.event();
  step.collective = std::make_unique<BoundCollective>();
  BoundCollective &call = *step.collective;
  call.kind = body.kind();
  call.group = communication->group(body.groups());
  call.type = body.type();
  call.reduction = body.reduction() == fb::Reduction::Max ? Reduction::Max : Reduction::Sum;
  size_t width = elementBytes(body.type()), ranks = plan().groups()->Get(body.groups())->size();
  for (size_t i = 0; i + 1 < operands.size(); i += 2) {
    size_t from = instruction.operands()->Get(static_cast<uint32_t>(i))->bytes();
    size_t to = instruction.operands()->Get(static_cast<uint32_t>(i) + 1)->bytes();
    size_t counted = call.kind == fb::CollectiveKind::ReduceScatter ? to
                     : call.kind == fb::CollectiveKind::AllToAll    ? from / ranks
                                                                    : from;
    call.operands.push_back({operands[i], operands[i + 1], counted / width});
    call.bytes.push_back(from);
  }
}

std::optional<uint32_t> Executor::segment(const std::string &name) const {
  if (rankProgram->segments())
    for (uint32_t i = 0; i < rankProgram->segments()->size(); ++i)
      if (rankProgram->segments()->Get(i)->name()->str() == name)
        return i;
  return std::nullopt;
}

std::optional<uint32_t> Executor::output(uint32_t segment, const std::string &name) const {
  const auto *outputs = rankProgram->segments()->Get(segment)->outputs();
  if (outputs)
    for (const fb::Output *output : *outputs)
      if (output->name()->str() == name)
        return output->buffer();
  return std::nullopt;
}

/// Copy and fill run in pieces of this size.
static constexpr uint64_t kPiece = uint64_t(256) << 10;

static void fillBytes(uint8_t *destination, uint64_t bytes, uint64_t pattern, uint8_t width) {
  uint8_t unit[8];
  std::memcpy(unit, &pattern, sizeof(unit));
  bool isUniform = std::all_of(unit, unit + width, [&](uint8_t byte) { return byte == unit[0]; });
  if (isUniform) {
    std::memset(destination, unit[0], bytes);
    return;
  }
  for (uint64_t i = 0; i < bytes; i += width)
    std::memcpy(destination + i, unit, width);
}

/// Blocks of a strided copy, in pieces of about kPiece bytes.
void Executor::copyBlocks(const Step &step) {
  const Blocks &blocks = step.blocks;
  uint64_t together = std::max<uint64_t>(1, kPiece / std::max<uint64_t>(1, step.bytes));
  pool.forEach(static_cast<int64_t>((blocks.count + together - 1) / together), [&](int64_t item, unsigned) {
    uint64_t first = static_cast<uint64_t>(item) * together, last = std::min(first + together, blocks.count);
    for (uint64_t block = first; block < last; ++block) {
      uint64_t to = 0, from = 0, rest = block;
      for (size_t d = blocks.sizes.size(); d-- > 0;) {
        uint64_t index = rest % blocks.sizes[d];
        rest /= blocks.sizes[d];
        to += index * blocks.to[d];
        from += index * blocks.from[d];
      }
      std::memcpy(step.destination + to, step.source + from, step.bytes);
    }
  });
}

Status Executor::runStep(Step &step) {
  switch (step.kind) {
  case Kind::Launch:
    pool.forEach(step.workgroups, [&](int64_t item, unsigned) { step.kernel(step.arguments.data(), item); });
    return Status::success();
  case Kind::Blocks:
    copyBlocks(step);
    return Status::success();
  case Kind::Collective:
    if (step.event < 0)
      return communication->run(*step.collective);
    if (tickets.size() <= static_cast<size_t>(step.event))
      tickets.resize(static_cast<size_t>(step.event) + 1);
    tickets[step.event] = communication->start(*step.collective);
    return Status::success();
  case Kind::Wait:
    return communication->wait(tickets[step.event]);
  case Kind::Gemm: {
    std::atomic<bool> good{true};
    pool.forEach(step.workgroups, [&](int64_t tile, unsigned thread) {
      if (!step.gemm->runTile(tile, thread))
        good.store(false, std::memory_order_relaxed);
    });
    return good.load() ? Status::success() : Status::internal("the library failed");
  }
  case Kind::Copy:
  case Kind::Fill:
    pool.forEach(static_cast<int64_t>((step.bytes + kPiece - 1) / kPiece), [&](int64_t item, unsigned) {
      uint64_t begin = static_cast<uint64_t>(item) * kPiece, bytes = std::min(kPiece, step.bytes - begin);
      if (step.kind == Kind::Copy)
        std::memcpy(step.destination + begin, step.source + begin, bytes);
      else
        fillBytes(step.destination + begin, bytes, step.pattern, step.width);
    });
    return Status::success();
  }
  return Status::internal("an unknown instruction");
}

/// `status` with the instruction at which it showed.
Status Executor::located(Status status, uint32_t segment, uint32_t index, uint64_t step) const {
  const fb::Segment &where = *rankProgram->segments()->Get(segment);
  const fb::Instruction *instruction = where.instructions()->Get(index);
  if (const fb::Wait *wait = instruction->body_as_Wait()) // it is the collective that is of interest
    for (const fb::Instruction *other : *where.instructions())
      if (const fb::Collective *body = other->body_as_Collective(); body && body->event() == static_cast<int32_t>(wait->event()))
        instruction = other;
  std::string name = "'" + textOf(instruction->name()) + "'";
  if (const fb::Collective *body = instruction->body_as_Collective())
    name += " (" + textOf(body->reason()) + ")";
  status.message = "step " + std::to_string(step + 1) + ", segment '" + textOf(where.name()) + "', instruction " +
                   std::to_string(index) + " " + name + ": " + status.message;
  return status;
}

std::string Executor::describe(const History::Entry &entry) const {
  const fb::Segment &segment = *rankProgram->segments()->Get(entry.segment);
  const fb::Instruction &instruction = *segment.instructions()->Get(entry.instruction);
  const fb::Collective *collective = instruction.body_as_Collective();
  return "step " + std::to_string(entry.step + 1) + ", micro-batch " + std::to_string(entry.micro) + ", segment '" + textOf(segment.name()) +
         "', instruction " + std::to_string(entry.instruction) + " '" + textOf(instruction.name()) + "'" +
         (collective ? " (" + textOf(collective->reason()) + ")" : "");
}

std::string Executor::historyText() const {
  std::string result = "rank " + std::to_string(ownRank) + ", plan " + planFile->digest() + "\n";
  for (const History::Entry &entry : recent.entries())
    result += describe(entry) + ": " + (entry.end ? std::to_string((entry.end - entry.begin) / 1000) + " us" : std::string("not ended")) + "\n";
  return result;
}

std::vector<std::vector<uint64_t>> Executor::sentBytes() const {
  std::vector<std::vector<uint64_t>> result;
  for (const std::vector<Step> &steps : segments) {
    result.emplace_back();
    for (const Step &step : steps)
      result.back().push_back(step.collective ? step.collective->sent : 0);
  }
  return result;
}

Status Executor::run(uint32_t segment, uint64_t step, uint32_t micro) {
  std::vector<Step> &steps = segments[segment];
  std::vector<InstructionTime> &times = measured[segment];
  int64_t begin = nowNanoseconds();
  for (uint32_t i = 0; i < steps.size(); ++i) {
    recent.begin({step, micro, segment, i, begin, 0});
    if (Status status = runStep(steps[i]); !status.ok())
      return located(std::move(status), segment, i, step);
    int64_t end = nowNanoseconds();
    recent.end(end);
    if (times[i].runs++ == 0)
      times[i].first = end - begin;
    times[i].nanoseconds += end - begin;
    if (trace)
      trace->add({segment, i, begin, end});
    begin = end;
  }
  return Status::success();
}

double Executor::scalar(uint32_t index) const {
  const uint8_t *address = data(index);
  auto load = [&](auto value) {
    std::memcpy(&value, address, sizeof(value));
    return static_cast<double>(value);
  };
  switch (buffer(index).type()) {
  case fb::DataType::F32:
    return load(float());
  case fb::DataType::F64:
    return load(double());
  case fb::DataType::I32:
    return load(int32_t());
  case fb::DataType::I64:
    return load(int64_t());
  default:
    return 0.0;
  }
}

void Executor::setScalar(uint32_t index, double value) {
  uint8_t *address = data(index);
  auto store = [&](auto converted) { std::memcpy(address, &converted, sizeof(converted)); };
  switch (buffer(index).type()) {
  case fb::DataType::F32:
    return store(static_cast<float>(value));
  case fb::DataType::F64:
    return store(value);
  case fb::DataType::I32:
    return store(static_cast<int32_t>(value));
  case fb::DataType::I64:
    return store(static_cast<int64_t>(value));
  default:
    return;
  }
}

} // namespace llmc::runtime
