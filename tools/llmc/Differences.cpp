//===- Differences.cpp - relative differences of tensors, and how they are told -----------===//
#include "tools/llmc/Differences.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>

using llvm::formatv;

namespace llmc::tool {

static std::string gradientOf(const std::string &name) { return "the gradient of '" + name + "'"; }
static std::string parameterNamed(const std::string &name) { return "parameter '" + name + "'"; }

double largestEntry(const HostTensor &tensor) {
  double largest = 0;
  for (double value : tensor.reals)
    largest = std::isfinite(value) ? std::max(largest, std::abs(value)) : INFINITY;
  return largest;
}

double byLargestEntry(const HostTensor &value, const HostTensor &expected) {
  double difference = 0;
  for (auto [x, y] : llvm::zip_equal(value.reals, expected.reals))
    difference = std::isfinite(x - y) ? std::max(difference, std::abs(x - y)) : INFINITY;
  return difference == 0 ? 0 : difference / std::max(largestEntry(expected), 1e-30);
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
    double own = largestEntry(*gradient.expected), scale = 1.0;
    if (own < noise * largest) {
      zeroGradients.insert(gradient.name);
      scale = own / largest;
    }
    add(when, gradientOf(gradient.name), byLargestEntry(*gradient.value, *gradient.expected) * scale, tolerance);
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
