//===- Executor.cpp - replays the instructions of a plan ------------------===//
#include "runtime/executor/Executor.h"
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
  auto gemms = GemmLibrary::create(pool.threads(), matrixUnits);
  if (!gemms.ok())
    return gemms.status();
  executor->gemms = std::move(*gemms);
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
      addresses.push_back(bases[buffer->arena()] + buffer->offset());
  return Status::success();
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
  } else if (instruction.body_as_Copy()) {
    step.kind = Kind::Copy;
    step.destination = static_cast<uint8_t *>(operands[0]);
    step.source = static_cast<const uint8_t *>(operands[1]);
    step.bytes = instruction.operands()->Get(0)->bytes();
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

bool Executor::runStep(const Step &step) {
  switch (step.kind) {
  case Kind::Launch:
    pool.forEach(step.workgroups, [&](int64_t item, unsigned) { step.kernel(step.arguments.data(), item); });
    return true;
  case Kind::Gemm: {
    std::atomic<bool> good{true};
    pool.forEach(step.workgroups, [&](int64_t tile, unsigned thread) {
      if (!step.gemm->runTile(tile, thread))
        good.store(false, std::memory_order_relaxed);
    });
    return good.load();
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
    return true;
  }
  return false;
}

Status Executor::run(uint32_t segment) {
  std::vector<Step> &steps = segments[segment];
  std::vector<InstructionTime> &times = measured[segment];
  int64_t begin = nowNanoseconds();
  for (uint32_t i = 0; i < steps.size(); ++i) {
    if (!runStep(steps[i])) {
      const fb::Segment &where = *rankProgram->segments()->Get(segment);
      const flatbuffers::String *name = where.instructions()->Get(i)->name();
      return Status::internal("instruction " + std::to_string(i) + " '" + (name ? name->str() : "") +
                              "' failed in the library");
    }
    int64_t end = nowNanoseconds();
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
