// RUN: llmc-opt %s --sharding-merge-collectives --split-input-file | FileCheck %s

// Two sums go together where the second is ready; what reads the first waits. The third is over the bucket's size, and a
// maximum is another kind.
// CHECK-LABEL: func.func @f
//       CHECK:   %[[Y:.+]] = math.exp %arg1
//       CHECK:   %[[S:.+]]:2 = dist.all_reduce %arg0, %[[Y]] {axes = ["dp"], kind = "sum", reason = "a and 1 more"}
//       CHECK:   %[[Z:.+]] = math.exp %[[S]]#0
//       CHECK:   %[[T:.+]] = dist.all_reduce %arg2 {axes = ["dp"], kind = "sum"
//       CHECK:   %[[M:.+]] = dist.all_reduce %arg0 {axes = ["dp"], kind = "max"
//       CHECK:   return %[[Z]], %[[S]]#1, %[[T]], %[[M]]
module attributes {dist.mesh = #dist.mesh<dp = 2>, train.recipe = {communication.bucket = 128 : i64}} {
  func.func @f(%a: tensor<8xf32>, %b: tensor<16xf32>, %c: tensor<16xf32>) -> (tensor<8xf32>, tensor<16xf32>, tensor<16xf32>, tensor<8xf32>) {
    %0 = dist.all_reduce %a {axes = ["dp"], kind = "sum", reason = "a"} : (tensor<8xf32>) -> tensor<8xf32>
    %1 = math.exp %0 : tensor<8xf32>
    %2 = math.exp %b : tensor<16xf32>
    %3 = dist.all_reduce %2 {axes = ["dp"], kind = "sum", reason = "b"} : (tensor<16xf32>) -> tensor<16xf32>
    %4 = dist.all_reduce %c {axes = ["dp"], kind = "sum", reason = "c"} : (tensor<16xf32>) -> tensor<16xf32>
    %5 = dist.all_reduce %a {axes = ["dp"], kind = "max", reason = "d"} : (tensor<8xf32>) -> tensor<8xf32>
    return %1, %3, %4, %5 : tensor<8xf32>, tensor<16xf32>, tensor<16xf32>, tensor<8xf32>
  }
}

// -----

// A sum that depends on the one before stays behind it; equal ones are one, whatever they are for.
// CHECK-LABEL: func.func @g
//       CHECK:   %[[S:.+]] = dist.all_reduce %arg0
//       CHECK:   %[[Y:.+]] = math.exp %[[S]]
//       CHECK:   %[[T:.+]] = dist.all_reduce %[[Y]]
//   CHECK-NOT:   dist.all_reduce
//       CHECK:   return %[[T]], %[[S]]
module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @g(%a: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
    %0 = dist.all_reduce %a {axes = ["dp"], kind = "sum", reason = "a"} : (tensor<4xf32>) -> tensor<4xf32>
    %1 = math.exp %0 : tensor<4xf32>
    %2 = dist.all_reduce %1 {axes = ["dp"], kind = "sum", reason = "b"} : (tensor<4xf32>) -> tensor<4xf32>
    %3 = dist.all_reduce %a {axes = ["dp"], kind = "sum", reason = "c"} : (tensor<4xf32>) -> tensor<4xf32>
    return %2, %3 : tensor<4xf32>, tensor<4xf32>
  }
}

// -----

// A parameter that is gathered again on purpose stays so.
// CHECK-LABEL: func.func @h
// CHECK-COUNT-2: dist.all_gather %arg0
module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @h(%a: tensor<4xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
    %0 = dist.all_gather %a {axes = ["dp"], dim = 0 : i64, reason = "forward"} : (tensor<4xf32>) -> tensor<8xf32>
    %1 = dist.all_gather %a {axes = ["dp"], dim = 0 : i64, reason = "backward"} : (tensor<4xf32>) -> tensor<8xf32>
    return %0, %1 : tensor<8xf32>, tensor<8xf32>
  }
}

// -----

// A bucket of nothing: each tensor is sent alone; equal sums are still one.
// CHECK-LABEL: func.func @alone
//       CHECK:   %[[S:.+]] = dist.all_reduce %arg0
//       CHECK:   %[[T:.+]] = dist.all_reduce %arg1
//   CHECK-NOT:   dist.all_reduce
//       CHECK:   return %[[S]], %[[T]], %[[S]]
module attributes {dist.mesh = #dist.mesh<dp = 2>, train.recipe = {communication.bucket = 0 : i64}} {
  func.func @alone(%a: tensor<4xf32>, %b: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
    %0 = dist.all_reduce %a {axes = ["dp"], kind = "sum", reason = "a"} : (tensor<4xf32>) -> tensor<4xf32>
    %1 = dist.all_reduce %b {axes = ["dp"], kind = "sum", reason = "b"} : (tensor<4xf32>) -> tensor<4xf32>
    %2 = dist.all_reduce %a {axes = ["dp"], kind = "sum", reason = "c"} : (tensor<4xf32>) -> tensor<4xf32>
    return %0, %1, %2 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
  }
}
