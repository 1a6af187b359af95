//===- DifferencesTest.cpp - what `llmc verify` takes for a difference -----------------===//
//
// The checker is checked: whatever is wrong in one entry of one tensor, it says so and names the tensor.
//
//===----------------------------------------------------------------------===//
#include "tools/llmc/Differences.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>
#include <functional>
#include <gtest/gtest.h>

using namespace llmc;
using namespace llmc::tool;

namespace {

constexpr double kTolerance = 1e-4;

HostTensor tensor(std::vector<double> values) {
  HostTensor result = HostTensor::zeros(llvm::ArrayRef<int64_t>{static_cast<int64_t>(values.size())}, true);
  result.reals = std::move(values);
  return result;
}

HostTensor integers(std::vector<int64_t> values) {
  HostTensor result = HostTensor::zeros(llvm::ArrayRef<int64_t>{static_cast<int64_t>(values.size())}, false);
  result.integers = std::move(values);
  return result;
}

struct Fault {
  const char *name;
  std::function<double(double)> change; // of one entry
};
const Fault kFaults[] = {{"NaN", [](double) { return NAN; }},
                         {"inf", [](double) { return INFINITY; }},
                         {"-inf", [](double) { return -INFINITY; }},
                         {"sign", [](double x) { return -x; }},
                         {"zero", [](double) { return 0.0; }},
                         {"twice", [](double x) { return 2 * x; }},
                         {"a little more", [](double x) { return x + 0.001; }},
                         {"a little less", [](double x) { return x - 0.001; }},
                         {"huge", [](double) { return 1e300; }}};

const std::vector<double> kValues = {0.5, -1.0, 0.25, 0.75, -0.5};

/// Each fault at each place, and none. `check` gets the tensor with the fault, and returns what the ledger says.
void eachFault(const std::function<std::string(const HostTensor &)> &check, const std::string &name) {
  EXPECT_EQ(check(tensor(kValues)), "");
  std::vector<double> rounded = kValues;
  for (double &value : rounded)
    value *= 1 + 1e-7;
  EXPECT_EQ(check(tensor(rounded)), "") << "rounding";
  for (const Fault &fault : kFaults)
    for (size_t i = 0; i < kValues.size(); ++i) {
      std::vector<double> wrong = kValues;
      wrong[i] = fault.change(wrong[i]);
      std::string said = check(tensor(wrong));
      EXPECT_TRUE(said.starts_with("step 3: " + name + " differs by ")) << fault.name << " at " << i << ": '" << said << "'";
    }
}

TEST(Differences, OfOutputs) {
  eachFault(
      [](const HostTensor &value) {
        Ledger ledger;
        ledger.add("step 3", "output 'y'", byLargestEntry(value, tensor(kValues)), kTolerance);
        return ledger.firstProblem();
      },
      "output 'y'");
}

TEST(Differences, OfParametersByTheirChange) {
  HostTensor start = tensor({0.4, -0.9, 0.2, 0.7, -0.4});
  eachFault(
      [&](const HostTensor &value) {
        Ledger ledger;
        ledger.addParameter("step 3", "w", byChange(value, tensor(kValues), start), 1e-3);
        return ledger.firstProblem();
      },
      "parameter 'w'");
  HostTensor unchanged = tensor(kValues); // the optimizer changes nothing, the plan does
  Ledger ledger;
  ledger.addParameter("step 3", "w", byChange(tensor({0.5, -1.0, 0.25, 0.75, -0.501}), unchanged, unchanged), 1e-3);
  EXPECT_NE(ledger.firstProblem(), "");
}

TEST(Differences, OfEachOfSeveralGradients) {
  for (size_t wrong = 0; wrong < 3; ++wrong)
    eachFault(
        [&](const HostTensor &value) {
          HostTensor good = tensor(kValues);
          std::vector<Ledger::Gradient> gradients;
          for (size_t i = 0; i < 3; ++i)
            gradients.push_back({"w" + std::to_string(i), i == wrong ? &value : &good, &good});
          Ledger ledger;
          ledger.addGradients("step 3", gradients, kNoise, kTolerance);
          return ledger.firstProblem();
        },
        "the gradient of 'w" + std::to_string(wrong) + "'");
}

// A gradient that is zero, or noise beside the others, must stay so: exact zeros too.
TEST(Differences, OfGradientsThatAreZero) {
  HostTensor large = tensor(kValues);
  for (double own : {0.0, 1e-320, 1e-40, 1e-9}) {
    auto check = [&](double entry) {
      HostTensor expected = tensor({own, -own, 0}), value = tensor({own, entry, 0});
      Ledger ledger;
      ledger.addGradients("step 3", {{"large", &large, &large}, {"small", &value, &expected}}, kNoise, kTolerance);
      EXPECT_TRUE(ledger.isNoise("small"));
      EXPECT_FALSE(ledger.isNoise("large"));
      return ledger.firstProblem();
    };
    for (double noise : {0.0, own, -3e-9, 1e-8})
      EXPECT_EQ(check(noise), "") << own;
    for (double wrong : {1.0, -1.0, 1e-3, 1e300, double(NAN), double(INFINITY)})
      EXPECT_TRUE(check(wrong).starts_with("step 3: the gradient of 'small' differs by ")) << own << " is " << wrong;
  }
  HostTensor zero = tensor({0, 0}), wrong = tensor({0, 1e-9}); // all of them are zero
  Ledger ledger;
  ledger.addGradients("step 3", {{"a", &zero, &zero}, {"b", &wrong, &zero}}, kNoise, kTolerance);
  EXPECT_TRUE(ledger.firstProblem().starts_with("step 3: the gradient of 'b'")) << ledger.firstProblem();
}

TEST(Differences, OfNumbers) {
  auto check = [](double value, double expected) {
    Ledger ledger;
    ledger.add("step 3", "loss", relativeDifference(value, expected), kLossTolerance);
    return ledger.firstProblem();
  };
  for (double expected : {2.5, -2.5, 1e-12, 1e12}) {
    EXPECT_EQ(check(expected, expected), "");
    EXPECT_EQ(check(expected * (1 + 1e-6), expected), "");
    for (double wrong : {-expected, 0.0, expected * 1.0001, expected * 0.9999, double(NAN), double(INFINITY), -double(INFINITY)})
      EXPECT_TRUE(check(wrong, expected).starts_with("step 3: loss differs by ")) << wrong << " for " << expected;
  }
  EXPECT_EQ(check(0, 0), "");
  for (double wrong : {1e-9, double(NAN)})
    EXPECT_NE(check(wrong, 0), "") << wrong;
  EXPECT_NE(check(1, NAN), "");
  EXPECT_NE(check(NAN, NAN), "");
  EXPECT_NE(check(1, INFINITY), "");
}

// What the model itself makes infinite proves nothing.
TEST(Differences, OfValuesThatShouldNotBe) {
  for (double odd : {double(NAN), double(INFINITY)})
    for (double value : {1.0, odd}) {
      HostTensor expected = tensor({1.0, odd, 2.0}), found = tensor({1.0, value, 2.0});
      Ledger ledger;
      ledger.add("step 3", "output 'y'", byLargestEntry(found, expected), kTolerance);
      EXPECT_NE(ledger.firstProblem(), "") << value << " for " << odd;
      Ledger gradients;
      gradients.addGradients("step 3", {{"w", &found, &expected}}, kNoise, kTolerance);
      EXPECT_NE(gradients.firstProblem(), "") << value << " for " << odd;
      Ledger parameters;
      parameters.addParameter("step 3", "w", byChange(found, expected, tensor({0, 0, 0})), kTolerance);
      EXPECT_NE(parameters.firstProblem(), "") << value << " for " << odd;
    }
}

TEST(Differences, OfIntegers) {
  HostTensor expected = integers({3, 0, -7}), start = integers({2, 0, -7});
  EXPECT_EQ(byLargestEntry(expected, expected), 0);
  EXPECT_EQ(byChange(expected, expected, start), 0);
  for (size_t i = 0; i < 3; ++i) {
    HostTensor wrong = expected;
    ++wrong.integers[i];
    EXPECT_GT(byLargestEntry(wrong, expected), 0.1) << i;
    EXPECT_GT(byChange(wrong, expected, start), 0.1) << i;
  }
}

// The first problem is told, later ones do not hide it, and the table has the largest of each.
TEST(Differences, TheFirstIsNamed) {
  Ledger ledger;
  ledger.add("step 1", "loss", 1e-6, 1e-5);
  ledger.add("step 2", "loss", 3e-5, 1e-5);
  ledger.add("step 3", "grad_norm", 1, 1e-5);
  ledger.add("step 4", "loss", NAN, 1e-5);
  EXPECT_EQ(ledger.firstProblem(), "step 2: loss differs by 3.0E-05, tolerance 1.0E-05");
  testing::internal::CaptureStdout();
  ledger.print({}, "change");
  llvm::outs().flush();
  std::string printed = testing::internal::GetCapturedStdout();
  EXPECT_NE(printed.find("INF"), std::string::npos) << printed;
}

} // namespace
