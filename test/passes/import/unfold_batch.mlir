// RUN: llmc-opt %s --import-unfold-batch --split-input-file --verify-diagnostics | FileCheck %s

// A fused projection of one sample, seen as [1, T, 3, H, D] and turned: of two dimensions of size 1, the one that the file drops is
// not the batch.
// CHECK-LABEL: func.func @forward
//  CHECK-SAME:   tensor<2x5x18xf32>
//  CHECK-SAME:   train.exported_batch = 1
//       CHECK:   tensor.expand_shape {{.+}} output_shape [2, 5, 3, 2, 3]
//       CHECK:   tensor.extract_slice {{.+}} : tensor<3x2x2x5x3xf32> to tensor<1x2x2x5x3xf32>
//       CHECK:   tensor.collapse_shape {{.+}} {{\[\[}}0, 1], [2], [3], [4]] : tensor<1x2x2x5x3xf32> into tensor<2x2x5x3xf32>
module attributes {train.recipe = {"batch.micro" = 4 : i64, "batch.step" = 4 : i64}} {
func.func @forward(%x: tensor<1x5x18xf32> {train.name = "x", train.role = "input"}) -> tensor<1x2x5x3xf32> {
  %e = tensor.expand_shape %x [[0], [1], [2, 3, 4]] output_shape [1, 5, 3, 2, 3] : tensor<1x5x18xf32> into tensor<1x5x3x2x3xf32>
  %t = nn.transpose %e {permutation = array<i64: 2, 0, 3, 1, 4>} : (tensor<1x5x3x2x3xf32>) -> tensor<3x1x2x5x3xf32>
  %q = tensor.extract_slice %t[0, 0, 0, 0, 0] [1, 1, 2, 5, 3] [1, 1, 1, 1, 1] : tensor<3x1x2x5x3xf32> to tensor<1x1x2x5x3xf32>
  %s = tensor.collapse_shape %q [[0], [1, 2], [3], [4]] {train.axes = array<i64: 0>} : tensor<1x1x2x5x3xf32> into tensor<1x2x5x3xf32>
  return %s : tensor<1x2x5x3xf32>
}
}

// -----

// A new dimension in front of the batch, as the file says.
// CHECK-LABEL: func.func @forward
//       CHECK:   tensor.expand_shape {{.+}} output_shape [1, 2, 5]
module attributes {train.recipe = {"batch.micro" = 4 : i64, "batch.step" = 4 : i64}} {
func.func @forward(%x: tensor<1x5xf32> {train.name = "x", train.role = "input"}) -> tensor<1x1x5xf32> {
  %e = tensor.expand_shape %x [[0, 1], [2]] output_shape [1, 1, 5] {train.axes = array<i64: 0>} : tensor<1x5xf32> into tensor<1x1x5xf32>
  return %e : tensor<1x1x5xf32>
}
}

// -----

// Which of the new dimensions is the batch, the file does not say; that it is dropped, it does. All of it is said at once.
module attributes {train.recipe = {"batch.micro" = 4 : i64, "batch.step" = 4 : i64}} {
func.func @forward(%x: tensor<1x5xf32> {train.name = "x", train.role = "input"}, %y: tensor<1x5xf32> {train.name = "y", train.role = "input"}) -> (tensor<1x1x5xf32>, tensor<5xf32>, tensor<1x5xf32>) {
  // expected-error @+1 {{makes dimensions of size 1 of which any may be the batch dimension}}
  %e = tensor.expand_shape %x [[0, 1], [2]] output_shape [1, 1, 5] : tensor<1x5xf32> into tensor<1x1x5xf32>
  // expected-error @+1 {{drops the batch dimension, which has size 1 in this file}}
  %c = tensor.collapse_shape %y [[0, 1]] {train.axes = array<i64: 0>} : tensor<1x5xf32> into tensor<5xf32>
  // expected-error @+1 {{takes a fixed number of the batch's samples}}
  %s = tensor.extract_slice %y[0, 0] [1, 5] [1, 1] {train.axes = array<i64: 0>} : tensor<1x5xf32> to tensor<1x5xf32>
  return %e, %c, %s : tensor<1x1x5xf32>, tensor<5xf32>, tensor<1x5xf32>
}
}

// -----

// The batch between two dimensions may be merged into either.
module attributes {train.recipe = {"batch.micro" = 4 : i64, "batch.step" = 4 : i64}} {
func.func @forward(%x: tensor<1x5x3xf32> {train.name = "x", train.role = "input"}) -> tensor<5x3xf32> {
  %t = nn.transpose %x {permutation = array<i64: 1, 0, 2>} : (tensor<1x5x3xf32>) -> tensor<5x1x3xf32>
  // expected-error @+1 {{may merge the batch dimension, which has size 1 in this file, into either of two others}}
  %c = tensor.collapse_shape %t [[0, 1], [2]] : tensor<5x1x3xf32> into tensor<5x3xf32>
  return %c : tensor<5x3xf32>
}
}

// -----

// As it was exported it is computed all the same.
// CHECK-LABEL: func.func @forward
//  CHECK-SAME:   tensor<1x5x3xf32>
//   CHECK-NOT:   train.exported_batch
module attributes {train.recipe = {"batch.micro" = 1 : i64, "batch.step" = 4 : i64}} {
func.func @forward(%x: tensor<1x5x3xf32> {train.name = "x", train.role = "input"}) -> tensor<5x3xf32> {
  %t = nn.transpose %x {permutation = array<i64: 1, 0, 2>} : (tensor<1x5x3xf32>) -> tensor<5x1x3xf32>
  %c = tensor.collapse_shape %t [[0, 1], [2]] : tensor<5x1x3xf32> into tensor<5x3xf32>
  return %c : tensor<5x3xf32>
}
}
