//===- Plan.td - the per-rank program, 1:1 with the plan file --------------===//
#ifndef LLMC_DIALECTS_PLAN
#define LLMC_DIALECTS_PLAN

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/SymbolInterfaces.td"

def Plan_Dialect : Dialect {
  let name = "plan";
  let cppNamespace = "::llmc::plan";
  let summary = "when each instruction runs and at which address";
  let description = [{
    Level `plan`: arenas, buffers with their final addresses, and segments of instructions. Each op is one table of the plan
    file (runtime/plan/Plan.fbs), which documents the fields. Made by `scheduling-assign-buffers`, read by the target writer.
    Kernel functions stay in the module beside it until code generation.
  }];
  let useDefaultAttributePrinterParser = 1;
}

class Plan_Op<string mnemonic, list<Trait> traits = []> : Op<Plan_Dialect, mnemonic, traits>;

def Plan_OperandAttr : AttrDef<Plan_Dialect, "Operand"> {
  let mnemonic = "operand";
  let summary = "bytes of a buffer that an instruction touches; access is read, write or readwrite";
  let parameters = (ins "::mlir::FlatSymbolRefAttr":$buffer, "uint64_t":$offset, "uint64_t":$bytes, "::mlir::StringAttr":$access);
  let assemblyFormat = "`<` $buffer `,` $offset `,` $bytes `,` $access `>`";
}

def Plan_ArenaOp : Plan_Op<"arena", [Symbol]> {
  let summary = "one contiguous allocation; kind is state, slot, scratch, input, output or constant";
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$kind, I64Attr:$bytes);
  let assemblyFormat = "$sym_name $kind $bytes attr-dict";
}

def Plan_GroupsOp : Plan_Op<"groups", [Symbol]> {
  let summary = "all ranks, divided into groups of `size`: one group after the other in `ranks`";
  let description = [{
    A rank's place is its position in its group. `axes` are those of the mesh in which the members differ.

    Example: plan.groups @groups.tp ["tp"] 2 [0, 1, 2, 3]
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrArrayAttr:$axes, I64Attr:$size, DenseI64ArrayAttr:$ranks);
  let assemblyFormat = "$sym_name $axes $size $ranks attr-dict";
}

def Plan_BufferOp : Plan_Op<"buffer", [Symbol]> {
  let summary = "a tensor at its address";
  let description = [{
    `first` and `last` are positions in the program's instructions, all segments in the order of the schedule counted through;
    a buffer without them is alive throughout. `alias_of` is the buffer whose storage this one is a part of; with
    `place_groups` the rank's own part: `place * place_stride` bytes after `offset`. State may say its `dist.sharding`,
    and that of a parameter its `train.view` if it is not the parameter's.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, FlatSymbolRefAttr:$arena, I64Attr:$offset, TypeAttr:$type, StrAttr:$category,
                       OptionalAttr<StrAttr>:$segment, DefaultValuedAttr<I64Attr, "0">:$first, DefaultValuedAttr<I64Attr, "0">:$last,
                       OptionalAttr<FlatSymbolRefAttr>:$alias_of, OptionalAttr<ElementsAttr>:$value,
                       OptionalAttr<FlatSymbolRefAttr>:$place_groups, DefaultValuedAttr<I64Attr, "0">:$place_stride);
  let assemblyFormat = "$sym_name $arena $offset `:` $type $category attr-dict";
}

def Plan_SegmentOp : Plan_Op<"segment", [Symbol, NoTerminator, SingleBlock, NoRegionArguments]> {
  let summary = "a straight line of instructions that the schedule can call";
  let arguments = (ins SymbolNameAttr:$sym_name);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name attr-dict-with-keyword $body";
}

class Plan_Instruction<string mnemonic> : Plan_Op<mnemonic, [HasParent<"SegmentOp">]>;

def Plan_LaunchOp : Plan_Instruction<"launch"> {
  let summary = "runs one stage of a kernel over its workgroups";
  let arguments = (ins FlatSymbolRefAttr:$kernel, I64Attr:$stage, ArrayAttr:$operands, I64Attr:$flops);
  let assemblyFormat = "$kernel $stage $operands $flops attr-dict";
}
def Plan_GemmOp : Plan_Instruction<"gemm"> {
  let summary = "a contraction by the library, cut into tiles; `shape` holds the fields of the plan file's Gemm table";
  let arguments = (ins DictionaryAttr:$shape, ArrayAttr:$operands, I64Attr:$flops);
  let assemblyFormat = "$shape $operands $flops attr-dict";
}
def Plan_CopyOp : Plan_Instruction<"copy"> {
  let summary = "copies bytes: destination, source";
  let description = [{
    With `rows`, as many blocks of `unit` bytes, which the source has `from_stride` bytes apart, from the rank's place times
    `unit` on, and the destination side by side.
  }];
  let arguments = (ins ArrayAttr:$operands, OptionalAttr<I64Attr>:$rows, DefaultValuedAttr<I64Attr, "0">:$unit,
                       DefaultValuedAttr<I64Attr, "0">:$from_stride, OptionalAttr<FlatSymbolRefAttr>:$place_groups);
  let assemblyFormat = "$operands attr-dict";
}
def Plan_CollectiveOp : Plan_Instruction<"collective"> {
  let summary = "moves or reduces tensors between the ranks of a group; operands in pairs: from, to";
  let description = [{
    `kind` is all_reduce, all_gather or reduce_scatter; `reduction` is sum or max. With an `event` it runs beside the
    instructions that follow, until the plan.wait for that event.
  }];
  let arguments = (ins StrAttr:$kind, FlatSymbolRefAttr:$groups, TypeAttr:$type, StrAttr:$reduction, StrAttr:$reason, ArrayAttr:$operands,
                       OptionalAttr<I64Attr>:$event);
  let assemblyFormat = "$kind $groups $operands attr-dict";
}
def Plan_FillOp : Plan_Instruction<"fill"> {
  let summary = "repeats a pattern of `width` bytes over the destination";
  let arguments = (ins I64Attr:$pattern, I64Attr:$width, ArrayAttr:$operands);
  let assemblyFormat = "$pattern $width $operands attr-dict";
}

def Plan_WaitOp : Plan_Instruction<"wait"> {
  let summary = "waits for the collective of an event; operands are its own";
  let arguments = (ins I64Attr:$event, ArrayAttr:$operands);
  let assemblyFormat = "$event $operands attr-dict";
}

def Plan_ParameterOp : Plan_Op<"parameter"> {
  let summary = "a logical parameter: its buffer, gradient, optimizer states, initial value and, if another, logical shape and `train.view`";
  let arguments = (ins StrAttr:$name, FlatSymbolRefAttr:$buffer, OptionalAttr<FlatSymbolRefAttr>:$gradient,
                       DictionaryAttr:$states, DictionaryAttr:$init, BoolAttr:$trainable, BoolAttr:$decay, ArrayAttr:$aliases,
                       OptionalAttr<DenseI64ArrayAttr>:$shape, OptionalAttr<ArrayAttr>:$view);
  let assemblyFormat = "$name $buffer attr-dict";
}
def Plan_ScalarOp : Plan_Op<"scalar"> {
  let summary = "a scalar of the state, with its initial value";
  let arguments = (ins StrAttr:$name, FlatSymbolRefAttr:$buffer, F64Attr:$initial, BoolAttr:$settable);
  let assemblyFormat = "$name $buffer attr-dict";
}
def Plan_InputOp : Plan_Op<"input", [HasParent<"SegmentOp">]> {
  let summary = "a buffer that the data loader fills before the segment; source is tokens, tokens.next, array, array.next, position or place";
  let arguments = (ins StrAttr:$name, FlatSymbolRefAttr:$buffer, StrAttr:$source, StrAttr:$array, I64Attr:$limit, BoolAttr:$allow_ignored,
                       I64Attr:$ignored, OptionalAttr<FlatSymbolRefAttr>:$place_groups);
  let assemblyFormat = "$name $buffer attr-dict";
}
def Plan_OutputOp : Plan_Op<"output", [HasParent<"SegmentOp">]> {
  let summary = "a buffer that the runtime reads after the segment";
  let arguments = (ins StrAttr:$name, FlatSymbolRefAttr:$buffer);
  let assemblyFormat = "$name $buffer attr-dict";
}

#endif // LLMC_DIALECTS_PLAN
