//===- Agree.h - decisions that all ranks take together ---------*- C++ -*-===//
#ifndef LLMC_RUNTIME_COMM_AGREE_H
#define LLMC_RUNTIME_COMM_AGREE_H

#include "runtime/comm/Communicator.h"
#include <string>
#include <vector>

namespace llmc::runtime {

/// The texts of all ranks, in order; all ranks call it. Errors: as the Communicator's.
Result<std::vector<std::string>> gatherTexts(World &world, const std::string &text);

/// Success if `own` is success on all ranks; otherwise the same error on all: the code of the first rank that has one, and
/// each message once, with the first rank that has it. All ranks call it. `world` null: the only rank. Errors of the
/// Communicator are returned unless `own` is one already.
Status agree(World *world, const Status &own);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_COMM_AGREE_H
