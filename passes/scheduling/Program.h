//===- Program.h - buffers and instructions under construction --*- C++ -*-===//
#ifndef LLMC_PASSES_SCHEDULING_PROGRAM_H
#define LLMC_PASSES_SCHEDULING_PROGRAM_H

#include "dialects/dist/Dist.h"
#include "dialects/plan/Plan.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <map>
#include <string>

namespace llmc::scheduling {

/// A tensor that will get an address. `root` >= 0: it is a part of that buffer's storage, `inner` bytes from its start.
struct Buffer {
  std::string name, arena, category, segment; // segment empty: alive throughout
  mlir::RankedTensorType type;
  int64_t bytes = 0, first = 0, last = 0, offset = 0;
  int root = -1;
  mlir::ElementsAttr value;
  mlir::Location origin;
  int64_t inner = 0;
  mlir::ArrayAttr placeAxes;    // the rank's own part of `root`: `inner` + place * `placeStride`
  int64_t placeStride = 0;
  dist::ShardingAttr sharding;  // of state, where there is a mesh
  mlir::ArrayAttr view;         // of a parameter's state that has another shape: the way from the logical one
};

/// One operand of an instruction.
struct Operand {
  int buffer;
  int64_t bytes;
  llvm::StringRef access;
  mlir::Value reads, writes; // what the buffer holds before, and after; none for the memory that a kernel works in
  int64_t place = -1;        // of a launch: the operand or result of the call
};

struct Instruction {
  enum Kind { Launch, Gemm, Copy, Fill, Collective, Wait } kind;
  llvm::SmallVector<Operand> operands;
  mlir::Location loc;
  std::string kernel;              // Launch
  int64_t stage = 0;               // Launch
  mlir::DictionaryAttr shape;      // Gemm
  uint64_t pattern = 0;            // Fill
  int64_t width = 0;               // Fill
  int64_t flops = 0;
  int64_t rows = 0, unit = 0, fromStride = 0; // Copy of the rank's part: blocks, their bytes, distance in the source
  mlir::ArrayAttr axes;                       // Collective: the group's; Copy: the part's
  std::string collective, reduction, reason;  // Collective
  mlir::Type element;                         // Collective
  int64_t event = -1;                         // Collective that runs beside what follows, and the Wait for it
};

struct Segment {
  std::string name;
  mlir::func::FuncOp function;
  std::vector<Instruction> instructions;
  llvm::SmallVector<std::pair<unsigned, int>> inputs;  // argument index, buffer
  llvm::SmallVector<std::pair<unsigned, int>> outputs; // result index, buffer
  llvm::SmallVector<std::pair<mlir::ArrayAttr, int>> places; // axes, buffer of the rank's place along them
  llvm::SmallVector<std::pair<mlir::Value, int>> given, results; // what buffers hold before the first instruction, and after the last
};

/// All buffers and segments of one rank. State is found by (role, name), so that segments share it.
class Program {
public:
  int addBuffer(Buffer buffer);
  /// The buffer of a piece of state; made at the first call.
  int stateBuffer(llvm::StringRef role, llvm::StringRef name, mlir::RankedTensorType type, mlir::Location loc);
  /// Notes that instruction `position` of `segment` touches the buffer's storage.
  void touch(int buffer, int64_t position);
  int rootOf(int buffer) const;
  /// A part of `parent`: `type` at `offset` bytes from its start.
  int addPart(int parent, mlir::RankedTensorType type, int64_t offset, mlir::Location loc);
  /// The rank's own part of `parent`, by its place along `axes`: parts lie one after the other.
  int addPlacePart(int parent, mlir::RankedTensorType type, mlir::ArrayAttr axes, mlir::Location loc);

  std::vector<Buffer> buffers;
  std::vector<Segment> segments;
  std::map<std::pair<std::string, std::string>, int> state;
};

/// Plans one function: instructions, operands and live ranges, no addresses yet.
mlir::LogicalResult planSegment(mlir::func::FuncOp function, Program &program);

/// Gives every buffer its offset; returns the bytes of each arena by name.
std::map<std::string, int64_t> assignOffsets(Program &program);

/// Follows the values through memory, byte by byte: each instruction finds the values that it reads where it reads them, nothing is
/// written over too early, and at the end the results are where they belong. Errors are mistakes of the assignment.
mlir::LogicalResult checkContents(const Program &program);

} // namespace llmc::scheduling

#endif // LLMC_PASSES_SCHEDULING_PROGRAM_H
