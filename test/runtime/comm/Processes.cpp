//===- Processes.cpp - ranks of a test that are processes -----------------===//
#include "test/runtime/comm/Processes.h"
#include <arpa/inet.h>
#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace llmc::runtime;
using namespace std::chrono_literals;

namespace llmc::test {

std::string whyAbsent(Backend backend) {
  std::string name = backend == Backend::Mpi ? "mpi" : "gloo";
  std::string folder = std::filesystem::path(LLMC_COMM_WORKER).parent_path();
  if (!std::filesystem::exists(folder + "/llmc_comm_" + name + ".so"))
    return "the plugin for " + name + " is not built: its package was not there";
  if (backend == Backend::Mpi && !std::filesystem::exists(LLMC_MPIEXEC))
    return "there is no mpiexec";
  return "";
}

static pid_t spawn(const std::vector<std::string> &command) {
  std::vector<char *> arguments;
  for (const std::string &word : command)
    arguments.push_back(const_cast<char *>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (!std::getenv("LLMC_TEST_VERBOSE")) // mpiexec describes each death at length
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = -1;
  if (::posix_spawn(&child, arguments[0], &actions, nullptr, arguments.data(), environ) != 0)
    child = -1;
  posix_spawn_file_actions_destroy(&actions);
  return child;
}

unsigned freePort() {
  int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  socklen_t bytes = sizeof(address);
  if (::bind(socket, reinterpret_cast<sockaddr *>(&address), bytes) != 0 ||
      ::getsockname(socket, reinterpret_cast<sockaddr *>(&address), &bytes) != 0)
    address.sin_port = 0;
  ::close(socket);
  return ntohs(address.sin_port);
}

static void awaitAll(const std::vector<pid_t> &children) {
  auto end = std::chrono::steady_clock::now() + 30s;
  for (pid_t child : children) {
    while (child > 0 && ::waitpid(child, nullptr, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > end)
        ::kill(child, SIGKILL);
      std::this_thread::sleep_for(5ms);
    }
  }
}

std::vector<std::string> runRanks(Backend backend, unsigned size, const std::string &scenario, bool recovery,
                                  Gpus gpus) {
  std::string suffix = gpus == Gpus::None ? "" : gpus == Gpus::Fake ? "+fake" : "+gpu";
  std::string folder = std::filesystem::temp_directory_path() / "llmc-comm-XXXXXX";
  if (!::mkdtemp(folder.data()))
    return {};
  std::vector<pid_t> children;
  if (backend == Backend::Mpi) {
    std::vector<std::string> command = {LLMC_MPIEXEC, LLMC_MPIEXEC_FLAGS};
    if (recovery)
      command.push_back("--enable-recovery");
    command.insert(command.end(), {"-n", std::to_string(size), LLMC_COMM_WORKER, "mpi" + suffix, scenario, folder});
    children.push_back(spawn(command));
  } else {
    std::string port = std::to_string(freePort());
    for (unsigned rank = 0; rank < size; ++rank)
      children.push_back(spawn(
          {LLMC_COMM_WORKER, "gloo" + suffix, scenario, folder, std::to_string(rank), std::to_string(size), port}));
  }
  awaitAll(children);
  std::vector<std::string> results;
  for (unsigned rank = 0; rank < size; ++rank) {
    std::ifstream file(folder + "/" + std::to_string(rank));
    results.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  std::filesystem::remove_all(folder);
  return results;
}

} // namespace llmc::test
