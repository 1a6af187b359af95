//===- Failure.h - how backends word what went wrong ------------*- C++ -*-===//
#ifndef LLMC_RUNTIME_COMM_FAILURE_H
#define LLMC_RUNTIME_COMM_FAILURE_H

#include "runtime/support/Status.h"
#include <chrono>
#include <vector>

namespace llmc::runtime {

/// `missing`: ranks of the world, at least one; sorted and made unique here.
Status deadlinePassed(std::vector<unsigned> missing, std::chrono::milliseconds deadline);
/// The job was told to end (WorldOptions::told) while `missing` had not come; none: while it waited for something else.
Status toldToEnd(std::vector<unsigned> missing);
Status rankDied(unsigned rank);
/// A failure of another rank, with what this one was doing; other outcomes stay as they are.
Status during(const std::string &what, Status status);
/// Of the outcomes of ranks the one to show: a cause goes before what followed from it.
Status causeOf(const std::vector<Status> &outcomes);
/// Whether `ranks` may form a group that `rank` is in: distinct, below `size`.
Status checkGroup(const std::vector<unsigned> &ranks, unsigned rank, unsigned size);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_COMM_FAILURE_H
