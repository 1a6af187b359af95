//===- Passes.td - from local tensor ops to kernels --------------------------===//
#ifndef LLMC_PASSES_LOWERING
#define LLMC_PASSES_LOWERING

include "mlir/Pass/PassBase.td"

def LoweringOutlineKernels : Pass<"lowering-outline-kernels", "::mlir::ModuleOp"> {
  let summary = "moves all compute into named kernel functions, equal ones shared";
  let description = [{
    Each fusion group becomes a private function and a call of it; groups with equal text share one function, named after
    its main op and a hash of the text. Outer functions keep calls, views and constants.

    Input:  %t = arith.mulf %x, %y   %z = arith.addf %t, %x
    Output: %z = call @addf_1f3a(%x, %y)   func.func private @addf_1f3a(%x, %y) { mulf, addf }
  }];
  let options = [Option<"fuse", "fuse", "bool", "true", "false: one op per kernel">];
  let dependentDialects = ["::mlir::func::FuncDialect", "::llmc::plan::PlanDialect"];
}

def LoweringSelectLibrary : Pass<"lowering-select-library", "::mlir::ModuleOp"> {
  let summary = "gives each contraction its library form: matrix sizes, strides and tiles";
  let description = [{
    Runs on kernel functions that hold one nn.contract, perhaps with an added accumulator or a bias. The labels become
    batch, row, column and contracted dimensions; dimensions that do not merge into one stride become batches.

    Input:  func.func private @contract_9(%a, %b) { nn.contract %a, %b {equation = "btk,nk->btn"} }
    Output: the same with {plan.gemm = {m = 512, n = 768, k = 64, a_row = 64, a_column = 1, b_row = 1, b_column = 64, ...}}
  }];
  let options = [Option<"cores", "cores", "int64_t", "4", "cores that share a contraction's tiles">];
  let dependentDialects = ["::llmc::plan::PlanDialect", "::llmc::nn::NnDialect"];
}

def LoweringPrepareCollectives : Pass<"lowering-prepare-collectives", "::mlir::ModuleOp"> {
  let summary = "lets collectives move contiguous parts only";
  let description = [{
    An all_gather or reduce_scatter along a dimension whose parts do not lie one after the other works on the parts put
    first, by a transpose behind or before it.

    Input:  dist.all_gather %x {dim = 1} : (tensor<4x8xf32>) -> tensor<4x16xf32>
    Output: %0 = dist.all_gather %x {dim = 0} : (tensor<4x8xf32>) -> tensor<8x8xf32>
            %1 = tensor.expand_shape %0 [[0, 1], [2]] : to tensor<2x4x8xf32>
            %2 = nn.transpose %1 {permutation = [1, 0, 2]}   tensor.collapse_shape %2 [[0], [1, 2]] : to tensor<4x16xf32>
  }];
  let dependentDialects = ["::llmc::nn::NnDialect", "::mlir::tensor::TensorDialect"];
}

def LoweringPrepareContractions : Pass<"lowering-prepare-contractions", "::mlir::ModuleOp"> {
  let summary = "transposes operands of contractions that no strided matrix product can read";
  let description = [{
    A contraction whose contracted dimensions do not merge into one stride, or whose result has neither rows nor columns
    innermost, gets explicit transposes.

    Input:  nn.contract %a, %b {equation = "akc,knc->an"}
    Output: %t = nn.transpose %b {permutation = [1, 0, 2]}   nn.contract %a, %t {equation = "akc,nkc->an"}
  }];
  let dependentDialects = ["::llmc::nn::NnDialect"];
}

def LoweringOrderSums : Pass<"lowering-order-sums", "::mlir::ModuleOp"> {
  let summary = "orders sums so that matrix products and scatters add in place";
  let description = [{
    A tree of single-use additions is rebuilt: first a value that dies there (a gradient accumulator, or any value without
    another user), then the matrix products in program order, then the rest, scatters last. So each product can add to what
    is there already.

    Input:  %p = nn.contract %a, %b   %q = nn.contract %c, %d   %s = arith.addf %p, %q   %t = arith.addf %accumulator, %s
    Output: %s = arith.addf %accumulator, %p   %t = arith.addf %s, %q
  }];
}

def LoweringExpandLoss : Pass<"lowering-expand-loss", "::mlir::ModuleOp"> {
  let summary = "walks head and cross-entropy over chunks of rows, loss and gradients together";
  let description = [{
    The logits of a chunk stay within `chunk-bytes`; they are made once for the loss and all gradients where what the loss is
    weighted with is known before it (1, or one over the number of labels). Where ranks have parts of the classes, each chunk
    sends its log-sum-exps, which are little, rather than have its logits made again.

    Input:  %sum, %count, %lse = nn.linear_cross_entropy %x, %w, %labels   ...   nn.linear_cross_entropy_backward
    Output: for each chunk: %xs = tensor.extract_slice %x   %l = nn.contract %xs, %w   nn.cross_entropy %l, %ls
            %dl = nn.cross_entropy_backward %l, ...   %dx = nn.contract %dl, %w   %dw = arith.addf %dw, (nn.contract %dl, %xs)
  }];
  let options = [Option<"chunkBytes", "chunk-bytes", "int64_t", "134217728", "most bytes of logits alive at once">];
  let dependentDialects = ["::llmc::nn::NnDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

#endif // LLMC_PASSES_LOWERING
