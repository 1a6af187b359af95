//===- Status.h - the outcome of a runtime call -----------------*- C++ -*-===//
//
// Runtime code neither prints nor exits: it returns a Status, or a Result that holds a value or a Status. The values of
// StatusCode are the exit codes of the tools.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_RUNTIME_SUPPORT_STATUS_H
#define LLMC_RUNTIME_SUPPORT_STATUS_H

#include <cassert>
#include <optional>
#include <string>
#include <utility>

namespace llmc::runtime {

enum class StatusCode {
  Ok = 0,
  Internal = 1,
  WrongUse = 2,
  BadInput = 3,
  DoesNotFit = 5,
  PlanRefused = 6,
  RankDied = 10,
  DeadlinePassed = 11,
  NumbersBadOnce = 16,      // the same step gave other numbers when it was run again
  NumbersBadRepeatably = 17,
  Interrupted = 130, // on SIGINT, after the step was finished
  Terminated = 143   // the same on SIGTERM
};

/// `message` says what is wrong and where (may have several lines, one per problem); `hint` what to do about it, may be empty.
struct [[nodiscard]] Status {
  StatusCode code = StatusCode::Ok;
  std::string message;
  std::string hint;

  bool ok() const { return code == StatusCode::Ok; }
  /// The orderly end that the user asked for.
  bool isUserEnd() const { return code == StatusCode::Interrupted || code == StatusCode::Terminated; }
  static Status success() { return {}; }
  static Status badInput(std::string message, std::string hint = "") {
    return {StatusCode::BadInput, std::move(message), std::move(hint)};
  }
  static Status wrongUse(std::string message, std::string hint = "") {
    return {StatusCode::WrongUse, std::move(message), std::move(hint)};
  }
  static Status planRefused(std::string message, std::string hint = "") {
    return {StatusCode::PlanRefused, std::move(message), std::move(hint)};
  }
  static Status internal(std::string message) { return {StatusCode::Internal, std::move(message), ""}; }
};

/// A value, or the Status that says why there is none.
template <typename T> class [[nodiscard]] Result {
public:
  Result(T value) : value(std::move(value)) {}
  Result(Status status) : error(std::move(status)) { assert(!error.ok() && "a Result without value needs an error"); }

  bool ok() const { return value.has_value(); }
  const Status &status() const { return error; }
  T &operator*() {
    assert(ok());
    return *value;
  }
  const T &operator*() const {
    assert(ok());
    return *value;
  }
  T *operator->() { return &**this; }
  const T *operator->() const { return &**this; }

private:
  std::optional<T> value;
  Status error;
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_SUPPORT_STATUS_H
