//===- Team.cpp - what all teams share ----------------------------------------===//
#include "compiler/codegen/Team.h"
#include <limits>

using namespace mlir;

namespace llmc::codegen {

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

} // namespace llmc::codegen
