//===- Phases.cpp - which values each walk of a row computes, keeps, reads back ===//
//
// A row is walked once more than there are row reductions that need one another. A later walk computes values again from
// the operands, which are in the cache by then, except those that were stored and those that are costly.
//
//===----------------------------------------------------------------------===//
#include "compiler/codegen/fused/StagePlan.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include <map>

namespace llmc::codegen {
namespace {

constexpr int64_t maxBufferBytes = 128 * 1024;

bool isCostly(const Node &node) {
  return node.kind == Node::Elementwise && llvm::StringRef(node.op).starts_with("math.") &&
         !llvm::StringSwitch<bool>(node.op).Cases({"math.absf", "math.fma", "math.floor", "math.ceil", "math.copysign"}, true).Default(false);
}

class PhasePlanner {
public:
  PhasePlanner(StagedKernel &kernel, Stage &stage) : kernel(kernel), graph(kernel.graph), stage(stage) {}
  void plan();
  /// The phases in which a vector node is computed or, for a load, read.
  std::map<NodeId, std::set<int>> evaluated;

private:
  void computePhases();
  void walk();
  void visit(NodeId id, int phase, std::set<NodeId> &seen);
  bool isStoredBefore(NodeId id, int phase) const;

  StagedKernel &kernel;
  Graph &graph;
  Stage &stage;
};

void PhasePlanner::computePhases() {
  stage.phase.assign(graph.nodes.size(), 0);
  for (auto [id, node] : llvm::enumerate(graph.nodes)) {
    if (kernel.partialOf(static_cast<NodeId>(id)))
      continue;
    for (NodeId operand : node.operands)
      stage.phase[id] = std::max(stage.phase[id], stage.phase[operand]);
    for (const DynamicIndex &index : node.dynamic)
      stage.phase[id] = std::max(stage.phase[id], stage.phase[index.index]);
    stage.phase[id] += node.kind == Node::Reduce;
  }
  for (NodeId id : stage.reachable)
    stage.phases = std::max(stage.phases, stage.phase[id] + 1);
  for (NodeId id : stage.partials)
    stage.phases = std::max(stage.phases, stage.phase[graph.nodes[id].operands[0]] + 1);
}

bool PhasePlanner::isStoredBefore(NodeId id, int phase) const {
  const Node &node = graph.nodes[id];
  if (node.kind != Node::Elementwise || node.type == ElementKind::BF16 || node.type == ElementKind::F16)
    return false;
  return stage.phase[id] < phase &&
         llvm::any_of(stage.stores, [&](int store) { return graph.stores[store].node == id; });
}

void PhasePlanner::visit(NodeId id, int phase, std::set<NodeId> &seen) {
  if (!kernel.isVector(stage, id) || !seen.insert(id).second)
    return;
  if (isStoredBefore(id, phase)) {
    stage.reloaded.insert(id);
    return;
  }
  bool buffered = llvm::is_contained(stage.buffered, id);
  if (buffered && !evaluated[id].empty() && *evaluated[id].begin() < phase)
    return;
  evaluated[id].insert(phase);
  if (kernel.partialOf(id))
    return;
  for (NodeId operand : graph.nodes[id].operands)
    visit(operand, phase, seen);
  for (const DynamicIndex &index : graph.nodes[id].dynamic)
    visit(index.index, phase, seen);
}

void PhasePlanner::walk() {
  evaluated.clear();
  stage.reloaded.clear();
  for (int phase = 0; phase < stage.phases; ++phase) {
    std::set<NodeId> seen;
    auto root = [&](NodeId id) {
      if (stage.phase[id] == phase)
        visit(id, phase, seen);
    };
    for (NodeId id : stage.reachable)
      if (kernel.isRowReduction(stage, id))
        root(graph.nodes[id].operands[0]);
    for (int store : stage.stores)
      root(graph.stores[store].node);
    for (NodeId id : stage.partials)
      root(graph.nodes[id].operands[0]);
  }
}

void PhasePlanner::plan() {
  computePhases();
  walk();
  int64_t bytes = 0;
  for (auto &[id, phases] : evaluated) {
    int64_t size = stage.columnBlock * std::max<int64_t>(4, bytesOf(graph.nodes[id].type));
    if (phases.size() > 1 && isCostly(graph.nodes[id]) && bytes + size <= maxBufferBytes) {
      bytes += size;
      stage.buffered.push_back(id);
    }
  }
  walk();
}

} // namespace

/// Whether each point of the stage's domain has an address of its own.
static bool isInjective(const Stage &stage, const Access &access) {
  for (auto [size, stride] : llvm::zip(stage.rowSizes, access.rowStrides))
    if (size > 1 && stride == 0)
      return false;
  return stage.columns == 1 || access.columnStride != 0;
}

void planPhases(StagedKernel &kernel) {
  Graph &graph = kernel.graph;
  std::vector<std::map<NodeId, std::set<int>>> evaluated;
  for (Stage &stage : kernel.stages) {
    PhasePlanner planner(kernel, stage);
    planner.plan();
    evaluated.push_back(std::move(planner.evaluated));
  }
  auto mayAlias = [&](int input, int output) {
    if (graph.inputs[input].bytes() != graph.outputs[output].bytes())
      return false;
    int count = 0, storeStage = -1, storeIndex = -1;
    for (auto [s, stage] : llvm::enumerate(kernel.stages))
      for (int store : stage.stores)
        if (graph.stores[store].output == output) {
          ++count;
          storeStage = static_cast<int>(s);
          storeIndex = store;
        }
    if (count != 1)
      return false;
    const Store &store = graph.stores[storeIndex];
    for (auto [s, stage] : llvm::enumerate(kernel.stages))
      for (NodeId id : stage.reachable) {
        const Node &node = graph.nodes[id];
        if (node.kind != Node::Load || node.input != input || static_cast<int>(s) < storeStage)
          continue;
        if (static_cast<int>(s) > storeStage || !node.dynamic.empty() || bytesOf(node.type) != bytesOf(graph.outputs[output].type))
          return false;
        Access read = kernel.project(stage, node.layout, node.offset), write = kernel.project(stage, store.layout, store.offset);
        if (!(read == write) || !isInjective(stage, write))
          return false;
        const std::set<int> &phases = evaluated[s][id];
        if (!phases.empty() && *phases.rbegin() > stage.phase[store.node])
          return false;
        if (phases.empty() && stage.phases > 1)
          return false;
      }
    return true;
  };
  for (size_t input = 0; input < graph.inputs.size(); ++input)
    for (size_t output = 0; output < graph.outputs.size(); ++output)
      if (mayAlias(static_cast<int>(input), static_cast<int>(output)))
        kernel.description.mayAlias.push_back({static_cast<int>(input), static_cast<int>(output)});
}

} // namespace llmc::codegen
