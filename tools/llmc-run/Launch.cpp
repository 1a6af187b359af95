//===- Launch.cpp - what launchers say in the environment -----------------===//
#include "tools/llmc-run/Launch.h"
#include <cctype>
#include <cstdlib>

using namespace llmc::runtime;

namespace llmc::tool {

std::string processEnvironment(const char *name) {
  const char *value = std::getenv(name);
  return value ? value : "";
}

static bool startedByMpi(const Environment &environment) {
  return !environment("OMPI_COMM_WORLD_RANK").empty() || !environment("PMI_RANK").empty() || !environment("PMIX_RANK").empty();
}

/// Batch scripts and interactive shells of Slurm have the number of a process too, but are no step, or one whose number is
/// above all usual ones.
static bool startedBySlurm(const Environment &environment) {
  constexpr unsigned long long kFirstUnusual = 0xfffffff0;
  std::string step = environment("SLURM_STEP_ID");
  return !environment("SLURM_PROCID").empty() && !step.empty() && std::strtoull(step.c_str(), nullptr, 10) < kFirstUnusual;
}

std::string chosenComm(const std::string &comm, unsigned ranks, const Environment &environment) {
  if (!comm.empty())
    return comm;
  if (ranks > 0)
    return "local";
  if (startedByMpi(environment))
    return "mpi";
  if (!environment("RANK").empty() && !environment("WORLD_SIZE").empty())
    return "gloo";
  return startedBySlurm(environment) ? "mpi" : "local";
}

static Status parseNumber(const Environment &environment, const char *name, uint64_t limit, uint64_t &value) {
  std::string text = environment(name);
  char *end = nullptr;
  value = std::strtoull(text.c_str(), &end, 10);
  if (text.empty() || !std::isdigit(static_cast<unsigned char>(text[0])) || *end || value >= limit)
    return Status::wrongUse(std::string("the environment variable ") + name + " is '" + text + "', not a number below " +
                                std::to_string(limit),
                            "launchers such as torchrun set RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT");
  return Status::success();
}

unsigned ownRank(const Environment &environment) {
  for (const char *name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "RANK", "SLURM_PROCID"})
    if (uint64_t rank = 0; !environment(name).empty() && parseNumber(environment, name, 1u << 20, rank).ok())
      return static_cast<unsigned>(rank);
  return 0;
}

Status readPlace(const Environment &environment, unsigned ranks, WorldOptions &options) {
  uint64_t rank = 0, size = 0, port = 0;
  for (Status status : {parseNumber(environment, "RANK", 1u << 20, rank), parseNumber(environment, "WORLD_SIZE", 1u << 20, size),
                        parseNumber(environment, "MASTER_PORT", 65536, port)})
    if (!status.ok())
      return status;
  options.rank = static_cast<unsigned>(rank);
  options.size = static_cast<unsigned>(size);
  options.port = static_cast<uint16_t>(port);
  options.address = environment("MASTER_ADDR");
  if (size != ranks)
    return Status::wrongUse("the plan is for " + std::to_string(ranks) + " ranks, WORLD_SIZE is " + std::to_string(size));
  return Status::success();
}

} // namespace llmc::tool
