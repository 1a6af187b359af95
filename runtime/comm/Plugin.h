//===- Plugin.h - how a backend in a shared module is called ----*- C++ -*-===//
#ifndef LLMC_RUNTIME_COMM_PLUGIN_H
#define LLMC_RUNTIME_COMM_PLUGIN_H

#include "runtime/comm/Worlds.h"

namespace llmc::runtime {

/// What a plugin exports, from the same build as the executable: sets `world`, or `status` to what went wrong. Throws
/// nothing.
using OpenWorldFunction = void(const WorldOptions &options, Status &status, std::unique_ptr<World> &world);
inline constexpr char kOpenWorldSymbol[] = "llmcOpenWorld";

} // namespace llmc::runtime

extern "C" llmc::runtime::OpenWorldFunction llmcOpenWorld;

#endif // LLMC_RUNTIME_COMM_PLUGIN_H
