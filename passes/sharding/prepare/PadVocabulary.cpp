//===- PadVocabulary.cpp - sharding-pad-vocabulary ------------------------------===//
//
// Entries are added behind the classes of a head, and behind the rows of tables with as many. They are zeros and stay
// so: no id names them, and a bias of -1e30 keeps them out of the softmax, whose derivative is then zero there.
//
//===----------------------------------------------------------------------===//
#include "dialects/nn/Nn.h"
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/sharding/Passes.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/MathExtras.h"

namespace llmc::sharding {
#define GEN_PASS_DEF_SHARDINGPADVOCABULARY
#include "passes/sharding/Passes.h.inc"
} // namespace llmc::sharding

using namespace mlir;
using namespace llmc;

namespace {

/// Parts of whole cache lines for matrix products if that costs less than a hundredth, else the least that divides.
int64_t paddedSize(int64_t size, int64_t parts) {
  int64_t aligned = static_cast<int64_t>(llvm::alignTo(size, 64 * parts));
  return (aligned - size) * 100 <= size ? aligned : static_cast<int64_t>(llvm::alignTo(size, parts));
}

class Padder {
public:
  Padder(func::FuncOp function, int64_t parts) : function(function), parts(parts) {}

  void run() {
    for (auto loss : llvm::make_early_inc_range(function.getOps<nn::LinearCrossEntropyOp>()))
      pad(loss);
  }

private:
  bool isParameter(Value value) {
    auto argument = dyn_cast<BlockArgument>(value);
    return argument && train::argumentString(function, argument.getArgNumber(), train::kRole) == train::kParam &&
           !function.getArgAttr(argument.getArgNumber(), train::kView);
  }

  /// Negative ids count from the end, which moves.
  bool isFromStart(Value ids) {
    auto argument = dyn_cast<BlockArgument>(ids);
    return argument && function.getArgAttr(argument.getArgNumber(), train::kLimit);
  }

  /// Whether rows or columns may be added to `parameter` along `dim`: all its readers find rows by number, or are
  /// products whose results have the dimension.
  bool mayBePadded(Value parameter, int64_t dim) {
    return isParameter(parameter) && llvm::all_of(parameter.getUsers(), [&](Operation *user) {
             if (auto gather = dyn_cast<nn::GatherOp>(user))
               return dim == 0 && isFromStart(gather.getIndices());
             if (auto contract = dyn_cast<nn::ContractOp>(user))
               return labelInResult(contract, parameter, dim) != StringRef::npos &&
                      contract.getLhs() != contract.getRhs();
             auto loss = dyn_cast<nn::LinearCrossEntropyOp>(user);
             return loss && (loss.getWeightMatrix() == parameter ? dim == (loss.getVocabularyLast() ? 1 : 0)
                                                                 : loss.getBias() == parameter);
           });
  }

  static size_t labelInResult(nn::ContractOp contract, Value parameter, int64_t dim) {
    StringRef labels = contract.getRhs() == parameter ? contract.rhsLabels() : contract.lhsLabels();
    return contract.resultLabels().find(labels[dim]);
  }

  void pad(nn::LinearCrossEntropyOp loss) {
    int64_t dim = loss.getVocabularyLast() ? 1 : 0, classes = nn::typeOf(loss.getWeightMatrix()).getDimSize(dim);
    if (classes % parts == 0 || !mayBePadded(loss.getWeightMatrix(), dim) ||
        (loss.getBias() && !mayBePadded(loss.getBias(), 0)))
      return;
    int64_t size = paddedSize(classes, parts);
    llvm::MapVector<Value, int64_t> padded;
    padded.insert({loss.getWeightMatrix(), dim});
    for (auto gather : function.getOps<nn::GatherOp>())
      if (Value table = gather.getTable(); nn::typeOf(table).getDimSize(0) == classes && mayBePadded(table, 0))
        padded.insert({table, 0});
    if (loss.getBias())
      padded.insert({loss.getBias(), 0});
    for (auto [parameter, d] : padded)
      padArgument(cast<BlockArgument>(parameter), d, size);
    OpBuilder b(loss);
    Value bias = maskOf(classes, size, nn::typeOf(loss.getWeightMatrix()).getElementType());
    if (loss.getBias())
      bias = arith::AddFOp::create(b, loss.getLoc(), loss.getBias(), bias);
    auto masked = nn::LinearCrossEntropyOp::create(
        b, loss.getLoc(), loss->getResultTypes(), loss.getInput(), loss.getWeightMatrix(), loss.getLabels(), bias,
        loss.getIgnoreIndexAttr(), loss.getVocabularyLastAttr(), loss.getPartsAttr());
    loss.replaceAllUsesWith(masked);
    loss.erase();
  }

  /// The argument with `size` entries along `dim`; products with it are cut back to what they were.
  void padArgument(BlockArgument argument, int64_t dim, int64_t size) {
    OpBuilder b(function.getContext());
    unsigned i = argument.getArgNumber();
    RankedTensorType logical = nn::typeOf(argument);
    SmallVector<int64_t> shape(logical.getShape());
    shape[dim] = size;
    function.setArgAttr(i, train::kShape, b.getDenseI64ArrayAttr(logical.getShape()));
    function.setArgAttr(i, train::kView,
                        b.getArrayAttr(b.getDictionaryAttr(b.getNamedAttr("pad", b.getDenseI64ArrayAttr(shape)))));
    argument.setType(logical.clone(shape));
    for (Operation *user : llvm::make_early_inc_range(argument.getUsers()))
      if (auto contract = dyn_cast<nn::ContractOp>(user))
        cutBack(contract, labelInResult(contract, argument, dim), size);
    updateType();
  }

  void cutBack(nn::ContractOp contract, size_t dim, int64_t size) {
    OpBuilder b(contract->getContext());
    b.setInsertionPointAfter(contract);
    RankedTensorType type = nn::typeOf(contract.getResult());
    SmallVector<OpFoldResult> offsets, sizes, ones(type.getRank(), b.getIndexAttr(1));
    for (int64_t extent : type.getShape()) {
      offsets.push_back(b.getIndexAttr(0));
      sizes.push_back(b.getIndexAttr(extent));
    }
    SmallVector<int64_t> shape(type.getShape());
    shape[dim] = size;
    contract.getResult().setType(type.clone(shape));
    auto own = tensor::ExtractSliceOp::create(b, contract.getLoc(), type, contract.getResult(), offsets, sizes, ones);
    contract.getResult().replaceAllUsesExcept(own, own);
  }

  void updateType() {
    function.setType(FunctionType::get(function.getContext(), function.getBody().front().getArgumentTypes(),
                                       function.getResultTypes()));
  }

  /// Zeros, and -1e30 for what is padded.
  Value maskOf(int64_t classes, int64_t size, Type element) {
    Builder b(function.getContext());
    SmallVector<Attribute> values(classes, b.getFloatAttr(element, 0.0));
    values.resize(size, b.getFloatAttr(element, -1e30));
    auto type = RankedTensorType::get({size}, element);
    std::string name = "padding." + std::to_string(classes);
    if (int64_t known = train::findArgument(function, name, train::kConstant); known >= 0)
      return function.getArgument(static_cast<unsigned>(known));
    NamedAttrList attributes(train::nameAndRole(function.getContext(), name, train::kConstant));
    attributes.set(train::kValue, DenseElementsAttr::get(type, values));
    unsigned index = function.getNumArguments();
    (void)function.insertArgument(index, type, attributes.getDictionary(function.getContext()), function.getLoc());
    return function.getArgument(index);
  }

  func::FuncOp function;
  int64_t parts;
};

struct PadVocabulary : sharding::impl::ShardingPadVocabularyBase<PadVocabulary> {
  void runOnOperation() override {
    int64_t parts = 1;
    for (auto &[axis, size] : train::recipeOf(getOperation()).mesh)
      parts = axis == "tp" ? size : parts;
    if (parts > 1)
      for (auto function : getOperation().getOps<func::FuncOp>())
        Padder(function, parts).run();
  }
};

} // namespace
