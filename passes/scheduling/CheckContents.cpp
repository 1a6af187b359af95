//===- CheckContents.cpp - which value each byte of memory holds ----------------------===//
//
// As register allocators are checked: instructions are followed in order, and memory is known as pieces of values, by address. It
// trusts nothing but the operands of the instructions and the offsets of the buffers: not the live ranges, not the choice of what
// is written in place. Of a rank's own part of a buffer the first rank's place stands for all.
//
//===----------------------------------------------------------------------===//
#include "dialects/interfaces/Interfaces.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/analysis/FusionGroups.h"
#include "passes/scheduling/Program.h"

using namespace mlir;

namespace llmc::scheduling {

namespace {

/// Bytes of a value that an instruction, an argument or a constant makes.
struct Piece {
  Value value;
  int64_t from, bytes;
};

/// The pieces that bytes [from, from + bytes) of `value` consist of: views show bytes of their source, concatenations those of their
/// operands one after the other.
void collectPieces(Value value, int64_t from, int64_t bytes, SmallVectorImpl<Piece> &pieces) {
  Operation *op = value.getDefiningOp();
  if (op && (analysis::isView(op) || analysis::isPlaceView(op))) {
    auto slice = dyn_cast<tensor::ExtractSliceOp>(op);
    int64_t offset = slice ? analysis::sliceOffset(slice) * elementBytes(slice.getType().getElementType()) : 0;
    return collectPieces(op->getOperand(0), from + offset, bytes, pieces);
  }
  auto concat = dyn_cast_or_null<tensor::ConcatOp>(op);
  if (!concat)
    return pieces.push_back({value, from, bytes});
  int64_t begin = 0;
  for (Value input : concat.getInputs()) {
    int64_t size = tensorBytes(input.getType()), first = std::max(from, begin), last = std::min(from + bytes, begin + size);
    if (first < last)
      collectPieces(input, first - begin, last - first, pieces);
    begin += size;
  }
}

/// Bytes [begin, end) of an arena.
struct Range {
  StringRef arena;
  int64_t begin, end;
  bool overlaps(const Range &other) const { return arena == other.arena && begin < other.end && other.begin < end; }
  bool operator==(const Range &other) const { return arena == other.arena && begin == other.begin && end == other.end; }
};

class Memory {
public:
  void erase(Range range) {
    Pieces &pieces = arenas[range.arena];
    auto it = pieces.lower_bound(range.begin);
    if (it != pieces.begin())
      it = std::prev(it);
    while (it != pieces.end() && it->first < range.end) {
      auto [begin, piece] = *it;
      int64_t end = begin + piece.bytes;
      if (end <= range.begin) {
        ++it;
        continue;
      }
      it = pieces.erase(it);
      if (begin < range.begin)
        pieces[begin] = {piece.value, piece.from, range.begin - begin};
      if (end > range.end)
        pieces[range.end] = {piece.value, piece.from + range.end - begin, end - range.end};
    }
  }

  void write(Range range, Value value) {
    erase(range);
    SmallVector<Piece> parts;
    collectPieces(value, 0, range.end - range.begin, parts);
    for (const Piece &part : parts) {
      if (part.bytes > 0)
        arenas[range.arena][range.begin] = part;
      range.begin += part.bytes;
    }
  }

  bool holds(Range range, Value value) const {
    SmallVector<Piece> parts;
    collectPieces(value, 0, range.end - range.begin, parts);
    return llvm::all_of(parts, [&](Piece part) {
      while (part.bytes > 0) {
        const Piece *found = nullptr;
        int64_t begin = 0;
        if (auto arena = arenas.find(range.arena); arena != arenas.end())
          if (auto it = arena->second.upper_bound(range.begin); it != arena->second.begin())
            std::tie(begin, found) = std::pair(std::prev(it)->first, &std::prev(it)->second);
        int64_t into = range.begin - begin;
        if (!found || into >= found->bytes || found->value != part.value || found->from + into != part.from)
          return false;
        int64_t step = std::min(part.bytes, found->bytes - into);
        part.from += step, part.bytes -= step, range.begin += step;
      }
      return true;
    });
  }

private:
  using Pieces = std::map<int64_t, Piece>; // by address
  std::map<StringRef, Pieces> arenas; // names as the buffers hold them
};

class Checker {
public:
  Checker(const Program &program, const Segment &segment)
      : program(program), segment(segment), symbols(func::FuncOp(segment.function)->getParentOfType<ModuleOp>()) {}

  LogicalResult run() {
    for (auto [value, buffer] : segment.given)
      memory.write(rangeOf({buffer, tensorBytes(value.getType()), "write"}), value);
    for (const Instruction &instruction : segment.instructions)
      if (failed(follow(instruction)))
        return failure();
    for (auto [value, buffer] : segment.results)
      if (Range range = rangeOf({buffer, tensorBytes(value.getType()), "read"}); !memory.holds(range, value))
        return fail(func::FuncOp(segment.function).getLoc(), "result '" + program.buffers[buffer].name + "' is not there at the end");
    return success();
  }

private:
  Range rangeOf(const Operand &operand) const {
    const Buffer &buffer = program.buffers[operand.buffer];
    return {buffer.arena, buffer.offset, buffer.offset + operand.bytes};
  }

  LogicalResult fail(Location loc, const Twine &problem) const {
    return emitError(loc) << "the addresses that were assigned are wrong, which is a mistake of the compiler: @" << segment.name << ", " << problem;
  }

  LogicalResult follow(const Instruction &instruction) {
    if (instruction.kind == Instruction::Wait)
      return finish(instruction);
    for (const Operand &operand : instruction.operands) {
      Range range = rangeOf(operand);
      if (operand.reads && !memory.holds(range, operand.reads))
        return fail(instruction.loc, "buffer '" + program.buffers[operand.buffer].name + "' no longer holds what is read from it");
      if (operand.access == "read")
        continue;
      for (const Instruction *other : running)
        if (llvm::any_of(other->operands, [&](const Operand &theirs) { return rangeOf(theirs).overlaps(range); }))
          return fail(instruction.loc, "buffer '" + program.buffers[operand.buffer].name + "' is written while a collective uses it");
      for (const Operand &other : instruction.operands)
        if (&other != &operand && rangeOf(other).overlaps(range) && !mayOverlap(instruction, operand, other))
          return fail(instruction.loc, "buffer '" + program.buffers[operand.buffer].name + "' is written over what else the instruction uses");
    }
    if (instruction.event >= 0)
      running.push_back(&instruction);
    for (const Operand &operand : instruction.operands)
      if (operand.access != "read")
        memory.erase(rangeOf(operand));
    if (instruction.event < 0)
      writeResults(instruction);
    return success();
  }

  LogicalResult finish(const Instruction &wait) {
    auto it = llvm::find_if(running, [&](const Instruction *other) { return other->event == wait.event; });
    if (it == running.end())
      return fail(wait.loc, "a wait for no collective");
    const Instruction *collective = *it;
    running.erase(it);
    writeResults(*collective);
    return success();
  }

  void writeResults(const Instruction &instruction) {
    for (const Operand &operand : instruction.operands)
      if (operand.writes)
        memory.write(rangeOf(operand), operand.writes);
  }

  /// Whether `instruction` may write `written` where it reads `other`: a kernel where it says so, element by element; a collective a result
  /// over its own source.
  bool mayOverlap(const Instruction &instruction, const Operand &written, const Operand &other) const {
    if (instruction.kind == Instruction::Collective)
      return other.access == "read" && &other + 1 == &written;
    if (instruction.kind != Instruction::Launch || other.access != "read" || !other.reads || !written.writes || !(rangeOf(written) == rangeOf(other)))
      return false;
    auto kernel = symbols.lookup<func::FuncOp>(instruction.kernel);
    ArrayRef<int64_t> pairs = kernel->getAttrOfType<DictionaryAttr>(plan::kStages).getAs<DenseI64ArrayAttr>("alias").asArrayRef();
    for (size_t i = 0; i + 1 < pairs.size(); i += 2)
      if (pairs[i] == written.place && pairs[i + 1] == other.place)
        return true;
    return false;
  }

  const Program &program;
  const Segment &segment;
  SymbolTable symbols;
  Memory memory;
  SmallVector<const Instruction *> running; // collectives beside what follows
};

} // namespace

LogicalResult checkContents(const Program &program) {
  for (const Segment &segment : program.segments)
    if (failed(Checker(program, segment).run()))
      return failure();
  return success();
}

} // namespace llmc::scheduling
