// RUN: llmc-opt %s --import-recompose-activations --canonicalize --split-input-file | FileCheck %s

// GPT-2's: x * 0.5 first, the cube as a power.
// CHECK-LABEL: func.func @gelu_tanh
//  CHECK-NEXT:   %[[Y:.+]] = nn.gelu %{{.+}} {tanh = true}
//  CHECK-NEXT:   return %[[Y]]
func.func @gelu_tanh(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %half = arith.constant dense<0.5> : tensor<2x4xf32>
  %three = arith.constant dense<3.0> : tensor<2x4xf32>
  %c = arith.constant dense<0.044715> : tensor<2x4xf32>
  %k = arith.constant dense<0.797884583> : tensor<2x4xf32>
  %one = arith.constant dense<1.0> : tensor<2x4xf32>
  %h = arith.mulf %x, %half : tensor<2x4xf32>
  %p = math.powf %x, %three : tensor<2x4xf32>
  %pc = arith.mulf %p, %c : tensor<2x4xf32>
  %s = arith.addf %x, %pc : tensor<2x4xf32>
  %u = arith.mulf %s, %k : tensor<2x4xf32>
  %t = math.tanh %u : tensor<2x4xf32>
  %a = arith.addf %t, %one : tensor<2x4xf32>
  %y = arith.mulf %h, %a : tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

// Another association: k x (1 + c x x), x (0.5 + 0.5 t).
// CHECK-LABEL: func.func @gelu_factored
//  CHECK-NEXT:   %[[Y:.+]] = nn.gelu %{{.+}} {tanh = true}
//  CHECK-NEXT:   return %[[Y]]
func.func @gelu_factored(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %half = arith.constant dense<0.5> : tensor<2x4xf32>
  %c = arith.constant dense<0.044715> : tensor<2x4xf32>
  %k = arith.constant dense<0.797884583> : tensor<2x4xf32>
  %one = arith.constant dense<1.0> : tensor<2x4xf32>
  %xx = arith.mulf %x, %x : tensor<2x4xf32>
  %cxx = arith.mulf %c, %xx : tensor<2x4xf32>
  %f = arith.addf %cxx, %one : tensor<2x4xf32>
  %kx = arith.mulf %x, %k : tensor<2x4xf32>
  %u = arith.mulf %kx, %f : tensor<2x4xf32>
  %t = math.tanh %u : tensor<2x4xf32>
  %ht = arith.mulf %t, %half : tensor<2x4xf32>
  %a = arith.addf %half, %ht : tensor<2x4xf32>
  %y = arith.mulf %a, %x : tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

// BERT's: erf of x over the root of two.
// CHECK-LABEL: func.func @gelu_erf
//       CHECK:   nn.gelu %{{.+}} {tanh = false}
//  CHECK-NEXT:   return
func.func @gelu_erf(%z: tensor<2x4xf32>, %w: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %x = arith.addf %z, %w : tensor<2x4xf32>
  %half = arith.constant dense<0.5> : tensor<2x4xf32>
  %root = arith.constant dense<1.41421354> : tensor<2x4xf32>
  %one = arith.constant dense<1.0> : tensor<2x4xf32>
  %u = arith.divf %x, %root : tensor<2x4xf32>
  %t = math.erf %u : tensor<2x4xf32>
  %a = arith.addf %t, %one : tensor<2x4xf32>
  %h = arith.mulf %a, %half : tensor<2x4xf32>
  %y = arith.mulf %x, %h : tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

// A wrong constant, and erf(x) without the root of two, are no gelu.
// CHECK-LABEL: func.func @no_gelu
//   CHECK-NOT:   nn.gelu
func.func @no_gelu(%x: tensor<2x4xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>) {
  %half = arith.constant dense<0.5> : tensor<2x4xf32>
  %c = arith.constant dense<0.0447> : tensor<2x4xf32>
  %k = arith.constant dense<0.797884583> : tensor<2x4xf32>
  %one = arith.constant dense<1.0> : tensor<2x4xf32>
  %xx = arith.mulf %x, %x : tensor<2x4xf32>
  %cxx = arith.mulf %c, %xx : tensor<2x4xf32>
  %f = arith.addf %cxx, %one : tensor<2x4xf32>
  %kx = arith.mulf %x, %k : tensor<2x4xf32>
  %u = arith.mulf %kx, %f : tensor<2x4xf32>
  %t = math.tanh %u : tensor<2x4xf32>
  %a = arith.addf %t, %one : tensor<2x4xf32>
  %h = arith.mulf %a, %half : tensor<2x4xf32>
  %y = arith.mulf %h, %x : tensor<2x4xf32>
  %e = math.erf %x : tensor<2x4xf32>
  %ea = arith.addf %e, %one : tensor<2x4xf32>
  %eh = arith.mulf %ea, %half : tensor<2x4xf32>
  %z = arith.mulf %eh, %x : tensor<2x4xf32>
  return %y, %z : tensor<2x4xf32>, tensor<2x4xf32>
}

// -----

// CHECK-LABEL: func.func @swiglu
//  CHECK-SAME:   %[[G:.+]]: tensor<2x4xf32>, %[[U:.+]]: tensor<2x4xf32>
//  CHECK-NEXT:   %[[Y:.+]] = nn.swiglu %[[G]], %[[U]]
//  CHECK-NEXT:   return %[[Y]]
func.func @swiglu(%g: tensor<2x4xf32>, %u: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %one = arith.constant dense<1.0> : tensor<2x4xf32>
  %n = arith.negf %g : tensor<2x4xf32>
  %e = math.exp %n : tensor<2x4xf32>
  %d = arith.addf %e, %one : tensor<2x4xf32>
  %s = arith.divf %one, %d : tensor<2x4xf32>
  %a = arith.mulf %s, %g : tensor<2x4xf32>
  %y = arith.mulf %u, %a : tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

// A scaled argument (an approximation of gelu) is no silu; a factor is no second input of swiglu.
// CHECK-LABEL: func.func @near
//       CHECK:   nn.sigmoid
//       CHECK:   nn.silu
//   CHECK-NOT:   nn.swiglu
func.func @near(%x: tensor<2x4xf32>, %g: tensor<2x4xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>) {
  %k = arith.constant dense<1.702> : tensor<2x4xf32>
  %kx = arith.mulf %x, %k : tensor<2x4xf32>
  %s = nn.sigmoid %kx : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %y = arith.mulf %x, %s : tensor<2x4xf32>
  %t = nn.sigmoid %g : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %a = arith.mulf %g, %t : tensor<2x4xf32>
  %z = arith.mulf %a, %k : tensor<2x4xf32>
  return %y, %z : tensor<2x4xf32>, tensor<2x4xf32>
}


// -----

// CHECK-LABEL: func.func @log_sigmoid
//   CHECK-NOT:   nn.sigmoid
//       CHECK:   %[[P:.+]] = arith.cmpf ogt, %[[X:.+]], %[[ZERO:.+]] :
//       CHECK:   %[[B:.+]] = arith.select %[[P]], %[[ZERO]], %[[X]]
//       CHECK:   %[[T:.+]] = math.log1p
//       CHECK:   %[[Y:.+]] = arith.subf %[[B]], %[[T]]
//       CHECK:   return %[[Y]]
func.func @log_sigmoid(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %s = nn.sigmoid %x : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %y = math.log %s : tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}
