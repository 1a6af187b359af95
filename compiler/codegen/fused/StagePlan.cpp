//===- StagePlan.cpp - the stages of a fused kernel --------------------------===//
//
//   1. order the atoms by how the largest operand lies in memory;
//   2. a reduction over the innermost atoms of its operand is a row reduction, one over the outermost is partial;
//   3. stores and partial reductions with the same loops and level form a stage;
//   4. atoms of a stage that every access walks as one become one loop; the rest are row loops;
//   5. the partition into blocks depends on the shape only.
//
//===----------------------------------------------------------------------===//
#include "compiler/codegen/fused/StagePlan.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallBitVector.h"
#include <map>
#include <set>

namespace llmc::codegen {
namespace {

class Planner {
public:
  explicit Planner(Graph graph) { kernel.graph = std::move(graph); }
  llvm::Expected<StagedKernel> plan();

private:
  using AtomSet = std::set<AtomId>;
  struct Root {
    int store = -1;
    NodeId partial = -1;
    int level = 0;
    AtomSet domain;
  };
  void orderAtoms();
  llvm::Error classifyReductions();
  void collect(NodeId node, std::set<NodeId> &reached) const;
  AtomSet domainOf(NodeId node, llvm::ArrayRef<AtomStride> layout, bool accumulated) const;
  std::vector<Root> roots();
  void groupRoots(std::vector<Root> roots);
  llvm::Error shapeStage(Stage &stage, const AtomSet &domain);
  llvm::Expected<AtomList> columnAtoms(const Stage &stage, const AtomList &domain, bool &constrained) const;
  std::vector<Layout> layoutsOf(const Stage &stage) const;
  bool hasRowReduction(const Stage &stage) const;
  void partition(Stage &stage);
  void describe();
  AtomList sorted(const AtomSet &atoms) const;
  llvm::Error error(const llvm::Twine &why) const {
    return llvm::createStringError(("kernel " + kernel.graph.name + ": " + why).str());
  }

  StagedKernel kernel;
  std::map<AtomId, int> rank; // position in the order, outermost first
  std::vector<int> level;     // of each node: the first stage level that can evaluate it
  std::vector<AtomSet> domains;
};

void Planner::orderAtoms() {
  struct Entry {
    bool reduced;
    size_t atoms;
    bool store;
    Layout layout;
  };
  std::vector<Entry> entries;
  std::set<NodeId> reduced;
  for (auto [id, node] : llvm::enumerate(kernel.graph.nodes))
    if (node.kind == Node::Reduce)
      collect(static_cast<NodeId>(id), reduced);
  for (auto [id, node] : llvm::enumerate(kernel.graph.nodes))
    if (node.kind == Node::Load)
      entries.push_back({reduced.count(static_cast<NodeId>(id)) != 0, node.layout.size(), false, node.layout});
  for (const Store &store : kernel.graph.stores)
    entries.push_back({false, store.layout.size(), true, store.layout});
  llvm::stable_sort(entries, [](const Entry &a, const Entry &b) {
    return std::tuple(a.reduced, a.atoms, a.store) > std::tuple(b.reduced, b.atoms, b.store);
  });
  for (Entry &entry : entries) {
    llvm::stable_sort(entry.layout, [](const AtomStride &a, const AtomStride &b) { return a.stride > b.stride; });
    // Atoms not seen yet go where this layout has them: after the last seen one that lies outside of them.
    std::vector<AtomId> order(rank.size());
    for (auto [atom, position] : rank)
      order[position] = atom;
    size_t at = 0;
    for (const AtomStride &atomStride : entry.layout) {
      auto found = llvm::find(order, atomStride.atom);
      if (found != order.end()) {
        at = std::max<size_t>(at, found - order.begin() + 1);
        continue;
      }
      order.insert(order.begin() + at, atomStride.atom);
      ++at;
    }
    for (auto [position, atom] : llvm::enumerate(order))
      rank[atom] = static_cast<int>(position);
  }
  for (const Node &node : kernel.graph.nodes) // loops that nothing is read or written along
    for (AtomId atom : llvm::concat<const AtomId>(node.atoms, node.span))
      rank.try_emplace(atom, static_cast<int>(rank.size()));
}

AtomList Planner::sorted(const AtomSet &atoms) const {
  AtomList list(atoms.begin(), atoms.end());
  llvm::sort(list, [&](AtomId a, AtomId b) { return rank.at(a) < rank.at(b); });
  return list;
}

void Planner::collect(NodeId id, std::set<NodeId> &reached) const {
  if (!reached.insert(id).second)
    return;
  const Node &node = kernel.graph.nodes[id];
  if (kernel.partialOf(id))
    return; // a later stage reads the result
  for (NodeId operand : node.operands)
    collect(operand, reached);
  for (const DynamicIndex &index : node.dynamic)
    collect(index.index, reached);
}

llvm::Error Planner::classifyReductions() {
  const Graph &graph = kernel.graph;
  level.assign(graph.nodes.size(), 0);
  for (auto [i, node] : llvm::enumerate(graph.nodes)) {
    for (NodeId operand : node.operands)
      level[i] = std::max(level[i], level[operand]);
    for (const DynamicIndex &index : node.dynamic)
      level[i] = std::max(level[i], level[index.index]);
    if (node.kind != Node::Reduce)
      continue;
    AtomSet domain(node.atoms.begin(), node.atoms.end());
    const Node &operand = graph.nodes[node.operands[0]];
    domain.insert(operand.span.begin(), operand.span.end());
    AtomList order = sorted(domain);
    size_t count = node.atoms.size();
    auto isReduced = [&](AtomId atom) { return llvm::is_contained(node.atoms, atom); };
    if (count < order.size() && llvm::all_of(llvm::ArrayRef(order).take_back(count), isReduced))
      continue;
    if (!llvm::all_of(llvm::ArrayRef(order).take_front(count), isReduced))
      return error("a reduction over neither the first nor the last dimensions");
    Partial partial;
    partial.node = static_cast<NodeId>(i);
    partial.scratch = static_cast<int>(kernel.partials.size());
    bool narrow = node.type == ElementKind::BF16 || node.type == ElementKind::F16;
    partial.type = narrow ? ElementKind::F32 : node.type;
    partial.elements = 1;
    for (AtomId atom : llvm::reverse(sorted({node.span.begin(), node.span.end()}))) {
      partial.layout.push_back({atom, partial.elements});
      partial.elements *= graph.table.size(atom);
    }
    kernel.partials.push_back(partial);
    ++level[i];
  }
  return llvm::Error::success();
}

Planner::AtomSet Planner::domainOf(NodeId node, llvm::ArrayRef<AtomStride> layout, bool accumulated) const {
  std::set<NodeId> reached;
  AtomSet domain;
  const Node &root = kernel.graph.nodes[node];
  if (accumulated) {
    collect(root.operands[0], reached);
    domain.insert(root.atoms.begin(), root.atoms.end());
  } else {
    collect(node, reached);
  }
  for (NodeId id : reached) {
    const Node &each = kernel.graph.nodes[id];
    domain.insert(each.span.begin(), each.span.end());
    if (!kernel.partialOf(id))
      domain.insert(each.atoms.begin(), each.atoms.end());
  }
  for (const AtomStride &entry : layout)
    domain.insert(entry.atom);
  return domain;
}

std::vector<Planner::Root> Planner::roots() {
  std::vector<Root> result;
  for (const Partial &partial : kernel.partials) {
    Root root;
    root.partial = partial.node;
    root.level = level[kernel.graph.nodes[partial.node].operands[0]];
    root.domain = domainOf(partial.node, {}, true);
    result.push_back(root);
  }
  size_t firstStore = result.size();
  std::vector<int> order(kernel.graph.stores.size());
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = static_cast<int>(i);
  llvm::stable_sort(order, [&](int a, int b) { return kernel.graph.stores[a].level < kernel.graph.stores[b].level; });
  for (int i : order) {
    const Store &store = kernel.graph.stores[i];
    Root root;
    root.store = i;
    root.level = level[store.node];
    for (size_t j = firstStore; j < result.size(); ++j) {
      const Store &earlier = kernel.graph.stores[result[j].store];
      if (earlier.output == store.output && earlier.level < store.level)
        root.level = std::max(root.level, result[j].level + 1);
    }
    root.domain = domainOf(store.node, store.layout, false);
    result.push_back(root);
  }
  return result;
}

void Planner::groupRoots(std::vector<Root> all) {
  std::map<std::pair<int, AtomSet>, Stage> groups;
  for (const Root &root : all) {
    // A value of the rows alone joins the stage that walks these rows with columns, if there is one.
    const Root *home = &root;
    for (const Root &other : all) {
      if (other.level != root.level || other.domain.size() <= home->domain.size() || root.domain.empty())
        continue;
      AtomList order = sorted(other.domain);
      AtomSet rows(order.begin(), order.begin() + std::min(order.size(), root.domain.size()));
      bool reducesRest = llvm::any_of(kernel.graph.nodes, [&](const Node &node) {
        AtomSet rest(order.begin() + rows.size(), order.end());
        return node.kind == Node::Reduce && AtomSet(node.atoms.begin(), node.atoms.end()) == rest;
      });
      if (rows == root.domain && reducesRest)
        home = &other;
    }
    Stage &stage = groups[{root.level, home->domain}];
    stage.level = root.level;
    if (root.store >= 0)
      stage.stores.push_back(root.store);
    else
      stage.partials.push_back(root.partial);
  }
  for (auto &[key, stage] : groups) {
    std::set<NodeId> reached;
    for (int store : stage.stores)
      collect(kernel.graph.stores[store].node, reached);
    for (NodeId partial : stage.partials)
      collect(kernel.graph.nodes[partial].operands[0], reached);
    stage.reachable.assign(reached.begin(), reached.end());
    kernel.stages.push_back(std::move(stage));
    domains.push_back(key.second);
  }
}

bool Planner::hasRowReduction(const Stage &stage) const {
  return llvm::any_of(stage.reachable, [&](NodeId id) {
    return kernel.graph.nodes[id].kind == Node::Reduce && !kernel.partialOf(id);
  });
}

std::vector<Layout> Planner::layoutsOf(const Stage &stage) const {
  std::vector<Layout> layouts;
  for (NodeId id : stage.reachable) {
    if (const Partial *partial = kernel.partialOf(id))
      layouts.push_back(partial->layout);
    else if (!kernel.graph.nodes[id].layout.empty())
      layouts.push_back(kernel.graph.nodes[id].layout);
  }
  for (int store : stage.stores)
    layouts.push_back(kernel.graph.stores[store].layout);
  for (NodeId partial : stage.partials)
    layouts.push_back(kernel.partialOf(partial)->layout);
  return layouts;
}

/// The atoms that reductions force to be columns, or none.
llvm::Expected<AtomList> Planner::columnAtoms(const Stage &stage, const AtomList &domain, bool &constrained) const {
  std::optional<AtomSet> columns;
  auto require = [&](const AtomSet &set) {
    if (columns && *columns != set)
      return false;
    columns = set;
    return true;
  };
  for (NodeId id : stage.reachable) {
    const Node &node = kernel.graph.nodes[id];
    if (node.kind == Node::Reduce && !kernel.partialOf(id) && !require({node.atoms.begin(), node.atoms.end()}))
      return error("row reductions over different dimensions");
  }
  for (NodeId id : stage.partials) {
    const Node &node = kernel.graph.nodes[id];
    if (node.atoms.size() == domain.size())
      continue;
    AtomSet rest(domain.begin(), domain.end());
    for (AtomId atom : node.atoms)
      rest.erase(atom);
    if (!require(rest))
      return error("reductions over rows and columns that do not fit together");
  }
  constrained = columns.has_value();
  return constrained ? sorted(*columns) : AtomList();
}

llvm::Error Planner::shapeStage(Stage &stage, const AtomSet &domain) {
  AtomList order = sorted(domain);
  bool constrained = false;
  auto columns = columnAtoms(stage, order, constrained);
  if (!columns)
    return columns.takeError();
  if (constrained && llvm::ArrayRef(order).take_back(columns->size()) != llvm::ArrayRef(*columns))
    return error("a reduction over dimensions that are not innermost");
  std::vector<Layout> layouts = layoutsOf(stage);
  auto strideIn = [](const Layout &layout, AtomId atom) -> int64_t {
    for (const AtomStride &entry : layout)
      if (entry.atom == atom)
        return entry.stride;
    return 0;
  };
  auto isOneLoop = [&](AtomId outer, AtomId inner) {
    return llvm::all_of(layouts, [&](const Layout &layout) {
      return strideIn(layout, outer) == strideIn(layout, inner) * kernel.graph.table.size(inner);
    });
  };
  size_t border = constrained ? order.size() - columns->size() : order.size() + 1;
  llvm::SmallVector<AtomList, 4> loops;
  size_t columnStart = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i == border)
      columnStart = loops.size();
    if (i > 0 && i != border && isOneLoop(order[i - 1], order[i]))
      loops.back().push_back(order[i]);
    else
      loops.push_back({order[i]});
  }
  if (!constrained)
    columnStart = loops.empty() ? 0 : loops.size() - 1;
  if (loops.size() > columnStart + 1)
    return error("the reduced dimensions do not lie as one");
  for (size_t i = 0; i < loops.size(); ++i) {
    int64_t size = kernel.graph.table.product(loops[i]);
    if (i < columnStart) {
      stage.rowLoops.push_back(loops[i]);
      stage.rowSizes.push_back(size);
      stage.rows *= size;
    } else {
      stage.columnLoop = loops[i];
      stage.columns = size;
    }
  }
  for (NodeId id : stage.partials) {
    const Node &node = kernel.graph.nodes[id];
    AtomSet reduced(node.atoms.begin(), node.atoms.end());
    for (const AtomList &loop : stage.rowLoops)
      for (AtomId atom : loop)
        if (!reduced.count(atom))
          return error("a reduction over some of the rows");
  }
  partition(stage);
  return llvm::Error::success();
}

/// Blocks of about 16Ki elements; at most 32 row blocks (256 partial sums) if reductions over rows end in scratch.
void Planner::partition(Stage &stage) {
  constexpr int64_t target = 16384;
  bool columnsWhole = hasRowReduction(stage);
  for (NodeId id : stage.partials) // per-row values are accumulated by one column block only
    columnsWhole |= !kernel.isVector(stage, kernel.graph.nodes[id].operands[0]);
  auto ceilDiv = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  int64_t maxColumns = target;
  if (!stage.partials.empty())
    maxColumns = stage.rows > 1 ? 1024 : std::max(target, ceilDiv(ceilDiv(stage.columns, 256), 64) * 64);
  // Where an operand's columns lie apart and its rows side by side, cache lines are used again by the next rows.
  auto isTransposed = [&](const Layout &layout) {
    Access access = kernel.project(stage, layout, 0);
    return access.columnStride > 1 && llvm::is_contained(access.rowStrides, 1);
  };
  if (llvm::any_of(layoutsOf(stage), isTransposed))
    maxColumns = std::min<int64_t>(maxColumns, 64);
  stage.columnBlock = columnsWhole ? stage.columns : std::min(stage.columns, maxColumns);
  stage.columnBlocks = ceilDiv(stage.columns, stage.columnBlock);
  stage.rowBlock = std::clamp<int64_t>(target / stage.columnBlock, 1, stage.rows);
  if (!stage.partials.empty())
    stage.rowBlock = std::max(stage.rowBlock, ceilDiv(stage.rows, 32));
  stage.rowBlocks = ceilDiv(stage.rows, stage.rowBlock);
  for (NodeId id : stage.partials) {
    Partial &partial = *llvm::find_if(kernel.partials, [&](const Partial &p) { return p.node == id; });
    bool acrossColumns = kernel.graph.nodes[id].span.empty();
    partial.blocks = stage.rowBlocks * (acrossColumns ? stage.columnBlocks : 1);
  }
}

llvm::Expected<StagedKernel> Planner::plan() {
  orderAtoms();
  if (llvm::Error e = classifyReductions())
    return e;
  groupRoots(roots());
  for (auto [stage, domain] : llvm::zip(kernel.stages, domains))
    if (llvm::Error e = shapeStage(stage, domain))
      return e;
  describe();
  planPhases(kernel);
  return std::move(kernel);
}

void Planner::describe() {
  const Graph &graph = kernel.graph;
  GeneratedKernel &result = kernel.description;
  result.name = graph.name;
  for (const Partial &partial : kernel.partials)
    result.scratchBytes.push_back(partial.blocks * partial.elements * bytesOf(partial.type));
  for (auto [i, stage] : llvm::enumerate(kernel.stages)) {
    KernelStage each;
    each.symbol = graph.name + "_" + std::to_string(i);
    each.workgroups = stage.rowBlocks * stage.columnBlocks;
    auto use = [&](OperandKind kind, int index, AccessMode mode, int64_t bytes) {
      int at = StagedKernel::operandIndex(each, kind, index);
      if (at < 0)
        each.operands.push_back({kind, index, mode, bytes});
      else if (each.operands[at].mode != mode)
        each.operands[at].mode = AccessMode::ReadWrite;
    };
    for (NodeId id : stage.reachable) {
      const Node &node = graph.nodes[id];
      if (node.kind == Node::Load)
        use(OperandKind::Input, node.input, AccessMode::Read, graph.inputs[node.input].bytes());
      else if (const Partial *partial = kernel.partialOf(id))
        use(OperandKind::Scratch, partial->scratch, AccessMode::Read, result.scratchBytes[partial->scratch]);
    }
    for (int store : stage.stores) {
      int output = graph.stores[store].output;
      use(OperandKind::Output, output, AccessMode::Write, graph.outputs[output].bytes());
    }
    for (NodeId id : stage.partials) {
      int scratch = kernel.partialOf(id)->scratch;
      use(OperandKind::Scratch, scratch, AccessMode::Write, result.scratchBytes[scratch]);
    }
    result.stages.push_back(std::move(each));
  }
}

} // namespace

llvm::Expected<StagedKernel> planStages(Graph graph) { return Planner(std::move(graph)).plan(); }

const Partial *StagedKernel::partialOf(NodeId node) const {
  for (const Partial &partial : partials)
    if (partial.node == node)
      return &partial;
  return nullptr;
}

bool StagedKernel::isVector(const Stage &stage, NodeId node) const {
  return llvm::any_of(graph.nodes[node].span, [&](AtomId atom) { return llvm::is_contained(stage.columnLoop, atom); });
}

bool StagedKernel::isRowReduction(const Stage &stage, NodeId node) const {
  return graph.nodes[node].kind == Node::Reduce && !partialOf(node);
}

Access StagedKernel::project(const Stage &stage, llvm::ArrayRef<AtomStride> layout, int64_t offset) const {
  auto strideOf = [&](const AtomList &loop) -> int64_t { // a loop's innermost atom steps by one
    for (const AtomStride &entry : layout)
      if (!loop.empty() && entry.atom == loop.back())
        return entry.stride;
    return 0;
  };
  Access access;
  for (const AtomList &loop : stage.rowLoops)
    access.rowStrides.push_back(strideOf(loop));
  access.columnStride = strideOf(stage.columnLoop);
  access.offset = offset;
  return access;
}

int StagedKernel::operandIndex(const KernelStage &stage, OperandKind kind, int index) {
  for (auto [i, operand] : llvm::enumerate(stage.operands))
    if (operand.kind == kind && operand.index == index)
      return static_cast<int>(i);
  return -1;
}

} // namespace llmc::codegen
