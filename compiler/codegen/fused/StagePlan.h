//===- StagePlan.h - the stages of a fused kernel: loops, partition, phases ---*- C++ -*-===//
//
// A stage walks one domain (rows, columns). Workgroup (p, k) walks the rows of block p and the columns of block k. A
// reduction over the columns is finished within the row, between two phases of walking it; a reduction over the rows leaves
// partial sums per block in scratch memory, which any later stage adds up in the order of the blocks.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_COMPILER_CODEGEN_FUSED_STAGEPLAN_H
#define LLMC_COMPILER_CODEGEN_FUSED_STAGEPLAN_H

#include "compiler/codegen/fused/Graph.h"
#include "compiler/codegen/Kernels.h"
#include <set>

namespace llmc::codegen {

/// A reduction across workgroups.
struct Partial {
  NodeId node;
  int scratch;         // its buffer: [blocks, span of the node], row-major in the order of the atoms
  int64_t blocks = 0;  // of the stage that accumulates it
  int64_t elements;    // of the result
  ElementKind type;    // of the buffer
  Layout layout;       // of one block
};

/// Where a stage reads or writes for iteration (row indices, column).
struct Access {
  llvm::SmallVector<int64_t, 3> rowStrides;
  int64_t columnStride = 0;
  int64_t offset = 0;
  bool operator==(const Access &other) const = default;
};

struct Stage {
  llvm::SmallVector<AtomList, 3> rowLoops; // runs of atoms that are one loop, outermost first
  AtomList columnLoop;
  llvm::SmallVector<int64_t, 3> rowSizes;
  int64_t rows = 1, columns = 1;
  int64_t rowBlock = 1, columnBlock = 1, rowBlocks = 1, columnBlocks = 1;
  int level = 0;
  std::vector<int> stores;       // indices into the graph's stores
  std::vector<NodeId> partials;  // reductions accumulated here
  std::vector<NodeId> reachable; // nodes evaluated here, operands first
  int phases = 1;
  std::vector<int> phase;        // by node: the phase in which it can be computed first, 0 if it needs no row reduction
  std::vector<NodeId> buffered;  // vector nodes kept in a row buffer, since later phases need them and they are costly
  std::set<NodeId> reloaded;     // vector nodes that later phases read from where they were stored
};

struct StagedKernel {
  Graph graph;
  std::vector<Stage> stages;
  std::vector<Partial> partials;
  GeneratedKernel description;

  const Partial *partialOf(NodeId node) const;
  /// Whether the value changes along the columns of `stage`.
  bool isVector(const Stage &stage, NodeId node) const;
  /// Whether reduction `node` is over the columns of `stage`, within each row.
  bool isRowReduction(const Stage &stage, NodeId node) const;
  Access project(const Stage &stage, llvm::ArrayRef<AtomStride> layout, int64_t offset) const;
  /// The operands of a stage, in the order of its arguments; `index` of one of them, or -1.
  static int operandIndex(const KernelStage &stage, OperandKind kind, int index);
};

/// Sets phase, phases, buffered and reloaded of each stage, and the kernel's mayAlias.
void planPhases(StagedKernel &kernel);

llvm::Expected<StagedKernel> planStages(Graph graph);

} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_FUSED_STAGEPLAN_H
