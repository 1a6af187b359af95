//===- Explain.cpp - what a plan does, in words -------------------------------------===//
#include "compiler/driver/Explain.h"
#include "compiler/driver/Ledger.h"
#include "runtime/plan/Tables.h"
#include "runtime/plan/Part.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include <map>

namespace llmc::driver {

namespace {

namespace fb = llmc::plan::fb;
using llvm::formatv;
using runtime::textOf;

std::string bytesText(double bytes) {
  const char *units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  for (; bytes >= 1024 && unit < 4; ++unit)
    bytes /= 1024;
  return unit == 0 ? formatv("{0:F0} {1}", bytes, units[unit]).str() : formatv("{0:F2} {1}", bytes, units[unit]).str();
}

std::string shapeText(const fb::Buffer &buffer) {
  std::string result;
  if (buffer.shape())
    for (int64_t size : *buffer.shape())
      result += (result.empty() ? "" : "x") + std::to_string(size);
  return (result.empty() ? "" : result + "x") + llvm::StringRef(fb::EnumNameDataType(buffer.type())).lower();
}

/// Of a rank's bytes of state, those that hold zeros behind tensors, by category.
std::map<std::string, uint64_t> paddingOf(const fb::RankProgram &program) {
  std::map<std::string, uint64_t> sums;
  auto add = [&](const char *category, const fb::Parameter &parameter, const std::vector<runtime::ViewStep> &view, uint32_t buffer) {
    runtime::Shape logical = runtime::shapeOf(parameter.shape());
    int64_t held = runtime::elementCount(runtime::compiledShape(view, logical)), used = runtime::elementCount(logical);
    // Evenly over ranks: all of it lies on the last ones, which need as much memory as the others.
    if (held > used)
      sums[category] += program.buffers()->Get(buffer)->bytes() * static_cast<uint64_t>(held - used) / static_cast<uint64_t>(held);
  };
  for (uint32_t i = 0; program.parameters() && i < program.parameters()->size(); ++i) {
    const fb::Parameter &parameter = *program.parameters()->Get(i);
    add("parameter", parameter, runtime::viewOf(parameter), parameter.buffer());
    if (const fb::StateBuffer *gradient = parameter.gradient())
      add("gradient", parameter, runtime::viewOf(parameter, *gradient), gradient->buffer());
    for (uint32_t j = 0; parameter.states() && j < parameter.states()->size(); ++j)
      add("optimizer", parameter, runtime::viewOf(parameter, *parameter.states()->Get(j)), parameter.states()->Get(j)->buffer());
  }
  return sums;
}

/// Measured nanoseconds per run, by segment and instruction.
using Measured = std::map<std::string, std::vector<double>>;

llvm::Expected<Measured> readProfile(llvm::StringRef profile, const std::string &digest) {
  Measured measured;
  if (profile.empty())
    return measured;
  llvm::Expected<llvm::json::Value> value = llvm::json::parse(profile);
  if (!value)
    return value.takeError();
  const llvm::json::Object *root = value->getAsObject(), *segments = root ? root->getObject("segments") : nullptr;
  if (!segments)
    return llvm::createStringError("the profile has no `segments`");
  if (root->getString("plan").value_or("") != digest)
    return llvm::createStringError("the profile was written for another plan");
  for (const auto &[name, list] : *segments)
    if (const llvm::json::Array *entries = list.getAsArray())
      for (const llvm::json::Value &entry : *entries)
        measured[name.str()].push_back(entry.getAsNumber().value_or(0.0));
  return measured;
}

class Explainer {
public:
  Explainer(const fb::Plan &plan, const Measured &measured, llvm::raw_ostream &out)
      : plan(plan), program(*plan.programs()->Get(0)), measured(measured), out(out) {}

  void run() {
    header();
    parameters();
    memory();
    for (const fb::Segment *segment : *program.segments())
      peak(*segment);
    for (const fb::Segment *segment : *program.segments())
      kernels(*segment);
    if (auto ledger = ledgerOf(plan, program); !ledger.empty())
      printLedger(ledger, out);
    forecast();
  }

private:
  void header() {
    out << formatv("  target {0}, model {1}, precision {2}\n", textOf(plan.target()), textOf(plan.model()), textOf(plan.precision()));
    out << formatv("  a step is {0} samples in {1} micro-batches of {2}, {3} tokens each\n", plan.samples_per_step(), plan.micro_batches(),
                   plan.samples_per_micro_batch(), std::max<uint32_t>(1, plan.sequence()));
    if (plan.ranks()->size() == 1)
      return;
    out << formatv("  {0} ranks:", plan.ranks()->size());
    for (uint32_t i = 0; plan.mesh() && i < plan.mesh()->size(); ++i)
      out << formatv("{0} {1} {2}", i ? " x" : "", textOf(plan.mesh()->Get(i)->name()), plan.mesh()->Get(i)->size());
    out << "; memory, kernels and communication are those of each of them\n";
  }

  void parameters() {
    uint64_t elements = 0, trained = 0, count = program.parameters() ? program.parameters()->size() : 0;
    for (uint32_t i = 0; i < count; ++i) {
      const fb::Parameter &parameter = *program.parameters()->Get(i);
      uint64_t size = 1;
      for (int64_t dim : *parameter.shape())
        size *= dim;
      elements += size;
      trained += parameter.trainable() ? size : 0;
    }
    out << formatv("\nparameters: {0} tensors, {1:N} elements, {2:N} of them trained\n", count, elements, trained);
  }

  void memory() {
    out << "\nmemory\n";
    uint64_t total = 0;
    for (const fb::Arena *arena : *program.arenas()) {
      out << formatv("  {0,-10} {1,12}\n", textOf(arena->name()), bytesText(arena->bytes()));
      total += arena->bytes();
      if (arena->kind() == fb::ArenaKind::State)
        stateByCategory();
    }
    out << formatv("  {0,-10} {1,12}\n", "all", bytesText(total));
  }

  void stateByCategory() {
    std::map<std::string, std::pair<uint64_t, uint64_t>> sums;
    for (const fb::Buffer *buffer : *program.buffers())
      if (buffer->alias_of() < 0 && program.arenas()->Get(buffer->arena())->kind() == fb::ArenaKind::State) {
        auto &[count, bytes] = sums[textOf(buffer->category())];
        ++count;
        bytes += buffer->bytes();
      }
    std::map<std::string, uint64_t> padding = paddingOf(program);
    for (auto &[category, sum] : sums) {
      out << formatv("    {0,-12} {1,12}  {2} buffers", category, bytesText(sum.second), sum.first);
      if (padding[category])
        out << formatv(", {0} ({1:F2} %) of it zeros for parts of equal size", bytesText(padding[category]),
                       100.0 * static_cast<double>(padding[category]) / static_cast<double>(sum.second));
      out << "\n";
    }
  }

  /// The instruction of `segment` at which most bytes of temporaries are alive, and these temporaries.
  void peak(const fb::Segment &segment) {
    int32_t index = indexOf(segment);
    std::map<uint32_t, int64_t> changes;
    for (const fb::Buffer *buffer : *program.buffers())
      if (buffer->segment() == index && buffer->alias_of() < 0 &&
          program.arenas()->Get(buffer->arena())->kind() == fb::ArenaKind::Scratch) {
        changes[buffer->first()] += buffer->bytes();
        changes[buffer->last() + 1] -= buffer->bytes();
      }
    int64_t alive = 0, most = 0;
    uint32_t at = 0;
    for (auto [position, change] : changes)
      if ((alive += change) > most)
        most = alive, at = position;
    if (most == 0)
      return;
    const fb::Instruction &instruction = *segment.instructions()->Get(at);
    out << formatv("\npeak of temporaries in {0}: {1} at instruction {2} of {3}, {4} [{5}]\n", textOf(segment.name()), bytesText(most), at,
                   segment.instructions()->size(), textOf(instruction.name()), textOf(instruction.origin()));
    std::vector<const fb::Buffer *> live;
    for (const fb::Buffer *buffer : *program.buffers())
      if (buffer->segment() == index && buffer->alias_of() < 0 && buffer->first() <= at && buffer->last() >= at &&
          program.arenas()->Get(buffer->arena())->kind() == fb::ArenaKind::Scratch)
        live.push_back(buffer);
    llvm::stable_sort(live, [](const fb::Buffer *a, const fb::Buffer *b) { return a->bytes() > b->bytes(); });
    constexpr size_t kShown = 12;
    for (const fb::Buffer *buffer : llvm::ArrayRef(live).take_front(kShown))
      out << formatv("  {0,12}  {1,-22} {2,-11} from {3,5} to {4,5}  [{5}]\n", bytesText(buffer->bytes()), shapeText(*buffer),
                     textOf(buffer->category()), buffer->first(), buffer->last(), textOf(buffer->origin()));
    if (live.size() > kShown) {
      uint64_t rest = 0;
      for (const fb::Buffer *buffer : llvm::ArrayRef(live).drop_front(kShown))
        rest += buffer->bytes();
      out << formatv("  {0,12}  in {1} more\n", bytesText(rest), live.size() - kShown);
    }
  }

  int32_t indexOf(const fb::Segment &segment) const {
    for (uint32_t i = 0; i < program.segments()->size(); ++i)
      if (program.segments()->Get(i) == &segment)
        return static_cast<int32_t>(i);
    return -1;
  }

  struct Sum {
    uint64_t calls = 0, flops = 0, bytes = 0, predicted = 0;
    double measured = 0;
    std::string origin;
  };

  void kernels(const fb::Segment &segment) {
    std::map<std::string, Sum> sums;
    auto times = measured.find(textOf(segment.name()));
    for (uint32_t i = 0; segment.instructions() && i < segment.instructions()->size(); ++i) {
      const fb::Instruction &instruction = *segment.instructions()->Get(i);
      Sum &sum = sums[textOf(instruction.name())];
      if (sum.calls++ == 0)
        sum.origin = textOf(instruction.origin());
      sum.flops += instruction.flops();
      sum.bytes += instruction.bytes();
      sum.predicted += instruction.predicted_ns();
      if (times != measured.end() && i < times->second.size())
        sum.measured += times->second[i];
    }
    std::vector<std::pair<std::string, Sum>> order(sums.begin(), sums.end());
    bool isMeasured = times != measured.end();
    llvm::stable_sort(order, [&](const auto &a, const auto &b) {
      return isMeasured ? a.second.measured > b.second.measured : a.second.predicted > b.second.predicted;
    });
    out << formatv("\nsegment {0}\n  {1,-42} {2,6} {3,10} {4,12} {5,10}{6}  first from\n", textOf(segment.name()), "kernel", "calls", "GFLOP", "bytes",
                   "forecast", isMeasured ? "   measured  GFLOP/s" : "");
    for (auto &[name, sum] : order) {
      out << formatv("  {0,-42} {1,6} {2,10:F3} {3,12} {4,7:F2} ms", name, sum.calls, sum.flops / 1e9, bytesText(sum.bytes), sum.predicted / 1e6);
      if (isMeasured)
        out << formatv(" {0,7:F2} ms {1,8:F1}", sum.measured / 1e6, sum.measured > 0 ? sum.flops / sum.measured : 0.0);
      out << "  [" << sum.origin << "]\n";
    }
  }

  void forecast() {
    const fb::Forecast *forecast = plan.forecast();
    if (!forecast)
      return;
    out << formatv("\na step: {0:F3} GFLOP, forecast {1:F1} ms", forecast->step_flops() / 1e9, forecast->step_ns() / 1e6);
    double total = 0;
    for (auto &[name, times] : measured)
      for (double time : times)
        total += time * (name == "accumulate" ? plan.micro_batches() : name == "update" ? 1 : 0);
    if (total > 0)
      out << formatv(", measured {0:F1} ms ({1:F1} GFLOP/s)", total / 1e6, forecast->step_flops() / total);
    out << "\n";
  }

  const fb::Plan &plan;
  const fb::RankProgram &program;
  const Measured &measured;
  llvm::raw_ostream &out;
};

} // namespace

void writeJson(const fb::Plan &plan, const std::string &digest, llvm::raw_ostream &out) {
  const fb::RankProgram &program = *plan.programs()->Get(0);
  llvm::json::Object arenas, state, padding, mesh;
  std::map<std::string, uint64_t> sums;
  for (const fb::Arena *arena : *program.arenas())
    arenas[textOf(arena->name())] = arena->bytes();
  for (const fb::Buffer *buffer : *program.buffers())
    if (buffer->alias_of() < 0 && program.arenas()->Get(buffer->arena())->kind() == fb::ArenaKind::State)
      sums[textOf(buffer->category())] += buffer->bytes();
  for (auto &[category, bytes] : sums)
    state[category] = bytes;
  for (auto &[category, bytes] : paddingOf(program))
    padding[category] = bytes;
  for (uint32_t i = 0; plan.mesh() && i < plan.mesh()->size(); ++i)
    mesh[textOf(plan.mesh()->Get(i)->name())] = plan.mesh()->Get(i)->size();
  llvm::json::Object root{{"plan", digest},                 {"ranks", plan.ranks()->size()},
                          {"mesh", std::move(mesh)},        {"micro_batches", plan.micro_batches()},
                          {"arenas", std::move(arenas)},    {"state", std::move(state)},
                          {"padding", std::move(padding)},
                          {"ledger", toJson(ledgerOf(plan, program))}};
  if (const fb::Forecast *forecast = plan.forecast())
    root["forecast"] = llvm::json::Object{{"step_ns", forecast->step_ns()}, {"step_flops", forecast->step_flops()}, {"peak_bytes", forecast->peak_bytes()}};
  out << formatv("{0:2}\n", llvm::json::Value(std::move(root)));
}

llvm::Error explainPlan(const runtime::PlanFile &file, llvm::StringRef profile, llvm::raw_ostream &out) {
  llvm::Expected<Measured> measured = readProfile(profile, file.digest());
  if (!measured)
    return measured.takeError();
  out << formatv("plan {0}, digest {1}\n", file.path(), file.digest());
  Explainer(file.plan(), *measured, out).run();
  return llvm::Error::success();
}

void explainForecast(const fb::Plan &plan, llvm::raw_ostream &out) {
  out << "forecast\n";
  Explainer(plan, {}, out).run();
}

} // namespace llmc::driver
