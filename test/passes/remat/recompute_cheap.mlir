// RUN: llmc-opt %s --remat-recompute-cheap=min-bytes=1 --split-input-file | FileCheck %s

// The activation is not kept over the peak: its input is there anyway, for the derivative.
// CHECK-LABEL: func.func @accumulate
//       CHECK:   %[[X:.+]] = nn.contract %arg0, %arg1
//       CHECK:   %[[A:.+]] = nn.gelu %[[X]]
//       CHECK:   nn.contract %[[A]], %arg2
//       CHECK:   %[[AGAIN:.+]] = nn.gelu %[[X]]
//       CHECK:   nn.contract %{{.+}}, %[[AGAIN]]
func.func @accumulate(%x: tensor<8x4xf32>, %w: tensor<4x8xf32>, %v: tensor<8x64xf32>) -> (tensor<64x8xf32>, tensor<8x8xf32>) {
  %0 = nn.contract %x, %w {equation = "tc,cn->tn"} : (tensor<8x4xf32>, tensor<4x8xf32>) -> tensor<8x8xf32>
  %1 = nn.gelu %0 {tanh = true} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %2 = nn.contract %1, %v {equation = "tn,nm->tm"} : (tensor<8x8xf32>, tensor<8x64xf32>) -> tensor<8x64xf32>
  %3 = math.exp %2 : tensor<8x64xf32>
  %4 = nn.contract %3, %1 {equation = "tm,tn->mn"} : (tensor<8x64xf32>, tensor<8x8xf32>) -> tensor<64x8xf32>
  %5 = arith.mulf %0, %0 : tensor<8x8xf32>
  return %4, %5 : tensor<64x8xf32>, tensor<8x8xf32>
}

// -----

// The input of this one is read by nothing later: keeping it instead would save nothing.
// CHECK-LABEL: func.func @accumulate
//       CHECK:   nn.gelu
//   CHECK-NOT:   nn.gelu
func.func @accumulate(%x: tensor<8x4xf32>, %w: tensor<4x8xf32>, %v: tensor<8x64xf32>) -> tensor<64x8xf32> {
  %0 = nn.contract %x, %w {equation = "tc,cn->tn"} : (tensor<8x4xf32>, tensor<4x8xf32>) -> tensor<8x8xf32>
  %1 = nn.gelu %0 {tanh = true} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %2 = nn.contract %1, %v {equation = "tn,nm->tm"} : (tensor<8x8xf32>, tensor<8x64xf32>) -> tensor<8x64xf32>
  %3 = math.exp %2 : tensor<8x64xf32>
  %4 = nn.contract %3, %1 {equation = "tm,tn->mn"} : (tensor<8x64xf32>, tensor<8x8xf32>) -> tensor<64x8xf32>
  return %4 : tensor<64x8xf32>
}

// -----

// Not at all if the recipe says so.
// CHECK-LABEL: func.func @accumulate
//       CHECK:   nn.gelu
//   CHECK-NOT:   nn.gelu
module attributes {train.recipe = {memory.recompute = "none"}} {
  func.func @accumulate(%x: tensor<8x4xf32>, %w: tensor<4x8xf32>, %v: tensor<8x64xf32>) -> (tensor<64x8xf32>, tensor<8x8xf32>) {
    %0 = nn.contract %x, %w {equation = "tc,cn->tn"} : (tensor<8x4xf32>, tensor<4x8xf32>) -> tensor<8x8xf32>
    %1 = nn.gelu %0 {tanh = true} : (tensor<8x8xf32>) -> tensor<8x8xf32>
    %2 = nn.contract %1, %v {equation = "tn,nm->tm"} : (tensor<8x8xf32>, tensor<8x64xf32>) -> tensor<8x64xf32>
    %3 = math.exp %2 : tensor<8x64xf32>
    %4 = nn.contract %3, %1 {equation = "tm,tn->mn"} : (tensor<8x64xf32>, tensor<8x8xf32>) -> tensor<64x8xf32>
    %5 = arith.mulf %0, %0 : tensor<8x8xf32>
    return %4, %5 : tensor<64x8xf32>, tensor<8x8xf32>
  }
}

// -----

// Its input is a view of what is there: the view is made again, too.
// CHECK-LABEL: func.func @accumulate
//       CHECK:   %[[X:.+]] = nn.contract %arg0, %arg1
//       CHECK:   math.exp
//       CHECK:   %[[E:.+]] = tensor.expand_shape %[[X]]
//       CHECK:   %[[AGAIN:.+]] = nn.gelu %[[E]]
//       CHECK:   nn.contract %{{.+}}, %[[AGAIN]]
func.func @accumulate(%x: tensor<8x4xf32>, %w: tensor<4x8xf32>, %v: tensor<8x64xf32>) -> (tensor<64x8xf32>, tensor<8x8xf32>) {
  %0 = nn.contract %x, %w {equation = "tc,cn->tn"} : (tensor<8x4xf32>, tensor<4x8xf32>) -> tensor<8x8xf32>
  %e = tensor.expand_shape %0 [[0, 1], [2]] output_shape [2, 4, 8] : tensor<8x8xf32> into tensor<2x4x8xf32>
  %1 = nn.gelu %e {tanh = true} : (tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
  %2 = nn.contract %1, %v {equation = "atn,nm->atm"} : (tensor<2x4x8xf32>, tensor<8x64xf32>) -> tensor<2x4x64xf32>
  %3 = math.exp %2 : tensor<2x4x64xf32>
  %4 = nn.contract %3, %1 {equation = "atm,atn->mn"} : (tensor<2x4x64xf32>, tensor<2x4x8xf32>) -> tensor<64x8xf32>
  %5 = arith.mulf %0, %0 : tensor<8x8xf32>
  return %4, %5 : tensor<64x8xf32>, tensor<8x8xf32>
}
