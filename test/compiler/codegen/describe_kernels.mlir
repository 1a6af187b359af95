// Each kernel gets its stages: workgroups, operands with their access, which input a result may overwrite. A kernel that no form
// computes is cut into one for each op, and its call into calls of these.
// RUN: llmc-opt %s --codegen-describe-kernels --split-input-file --verify-diagnostics | FileCheck %s
// CHECK-LABEL: func.func @f
//       CHECK:   %[[E:.+]] = call @exp_{{[0-9a-f]+}}(%arg0) : (tensor<4x3xf32>) -> tensor<4x3xf32>
//       CHECK:   %[[C:.+]] = call @concat_{{[0-9a-f]+}}(%[[E]], %arg1) : (tensor<4x3xf32>, tensor<4x5xf32>) -> tensor<4x8xf32>
//       CHECK:   %[[T:.+]] = call @tanh_{{[0-9a-f]+}}(%[[C]]) : (tensor<4x8xf32>) -> tensor<4x8xf32>
//       CHECK:   return %[[T]]
//   CHECK-NOT:   @k(
//       CHECK: @exp_{{.+}}plan.stages = {alias = array<i64: 0, 0>, scratch = array<i64>, stages = [{operands = {{\[\[}}"input", 0, "read"], ["output", 0, "write"]], workgroups = 1 : i64}]}
//       CHECK: @concat_{{.+}}plan.stages = {alias = array<i64>, scratch = array<i64>, stages = [{operands = {{\[\[}}"input", 0, "read"], ["output", 0, "write"]], workgroups = 1 : i64}, {operands = {{\[\[}}"input", 1, "read"], ["output", 0, "write"]], workgroups = 1 : i64}]}
func.func @f(%x: tensor<4x3xf32>, %y: tensor<4x5xf32>) -> tensor<4x8xf32> {
  %0 = call @k(%x, %y) : (tensor<4x3xf32>, tensor<4x5xf32>) -> tensor<4x8xf32>
  return %0 : tensor<4x8xf32>
}
func.func private @k(%x: tensor<4x3xf32>, %y: tensor<4x5xf32>) -> tensor<4x8xf32> attributes {plan.kernel = "fused"} {
  %0 = math.exp %x : tensor<4x3xf32>
  %1 = tensor.concat dim(1) %0, %y : (tensor<4x3xf32>, tensor<4x5xf32>) -> tensor<4x8xf32>
  %2 = math.tanh %1 : tensor<4x8xf32>
  return %2 : tensor<4x8xf32>
}

// -----

// One op that no form computes is refused.
func.func @f(%x: tensor<4xf32>) -> tensor<f32> {
  %0 = call @k(%x) : (tensor<4xf32>) -> tensor<f32>
  return %0 : tensor<f32>
}
// expected-error @below {{kernel k: `nn.batch_size`: no kernel form}}
func.func private @k(%x: tensor<4xf32>) -> tensor<f32> attributes {plan.kernel = "fused"} {
  %0 = nn.batch_size %x : (tensor<4xf32>) -> tensor<f32>
  return %0 : tensor<f32>
}
