//===- Budget.cpp - does a plan stay within its budget? -----------------------------===//
//
//   1. the arenas of the plan are summed up and compared with `memory.budget`;
//   2. if they are more: the segment whose temporaries need most, the instruction at which most bytes of them are alive, and
//      the largest of them;
//   3. the largest micro-batch that would fit is looked for by compiling, and its figure named.
//
//===----------------------------------------------------------------------===//
#include "compiler/driver/Budget.h"
#include "compiler/driver/Frontend.h"
#include "compiler/driver/Pipeline.h"
#include "dialects/interfaces/Interfaces.h"
#include "dialects/plan/Plan.h"
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "llvm/Support/FormatVariadic.h"
#include <map>

using namespace mlir;

namespace llmc::driver {

namespace {

constexpr size_t kShown = 8;
constexpr int kTries = 5;

std::string bytesText(int64_t bytes) {
  return bytes < (1 << 20) ? llvm::formatv("{0:N} bytes", bytes).str() : llvm::formatv("{0:F2} MiB", static_cast<double>(bytes) / (1 << 20)).str();
}

struct Peak {
  plan::SegmentOp segment;
  int64_t position = 0, bytes = 0;
};

SmallVector<plan::BufferOp> temporariesOf(ModuleOp plan, StringRef segment) {
  SmallVector<plan::BufferOp> buffers;
  for (auto buffer : plan.getOps<plan::BufferOp>())
    if (buffer.getSegment() && *buffer.getSegment() == segment && !buffer.getAliasOf())
      buffers.push_back(buffer);
  return buffers;
}

/// The instruction of any segment at which most bytes of temporaries are alive.
Peak peakOf(ModuleOp plan) {
  Peak peak;
  for (auto segment : plan.getOps<plan::SegmentOp>()) {
    std::map<int64_t, int64_t> changes;
    for (plan::BufferOp buffer : temporariesOf(plan, segment.getSymName())) {
      changes[buffer.getFirst()] += tensorBytes(buffer.getType());
      changes[static_cast<int64_t>(buffer.getLast()) + 1] -= tensorBytes(buffer.getType());
    }
    int64_t alive = 0;
    for (auto [position, change] : changes)
      if ((alive += change) > peak.bytes)
        peak = {segment, position, alive};
  }
  return peak;
}

Operation *instructionAt(plan::SegmentOp segment, int64_t position) {
  for (Operation &op : segment.getBody().front())
    if (op.hasAttr("operands") && position-- == 0)
      return &op;
  return nullptr;
}

std::string line(plan::BufferOp buffer) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  std::string where = describe(buffer.getLoc());
  stream << llvm::formatv("\n    {0,16}  ", bytesText(tensorBytes(buffer.getType()))) << buffer.getType() << "  " << buffer.getCategory();
  if (!where.empty())
    stream << " [" << where << "]";
  return text;
}

std::string stateText(ModuleOp plan) {
  std::map<std::string, int64_t> sums;
  for (auto arena : plan.getOps<plan::ArenaOp>())
    if (arena.getKind() != "state" && arena.getKind() != "scratch")
      sums["inputs, outputs, constants"] += arena.getBytes();
  for (auto buffer : plan.getOps<plan::BufferOp>())
    if (!buffer.getSegment() && !buffer.getAliasOf() && buffer.getArena() == "state")
      sums[buffer.getCategory().str()] += tensorBytes(buffer.getType());
  std::string text;
  for (auto &[category, bytes] : sums)
    text += "\n  " + category + ": " + bytesText(bytes);
  return text;
}

std::string peakText(ModuleOp plan) {
  Peak peak = peakOf(plan);
  if (!peak.segment)
    return "";
  Operation *instruction = instructionAt(peak.segment, peak.position);
  std::string where = instruction ? describe(instruction->getLoc()) : "";
  std::string text = "\n  temporaries: " + bytesText(peak.bytes) + " at their peak, in @" + peak.segment.getSymName().str() +
                     (where.empty() ? "" : " at [" + where + "]");
  SmallVector<plan::BufferOp> alive;
  for (plan::BufferOp buffer : temporariesOf(plan, peak.segment.getSymName()))
    if (static_cast<int64_t>(buffer.getFirst()) <= peak.position && static_cast<int64_t>(buffer.getLast()) >= peak.position)
      alive.push_back(buffer);
  llvm::stable_sort(alive, [](plan::BufferOp a, plan::BufferOp b) { return tensorBytes(a.getType()) > tensorBytes(b.getType()); });
  for (plan::BufferOp buffer : ArrayRef(alive).take_front(kShown))
    text += line(buffer);
  return text + (alive.size() > kShown ? llvm::formatv("\n    and {0} more", alive.size() - kShown).str() : "");
}

/// Bytes with another micro-batch; nothing if that does not compile.
std::optional<int64_t> bytesWith(ModuleOp imported, int64_t micro) {
  OwningOpRef<ModuleOp> module = imported.clone();
  train::Recipe recipe = train::recipeOf(*module);
  recipe.batch.micro = micro;
  (*module)->setAttr(train::kRecipe, train::toAttribute(module->getContext(), recipe));
  ScopedDiagnosticHandler silent(module->getContext(), [](Diagnostic &) { return success(); });
  PipelineOptions options;
  options.to = Level::Plan;
  if (failed(runPipeline(*module, options)))
    return std::nullopt;
  return planBytes(*module);
}

std::string hintFor(ModuleOp plan, ModuleOp imported, int64_t budget) {
  train::Recipe recipe = train::recipeOf(plan);
  int64_t state = 0;
  for (auto arena : plan.getOps<plan::ArenaOp>())
    if (arena.getKind() == "state")
      state = arena.getBytes();
  if (state > budget)
    return "parameters, gradients and optimizer state alone are " + bytesText(state) + ": a smaller batch does not help, a larger budget or fewer parameters do";
  int64_t tried = 0, least = 0;
  int left = kTries;
  for (int64_t micro = recipe.batch.micro / 2; imported && micro >= 1 && left > 0; --micro) {
    if (recipe.batch.step % micro != 0)
      continue;
    std::optional<int64_t> bytes = bytesWith(imported, --left == 0 ? micro = 1 : micro);
    if (bytes && *bytes <= budget)
      return llvm::formatv("a smaller micro-batch fits: with `batch: {{step: {0}, micro: {1}}` it needs {2}", recipe.batch.step, micro, bytesText(*bytes)).str();
    if (bytes)
      tried = micro, least = *bytes;
  }
  if (tried > 0)
    return llvm::formatv("micro-batches of {0} still need {1}: a larger budget, a shorter sequence or a smaller model would help", tried, bytesText(least)).str();
  return "a smaller batch, a shorter sequence or a larger budget would help";
}

} // namespace

int64_t planBytes(ModuleOp plan) {
  int64_t total = 0;
  for (auto arena : plan.getOps<plan::ArenaOp>())
    total += arena.getBytes();
  return total;
}

std::optional<Problem> judgeBudget(ModuleOp plan, ModuleOp imported) {
  std::optional<int64_t> budget = train::recipeOf(plan).memoryBudget;
  int64_t total = planBytes(plan);
  if (!budget || total <= *budget)
    return std::nullopt;
  Problem problem;
  problem.message = "the plan needs " + bytesText(total) + ", `memory.budget` is " + bytesText(*budget) + stateText(plan) + peakText(plan);
  problem.hint = hintFor(plan, imported, *budget);
  problem.exitCode = Problem::kDoesNotFit;
  return problem;
}

} // namespace llmc::driver
