// RUN: llmc-opt %s --sharding-group-fused-weights --split-input-file | FileCheck %s

// CHECK-LABEL: func.func @forward
//  CHECK-SAME:   %arg1: tensor<4x3x2xf32> {train.name = "w", train.role = "param", train.shape = array<i64: 4, 6>, train.view = [{reshape = array<i64: 4, 3, 2>}]}
//  CHECK-SAME:   %arg2: tensor<3x2xf32> {train.name = "b", train.role = "param", train.shape = array<i64: 6>, train.view = [{reshape = array<i64: 3, 2>}]}
//       CHECK:   %[[Y:.+]] = nn.contract %arg0, %arg1 {equation = "tk,kan->tan"} : (tensor<8x4xf32>, tensor<4x3x2xf32>) -> tensor<8x3x2xf32>
//       CHECK:   %[[B:.+]] = nn.broadcast %arg2 {dims = array<i64: 1, 2>}
//       CHECK:   %[[S:.+]] = arith.addf %[[Y]], %[[B]]
//       CHECK:   tensor.extract_slice %[[S]][0, 0, 0] [8, 1, 2] [1, 1, 1] : tensor<8x3x2xf32> to tensor<8x2xf32>
//       CHECK:   tensor.extract_slice %[[S]][0, 2, 0] [8, 1, 2] [1, 1, 1] : tensor<8x3x2xf32> to tensor<8x2xf32>
module attributes {train.recipe = {mesh = [{name = "tp", value = 2 : i64}]}} {
  func.func @forward(%x: tensor<8x4xf32> {train.name = "x", train.role = "input"}, %w: tensor<4x6xf32> {train.name = "w", train.role = "param"},
                     %b: tensor<6xf32> {train.name = "b", train.role = "param"}) -> (tensor<8x2xf32>, tensor<8x2xf32>) {
    %y = nn.contract %x, %w {equation = "tk,kn->tn"} : (tensor<8x4xf32>, tensor<4x6xf32>) -> tensor<8x6xf32>
    %c = nn.broadcast %b {dims = array<i64: 1>} : (tensor<6xf32>) -> tensor<8x6xf32>
    %s = arith.addf %y, %c : tensor<8x6xf32>
    %q = tensor.extract_slice %s[0, 0] [8, 2] [1, 1] : tensor<8x6xf32> to tensor<8x2xf32>
    %v = tensor.extract_slice %s[0, 4] [8, 2] [1, 1] : tensor<8x6xf32> to tensor<8x2xf32>
    return %q, %v : tensor<8x2xf32>, tensor<8x2xf32>
  }
}

// -----

// Read whole as well: stays.
// CHECK-LABEL: func.func @forward
//  CHECK-SAME:   %arg1: tensor<4x6xf32>
//       CHECK:   equation = "tk,kn->tn"
module attributes {train.recipe = {mesh = [{name = "tp", value = 2 : i64}]}} {
  func.func @forward(%x: tensor<8x4xf32> {train.name = "x", train.role = "input"}, %w: tensor<4x6xf32> {train.name = "w", train.role = "param"})
      -> (tensor<8x3xf32>, tensor<8x6xf32>) {
    %y = nn.contract %x, %w {equation = "tk,kn->tn"} : (tensor<8x4xf32>, tensor<4x6xf32>) -> tensor<8x6xf32>
    %q = tensor.extract_slice %y[0, 0] [8, 3] [1, 1] : tensor<8x6xf32> to tensor<8x3xf32>
    return %q, %y : tensor<8x3xf32>, tensor<8x6xf32>
  }
}

// -----

// Without tensor ranks nothing is grouped.
// CHECK-LABEL: func.func @forward
//  CHECK-SAME:   %arg1: tensor<4x6xf32>
module attributes {train.recipe = {mesh = [{name = "dp", value = 2 : i64}]}} {
  func.func @forward(%x: tensor<8x4xf32> {train.name = "x", train.role = "input"}, %w: tensor<4x6xf32> {train.name = "w", train.role = "param"}) -> tensor<8x3xf32> {
    %y = nn.contract %x, %w {equation = "tk,kn->tn"} : (tensor<8x4xf32>, tensor<4x6xf32>) -> tensor<8x6xf32>
    %q = tensor.extract_slice %y[0, 3] [8, 3] [1, 1] : tensor<8x6xf32> to tensor<8x3xf32>
    return %q : tensor<8x3xf32>
  }
}
