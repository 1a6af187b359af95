//===- Passes.td - what is computed again instead of being kept --------------===//
#ifndef LLMC_PASSES_REMAT
#define LLMC_PASSES_REMAT

include "mlir/Pass/PassBase.td"

def RematRecomputeCheap : Pass<"remat-recompute-cheap", "::mlir::ModuleOp"> {
  let summary = "recomputes activations and norms in the backward pass where their operands are there anyway";
  let description = [{
    A value that is made before the peak of memory and read after it, by an elementwise op, activation or norm whose operands
    are still alive where it is read, is computed again there: one pass over memory instead of bytes held from the forward to
    the backward pass. The numbers are the same bits. The recipe's `memory.recompute: none` keeps everything.

    Input:  %a = nn.gelu %x   ... the peak ...   %dw = nn.contract %dy, %a   %dx = (derivative of gelu at %x)
    Output: %a = nn.gelu %x   ... the peak ...   %again = nn.gelu %x   %dw = nn.contract %dy, %again   %dx = ...
  }];
  let options = [Option<"minBytes", "min-bytes", "int64_t", "65536", "smaller values are kept">];
}

#endif // LLMC_PASSES_REMAT
