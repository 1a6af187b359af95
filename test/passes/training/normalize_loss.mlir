// RUN: llmc-opt %s --training-normalize-loss | FileCheck %s

// The mean is taken apart: its sum and its weight are returned, not their quotient.
// CHECK-LABEL: func.func @forward
//  CHECK-SAME:   -> (tensor<f32> {train.name = "loss_sum", train.role = "output"}, tensor<f32> {train.name = "weight", train.role = "output"})
//       CHECK:   %[[SUM:.+]], %[[WEIGHT:.+]], %{{.+}} = nn.cross_entropy
//       CHECK:   return %[[SUM]], %[[WEIGHT]]
func.func @forward(%x: tensor<4x5xf32> {train.name = "x", train.role = "input"}, %labels: tensor<4xi64> {train.name = "labels", train.role = "input"}) -> (tensor<f32> {train.name = "loss"}) {
  %sum, %n, %lse = nn.cross_entropy %x, %labels {ignore_index = -100 : i64} : (tensor<4x5xf32>, tensor<4xi64>) -> (tensor<f32>, tensor<f32>, tensor<4xf32>)
  %loss = arith.divf %sum, %n : tensor<f32>
  return %loss : tensor<f32>
}
