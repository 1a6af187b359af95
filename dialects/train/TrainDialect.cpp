//===- TrainDialect.cpp - the train dialect ----------------------------------===//
#include "dialects/train/Train.h"
#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace llmc::train;

#include "dialects/train/TrainDialect.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/train/TrainOps.cpp.inc"

void TrainDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "dialects/train/TrainOps.cpp.inc"
      >();
}

LogicalResult ValueAndGradOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto callee = symbols.lookupNearestSymbolFrom<func::FuncOp>(*this, getCalleeAttr());
  if (!callee || callee.getArgumentTypes() != getInputs().getTypes())
    return emitOpError("C1: the callee is no function of this module with the operands' types");
  int64_t last = -1;
  SmallVector<Type> expected(callee.getResultTypes());
  for (int64_t index : getWrt()) {
    bool valid = index > last && index < static_cast<int64_t>(callee.getNumArguments());
    if (!valid || !isa<FloatType>(getElementTypeOrSelf(callee.getArgumentTypes()[index])))
      return emitOpError("C2: wrt must be increasing arguments of floating-point element type");
    expected.push_back(callee.getArgumentTypes()[index]);
    last = index;
  }
  auto scalar = expected.empty() ? RankedTensorType() : dyn_cast<RankedTensorType>(expected.front());
  if (!scalar || scalar.getRank() != 0 || TypeRange(expected) != getResultTypes())
    return emitOpError("C3: the results must be the callee's, the first of rank 0, then one gradient per wrt");
  return success();
}

namespace llmc::train {

StringRef argumentString(func::FuncOp function, unsigned index, StringRef key) {
  auto attribute = function.getArgAttrOfType<StringAttr>(index, key);
  return attribute ? attribute.getValue() : StringRef();
}

StringRef resultString(func::FuncOp function, unsigned index, StringRef key) {
  auto attribute = function.getResultAttrOfType<StringAttr>(index, key);
  return attribute ? attribute.getValue() : StringRef();
}

int64_t findArgument(func::FuncOp function, StringRef name, StringRef role) {
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    if (argumentString(function, i, kName) == name && (role.empty() || argumentString(function, i, kRole) == role))
      return i;
  return -1;
}

int64_t findResult(func::FuncOp function, StringRef name, StringRef role) {
  for (unsigned i = 0; i < function.getNumResults(); ++i)
    if (resultString(function, i, kName) == name && (role.empty() || resultString(function, i, kRole) == role))
      return i;
  return -1;
}

std::vector<std::string> namesOf(func::FuncOp function, unsigned index) {
  std::vector<std::string> names = {argumentString(function, index, kName).str()};
  if (auto aliases = function.getArgAttrOfType<ArrayAttr>(index, kAliases))
    for (StringRef alias : aliases.getAsValueRange<StringAttr>())
      names.push_back(alias.str());
  return names;
}

int64_t logicalRank(func::FuncOp function, unsigned index) {
  if (auto shape = function.getArgAttrOfType<DenseI64ArrayAttr>(index, kShape))
    return shape.size();
  return cast<RankedTensorType>(function.getArgumentTypes()[index]).getRank();
}

ArgumentTable::ArgumentTable(func::FuncOp function) {
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    indices.try_emplace((argumentString(function, i, kRole) + "/" + argumentString(function, i, kName)).str(), i);
}

int64_t ArgumentTable::find(StringRef name, StringRef role) const {
  auto it = indices.find((role + "/" + name).str());
  return it == indices.end() ? -1 : it->second;
}

DictionaryAttr nameAndRole(MLIRContext *context, StringRef name, StringRef role) {
  Builder b(context);
  return b.getDictionaryAttr({b.getNamedAttr(kName, b.getStringAttr(name)), b.getNamedAttr(kRole, b.getStringAttr(role))});
}

} // namespace llmc::train
