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

def ShrinkSizes : Pass<"shrink-sizes", "::mlir::ModuleOp"> {
  let summary = "makes dimensions smaller, all that have one size for one reason alike";
  let description = [{
    Factor rules say which dimensions of a model are one: hidden sizes of all layers, the vocabulary of embedding and head,
    positions of inputs and masks. Where one op splits a dimension, as 4096 into 32 heads of 128, it is split everywhere. Each of
    these sizes above 32 becomes the smallest that equals it modulo 16 and the number of ranks, so that what divides it still
    does and what is padded still is; the larger of two stays the larger. Parts of a fused weight stay equal parts, and a slice
    that leaves one element out still leaves one out. Constants keep their first elements. Kept as they are: the batch, rotated
    dimensions, dimensions that computed indices look into, and what is cut in ways that do not agree. Parameters whose value is
    in a file get another one, for which the recipe is given an `init`.

    `train.left_out` on the module says which sizes became which.

    Input:  gather tensor<50257x768xf32>, contract tensor<768x3072xf32>
    Output: gather tensor<65x48xf32>, contract tensor<48x64xf32>
  }];
}

#endif // LLMC_PASSES_SHRINK
