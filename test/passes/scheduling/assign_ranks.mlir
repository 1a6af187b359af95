// RUN: llmc-opt %s --scheduling-assign-buffers --verify-level=level=plan | FileCheck %s

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {

// Each rank's share of a parameter is a place in the parameter's own storage: the optimizer writes it there, and the gather
// completes it. The gradient is scattered in place.
//   CHECK-DAG: plan.groups @groups.dp ["dp"] 2 [0, 2, 1, 3]
//   CHECK-DAG: plan.groups @groups.tp ["tp"] 2 [0, 1, 2, 3]
//   CHECK-DAG: plan.buffer @param.w.{{[0-9]+}} @state 0 : tensor<16xf32> "parameter" {{.*}}place_groups = @groups.dp, place_stride = 64
//   CHECK-DAG: plan.buffer @[[SCATTERED:gradient.w.[0-9]+]] @state {{.*}}place_groups = @groups.dp, place_stride = 64
// CHECK-LABEL: plan.segment @update
//       CHECK:   plan.collective "reduce_scatter" @groups.dp [#plan.operand<@gradient.w, 0, 128, "read">, #plan.operand<@[[SCATTERED]], 0, 64, "write">]
//       CHECK:   plan.launch @step 0 [#plan.operand<@param.w.{{[0-9]+}}, 0, 64, "read">, #plan.operand<@[[SCATTERED]], 0, 64, "read">, #plan.operand<@[[OUT:param.w.[0-9]+]], 0, 64, "write">]
//  CHECK-NEXT:   plan.collective "all_gather" @groups.dp [#plan.operand<@[[OUT]], 0, 64, "read">, #plan.operand<@param.w, 0, 128, "write">]
//   CHECK-NOT:   plan.copy
func.func @update(%w: tensor<32xf32> {train.name = "w", train.role = "param"}, %g: tensor<32xf32> {train.name = "w", train.role = "gradient"})
    -> (tensor<32xf32> {train.name = "w", train.role = "param"}) {
  %0 = dist.reduce_scatter %g {axes = ["dp"], dim = 0 : i64, kind = "sum", reason = "gradient of w"} : (tensor<32xf32>) -> tensor<16xf32>
  %1 = dist.part %w {axes = ["dp"], dim = 0 : i64} : (tensor<32xf32>) -> tensor<16xf32>
  %2 = call @step(%1, %0) : (tensor<16xf32>, tensor<16xf32>) -> tensor<16xf32>
  %3 = dist.all_gather %2 {axes = ["dp"], dim = 0 : i64, reason = "param w"} : (tensor<16xf32>) -> tensor<32xf32>
  return %3 : tensor<32xf32>
}

// A part of an inner dimension is copied block by block; the rank's place is an input.
// CHECK-LABEL: plan.segment @evaluate
//       CHECK:   plan.input "[[PLACE:evaluate.place.[0-9]+]]" @[[PLACE]] {{.*}}place_groups = @groups.tp{{.*}}source = "place"
//       CHECK:   plan.copy [#plan.operand<@[[PART:.+]], 0, 64, "write">, #plan.operand<@evaluate.x, 0, 128, "read">] {from_stride = 32 : i64, place_groups = @groups.tp, rows = 4 : i64, unit = 16 : i64}
//       CHECK:   plan.collective "all_reduce" @groups.tp [#plan.operand<@[[PART]], 0, 64, "read">, #plan.operand<@[[SUM:.+]], 0, 64, "write">]
//       CHECK:   plan.launch @shift 0 [#plan.operand<@[[SUM]], 0, 64, "read">, #plan.operand<@[[PLACE]], 0, 8, "read">, #plan.operand<@evaluate.y, 0, 64, "write">]
func.func @evaluate(%x: tensor<4x8xf32> {train.name = "x", train.role = "input"}) -> (tensor<4x4xf32> {train.name = "y", train.role = "output"}) {
  %0 = dist.part %x {axes = ["tp"], dim = 1 : i64} : (tensor<4x8xf32>) -> tensor<4x4xf32>
  %1 = dist.all_reduce %0 {axes = ["tp"], kind = "sum", reason = "r"} : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %i = dist.index {axes = ["tp"]} : tensor<i64>
  %2 = call @shift(%1, %i) : (tensor<4x4xf32>, tensor<i64>) -> tensor<4x4xf32>
  return %2 : tensor<4x4xf32>
}
func.func private @step(%w: tensor<16xf32>, %g: tensor<16xf32>) -> tensor<16xf32> attributes {plan.kernel = "fused", plan.stages = {
    stages = [{workgroups = 1 : i64, operands = [["input", 0 : i64, "read"], ["input", 1 : i64, "read"], ["output", 0 : i64, "write"]]}], scratch = array<i64>, alias = array<i64: 0, 0>}} {
  %0 = arith.subf %w, %g : tensor<16xf32>
  return %0 : tensor<16xf32>
}
func.func private @shift(%x: tensor<4x4xf32>, %i: tensor<i64>) -> tensor<4x4xf32> attributes {plan.kernel = "fused", plan.stages = {
    stages = [{workgroups = 1 : i64, operands = [["input", 0 : i64, "read"], ["input", 1 : i64, "read"], ["output", 0 : i64, "write"]]}], scratch = array<i64>, alias = array<i64>}} {
  %0 = math.exp %x : tensor<4x4xf32>
  return %0 : tensor<4x4xf32>
}
}
