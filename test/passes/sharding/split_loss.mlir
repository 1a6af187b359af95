// RUN: llmc-opt %s --sharding-split-loss --sharding-propagate --sharding-partition | FileCheck %s

// A head that two ranks cut along its classes: one maximum and one sum over ranks, of a number a row; labels of the other
// rank's classes are not counted. The loss stays a sum over ranks.
// CHECK-LABEL: func.func @accumulate
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<4x6xf32> {{.*}}, %[[W:[a-z0-9]+]]: tensor<5x6xf32>
//   CHECK-NOT:   dist.all_reduce
//       CHECK:   %[[LABELS:.+]] = arith.select {{.*}} : tensor<4xi1>, tensor<4xi64>
//       CHECK:   %[[SUM:.+]], %{{.+}}, %[[OWN:.+]] = nn.linear_cross_entropy %[[X]], %[[W]], %[[LABELS]] {ignore_index = -1 : i64, parts = 1 : i64}
//       CHECK:   dist.all_reduce {{.*}}kind = "max"{{.*}} : (tensor<4xf32>)
//       CHECK:   dist.all_reduce {{.*}}kind = "sum"{{.*}} : (tensor<4xf32>)
//       CHECK:   %[[LSE:.+]] = arith.addf
//   CHECK-NOT:   dist.all_reduce
//       CHECK:   %[[REST:.+]] = nn.reduce
//       CHECK:   %[[LOSS:.+]] = arith.addf %[[SUM]], %[[REST]]
//       CHECK:   nn.linear_cross_entropy_backward {{.*}} {ignore_index = -1 : i64}
//       CHECK:   return %[[LOSS]]
module attributes {dist.mesh = #dist.mesh<tp = 2>} {
  func.func @accumulate(%x: tensor<4x6xf32> {dist.sharding = #dist.sharding<[{}, {}]>}, %w: tensor<10x6xf32> {dist.sharding = #dist.sharding<[{tp}, {}]>},
                        %labels: tensor<4xi64> {dist.sharding = #dist.sharding<[{}]>}) -> (tensor<f32> {train.role = "accumulator", train.name = "loss_sum"},
                        tensor<10x6xf32> {train.role = "gradient", train.name = "w"}) {
    %sum, %n, %lse = nn.linear_cross_entropy %x, %w, %labels {ignore_index = -100 : i64} : (tensor<4x6xf32>, tensor<10x6xf32>, tensor<4xi64>) -> (tensor<f32>, tensor<f32>, tensor<4xf32>)
    %one = arith.constant dense<1.0> : tensor<f32>
    %dx, %dw = nn.linear_cross_entropy_backward %x, %w, %labels, %lse, %one {ignore_index = -100 : i64} : (tensor<4x6xf32>, tensor<10x6xf32>, tensor<4xi64>, tensor<4xf32>, tensor<f32>) -> (tensor<4x6xf32>, tensor<10x6xf32>)
    return %sum, %dw : tensor<f32>, tensor<10x6xf32>
  }
}
