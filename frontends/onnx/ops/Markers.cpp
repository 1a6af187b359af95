//===- Markers.cpp - operators of the domain `llmc` ------===//
//
// What PyTorch knows and ONNX has no operator for. export.py writes them as calls of functions with a body, for other readers
// of the file; here the call itself counts.
//
//===----------------------------------------------------------------------===//
#include "frontends/onnx/NodeImporter.h"
#include "frontends/onnx/OpTable.h"

using namespace mlir;
using namespace llmc;
using namespace llmc::onnx;

static LogicalResult stopGradient(NodeImporter &n) {
  if (!n.in(0) || n.node.inputs.size() != 1)
    return n.fail("one tensor expected");
  if (!isa<FloatType>(nn::typeOf(n.in(0)).getElementType()))
    return n.done(n.in(0)); // has no gradient anyway
  return n.done(n.emit<nn::StopGradientOp>(n.in(0).getType(), n.in(0)));
}

static LogicalResult batchSize(NodeImporter &n) {
  auto input = n.node.inputs.size() == 1 && n.in(0) ? dyn_cast<BlockArgument>(n.in(0)) : BlockArgument();
  if (!input || n.rank(0) == 0)
    return n.fail("an input of the model expected, with a batch dimension");
  return n.done(n.emit<nn::BatchSizeOp>(RankedTensorType::get({}, n.state.builder.getF32Type()), input));
}

void llmc::onnx::registerMarkers(OpTable &t) {
  t.add("llmc.StopGradient", 1, stopGradient);
  t.add("llmc.BatchSize", 1, batchSize);
}
