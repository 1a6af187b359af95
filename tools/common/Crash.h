//===- Crash.h - what a tool says when it breaks ----------------*- C++ -*-===//
#ifndef LLMC_TOOLS_COMMON_CRASH_H
#define LLMC_TOOLS_COMMON_CRASH_H

namespace llmc::tool {

/// From now on a crash prints one line that says what to report, and where; with --verbose among the arguments (which the caller
/// takes too) the stack as well. The process still ends by its signal. An input file that shrinks while it is mapped is no crash:
/// it is named, and the exit code is that of bad input.
void reportCrashes(int argc, char **argv);

} // namespace llmc::tool

#endif // LLMC_TOOLS_COMMON_CRASH_H
