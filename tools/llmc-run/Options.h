//===- Options.h - the command line of llmc-run -----------------*- C++ -*-===//
#ifndef LLMC_TOOLS_LLMC_RUN_OPTIONS_H
#define LLMC_TOOLS_LLMC_RUN_OPTIONS_H

#include "runtime/executor/TrainingLoop.h"
#include "runtime/support/FileRoles.h"
#include "tools/llmc-run/Ranks.h"
#include <CLI/CLI.hpp>

namespace llmc::tool {

struct Options {
  std::string plan, metrics, trace, profile, saveGradients, saveLogits, predict;
  std::optional<std::string> prompt;
  std::vector<std::string> settings;
  std::optional<uint64_t> steps;
  runtime::TrainingOptions training;
  RanksOptions ranks;
  bool noMatrixUnits = false, overwrite = false, verbose = false;
  uint64_t generate = 0;
  double temperature = 0;

  bool isTraining() const { return !prompt && predict.empty(); }
};

void declare(CLI::App &app, Options &options);

/// Parses NAME=VALUE and STEP:FILE, and refuses what has no meaning together. Errors: WrongUse.
runtime::Status parseArguments(Options &options);

/// The files that the options name for a plan: those that are read, and those that are written.
runtime::FileRoles rolesOf(const Options &options, const runtime::PlanFile &plan);

} // namespace llmc::tool

#endif // LLMC_TOOLS_LLMC_RUN_OPTIONS_H
