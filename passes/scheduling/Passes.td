//===- Passes.td - from kernel calls to a plan ----------------------------===//
#ifndef LLMC_PASSES_SCHEDULING
#define LLMC_PASSES_SCHEDULING

include "mlir/Pass/PassBase.td"

def SchedulingAssignBuffers : Pass<"scheduling-assign-buffers", "::mlir::ModuleOp"> {
  let summary = "gives every value an address and every call its instructions";
  let description = [{
    State (parameters, optimizer state, accumulators, scalars) gets fixed buffers shared by all segments; a kernel whose
    result is new state writes it in place where its form allows, else a copy follows. Temporaries share one arena: the
    largest are placed first, each at the lowest offset that is free during its life.

    Input:  func.func @evaluate(%x {train.role = "input"}) -> (... {train.role = "output"}) { %y = call @k(%x)  return %y }
    Output: plan.segment @evaluate { plan.launch @k 0 [#plan.operand<@x, 0, 64, "read">, #plan.operand<@y, 0, 64, "write">] }
  }];
  let dependentDialects = ["::llmc::plan::PlanDialect"];
}

#endif // LLMC_PASSES_SCHEDULING
