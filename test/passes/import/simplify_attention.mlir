// RUN: llmc-opt %s --import-simplify-attention --canonicalize --split-input-file | FileCheck %s

// Factors of query and key go into the scale, a causal i1 mask into the attribute, repeated key heads away.
// CHECK-LABEL: func.func @all
//  CHECK-SAME:   %[[Q:.+]]: tensor<2x3x4x5xf32>, %[[K:.+]]: tensor<2x3x2x5xf32>, %[[V:.+]]: tensor<2x3x2x5xf32>
//       CHECK:   nn.attention %[[Q]], %[[K]], %[[V]] {causal = true, scale = 1.250000e-01 : f64}
func.func @all(%q: tensor<2x3x4x5xf32>, %k: tensor<2x3x2x5xf32>, %v: tensor<2x3x2x5xf32>) -> tensor<2x3x4x5xf32> {
  %half = arith.constant dense<0.5> : tensor<2x3x4x5xf32>
  %two = arith.constant dense<2.0> : tensor<2x3x4x5xf32>
  %m = arith.constant dense<[[[[true, false, false], [true, true, false], [true, true, true]]]]> : tensor<1x1x3x3xi1>
  %mask = nn.broadcast %m {dims = array<i64: 0, 1, 2, 3>} : (tensor<1x1x3x3xi1>) -> tensor<2x1x3x3xi1>
  %qs = arith.mulf %q, %half : tensor<2x3x4x5xf32>
  %kr = nn.broadcast %k {dims = array<i64: 0, 1, 2, 4>} : (tensor<2x3x2x5xf32>) -> tensor<2x3x2x2x5xf32>
  %km = tensor.collapse_shape %kr [[0], [1], [2, 3], [4]] : tensor<2x3x2x2x5xf32> into tensor<2x3x4x5xf32>
  %ks = arith.divf %km, %two : tensor<2x3x4x5xf32>
  %vr = nn.broadcast %v {dims = array<i64: 0, 1, 2, 4>} : (tensor<2x3x2x5xf32>) -> tensor<2x3x2x2x5xf32>
  %vm = tensor.collapse_shape %vr [[0], [1], [2, 3], [4]] : tensor<2x3x2x2x5xf32> into tensor<2x3x4x5xf32>
  %y, %lse = nn.attention %qs, %ks, %vm, %mask {causal = false, scale = 0.5 : f64} : (tensor<2x3x4x5xf32>, tensor<2x3x4x5xf32>, tensor<2x3x4x5xf32>, tensor<2x1x3x3xi1>) -> (tensor<2x3x4x5xf32>, tensor<2x4x3xf32>)
  return %y : tensor<2x3x4x5xf32>
}

// -----

// A sliding window is no causal mask: kept, but not for each sample and head. The sequence's heads repeat as a whole (2, 1, 2, 1), so
// they are no groups.
// CHECK-LABEL: func.func @window
//       CHECK:   %[[M:.+]] = arith.constant {{.+}} : tensor<1x1x3x3xf32>
//       CHECK:   nn.attention %{{.+}}, %{{.+}}, %{{.+}}, %[[M]] {causal = false, scale = 1.000000e+00 : f64} : (tensor<2x3x4x5xf32>, tensor<2x3x4x5xf32>, tensor<2x3x4x5xf32>, tensor<1x1x3x3xf32>)
func.func @window(%q: tensor<2x3x4x5xf32>, %k: tensor<2x3x2x5xf32>) -> tensor<2x3x4x5xf32> {
  %m = arith.constant dense<[[0.0, -1.0e9, -1.0e9], [0.0, 0.0, -1.0e9], [-1.0e9, 0.0, 0.0]]> : tensor<3x3xf32>
  %mask = nn.broadcast %m {dims = array<i64: 2, 3>} : (tensor<3x3xf32>) -> tensor<2x4x3x3xf32>
  %kr = nn.broadcast %k {dims = array<i64: 0, 1, 3, 4>} : (tensor<2x3x2x5xf32>) -> tensor<2x3x2x2x5xf32>
  %km = tensor.collapse_shape %kr [[0], [1], [2, 3], [4]] : tensor<2x3x2x2x5xf32> into tensor<2x3x4x5xf32>
  %y, %lse = nn.attention %q, %km, %km, %mask {causal = false, scale = 1.0 : f64} : (tensor<2x3x4x5xf32>, tensor<2x3x4x5xf32>, tensor<2x3x4x5xf32>, tensor<2x4x3x3xf32>) -> (tensor<2x3x4x5xf32>, tensor<2x4x3xf32>)
  return %y : tensor<2x3x4x5xf32>
}

// -----

// One key head for all; a mask that hides nothing goes; more keys than queries: causal to the end.
// CHECK-LABEL: func.func @multi_query
//       CHECK:   nn.attention %{{.+}}, %{{.+}}, %{{.+}} {causal = true, scale = 1.000000e+00 : f64} : (tensor<2x2x4x5xf32>, tensor<2x3x1x5xf32>, tensor<2x3x1x5xf32>) ->
//       CHECK:   nn.attention %{{.+}}, %{{.+}}, %{{.+}} {causal = false, scale = 1.000000e+00 : f64} : (tensor<2x2x4x5xf32>, tensor<2x3x1x5xf32>, tensor<2x3x1x5xf32>) ->
func.func @multi_query(%q: tensor<2x2x4x5xf32>, %k: tensor<2x3x5xf32>) -> (tensor<2x2x4x5xf32>, tensor<2x2x4x5xf32>) {
  %m = arith.constant dense<[[0.0, 0.0, -1.0e9], [0.0, 0.0, 0.0]]> : tensor<2x3xf32>
  %mask = nn.broadcast %m {dims = array<i64: 2, 3>} : (tensor<2x3xf32>) -> tensor<2x4x2x3xf32>
  %none = arith.constant dense<0.0> : tensor<1x1x2x3xf32>
  %kr = nn.broadcast %k {dims = array<i64: 0, 1, 3>} : (tensor<2x3x5xf32>) -> tensor<2x3x4x5xf32>
  %y, %lse = nn.attention %q, %kr, %kr, %mask {causal = false, scale = 1.0 : f64} : (tensor<2x2x4x5xf32>, tensor<2x3x4x5xf32>, tensor<2x3x4x5xf32>, tensor<2x4x2x3xf32>) -> (tensor<2x2x4x5xf32>, tensor<2x4x2xf32>)
  %z, %lse2 = nn.attention %q, %kr, %kr, %none {causal = false, scale = 1.0 : f64} : (tensor<2x2x4x5xf32>, tensor<2x3x4x5xf32>, tensor<2x3x4x5xf32>, tensor<1x1x2x3xf32>) -> (tensor<2x2x4x5xf32>, tensor<2x4x2xf32>)
  return %y, %z : tensor<2x2x4x5xf32>, tensor<2x2x4x5xf32>
}
