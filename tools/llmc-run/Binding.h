//===- Binding.h - which cores and memory a rank uses -----------*- C++ -*-===//
#ifndef LLMC_TOOLS_LLMC_RUN_BINDING_H
#define LLMC_TOOLS_LLMC_RUN_BINDING_H

namespace llmc::tool {

/// Binds the calling thread, and the threads it will make, to its share of the cores that this process may use: share
/// `index` of `count`, close together and within one NUMA node where that is possible; memory that they touch first then
/// comes from there. Does nothing if there are fewer cores than shares.
void bindToShare(unsigned index, unsigned count);

} // namespace llmc::tool

#endif // LLMC_TOOLS_LLMC_RUN_BINDING_H
