//===- ModelShardings.cpp - shardings that the model itself names -------------------===//
#include "passes/sharding/annotate/ModelShardings.h"
#include "dialects/train/Train.h"
#include "mlir/IR/Builders.h"

using namespace mlir;

namespace llmc::sharding {

using train::ModelSharding;

namespace {

Location locationOf(func::FuncOp forward, const ModelSharding &sharding) {
  return NameLoc::get(StringAttr::get(forward.getContext(), sharding.node));
}

InFlightDiagnostic fail(func::FuncOp forward, const ModelSharding &sharding) {
  return emitError(locationOf(forward, sharding)) << "`onnx_sharding`: tensor '" << sharding.tensor << "': ";
}

LogicalResult admit(func::FuncOp forward, const ModelSharding &sharding, AxisSplitter &axes) {
  for (const auto &factors : sharding.dims)
    for (const ModelSharding::Factor &factor : factors)
      for (const ModelSharding::Axis &axis : factor.axes)
        if (!axes.admit(StringAttr::get(forward.getContext(), axis.name), axis.parts))
          return fail(forward, sharding) << axis.parts << " parts of axis " << axis.name
                                         << " do not go with the parts that other tensors make of it";
  return success();
}

DimCuts cutsOf(MLIRContext *context, const ModelSharding::Factor &factor) {
  DimCuts cuts;
  for (const ModelSharding::Axis &axis : factor.axes)
    cuts.push_back({StringAttr::get(context, axis.name), axis.parts});
  return cuts;
}

/// Cuts the stored dimensions `stored` that stand for one dimension of the file as its factors say.
LogicalResult cutDim(func::FuncOp forward, const ModelSharding &sharding, size_t dim, ArrayRef<int64_t> stored,
                     MutableArrayRef<DimCuts> cuts) {
  const std::vector<ModelSharding::Factor> &factors = sharding.dims[dim];
  if (factors.size() == 1) {
    // Of several that are stored as one, each is cut: a border between them is no border of parts.
    cuts.back() = cutsOf(forward.getContext(), factors[0]);
    if (!factors[0].axes.empty() && stored.size() > 1)
      emitRemark(locationOf(forward, sharding)) << "`onnx_sharding`: dimension " << dim << " of '" << sharding.tensor << "' is "
                                                << stored.front() << " in one; each of them is cut";
    return success();
  }
  bool fits = factors.size() == stored.size();
  for (size_t i = 0; i + 1 < factors.size() && fits; ++i)
    fits = factors[i].size == stored[i]; // the last may be padded
  if (!fits)
    return fail(forward, sharding) << "dimension " << dim << " is not made of " << factors.size()
                                   << " parts in this program, so it cannot be cut within each of them";
  for (auto [own, factor] : llvm::zip_equal(cuts, factors))
    own = cutsOf(forward.getContext(), factor);
  return success();
}

LogicalResult cutParameter(func::FuncOp forward, const ModelSharding &sharding, unsigned argument, AxisSplitter &axes,
                           Cuts &cuts) {
  auto stored = cast<RankedTensorType>(forward.getArgumentTypes()[argument]).getShape();
  SmallVector<int64_t> last = storedDims(forward, argument);
  if (last.size() != sharding.dims.size())
    return fail(forward, sharding) << "it has " << last.size() << " dimensions in this program";
  cuts.assign(stored.size(), {});
  size_t begin = 0;
  for (auto [dim, end] : llvm::enumerate(last)) {
    size_t length = end + 1 - begin;
    if (failed(cutDim(forward, sharding, dim, stored.slice(begin, length), MutableArrayRef(cuts).slice(begin, length))))
      return failure();
    begin = end + 1;
  }
  for (auto [own, size] : llvm::zip_equal(cuts, stored)) {
    int64_t parts = 1;
    for (auto &[axis, count] : own)
      parts *= count;
    if (size % parts != 0)
      return fail(forward, sharding) << parts << " parts do not divide a dimension of size " << size;
  }
  return admit(forward, sharding, axes);
}

} // namespace

LogicalResult readModelShardings(func::FuncOp forward, const train::Recipe &recipe, AxisSplitter &axes,
                                 std::map<std::string, Cuts> &parameters) {
  bool valid = true;
  for (const ModelSharding &sharding : recipe.modelSharding) {
    int64_t argument = train::findArgument(forward, sharding.tensor, train::kParam);
    if (sharding.kind != ModelSharding::Param || argument < 0) // none: the loss does not need it
      continue;
    Cuts cuts;
    if (succeeded(cutParameter(forward, sharding, static_cast<unsigned>(argument), axes, cuts)))
      parameters[sharding.tensor] = cuts;
    else
      valid = false;
  }
  return success(valid);
}

LogicalResult admitValues(func::FuncOp forward, const train::Recipe &recipe, AxisSplitter &axes) {
  bool valid = true;
  for (const ModelSharding &sharding : recipe.modelSharding)
    if (sharding.kind == ModelSharding::Value)
      valid &= succeeded(admit(forward, sharding, axes));
  return success(valid);
}

ArrayAttr wantedOf(func::FuncOp forward, const train::Recipe &recipe, const AxisSplitter &axes) {
  MLIRContext *context = forward.getContext();
  Builder b(context);
  SmallVector<Attribute> wanted;
  for (const ModelSharding &sharding : recipe.modelSharding) {
    if (sharding.kind != ModelSharding::Value)
      continue;
    dist::Sharding cut = dist::Sharding::whole(static_cast<int64_t>(sharding.dims.size()));
    bool isContiguous = true;
    for (auto [axesOfDim, factors] : llvm::zip_equal(cut.dims, sharding.dims))
      for (auto [i, factor] : llvm::enumerate(factors)) {
        isContiguous &= i == 0 || factor.axes.empty();
        for (const ModelSharding::Axis &axis : factor.axes)
          llvm::append_range(axesOfDim, axes.major(b.getStringAttr(axis.name), axis.parts));
      }
    if (!isContiguous) {
      emitRemark(locationOf(forward, sharding)) << "`onnx_sharding`: the parts of '" << sharding.tensor
                                                << "' are not contiguous; how it is cut follows from its operands";
      continue;
    }
    wanted.push_back(b.getDictionaryAttr({b.getNamedAttr("node", b.getStringAttr(sharding.node)),
                                          b.getNamedAttr("tensor", b.getStringAttr(sharding.tensor)),
                                          b.getNamedAttr("output", b.getI64IntegerAttr(sharding.output)),
                                          b.getNamedAttr("outputs", b.getI64IntegerAttr(sharding.outputs)),
                                          b.getNamedAttr("shape", b.getDenseI64ArrayAttr(sharding.shape)),
                                          b.getNamedAttr("sharding", cut.toAttribute(context))}));
  }
  return b.getArrayAttr(wanted);
}

} // namespace llmc::sharding
