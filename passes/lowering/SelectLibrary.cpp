//===- SelectLibrary.cpp - lowering-select-library ------------------------------------===//
#include "dialects/plan/Plan.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "passes/analysis/GemmForm.h"
#include "passes/lowering/Passes.h"

namespace llmc::lowering {
#define GEN_PASS_DEF_LOWERINGSELECTLIBRARY
#include "passes/lowering/Passes.h.inc"
} // namespace llmc::lowering

using namespace mlir;
using namespace llmc;
using namespace llmc::analysis;

namespace {

// The largest tiles that keep to the second-level cache with their packed operands; smaller ones only to have work for all
// cores. Two per core, since cores are seldom equally fast.
constexpr int64_t kTileRows = 384, kTileColumns = 384, kTilesPerCore = 2, kSmallestTile = 64;
constexpr int64_t kTileStep = 32; // tiles are packed in panels of so many rows and columns

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// As few parts as `most` allows, of equal size: each part packs the other operand again, which a narrow one does not repay.
int64_t evenPart(int64_t size, int64_t most) {
  return std::min(size, ceilDiv(ceilDiv(size, ceilDiv(size, most)), kTileStep) * kTileStep);
}

/// Tile sizes for an m x n result with `batches` matrices, at least `wanted` tiles where they do not become too small.
std::pair<int64_t, int64_t> tilesOf(int64_t m, int64_t n, int64_t batches, int64_t wanted) {
  int64_t rows = evenPart(m, kTileRows), columns = evenPart(n, kTileColumns);
  while (batches * ceilDiv(m, rows) * ceilDiv(n, columns) < wanted && std::max(rows, columns) > kSmallestTile) {
    int64_t &larger = rows >= columns ? rows : columns;
    larger = ceilDiv(ceilDiv(larger, 2), 16) * 16;
  }
  return {rows, columns};
}

Value throughViews(Value value) {
  while (Operation *op = value.getDefiningOp())
    value = op->getOperand(0);
  return value;
}

struct SelectLibrary : lowering::impl::LoweringSelectLibraryBase<SelectLibrary> {
  using LoweringSelectLibraryBase::LoweringSelectLibraryBase;

  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      auto kind = function->getAttrOfType<StringAttr>(plan::kKernel);
      if (kind && kind.getValue() == "gemm" && failed(select(function)))
        return signalPassFailure();
    }
  }

  LogicalResult select(func::FuncOp function) {
    auto op = *function.getOps<nn::ContractOp>().begin();
    std::optional<GemmForm> form = gemmFormOf(op);
    if (!form)
      return op.emitError() << "contraction " << op.getEquation()
                            << " is no strided matrix product; lowering-prepare-contractions "
                            << "should have transposed its operands";
    Builder b(&getContext());
    int64_t batches = 1;
    for (int64_t size : form->batch)
      batches *= size;
    auto [tileM, tileN] = tilesOf(form->m, form->n, batches, kTilesPerCore * cores);
    // Which argument is A, which B.
    auto indexOf = [&](Value v) { return cast<BlockArgument>(v).getArgNumber(); };
    SmallVector<NamedAttribute> fields;
    auto set = [&](StringRef name, int64_t value) {
      fields.push_back(b.getNamedAttr(name, b.getI64IntegerAttr(value)));
    };
    auto setList = [&](StringRef name, ArrayRef<int64_t> value) {
      fields.push_back(b.getNamedAttr(name, b.getDenseI64ArrayAttr(value)));
    };
    set("a", indexOf(form->swapped ? op.getRhs() : op.getLhs()));
    set("b", indexOf(form->swapped ? op.getLhs() : op.getRhs()));
    set("m", form->m), set("n", form->n), set("k", form->k);
    setList("batch", form->batch), setList("a_batch", form->aBatch), setList("b_batch", form->bBatch),
        setList("c_batch", form->cBatch);
    set("a_row", form->aRow), set("a_column", form->aColumn), set("b_row", form->bRow), set("b_column", form->bColumn),
        set("c_row", form->cRow);
    set("tile_m", tileM), set("tile_n", tileN);
    set("flops", op.getFlops());
    if (auto add =
            op.getResult().hasOneUse() ? dyn_cast<arith::AddFOp>(*op.getResult().user_begin()) : arith::AddFOp()) {
      Value other = add.getLhs() == op.getResult() ? add.getRhs() : add.getLhs();
      auto bias = other.getDefiningOp<nn::BroadcastOp>();
      set(bias ? "bias" : "accumulate", indexOf(bias ? throughViews(bias.getInput()) : other));
    }
    fields.push_back(b.getNamedAttr("type", TypeAttr::get(nn::typeOf(op.getResult()).getElementType())));
    function->setAttr(plan::kGemm, b.getDictionaryAttr(fields));
    return success();
  }
};

} // namespace
