//===- Checked.h - integer arithmetic that notices overflow -----*- C++ -*-===//
//
// For sizes and offsets that come from files: a computation is done in `Checked`, and asked once at the end.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_RUNTIME_SUPPORT_CHECKED_H
#define LLMC_RUNTIME_SUPPORT_CHECKED_H

#include <cstdint>

namespace llmc::runtime {

/// A non-negative 63-bit number; once a step overflows or goes below zero, the whole computation is invalid.
class Checked {
public:
  Checked(int64_t value) : number(value), good(value >= 0) {}
  Checked(uint64_t value) : number(static_cast<int64_t>(value)), good(value <= INT64_MAX) {}
  Checked(int value) : Checked(static_cast<int64_t>(value)) {}
  Checked(unsigned value) : Checked(static_cast<int64_t>(value)) {}

  Checked operator+(Checked other) const {
    Checked result(0);
    result.good = !__builtin_add_overflow(number, other.number, &result.number) && good && other.good;
    return result;
  }
  Checked operator*(Checked other) const {
    Checked result(0);
    result.good = !__builtin_mul_overflow(number, other.number, &result.number) && good && other.good;
    return result;
  }
  Checked operator-(Checked other) const {
    Checked result(0);
    result.good = number >= other.number && good && other.good;
    result.number = result.good ? number - other.number : 0;
    return result;
  }
  bool valid() const { return good; }
  /// The number; 0 if invalid.
  int64_t value() const { return good ? number : 0; }
  bool atMost(uint64_t limit) const { return good && static_cast<uint64_t>(number) <= limit; }
  bool equals(uint64_t other) const { return good && static_cast<uint64_t>(number) == other; }

private:
  int64_t number;
  bool good;
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_SUPPORT_CHECKED_H
