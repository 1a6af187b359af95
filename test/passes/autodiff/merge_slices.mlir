// RUN: llmc-opt %s --autodiff-merge-slices --canonicalize --split-input-file | FileCheck %s

// Query, key and value gradients of a fused projection, in the order in which they were added.
// CHECK-LABEL: func.func @fused
//  CHECK-SAME:   %[[Q:.+]]: tensor<2x3xf32>, %[[K:.+]]: tensor<2x3xf32>, %[[V:.+]]: tensor<2x3xf32>
//  CHECK-NEXT:   %[[D:.+]] = tensor.concat dim(1) %[[Q]], %[[K]], %[[V]]
//  CHECK-NEXT:   return %[[D]]
func.func @fused(%dq: tensor<2x3xf32>, %dk: tensor<2x3xf32>, %dv: tensor<2x3xf32>) -> tensor<2x9xf32> {
  %zeros = arith.constant dense<0.0> : tensor<2x9xf32>
  %v = tensor.insert_slice %dv into %zeros[0, 6] [2, 3] [1, 1] : tensor<2x3xf32> into tensor<2x9xf32>
  %k = tensor.insert_slice %dk into %zeros[0, 3] [2, 3] [1, 1] : tensor<2x3xf32> into tensor<2x9xf32>
  %q = tensor.insert_slice %dq into %zeros[0, 0] [2, 3] [1, 1] : tensor<2x3xf32> into tensor<2x9xf32>
  %a = arith.addf %v, %k : tensor<2x9xf32>
  %d = arith.addf %a, %q : tensor<2x9xf32>
  return %d : tensor<2x9xf32>
}

// -----

// A gap is filled with zeros, another gradient added as before.
// CHECK-LABEL: func.func @gap
//       CHECK:   %[[Z:.+]] = arith.constant dense<0.000000e+00> : tensor<2x2xf32>
//       CHECK:   %[[C:.+]] = tensor.concat dim(1) %{{.+}}, %[[Z]], %{{.+}} : (tensor<2x3xf32>, tensor<2x2xf32>, tensor<2x4xf32>)
//       CHECK:   arith.addf %[[C]], %{{.+}}
func.func @gap(%a: tensor<2x3xf32>, %b: tensor<2x4xf32>, %c: tensor<2x9xf32>) -> tensor<2x9xf32> {
  %zeros = arith.constant dense<0.0> : tensor<2x9xf32>
  %x = tensor.insert_slice %a into %zeros[0, 0] [2, 3] [1, 1] : tensor<2x3xf32> into tensor<2x9xf32>
  %y = tensor.insert_slice %b into %zeros[0, 5] [2, 4] [1, 1] : tensor<2x4xf32> into tensor<2x9xf32>
  %s = arith.addf %x, %c : tensor<2x9xf32>
  %d = arith.addf %s, %y : tensor<2x9xf32>
  return %d : tensor<2x9xf32>
}

// -----

// Overlapping slices, slices of different dimensions, every second entry and what is inserted into another tensor are added.
// CHECK-LABEL: func.func @near
//   CHECK-NOT:   tensor.concat
func.func @near(%a: tensor<4x3xf32>, %b: tensor<2x4xf32>, %t: tensor<4x4xf32>) -> (tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>) {
  %zeros = arith.constant dense<0.0> : tensor<4x4xf32>
  %x = tensor.insert_slice %a into %zeros[0, 0] [4, 3] [1, 1] : tensor<4x3xf32> into tensor<4x4xf32>
  %y = tensor.insert_slice %a into %zeros[0, 1] [4, 3] [1, 1] : tensor<4x3xf32> into tensor<4x4xf32>
  %z = tensor.insert_slice %b into %zeros[0, 0] [2, 4] [1, 1] : tensor<2x4xf32> into tensor<4x4xf32>
  %e = tensor.insert_slice %b into %zeros[1, 0] [2, 4] [2, 1] : tensor<2x4xf32> into tensor<4x4xf32>
  %i = tensor.insert_slice %b into %t[2, 0] [2, 4] [1, 1] : tensor<2x4xf32> into tensor<4x4xf32>
  %p = arith.addf %x, %y : tensor<4x4xf32>
  %q = arith.addf %y, %z : tensor<4x4xf32>
  %r = arith.addf %e, %i : tensor<4x4xf32>
  return %p, %q, %r : tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>
}
