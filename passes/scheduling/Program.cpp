//===- Program.cpp - buffers under construction ------------------------------------===//
#include "passes/scheduling/Program.h"
#include "dialects/interfaces/Interfaces.h"
#include "dialects/train/Train.h"

using namespace mlir;

namespace llmc::scheduling {

int Program::addBuffer(Buffer buffer) {
  buffers.push_back(std::move(buffer));
  return static_cast<int>(buffers.size()) - 1;
}

int Program::stateBuffer(StringRef role, StringRef name, RankedTensorType type, Location loc) {
  auto [it, isNew] = state.try_emplace({role.str(), name.str()}, 0);
  if (!isNew)
    return it->second;
  bool constant = role == train::kConstant;
  StringRef category = role == train::kParam || role == train::kBuffer ? "parameter" : role == train::kMoment ? "optimizer" : role;
  return it->second = addBuffer({role.str() + "." + name.str(), constant ? "constant" : "state", category.str(), "", type, tensorBytes(type), 0, 0, 0, -1, {}, loc});
}

int Program::addPart(int parent, RankedTensorType type, int64_t offset, Location loc) {
  Buffer part = buffers[parent];
  part.name += "." + std::to_string(buffers.size());
  part.type = type;
  part.bytes = tensorBytes(type);
  part.root = rootOf(parent);
  part.inner += offset;
  part.value = {};
  part.sharding = {};
  part.origin = loc;
  return addBuffer(std::move(part));
}

int Program::addPlacePart(int parent, RankedTensorType type, ArrayAttr axes, Location loc) {
  int part = addPart(parent, type, 0, loc);
  buffers[part].placeAxes = axes;
  buffers[part].placeStride = tensorBytes(type);
  return part;
}

int Program::rootOf(int buffer) const { return buffers[buffer].root >= 0 ? buffers[buffer].root : buffer; }

void Program::touch(int buffer, int64_t position) {
  for (int b : {buffer, rootOf(buffer)}) {
    buffers[b].first = std::min(buffers[b].first, position);
    buffers[b].last = std::max(buffers[b].last, position);
  }
}

} // namespace llmc::scheduling
