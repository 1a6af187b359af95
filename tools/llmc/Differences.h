//===- Differences.h - relative differences of tensors, and how they are told -*- C++ -*-===//
#ifndef LLMC_TOOLS_LLMC_DIFFERENCES_H
#define LLMC_TOOLS_LLMC_DIFFERENCES_H

#include "dialects/interfaces/HostTensor.h"
#include "llvm/ADT/ArrayRef.h"
#include <map>
#include <set>
#include <string>

namespace llmc::tool {

// What PyTorch's own orders of arithmetic differ by in f32, with room: see scripts/parity.
inline constexpr double kLossTolerance = 1e-5, kGradientTolerance = 2e-5, kNormTolerance = 5e-4, kParameterTolerance = 2e-3;
// A gradient this much smaller than the largest one is rounding noise in f32, which AdamW blows up to the size of the rate.
inline constexpr double kNoise = 1e-6;

/// The largest absolute value; infinity if one is not finite.
double largestEntry(const HostTensor &tensor);

/// The largest |value - expected|, by the largest entry of `expected`. Infinite or not a number if an entry is not finite.
double byLargestEntry(const HostTensor &value, const HostTensor &expected);

/// norm(value - expected) / norm(expected - start). Of a change so small that the rounding of the values themselves is
/// a part of it, a part of their norm is taken instead.
double byChange(const HostTensor &value, const HostTensor &expected, const HostTensor &start);

/// |value - expected| / |expected|.
double relativeDifference(double value, double expected);

/// Differences by name, and the first one out of tolerance.
class Ledger {
public:
  /// A difference that is not a number is out of tolerance, too.
  void add(const std::string &when, const std::string &what, double difference, double tolerance);

  struct Gradient {
    std::string name;
    const HostTensor *value, *expected;
  };
  /// Gradients of one step. Of those below `noise` of the largest, differences count by that, since they must stay noise, and what
  /// an optimizer makes of them is not compared: they are told apart by `isNoise`.
  void addGradients(const std::string &when, llvm::ArrayRef<Gradient> gradients, double noise, double tolerance);
  bool isNoise(const std::string &parameter) const { return zeroGradients.count(parameter); }
  void addParameter(const std::string &when, const std::string &name, double difference, double tolerance);

  /// Scalars and outputs a line each, then a table of gradients and of `column`, what parameters are compared by.
  void print(llvm::ArrayRef<std::string> parameters, llvm::StringRef column) const;

  const std::string &firstProblem() const { return first; }

private:
  std::string text(const std::string &what) const;

  std::map<std::string, double> largest;
  std::set<std::string> zeroGradients;
  std::string first;
};

} // namespace llmc::tool

#endif // LLMC_TOOLS_LLMC_DIFFERENCES_H
