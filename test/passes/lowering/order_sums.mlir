// RUN: llmc-opt %s --lowering-order-sums --split-input-file | FileCheck %s

// The gradient accumulator comes first, then the products in program order, then the scatter.
// CHECK-LABEL: func.func @accumulate
//       CHECK:   %[[P:.+]] = nn.contract %arg1
//  CHECK-NEXT:   %[[A:.+]] = arith.addf %arg0, %[[P]]
//       CHECK:   %[[Q:.+]] = nn.contract %arg2
//  CHECK-NEXT:   %[[B:.+]] = arith.addf %[[A]], %[[Q]]
//       CHECK:   %[[S:.+]] = nn.scatter_add
//  CHECK-NEXT:   %[[C:.+]] = arith.addf %[[B]], %[[S]]
//  CHECK-NEXT:   return %[[C]]
func.func @accumulate(%g: tensor<8x4xf32> {train.name = "w", train.role = "gradient"}, %x: tensor<16x8xf32>, %y: tensor<16x8xf32>,
                      %d: tensor<16x4xf32>, %ids: tensor<16xi64>) -> tensor<8x4xf32> {
  %p = nn.contract %x, %d {equation = "tv,tc->vc"} : (tensor<16x8xf32>, tensor<16x4xf32>) -> tensor<8x4xf32>
  %q = nn.contract %y, %d {equation = "tv,tc->vc"} : (tensor<16x8xf32>, tensor<16x4xf32>) -> tensor<8x4xf32>
  %s = nn.scatter_add %ids, %d : (tensor<16xi64>, tensor<16x4xf32>) -> tensor<8x4xf32>
  %0 = arith.addf %s, %q : tensor<8x4xf32>
  %1 = arith.addf %0, %p : tensor<8x4xf32>
  %2 = arith.addf %g, %1 : tensor<8x4xf32>
  return %2 : tensor<8x4xf32>
}

// -----

// A product that something else reads too cannot be added to; the sum stays.
// CHECK-LABEL: func.func @shared
//       CHECK:   %[[P:.+]] = nn.contract
//       CHECK:   %[[A:.+]] = arith.addf %arg2, %[[P]]
//       CHECK:   arith.addf %[[A]], %arg3
func.func @shared(%x: tensor<16x8xf32>, %d: tensor<16x4xf32>, %a: tensor<8x4xf32>, %b: tensor<8x4xf32>) -> (tensor<8x4xf32>, tensor<8x4xf32>) {
  %p = nn.contract %x, %d {equation = "tv,tc->vc"} : (tensor<16x8xf32>, tensor<16x4xf32>) -> tensor<8x4xf32>
  %0 = arith.addf %a, %p : tensor<8x4xf32>
  %1 = arith.addf %0, %b : tensor<8x4xf32>
  return %1, %p : tensor<8x4xf32>, tensor<8x4xf32>
}
