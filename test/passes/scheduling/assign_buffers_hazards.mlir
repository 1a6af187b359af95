// RUN: llmc-opt %s --split-input-file --scheduling-assign-buffers | FileCheck %s

// A kernel that could write over its first operand may not where it reads the same bytes through another operand as well: a value
// that dies keeps its storage apart from the result's, and a new w is made elsewhere and copied.
//       CHECK: plan.segment @accumulate
//       CHECK:   plan.launch @produce 0 [#plan.operand<@accumulate.x, 0, 64, "read">, #plan.operand<@[[A:accumulate.[0-9]+]], 0, 64, "write">]
//  CHECK-NEXT:   plan.launch @turned 0 [#plan.operand<@[[A]], 0, 64, "read">, #plan.operand<@[[A]], 0, 64, "read">, #plan.operand<@gradient.w, 0, 64, "write">]
//       CHECK: plan.segment @update
//  CHECK-NEXT:   plan.launch @turned 0 [#plan.operand<@param.w, 0, 64, "read">, #plan.operand<@param.w, 0, 64, "read">, #plan.operand<@[[B:update.[0-9]+]], 0, 64, "write">]
//  CHECK-NEXT:   plan.copy [#plan.operand<@param.w, 0, 64, "write">, #plan.operand<@[[B]], 0, 64, "read">]
func.func @accumulate(%x: tensor<4x4xf32> {train.name = "x", train.role = "input"}, %w: tensor<4x4xf32> {train.name = "w", train.role = "param"})
    -> (tensor<4x4xf32> {train.name = "w", train.role = "gradient"}) {
  %0 = call @produce(%x) : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %flat = tensor.collapse_shape %0 [[0, 1]] : tensor<4x4xf32> into tensor<16xf32>
  %1 = call @turned(%0, %flat) : (tensor<4x4xf32>, tensor<16xf32>) -> tensor<4x4xf32>
  return %1 : tensor<4x4xf32>
}
func.func @update(%w: tensor<4x4xf32> {train.name = "w", train.role = "param"}) -> (tensor<4x4xf32> {train.name = "w", train.role = "param"}) {
  %flat = tensor.collapse_shape %w [[0, 1]] : tensor<4x4xf32> into tensor<16xf32>
  %0 = call @turned(%w, %flat) : (tensor<4x4xf32>, tensor<16xf32>) -> tensor<4x4xf32>
  return %0 : tensor<4x4xf32>
}
func.func private @produce(%x: tensor<4x4xf32>) -> tensor<4x4xf32> attributes {plan.kernel = "fused", plan.stages = {
    stages = [{workgroups = 1 : i64, operands = [["input", 0 : i64, "read"], ["output", 0 : i64, "write"]]}], scratch = array<i64>, alias = array<i64: 0, 0>}} {
  %0 = math.exp %x : tensor<4x4xf32>
  return %0 : tensor<4x4xf32>
}
func.func private @turned(%w: tensor<4x4xf32>, %v: tensor<16xf32>) -> tensor<4x4xf32> attributes {plan.kernel = "fused", plan.stages = {
    stages = [{workgroups = 1 : i64, operands = [["input", 0 : i64, "read"], ["input", 1 : i64, "read"], ["output", 0 : i64, "write"]]}], scratch = array<i64>, alias = array<i64: 0, 0>}} {
  %e = tensor.expand_shape %v [[0, 1]] output_shape [4, 4] : tensor<16xf32> into tensor<4x4xf32>
  %t = nn.transpose %e {permutation = array<i64: 1, 0>} : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %0 = arith.addf %w, %t : tensor<4x4xf32>
  return %0 : tensor<4x4xf32>
}

// -----

// What is read later is not written over; of two results that could both take an operand that dies, one does.
// CHECK-COUNT-1: alias_of = @[[A:accumulate.[0-9]+]]
//     CHECK-NOT: alias_of
//         CHECK: plan.segment @accumulate
//         CHECK:   plan.launch @produce 0 [#plan.operand<@accumulate.x, 0, 64, "read">, #plan.operand<@[[A]], 0, 64, "write">]
//    CHECK-NEXT:   plan.launch @produce 0 [#plan.operand<@[[A]], 0, 64, "read">, #plan.operand<@[[B:accumulate.[0-9]+]], 0, 64, "write">]
//    CHECK-NEXT:   plan.launch @both 0 [#plan.operand<@[[A]], 0, 64, "read">, #plan.operand<@[[C:accumulate.[0-9]+]], 0, 64, "write">, #plan.operand<@[[D:accumulate.[0-9]+]], 0, 64, "write">]
//    CHECK-NEXT:   plan.launch @sum 0 [#plan.operand<@[[B]], 0, 64, "read">, #plan.operand<@[[C]], 0, 64, "read">, #plan.operand<@[[D]], 0, 64, "read">, #plan.operand<@gradient.w, 0, 64, "write">]
func.func @accumulate(%x: tensor<16xf32> {train.name = "x", train.role = "input"}, %w: tensor<16xf32> {train.name = "w", train.role = "param"})
    -> (tensor<16xf32> {train.name = "w", train.role = "gradient"}) {
  %0 = call @produce(%x) : (tensor<16xf32>) -> tensor<16xf32>
  %1 = call @produce(%0) : (tensor<16xf32>) -> tensor<16xf32>
  %2:2 = call @both(%0) : (tensor<16xf32>) -> (tensor<16xf32>, tensor<16xf32>)
  %3 = call @sum(%1, %2#0, %2#1) : (tensor<16xf32>, tensor<16xf32>, tensor<16xf32>) -> tensor<16xf32>
  return %3 : tensor<16xf32>
}
func.func @update(%w: tensor<16xf32> {train.name = "w", train.role = "param"}) -> (tensor<16xf32> {train.name = "w", train.role = "param"}) {
  return %w : tensor<16xf32>
}
func.func private @produce(%x: tensor<16xf32>) -> tensor<16xf32> attributes {plan.kernel = "fused", plan.stages = {
    stages = [{workgroups = 1 : i64, operands = [["input", 0 : i64, "read"], ["output", 0 : i64, "write"]]}], scratch = array<i64>, alias = array<i64: 0, 0>}} {
  %0 = math.exp %x : tensor<16xf32>
  return %0 : tensor<16xf32>
}
func.func private @both(%x: tensor<16xf32>) -> (tensor<16xf32>, tensor<16xf32>) attributes {plan.kernel = "fused", plan.stages = {
    stages = [{workgroups = 1 : i64, operands = [["input", 0 : i64, "read"], ["output", 0 : i64, "write"], ["output", 1 : i64, "write"]]}], scratch = array<i64>, alias = array<i64: 0, 0, 1, 0>}} {
  %0 = math.exp %x : tensor<16xf32>
  %1 = math.tanh %x : tensor<16xf32>
  return %0, %1 : tensor<16xf32>, tensor<16xf32>
}
func.func private @sum(%x: tensor<16xf32>, %y: tensor<16xf32>, %z: tensor<16xf32>) -> tensor<16xf32> attributes {plan.kernel = "fused", plan.stages = {
    stages = [{workgroups = 1 : i64, operands = [["input", 0 : i64, "read"], ["input", 1 : i64, "read"], ["input", 2 : i64, "read"], ["output", 0 : i64, "write"]]}], scratch = array<i64>, alias = array<i64>}} {
  %0 = arith.addf %x, %y : tensor<16xf32>
  %1 = arith.addf %0, %z : tensor<16xf32>
  return %1 : tensor<16xf32>
}

// -----

// A collective runs beside kernels until one would write over what it reads, or read what it writes: then it is waited for.
//       CHECK: plan.segment @accumulate
//       CHECK:   plan.launch @produce 0 [#plan.operand<@accumulate.x, 0, 64, "read">, #plan.operand<@[[A:accumulate.[0-9]+]], 0, 64, "write">]
//       CHECK:   plan.collective {{.*}}@[[A]], 0, 64, "read">, #plan.operand<@gradient.v, 0, 128, "write">{{.*}}event = 0
//  CHECK-NEXT:   plan.launch @inplace 0 [#plan.operand<@accumulate.x, 0, 64, "read">
//  CHECK-NEXT:   plan.wait 0
//  CHECK-NEXT:   plan.launch @inplace 0 [#plan.operand<@[[A]], 0, 64, "read">, #plan.operand<@[[K:accumulate.[0-9]+]], 0, 64, "write">]
module attributes {dist.mesh = #dist.mesh<dp = 2>} {
func.func @accumulate(%x: tensor<16xf32> {train.name = "x", train.role = "input"}, %w: tensor<16xf32> {train.name = "w", train.role = "param"})
    -> (tensor<32xf32> {train.name = "v", train.role = "gradient"}, tensor<16xf32> {train.name = "w", train.role = "gradient"}) {
  %0 = call @produce(%x) : (tensor<16xf32>) -> tensor<16xf32>
  %1 = dist.all_gather %0 {axes = ["dp"], dim = 0 : i64, reason = "test"} : (tensor<16xf32>) -> tensor<32xf32>
  %2 = call @inplace(%x) : (tensor<16xf32>) -> tensor<16xf32>
  %3 = call @inplace(%0) : (tensor<16xf32>) -> tensor<16xf32>
  %4 = call @sum(%2, %3) : (tensor<16xf32>, tensor<16xf32>) -> tensor<16xf32>
  %5 = call @wide(%1) : (tensor<32xf32>) -> tensor<32xf32>
  return %5, %4 : tensor<32xf32>, tensor<16xf32>
}
func.func private @produce(%x: tensor<16xf32>) -> tensor<16xf32> attributes {plan.kernel = "fused", plan.stages = {
    stages = [{workgroups = 1 : i64, operands = [["input", 0 : i64, "read"], ["output", 0 : i64, "write"]]}], scratch = array<i64>, alias = array<i64>}} {
  %0 = math.exp %x : tensor<16xf32>
  return %0 : tensor<16xf32>
}
func.func private @inplace(%x: tensor<16xf32>) -> tensor<16xf32> attributes {plan.kernel = "fused", plan.stages = {
    stages = [{workgroups = 1 : i64, operands = [["input", 0 : i64, "read"], ["output", 0 : i64, "write"]]}], scratch = array<i64>, alias = array<i64: 0, 0>}} {
  %0 = math.tanh %x : tensor<16xf32>
  return %0 : tensor<16xf32>
}
func.func private @sum(%x: tensor<16xf32>, %y: tensor<16xf32>) -> tensor<16xf32> attributes {plan.kernel = "fused", plan.stages = {
    stages = [{workgroups = 1 : i64, operands = [["input", 0 : i64, "read"], ["input", 1 : i64, "read"], ["output", 0 : i64, "write"]]}], scratch = array<i64>, alias = array<i64>}} {
  %0 = arith.addf %x, %y : tensor<16xf32>
  return %0 : tensor<16xf32>
}
func.func private @wide(%x: tensor<32xf32>) -> tensor<32xf32> attributes {plan.kernel = "fused", plan.stages = {
    stages = [{workgroups = 1 : i64, operands = [["input", 0 : i64, "read"], ["output", 0 : i64, "write"]]}], scratch = array<i64>, alias = array<i64: 0, 0>}} {
  %0 = math.tanh %x : tensor<32xf32>
  return %0 : tensor<32xf32>
}
}
