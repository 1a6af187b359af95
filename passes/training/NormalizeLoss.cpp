//===- NormalizeLoss.cpp - training-normalize-loss ----------------------------===//
#include "dialects/nn/Nn.h"
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/training/Passes.h"

namespace llmc::training {
#define GEN_PASS_DEF_TRAININGNORMALIZELOSS
#include "passes/training/Passes.h.inc"
} // namespace llmc::training

using namespace mlir;
using namespace llmc;

namespace {

/// Sum and weight, if `loss` is their quotient and both come from one cross-entropy.
std::optional<std::pair<Value, Value>> crossEntropyParts(Value loss) {
  auto quotient = nn::throughReshapes(loss).getDefiningOp<arith::DivFOp>();
  if (!quotient)
    return std::nullopt;
  Value sum = nn::throughReshapes(quotient.getLhs()), weight = nn::throughReshapes(quotient.getRhs());
  Operation *op = sum.getDefiningOp();
  if (!isa_and_nonnull<nn::CrossEntropyOp, nn::LinearCrossEntropyOp>(op) || sum != op->getResult(0) || weight != op->getResult(1))
    return std::nullopt;
  return std::pair(sum, weight);
}

struct NormalizeLoss : training::impl::TrainingNormalizeLossBase<NormalizeLoss> {
  void runOnOperation() override {
    auto forward = getOperation().lookupSymbol<func::FuncOp>(train::kForward);
    auto ret = cast<func::ReturnOp>(forward.getBody().front().getTerminator());
    OpBuilder b(ret);
    Value loss = nn::reshape(b, ret.getLoc(), ret.getOperand(0), {});
    auto [sum, weight] = partsOf(b, forward, loss);
    forward.setType(FunctionType::get(&getContext(), forward.getArgumentTypes(), {sum.getType(), weight.getType()}));
    ret->setOperands({sum, weight});
    SmallVector<DictionaryAttr> attributes = {train::nameAndRole(&getContext(), "loss_sum", train::kOutput),
                                              train::nameAndRole(&getContext(), "weight", train::kOutput)};
    forward.setAllResultAttrs(attributes);
  }

  std::pair<Value, Value> partsOf(OpBuilder &b, func::FuncOp forward, Value loss) {
    Location loc = loss.getLoc();
    if (train::recipeOf(getOperation()).lossAverage == train::LossAverage::MicroBatch)
      return {loss, nn::splat(b, loc, loss.getType(), 1.0)};
    if (auto parts = crossEntropyParts(loss))
      return *parts;
    int64_t samples = 1;
    for (unsigned i = 0; i < forward.getNumArguments(); ++i)
      if (train::argumentString(forward, i, train::kRole) == train::kInput) {
        samples = cast<RankedTensorType>(forward.getArgumentTypes()[i]).getDimSize(0);
        break;
      }
    emitRemark(loc) << "the loss is no cross-entropy that the compiler knows: micro-batches are weighted by their samples";
    Value weight = nn::splat(b, loc, loss.getType(), static_cast<double>(samples));
    return {arith::MulFOp::create(b, loc, loss, weight), weight};
  }
};

} // namespace
