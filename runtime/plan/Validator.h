//===- Validator.h - the meaning of a plan, checked before it runs -*- C++ -*-===//
//
// Shares no code with the compiler's own verifier of the level `plan`, so that a mistake there does not hide here. What it
// checks: every index and enumerator, every size and offset in checked arithmetic, operands inside buffers inside arenas,
// buffers of one arena that live at the same time apart in space, uses inside lives, reads after writes, operands against
// kernel signatures, contractions inside their operands, inputs, outputs, schedule, parameters with their views. It does
// not check machine code: a kernel that writes elsewhere than its arguments say is beyond it.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_RUNTIME_PLAN_VALIDATOR_H
#define LLMC_RUNTIME_PLAN_VALIDATOR_H

#include "runtime/plan/Plan_generated.h"
#include <cstdint>
#include <string>
#include <vector>

namespace llmc::runtime {

/// Sizes of the raw sections beside the FlatBuffer.
struct PlanSizes {
  uint64_t kernelImage = 0;
  uint64_t constants = 0;
};

/// All problems of `plan`, one text each; empty if the plan can run. `plan` must have passed the FlatBuffers verifier.
std::vector<std::string> validatePlan(const llmc::plan::fb::Plan &plan, PlanSizes sizes);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_PLAN_VALIDATOR_H
