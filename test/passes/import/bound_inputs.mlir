// RUN: llmc-opt %s --import-bound-inputs --split-input-file | FileCheck %s

// An id lies below the rows of its table, the smallest one if it looks up several; a label below the classes, or is the ignored
// one. Shape changes and conversions on the way do not matter.
// CHECK-LABEL: func.func @forward
//  CHECK-SAME:   %arg0: tensor<2x4xi32> {train.limit = 16 : i64, train.name = "ids", train.role = "input"}
//  CHECK-SAME:   %arg1: tensor<2x4xi64> {train.ignored = -100 : i64, train.limit = 10 : i64, train.name = "labels", train.role = "input"}
func.func @forward(%ids: tensor<2x4xi32> {train.name = "ids", train.role = "input"},
                   %labels: tensor<2x4xi64> {train.name = "labels", train.role = "input"},
                   %words: tensor<20x8xf32> {train.name = "words", train.role = "param"},
                   %others: tensor<16x8xf32> {train.name = "others", train.role = "param"},
                   %logits: tensor<8x10xf32> {train.name = "logits", train.role = "param"}) -> (tensor<2x4x8xf32>, tensor<2x4x8xf32>, tensor<f32>) {
  %wide = arith.extsi %ids : tensor<2x4xi32> to tensor<2x4xi64>
  %0 = nn.gather %words, %wide : (tensor<20x8xf32>, tensor<2x4xi64>) -> tensor<2x4x8xf32>
  %1 = nn.gather %others, %wide : (tensor<16x8xf32>, tensor<2x4xi64>) -> tensor<2x4x8xf32>
  %flat = tensor.collapse_shape %labels [[0, 1]] : tensor<2x4xi64> into tensor<8xi64>
  %sum, %count, %lse = nn.cross_entropy %logits, %flat {ignore_index = -100 : i64} : (tensor<8x10xf32>, tensor<8xi64>) -> (tensor<f32>, tensor<f32>, tensor<8xf32>)
  return %0, %1, %sum : tensor<2x4x8xf32>, tensor<2x4x8xf32>, tensor<f32>
}

// -----

// One input as both id and label may not be the ignored value, which no table has.
// CHECK-LABEL: func.func @forward
//  CHECK-SAME:   %arg0: tensor<8xi64> {train.limit = 10 : i64, train.name
func.func @forward(%ids: tensor<8xi64> {train.name = "ids", train.role = "input"}, %words: tensor<20x10xf32> {train.name = "words", train.role = "param"}) -> tensor<f32> {
  %0 = nn.gather %words, %ids : (tensor<20x10xf32>, tensor<8xi64>) -> tensor<8x10xf32>
  %sum, %count, %lse = nn.cross_entropy %0, %ids {ignore_index = -100 : i64} : (tensor<8x10xf32>, tensor<8xi64>) -> (tensor<f32>, tensor<f32>, tensor<8xf32>)
  return %sum : tensor<f32>
}

// -----

// A computed id sets no bound on what it is computed from.
// CHECK-LABEL: func.func @forward
//   CHECK-NOT:   train.limit
func.func @forward(%ids: tensor<8xi64> {train.name = "ids", train.role = "input"}, %words: tensor<20x10xf32> {train.name = "words", train.role = "param"}) -> tensor<8x10xf32> {
  %next = arith.addi %ids, %ids : tensor<8xi64>
  %0 = nn.gather %words, %next : (tensor<20x10xf32>, tensor<8xi64>) -> tensor<8x10xf32>
  return %0 : tensor<8x10xf32>
}
