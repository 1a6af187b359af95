//===- Team.cpp - what all teams share ----------------------------------------===//
#include "compiler/codegen/fused/Team.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include <limits>
#include <numeric>

using namespace mlir;

namespace llmc::codegen {

int64_t Lanes::alignment(int64_t elementBytes, int64_t begin) const {
  int64_t bytes = std::gcd(step, begin) * elementBytes; // begin 0 is a multiple of everything
  return std::min<int64_t>(bytes & -bytes, 64);
}

Value neutral(Code &code, Reduction kind, Type type) {
  Type element = getElementTypeOrSelf(type);
  bool real = isa<FloatType>(element);
  unsigned bits = element.getIntOrFloatBitWidth();
  double infinity = std::numeric_limits<double>::infinity();
  switch (kind) {
  case Reduction::Sum:
    return real ? code.number(type, 0) : code.integer(type, 0);
  case Reduction::Prod:
    return real ? code.number(type, 1) : code.integer(type, 1);
  case Reduction::Max:
    return real ? code.number(type, -infinity) : code.integer(type, APInt::getSignedMinValue(bits).getSExtValue());
  case Reduction::Min:
    return real ? code.number(type, infinity) : code.integer(type, APInt::getSignedMaxValue(bits).getSExtValue());
  }
  llvm_unreachable("reduction");
}

Value combine(Code &code, Reduction kind, Value x, Value y) {
  bool real = isa<FloatType>(getElementTypeOrSelf(x.getType()));
  StringRef name;
  switch (kind) {
  case Reduction::Sum:
    name = real ? "arith.addf" : "arith.addi";
    break;
  case Reduction::Prod:
    name = real ? "arith.mulf" : "arith.muli";
    break;
  case Reduction::Max:
    name = real ? "arith.maximumf" : "arith.maxsi";
    break;
  case Reduction::Min:
    name = real ? "arith.minimumf" : "arith.minsi";
    break;
  }
  return code.op(name, {x, y}, x.getType());
}

Value emitElementwise(Code &code, const Node &node, ArrayRef<Value> values, int64_t width) {
  Type stored = storageType(code.b.getContext(), node.type);
  Type result = Code::vectorOf(computeType(code.b.getContext(), node.type), width);
  bool conversion = node.op == "arith.extf" || node.op == "arith.truncf" || node.op == "arith.index_cast" ||
                    node.op == "arith.index_castui" || node.op == "arith.bitcast";
  if (node.op == "arith.truncf" && stored != getElementTypeOrSelf(result)) {
    Value narrow = values[0].getType() == result ? values[0] : code.op("arith.truncf", values[0], result);
    Value rounded = code.op("arith.truncf", narrow, Code::vectorOf(stored, width));
    return code.op("arith.extf", rounded, result);
  }
  if (conversion && node.op != "arith.bitcast") {
    if (values[0].getType() == result)
      return values[0];
    if (node.op.find("index_cast") != std::string::npos) {
      unsigned from = getElementTypeOrSelf(values[0].getType()).getIntOrFloatBitWidth();
      bool narrows = from > getElementTypeOrSelf(result).getIntOrFloatBitWidth();
      return code.op(narrows ? "arith.trunci" : node.op == "arith.index_castui" ? "arith.extui" : "arith.extsi", values[0], result);
    }
  }
  return code.op(node.op, values, result, node.predicate);
}

void populateMathApproximations(RewritePatternSet &patterns) {
  // Not good enough of sine and cosine; of the reciprocal root it is an op of a dialect of one processor.
  populateMathPolynomialApproximationPatterns(patterns, [](StringRef name) {
    return name != math::SinOp::getOperationName() && name != math::CosOp::getOperationName() && name != math::RsqrtOp::getOperationName();
  });
}

} // namespace llmc::codegen
