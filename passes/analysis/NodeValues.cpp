//===- NodeValues.cpp - which value stands for a result of an ONNX node -----------===//
#include "passes/analysis/NodeValues.h"
#include "dialects/dist/Dist.h"

using namespace mlir;

namespace llmc::analysis {

StringRef nodeOf(Operation *op) {
  StringRef node;
  op->getLoc()->walk([&](Location part) {
    if (auto name = dyn_cast<NameLoc>(part))
      node = name.getName().getValue();
    return node.empty() ? WalkResult::advance() : WalkResult::interrupt();
  });
  return node;
}

NodeValues::NodeValues(func::FuncOp function, llvm::function_ref<bool(Operation *)> isOf) {
  for (Operation &op : function.getBody().front())
    if (!isa_and_nonnull<dist::DistDialect>(op.getDialect()) && isOf(&op))
      if (StringRef node = nodeOf(&op); !node.empty())
        llvm::append_range(values[node], op.getResults());
}

Value NodeValues::find(StringRef node, int64_t output, int64_t outputs, ArrayRef<int64_t> shape) const {
  auto it = values.find(node);
  if (it == values.end())
    return {};
  SmallVector<Value> alike;
  for (Value value : it->second) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    if (type && type.getRank() == static_cast<int64_t>(shape.size()) &&
        (shape.empty() || type.getShape().drop_front() == shape.drop_front()))
      alike.push_back(value);
  }
  if (outputs == 1)
    return alike.empty() ? Value() : alike.back();
  return static_cast<int64_t>(alike.size()) == outputs ? alike[output] : Value();
}

} // namespace llmc::analysis
