//===- OpTable.h - which function imports which ONNX operator ---*- C++ -*-===//
//
// A handler is registered for an operator and the version of its operator set since which it holds; the newest one not
// newer than the model's set is taken, as the format defines it.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_FRONTENDS_ONNX_OPTABLE_H
#define LLMC_FRONTENDS_ONNX_OPTABLE_H

#include "mlir/Support/LLVM.h"
#include <map>
#include <string>

namespace llmc::onnx {

class NodeImporter;
struct Node;

/// Imports one node: reads its inputs and attributes, emits ops, sets its outputs. Fails with a reason given to
/// `NodeImporter::fail`.
using Handler = mlir::LogicalResult (*)(NodeImporter &node);

class OpTable {
public:
  /// The table of all supported operators.
  static const OpTable &get();

  void add(mlir::StringRef op, int64_t sinceVersion, Handler handler) { handlers[op.str()][sinceVersion] = handler; }
  /// The handler for a node of the standard domain or of `llmc`, whose operators are registered as "llmc.Name"; null if there
  /// is none.
  Handler find(const Node &node) const;

private:
  std::map<std::string, std::map<int64_t, Handler>> handlers;
};

// One per file in ops/.
void registerElementwise(OpTable &table);
void registerShape(OpTable &table);
void registerIndexing(OpTable &table);
void registerScatter(OpTable &table);
void registerContract(OpTable &table);
void registerWindow(OpTable &table);
void registerReduce(OpTable &table);
void registerNorm(OpTable &table);
void registerAttention(OpTable &table);
void registerLoss(OpTable &table);
void registerHost(OpTable &table);
void registerMarkers(OpTable &table);

} // namespace llmc::onnx

#endif // LLMC_FRONTENDS_ONNX_OPTABLE_H
