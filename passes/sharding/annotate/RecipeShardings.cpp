//===- RecipeShardings.cpp - shardings that the recipe names ---------------------===//
#include "passes/sharding/annotate/RecipeShardings.h"
#include "dialects/train/Train.h"
#include "llvm/ADT/SmallPtrSet.h"

using namespace mlir;

namespace llmc::sharding {

SmallVector<int64_t> storedDims(ArrayRef<int64_t> stored, ArrayRef<int64_t> logical) {
  if (logical.size() == stored.size())
    return llvm::to_vector(llvm::seq<int64_t>(0, static_cast<int64_t>(stored.size())));
  SmallVector<int64_t> dims;
  int64_t at = 0;
  for (int64_t size : logical) {
    for (int64_t product = stored[at]; product < size;)
      product *= stored[++at];
    dims.push_back(at++);
  }
  return dims;
}

SmallVector<int64_t> storedDims(func::FuncOp function, unsigned argument) {
  auto stored = cast<RankedTensorType>(function.getArgumentTypes()[argument]).getShape();
  auto logical = function.getArgAttrOfType<DenseI64ArrayAttr>(argument, train::kShape);
  return storedDims(stored, logical ? logical.asArrayRef() : stored);
}

namespace {

class Entry {
public:
  Entry(func::FuncOp forward, const train::ParameterSharding &entry, const AxisSplitter &axes)
      : forward(forward), entry(entry), axes(axes) {}

  LogicalResult apply(unsigned argument, std::map<std::string, Cuts> &parameters) {
    auto type = cast<RankedTensorType>(forward.getArgumentTypes()[argument]);
    SmallVector<int64_t> dims = storedDims(forward, argument);
    std::string name = train::argumentString(forward, argument, train::kName).str();
    if (dims.size() != entry.dims.size())
      return fail() << "parameter '" << name << "' has " << dims.size() << " dimensions, " << entry.dims.size()
                    << " are given";
    Cuts cuts(type.getRank());
    llvm::SmallPtrSet<Attribute, 4> seen;
    for (auto [d, names] : llvm::enumerate(entry.dims)) {
      int64_t parts = 1;
      for (const std::string &text : names) {
        auto axis = StringAttr::get(forward.getContext(), text);
        int64_t size = axes.size(axis);
        if (!seen.insert(axis).second)
          return fail() << "axis " << text << " stands twice";
        if (size == 1)
          continue; // an axis of one rank
        cuts[dims[d]].push_back({axis, size});
        parts *= size;
      }
      if (int64_t size = type.getDimSize(dims[d]); size % parts != 0)
        return fail() << "dimension " << d << " of parameter '" << name << "' has size " << size << ", which the "
                      << parts << " ranks of its axes do not divide";
    }
    parameters[name] = cuts;
    return success();
  }

  InFlightDiagnostic fail() {
    forward->getParentOfType<ModuleOp>()->setAttr(train::kMistake, UnitAttr::get(forward.getContext()));
    return forward.emitError() << "recipe, line " << entry.line << ": `sharding." << entry.glob << "`: ";
  }

private:
  func::FuncOp forward;
  const train::ParameterSharding &entry;
  const AxisSplitter &axes;
};

} // namespace

LogicalResult readRecipeShardings(func::FuncOp forward, const train::Recipe &recipe, const AxisSplitter &axes,
                                  std::map<std::string, Cuts> &parameters) {
  bool valid = true;
  for (const train::ParameterSharding &each : recipe.sharding) {
    Entry entry(forward, each, axes);
    bool matched = false;
    for (unsigned i = 0; i < forward.getNumArguments(); ++i)
      if (train::argumentString(forward, i, train::kRole) == train::kParam &&
          train::matchesGlob(each.glob, train::argumentString(forward, i, train::kName))) {
        matched = true;
        valid &= succeeded(entry.apply(i, parameters));
      }
    if (!matched)
      valid = (entry.fail() << "no parameter has such a name", false);
  }
  return success(valid);
}

} // namespace llmc::sharding
