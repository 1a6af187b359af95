//===- TrainingLoop.cpp - steps, evaluations, checkpoints -----------------===//
#include "runtime/executor/TrainingLoop.h"
#include "runtime/comm/Agree.h"
#include "runtime/comm/Failure.h"
#include "runtime/kernels/PeakRate.h"
#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>

namespace llmc::runtime {

TrainingLoop::TrainingLoop(Executor &executor, TrainingOptions options, TrainingObserver &observer)
    : executor(executor), options(std::move(options)), observer(observer), modelState(executor),
      accumulate(executor.segment("accumulate")), update(executor.segment("update")),
      evaluation(executor.segment("evaluate")) {
  if (this->options.modelFolder.empty())
    this->options.modelFolder = executor.file().folder();
}

std::string TrainingOptions::summary() const {
  std::string text = "steps " + std::to_string(steps) + " epochs " + std::to_string(epochs) + " checkpoint " + std::to_string(!checkpointFolder.empty()) + " every " +
                     std::to_string(checkpointEvery) + " resume " + std::to_string(resume) + " evaluate " +
                     std::to_string(!evalFiles.empty()) + " every " + std::to_string(evalEvery) + " batches " + std::to_string(evalBatches) +
                     " gradients " + std::to_string(saveGradients ? saveGradients->first : 0);
  for (auto &[name, value] : settings) {
    char exact[64];
    std::snprintf(exact, sizeof(exact), "%a", value);
    text += " " + name + "=" + exact;
  }
  return text;
}

bool TrainingLoop::StepNumbers::finite() const { return std::isfinite(loss) && std::isfinite(gradNorm) && unsound.empty(); }

/// Bit for bit: a NaN is like itself.
bool TrainingLoop::StepNumbers::isSameAs(const StepNumbers &other) const {
  const double own[] = {loss, gradNorm, lr}, others[] = {other.loss, other.gradNorm, other.lr};
  return std::memcmp(own, others, sizeof(own)) == 0 && unsound == other.unsound;
}

uint64_t TrainingLoop::tokensPerStep() const {
  return uint64_t(executor.plan().samples_per_step()) * std::max<uint64_t>(1, executor.plan().sequence());
}

Status TrainingLoop::restoreNewest(bool &found) {
  found = false;
  if (options.checkpointFolder.empty())
    return Status::success();
  std::vector<std::string> notes;
  auto checkpoint = openNewestCheckpoint(options.checkpointFolder, notes, executor.world());
  if (!checkpoint.ok())
    return checkpoint.status();
  for (const std::string &note : notes)
    observer.onNote("passed over a damaged checkpoint: " + note);
  if (!*checkpoint)
    return Status::success();
  found = true;
  const Manifest &manifest = (*checkpoint)->manifest();
  isMoved = manifest.planDigest != executor.file().digest();
  if (isMoved)
    observer.onNote("the checkpoint was written with another plan");
  if (data && manifest.dataIdentity != data->identity())
    observer.onNote("the checkpoint was written with other data");
  lastCheckpoint = manifest.step;
  if (Status status = modelState.restore(**checkpoint); !status.ok())
    return status;
  set = manifest.settings.value_or(std::map<std::string, double>());
  std::map<std::string, double> now = modelState.scalars();
  auto write = [](double value) {
    char text[32];
    std::snprintf(text, sizeof(text), "%g", value);
    return std::string(text);
  };
  for (const auto &[name, planned] : modelState.planScalars()) {
    auto before = manifest.scalars.find(name);
    if (std::any_of(options.settings.begin(), options.settings.end(), [&](auto &setting) { return setting.first == name; }))
      continue;
    if (isMoved && before != manifest.scalars.end() && before->second != now[name])
      observer.onNote(name + " is " + write(now[name]) + ", as the plan has it; the checkpoint has " + write(before->second));
    else if (set.count(name))
      observer.onNote(name + " is " + write(now[name]) + ", as --set in an earlier run; the plan has " + write(planned));
  }
  return Status::success();
}

Status TrainingLoop::lockFolder() {
  if (!data || lock || options.checkpointFolder.empty())
    return Status::success();
  Status status;
  if (executor.rank() == 0) {
    auto taken = FolderLock::take(options.checkpointFolder);
    if (taken.ok())
      lock = std::move(*taken);
    status = taken.status();
  }
  return agree(executor.world(), status);
}

Status TrainingLoop::prepareState() { return during("loading the state", loadState()); }

Status TrainingLoop::loadState() {
  bool found = false;
  if (Status status = lockFolder(); !status.ok())
    return status;
  set.clear();
  if (data && !options.resume && !options.checkpointFolder.empty())
    if (auto steps = checkpointSteps(options.checkpointFolder); !steps.empty())
      return Status::wrongUse("'" + options.checkpointFolder + "' holds checkpoints of another run, up to step " + std::to_string(steps.front()),
                              "continue that run with --resume, or name another folder");
  if (options.resume) {
    if (Status status = restoreNewest(found); !status.ok())
      return status;
    observer.onNote(found ? "continuing after step " + std::to_string(modelState.step())
                          : "no checkpoint in '" + options.checkpointFolder + "', starting from the beginning");
  }
  auto progress = [&](const std::string &phase, double fraction) { observer.onPhase(phase, fraction); };
  if (!found) {
    std::vector<std::string> notes;
    if (Status status = modelState.initialize({options.modelFolder, options.weights}, progress, &notes); !status.ok())
      return status;
    for (const std::string &note : notes)
      observer.onNote(note);
  }
  for (const auto &[name, value] : options.settings) {
    if (Status status = modelState.set(name, value); !status.ok())
      return status;
    set[name] = value;
  }
  return Status::success();
}

Status TrainingLoop::prepareData() { return during("opening the data", openData()); }

Status TrainingLoop::openData() {
  if (!accumulate || !update)
    return Status::wrongUse("the plan cannot train: it has no segments `accumulate` and `update`");
  if (!executor.output(*update, "loss") || !executor.output(*update, "grad_norm") || !executor.output(*update, "lr"))
    return Status::planRefused("segment `update` lacks one of the outputs loss, grad_norm, lr");
  DataOptions dataOptions = DataOptions::of(executor.plan(), options.dataFiles, executor.rank());
  dataOptions.epochs = options.epochs;
  auto opened = DataSet::open(dataOptions, *executor.program().segments()->Get(*accumulate), executor.program());
  if (Status status = agree(executor.world(), opened.status()); !status.ok())
    return status;
  data = std::move(*opened);
  for (const std::string &note : data->notes())
    observer.onNote(note);
  if (options.steps > data->steps())
    return Status::badInput("the data lasts for " + std::to_string(data->steps()) + " steps, " +
                                std::to_string(options.steps) + " are to run",
                            "arrays are taken once: ask for fewer with --steps, or go through them again with --epochs " +
                                std::to_string((options.steps + data->steps() / options.epochs - 1) / (data->steps() / options.epochs)));
  if (options.evalFiles.empty())
    return Status::success();
  if (!evaluation)
    return Status::wrongUse("the plan has no segment `evaluate`");
  dataOptions.files = options.evalFiles;
  dataOptions.shuffle = false;
  dataOptions.epochs = 1;
  auto eval = DataSet::open(dataOptions, *executor.program().segments()->Get(*evaluation), executor.program());
  if (Status status = agree(executor.world(), eval.status()); !status.ok())
    return status;
  evalData = std::move(*eval);
  if (evalData->microBatches() == 0)
    return Status::badInput("the evaluation data is too short for one micro-batch of " +
                            std::to_string(executor.plan().samples_per_micro_batch()) + " samples");
  return Status::success();
}

Status TrainingLoop::fillInputs(uint32_t segment, const DataSet &from, uint64_t step, uint64_t micro) {
  const auto *inputs = executor.program().segments()->Get(segment)->inputs();
  if (inputs)
    for (const fb::Input *input : *inputs) {
      Status status = from.fill(*input, executor.buffer(input->buffer()), step, micro, executor.data(input->buffer()));
      if (!status.ok())
        return status;
    }
  return Status::success();
}

Result<TrainingLoop::StepNumbers> TrainingLoop::step(uint64_t index) {
  // All micro-batches are filled (and so checked) before the first one runs; the first one comes last and stays.
  uint64_t microBatches = executor.plan().micro_batches();
  for (uint64_t micro = microBatches; micro-- > 0;)
    if (Status status = fillInputs(*accumulate, *data, index, micro); !status.ok())
      return Status{status.code, "step " + std::to_string(index + 1) + ": " + status.message, status.hint};
  for (uint64_t micro = 0; micro < microBatches; ++micro) {
    if (micro > 0)
      if (Status status = fillInputs(*accumulate, *data, index, micro); !status.ok())
        return status;
    if (Status status = executor.run(*accumulate, index, static_cast<uint32_t>(micro)); !status.ok())
      return status;
  }
  if (options.saveGradients && options.saveGradients->first == index + 1)
    if (Status status = modelState.saveGradients(options.saveGradients->second); !status.ok())
      return during("step " + std::to_string(index + 1) + ", writing gradients", std::move(status));
  if (Status status = executor.run(*update, index); !status.ok())
    return status;
  StepNumbers numbers;
  numbers.loss = executor.scalar(*executor.output(*update, "loss"));
  numbers.gradNorm = executor.scalar(*executor.output(*update, "grad_norm"));
  numbers.lr = executor.scalar(*executor.output(*update, "lr"));
  if (modelState.step() != index + 1)
    return Status::planRefused("segment `update` does not count steps: the scalar `step` is " +
                               std::to_string(modelState.step()) + " after step " + std::to_string(index + 1));
  return numbers;
}

Status TrainingLoop::diagnose(uint64_t badStep, const StepNumbers &numbers) {
  std::string what = "step " + std::to_string(badStep) + ": loss " + std::to_string(numbers.loss) + ", gradient norm " +
                     std::to_string(numbers.gradNorm);
  if (!numbers.unsound.empty())
    what += ", and " + numbers.unsound + " is infinite or NaN after it";
  if (!options.checkpointFolder.empty())
    what += lastCheckpoint == UINT64_MAX ? " (no checkpoint was written)"
                                         : " (the last checkpoint is that of step " + std::to_string(lastCheckpoint) + ")";
  char rate[32];
  std::snprintf(rate, sizeof(rate), "%g", numbers.lr);
  std::string hint = std::string("the learning rate (lr) was ") + rate + "; a lower learning rate (--set lr=...), a longer warm-up or clip_grad_norm may help";
  uint64_t from = lastCheckpoint == UINT64_MAX ? 0 : lastCheckpoint;
  if (badStep - from > kReplayLimit)
    return {StatusCode::NumbersBadRepeatably, what + " (not run again: the last saved state is too far back)", hint};
  observer.onNote(what + "; running again from step " + std::to_string(from) + " to see whether that repeats");
  bool resume = options.resume;
  options.resume = lastCheckpoint != UINT64_MAX;
  Status status = prepareState();
  options.resume = resume;
  options.saveGradients.reset();
  StepNumbers again;
  while (status.ok() && modelState.step() < badStep) {
    auto result = step(modelState.step());
    status = result.ok() ? Status::success() : result.status();
    if (result.ok())
      again = *result;
  }
  if (!status.ok())
    return status;
  if (!numbers.unsound.empty()) {
    auto unsound = firstUnsound();
    if (!unsound.ok())
      return unsound.status();
    again.unsound = *unsound;
  }
  if (again.isSameAs(numbers) || !again.finite())
    return {StatusCode::NumbersBadRepeatably, what + ", and again when repeated", hint};
  return {StatusCode::NumbersBadOnce,
          what + ", but loss " + std::to_string(again.loss) + " when repeated: the machine does not compute reliably",
          "test its memory and processor"};
}

StepReport TrainingLoop::report(uint64_t finished, const StepNumbers &numbers, double seconds) const {
  StepReport result;
  result.step = finished;
  result.loss = numbers.loss;
  result.gradNorm = numbers.gradNorm;
  result.lr = numbers.lr;
  result.seconds = seconds;
  result.tokensPerSecond = static_cast<double>(tokensPerStep()) / seconds;
  if (const fb::Forecast *forecast = executor.plan().forecast())
    result.flopsPerSecond = static_cast<double>(forecast->step_flops()) * executor.plan().ranks()->size() / seconds;
  result.peakFlopsPerSecond = peakFlops;
  result.memoryBytes = peakResidentBytes();
  result.memoryTotal = machineMemoryBytes();
  return result;
}

Status TrainingLoop::saveCheckpointNow() {
  Manifest manifest;
  manifest.step = modelState.step();
  manifest.seed = executor.plan().seed();
  manifest.scalars = modelState.scalars();
  manifest.planDigest = executor.file().digest();
  manifest.settings = set;
  manifest.dataIdentity = data->identity();
  observer.onPhase("writing checkpoint", 0.0);
  Status status = modelState.save(options.checkpointFolder, manifest);
  observer.onPhase("writing checkpoint", 1.0);
  if (status.ok())
    lastCheckpoint = manifest.step;
  return during("step " + std::to_string(manifest.step) + ", writing the checkpoint", std::move(status));
}

/// Labels of each micro-batch that are not ignored, of all ranks together (those that see the same count them again); -1 if the
/// plan has no inputs that may be ignored.
Result<std::vector<int64_t>> TrainingLoop::countedLabels(uint64_t step) {
  const auto *inputs = executor.program().segments()->Get(*accumulate)->inputs();
  std::vector<int64_t> counts(executor.plan().micro_batches(), 0);
  bool canIgnore = false;
  for (uint64_t micro = 0; micro < counts.size(); ++micro) {
    if (Status status = fillInputs(*accumulate, *data, step, micro); !status.ok())
      return status;
    for (uint32_t i = 0; inputs && i < inputs->size(); ++i) {
      const fb::Input &input = *inputs->Get(i);
      const fb::Buffer &buffer = executor.buffer(input.buffer());
      if (!input.allow_ignored() || (buffer.type() != fb::DataType::I64 && buffer.type() != fb::DataType::I32))
        continue;
      canIgnore = true;
      std::vector<int64_t> ids(static_cast<size_t>(elementCount(shapeOf(buffer.shape()))));
      convertElements(buffer.type(), executor.data(input.buffer()), fb::DataType::I64, ids.data(), static_cast<int64_t>(ids.size()));
      counts[micro] += static_cast<int64_t>(ids.size()) - std::count(ids.begin(), ids.end(), input.ignored());
    }
  }
  if (!canIgnore)
    return std::vector<int64_t>(counts.size(), -1);
  if (!executor.world() || executor.world()->size() == 1)
    return counts;
  Operand operand{counts.data(), counts.data(), counts.size()};
  Status status = executor.world()->all().allReduce({&operand, 1}, fb::DataType::I64, Reduction::Sum);
  return status.ok() ? Result<std::vector<int64_t>>(counts) : status;
}

/// Numbers that come of labels of which none counts: a mean over nothing, or a step that changes nothing.
Status TrainingLoop::checkLabels(uint64_t finished, const StepNumbers &numbers) {
  bool isNothing = numbers.loss == 0 && numbers.gradNorm == 0;
  if (numbers.finite() && !isNothing)
    return Status::success();
  auto counts = countedLabels(finished - 1);
  if (!counts.ok())
    return counts.status();
  auto empty = std::find(counts->begin(), counts->end(), 0);
  if (empty == counts->end())
    return Status::success();
  std::string step = "step " + std::to_string(finished);
  if (!numbers.finite())
    return Status::badInput(step + ": no label of micro-batch " + std::to_string(empty - counts->begin() + 1) + " of " +
                                std::to_string(counts->size()) + " counts (all are to be ignored), so it has no mean loss",
                            "leave such samples out of the data, make micro-batches larger, or average over tokens (`loss_average: tokens`)");
  if (std::all_of(counts->begin(), counts->end(), [](int64_t count) { return count == 0; }))
    observer.onNote(step + ": no label counts (all are to be ignored), so it changes nothing");
  return Status::success();
}

/// What ModelState::firstUnsound says on the first rank that has something to say.
Result<std::string> TrainingLoop::firstUnsound() {
  std::string own = modelState.firstUnsound();
  if (!executor.world() || executor.world()->size() == 1)
    return own;
  auto texts = gatherTexts(*executor.world(), own);
  if (!texts.ok())
    return texts.status();
  auto found = std::find_if(texts->begin(), texts->end(), [](const std::string &text) { return !text.empty(); });
  return found == texts->end() ? std::string() : *found;
}

/// The signal that some rank has got; 0 if none has.
Result<int> TrainingLoop::stopAsked() {
  int32_t asked = options.stop ? options.stop->load() : 0;
  if (!executor.world() || executor.world()->size() == 1)
    return static_cast<int>(asked);
  std::vector<int32_t> all(executor.world()->size()); // from each rank itself: who is missing is then known
  Operand operand{&asked, all.data(), 1};
  Status status = executor.world()->all().allGather({&operand, 1}, fb::DataType::I32);
  if (!status.ok())
    return during("step " + std::to_string(modelState.step()) + ", ending the step", status);
  return static_cast<int>(*std::max_element(all.begin(), all.end()));
}

Status TrainingLoop::endForUser(int signal) {
  uint64_t finished = modelState.step();
  std::string folder = options.checkpointFolder;
  if (!folder.empty() && lastCheckpoint != finished) {
    auto unsound = firstUnsound();
    if (!unsound.ok())
      return unsound.status();
    if (unsound->empty())
      if (Status status = saveCheckpointNow(); !status.ok())
        return status;
  }
  bool isSaved = !folder.empty() && lastCheckpoint == finished;
  return {signal == SIGINT ? StatusCode::Interrupted : StatusCode::Terminated,
          std::string("ended by ") + (signal == SIGINT ? "SIGINT" : "SIGTERM") + " after step " + std::to_string(finished) +
              (isSaved ? ", whose checkpoint is in '" + folder + "'" : ", which is not saved"),
          isSaved ? "--resume goes on from there" : "--checkpoint DIR makes a run save itself"};
}

Status TrainingLoop::afterStep(uint64_t finished, StepNumbers &numbers) {
  bool isLast = finished >= options.steps;
  if (evalData && options.evalEvery > 0 && (finished % options.evalEvery == 0 || isLast)) {
    auto loss = evaluate();
    if (!loss.ok())
      return loss.status();
    if (Status status = observer.onEvaluation(finished, *loss); !status.ok())
      return status;
  }
  bool isDue = isLast || (options.checkpointEvery > 0 && finished % options.checkpointEvery == 0);
  if (options.checkpointFolder.empty() || !isDue)
    return Status::success();
  auto unsound = firstUnsound();
  if (!unsound.ok())
    return unsound.status();
  numbers.unsound = *unsound;
  return unsound->empty() ? saveCheckpointNow() : diagnose(finished, numbers);
}

Status TrainingLoop::run() {
  if (isMoved && modelState.step() == options.steps)
    return saveCheckpointNow(); // no step left: the checkpoint is written again as this plan's ranks hold it
  peakFlops = measurePeakFlops() * std::min(executor.threads().threads(), availableCores()) * executor.plan().ranks()->size();
  while (modelState.step() < options.steps) {
    uint64_t index = modelState.step();
    int64_t begin = nowNanoseconds();
    auto numbers = step(index);
    if (!numbers.ok())
      return numbers.status();
    double seconds = std::max<double>(1e-9, static_cast<double>(nowNanoseconds() - begin) * 1e-9);
    if (Status status = observer.onStep(report(index + 1, *numbers, seconds)); !status.ok())
      return status;
    if (Status status = checkLabels(index + 1, *numbers); !status.ok())
      return status;
    if (!numbers->finite())
      return diagnose(index + 1, *numbers);
    if (Status status = afterStep(index + 1, *numbers); !status.ok())
      return status;
    if (index + 1 >= options.steps)
      break;
    auto asked = stopAsked();
    if (!asked.ok())
      return asked.status();
    if (*asked != 0)
      return endForUser(*asked);
  }
  return Status::success();
}

Result<double> TrainingLoop::evaluate() {
  auto lossSum = executor.output(*evaluation, "loss_sum"), weight = executor.output(*evaluation, "weight");
  if (!lossSum || !weight)
    return Status::planRefused("segment `evaluate` lacks one of the outputs loss_sum, weight");
  double loss = 0, total = 0;
  uint64_t after = std::max<uint64_t>(1, modelState.step()) - 1; // the step before, from 0
  uint64_t perStep = executor.plan().micro_batches();
  uint64_t count = std::min<uint64_t>(options.evalBatches, evalData->microBatches());
  for (uint64_t i = 0; i < count; ++i) {
    if (Status status = fillInputs(*evaluation, *evalData, i / perStep, i % perStep); !status.ok())
      return Status{status.code, "evaluation: " + status.message, status.hint};
    if (Status status = executor.run(*evaluation, after, static_cast<uint32_t>(i)); !status.ok())
      return status;
    loss += executor.scalar(*lossSum);
    total += executor.scalar(*weight);
  }
  if (total == 0 && loss == 0)
    return Status::badInput("evaluation: no label of the evaluation data counts (all are to be ignored), so it has no mean loss");
  return loss / total;
}

} // namespace llmc::runtime
