//===- LaunchTest.cpp - how a process takes itself to be launched ----------------------===//
#include "tools/llmc-run/Launch.h"
#include <gtest/gtest.h>
#include <map>

using namespace llmc::runtime;
using namespace llmc::tool;

namespace {

using Variables = std::map<std::string, std::string>;

Environment of(const Variables &variables) {
  return [&variables](const char *name) {
    auto found = variables.find(name);
    return found == variables.end() ? std::string() : found->second;
  };
}

Variables join(std::initializer_list<Variables> all) {
  Variables joined;
  for (const Variables &each : all)
    joined.insert(each.begin(), each.end());
  return joined;
}

// What launchers set, of that which is looked at, and some of the rest.
const Variables kNone, kSlurmBatch = {{"SLURM_JOB_ID", "7"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}, {"SLURM_LOCALID", "0"}};
const Variables kSlurmStep = {{"SLURM_JOB_ID", "7"}, {"SLURM_PROCID", "3"}, {"SLURM_STEP_ID", "0"}, {"SLURM_NTASKS", "4"}};
const Variables kOpenMpi = {{"OMPI_COMM_WORLD_RANK", "2"}, {"OMPI_COMM_WORLD_SIZE", "4"}, {"PMIX_RANK", "2"}};
const Variables kMpich = {{"PMI_RANK", "1"}, {"PMI_SIZE", "4"}, {"MPI_LOCALRANKID", "1"}};
const Variables kPmix = {{"PMIX_RANK", "5"}, {"PMIX_NAMESPACE", "x"}};
const Variables kTorchrun = {{"RANK", "6"}, {"WORLD_SIZE", "8"}, {"LOCAL_RANK", "2"}, {"MASTER_ADDR", "10.0.0.1"}, {"MASTER_PORT", "29500"}};

TEST(Launch, IsToldByTheEnvironment) {
  struct Case {
    const char *what;
    Variables variables;
    const char *comm;
    unsigned rank;
  };
  const Case cases[] = {
      {"nothing", kNone, "local", 0},
      {"mpirun of Open MPI", kOpenMpi, "mpi", 2},
      {"mpiexec of MPICH", kMpich, "mpi", 1},
      {"prterun", kPmix, "mpi", 5},
      {"torchrun", kTorchrun, "gloo", 6},
      {"srun, with PMIx", join({kSlurmStep, kPmix}), "mpi", 5},
      {"srun, with PMI 2", join({kSlurmStep, kMpich}), "mpi", 1},
      {"srun --mpi=none", kSlurmStep, "mpi", 3},
      {"a batch script", kSlurmBatch, "local", 0},
      {"a batch step with a number", join({kSlurmBatch, {{"SLURM_STEP_ID", "4294967291"}}}), "local", 0},
      {"an interactive shell of salloc", join({kSlurmBatch, {{"SLURM_STEP_ID", "4294967290"}}}), "local", 0},
      {"the last usual step", join({kSlurmBatch, {{"SLURM_STEP_ID", "4294967279"}}}), "mpi", 0},
      {"mpirun in a batch script", join({kOpenMpi, kSlurmBatch}), "mpi", 2},
      {"torchrun in a batch script", join({kTorchrun, kSlurmBatch}), "gloo", 6},
      {"torchrun in a step, one a machine", join({kTorchrun, kSlurmStep}), "gloo", 6},
      {"an empty variable is none", {{"PMI_RANK", ""}, {"RANK", ""}, {"WORLD_SIZE", ""}, {"SLURM_STEP_ID", ""}, {"SLURM_PROCID", "0"}}, "local", 0},
      {"RANK alone", {{"RANK", "3"}}, "local", 3},
      {"WORLD_SIZE alone", {{"WORLD_SIZE", "3"}}, "local", 0},
      {"a step without a process", {{"SLURM_STEP_ID", "0"}}, "local", 0},
      {"an address alone", {{"MASTER_ADDR", "h"}, {"MASTER_PORT", "1"}}, "local", 0},
      {"the first rank", {{"PMI_RANK", "0"}}, "mpi", 0},
      {"no number", {{"PMI_RANK", "x"}, {"RANK", "4"}}, "mpi", 4},
  };
  for (const Case &each : cases) {
    EXPECT_EQ(chosenComm("", 0, of(each.variables)), each.comm) << each.what;
    EXPECT_EQ(ownRank(of(each.variables)), each.rank) << each.what;
  }
}

// What the user says counts, whatever the environment says.
TEST(Launch, OptionsComeFirst) {
  for (const Variables &variables : {kNone, kOpenMpi, kMpich, kTorchrun, kSlurmStep, kSlurmBatch}) {
    EXPECT_EQ(chosenComm("", 2, of(variables)), "local");
    EXPECT_EQ(chosenComm("", 1, of(variables)), "local");
    for (const char *comm : {"local", "mpi", "gloo"})
      EXPECT_EQ(chosenComm(comm, 0, of(variables)), comm);
  }
}

TEST(Launch, PlacesAreRead) {
  WorldOptions options;
  ASSERT_TRUE(readPlace(of(kTorchrun), 8, options).ok());
  EXPECT_EQ(options.rank, 6u);
  EXPECT_EQ(options.size, 8u);
  EXPECT_EQ(options.address, "10.0.0.1");
  EXPECT_EQ(options.port, 29500);
  Status other = readPlace(of(kTorchrun), 4, options);
  EXPECT_EQ(other.code, StatusCode::WrongUse);
  EXPECT_EQ(other.message, "the plan is for 4 ranks, WORLD_SIZE is 8");
}

TEST(Launch, WrongPlacesAreNamed) {
  for (auto [name, limit] : {std::pair("RANK", "1048576"), std::pair("WORLD_SIZE", "1048576"), std::pair("MASTER_PORT", "65536")})
    for (std::string text : {"", "x", "-1", " 1", "+1", "1 ", "1.5", limit, "99999999999999999999999"}) {
      Variables variables = kTorchrun;
      variables[name] = text;
      WorldOptions options;
      Status status = readPlace(of(variables), 8, options);
      EXPECT_EQ(status.code, StatusCode::WrongUse) << name << " " << text;
      EXPECT_EQ(status.message,
                std::string("the environment variable ") + name + " is '" + text + "', not a number below " + limit);
    }
}

} // namespace
