//===- PeakRate.h - how fast one core could be ------------------*- C++ -*-===//
#ifndef LLMC_RUNTIME_KERNELS_PEAKRATE_H
#define LLMC_RUNTIME_KERNELS_PEAKRATE_H

namespace llmc::runtime {

/// Measured f32 multiplies and adds per second of one core: of its matrix units on packed operands in the first-level
/// cache where contractions use them, else of independent vector chains. Takes a few milliseconds.
double measurePeakFlops();

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_KERNELS_PEAKRATE_H
