//===- Validator.cpp - plan, buffers, parameters --------------------------===//
//
// Buffers of one arena must be apart in space while they live. Per arena and segment a sweep over time keeps the live
// buffers in order of their offsets; since those never overlap each other, a new one is compared with two neighbours only.
//
//===----------------------------------------------------------------------===//
#include "runtime/plan/Part.h"
#include "runtime/plan/Places.h"
#include "runtime/plan/ValidatorParts.h"
#include "runtime/support/File.h"
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

namespace llmc::runtime {

static std::string quote(const std::string &text) { return "'" + text + "'"; }

static std::string nameOfBuffer(const ProgramContext &context, uint32_t index) {
  return context.where + "buffer " + std::to_string(index) + " " + quote(textOf(context.buffer(index).name()));
}

static void validateBuffer(ProgramContext &context, uint32_t index, Problems &problems) {
  const fb::Buffer &buffer = context.buffer(index);
  std::string where = nameOfBuffer(context, index);
  if (!problems.require(buffer.arena() < sizeOf(context.program.arenas()), where, "arena out of range"))
    return;
  const fb::Arena &arena = context.arenaOf(index);
  bool good = problems.require((Checked(buffer.offset()) + buffer.bytes()).atMost(arena.bytes()), where,
                               "leaves its arena " + quote(textOf(arena.name())));
  good &= problems.require(isEnumerator(buffer.type(), fb::DataType::MAX), where, "unknown element type");
  uint64_t width = elementBytes(buffer.type());
  Shape shape = shapeOf(buffer.shape());
  int64_t count = elementCount(shape);
  good &= problems.require(count >= 0 && (Checked(count) * width).atMost(buffer.bytes()), where,
                           "shape does not fit into its bytes");
  good &= problems.require(width > 0 && buffer.offset() % width == 0, where, "offset is not aligned to its elements");
  good &= problems.require(buffer.bytes() > 0, where, "is empty");
  if (buffer.place_groups() != -1) {
    good &= problems.require(placesOf(context.plan, buffer.place_groups()) > 0, where, "its place is in no division into groups");
    good &= problems.require(buffer.alias_of() >= 0, where, "depends on the rank's place, but is a part of no buffer");
    good &= problems.require(width > 0 && buffer.place_stride() % width == 0 && buffer.place_stride() >= buffer.bytes(), where,
                             "places of ranks overlap or are not aligned");
  }
  int32_t segment = buffer.segment();
  if (problems.require(segment >= -1 && segment < static_cast<int64_t>(context.segments()), where,
                       "segment out of range") &&
      segment >= 0) {
    uint32_t count = sizeOf(context.program.segments()->Get(segment)->instructions());
    good &= problems.require(buffer.first() <= buffer.last() && buffer.last() < count, where,
                             "live range is reversed or leaves its segment");
    good &= problems.require(arena.kind() != fb::ArenaKind::State && arena.kind() != fb::ArenaKind::Slot, where,
                             "lives in one segment, but its arena outlives segments");
  } else {
    good &= segment == -1;
  }
  context.sound[index] = good;
}

static void validateAlias(ProgramContext &context, uint32_t index, Problems &problems) {
  uint32_t current = index;
  bool atPlace = false; // of a buffer that is a place itself
  for (uint32_t depth = 0; context.buffer(current).alias_of() >= 0; ++depth) {
    uint32_t next = static_cast<uint32_t>(context.buffer(current).alias_of());
    if (next >= context.buffers() || next == index || depth >= context.buffers()) {
      problems.add(nameOfBuffer(context, index), "alias_of is out of range or goes in a circle");
      context.sound[index] = false;
      return;
    }
    current = next;
    atPlace |= context.buffer(current).place_groups() >= 0;
  }
  context.root[index] = current;
  if (!problems.require(!atPlace, nameOfBuffer(context, index), "is a part of a buffer whose place depends on the rank"))
    context.sound[index] = false;
  if (current == index)
    return;
  const fb::Buffer &buffer = context.buffer(index), &root = context.buffer(current);
  Checked end = Checked(buffer.offset()) + buffer.bytes();
  if (buffer.place_groups() >= 0)
    end = end + Checked(buffer.place_stride()) * (placesOf(context.plan, buffer.place_groups()) - 1);
  bool inside = buffer.arena() == root.arena() && buffer.offset() >= root.offset() &&
                end.atMost((Checked(root.offset()) + root.bytes()).value());
  bool lives = root.segment() == -1 || (root.segment() == buffer.segment() && buffer.first() >= root.first() &&
                                        buffer.last() <= root.last());
  inside = problems.require(inside, nameOfBuffer(context, index), "does not lie inside the buffer it aliases");
  lives = problems.require(lives, nameOfBuffer(context, index), "outlives the buffer it aliases");
  if (!inside || !lives || !context.sound[current])
    context.sound[index] = false;
}

namespace {
/// The live buffers of one arena in order of offset.
class LiveSet {
public:
  LiveSet(const ProgramContext &context, Problems &problems) : context(context), problems(problems) {}

  void insert(uint32_t index) {
    const fb::Buffer &buffer = context.buffer(index);
    uint64_t end = buffer.offset() + buffer.bytes();
    auto after = live.lower_bound(buffer.offset());
    if (after != live.end() && context.buffer(after->second).offset() < end)
      return report(index, after->second);
    if (after != live.begin()) {
      uint32_t before = std::prev(after)->second;
      if (context.buffer(before).offset() + context.buffer(before).bytes() > buffer.offset())
        return report(index, before);
    }
    live.emplace(buffer.offset(), index);
  }
  void erase(uint32_t index) {
    auto found = live.find(context.buffer(index).offset());
    if (found != live.end() && found->second == index)
      live.erase(found);
  }

private:
  void report(uint32_t index, uint32_t other) {
    problems.add(nameOfBuffer(context, index), "overlaps " + quote(textOf(context.buffer(other).name())) +
                                                   " (buffer " + std::to_string(other) + ") while both live");
  }
  const ProgramContext &context;
  Problems &problems;
  std::map<uint64_t, uint32_t> live;
};
} // namespace

/// The instructions between which `buffer` holds its bytes; inputs are filled before and outputs read after a segment.
static std::pair<uint32_t, uint32_t> lifeOf(const ProgramContext &context, uint32_t index) {
  const fb::Buffer &buffer = context.buffer(index);
  fb::ArenaKind kind = context.arenaOf(index).kind();
  if (kind == fb::ArenaKind::Input || kind == fb::ArenaKind::Output)
    return {0, UINT32_MAX};
  return {buffer.first(), buffer.last()};
}

static void validatePacking(const ProgramContext &context, uint32_t arena, Problems &problems) {
  if (context.program.arenas()->Get(arena)->kind() == fb::ArenaKind::Constant)
    return; // read only: sharing is harmless
  LiveSet always(context, problems);
  std::vector<std::vector<uint32_t>> bySegment(context.segments());
  for (uint32_t i = 0; i < context.buffers(); ++i) {
    if (!context.sound[i] || context.root[i] != i || context.buffer(i).arena() != arena)
      continue;
    if (context.buffer(i).segment() < 0)
      always.insert(i);
    else
      bySegment[context.buffer(i).segment()].push_back(i);
  }
  for (std::vector<uint32_t> &buffers : bySegment) {
    LiveSet live = always;
    std::stable_sort(buffers.begin(), buffers.end(),
                     [&](uint32_t a, uint32_t b) { return lifeOf(context, a).first < lifeOf(context, b).first; });
    std::multimap<uint32_t, uint32_t> ends;
    for (uint32_t index : buffers) {
      auto [first, last] = lifeOf(context, index);
      while (!ends.empty() && ends.begin()->first < first) {
        live.erase(ends.begin()->second);
        ends.erase(ends.begin());
      }
      live.insert(index);
      ends.emplace(last, index);
    }
  }
}

static void validateBuffers(ProgramContext &context, PlanSizes sizes, Problems &problems) {
  for (uint32_t i = 0; i < sizeOf(context.program.arenas()); ++i) {
    const fb::Arena &arena = *context.program.arenas()->Get(i);
    std::string where = context.where + "arena " + std::to_string(i) + " " + quote(textOf(arena.name()));
    problems.require(isEnumerator(arena.kind(), fb::ArenaKind::MAX), where, "unknown kind");
    problems.require(arena.bytes() <= (uint64_t(1) << 46), where, "is impossibly large");
    problems.require(arena.kind() != fb::ArenaKind::Constant || arena.bytes() <= sizes.constants, where,
                     "is larger than the constants of the file");
  }
  context.sound.assign(context.buffers(), false);
  context.root.resize(context.buffers());
  for (uint32_t i = 0; i < context.buffers(); ++i)
    context.root[i] = i;
  for (uint32_t i = 0; i < context.buffers(); ++i)
    validateBuffer(context, i, problems);
  for (uint32_t i = 0; i < context.buffers(); ++i)
    validateAlias(context, i, problems);
  for (uint32_t i = 0; i < sizeOf(context.program.arenas()); ++i)
    validatePacking(context, i, problems);
}

static void validateInit(const fb::Parameter &parameter, int64_t count, const std::string &where, Problems &problems) {
  const fb::Init *init = parameter.init();
  if (!init)
    return; // stays zero, or comes from --weights
  switch (init->kind()) {
  case fb::InitKind::File:
    problems.require(isContainedPath(textOf(init->path())), where,
                     "its file " + quote(textOf(init->path())) + " leaves the folder of the plan");
    problems.require((Checked(count) * elementBytes(parameter.type())).equals(init->bytes()), where,
                     "its bytes in the file do not match its shape");
    problems.require((Checked(init->offset()) + init->bytes()).valid(), where, "its place in the file overflows");
    return;
  case fb::InitKind::Normal:
    problems.require(std::isfinite(init->a()) && std::isfinite(init->b()) && init->b() >= 0, where,
                     "its mean or deviation is impossible");
    return;
  case fb::InitKind::Uniform:
    problems.require(std::isfinite(init->a()) && std::isfinite(init->b()) && init->a() <= init->b(), where,
                     "its range is impossible");
    return;
  case fb::InitKind::Constant:
    problems.require(std::isfinite(init->a()), where, "its constant is not finite");
    return;
  }
  problems.add(where, "unknown initializer");
}

namespace {
/// Parameters, optimizer states and scalars of one program.
class StateChecks {
public:
  StateChecks(const ProgramContext &context, Problems &problems)
      : context(context), problems(problems), firstPlaces(placesOfRank(context.plan, 0)) {}

  void parameter(const fb::Parameter &parameter) {
    std::string where = context.where + "parameter " + quote(textOf(parameter.name()));
    uniqueName(textOf(parameter.name()), where);
    for (uint32_t i = 0; i < sizeOf(parameter.aliases()); ++i)
      uniqueName(textOf(parameter.aliases()->Get(i)), where);
    bool isFloat = parameter.type() == fb::DataType::F32 || parameter.type() == fb::DataType::F64 ||
                   parameter.type() == fb::DataType::F16 || parameter.type() == fb::DataType::BF16;
    problems.require(isFloat, where, "its type is not a floating-point type of parameters");
    Shape shape = shapeOf(parameter.shape());
    int64_t logical = elementCount(shape);
    std::string problem;
    if (!applyToShape(viewOf(parameter), shape, problem)) {
      problems.add(where, problem);
      return;
    }
    validateInit(parameter, logical, where, problems);
    stateBuffer(parameter.buffer(), partCount(shape, parameter.cuts(), where), where);
    if (context.isSound(parameter.buffer()))
      problems.require(context.buffer(parameter.buffer()).type() == parameter.type(), where,
                       "its type differs from its buffer's");
    if (parameter.gradient())
      gradient(parameter, where);
    std::set<std::string> stateNames;
    for (uint32_t i = 0; i < sizeOf(parameter.states()); ++i) {
      const fb::StateBuffer &state = *parameter.states()->Get(i);
      problems.require(!textOf(state.name()).empty() && stateNames.insert(textOf(state.name())).second, where,
                       "state without a name, or two of one name");
      std::string name = where + " state " + quote(textOf(state.name()));
      problems.require(states.insert(textOf(parameter.name()) + "." + textOf(state.name())).second, name,
                       "has the name of another parameter's state");
      stateBuffer(state.buffer(), partCount(parameter, state, name), name);
      validateSums(context.plan, state.sum(), state.cuts(), name, problems);
    }
  }

  void scalar(const fb::Scalar &scalar) {
    std::string where = context.where + "scalar " + quote(textOf(scalar.name()));
    problems.require(!textOf(scalar.name()).empty() && scalars.insert(textOf(scalar.name())).second, where,
                     "no name, or two of one name");
    bool known = scalar.type() == fb::DataType::F32 || scalar.type() == fb::DataType::F64 ||
                 scalar.type() == fb::DataType::I32 || scalar.type() == fb::DataType::I64;
    problems.require(known, where, "type is not f32, f64, i32 or i64");
    double largest = scalar.type() == fb::DataType::F32 || scalar.type() == fb::DataType::F64
                         ? static_cast<double>(std::numeric_limits<float>::max())
                         : 1e18;
    problems.require(std::isfinite(scalar.initial()) && std::fabs(scalar.initial()) <= largest, where,
                     "initial value is impossible");
    stateBuffer(scalar.buffer(), 1, where);
    if (context.isSound(scalar.buffer()))
      problems.require(context.buffer(scalar.buffer()).type() == scalar.type(), where, "type differs from its buffer's");
  }

private:
  void uniqueName(const std::string &name, const std::string &where) {
    problems.require(!name.empty(), where, "a name is empty");
    problems.require(names.insert(name).second, where, "two parameters are named " + quote(name));
  }
  void stateBuffer(uint32_t index, int64_t count, const std::string &where) {
    if (!problems.require(context.isSound(index), where, "its buffer is out of range or unsound"))
      return;
    problems.require(context.arenaOf(index).kind() == fb::ArenaKind::State, where, "does not live in a state arena");
    problems.require(elementCount(shapeOf(context.buffer(index).shape())) == count, where,
                     "its elements do not match its buffer's shape");
    problems.require(used.insert(context.root[index]).second || context.root[index] != index, where,
                     "shares its buffer with another state");
  }
  /// Elements of a rank's part of a tensor; -1 after an error.
  int64_t partCount(const Shape &shape, const Cuts *cuts, const std::string &where) {
    std::string problem;
    std::optional<Box> part = partOf(context.plan, shape, cuts, firstPlaces, problem);
    problems.require(part.has_value(), where, problem);
    return part ? elementCount(part->size) : -1;
  }
  int64_t partCount(const fb::Parameter &parameter, const fb::StateBuffer &state, const std::string &where) {
    Shape shape = shapeOf(parameter.shape());
    std::string problem;
    if (!applyToShape(viewOf(parameter, state), shape, problem)) {
      problems.add(where, problem);
      return -1;
    }
    return partCount(shape, state.cuts(), where);
  }
  void gradient(const fb::Parameter &parameter, const std::string &where) {
    int64_t count = partCount(parameter, *parameter.gradient(), where + " gradient");
    validateSums(context.plan, parameter.gradient()->sum(), parameter.gradient()->cuts(), where + " gradient", problems);
    uint32_t index = parameter.gradient()->buffer();
    if (!problems.require(context.isSound(index), where, "gradient out of range or unsound"))
      return;
    const fb::Buffer &buffer = context.buffer(index);
    problems.require(parameter.trainable(), where, "is frozen, but has a gradient");
    problems.require(elementCount(shapeOf(buffer.shape())) == count, where, "gradient and parameter differ in size");
    problems.require(buffer.segment() == -1, where, "gradient does not live from accumulate to update");
    bool isFloat = buffer.type() == fb::DataType::F32 || buffer.type() == fb::DataType::F64;
    problems.require(isFloat, where, "gradient is neither f32 nor f64");
  }

  const ProgramContext &context;
  Problems &problems;
  const std::vector<uint32_t> firstPlaces; // parts are as large on all ranks
  std::set<std::string> names, scalars, states;
  std::set<uint32_t> used;
};
} // namespace

/// Without a table the order is: every micro-batch, then the update. A table must say the same, slot by slot.
static void validateSchedule(const ProgramContext &context, Problems &problems) {
  uint32_t entries = sizeOf(context.program.schedule());
  if (entries == 0)
    return;
  std::string where = context.where + "schedule";
  problems.require(entries == uint64_t(context.plan.micro_batches()) + 1, where,
                   "does not run every micro-batch once and then the update");
  for (uint32_t i = 0; i < entries; ++i) {
    const fb::ScheduleEntry &entry = *context.program.schedule()->Get(i);
    std::string at = where + " entry " + std::to_string(i);
    if (!problems.require(entry.segment() < context.segments(), at, "segment out of range"))
      continue;
    bool isLast = i + 1 == entries;
    std::string name = textOf(context.program.segments()->Get(entry.segment())->name());
    problems.require(name == (isLast ? "update" : "accumulate"), at, "runs segment " + quote(name) + " out of order");
    problems.require(entry.micro_batch() == (isLast ? 0 : i), at, "micro-batch out of order");
    problems.require(entry.slot() == 0, at, "slot out of range");
  }
}

static void validateWeight(const ProgramContext &context, Problems &problems) {
  std::string where = context.where + "weight";
  int32_t weight = context.program.weight();
  validateSums(context.plan, context.program.weight_sum(), nullptr, where, problems);
  if (weight == -1)
    return;
  bool isScalar = weight >= 0 && context.isSound(weight);
  if (isScalar) {
    const fb::Buffer &buffer = context.buffer(static_cast<uint32_t>(weight));
    isScalar = elementCount(shapeOf(buffer.shape())) == 1 && buffer.segment() == -1 &&
               (buffer.type() == fb::DataType::F32 || buffer.type() == fb::DataType::F64 ||
                buffer.type() == fb::DataType::I32 || buffer.type() == fb::DataType::I64);
  }
  problems.require(isScalar, where, "its buffer is no scalar of the state");
}

static void validateProgram(const fb::Plan &plan, uint32_t index, PlanSizes sizes, Problems &problems) {
  std::string where = sizeOf(plan.programs()) > 1 ? "program " + std::to_string(index) + " " : "";
  ProgramContext context{plan, *plan.programs()->Get(index), where, {}, {}};
  validateBuffers(context, sizes, problems);
  validateSegments(context, problems);
  validateSchedule(context, problems);
  validateWeight(context, problems);
  StateChecks state(context, problems);
  for (uint32_t i = 0; i < sizeOf(context.program.parameters()); ++i)
    state.parameter(*context.program.parameters()->Get(i));
  for (uint32_t i = 0; i < sizeOf(context.program.scalars()); ++i)
    state.scalar(*context.program.scalars()->Get(i));
}

static void validateKernels(const fb::Plan &plan, PlanSizes sizes, Problems &problems) {
  problems.require(sizeOf(plan.kernels()) == 0 || sizes.kernelImage > 0, "kernels", "the file holds no kernel image");
  for (uint32_t i = 0; i < sizeOf(plan.kernels()); ++i) {
    const fb::Kernel &kernel = *plan.kernels()->Get(i);
    std::string where = "kernel " + std::to_string(i) + " " + quote(textOf(kernel.symbol()));
    std::string symbol = textOf(kernel.symbol());
    bool isIdentifier = !symbol.empty() && std::all_of(symbol.begin(), symbol.end(), [](unsigned char c) {
      return std::isalnum(c) || c == '_' || c == '.' || c == '$';
    });
    problems.require(isIdentifier, where, "symbol is not an identifier");
    problems.require(kernel.workgroups() >= 1, where, "has no workgroups");
    for (uint32_t j = 0; j < sizeOf(kernel.arguments()); ++j)
      problems.require(isEnumerator(kernel.arguments()->Get(j)->access(), fb::Access::MAX), where, "unknown access");
  }
}

std::vector<std::string> validatePlan(const fb::Plan &plan, PlanSizes sizes) {
  Problems problems;
  problems.require(plan.samples_per_micro_batch() >= 1, "plan", "no samples per micro-batch");
  problems.require(plan.micro_batches() >= 1, "plan", "no micro-batches");
  problems.require((Checked(plan.samples_per_micro_batch()) * plan.micro_batches()).equals(plan.samples_per_step()), "plan",
                   "samples per step are not micro-batches times samples per micro-batch");
  problems.require(textOf(plan.weights()).empty() || isContainedPath(textOf(plan.weights())), "plan",
                   "its weights file leaves the folder of the plan");
  problems.require(sizeOf(plan.programs()) >= 1, "plan", "no program");
  problems.require(sizeOf(plan.ranks()) >= 1, "plan", "no ranks");
  for (uint32_t i = 0; i < sizeOf(plan.ranks()); ++i)
    problems.require(plan.ranks()->Get(i)->program() < sizeOf(plan.programs()), "rank " + std::to_string(i),
                     "program out of range");
  validateGroups(plan, problems);
  if (!problems.texts.empty())
    return std::move(problems.texts); // what follows counts on them
  validateKernels(plan, sizes, problems);
  for (uint32_t i = 0; i < sizeOf(plan.programs()); ++i)
    validateProgram(plan, i, sizes, problems);
  validateMeetings(plan, problems);
  if (problems.texts.empty())
    validateSharedState(plan, problems);
  return std::move(problems.texts);
}

} // namespace llmc::runtime
