//===- Differences.h - how far two computations are apart -------*- C++ -*-===//
#ifndef LLMC_TOOLS_LLMC_DIFFERENCES_H
#define LLMC_TOOLS_LLMC_DIFFERENCES_H

#include "dialects/interfaces/HostTensor.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>
#include <map>
#include <string>

namespace llmc::tool {

inline double largestEntry(const HostTensor &tensor) {
  double largest = 0;
  for (double value : tensor.reals)
    largest = std::isfinite(value) ? std::max(largest, std::abs(value)) : INFINITY;
  return largest;
}

/// Largest difference of an entry, by the largest entry of `expected`.
inline double byLargestEntry(const HostTensor &value, const HostTensor &expected) {
  double difference = 0;
  for (auto [x, y] : llvm::zip_equal(value.reals, expected.reals))
    difference = std::isfinite(x - y) ? std::max(difference, std::abs(x - y)) : INFINITY;
  return difference == 0 ? 0 : difference / std::max(largestEntry(expected), 1e-30);
}

/// Differences by name, and the first one out of tolerance.
class Ledger {
public:
  /// A difference that is not a number is out of tolerance, too.
  void add(const std::string &when, const std::string &what, double difference, double tolerance) {
    double &known = largest.try_emplace(what, 0.0).first->second;
    known = std::isnan(difference) ? INFINITY : std::max(known, difference);
    if (!(difference <= tolerance) && first.empty())
      first = llvm::formatv("{0}: {1} differs by {2:E1}, tolerance {3:E1}", when, what, difference, tolerance).str();
  }
  std::string text(const std::string &what) const {
    auto it = largest.find(what);
    return it == largest.end() ? "-" : llvm::formatv("{0:E1}", it->second).str();
  }

  std::map<std::string, double> largest;
  std::string first;
};

} // namespace llmc::tool

#endif // LLMC_TOOLS_LLMC_DIFFERENCES_H
