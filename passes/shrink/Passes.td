//===- Passes.td - a model of the same structure that is small enough to be verified ---===//
#ifndef LLMC_PASSES_SHRINK
#define LLMC_PASSES_SHRINK

include "mlir/Pass/PassBase.td"

def ShrinkKeepBlocks : Pass<"shrink-keep-blocks", "::mlir::ModuleOp"> {
  let summary = "keeps one of each block that a model repeats";
  let description = [{
    A cut is a value through which everything goes that depends on inputs and on parameters. What lies between two cuts is
    compared with what lies between earlier ones, as structure: ops, attributes, types, and which operand is what; parameters
    that nothing else reads may differ in name and value, but not in what the recipe says of them. A run of them that equals an
    earlier run, and whose input and output have one type, is a repeated block: its output becomes its input, and its parameters
    go. `train.left_out` on the module says what was kept and what went, one line for each kind of block.

    Input:  %1 = block(%0, %a)   %2 = block(%1, %b)   %3 = block(%2, %c)   return head(%3)
    Output: %1 = block(%0, %a)   return head(%1)      train.left_out = ["1 of 3 equal blocks is kept, a; left out: b, c"]
  }];
}

#endif // LLMC_PASSES_SHRINK
