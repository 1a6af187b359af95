// RUN: llmc-opt %s --sharding-schedule-collectives | FileCheck %s

module attributes {dist.mesh = #dist.mesh<dp = 2>} {

// Parameters are gathered one reader ahead, gradients are scattered as soon as they are there.
// CHECK-LABEL: func @accumulate
//       CHECK:   %[[A:.+]] = dist.all_gather %arg0
//  CHECK-NEXT:   %[[B:.+]] = dist.all_gather %arg1
//  CHECK-NEXT:   %[[X:.+]] = math.exp %[[A]]
//  CHECK-NEXT:   dist.reduce_scatter %[[X]]
//  CHECK-NEXT:   dist.all_gather %arg2
//  CHECK-NEXT:   math.exp %[[B]]
func.func @accumulate(%a: tensor<4xf32>, %b: tensor<4xf32>, %c: tensor<4xf32>) -> (tensor<4xf32>, tensor<8xf32>, tensor<8xf32>) {
  %0 = dist.all_gather %a {axes = ["dp"], dim = 0 : i64, reason = "a"} : (tensor<4xf32>) -> tensor<8xf32>
  %1 = math.exp %0 : tensor<8xf32>
  %2 = dist.all_gather %b {axes = ["dp"], dim = 0 : i64, reason = "b"} : (tensor<4xf32>) -> tensor<8xf32>
  %3 = math.exp %2 : tensor<8xf32>
  %4 = dist.all_gather %c {axes = ["dp"], dim = 0 : i64, reason = "c"} : (tensor<4xf32>) -> tensor<8xf32>
  %5 = math.exp %4 : tensor<8xf32>
  %6 = dist.reduce_scatter %1 {axes = ["dp"], dim = 0 : i64, kind = "sum", reason = "gradient of a"} : (tensor<8xf32>) -> tensor<4xf32>
  return %6, %3, %5 : tensor<4xf32>, tensor<8xf32>, tensor<8xf32>
}
}
