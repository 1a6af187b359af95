//===- Device.cpp - what a device can do ---------------------------------------===//
#include "compiler/devices/Device.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/TargetParser/Host.h"
#include <algorithm>
#include <string>

namespace llmc::devices {

namespace {
struct Entry {
  const char *cpu;
  double contractionFlopsPerCore, vectorFlopsPerCore, bandwidth, launchSeconds;
};
const Entry kProcessors[] = {
#include "compiler/devices/cpu.def"
};
} // namespace

Device cpuDevice(llvm::StringRef cpu, unsigned cores) {
  llvm::StringMap<bool> features = llvm::sys::getHostCPUFeatures();
  std::string name = (cpu + (features.lookup("amx-bf16") ? "+amx" : "")).str();
  auto find = [](llvm::StringRef cpu) {
    return std::find_if(std::begin(kProcessors), std::end(kProcessors), [&](const Entry &e) { return cpu == e.cpu; });
  };
  const Entry *entry = find(name);
  if (entry == std::end(kProcessors))
    entry = find(cpu);
  if (entry == std::end(kProcessors))
    entry = std::end(kProcessors) - 1;
  double count = std::max(1u, cores);
  return {entry->contractionFlopsPerCore * count, entry->vectorFlopsPerCore * count, entry->bandwidth,
          entry->launchSeconds};
}

double forecastSeconds(const Device &device, bool isContraction, double flops, double bytes) {
  double rate = isContraction ? device.contractionFlops : device.vectorFlops;
  return std::max(flops / rate, bytes / device.bandwidth) + device.launchSeconds;
}

} // namespace llmc::devices
