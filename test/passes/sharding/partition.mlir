// RUN: llmc-opt %s --sharding-partition --split-input-file | FileCheck %s

// CHECK-LABEL: func.func @f
//  CHECK-SAME:   (%arg0: tensor<8x6xf32> {{.*}}, %arg1: tensor<4x6xf32>
//       CHECK:   %[[R:.+]] = dist.reduce_scatter %arg0 {axes = ["dp"], dim = 0 : i64, kind = "sum", reason = "g"} : (tensor<8x6xf32>) -> tensor<4x6xf32>
//       CHECK:   dist.all_reduce %arg0 {axes = ["dp"], kind = "sum", reason = "h"} : (tensor<8x6xf32>) -> tensor<8x6xf32>
//       CHECK:   dist.all_gather %arg1 {axes = ["dp"], dim = 0 : i64, reason = "i"} : (tensor<4x6xf32>) -> tensor<8x6xf32>
//       CHECK:   %[[A:.+]] = dist.all_gather %arg1 {axes = ["dp"], dim = 0
//       CHECK:   dist.part %[[A]] {axes = ["dp"], dim = 1 : i64} : (tensor<8x6xf32>) -> tensor<8x3xf32>
//       CHECK:   %[[B:.+]] = dist.all_gather %arg2 {axes = ["dp"], dim = 1
//       CHECK:   dist.part %[[B]] {axes = ["dp"], dim = 0 : i64} : (tensor<8x6xf32>) -> tensor<4x6xf32>
//       CHECK:   return %[[R]] : tensor<4x6xf32>
module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @f(%x: tensor<8x6xf32> {dist.sharding = #dist.sharding<[{}, {}] sum {dp}>}, %y: tensor<8x6xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>},
               %z: tensor<8x6xf32> {dist.sharding = #dist.sharding<[{}, {dp}]>}) -> (tensor<8x6xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>}) {
    %0 = dist.reshard %x {from = #dist.sharding<[{}, {}] sum {dp}>, to = #dist.sharding<[{dp}, {}]>, reason = "g", dist.shardings = [#dist.sharding<[{dp}, {}]>]} : tensor<8x6xf32>
    %1 = dist.reshard %x {from = #dist.sharding<[{}, {}] sum {dp}>, to = #dist.sharding<[{}, {}]>, reason = "h", dist.shardings = [#dist.sharding<[{}, {}]>]} : tensor<8x6xf32>
    %2 = dist.reshard %y {from = #dist.sharding<[{dp}, {}]>, to = #dist.sharding<[{}, {}]>, reason = "i", dist.shardings = [#dist.sharding<[{}, {}]>]} : tensor<8x6xf32>
    %3 = dist.reshard %y {from = #dist.sharding<[{dp}, {}]>, to = #dist.sharding<[{}, {dp}]>, reason = "j", dist.shardings = [#dist.sharding<[{}, {dp}]>]} : tensor<8x6xf32>
    %4 = dist.reshard %z {from = #dist.sharding<[{}, {dp}]>, to = #dist.sharding<[{dp}, {}]>, reason = "k", dist.shardings = [#dist.sharding<[{dp}, {}]>]} : tensor<8x6xf32>
    return %0 : tensor<8x6xf32>
  }
}

// -----

// A local mean is made a part of the global one; slices, reshapes and constants get local sizes; dropout counts samples from the
// rank's first.
// CHECK-LABEL: func.func @g
//       CHECK:   tensor.extract_slice %arg0[0, 2] [4, 3] [1, 1] : tensor<4x6xf32> to tensor<4x3xf32>
//       CHECK:   tensor.expand_shape {{.*}} output_shape [4, 2, 3] : tensor<4x6xf32> into tensor<4x2x3xf32>
//       CHECK:   arith.constant dense<1.000000e+00> : tensor<4x6xf32>
//       CHECK:   %[[M:.+]] = nn.reduce %arg0
//       CHECK:   arith.mulf %[[M]], %{{.+}} : tensor<6xf32>
//       CHECK:   %[[I:.+]] = dist.index {axes = ["dp"]} : tensor<i64>
//       CHECK:   %[[P:.+]] = arith.addi %arg1
//       CHECK:   nn.dropout %arg0, %[[P]]
module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @g(%x: tensor<8x6xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>}, %p: tensor<2xi64> {dist.sharding = #dist.sharding<[{}]>}) {
    %0 = tensor.extract_slice %x[0, 2] [8, 3] [1, 1] {dist.shardings = [#dist.sharding<[{dp}, {}]>]} : tensor<8x6xf32> to tensor<8x3xf32>
    %1 = tensor.expand_shape %x [[0], [1, 2]] output_shape [8, 2, 3] {dist.shardings = [#dist.sharding<[{dp}, {}, {}]>]} : tensor<8x6xf32> into tensor<8x2x3xf32>
    %2 = arith.constant {dist.shardings = [#dist.sharding<[{dp}, {}]>]} dense<1.0> : tensor<8x6xf32>
    %3 = nn.reduce %x {kind = 1 : i32, dims = array<i64: 0>, dist.shardings = [#dist.sharding<[{}] sum {dp}>]} : (tensor<8x6xf32>) -> tensor<6xf32>
    %4 = nn.dropout %x, %p {ratio = 0.5 : f64, seed = 1 : i64, id = 2 : i64, dist.shardings = [#dist.sharding<[{dp}, {}]>]} : (tensor<8x6xf32>, tensor<2xi64>) -> tensor<8x6xf32>
    return
  }
}

// -----

// Dropout of a part of the sequence counts entries from the rank's first, with the whole tensor's strides; two that are cut alike
// share what they count from, and of one that is whole nothing changes.
// CHECK-LABEL: func.func @sequence
//       CHECK:   %[[D:.+]] = dist.index {axes = ["dp"]} : tensor<i64>
//       CHECK:   %[[S:.+]] = arith.muli %[[D]], %{{.+}} : tensor<i64>
//       CHECK:   %[[T:.+]] = dist.index {axes = ["tp"]} : tensor<i64>
//       CHECK:   %[[ROWS:.+]] = arith.constant dense<12> : tensor<i64>
//       CHECK:   %[[E:.+]] = arith.muli %[[T]], %[[ROWS]] : tensor<i64>
//       CHECK:   %[[P:.+]] = arith.addi {{.*}} : tensor<3xi64>
//       CHECK:   nn.dropout %arg0, %[[P]] {id = 2 : i64, ratio = 5.000000e-01 : f64, seed = 1 : i64, strides = array<i64: 6, 1>} : (tensor<4x2x6xf32>
//   CHECK-NOT:   dist.index
//       CHECK:   nn.dropout %arg0, %[[P]] {id = 3 : i64
//       CHECK:   nn.dropout %arg1, %arg2 {id = 4 : i64, ratio = 5.000000e-01 : f64, seed = 1 : i64} : (tensor<4xf32>
module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @sequence(%x: tensor<8x4x6xf32> {dist.sharding = #dist.sharding<[{dp}, {tp}, {}]>}, %y: tensor<4xf32> {dist.sharding = #dist.sharding<[{}]>},
                      %p: tensor<2xi64> {dist.sharding = #dist.sharding<[{}]>}) {
    %0 = nn.dropout %x, %p {ratio = 0.5 : f64, seed = 1 : i64, id = 2 : i64, dist.shardings = [#dist.sharding<[{dp}, {tp}, {}]>]} : (tensor<8x4x6xf32>, tensor<2xi64>) -> tensor<8x4x6xf32>
    %1 = nn.dropout %x, %p {ratio = 0.5 : f64, seed = 1 : i64, id = 3 : i64, dist.shardings = [#dist.sharding<[{dp}, {tp}, {}]>]} : (tensor<8x4x6xf32>, tensor<2xi64>) -> tensor<8x4x6xf32>
    %2 = nn.dropout %y, %p {ratio = 0.5 : f64, seed = 1 : i64, id = 4 : i64, dist.shardings = [#dist.sharding<[{}]>]} : (tensor<4xf32>, tensor<2xi64>) -> tensor<4xf32>
    return
  }
}

// -----

// Rows of a table that the rank does not have are looked up as others of its own, and dropped: row i is row i % 5 of rank i / 5.
// CHECK-LABEL: func.func @rows
//       CHECK:   %[[IDS:.+]] = arith.select
//       CHECK:   %[[OWN:.+]] = arith.cmpi eq
//       CHECK:   %[[LOCAL:.+]] = arith.remsi %[[IDS]]
//       CHECK:   %[[FOUND:.+]] = nn.gather %arg0, %[[LOCAL]] : (tensor<5x6xf32>, tensor<4xi64>) -> tensor<4x6xf32>
//       CHECK:   arith.select %{{.+}}, %[[FOUND]], %{{.+}} : tensor<4x6xi1>, tensor<4x6xf32>
//       CHECK:   dist.all_reduce {{.*}} : (tensor<4x6xf32>)
//       CHECK:   nn.scatter_add {{.*}} -> tensor<5x6xf32>
module attributes {dist.mesh = #dist.mesh<tp = 2>} {
  func.func @rows(%w: tensor<10x6xf32> {dist.sharding = #dist.sharding<[{tp}, {}]>}, %ids: tensor<4xi64> {dist.sharding = #dist.sharding<[{}]>})
      -> (tensor<10x6xf32> {dist.sharding = #dist.sharding<[{tp}, {}]>}) {
    %0 = nn.gather %w, %ids {dist.shardings = [#dist.sharding<[{}, {}] sum {tp}>]} : (tensor<10x6xf32>, tensor<4xi64>) -> tensor<4x6xf32>
    %1 = dist.reshard %0 {from = #dist.sharding<[{}, {}] sum {tp}>, to = #dist.sharding<[{}, {}]>, reason = "x", dist.shardings = [#dist.sharding<[{}, {}]>]} : tensor<4x6xf32>
    %2 = nn.scatter_add %ids, %1 {dist.shardings = [#dist.sharding<[{tp}, {}]>]} : (tensor<4xi64>, tensor<4x6xf32>) -> tensor<10x6xf32>
    return %2 : tensor<10x6xf32>
  }
}
