//===- Reduce.h - the one loop that reduces ---------------------*- C++ -*-===//
#ifndef LLMC_RUNTIME_COMM_REDUCE_H
#define LLMC_RUNTIME_COMM_REDUCE_H

#include "runtime/comm/Communicator.h"

namespace llmc::runtime {

bool canReduce(fb::DataType type);

/// Each of `targets` = ((sources[0] + sources[1]) + sources[2]) + ..., or the maximum, element by element, in the
/// element type. A target may be one of the sources, but overlaps none in part. Arrays hold `elements` elements,
/// aligned as their type; there is at least one source.
void reduceInOrder(std::span<const void *const> sources, std::span<void *const> targets, size_t elements,
                   fb::DataType type, Reduction reduction);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_COMM_REDUCE_H
