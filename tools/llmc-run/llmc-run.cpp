//===- llmc-run.cpp - runs plans ------------------------------------------===//
//
// Command line of the runtime: trains a plan, or continues a text with it. Exit codes are the values of StatusCode.
//
//===----------------------------------------------------------------------===//
#include "runtime/comm/Failure.h"
#include "runtime/executor/Generate.h"
#include "runtime/executor/Predict.h"
#include "runtime/plan/Tables.h"
#include "runtime/support/Checked.h"
#include "tools/common/Crash.h"
#include "tools/llmc-run/Options.h"
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <unistd.h>

using namespace llmc::runtime;
using llmc::tool::Options;

namespace {

/// A full disk behind stdout is an error as any other.
Status flushOutput() {
  if (std::fflush(stdout) == 0 && !std::ferror(stdout))
    return Status::success();
  return Status::badInput(std::string("cannot write to stdout: ") + std::strerror(errno));
}

/// Prints progress: steps to stdout, everything else to stderr; bars for long phases only on a terminal.
class Printer : public TrainingObserver {
public:
  explicit Printer(MetricsFile *metrics) : metrics(metrics) {}

  void onPhase(const std::string &phase, double fraction) override {
    if (!isTerminal)
      return;
    int filled = static_cast<int>(fraction * 30);
    std::fprintf(stderr, "\r\033[K%s [%s%s] %3.0f%%", phase.c_str(), std::string(filled, '=').c_str(),
                 std::string(30 - filled, ' ').c_str(), fraction * 100);
    if (fraction >= 1.0)
      std::fprintf(stderr, "\r\033[K");
    std::fflush(stderr);
  }
  void onNote(const std::string &text) override { std::fprintf(stderr, "note: %s\n", text.c_str()); }
  Status onStep(const StepReport &report) override {
    std::printf("%s\n", formatProgress(report).c_str());
    Status status = flushOutput();
    return status.ok() && metrics ? metrics->addStep(report) : status;
  }
  Status onEvaluation(uint64_t step, double loss) override {
    std::printf("step: %2llu  eval_loss: %7.5f\n", static_cast<unsigned long long>(step), loss);
    Status status = flushOutput();
    return status.ok() && metrics ? metrics->addEvaluation(step, loss) : status;
  }
  MetricsFile *metrics;

private:
  bool isTerminal = ::isatty(STDERR_FILENO) != 0;
};

int fail(const Status &status) {
  std::fflush(stdout);
  std::fprintf(stderr, "%s: %s\n", status.isUserEnd() ? "note" : "error", status.message.c_str());
  if (!status.hint.empty())
    std::fprintf(stderr, "hint: %s\n", status.hint.c_str());
  return static_cast<int>(status.code);
}

/// Prints the continuation: bytes as they are if the prompt was text, else ids.
Status continuePrompt(Executor &executor, const Options &options) {
  uint64_t vocabulary = executor.plan().vocabulary();
  auto prompt = parsePrompt(*options.prompt, vocabulary);
  if (!prompt.ok())
    return prompt.status();
  if (!options.saveLogits.empty())
    if (Status status = saveLogits(executor, *prompt, options.saveLogits); !status.ok() || options.generate == 0)
      return status;
  bool asIds = options.prompt->rfind("ids:", 0) == 0;
  std::printf("%s", options.prompt->c_str());
  GenerateOptions generation{*prompt, options.generate, options.temperature, executor.plan().seed()};
  Status written;
  Status status = generate(executor, generation, [&](int64_t id) {
    if (!written.ok())
      return false;
    if (asIds)
      std::printf(",%lld", static_cast<long long>(id));
    else if (id < 256)
      std::putchar(static_cast<int>(id));
    else
      std::printf("<%lld>", static_cast<long long>(id));
    written = flushOutput();
    return written.ok();
  });
  std::printf("\n");
  if (!status.ok() || !written.ok())
    return status.ok() ? written : status;
  return flushOutput();
}

Status train(TrainingLoop &loop, Executor &executor, const Options &options, Printer *printer) {
  if (Status status = loop.prepareData(); !status.ok())
    return status;
  if (Status status = loop.prepareState(); !status.ok())
    return status;
  std::unique_ptr<MetricsFile> metrics;
  bool speaks = executor.rank() == 0; // one rank writes for all
  if (speaks && !options.metrics.empty()) {
    auto opened = MetricsFile::open(options.metrics, {options.overwrite, options.training.resume, loop.state().step()});
    if (!opened.ok())
      return opened.status();
    metrics = std::move(*opened);
    printer->metrics = metrics.get();
  }
  Trace trace;
  if (speaks && !options.trace.empty())
    executor.setTrace(&trace);
  Status status;
  {
    llmc::tool::Stepping stepping;
    status = loop.run();
  }
  if (printer)
    printer->metrics = nullptr;
  executor.setTrace(nullptr);
  if (speaks && !options.trace.empty()) {
    Status written = executor.writeTrace(trace, options.trace);
    status = status.ok() ? written : status;
  }
  if (!options.profile.empty()) {
    Status written = executor.writeProfile(options.profile + (speaks ? "" : "." + std::to_string(executor.rank())));
    status = status.ok() ? written : status;
  }
  return status;
}

/// The state that a prediction is made with.
Status loadTrained(TrainingLoop &loop, const Options &options, Printer &printer) {
  if (Status status = loop.prepareState(); !status.ok())
    return status;
  if (loop.state().step() == 0 && options.training.resume)
    return Status::badInput("there is no trained state in '" + options.training.checkpointFolder +
                            "' to predict with");
  if (!options.training.resume && options.training.weights.empty())
    printer.onNote(
        "the model's initial weights are used; --checkpoint DIR --resume takes trained ones");
  return Status::success();
}

Status continueText(TrainingLoop &loop, Executor &executor, const Options &options, Printer &printer) {
  Status status = loadTrained(loop, options, printer);
  return status.ok() ? continuePrompt(executor, options) : status;
}

/// Outputs for arrays, with trained or initial weights.
Status predict(TrainingLoop &loop, Executor &executor, const Options &options, Printer &printer) {
  if (Status status = loadTrained(loop, options, printer); !status.ok())
    return status;
  auto count = predictArrays(executor, options.training.dataFiles[0], options.predict);
  if (!count.ok())
    return count.status();
  printer.onNote("'" + options.predict + "' has the outputs for " + std::to_string(*count) + " arrays of inputs");
  return Status::success();
}

/// The rank's part of the job, without its beginning and end.
Status trainRank(Executor &executor, llmc::tool::WatchedRank &watched, const Options &options) {
  std::unique_ptr<Printer> printer = executor.rank() == 0 ? std::make_unique<Printer>(nullptr) : nullptr;
  TrainingObserver silent;
  TrainingLoop loop(executor, options.training, printer ? static_cast<TrainingObserver &>(*printer) : silent);
  if (options.prompt)
    return continueText(loop, executor, options, *printer);
  if (!options.predict.empty())
    return predict(loop, executor, options, *printer);
  watched.setDoing("training");
  return train(loop, executor, options, printer.get());
}

/// The orderly end of a job. A library may wait there without a deadline.
Status finish(World &world, const Options &options) {
  llmc::tool::Limit limit(2 * (options.ranks.wait() + std::chrono::seconds(1)));
  return during("ending the run", world.finish());
}

Status executeRank(const std::shared_ptr<PlanFile> &plan, llmc::tool::WatchedRank &watched, unsigned rank, World *world,
                   unsigned threads, const Options &options) {
  watched.setDoing("comparing plans");
  Status status = world ? compareRanks(*world, *plan, options.training.summary()) : Status::success();
  if (!status.ok()) {
    watched.report(status);
    return status;
  }
  ThreadPool pool(threads, GemmLibrary::initializeThread);
  watched.setDoing("opening groups of ranks");
  auto executor = Executor::create(plan, rank, pool, !options.noMatrixUnits, world);
  if (!executor.ok()) {
    watched.report(executor.status());
    return executor.status();
  }
  watched.setExecutor(executor->get());
  status = trainRank(**executor, watched, options);
  if ((status.ok() || status.isUserEnd()) && world) {
    watched.setDoing("ending the run");
    Status ended = finish(*world, options);
    status = ended.ok() ? status : ended;
  }
  watched.report(status);
  watched.setExecutor(nullptr);
  return status;
}

/// Memory of the ranks of this process against what it may have, before any of it is taken.
Status checkMemory(const fb::Plan &plan, const Options &options) {
  uint64_t here = std::max(1u, options.ranks.ranks), usable = usableMemoryBytes();
  Checked bytes(0);
  for (uint32_t rank = 0; rank < std::min<uint64_t>(here, sizeOf(plan.ranks())); ++rank) {
    const auto *arenas = plan.programs()->Get(plan.ranks()->Get(rank)->program())->arenas();
    for (uint32_t i = 0; i < sizeOf(arenas); ++i)
      if (arenas->Get(i)->kind() != fb::ArenaKind::Constant)
        bytes = bytes + arenas->Get(i)->bytes();
  }
  if (bytes.atMost(usable))
    return Status::success();
  auto gibibytes = [](double value) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.2f GiB", value / 1073741824.0);
    return std::string(text);
  };
  return {StatusCode::DoesNotFit,
          "the plan needs " + (bytes.valid() ? gibibytes(static_cast<double>(bytes.value())) : std::string("over 2^63 bytes")) +
              " of memory here, the machine has " + gibibytes(static_cast<double>(usable)),
          "compile with smaller micro-batches (`batch: {micro: N}`), a `mesh`, or `memory: {budget: ...}` below what there is"};
}

Status execute(Options &options) {
  if (Status status = llmc::tool::parseArguments(options); !status.ok())
    return status;
  auto plan = PlanFile::read(options.plan);
  if (!plan.ok())
    return plan.status();
  if (options.ranks.comm == "nccl") // so far all plans are for CPUs
    return Status::wrongUse("--comm nccl is for ranks with a GPU each, the plan's target is " +
                                textOf((*plan)->plan().target()),
                            "leave it out, or run the plan with --comm local, mpi or gloo");
  unsigned ranks = (*plan)->plan().ranks()->size();
  if (!options.isTraining() && ranks != 1)
    return Status::wrongUse("predictions are made by one rank, the plan is for " + std::to_string(ranks),
                            "compile without `mesh`; the checkpoints are the same");
  options.training.steps = options.steps.value_or((*plan)->plan().total_steps());
  if (options.isTraining() && !options.steps && options.training.steps == 0)
    return Status::wrongUse("the recipe names no number of steps", "give one with --steps");
  if (options.isTraining() && options.training.dataFiles.empty())
    return Status::wrongUse("training needs --data FILE");
  if (Status status = llmc::tool::rolesOf(options, **plan).check(); !status.ok())
    return status;
  if (Status status = checkMemory((*plan)->plan(), options); !status.ok())
    return status;
  options.training.stop = &llmc::tool::stopAsked();
  return llmc::tool::runRanks(ranks, options.ranks, [&](llmc::tool::WatchedRank &watched, unsigned rank, World *world, unsigned threads) {
    return executeRank(*plan, watched, rank, world, threads, options);
  });
}

} // namespace

int main(int argc, char **argv) {
  llmc::tool::reportCrashes(argc, argv);
  Options options;
  CLI::App app("llmc-run: trains and runs compiled plans");
  llmc::tool::declare(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    if (error.get_exit_code() == 0)
      return app.exit(error);
    return fail(Status::wrongUse(error.what(), "llmc-run --help lists the options"));
  }
  Status status = execute(options);
  int code = status.ok() ? 0 : fail(status);
  if (code != 0) {
    std::fflush(nullptr);
    std::_Exit(code); // a library may wait for other ranks at its end
  }
  return code;
}
