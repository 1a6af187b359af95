//===- PrepareCollectives.cpp - lowering-prepare-collectives ------------------------===//
//
// With o the product of the dimensions before `dim`, n the number of ranks and i what is inside of a part:
//   all_gather      [o, i] on each rank -> [n, o, i] -> transposed to [o, n, i]
//   reduce_scatter  [o, n, i] -> transposed to [n, o, i] -> [o, i] on each rank
//
//===----------------------------------------------------------------------===//
#include "dialects/dist/Dist.h"
#include "dialects/nn/Nn.h"
#include "passes/analysis/FusionGroups.h"
#include "passes/lowering/Passes.h"

namespace llmc::lowering {
#define GEN_PASS_DEF_LOWERINGPREPARECOLLECTIVES
#include "passes/lowering/Passes.h.inc"
} // namespace llmc::lowering

using namespace mlir;
using namespace llmc;

namespace {

/// Sizes of a part of dimension `dim` of `type`: outside, inside.
std::pair<int64_t, int64_t> sizesOf(RankedTensorType type, int64_t dim) {
  int64_t outer = 1;
  for (int64_t size : type.getShape().take_front(dim))
    outer *= size;
  return {outer, outer == 0 ? 0 : type.getNumElements() / outer};
}

struct PrepareCollectives : lowering::impl::LoweringPrepareCollectivesBase<PrepareCollectives> {
  void runOnOperation() override {
    getOperation().walk([&](dist::AllGatherOp op) { prepare(op); });
    getOperation().walk([&](dist::ReduceScatterOp op) { prepare(op); });
  }

  static bool isPrepared(ValueRange values, int64_t dim) {
    return llvm::all_of(values, [&](Value value) { return analysis::isOutermost(nn::typeOf(value), dim); });
  }

  static void prepare(dist::AllGatherOp op) {
    auto dim = static_cast<int64_t>(op.getDim());
    if (isPrepared(op.getInputs(), dim))
      return;
    OpBuilder b(op);
    Location loc = op.getLoc();
    SmallVector<Value> inputs;
    SmallVector<Type> types;
    for (auto [input, output] : llvm::zip_equal(op.getInputs(), op.getOutputs())) {
      auto [outer, inner] = sizesOf(nn::typeOf(input), dim);
      int64_t ranks = nn::typeOf(output).getDimSize(dim) / nn::typeOf(input).getDimSize(dim);
      inputs.push_back(nn::reshape(b, loc, input, {outer, inner}));
      types.push_back(RankedTensorType::get({ranks * outer, inner}, nn::typeOf(input).getElementType()));
    }
    auto gather = dist::AllGatherOp::create(b, loc, types, inputs, op.getAxesAttr(), b.getI64IntegerAttr(0), op.getReasonAttr());
    for (auto [input, output, gathered] : llvm::zip_equal(op.getInputs(), op.getOutputs(), gather.getOutputs())) {
      auto [outer, inner] = sizesOf(nn::typeOf(input), dim);
      Value parts = nn::reshape(b, loc, gathered, {nn::typeOf(gathered).getDimSize(0) / outer, outer, inner});
      Value whole = nn::TransposeOp::create(b, loc, parts, ArrayRef<int64_t>{1, 0, 2});
      output.replaceAllUsesWith(nn::reshape(b, loc, whole, nn::typeOf(output).getShape()));
    }
    op.erase();
  }

  static void prepare(dist::ReduceScatterOp op) {
    auto dim = static_cast<int64_t>(op.getDim());
    if (isPrepared(op.getInputs(), dim))
      return;
    OpBuilder b(op);
    Location loc = op.getLoc();
    SmallVector<Value> inputs;
    SmallVector<Type> types;
    for (auto [input, output] : llvm::zip_equal(op.getInputs(), op.getOutputs())) {
      auto [outer, inner] = sizesOf(nn::typeOf(output), dim);
      int64_t ranks = nn::typeOf(input).getDimSize(dim) / nn::typeOf(output).getDimSize(dim);
      Value parts = nn::reshape(b, loc, input, {outer, ranks, inner});
      Value first = nn::TransposeOp::create(b, loc, parts, ArrayRef<int64_t>{1, 0, 2});
      inputs.push_back(nn::reshape(b, loc, first, {ranks * outer, inner}));
      types.push_back(RankedTensorType::get({outer, inner}, nn::typeOf(input).getElementType()));
    }
    auto scatter = dist::ReduceScatterOp::create(b, loc, types, inputs, op.getAxesAttr(), b.getI64IntegerAttr(0), op.getKindAttr(),
                                                 op.getReasonAttr());
    for (auto [output, part] : llvm::zip_equal(op.getOutputs(), scatter.getOutputs()))
      output.replaceAllUsesWith(nn::reshape(b, loc, part, nn::typeOf(output).getShape()));
    op.erase();
  }
};

} // namespace
