// RUN: llmc-opt %s --scheduling-assign-buffers --verify-level=level=plan | FileCheck %s

// A part of what a kernel makes is new state: the kernel writes a temporary, not the smaller state, and the part is copied.
// CHECK-LABEL: plan.segment @accumulate
//       CHECK:   plan.launch @produce 0 [#plan.operand<@accumulate.x, 0, 128, "read">, #plan.operand<@[[T:accumulate.[0-9]+]], 0, 128, "write">]
//       CHECK:   plan.copy [#plan.operand<@gradient.w, 0, 64, "write">, #plan.operand<@[[T]].{{[0-9]+}}, 0, 64, "read">]
func.func @accumulate(%x: tensor<2x16xf32> {train.name = "x", train.role = "input"}, %w: tensor<1x16xf32> {train.name = "w", train.role = "param"})
    -> (tensor<1x16xf32> {train.name = "w", train.role = "gradient"}) {
  %0 = call @produce(%x) : (tensor<2x16xf32>) -> tensor<2x16xf32>
  %1 = tensor.extract_slice %0[1, 0] [1, 16] [1, 1] : tensor<2x16xf32> to tensor<1x16xf32>
  return %1 : tensor<1x16xf32>
}
func.func private @produce(%x: tensor<2x16xf32>) -> tensor<2x16xf32> attributes {plan.kernel = "fused", plan.stages = {
    stages = [{workgroups = 1 : i64, operands = [["input", 0 : i64, "read"], ["output", 0 : i64, "write"]]}], scratch = array<i64>, alias = array<i64>}} {
  %0 = math.exp %x : tensor<2x16xf32>
  return %0 : tensor<2x16xf32>
}
