//===- Passes.td - passes of code generation ---------------------------------===//
#ifndef LLMC_COMPILER_CODEGEN_PASSES
#define LLMC_COMPILER_CODEGEN_PASSES

include "mlir/Pass/PassBase.td"

def CodegenDescribeKernels : Pass<"codegen-describe-kernels", "::mlir::ModuleOp"> {
  let summary = "gives each fused kernel its stages, scratch and aliases; splits kernels that no generator covers";
  let description = [{
    What the planner needs to know of a kernel's code, without generating it. A kernel of several ops that has no form as a
    whole becomes kernels of one op each; if one of those has no form either, that is an error that names the op.

    Input:  func.func private @k(%x) attributes {plan.kernel = "fused"} { math.exp }
    Output: the same with plan.stages: one stage, its workgroups, operands (input 0 read, output 0 written), no scratch, and
            that output 0 may take the storage of input 0
  }];
  let dependentDialects = ["::llmc::plan::PlanDialect", "::mlir::func::FuncDialect"];
}

#endif // LLMC_COMPILER_CODEGEN_PASSES
