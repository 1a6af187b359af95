//===- ValidateInstructions.cpp - segments and their instructions ---------===//
//
// Each instruction is checked alone (operands against buffers, against kernel signatures, contraction strides), then each
// segment in order: what a scratch buffer is read for must have been written before, byte by byte.
//
//===----------------------------------------------------------------------===//
#include "runtime/plan/ValidatorParts.h"
#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

namespace llmc::runtime {
namespace {

using Operands = flatbuffers::Vector<flatbuffers::Offset<fb::Operand>>;

/// Disjoint byte ranges, [begin, end) in order.
class ByteRanges {
public:
  void add(uint64_t begin, uint64_t end) {
    auto it = ranges.upper_bound(begin);
    if (it != ranges.begin() && std::prev(it)->second >= begin)
      --it;
    while (it != ranges.end() && it->first <= end) {
      begin = std::min(begin, it->first);
      end = std::max(end, it->second);
      it = ranges.erase(it);
    }
    ranges[begin] = end;
  }
  bool covers(uint64_t begin, uint64_t end) const {
    auto it = ranges.upper_bound(begin);
    return it != ranges.begin() && std::prev(it)->second >= end;
  }

private:
  std::map<uint64_t, uint64_t> ranges;
};

/// One matrix of a contraction: sizes and strides of all its dimensions, in elements.
struct Extent {
  std::vector<std::pair<int64_t, int64_t>> dimensions; // stride, size

  void add(int64_t size, int64_t stride) { dimensions.emplace_back(stride, size); }
  void addBatch(const Shape &sizes, const Shape &strides) {
    for (size_t i = 0; i < sizes.size() && i < strides.size(); ++i)
      add(sizes[i], strides[i]);
  }
  /// Elements from the first to one past the last.
  Checked span() const {
    Checked last(0);
    for (auto [stride, size] : dimensions)
      last = last + Checked(stride) * (size - 1);
    return last + 1;
  }
  /// True if no two indices name the same element; sufficient, not necessary.
  bool isInjective() const {
    auto sorted = dimensions;
    std::sort(sorted.begin(), sorted.end());
    Checked reach(0);
    for (auto [stride, size] : sorted) {
      if (size == 1)
        continue;
      if (!reach.valid() || stride <= reach.value())
        return false;
      reach = reach + Checked(stride) * (size - 1);
    }
    return reach.valid();
  }
};

class SegmentChecks {
public:
  SegmentChecks(const ProgramContext &context, uint32_t index, Problems &problems)
      : context(context), problems(problems), index(index), segment(*context.program.segments()->Get(index)),
        where(context.where + "segment '" + textOf(segment.name()) + "'") {}

  void run() {
    inputs();
    for (uint32_t i = 0; i < sizeOf(segment.instructions()); ++i)
      instruction(i, *segment.instructions()->Get(i));
    validateEvents(context, segment, where, problems);
    outputs();
  }

private:
  bool require(bool good, const std::string &what) { return problems.require(good, at, what); }

  void inputs();
  void input(const fb::Input &input);
  void outputs();
  void instruction(uint32_t position, const fb::Instruction &instruction);
  bool operand(uint32_t position, uint32_t number, const fb::Operand &operand);
  void flow(const Operands &operands);
  void body(const fb::Instruction &instruction, const Operands *operands);
  void launch(const fb::Launch &launch, const Operands *operands);
  void gemm(const fb::Gemm &gemm, const Operands *operands);
  bool gemmSizes(const fb::Gemm &gemm);
  void matrix(const char *name, Extent extent, uint64_t width, const fb::Operand &operand);
  void copy(const fb::Copy &body, const Operands *operands);
  void fill(const fb::Fill &fill, const Operands *operands);
  bool overlap(const fb::Operand &a, const fb::Operand &b) const;

  const ProgramContext &context;
  Problems &problems;
  uint32_t index;
  const fb::Segment &segment;
  std::string where, at;
  std::set<uint32_t> inputRoots, writtenRoots;
  std::map<uint32_t, ByteRanges> written; // by root, scratch of this segment
  /// What is written of the rank's own parts, as if it stood at place 0; by root, division and stride.
  std::map<std::tuple<uint32_t, int32_t, uint64_t>, ByteRanges> ownParts;
};

void SegmentChecks::input(const fb::Input &input) {
  if (!require(context.isSound(input.buffer()), "buffer out of range or unsound"))
    return;
  const fb::Buffer &buffer = context.buffer(input.buffer());
  require(context.arenaOf(input.buffer()).kind() == fb::ArenaKind::Input, "does not live in an input arena");
  require(buffer.segment() == -1 || buffer.segment() == static_cast<int32_t>(index), "belongs to another segment");
  Shape shape = shapeOf(buffer.shape());
  bool isTokens = input.source() == fb::Source::Tokens || input.source() == fb::Source::TokensNext;
  require(isEnumerator(input.source(), fb::Source::MAX), "unknown source");
  if (input.source() == fb::Source::Position) {
    require(buffer.type() == fb::DataType::I64 && shape == Shape{2}, "a position is not two 64-bit integers");
    inputRoots.insert(context.root[input.buffer()]);
    return;
  }
  if (input.source() == fb::Source::Place) {
    require(buffer.type() == fb::DataType::I64 && elementCount(shape) == 1, "a place is not one 64-bit integer");
    require(placesOf(context.plan, input.place_groups()) > 0, "its place is in no division into groups");
    require(buffer.segment() == -1, "a place is written once, but its buffer lives in one segment");
    inputRoots.insert(context.root[input.buffer()]);
    return;
  }
  require(isTokens || !textOf(input.array()).empty(), "its array has no name");
  int64_t samples = textOf(segment.name()) == "predict" ? 1 : context.plan.samples_per_micro_batch();
  for (uint32_t i = 0; i < sizeOf(input.cuts()); ++i) {
    int64_t parts = placesOf(context.plan, input.cuts()->Get(i)->groups());
    if (!require(parts > 0 && input.cuts()->Get(i)->dim() == 0 && samples % parts == 0,
                 "its samples are cut in no division into groups, or not evenly"))
      return;
    samples /= parts;
  }
  require(shape.empty() ? sizeOf(input.cuts()) == 0 : shape[0] == samples, // a scalar is for all samples
          "its first dimension is not the " + std::to_string(samples) + " samples of a run");
  bool isInteger = buffer.type() == fb::DataType::I64 || buffer.type() == fb::DataType::I32;
  bool isFloat = buffer.type() == fb::DataType::F32 || buffer.type() == fb::DataType::F64;
  bool isBool = buffer.type() == fb::DataType::Bool || buffer.type() == fb::DataType::U8;
  require(isInteger || (!isTokens && (isFloat || isBool)), "its type cannot be filled from its source");
  require(!isTokens || (shape.size() == 2 && shape[1] == static_cast<int64_t>(context.plan.sequence()) && shape[1] >= 1),
          "its shape is not [samples, sequence]");
  require(input.source() != fb::Source::ArrayNext || (isInteger && shape.size() >= 2 && shape.back() >= 1),
          "a shifted array needs integer rows");
  require(input.limit() <= INT64_MAX, "its limit is impossible");
  inputRoots.insert(context.root[input.buffer()]);
}

void SegmentChecks::inputs() {
  std::set<std::string> names;
  for (uint32_t i = 0; i < sizeOf(segment.inputs()); ++i) {
    const fb::Input &entry = *segment.inputs()->Get(i);
    at = where + " input '" + textOf(entry.name()) + "'";
    require(!textOf(entry.name()).empty() && names.insert(textOf(entry.name())).second, "no name, or two of one name");
    input(entry);
  }
}

void SegmentChecks::outputs() {
  std::set<std::string> names;
  for (uint32_t i = 0; i < sizeOf(segment.outputs()); ++i) {
    const fb::Output &entry = *segment.outputs()->Get(i);
    at = where + " output '" + textOf(entry.name()) + "'";
    require(!textOf(entry.name()).empty() && names.insert(textOf(entry.name())).second, "no name, or two of one name");
    if (!require(context.isSound(entry.buffer()), "buffer out of range or unsound"))
      continue;
    const fb::Buffer &buffer = context.buffer(entry.buffer());
    fb::ArenaKind kind = context.arenaOf(entry.buffer()).kind();
    require(kind == fb::ArenaKind::Output || kind == fb::ArenaKind::State || kind == fb::ArenaKind::Slot,
            "lives in an arena that does not outlive the segment");
    require(buffer.segment() == -1 || buffer.segment() == static_cast<int32_t>(index), "belongs to another segment");
    require(kind == fb::ArenaKind::State || writtenRoots.count(context.root[entry.buffer()]), "is never written");
    bool isScalar = textOf(segment.name()) == "update" || textOf(segment.name()) == "evaluate";
    require(buffer.type() == fb::DataType::F32 || buffer.type() == fb::DataType::F64, "is neither f32 nor f64");
    require(!isScalar || elementCount(shapeOf(buffer.shape())) == 1, "is not a scalar");
  }
}

bool SegmentChecks::operand(uint32_t position, uint32_t number, const fb::Operand &operand) {
  std::string name = "operand " + std::to_string(number) + ": ";
  if (!require(context.isSound(operand.buffer()), name + "buffer out of range or unsound"))
    return false;
  const fb::Buffer &buffer = context.buffer(operand.buffer());
  name = "operand " + std::to_string(number) + " '" + textOf(buffer.name()) + "': ";
  bool good = require(operand.bytes() > 0 && (Checked(operand.offset()) + operand.bytes()).atMost(buffer.bytes()),
                      name + "leaves its buffer");
  good &= require(isEnumerator(operand.access(), fb::Access::MAX), name + "unknown access");
  good &= require(operand.offset() % elementBytes(buffer.type()) == 0, name + "is not aligned to its elements");
  good &= require(buffer.segment() == -1 || (buffer.segment() == static_cast<int32_t>(index) &&
                                             position >= buffer.first() && position <= buffer.last()),
                  name + "is used outside its life");
  fb::ArenaKind kind = context.arenaOf(operand.buffer()).kind();
  bool reads = operand.access() != fb::Access::Write, writes = operand.access() != fb::Access::Read;
  good &= require(kind != fb::ArenaKind::Constant || !writes, name + "is constant, but written");
  bool trains = textOf(segment.name()) != "evaluate" && textOf(segment.name()) != "predict";
  good &= require(kind != fb::ArenaKind::Input || !writes, name + "is an input, but written");
  good &= require(kind != fb::ArenaKind::State || !writes || trains, name + "is training state, written outside training");
  good &= require(kind != fb::ArenaKind::Input || !reads || inputRoots.count(context.root[operand.buffer()]),
                  name + "is read, but is no input of this segment");
  return good;
}

/// Reads of this segment's own buffers must find written bytes; then the writes happen. A rank's own part is there if it was
/// written as such, or if all parts were.
void SegmentChecks::flow(const Operands &operands) {
  auto ownPart = [&](const fb::Operand &operand) -> ByteRanges & {
    const fb::Buffer &buffer = context.buffer(operand.buffer());
    return ownParts[{context.root[operand.buffer()], buffer.place_groups(), buffer.place_stride()}];
  };
  for (uint32_t i = 0; i < operands.size(); ++i) {
    const fb::Operand &operand = *operands.Get(i);
    const fb::Buffer &buffer = context.buffer(operand.buffer());
    uint32_t root = context.root[operand.buffer()];
    fb::ArenaKind kind = context.arenaOf(operand.buffer()).kind();
    bool tracked = context.buffer(root).segment() >= 0 && (kind == fb::ArenaKind::Scratch || kind == fb::ArenaKind::Output);
    if (!tracked || operand.access() == fb::Access::Write)
      continue;
    auto [begin, end] = reachOf(context, operand);
    bool isThere = written[root].covers(begin, end) ||
                   (buffer.place_groups() >= 0 && ownPart(operand).covers(begin, begin + operand.bytes()));
    require(isThere, "operand " + std::to_string(i) + " '" + textOf(buffer.name()) + "': is read before it is written");
  }
  for (uint32_t i = 0; i < operands.size(); ++i) {
    const fb::Operand &operand = *operands.Get(i);
    if (operand.access() == fb::Access::Read)
      continue;
    uint32_t root = context.root[operand.buffer()];
    uint64_t begin = context.buffer(operand.buffer()).offset() + operand.offset();
    writtenRoots.insert(root);
    bool isOwnPart = context.buffer(operand.buffer()).place_groups() >= 0;
    (isOwnPart ? ownPart(operand) : written[root]).add(begin, begin + operand.bytes());
  }
}

bool SegmentChecks::overlap(const fb::Operand &a, const fb::Operand &b) const {
  if (context.buffer(a.buffer()).arena() != context.buffer(b.buffer()).arena())
    return false;
  auto [beginA, endA] = reachOf(context, a);
  auto [beginB, endB] = reachOf(context, b);
  return beginA < endB && beginB < endA;
}

void SegmentChecks::launch(const fb::Launch &launch, const Operands *operands) {
  if (!require(launch.kernel() < sizeOf(context.plan.kernels()), "kernel out of range"))
    return;
  const fb::Kernel &kernel = *context.plan.kernels()->Get(launch.kernel());
  if (!require(sizeOf(operands) == sizeOf(kernel.arguments()), "kernel '" + textOf(kernel.symbol()) + "' takes " +
                                                                   std::to_string(sizeOf(kernel.arguments())) +
                                                                   " arguments, not " + std::to_string(sizeOf(operands))))
    return;
  for (uint32_t i = 0; i < sizeOf(operands); ++i) {
    const fb::KernelArgument &argument = *kernel.arguments()->Get(i);
    require(operands->Get(i)->bytes() >= argument.bytes(),
            "operand " + std::to_string(i) + " has fewer bytes than the kernel touches");
    require(operands->Get(i)->access() == argument.access(), "operand " + std::to_string(i) + " has another access than the kernel");
  }
}

void SegmentChecks::matrix(const char *name, Extent extent, uint64_t width, const fb::Operand &operand) {
  require((extent.span() * width).atMost(operand.bytes()), std::string(name) + " leaves its operand");
  require(isAligned(context, operand, width), std::string(name) + " is not aligned to its elements");
}

bool SegmentChecks::gemmSizes(const fb::Gemm &gemm) {
  constexpr int64_t kLargest = int64_t(1) << 31;
  auto isSize = [](int64_t value) { return value >= 1 && value < kLargest; };
  auto isStride = [](int64_t value) { return value >= 0 && value < (int64_t(1) << 40); };
  bool good = require(isSize(gemm.m()) && isSize(gemm.n()) && isSize(gemm.k()), "contraction size is impossible");
  good &= require(isSize(gemm.tile_m()) && isSize(gemm.tile_n()), "contraction tile is impossible");
  Shape batch = shapeOf(gemm.batch());
  good &= require(batch.size() <= 4 && sizeOf(gemm.a_batch()) == batch.size() && sizeOf(gemm.b_batch()) == batch.size() &&
                      sizeOf(gemm.c_batch()) == batch.size(),
                  "contraction batch sizes and strides differ in number, or are more than 4");
  good &= require(std::all_of(batch.begin(), batch.end(), isSize), "contraction batch size is impossible");
  for (const auto *strides : {gemm.a_batch(), gemm.b_batch(), gemm.c_batch()})
    for (int64_t stride : shapeOf(strides))
      good &= require(isStride(stride), "contraction batch stride is impossible");
  auto isMatrix = [&](int64_t row, int64_t column, int64_t rows, int64_t columns) {
    return isStride(row) && isStride(column) &&
           ((column == 1 && (row >= columns || rows == 1)) || (row == 1 && (column >= rows || columns == 1)));
  };
  good &= require(isMatrix(gemm.a_row(), gemm.a_column(), gemm.m(), gemm.k()), "strides of A are impossible");
  good &= require(isMatrix(gemm.b_row(), gemm.b_column(), gemm.k(), gemm.n()), "strides of B are impossible");
  good &= require(isMatrix(gemm.c_row(), 1, gemm.m(), gemm.n()), "row stride of C is impossible");
  if (!good)
    return false;
  Checked tiles = Checked((gemm.m() - 1) / gemm.tile_m() + 1) * ((gemm.n() - 1) / gemm.tile_n() + 1);
  for (int64_t size : batch)
    tiles = tiles * size;
  return require(tiles.atMost(uint64_t(1) << 31), "contraction has too many tiles");
}

void SegmentChecks::gemm(const fb::Gemm &gemm, const Operands *operands) {
  bool isKnown = (gemm.type() == fb::DataType::F32 || gemm.type() == fb::DataType::F64) && gemm.output_type() == gemm.type();
  require(isKnown, "contraction type is not executed by this runtime");
  require(isEnumerator(gemm.activation(), fb::Activation::MAX), "unknown activation");
  require(std::isfinite(gemm.beta()), "beta is not finite");
  require(gemm.beta() == 0 || gemm.activation() == fb::Activation::None, "activation together with beta");
  if (!require(sizeOf(operands) == 3u + gemm.has_bias(), "contraction has the wrong number of operands") ||
      !gemmSizes(gemm) || !isKnown)
    return;
  const fb::Operand &a = *operands->Get(0), &b = *operands->Get(1), &c = *operands->Get(2);
  uint64_t width = elementBytes(gemm.type());
  Shape batch = shapeOf(gemm.batch());
  Extent extentA, extentB, extentC;
  extentA.add(gemm.m(), gemm.a_row());
  extentA.add(gemm.k(), gemm.a_column());
  extentA.addBatch(batch, shapeOf(gemm.a_batch()));
  extentB.add(gemm.k(), gemm.b_row());
  extentB.add(gemm.n(), gemm.b_column());
  extentB.addBatch(batch, shapeOf(gemm.b_batch()));
  extentC.add(gemm.m(), gemm.c_row());
  extentC.add(gemm.n(), 1);
  extentC.addBatch(batch, shapeOf(gemm.c_batch()));
  matrix("A", extentA, width, a);
  matrix("B", extentB, width, b);
  matrix("C", extentC, width, c);
  require(extentC.isInjective(), "elements of C overlap each other");
  require(a.access() == fb::Access::Read && b.access() == fb::Access::Read, "A and B must be read only");
  require(c.access() == (gemm.beta() == 0 ? fb::Access::Write : fb::Access::ReadWrite), "access of C does not match beta");
  require(!overlap(c, a) && !overlap(c, b), "C overlaps A or B");
  if (!gemm.has_bias())
    return;
  const fb::Operand &bias = *operands->Get(3);
  require(bias.access() == fb::Access::Read && (Checked(gemm.n()) * width).atMost(bias.bytes()),
          "bias is too small or not read only");
  require(isAligned(context, bias, width), "bias is not aligned");
  require(!overlap(c, bias), "C overlaps the bias");
}

void SegmentChecks::copy(const fb::Copy &body, const Operands *operands) {
  if (!require(sizeOf(operands) == 2, "copy needs a destination and a source"))
    return;
  const fb::Operand &destination = *operands->Get(0), &source = *operands->Get(1);
  require(destination.access() == fb::Access::Write && source.access() == fb::Access::Read, "copy has the wrong access");
  validateCopy(context, body, *operands, at, problems);
  require(!overlap(destination, source), "copy onto itself");
}

void SegmentChecks::fill(const fb::Fill &fill, const Operands *operands) {
  uint8_t width = fill.width();
  require(width == 1 || width == 2 || width == 4 || width == 8, "fill width is not 1, 2, 4 or 8");
  if (!require(sizeOf(operands) == 1, "fill needs one destination"))
    return;
  const fb::Operand &destination = *operands->Get(0);
  require(destination.access() == fb::Access::Write, "fill has the wrong access");
  require(width > 0 && destination.bytes() % width == 0, "fill does not fit its destination");
  require(width > 0 && isAligned(context, destination, width), "fill is not aligned");
}

void SegmentChecks::body(const fb::Instruction &instruction, const Operands *operands) {
  if (const fb::Launch *body = instruction.body_as_Launch())
    return launch(*body, operands);
  if (const fb::Gemm *body = instruction.body_as_Gemm())
    return gemm(*body, operands);
  if (const fb::Copy *body = instruction.body_as_Copy())
    return copy(*body, operands);
  if (const fb::Collective *body = instruction.body_as_Collective())
    return validateCollective(context, *body, operands, at, problems);
  if (instruction.body_as_Wait()) {
    require(sizeOf(operands) == 0, "a wait has no operands");
    return;
  }
  if (const fb::Fill *body = instruction.body_as_Fill())
    return fill(*body, operands);
  bool isKnown = instruction.body_type() > fb::Body::NONE && instruction.body_type() <= fb::Body::MAX;
  require(false, std::string("instruction kind ") + (isKnown ? fb::EnumNameBody(instruction.body_type()) : "unknown") +
                     " is not executed by this runtime");
}

void SegmentChecks::instruction(uint32_t position, const fb::Instruction &instruction) {
  at = where + " instruction " + std::to_string(position) + " '" + textOf(instruction.name()) + "'";
  const Operands *operands = instruction.operands();
  bool good = true;
  for (uint32_t i = 0; i < sizeOf(operands); ++i)
    good &= operand(position, i, *operands->Get(i));
  if (!good)
    return;
  body(instruction, operands);
  if (operands)
    flow(*operands);
}

} // namespace

void validateSegments(const ProgramContext &context, Problems &problems) {
  std::set<std::string> names;
  for (uint32_t i = 0; i < context.segments(); ++i) {
    std::string name = textOf(context.program.segments()->Get(i)->name());
    problems.require(name == "accumulate" || name == "update" || name == "evaluate" || name == "predict",
                     context.where + "segment " + std::to_string(i), "name '" + name + "' is unknown to this runtime");
    problems.require(names.insert(name).second, context.where + "segment " + std::to_string(i),
                     "two segments are named '" + name + "'");
    SegmentChecks(context, i, problems).run();
  }
}

} // namespace llmc::runtime
