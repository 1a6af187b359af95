//===- PeakRate.h - how fast one core could be ------------------*- C++ -*-===//
#ifndef LLMC_RUNTIME_KERNELS_PEAKRATE_H
#define LLMC_RUNTIME_KERNELS_PEAKRATE_H

namespace llmc::runtime {

/// Measured f32 multiply-adds per second of one core, times two, from independent vector chains; takes a few milliseconds.
double measurePeakFlops();

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_KERNELS_PEAKRATE_H
