// RUN: llmc-opt %s --sharding-pad-vocabulary --split-input-file | FileCheck %s

// The tied table is padded for two ranks; a mask keeps the new row out of the softmax, a product with the table is cut back.
// CHECK-LABEL: func.func @forward
//  CHECK-SAME:   %[[W:[a-z0-9]+]]: tensor<14x6xf32> {train.name = "w", train.role = "param", train.shape = array<i64: 13, 6>, train.view = [{pad = array<i64: 14, 6>}]}
//  CHECK-SAME:   %[[MASK:[a-z0-9]+]]: tensor<14xf32> {train.name = "padding.13", train.role = "constant", train.value = dense<[0.{{.*}}, 0.000000e+00, -1.000000e+30]>
//       CHECK:   nn.gather %[[W]], {{.*}} -> tensor<8x4x6xf32>
//       CHECK:   %[[Y:.+]] = nn.contract {{.*}} -> tensor<8x4x14xf32>
//       CHECK:   tensor.extract_slice %[[Y]][0, 0, 0] [8, 4, 13] [1, 1, 1]
//       CHECK:   nn.linear_cross_entropy {{.*}}, %[[W]], {{.*}}, %[[MASK]] {ignore_index = -100 : i64}
module attributes {train.recipe = {mesh = [{name = "tp", value = 2 : i64}]}} {
  func.func @forward(%ids: tensor<8x4xi64> {train.limit = 13 : i64, train.name = "ids", train.role = "input"},
                     %labels: tensor<8x4xi64> {train.name = "labels", train.role = "input"},
                     %w: tensor<13x6xf32> {train.name = "w", train.role = "param"}) -> (tensor<f32>, tensor<8x4x13xf32>) {
    %e = nn.gather %w, %ids : (tensor<13x6xf32>, tensor<8x4xi64>) -> tensor<8x4x6xf32>
    %y = nn.contract %e, %w {equation = "btc,vc->btv"} : (tensor<8x4x6xf32>, tensor<13x6xf32>) -> tensor<8x4x13xf32>
    %sum, %n, %lse = nn.linear_cross_entropy %e, %w, %labels {ignore_index = -100 : i64} : (tensor<8x4x6xf32>, tensor<13x6xf32>, tensor<8x4xi64>) -> (tensor<f32>, tensor<f32>, tensor<8x4xf32>)
    return %sum, %y : tensor<f32>, tensor<8x4x13xf32>
  }
}

// -----

// GPT-2's vocabulary gets 47 rows: 64 on each rank divide it then. A bias is padded, and the mask added to it.
// CHECK-LABEL: func.func @forward
//  CHECK-SAME:   tensor<50304x8xf32>
//  CHECK-SAME:   %[[BIAS:[a-z0-9]+]]: tensor<50304xf32> {train.name = "bias"
//  CHECK-SAME:   %[[MASK:[a-z0-9]+]]: tensor<50304xf32>
//       CHECK:   %[[B:.+]] = arith.addf %[[BIAS]], %[[MASK]]
//       CHECK:   nn.linear_cross_entropy {{.*}}, %[[B]] {
module attributes {train.recipe = {mesh = [{name = "tp", value = 2 : i64}]}} {
  func.func @forward(%x: tensor<4x8xf32>, %labels: tensor<4xi64>, %w: tensor<50257x8xf32> {train.name = "w", train.role = "param"},
                     %b: tensor<50257xf32> {train.name = "bias", train.role = "param"}) -> tensor<f32> {
    %sum, %n, %lse = nn.linear_cross_entropy %x, %w, %labels, %b {ignore_index = -100 : i64} : (tensor<4x8xf32>, tensor<50257x8xf32>, tensor<4xi64>, tensor<50257xf32>) -> (tensor<f32>, tensor<f32>, tensor<4xf32>)
    return %sum : tensor<f32>
  }
}

// -----

// Ids that may count from the end keep a table as it is.
// CHECK-LABEL: func.func @forward
//  CHECK-SAME:   tensor<13x6xf32>
module attributes {train.recipe = {mesh = [{name = "tp", value = 2 : i64}]}} {
  func.func @forward(%ids: tensor<4xi64>, %labels: tensor<4xi64>, %w: tensor<13x6xf32> {train.name = "w", train.role = "param"}) -> tensor<f32> {
    %e = nn.gather %w, %ids : (tensor<13x6xf32>, tensor<4xi64>) -> tensor<4x6xf32>
    %sum, %n, %lse = nn.linear_cross_entropy %e, %w, %labels {ignore_index = -100 : i64} : (tensor<4x6xf32>, tensor<13x6xf32>, tensor<4xi64>) -> (tensor<f32>, tensor<f32>, tensor<4xf32>)
    return %sum : tensor<f32>
  }
}
