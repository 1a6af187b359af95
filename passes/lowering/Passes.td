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
  let dependentDialects = ["::llmc::plan::PlanDialect", "::llmc::nn::NnDialect"];
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

#endif // LLMC_PASSES_LOWERING
