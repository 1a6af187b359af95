//===- Device.h - what a device can do --------------------------*- C++ -*-===//
#ifndef LLMC_COMPILER_DEVICES_DEVICE_H
#define LLMC_COMPILER_DEVICES_DEVICE_H

#include "llvm/ADT/StringRef.h"
#include <cstdint>

namespace llmc::devices {

/// Rates of one device, for forecasts. The description files beside this header hold one device type each.
struct Device {
  double contractionFlops = 0; // per second, f32, as the library reaches them
  double vectorFlops = 0;      // per second, of fused kernels
  double bandwidth = 0;        // bytes per second of main memory
  double launchSeconds = 0;    // of an instruction that does nothing
};

/// A processor with `cores` cores, by the instruction set of its kernels ("x86-64-v4", "x86-64-v3"). Contractions may
/// use the matrix units of this machine besides.
Device cpuDevice(llvm::StringRef cpu, unsigned cores);

/// Seconds of work with these FLOPs and bytes: whichever limit is reached first, plus the launch (the roofline model of
/// Williams et al. 2009).
double forecastSeconds(const Device &device, bool isContraction, double flops, double bytes);

} // namespace llmc::devices

#endif // LLMC_COMPILER_DEVICES_DEVICE_H
