//===- NoLauncher.cpp - where PMIx was not there to build with ------------===//
#include "runtime/comm/mpi/Launcher.h"

namespace llmc::runtime {

std::unique_ptr<Launcher> Launcher::find() { return nullptr; }

} // namespace llmc::runtime
