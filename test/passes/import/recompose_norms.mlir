// RUN: llmc-opt %s --import-recompose-norms --canonicalize --split-input-file | FileCheck %s

// As Llama's export at opset 18: power, mean, eps, sqrt, reciprocal, the weight first.
// CHECK-LABEL: func.func @rms_power
//       CHECK:   %[[Y:.+]], %{{.+}} = nn.rms_norm %[[X:.+]], %[[W:.+]] {epsilon = 9.99{{.+}}E-7 : f64}
//       CHECK:   return %[[Y]]
func.func @rms_power(%x: tensor<2x3x4xf32>, %w: tensor<4xf32>) -> tensor<2x3x4xf32> {
  %two = arith.constant dense<2.0> : tensor<2x3x4xf32>
  %eps = arith.constant dense<1.0e-6> : tensor<2x3x1xf32>
  %one = arith.constant dense<1.0> : tensor<2x3x1xf32>
  %p = math.powf %x, %two : tensor<2x3x4xf32>
  %m = nn.reduce %p {kind = 1 : i32, dims = array<i64: 2>} : (tensor<2x3x4xf32>) -> tensor<2x3xf32>
  %e = tensor.expand_shape %m [[0], [1, 2]] output_shape [2, 3, 1] : tensor<2x3xf32> into tensor<2x3x1xf32>
  %a = arith.addf %e, %eps : tensor<2x3x1xf32>
  %s = math.sqrt %a : tensor<2x3x1xf32>
  %r = arith.divf %one, %s : tensor<2x3x1xf32>
  %b = nn.broadcast %r {dims = array<i64: 0, 1, 2>} : (tensor<2x3x1xf32>) -> tensor<2x3x4xf32>
  %n = arith.mulf %x, %b : tensor<2x3x4xf32>
  %wb = nn.broadcast %w {dims = array<i64: 2>} : (tensor<4xf32>) -> tensor<2x3x4xf32>
  %y = arith.mulf %wb, %n : tensor<2x3x4xf32>
  return %y : tensor<2x3x4xf32>
}

// -----

// The root and its reciprocal as powers.
// CHECK-LABEL: func.func @rms_roots
//       CHECK:   %[[Y:.+]], %{{.+}} = nn.rms_norm %[[X:.+]], %{{.+}} {epsilon = {{9.99.+E-6|1.0+e-05}} : f64}
//       CHECK:   %[[Z:.+]], %{{.+}} = nn.rms_norm %[[X]], %{{.+}} {epsilon = {{9.99.+E-6|1.0+e-05}} : f64}
//       CHECK:   %[[V:.+]], %{{.+}} = nn.rms_norm %[[X]], %{{.+}} {epsilon = {{9.99.+E-6|1.0+e-05}} : f64}
//   CHECK-NOT:   powf
//       CHECK:   return %[[Y]], %[[Z]], %[[V]]
func.func @rms_roots(%x: tensor<3x4xf32>) -> (tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>) {
  %eps = arith.constant dense<1.0e-5> : tensor<3xf32>
  %half = arith.constant dense<-0.5> : tensor<3xf32>
  %root = arith.constant dense<0.5> : tensor<3xf32>
  %back = arith.constant dense<-1.0> : tensor<3xf32>
  %p = arith.mulf %x, %x : tensor<3x4xf32>
  %m = nn.reduce %p {kind = 1 : i32, dims = array<i64: 1>} : (tensor<3x4xf32>) -> tensor<3xf32>
  %a = arith.addf %eps, %m : tensor<3xf32>
  %r = math.powf %a, %half : tensor<3xf32>
  %b = nn.broadcast %r {dims = array<i64: 0>} : (tensor<3xf32>) -> tensor<3x4xf32>
  %y = arith.mulf %b, %x : tensor<3x4xf32>
  %s = math.powf %a, %root : tensor<3xf32>
  %c = nn.broadcast %s {dims = array<i64: 0>} : (tensor<3xf32>) -> tensor<3x4xf32>
  %z = arith.divf %x, %c : tensor<3x4xf32>
  %q = math.powf %s, %back : tensor<3xf32>
  %d = nn.broadcast %q {dims = array<i64: 0>} : (tensor<3xf32>) -> tensor<3x4xf32>
  %v = arith.mulf %x, %d : tensor<3x4xf32>
  return %y, %z, %v : tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>
}

// -----

// Sum over n, rsqrt, no weight: the scale is ones.
// CHECK-LABEL: func.func @rms_plain
//       CHECK:   %[[ONES:.+]] = arith.constant dense<1.000000e+00> : tensor<4xf32>
//       CHECK:   nn.rms_norm %{{.+}}, %[[ONES]]
func.func @rms_plain(%x: tensor<3x4xf32>) -> tensor<3x4xf32> {
  %eps = arith.constant dense<1.0e-5> : tensor<3xf32>
  %n = arith.constant dense<4.0> : tensor<3xf32>
  %p = arith.mulf %x, %x : tensor<3x4xf32>
  %s = nn.reduce %p {kind = 0 : i32, dims = array<i64: 1>} : (tensor<3x4xf32>) -> tensor<3xf32>
  %m = arith.divf %s, %n : tensor<3xf32>
  %a = arith.addf %eps, %m : tensor<3xf32>
  %r = math.rsqrt %a : tensor<3xf32>
  %b = nn.broadcast %r {dims = array<i64: 0>} : (tensor<3xf32>) -> tensor<3x4xf32>
  %y = arith.mulf %b, %x : tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}

// -----

// x - mean, over the root of its mean square, with weight and bias.
// CHECK-LABEL: func.func @layer
//       CHECK:   %[[Y:.+]], %{{.+}}, %{{.+}} = nn.layer_norm %{{.+}}, %{{.+}}, %{{.+}} {epsilon = 9.99{{.+}}E-6 : f64}
//       CHECK:   return %[[Y]]
func.func @layer(%x: tensor<3x4xf32>, %w: tensor<4xf32>, %bias: tensor<1x4xf32>) -> tensor<3x4xf32> {
  %eps = arith.constant dense<1.0e-5> : tensor<3x1xf32>
  %m = nn.reduce %x {kind = 1 : i32, dims = array<i64: 1>} : (tensor<3x4xf32>) -> tensor<3xf32>
  %mb = nn.broadcast %m {dims = array<i64: 0>} : (tensor<3xf32>) -> tensor<3x4xf32>
  %d = arith.subf %x, %mb : tensor<3x4xf32>
  %p = arith.mulf %d, %d : tensor<3x4xf32>
  %v = nn.reduce %p {kind = 1 : i32, dims = array<i64: 1>} : (tensor<3x4xf32>) -> tensor<3xf32>
  %e = tensor.expand_shape %v [[0, 1]] output_shape [3, 1] : tensor<3xf32> into tensor<3x1xf32>
  %a = arith.addf %e, %eps : tensor<3x1xf32>
  %s = math.sqrt %a : tensor<3x1xf32>
  %sb = nn.broadcast %s {dims = array<i64: 0, 1>} : (tensor<3x1xf32>) -> tensor<3x4xf32>
  %n = arith.divf %d, %sb : tensor<3x4xf32>
  %wb = nn.broadcast %w {dims = array<i64: 1>} : (tensor<4xf32>) -> tensor<3x4xf32>
  %nw = arith.mulf %n, %wb : tensor<3x4xf32>
  %bb = nn.broadcast %bias {dims = array<i64: 0, 1>} : (tensor<1x4xf32>) -> tensor<3x4xf32>
  %y = arith.addf %nw, %bb : tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}

// -----

// The root of another tensor's mean square, and a cube, are no norms.
// CHECK-LABEL: func.func @no_norm
//   CHECK-NOT:   nn.rms_norm
func.func @no_norm(%x: tensor<3x4xf32>, %z: tensor<3x4xf32>) -> (tensor<3x4xf32>, tensor<3x4xf32>) {
  %eps = arith.constant dense<1.0e-5> : tensor<3xf32>
  %three = arith.constant dense<3.0> : tensor<3x4xf32>
  %p = arith.mulf %z, %z : tensor<3x4xf32>
  %m = nn.reduce %p {kind = 1 : i32, dims = array<i64: 1>} : (tensor<3x4xf32>) -> tensor<3xf32>
  %a = arith.addf %m, %eps : tensor<3xf32>
  %r = math.rsqrt %a : tensor<3xf32>
  %b = nn.broadcast %r {dims = array<i64: 0>} : (tensor<3xf32>) -> tensor<3x4xf32>
  %y = arith.mulf %x, %b : tensor<3x4xf32>
  %pc = math.powf %x, %three : tensor<3x4xf32>
  %mc = nn.reduce %pc {kind = 1 : i32, dims = array<i64: 1>} : (tensor<3x4xf32>) -> tensor<3xf32>
  %ec = math.exp %mc : tensor<3xf32>
  %ac = arith.addf %ec, %eps : tensor<3xf32>
  %rc = math.rsqrt %ac : tensor<3xf32>
  %bc = nn.broadcast %rc {dims = array<i64: 0>} : (tensor<3xf32>) -> tensor<3x4xf32>
  %yc = arith.mulf %x, %bc : tensor<3x4xf32>
  return %y, %yc : tensor<3x4xf32>, tensor<3x4xf32>
}

// -----

// Something else uses the norm before the weight: the multiplication stays.
// CHECK-LABEL: func.func @shared
//       CHECK:   %[[N:.+]], %{{.+}} = nn.rms_norm
//       CHECK:   %[[Y:.+]] = arith.mulf %[[N]], %{{.+}}
//       CHECK:   return %[[N]], %[[Y]]
func.func @shared(%x: tensor<3x4xf32>, %w: tensor<4xf32>) -> (tensor<3x4xf32>, tensor<3x4xf32>) {
  %ones = arith.constant dense<1.0> : tensor<4xf32>
  %n, %rstd = nn.rms_norm %x, %ones {epsilon = 1.0e-5 : f64} : (tensor<3x4xf32>, tensor<4xf32>) -> (tensor<3x4xf32>, tensor<3xf32>)
  %wb = nn.broadcast %w {dims = array<i64: 1>} : (tensor<4xf32>) -> tensor<3x4xf32>
  %y = arith.mulf %n, %wb : tensor<3x4xf32>
  return %n, %y : tensor<3x4xf32>, tensor<3x4xf32>
}
