//===- Problem.h - what is wrong with a user's file -------------*- C++ -*-===//
//
// The frontends collect problems instead of stopping at the first; the driver prints them as
// `error: <message> [<where>]` and `hint: <hint>`.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_FRONTENDS_PROBLEM_H
#define LLMC_FRONTENDS_PROBLEM_H

#include <string>
#include <vector>

namespace llmc {

/// One thing that is wrong, in the user's words. `exitCode` is the tool's documented code for it.
struct Problem {
  static constexpr int kBadInput = 3, kUnsupported = 4, kDoesNotFit = 5;

  std::string message;
  std::string where; // ONNX node name or file:line; may be empty
  std::string hint;  // what to do; may be empty
  int exitCode = kBadInput;
  std::string key = {}; // of the recipe, for a problem that its reader does not see: the driver turns it into file:line

  /// The problem as the tools print it, with a newline at the end.
  std::string text() const {
    std::string out = "error: " + message;
    if (!where.empty())
      out += " [" + where + "]";
    out += "\n";
    if (!hint.empty())
      out += "hint: " + hint + "\n";
    return out;
  }
};

using Problems = std::vector<Problem>;

} // namespace llmc

#endif // LLMC_FRONTENDS_PROBLEM_H
