//===- llmc-run.cpp - runs plans ------------------------------------------===//
//
// Command line of the runtime: trains a plan, or continues a text with it. Exit codes are the values of StatusCode.
//
//===----------------------------------------------------------------------===//
#include "runtime/comm/Failure.h"
#include "runtime/executor/Generate.h"
#include "runtime/executor/TrainingLoop.h"
#include "runtime/plan/Tables.h"
#include "tools/llmc-run/Ranks.h"
#include <CLI/CLI.hpp>
#include <cstdio>
#include <unistd.h>

using namespace llmc::runtime;

namespace {

struct Options {
  std::string plan, metrics, trace, profile, saveGradients, saveLogits;
  std::optional<std::string> prompt;
  std::vector<std::string> settings;
  TrainingOptions training;
  llmc::tool::RanksOptions ranks;
  bool noMatrixUnits = false;
  uint64_t generate = 0;
  double temperature = 0;
};

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
  void onStep(const StepReport &report) override {
    std::printf("%s\n", formatProgress(report).c_str());
    std::fflush(stdout);
    if (metrics)
      metrics->addStep(report);
  }
  void onEvaluation(uint64_t step, double loss) override {
    std::printf("step: %2llu  eval_loss: %7.5f\n", static_cast<unsigned long long>(step), loss);
    std::fflush(stdout);
    if (metrics)
      metrics->addEvaluation(step, loss);
  }
  MetricsFile *metrics;

private:
  bool isTerminal = ::isatty(STDERR_FILENO) != 0;
};

int fail(const Status &status) {
  std::fflush(stdout);
  std::fprintf(stderr, "error: %s\n", status.message.c_str());
  if (!status.hint.empty())
    std::fprintf(stderr, "hint: %s\n", status.hint.c_str());
  return static_cast<int>(status.code);
}

void declare(CLI::App &app, Options &options) {
  TrainingOptions &training = options.training;
  app.add_option("plan", options.plan, "the plan file")->required();
  app.add_option("--data", training.dataFiles, "training data: .u16, .u32, llm.c .bin, text as bytes, .safetensors");
  app.add_option("--steps", training.steps, "finish this many steps (default: the recipe's total)");
  app.add_option("--checkpoint", training.checkpointFolder, "folder of checkpoints");
  app.add_option("--checkpoint-every", training.checkpointEvery, "write one every N steps (default: after the last)");
  app.add_flag("--resume", training.resume, "continue from the newest complete checkpoint");
  app.add_option("--weights", training.weights, "start from this safetensors file");
  app.add_option("--model-folder", training.modelFolder,
                 "where the plan's parameter files lie (default: beside the plan)");
  app.add_option("--profile", options.profile, "write measured times per instruction to this file, for llmc explain");
  app.add_option("--metrics", options.metrics, "write one JSON object per step to this file");
  app.add_option("--eval-data", training.evalFiles, "held-out data");
  app.add_option("--eval-every", training.evalEvery, "evaluate every N steps");
  app.add_option("--eval-batches", training.evalBatches, "micro-batches of one evaluation")->check(CLI::PositiveNumber);
  app.add_option("--trace", options.trace, "write a Chrome trace of every instruction");
  app.add_option("--ranks", options.ranks.ranks, "run this many ranks, as threads of this process")
      ->check(CLI::Range(1u, 4096u));
  app.add_option("--comm", options.ranks.comm, "how ranks talk: local, mpi, gloo or nccl (default: as they were launched)")
      ->check(CLI::IsMember({"local", "mpi", "gloo", "nccl"}));
  app.add_option("--deadline", options.ranks.deadline, "seconds to wait for another rank")->check(CLI::Range(0.1, 1e6));
  app.add_option("--log-folder", options.ranks.logFolder,
                 "where a rank of a failed job writes its last instructions (default: the checkpoint folder, or here)");
  app.add_flag("!--no-bind", options.ranks.bind, "ranks share all cores, instead of having some of their own");
  app.add_option("--threads", options.ranks.threads, "threads of all ranks here (default: one per core)")
      ->check(CLI::Range(1u, 1024u));
  app.add_flag("--no-matrix-units", options.noMatrixUnits, "contractions on vector units alone");
  app.add_option("--set", options.settings, "NAME=VALUE: set a scalar of the plan, such as lr");
  app.add_option("--save-gradients", options.saveGradients, "STEP:FILE: write the gradients of that step");
  app.add_option("--prompt", options.prompt, "text to continue, or ids:1,2,3");
  app.add_option("--generate", options.generate, "tokens to add to the prompt");
  app.add_option("--save-logits", options.saveLogits,
                 "write the logits of the prompt's places to this safetensors file");
  app.add_option("--temperature", options.temperature, "sample instead of taking the likeliest token")
      ->check(CLI::Range(0.0, 1000.0));
}

/// Parses NAME=VALUE and STEP:FILE.
Status parseArguments(Options &options) {
  for (const std::string &text : options.settings) {
    size_t equals = text.find('=');
    char *end = nullptr;
    double value = equals == std::string::npos ? 0 : std::strtod(text.c_str() + equals + 1, &end);
    if (!end || *end || end == text.c_str() + equals + 1 || equals == 0)
      return Status::wrongUse("--set " + text + " is not NAME=VALUE");
    options.training.settings.emplace_back(text.substr(0, equals), value);
  }
  if (!options.saveGradients.empty()) {
    char *end = nullptr;
    uint64_t step = std::strtoull(options.saveGradients.c_str(), &end, 10);
    if (step == 0 || *end != ':' || !end[1])
      return Status::wrongUse("--save-gradients " + options.saveGradients + " is not STEP:FILE");
    options.training.saveGradients = {step, end + 1};
  }
  if (options.ranks.logFolder.empty())
    options.ranks.logFolder = options.training.checkpointFolder;
  if (options.training.resume && options.training.checkpointFolder.empty())
    return Status::wrongUse("--resume needs --checkpoint DIR");
  if (options.prompt.has_value() != (options.generate > 0 || !options.saveLogits.empty()))
    return Status::wrongUse("--prompt TEXT needs --generate N or --save-logits FILE, and these need a prompt");
  if (options.training.evalEvery > 0 && options.training.evalFiles.empty())
    return Status::wrongUse("--eval-every needs --eval-data FILE");
  return Status::success();
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
  Status status = generate(executor, generation, [&](int64_t id) {
    if (asIds)
      std::printf(",%lld", static_cast<long long>(id));
    else if (id < 256)
      std::putchar(static_cast<int>(id));
    else
      std::printf("<%lld>", static_cast<long long>(id));
    std::fflush(stdout);
  });
  std::printf("\n");
  return status;
}

Status train(TrainingLoop &loop, Executor &executor, const Options &options, Printer *printer) {
  if (Status status = loop.prepareData(); !status.ok())
    return status;
  if (Status status = loop.prepareState(); !status.ok())
    return status;
  std::unique_ptr<MetricsFile> metrics;
  bool speaks = executor.rank() == 0; // one rank writes for all
  if (speaks && !options.metrics.empty()) {
    auto opened = MetricsFile::open(options.metrics, options.training.resume ? loop.state().step() : 0);
    if (!opened.ok())
      return opened.status();
    metrics = std::move(*opened);
    printer->metrics = metrics.get();
  }
  Trace trace;
  if (speaks && !options.trace.empty())
    executor.setTrace(&trace);
  Status status = loop.run();
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

Status continueText(TrainingLoop &loop, Executor &executor, const Options &options, Printer &printer) {
  if (Status status = loop.prepareState(); !status.ok())
    return status;
  if (loop.state().step() == 0 && options.training.resume)
    return Status::badInput("there is no trained state in '" + options.training.checkpointFolder +
                            "' to continue the text with");
  if (!options.training.resume && options.training.weights.empty())
    printer.onNote(
        "the text is continued with the model's initial weights; --checkpoint DIR --resume takes trained ones");
  return continuePrompt(executor, options);
}

/// The rank's part of the job, without its beginning and end.
Status trainRank(Executor &executor, llmc::tool::WatchedRank &watched, const Options &options) {
  std::unique_ptr<Printer> printer = executor.rank() == 0 ? std::make_unique<Printer>(nullptr) : nullptr;
  TrainingObserver silent;
  TrainingLoop loop(executor, options.training, printer ? static_cast<TrainingObserver &>(*printer) : silent);
  if (options.prompt)
    return continueText(loop, executor, options, *printer);
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
  if (status.ok() && world) {
    watched.setDoing("ending the run");
    status = finish(*world, options);
  }
  watched.report(status);
  watched.setExecutor(nullptr);
  return status;
}

Status execute(Options &options) {
  if (Status status = parseArguments(options); !status.ok())
    return status;
  auto plan = PlanFile::read(options.plan);
  if (!plan.ok())
    return plan.status();
  if (options.ranks.comm == "nccl") // so far all plans are for CPUs
    return Status::wrongUse("--comm nccl is for ranks with a GPU each, the plan's target is " +
                                textOf((*plan)->plan().target()),
                            "leave it out, or run the plan with --comm local, mpi or gloo");
  bool isPrompt = options.prompt.has_value();
  unsigned ranks = (*plan)->plan().ranks()->size();
  if (isPrompt && ranks != 1)
    return Status::wrongUse("a text is continued by one rank, the plan is for " + std::to_string(ranks),
                            "compile without `mesh`; the checkpoints are the same");
  if (options.training.steps == 0)
    options.training.steps = (*plan)->plan().total_steps();
  if (!isPrompt && options.training.steps == 0)
    return Status::wrongUse("the recipe names no number of steps", "give one with --steps");
  if (!isPrompt && options.training.dataFiles.empty())
    return Status::wrongUse("training needs --data FILE");
  return llmc::tool::runRanks(ranks, options.ranks, [&](llmc::tool::WatchedRank &watched, unsigned rank, World *world, unsigned threads) {
    return executeRank(*plan, watched, rank, world, threads, options);
  });
}

} // namespace

int main(int argc, char **argv) {
  Options options;
  CLI::App app("llmc-run: trains and runs compiled plans");
  declare(app, options);
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
