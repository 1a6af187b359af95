//===- Differences.cpp - relative differences of tensors, and how they are told -----------===//
#include "tools/llmc/Differences.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"
#include <cassert>
#include <cmath>

using llvm::formatv;

namespace llmc::tool {

static std::string gradientOf(const std::string &name) { return "the gradient of '" + name + "'"; }
static std::string parameterNamed(const std::string &name) { return "parameter '" + name + "'"; }

double largestEntry(const HostTensor &tensor) {
  double largest = 0;
  for (int64_t i = 0; i < tensor.size(); ++i)
    largest = std::isfinite(tensor.real(i)) ? std::max(largest, std::abs(tensor.real(i))) : INFINITY;
  return largest;
}

/// The largest |value - expected|; infinity if one is not finite.
static double largestDifference(const HostTensor &value, const HostTensor &expected) {
  assert(value.size() == expected.size());
  double largest = 0;
  for (int64_t i = 0; i < expected.size(); ++i) {
    double difference = std::abs(value.real(i) - expected.real(i));
    largest = std::isfinite(difference) ? std::max(largest, difference) : INFINITY;
  }
  return largest;
}

double byLargestEntry(const HostTensor &value, const HostTensor &expected) {
  double difference = largestDifference(value, expected);
  return difference == 0 ? 0 : difference / std::max(largestEntry(expected), 1e-30);
}

double byChange(const HostTensor &value, const HostTensor &expected, const HostTensor &start) {
  constexpr double kSmallestChange = 2.5e-4;
  double difference = 0, change = 0, norm = 0;
  for (int64_t i = 0; i < expected.size(); ++i) {
    double x = value.real(i), y = expected.real(i), from = start.real(i);
    difference += (x - y) * (x - y);
    change += (y - from) * (y - from);
    norm += y * y;
  }
  return difference == 0 ? 0
                         : std::sqrt(difference / std::max({change, kSmallestChange * kSmallestChange * norm, 1e-60}));
}

double relativeDifference(double value, double expected) {
  return value == expected ? 0 : std::abs(value - expected) / std::max(std::abs(expected), 1e-30);
}

void Ledger::add(const std::string &when, const std::string &what, double difference, double tolerance) {
  double &known = largest.try_emplace(what, 0.0).first->second;
  known = std::isnan(difference) ? INFINITY : std::max(known, difference);
  if (!(difference <= tolerance) && first.empty())
    first = formatv("{0}: {1} differs by {2:E1}, tolerance {3:E1}", when, what, difference, tolerance).str();
}

void Ledger::addGradients(const std::string &when, llvm::ArrayRef<Gradient> gradients, double noise, double tolerance) {
  double largest = 0;
  for (const Gradient &gradient : gradients)
    largest = std::max(largest, largestEntry(*gradient.expected));
  for (const Gradient &gradient : gradients) {
    bool isZero = largestEntry(*gradient.expected) < noise * largest;
    if (isZero)
      zeroGradients.insert(gradient.name);
    add(when, gradientOf(gradient.name),
        isZero ? largestDifference(*gradient.value, *gradient.expected) / largest : byLargestEntry(*gradient.value, *gradient.expected),
        tolerance);
  }
}

void Ledger::addParameter(const std::string &when, const std::string &name, double difference, double tolerance) {
  add(when, parameterNamed(name), difference, tolerance);
}

std::string Ledger::text(const std::string &what) const {
  auto it = largest.find(what);
  return it == largest.end() ? "-" : formatv("{0:E1}", it->second).str();
}

void Ledger::print(llvm::ArrayRef<std::string> parameters, llvm::StringRef column) const {
  for (auto &[what, difference] : largest)
    if (what.find('\'') == std::string::npos || what.rfind("output", 0) == 0)
      llvm::outs() << formatv("  {0,-50} {1}\n", what, text(what));
  llvm::outs() << formatv("  {0,-50} {1,-10} {2}\n", "parameter", "gradient", column);
  for (const std::string &name : parameters)
    llvm::outs() << formatv("  {0,-50} {1,-10} {2}\n", name, text(gradientOf(name)),
                            isNoise(name) ? "- (its gradient is zero)" : text(parameterNamed(name)));
}

} // namespace llmc::tool
