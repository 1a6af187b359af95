//===- Options.cpp - the command line of llmc-run -------------------------===//
#include "tools/llmc-run/Options.h"
#include "runtime/plan/Tables.h"
#include <cmath>
#include <set>

using namespace llmc::runtime;

namespace llmc::tool {

/// Counts: no sign, and small enough that nothing made of them overflows.
static CLI::Validator count(uint64_t lowest, uint64_t highest) {
  return CLI::Validator(
      [=](std::string &text) -> std::string {
        bool isNumber = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
        bool fits = isNumber && text.size() < 20 && std::stoull(text) >= lowest && std::stoull(text) <= highest;
        return fits ? "" : "'" + text + "' is no whole number from " + std::to_string(lowest) + " to " + std::to_string(highest);
      },
      "", "");
}

static constexpr uint64_t kMostSteps = 1'000'000'000'000, kMostTokens = 1'000'000'000;

static void declareReports(CLI::App &app, Options &options) {
  TrainingOptions &training = options.training;
  app.add_option("--profile", options.profile, "write measured times per instruction to this file, for llmc explain");
  app.add_option("--metrics", options.metrics, "write one JSON object per step to this file");
  app.add_flag("--overwrite", options.overwrite, "let --metrics write over the file of an earlier run");
  app.add_option("--eval-data", training.evalFiles, "held-out data");
  app.add_option("--eval-every", training.evalEvery, "evaluate every N steps")->check(count(1, kMostSteps));
  app.add_option("--eval-batches", training.evalBatches, "micro-batches of one evaluation")->check(count(1, kMostSteps));
  app.add_option("--trace", options.trace, "write a Chrome trace of every instruction");
  app.add_option("--save-gradients", options.saveGradients, "STEP:FILE: write the gradients of that step");
  app.add_flag("--verbose", options.verbose, "after a crash: the stack");
}

static void declareRanks(CLI::App &app, Options &options) {
  app.add_option("--ranks", options.ranks.ranks, "run this many ranks, as threads of this process")
      ->check(count(1, 4096));
  app.add_option("--comm", options.ranks.comm, "how ranks talk: local, mpi, gloo or nccl (default: as they were launched)")
      ->check(CLI::IsMember({"local", "mpi", "gloo", "nccl"}));
  app.add_option("--deadline", options.ranks.deadline, "seconds to wait for another rank")->check(CLI::Range(0.1, 1e6));
  app.add_option("--log-folder", options.ranks.logFolder,
                 "where a rank of a failed job writes its last instructions (default: the checkpoint folder, or here)");
  app.add_flag("!--no-bind", options.ranks.bind, "ranks share all cores, instead of having some of their own");
  app.add_option("--threads", options.ranks.threads, "threads of all ranks here (default: one per core)")
      ->check(count(1, 1024));
  app.add_flag("--no-matrix-units", options.noMatrixUnits, "contractions on vector units alone");
}

static void declarePrediction(CLI::App &app, Options &options) {
  app.add_option("--prompt", options.prompt, "text to continue, bytes:TEXT, or ids:1,2,3");
  app.add_option("--generate", options.generate, "tokens to add to the prompt")->check(count(1, kMostTokens));
  app.add_option("--save-logits", options.saveLogits,
                 "write the logits of the prompt's places to this safetensors file");
  app.add_option("--temperature", options.temperature, "sample instead of taking the likeliest token")
      ->check(CLI::Range(0.0, 1000.0));
  app.add_option("--predict", options.predict, "write the model's outputs for the arrays of --data to this safetensors file");
}

void declare(CLI::App &app, Options &options) {
  TrainingOptions &training = options.training;
  app.add_option("plan", options.plan, "the plan file")->required();
  app.add_option("--data", training.dataFiles,
                 "training data: .u16, .u32, .npy, llm.c's and Megatron's .bin, .txt as bytes, FILE:TYPE, .safetensors");
  app.add_option("--steps", options.steps, "finish this many steps (default: the recipe's total)")->check(count(0, kMostSteps));
  app.add_option("--epochs", training.epochs, "go through arrays this many times")->check(count(1, kMostSteps));
  app.add_option("--checkpoint", training.checkpointFolder, "folder of checkpoints");
  app.add_option("--checkpoint-every", training.checkpointEvery, "write one every N steps (default: after the last)")
      ->check(count(1, kMostSteps));
  app.add_flag("--resume", training.resume, "continue from the newest complete checkpoint");
  app.add_option("--weights", training.weights, "start from this safetensors file, or model.safetensors.index.json of several");
  app.add_option("--model-folder", training.modelFolder,
                 "where the plan's parameter files lie (default: beside the plan)");
  app.add_option("--set", options.settings, "NAME=VALUE: set a scalar of the plan, such as lr");
  declareReports(app, options);
  declareRanks(app, options);
  declarePrediction(app, options);
}

static Status parseSettings(Options &options) {
  for (const std::string &text : options.settings) {
    size_t equals = text.find('=');
    char *end = nullptr;
    double value = equals == std::string::npos ? 0 : std::strtod(text.c_str() + equals + 1, &end);
    if (!end || *end || end == text.c_str() + equals + 1 || equals == 0)
      return Status::wrongUse("--set " + text + " is not NAME=VALUE");
    if (!std::isfinite(value) || value < 0)
      return Status::wrongUse("--set " + text + ": a number from 0 on is needed");
    options.training.settings.emplace_back(text.substr(0, equals), value);
  }
  if (options.saveGradients.empty())
    return Status::success();
  size_t colon = options.saveGradients.find(':');
  std::string number = options.saveGradients.substr(0, colon);
  bool isStep = !number.empty() && number.size() < 19 && number.find_first_not_of("0123456789") == std::string::npos && std::stoull(number) > 0;
  if (!isStep || colon == std::string::npos || colon + 1 == options.saveGradients.size())
    return Status::wrongUse("--save-gradients " + options.saveGradients + " is not STEP:FILE, with steps from 1 on");
  options.training.saveGradients = {std::stoull(number), options.saveGradients.substr(colon + 1)};
  return Status::success();
}

Status parseArguments(Options &options) {
  TrainingOptions &training = options.training;
  if (Status status = parseSettings(options); !status.ok())
    return status;
  if (options.ranks.logFolder.empty())
    options.ranks.logFolder = training.checkpointFolder;
  std::string problems, hint;
  auto require = [&](bool good, const char *problem) {
    if (!good)
      problems += (problems.empty() ? "" : "; ") + std::string(problem);
  };
  require(!training.resume || !training.checkpointFolder.empty(), "--resume needs --checkpoint DIR");
  require(options.prompt.has_value() == (options.generate > 0 || !options.saveLogits.empty()),
          "--prompt TEXT needs --generate N or --save-logits FILE, and these need a prompt");
  require(training.evalEvery == 0 || !training.evalFiles.empty(), "--eval-every needs --eval-data FILE");
  require(training.evalEvery > 0 || training.evalFiles.empty(), "--eval-data needs --eval-every N, which says when it is used");
  require(training.checkpointEvery == 0 || !training.checkpointFolder.empty(), "--checkpoint-every needs --checkpoint DIR");
  require(!options.overwrite || !options.metrics.empty(), "--overwrite needs --metrics FILE");
  require(!options.prompt || options.predict.empty(), "--prompt and --predict do not go together");
  require(options.predict.empty() || training.dataFiles.size() == 1, "--predict FILE needs --data with one safetensors file of arrays");
  require(options.isTraining() || (options.metrics.empty() && options.trace.empty() && options.profile.empty() &&
                                   options.saveGradients.empty() && training.evalFiles.empty() && !options.steps),
          "--steps, --metrics, --trace, --profile, --save-gradients and --eval-data belong to training, not to a prediction");
  require(!options.prompt || training.dataFiles.empty(), "--data belongs to training, not to --prompt");
  return problems.empty() ? Status::success() : Status::wrongUse(problems, "llmc-run --help lists the options");
}

/// Files in the plan's folder that values come from.
static void addParameterFiles(const Options &options, const PlanFile &plan, FileRoles &roles) {
  std::string folder = options.training.modelFolder.empty() ? plan.folder() : options.training.modelFolder;
  folder += folder.empty() ? "" : "/";
  std::set<std::string> files;
  for (uint32_t p = 0; p < sizeOf(plan.plan().programs()); ++p)
    for (uint32_t i = 0; i < sizeOf(plan.plan().programs()->Get(p)->parameters()); ++i)
      if (const fb::Init *init = plan.plan().programs()->Get(p)->parameters()->Get(i)->init(); init && init->path())
        files.insert(textOf(init->path()));
  for (const std::string &file : files)
    roles.reads(file.empty() ? "" : folder + file, "a file of the model");
  if (std::string weights = textOf(plan.plan().weights()); !weights.empty())
    roles.reads(folder + weights, "the recipe's `weights`");
}

FileRoles rolesOf(const Options &options, const PlanFile &plan) {
  const TrainingOptions &training = options.training;
  FileRoles roles;
  roles.reads(options.plan, "the plan");
  for (auto [list, what] : {std::pair(&training.dataFiles, "--data"), std::pair(&training.evalFiles, "--eval-data")})
    for (const std::string &argument : *list)
      for (const std::string &file : TokenFile::filesOf(argument))
        roles.reads(file, what);
  addParameterFiles(options, plan, roles);
  roles.reads(training.weights, "--weights");
  if (training.weights.ends_with(".json"))
    if (auto files = WeightFiles::open(training.weights); files.ok())
      for (const std::string &file : files->paths())
        roles.reads(file, "a file of --weights");
  if (options.isTraining())
    roles.writesFolder(training.checkpointFolder, "--checkpoint");
  else
    roles.readsFolder(training.checkpointFolder, "--checkpoint");
  if (options.ranks.logFolder != training.checkpointFolder)
    roles.writesFolder(options.ranks.logFolder, "--log-folder");
  uint32_t ranks = plan.plan().ranks()->size();
  roles.writes(options.metrics, "--metrics");
  roles.writes(options.trace, "--trace");
  roles.writes(options.profile, "--profile");
  if (training.saveGradients)
    roles.writes(training.saveGradients->second, "--save-gradients");
  roles.writes(options.saveLogits, "--save-logits");
  roles.writes(options.predict, "--predict");
  std::string logs = options.ranks.logFolder.empty() ? "." : options.ranks.logFolder;
  for (uint32_t rank = 0; ranks > 1 && rank < std::min(ranks, 64u); ++rank) {
    if (rank > 0 && !options.profile.empty())
      roles.mayWrite(options.profile + "." + std::to_string(rank), "a rank's --profile");
    roles.mayWrite(logs + "/llmc-rank-" + std::to_string(rank) + ".log", "the log of a rank");
  }
  return roles;
}

} // namespace llmc::tool
