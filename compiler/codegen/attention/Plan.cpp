//===- Plan.cpp - block sizes, stages and scratch of an attention kernel ------===//
#include "compiler/codegen/attention/Plan.h"
#include "compiler/codegen/fused/StagePlan.h"

namespace llmc::codegen::attention {
namespace {

/// Bytes of tiles that a workgroup keeps on its stack.
constexpr int64_t kStackBytes = 256 * 1024;
/// Workgroups that the backward pass should have, so that many threads find work.
constexpr int64_t kWorkgroups = 16;

class Planner {
public:
  explicit Planner(Problem problem) : p(problem) { plan.problem = std::move(problem); }
  Plan make() {
    plan.description.name = p.name;
    p.backward ? makeBackward() : makeForward();
    return std::move(plan);
  }

private:
  void read(KernelStage &stage, const AffineView &view) {
    if (view.tensor >= 0)
      add(stage, OperandKind::Input, view.tensor, AccessMode::Read, p.inputBytes[view.tensor]);
  }
  void write(KernelStage &stage, const std::optional<AffineView> &view, AccessMode mode) {
    if (view)
      add(stage, OperandKind::Output, view->tensor, mode, p.outputBytes[view->tensor]);
  }
  void add(KernelStage &stage, OperandKind kind, int index, AccessMode mode, int64_t bytes) {
    int known = StagedKernel::operandIndex(stage, kind, index);
    if (known < 0)
      stage.operands.push_back({kind, index, mode, bytes});
    else if (stage.operands[known].mode != mode)
      stage.operands[known].mode = AccessMode::ReadWrite;
  }
  int scratch(int64_t bytes) {
    plan.description.scratchBytes.push_back(bytes);
    return static_cast<int>(plan.description.scratchBytes.size()) - 1;
  }
  KernelStage &stage(llvm::StringRef suffix, int64_t workgroups) {
    plan.description.stages.push_back({p.name + suffix.str(), workgroups, {}});
    return plan.description.stages.back();
  }
  /// Lanes of a tile along a dimension of `size`, fewer where a head is so long that tiles would not fit.
  int64_t lanesOf(int64_t size, llvm::function_ref<int64_t(int64_t)> elements) {
    int64_t lanes = std::min<int64_t>(4 * kLanes, roundUp(std::max<int64_t>(size, 1), kLanes));
    while (lanes > kLanes && elements(lanes) * 4 > kStackBytes)
      lanes -= kLanes;
    return lanes;
  }
  void makeForward();
  void makeBackward();
  void makeChunks();

  Problem p;
  Plan plan;
};

void Planner::makeForward() {
  int64_t head = roundUp(p.D, kLanes) + roundUp(p.E, kLanes);
  plan.queryBlock = lanesOf(p.T, [&](int64_t lanes) { return lanes * (2 * head + lanes); });
  plan.keyBlock = std::max<int64_t>(1, std::min(p.S, roundUp(plan.queryBlock, kRows)));
  bool fits = 4 * plan.queryBlock * 3 * head <= kStackBytes;
  plan.panels = p.T > plan.queryBlock && fits ? 2 : 1;
  KernelStage &only = stage("", p.B * p.H * ceilDiv(p.T, plan.queryBlock * plan.panels));
  for (const AffineView *view : {&p.query, &p.key, &p.value})
    read(only, *view);
  if (p.mask)
    read(only, *p.mask);
  write(only, p.stores[0], AccessMode::Write);
  write(only, p.stores[1], AccessMode::Write);
}

/// Cuts the key blocks so that each chunk has about the same number of scores.
void Planner::makeChunks() {
  int64_t blocks = ceilDiv(p.S, plan.keyBlock), groups = p.B * p.G;
  int64_t count = groups >= kWorkgroups ? 1 : std::min(ceilDiv(kWorkgroups, std::max<int64_t>(groups, 1)), std::max<int64_t>(blocks, 1));
  auto work = [&](int64_t block) {
    return p.T - (p.causal ? std::max<int64_t>(0, block * plan.keyBlock - (p.S - p.T)) : 0);
  };
  int64_t total = 0, sum = 0;
  for (int64_t block = 0; block < blocks; ++block)
    total += work(block);
  plan.chunks.push_back(0);
  for (int64_t block = 0; block < blocks; ++block) {
    sum += work(block);
    auto chunk = static_cast<int64_t>(plan.chunks.size());
    if (chunk < count && sum * count >= total * chunk && block + 1 < blocks)
      plan.chunks.push_back(block + 1);
  }
  plan.chunks.push_back(blocks);
}

void Planner::makeBackward() {
  int64_t head = roundUp(p.D, kLanes) + roundUp(p.E, kLanes);
  plan.keyBlock = lanesOf(p.S, [&](int64_t lanes) { return lanes * (4 * head + 2 * lanes); });
  plan.queryBlock = std::min(roundUp(std::max<int64_t>(p.T, 1), kRows), roundUp(plan.keyBlock, kRows));
  makeChunks();
  int64_t chunks = static_cast<int64_t>(plan.chunks.size()) - 1;
  plan.partialQuery = p.stores[0] && (chunks > 1 || p.stores[0]->type != ElementKind::F32);
  int64_t deltaBytes = p.B * p.H * p.T * 4, queryBytes = chunks * p.B * p.T * p.H * p.D * 4;
  int64_t rowBlocks = p.B * ceilDiv(p.T, kRowBlock);
  plan.deltaScratch = scratch(deltaBytes);
  if (plan.partialQuery)
    plan.queryScratch = scratch(queryBytes);

  KernelStage &delta = stage("_delta", rowBlocks);
  read(delta, p.forwardResult);
  read(delta, p.cotangent);
  add(delta, OperandKind::Scratch, plan.deltaScratch, AccessMode::Write, deltaBytes);

  KernelStage &gradients = stage("", p.B * p.G * chunks);
  for (const AffineView *view : {&p.query, &p.key, &p.value, &p.lse, &p.cotangent})
    read(gradients, *view);
  if (p.mask)
    read(gradients, *p.mask);
  add(gradients, OperandKind::Scratch, plan.deltaScratch, AccessMode::Read, deltaBytes);
  if (plan.partialQuery)
    add(gradients, OperandKind::Scratch, plan.queryScratch, AccessMode::Write, queryBytes);
  else
    write(gradients, p.stores[0], AccessMode::Write);
  write(gradients, p.stores[1], AccessMode::Write);
  write(gradients, p.stores[2], AccessMode::Write);

  if (plan.partialQuery) {
    KernelStage &sum = stage("_query", rowBlocks);
    add(sum, OperandKind::Scratch, plan.queryScratch, AccessMode::Read, queryBytes);
    write(sum, p.stores[0], AccessMode::Write);
  }
}

} // namespace

Plan makePlan(Problem problem) { return Planner(std::move(problem)).make(); }

mlir::Value StageCode::pointer(OperandKind kind, int index) const {
  return operands[StagedKernel::operandIndex(stage, kind, index)];
}

} // namespace llmc::codegen::attention
