//===- Dist.td - where things are -----------------------------------------===//
#ifndef LLMC_DIALECTS_DIST
#define LLMC_DIALECTS_DIST

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Dist_Dialect : Dialect {
  let name = "dist";
  let cppNamespace = "::llmc::dist";
  let summary = "where things are: the mesh of ranks, shardings of tensors, and what moves between ranks";
  let description = [{
    Ranks are the points of a mesh of named axes, numbered with the last axis running fastest (module attribute `dist.mesh`).
    From level `sharded` on, a value's sharding stands on the op that makes it (`dist.shardings`, one per result), and on
    function arguments and results (`dist.sharding`). Shapes stay global until level `local`, where each rank has its part
    and everything that moves is a collective over the ranks that differ in some axes only.
  }];
  let useDefaultAttributePrinterParser = 1;
}

def Dist_MeshAttr : AttrDef<Dist_Dialect, "Mesh"> {
  let mnemonic = "mesh";
  let summary = "named axes and their sizes, e.g. #dist.mesh<dp = 2, tp = 4>; the last axis runs fastest";
  let parameters = (ins ArrayRefParameter<"::mlir::StringAttr">:$names, ArrayRefParameter<"int64_t">:$sizes);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Number of ranks.
    int64_t ranks() const;
    /// Size of an axis; 0 if the mesh has none of this name.
    int64_t size(::mlir::StringAttr axis) const;
    /// Product of the sizes of `axes`.
    int64_t size(::llvm::ArrayRef<::mlir::StringAttr> axes) const;
    /// The place of `rank` along `axes`, the first of which is major: in [0, size(axes)).
    int64_t index(int64_t rank, ::llvm::ArrayRef<::mlir::StringAttr> axes) const;
    /// The ranks that differ from `rank` in `axes` only, by their place along them.
    ::llvm::SmallVector<int64_t> group(int64_t rank, ::llvm::ArrayRef<::mlir::StringAttr> axes) const;
  }];
}

def Dist_ShardingAttr : AttrDef<Dist_Dialect, "Sharding"> {
  let mnemonic = "sharding";
  let summary = "which part of a tensor a rank holds, e.g. #dist.sharding<[{dp}, {}, {tp}] sum {cp}>";
  let description = [{
    One list of axes per dimension: the dimension is cut into as many equal parts as these axes have places, the first axis
    is major. The tensor is the sum over the ranks along the axes behind `sum` of what they hold, and the maximum over those
    behind `max`. Ranks that differ in other axes hold the same.
  }];
  let parameters = (ins "::mlir::ArrayAttr":$dims, "::mlir::ArrayAttr":$sum, "::mlir::ArrayAttr":$max);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

class Dist_Op<string mnemonic, list<Trait> traits = []> : Op<Dist_Dialect, mnemonic, !listconcat([Pure], traits)>;

def Dist_ReshardOp : Dist_Op<"reshard", [SameOperandsAndResultType]> {
  let summary = "the same tensor in another sharding";
  let description = [{
    Made by `sharding-propagate`, turned into collectives by `sharding-partition`; illegal from level `local` on. `from` and
    `to` are the shardings before and after, `reason` says for whom.

    Constraints:
    (C1) both shardings fit the tensor and the module's mesh;
    (C2) `to` has no partial axis that `from` lacks: a whole tensor is never made partial.

    Example: %1 = dist.reshard %0 {from = #dist.sharding<[{} ] sum {dp}>, to = #dist.sharding<[{} ]>, reason = "gradient of w"} : tensor<8xf32>
  }];
  let arguments = (ins AnyRankedTensor:$input, Dist_ShardingAttr:$from, Dist_ShardingAttr:$to, StrAttr:$reason);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input)";
  let hasVerifier = 1;
}

def Dist_AllReduceOp : Dist_Op<"all_reduce"> {
  let summary = "sum (or maximum) of local tensors over the ranks along some axes, in the order of ranks";
  let description = [{
    Legal from level `local` on, made by `sharding-partition`. Several operands are one message.

    Constraints:
    (C1) `axes` are axes of the mesh, none twice; `kind` is "sum" or "max";
    (C2) results have the operands' types.

    Example: %1 = dist.all_reduce %0 {axes = ["dp"], kind = "sum", reason = "gradient of w"} : (tensor<8xf32>) -> tensor<8xf32>
  }];
  let arguments = (ins Variadic<AnyRankedTensor>:$inputs, StrArrayAttr:$axes, StrAttr:$kind, StrAttr:$reason);
  let results = (outs Variadic<AnyRankedTensor>:$outputs);
  let assemblyFormat = "$inputs attr-dict `:` functional-type($inputs, $outputs)";
  let hasVerifier = 1;
}

def Dist_ReduceScatterOp : Dist_Op<"reduce_scatter"> {
  let summary = "sum over the ranks along some axes, of which each rank keeps its part of dimension `dim`";
  let description = [{
    Constraints:
    (C1) as dist.all_reduce;
    (C2) each result is its operand with dimension `dim` divided by the number of ranks.

    Example: %1 = dist.reduce_scatter %0 {axes = ["dp"], dim = 0 : i64, kind = "sum", reason = "zero"} : (tensor<8xf32>) -> tensor<4xf32>
  }];
  let arguments = (ins Variadic<AnyRankedTensor>:$inputs, StrArrayAttr:$axes, I64Attr:$dim, StrAttr:$kind, StrAttr:$reason);
  let results = (outs Variadic<AnyRankedTensor>:$outputs);
  let assemblyFormat = "$inputs attr-dict `:` functional-type($inputs, $outputs)";
  let hasVerifier = 1;
}

def Dist_AllGatherOp : Dist_Op<"all_gather"> {
  let summary = "the parts of the ranks along some axes, one after the other in dimension `dim`";
  let description = [{
    Constraints:
    (C1) as dist.all_reduce;
    (C2) each result is its operand with dimension `dim` multiplied by the number of ranks.

    Example: %1 = dist.all_gather %0 {axes = ["dp"], dim = 0 : i64, reason = "zero"} : (tensor<4xf32>) -> tensor<8xf32>
  }];
  let arguments = (ins Variadic<AnyRankedTensor>:$inputs, StrArrayAttr:$axes, I64Attr:$dim, StrAttr:$reason);
  let results = (outs Variadic<AnyRankedTensor>:$outputs);
  let assemblyFormat = "$inputs attr-dict `:` functional-type($inputs, $outputs)";
  let hasVerifier = 1;
}

def Dist_PartOp : Dist_Op<"part"> {
  let summary = "the rank's own part of dimension `dim`, by its place along some axes; moves nothing between ranks";
  let description = [{
    Constraints:
    (C1) as dist.all_reduce;
    (C2) the result is the operand with dimension `dim` divided by the number of ranks.

    Example: %1 = dist.part %0 {axes = ["tp"], dim = 1 : i64} : (tensor<4x8xf32>) -> tensor<4x4xf32>
  }];
  let arguments = (ins AnyRankedTensor:$input, StrArrayAttr:$axes, I64Attr:$dim);
  let results = (outs AnyRankedTensor:$output);
  let assemblyFormat = "$input attr-dict `:` functional-type($input, $output)";
  let hasVerifier = 1;
}

def Dist_IndexOp : Dist_Op<"index"> {
  let summary = "the rank's place along some axes, the first of which is major";
  let description = [{
    Constraints:
    (C1) as dist.all_reduce.

    Example: %i = dist.index {axes = ["dp"]} : tensor<i64>
  }];
  let arguments = (ins StrArrayAttr:$axes);
  let results = (outs 0DTensorOf<[I64]>:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
  let hasVerifier = 1;
}

#endif // LLMC_DIALECTS_DIST
