//===- PrepareContractions.cpp - lowering-prepare-contractions ----------------------===//
#include "mlir/IR/PatternMatch.h"
#include "passes/analysis/GemmForm.h"
#include "passes/lowering/Passes.h"

namespace llmc::lowering {
#define GEN_PASS_DEF_LOWERINGPREPARECONTRACTIONS
#include "passes/lowering/Passes.h.inc"
} // namespace llmc::lowering

using namespace mlir;
using namespace llmc;

namespace {

/// The value with its dimensions in the order of `to`.
Value permuted(OpBuilder &builder, Location loc, Value value, StringRef from, StringRef to) {
  SmallVector<int64_t> permutation;
  for (char label : to)
    permutation.push_back(from.find(label));
  return builder.createOrFold<nn::TransposeOp>(loc, value, permutation);
}

struct PrepareContractions : lowering::impl::LoweringPrepareContractionsBase<PrepareContractions> {
  void runOnOperation() override {
    SmallVector<nn::ContractOp> ops;
    getOperation().walk([&](nn::ContractOp op) {
      if (!analysis::gemmFormOf(op))
        ops.push_back(op);
    });
    for (nn::ContractOp op : ops)
      rewrite(op);
  }

  /// Batches first, then rows or columns, then contracted: [b, m, k] x [b, n, k] -> [b, m, n], and back.
  void rewrite(nn::ContractOp op) {
    std::string lhs = op.lhsLabels().str(), rhs = op.rhsLabels().str(), result = op.resultLabels().str();
    std::string batch, rows, columns, contracted;
    for (char label : result) {
      bool inLhs = StringRef(lhs).contains(label), inRhs = StringRef(rhs).contains(label);
      (inLhs && inRhs ? batch : inLhs ? rows : columns).push_back(label);
    }
    for (char label : lhs)
      if (!StringRef(result).contains(label))
        contracted.push_back(label);
    OpBuilder builder(op);
    Value a = permuted(builder, op.getLoc(), op.getLhs(), lhs, batch + rows + contracted);
    Value b = permuted(builder, op.getLoc(), op.getRhs(), rhs, batch + columns + contracted);
    std::string equation = batch + rows + contracted + "," + batch + columns + contracted + "->" + batch + rows + columns;
    Value product = nn::ContractOp::create(builder, op.getLoc(), equation, a, b);
    op.replaceAllUsesWith(permuted(builder, op.getLoc(), product, batch + rows + columns, result));
    op.erase();
  }
};

} // namespace
