//===- Graph.h - what a fused kernel computes, as expressions over atoms ------*- C++ -*-===//
//
// A kernel function becomes a graph of scalar expressions: each node is a function of the iteration point, shape changes and
// broadcasts are gone (they only rename loops), composites are expanded. The graph holds no MLIR objects, so that code can
// be generated in another context on another thread.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_COMPILER_CODEGEN_FUSED_GRAPH_H
#define LLMC_COMPILER_CODEGEN_FUSED_GRAPH_H

#include "compiler/codegen/fused/Atoms.h"
#include "compiler/codegen/ElementKind.h"
#include "dialects/nn/Nn.h"
#include "llvm/Support/Error.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <string>
#include <vector>

namespace llmc::codegen {

using NodeId = int;
enum class Reduction { Sum, Max, Min, Prod };
/// How the elements are combined; a mean is a sum that is divided later.
Reduction reductionOf(nn::ReduceKind kind);

/// A data-dependent part of an address: stride * clamp(value of `index`, 0, size - 1), negative values counting from `size`
/// on if `wrap`.
struct DynamicIndex {
  NodeId index;
  int64_t stride;
  int64_t size;
  bool wrap;
  bool operator==(const DynamicIndex &other) const = default;
};

struct Node {
  enum Kind { Constant, Load, Position, Elementwise, Reduce } kind = Constant;
  ElementKind type = ElementKind::F32;
  double real = 0;                        // Constant
  int64_t integer = 0;                    // Constant
  int input = -1;                         // Load
  int64_t offset = 0;                     // Load, Position: value or element offset at iteration point 0
  Layout layout;                          // Load, Position
  llvm::SmallVector<DynamicIndex, 1> dynamic; // Load
  std::string op;                         // Elementwise: a name of arith or math
  int64_t predicate = -1;                 // Elementwise: of a comparison
  llvm::SmallVector<NodeId, 4> operands;  // Elementwise, Reduce
  Reduction reduction = Reduction::Sum;   // Reduce
  AtomList atoms;                         // Reduce: the loops reduced over
  AtomList span;                          // the leaves that the value depends on, sorted; set last
  bool operator==(const Node &other) const = default;
};

/// A node written to result `output` at the layout's address.
struct Store {
  NodeId node;
  int output;
  int64_t offset;
  Layout layout;
  int level = 0; // stores of a later level happen after those of an earlier one
};

struct KernelArgument {
  ElementKind type;
  int64_t elements;
  int64_t bytes() const { return elements * bytesOf(type); }
};

struct Graph {
  std::string name;
  std::vector<Node> nodes;
  std::vector<Store> stores;
  std::vector<KernelArgument> inputs, outputs;
  AtomTable table;
};

/// The expression graph of a kernel function, or an error that names the op that has no such form.
llvm::Expected<Graph> buildGraph(mlir::func::FuncOp function);

} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_FUSED_GRAPH_H
