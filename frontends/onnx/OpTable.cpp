//===- OpTable.cpp - the table of all supported ONNX operators ------===//
#include "frontends/onnx/OpTable.h"
#include "frontends/onnx/Model.h"

using namespace llmc::onnx;

const OpTable &OpTable::get() {
  static const OpTable table = [] {
    OpTable t;
    registerElementwise(t);
    registerShape(t);
    registerIndexing(t);
    registerScatter(t);
    registerContract(t);
    registerWindow(t);
    registerReduce(t);
    registerNorm(t);
    registerAttention(t);
    registerLoss(t);
    registerHost(t);
    registerMarkers(t);
    return t;
  }();
  return table;
}

Handler OpTable::find(const Node &node) const {
  if (!node.domain.empty() && node.domain != "llmc")
    return nullptr;
  auto it = handlers.find(node.opName());
  if (it == handlers.end())
    return nullptr;
  // Files hold operators that are younger than the set they name; these have one meaning, that of their first version.
  auto newer = it->second.upper_bound(node.version);
  return newer == it->second.begin() ? newer->second : std::prev(newer)->second;
}
