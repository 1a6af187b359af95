//===- DistDialect.cpp - the dist dialect ----------------------------------===//
#include "dialects/dist/Dist.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace llmc::dist;

#include "dialects/dist/DistDialect.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/dist/DistAttrs.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/dist/DistOps.cpp.inc"

void DistDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/dist/DistAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/dist/DistOps.cpp.inc"
      >();
}

MeshAttr llmc::dist::meshOf(ModuleOp module) { return module->getAttrOfType<MeshAttr>(kMesh); }

//===-- #dist.mesh -----------------------------------------------------------===//

int64_t MeshAttr::ranks() const {
  int64_t ranks = 1;
  for (int64_t size : getSizes())
    ranks *= size;
  return ranks;
}

int64_t MeshAttr::size(StringAttr axis) const {
  for (auto [name, size] : llvm::zip_equal(getNames(), getSizes()))
    if (name == axis)
      return size;
  return 0;
}

int64_t MeshAttr::size(ArrayRef<StringAttr> axes) const {
  int64_t product = 1;
  for (StringAttr axis : axes)
    product *= size(axis);
  return product;
}

static int64_t strideOf(MeshAttr mesh, StringAttr axis) {
  int64_t stride = 1;
  for (size_t i = mesh.getNames().size(); i-- > 0 && mesh.getNames()[i] != axis;)
    stride *= mesh.getSizes()[i];
  return stride;
}

int64_t MeshAttr::index(int64_t rank, ArrayRef<StringAttr> axes) const {
  int64_t index = 0;
  for (StringAttr axis : axes)
    index = index * size(axis) + rank / strideOf(*this, axis) % size(axis);
  return index;
}

SmallVector<int64_t> MeshAttr::group(int64_t rank, ArrayRef<StringAttr> axes) const {
  int64_t first = rank;
  for (StringAttr axis : axes)
    first -= rank / strideOf(*this, axis) % size(axis) * strideOf(*this, axis);
  SmallVector<int64_t> ranks = {first};
  for (StringAttr axis : axes) {
    SmallVector<int64_t> more;
    for (int64_t base : ranks)
      for (int64_t i = 0; i < size(axis); ++i)
        more.push_back(base + i * strideOf(*this, axis));
    ranks = std::move(more);
  }
  return ranks;
}

LogicalResult MeshAttr::verify(function_ref<InFlightDiagnostic()> emitError, ArrayRef<StringAttr> names,
                               ArrayRef<int64_t> sizes) {
  if (names.size() != sizes.size())
    return emitError() << "a mesh needs one size per axis";
  int64_t ranks = 1;
  for (auto [i, name] : llvm::enumerate(names)) {
    if (llvm::is_contained(names.take_front(i), name))
      return emitError() << "axis '" << name.getValue() << "' stands twice";
    if (sizes[i] < 1 || __builtin_mul_overflow(ranks, sizes[i], &ranks))
      return emitError() << "axis '" << name.getValue() << "' has size " << sizes[i];
  }
  return success();
}

Attribute MeshAttr::parse(AsmParser &parser, Type) {
  SmallVector<StringAttr> names;
  SmallVector<int64_t> sizes;
  auto axis = [&]() -> ParseResult {
    std::string name;
    if (parser.parseKeywordOrString(&name) || parser.parseEqual() || parser.parseInteger(sizes.emplace_back()))
      return failure();
    names.push_back(StringAttr::get(parser.getContext(), name));
    return success();
  };
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::LessGreater, axis))
    return {};
  return getChecked([&] { return parser.emitError(parser.getNameLoc()); }, parser.getContext(), names, sizes);
}

void MeshAttr::print(AsmPrinter &printer) const {
  printer << "<";
  llvm::interleaveComma(llvm::zip_equal(getNames(), getSizes()), printer.getStream(), [&](auto axis) {
    printer.printKeywordOrString(std::get<0>(axis).getValue());
    printer << " = " << std::get<1>(axis);
  });
  printer << ">";
}

//===-- #dist.sharding -------------------------------------------------------===//

LogicalResult ShardingAttr::verify(function_ref<InFlightDiagnostic()> emitError, ArrayAttr dims, ArrayAttr sum,
                                   ArrayAttr max) {
  auto areNames = [](ArrayAttr axes) {
    return llvm::all_of(axes, [](Attribute axis) { return isa<StringAttr>(axis); });
  };
  for (Attribute dim : dims)
    if (!isa<ArrayAttr>(dim) || !areNames(cast<ArrayAttr>(dim)))
      return emitError() << "each dimension of a sharding is a list of axes";
  if (!areNames(sum) || !areNames(max))
    return emitError() << "partial axes are a list of axes";
  return success();
}

static ParseResult parseAxes(AsmParser &parser, ArrayAttr &axes) {
  SmallVector<Attribute> names;
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Braces, [&]() -> ParseResult {
        std::string name;
        if (parser.parseKeywordOrString(&name))
          return failure();
        names.push_back(StringAttr::get(parser.getContext(), name));
        return success();
      }))
    return failure();
  axes = ArrayAttr::get(parser.getContext(), names);
  return success();
}

Attribute ShardingAttr::parse(AsmParser &parser, Type) {
  SmallVector<Attribute> dims;
  ArrayAttr sum = ArrayAttr::get(parser.getContext(), {}), max = sum;
  auto dim = [&]() -> ParseResult {
    ArrayAttr axes;
    if (parseAxes(parser, axes))
      return failure();
    dims.push_back(axes);
    return success();
  };
  if (parser.parseLess() || parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, dim) ||
      (succeeded(parser.parseOptionalKeyword("sum")) && parseAxes(parser, sum)) ||
      (succeeded(parser.parseOptionalKeyword("max")) && parseAxes(parser, max)) || parser.parseGreater())
    return {};
  return get(parser.getContext(), ArrayAttr::get(parser.getContext(), dims), sum, max);
}

static void printAxes(AsmPrinter &printer, ArrayAttr axes) {
  printer << "{";
  llvm::interleaveComma(axes, printer.getStream(),
                        [&](Attribute axis) { printer.printKeywordOrString(cast<StringAttr>(axis).getValue()); });
  printer << "}";
}

void ShardingAttr::print(AsmPrinter &printer) const {
  printer << "<[";
  llvm::interleaveComma(getDims(), printer.getStream(),
                        [&](Attribute dim) { printAxes(printer, cast<ArrayAttr>(dim)); });
  printer << "]";
  for (auto [keyword, axes] : {std::pair("sum", getSum()), std::pair("max", getMax())})
    if (!axes.empty()) {
      printer << " " << keyword << " ";
      printAxes(printer, axes);
    }
  printer << ">";
}

//===-- Ops --------------------------------------------------------------------===//

static MeshAttr meshAround(Operation *op) {
  auto module = op->getParentOfType<ModuleOp>();
  return module ? meshOf(module) : MeshAttr();
}

LogicalResult ReshardOp::verify() {
  MeshAttr mesh = meshAround(*this);
  if (!mesh)
    return emitOpError("stands in a module without `dist.mesh`");
  Sharding before = Sharding::of(getFrom()), after = Sharding::of(getTo());
  for (auto [name, sharding] : {std::pair("from", &before), std::pair("to", &after)})
    if (std::string problem = problemOf(*sharding, cast<RankedTensorType>(getInput().getType()), mesh);
        !problem.empty())
      return emitOpError("C1: `") << name << "` does not fit: " << problem;
  auto within = [](const Axes &some, const Axes &all) {
    return llvm::all_of(some, [&](StringAttr axis) { return llvm::is_contained(all, axis); });
  };
  if (!within(after.sum, before.sum) || !within(after.max, before.max))
    return emitOpError("C2: `to` has a partial axis that `from` lacks");
  return success();
}

/// Constraint C1 of all collectives; the number of ranks in a group, 0 after an error.
static int64_t verifyAxes(Operation *op, ArrayAttr axes, StringRef kind = "sum") {
  MeshAttr mesh = meshAround(op);
  auto fail = [&](const Twine &text) { return (op->emitOpError("C1: ") << text, 0); };
  if (!mesh)
    return fail("the module has no `dist.mesh`");
  Axes names;
  for (Attribute attribute : axes) {
    auto axis = cast<StringAttr>(attribute);
    if (mesh.size(axis) == 0)
      return fail("the mesh has no axis '" + axis.getValue() + "'");
    if (llvm::is_contained(names, axis))
      return fail("axis '" + axis.getValue() + "' stands twice");
    names.push_back(axis);
  }
  if (kind != "sum" && kind != "max")
    return fail("kind is neither \"sum\" nor \"max\"");
  return mesh.size(names);
}

static bool isPartOf(Type part, Type whole, int64_t dim, int64_t parts) {
  auto partType = cast<RankedTensorType>(part), wholeType = cast<RankedTensorType>(whole);
  if (dim < 0 || dim >= wholeType.getRank() || wholeType.getDimSize(dim) % parts != 0)
    return false;
  SmallVector<int64_t> shape(wholeType.getShape());
  shape[dim] /= parts;
  return partType == RankedTensorType::get(shape, wholeType.getElementType());
}

template <typename Fits> static LogicalResult verifyTypes(Operation *op, Fits fits, const char *what) {
  if (op->getNumOperands() != op->getNumResults() ||
      !llvm::all_of(llvm::zip(op->getOperandTypes(), op->getResultTypes()),
                    [&](auto pair) { return fits(std::get<0>(pair), std::get<1>(pair)); }))
    return op->emitOpError("C2: ") << what;
  return success();
}

LogicalResult AllReduceOp::verify() {
  if (!verifyAxes(*this, getAxes(), getKind()))
    return failure();
  return verifyTypes(
      *this, [](Type in, Type out) { return in == out; }, "results must have the operands' types");
}

LogicalResult ReduceScatterOp::verify() {
  int64_t ranks = verifyAxes(*this, getAxes(), getKind());
  if (!ranks)
    return failure();
  return verifyTypes(
      *this, [&](Type in, Type out) { return isPartOf(out, in, getDim(), ranks); },
      "each result must be its operand with `dim` divided by the number of ranks");
}

LogicalResult AllGatherOp::verify() {
  int64_t ranks = verifyAxes(*this, getAxes());
  if (!ranks)
    return failure();
  return verifyTypes(
      *this, [&](Type in, Type out) { return isPartOf(in, out, getDim(), ranks); },
      "each result must be its operand with `dim` multiplied by the number of ranks");
}

LogicalResult PartOp::verify() {
  int64_t ranks = verifyAxes(*this, getAxes());
  if (!ranks)
    return failure();
  return verifyTypes(
      *this, [&](Type in, Type out) { return isPartOf(out, in, getDim(), ranks); },
      "the result must be the operand with `dim` divided by the number of ranks");
}

LogicalResult IndexOp::verify() { return success(verifyAxes(*this, getAxes()) != 0); }
