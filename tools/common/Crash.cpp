//===- Crash.cpp - what a tool says when it breaks ------------------------===//
#include "tools/common/Crash.h"
#include "runtime/support/File.h"
#include <csignal>
#include <cstdio>
#include <cstring>
#include <execinfo.h>
#include <unistd.h>

namespace llmc::tool {
namespace {

char toolName[64] = "llmc";
bool isVerbose = false;

/// Only what a signal handler may call.
void say(const char *text) {
  ssize_t ignored = ::write(STDERR_FILENO, text, std::strlen(text));
  (void)ignored;
}

const char *nameOf(int signal) {
  switch (signal) {
  case SIGSEGV:
    return "SIGSEGV";
  case SIGBUS:
    return "SIGBUS";
  case SIGFPE:
    return "SIGFPE";
  case SIGILL:
    return "SIGILL";
  default:
    return "SIGABRT";
  }
}

void onCrash(int signal, siginfo_t *info, void *) {
  if (signal == SIGBUS)
    if (const char *file = llmc::runtime::MappedFile::nameAt(info->si_addr)) {
      say("error: '");
      say(file);
      say("' has become shorter, or cannot be read, since it was opened\nhint: leave input files alone while they are in use\n");
      ::_exit(static_cast<int>(llmc::runtime::StatusCode::BadInput));
    }
  say("error: ");
  say(toolName);
  say(" crashed (");
  say(nameOf(signal));
  say("), which is its own fault: please report the command, its files and this line to the project's issue tracker");
  say(isVerbose ? "\n" : "; --verbose adds the stack\n");
  if (isVerbose) {
    void *frames[64];
    ::backtrace_symbols_fd(frames, ::backtrace(frames, 64), STDERR_FILENO);
  }
  std::signal(signal, SIG_DFL);
  ::raise(signal);
}

} // namespace

void reportCrashes(int argc, char **argv) {
  const char *slash = argc > 0 ? std::strrchr(argv[0], '/') : nullptr;
  if (argc > 0)
    std::snprintf(toolName, sizeof(toolName), "%s", slash ? slash + 1 : argv[0]);
  for (int i = 1; i < argc; ++i)
    isVerbose |= std::strcmp(argv[i], "--verbose") == 0;
  void *first;
  ::backtrace(&first, 1); // loads what it needs now, not in the handler
  static char stack[1 << 16];
  stack_t alternate = {};
  alternate.ss_sp = stack; // for overflows of the stack itself, of the first thread
  alternate.ss_size = sizeof(stack);
  ::sigaltstack(&alternate, nullptr);
  struct sigaction action = {};
  action.sa_sigaction = onCrash;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT})
    ::sigaction(signal, &action, nullptr);
}

} // namespace llmc::tool
