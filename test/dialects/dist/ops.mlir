// RUN: llmc-opt %s | llmc-opt | FileCheck %s

// CHECK: #dist.mesh<dp = 2, tp = 4>
module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 4>} {
  // CHECK: dist.sharding = #dist.sharding<[{dp}, {}]>
  func.func @f(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>}) -> tensor<8x4xf32> {
    // CHECK: dist.reshard {{.*}}from = #dist.sharding<[{}, {tp}] sum {dp}>{{.*}}to = #dist.sharding<[{dp}, {tp}]>
    %0 = dist.reshard %x {from = #dist.sharding<[{}, {tp}] sum {dp}>, to = #dist.sharding<[{dp}, {tp}]>, reason = "test"} : tensor<8x4xf32>
    // CHECK: dist.all_reduce {{.*}} {axes = ["dp", "tp"], kind = "max", reason = "test"}
    %1 = dist.all_reduce %0 {axes = ["dp", "tp"], kind = "max", reason = "test"} : (tensor<8x4xf32>) -> tensor<8x4xf32>
    // CHECK: dist.reduce_scatter
    %2:2 = dist.reduce_scatter %0, %1 {axes = ["dp"], dim = 0 : i64, kind = "sum", reason = "test"} : (tensor<8x4xf32>, tensor<8x4xf32>) -> (tensor<4x4xf32>, tensor<4x4xf32>)
    // CHECK: dist.all_gather
    %3 = dist.all_gather %2#0 {axes = ["dp"], dim = 0 : i64, reason = "test"} : (tensor<4x4xf32>) -> tensor<8x4xf32>
    // CHECK: dist.part
    %4 = dist.part %3 {axes = ["tp"], dim = 1 : i64} : (tensor<8x4xf32>) -> tensor<8x1xf32>
    // CHECK: dist.index {axes = ["dp"]} : tensor<i64>
    %5 = dist.index {axes = ["dp"]} : tensor<i64>
    return %3 : tensor<8x4xf32>
  }
}
