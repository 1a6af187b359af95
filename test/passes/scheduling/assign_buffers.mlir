// RUN: llmc-opt %s --scheduling-assign-buffers | FileCheck %s

// New state is written over the old where the kernel allows it, without a copy. An operand that dies gives its storage to an
// elementwise result, so both temporaries need one place.
//   CHECK-DAG: plan.arena @scratch "scratch" 64{{$}}
//   CHECK-DAG: plan.buffer @param.w @state [[W:[0-9]+]] : tensor<16xf32> "parameter"
// CHECK-LABEL: plan.segment @accumulate
//       CHECK:   plan.input "x" @accumulate.x
//       CHECK:   plan.launch @produce 0 [#plan.operand<@accumulate.x, 0, 64, "read">, #plan.operand<@[[A:.+]], 0, 64, "write">]
//       CHECK:   plan.launch @inplace 0 [#plan.operand<@[[A]], 0, 64, "read">, #plan.operand<@[[B:.+]], 0, 64, "write">]
//       CHECK:   plan.launch @produce 0 [#plan.operand<@[[B]], 0, 64, "read">, #plan.operand<@gradient.w, 0, 64, "write">]
// CHECK-LABEL: plan.segment @update
//       CHECK:   plan.launch @step 0 [#plan.operand<@param.w, 0, 64, "read">, #plan.operand<@gradient.w, 0, 64, "read">, #plan.operand<@param.w, 0, 64, "write">]
//   CHECK-NOT:   plan.copy
//       CHECK: plan.parameter "w" @param.w
func.func @accumulate(%x: tensor<16xf32> {train.name = "x", train.role = "input"}, %w: tensor<16xf32> {train.name = "w", train.role = "param"})
    -> (tensor<16xf32> {train.name = "w", train.role = "gradient"}) {
  %0 = call @produce(%x) : (tensor<16xf32>) -> tensor<16xf32>
  %1 = call @inplace(%0) : (tensor<16xf32>) -> tensor<16xf32>
  %2 = call @produce(%1) : (tensor<16xf32>) -> tensor<16xf32>
  return %2 : tensor<16xf32>
}
func.func @update(%w: tensor<16xf32> {train.name = "w", train.role = "param"}, %g: tensor<16xf32> {train.name = "w", train.role = "gradient"})
    -> (tensor<16xf32> {train.name = "w", train.role = "param"}) {
  %0 = call @step(%w, %g) : (tensor<16xf32>, tensor<16xf32>) -> tensor<16xf32>
  return %0 : tensor<16xf32>
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
func.func private @step(%w: tensor<16xf32>, %g: tensor<16xf32>) -> tensor<16xf32> attributes {plan.kernel = "fused", plan.stages = {
    stages = [{workgroups = 1 : i64, operands = [["input", 0 : i64, "read"], ["input", 1 : i64, "read"], ["output", 0 : i64, "write"]]}], scratch = array<i64>, alias = array<i64: 0, 0>}} {
  %0 = arith.subf %w, %g : tensor<16xf32>
  return %0 : tensor<16xf32>
}
