// Dropout of a sequence that tensor ranks cut: simulated and executed ranks drop what one rank drops.
// RUN: llmc verify %s --start-from imported --steps 3 | FileCheck %s
// CHECK: the ranks compute what one rank computes
// CHECK: the executed ranks compute what one executed rank computes

// They do so without a message for it.
// RUN: llmc compile %s --start-from imported --stop-after local | FileCheck %s --check-prefix=LOCAL
// LOCAL-LABEL: func.func @accumulate
// LOCAL: %[[SUM:.+]] = dist.reduce_scatter {{.*}} -> tensor<4x4x8xf32>
// LOCAL: %[[KEPT:.+]] = nn.dropout %[[SUM]], {{.*}} strides = array<i64: 8, 1>
// LOCAL: dist.all_gather %[[KEPT]]
module attributes {train.recipe = {loss = "loss", batch.micro = 8 : i64, batch.step = 16 : i64, sequence_parallel = true,
                                   mesh = [{name = "dp", value = 2 : i64}, {name = "tp", value = 2 : i64}]}} {
  func.func @forward(%x: tensor<8x8x8xf32> {train.name = "x", train.role = "input"}, %labels: tensor<8x8xi64> {train.name = "labels", train.role = "input"},
                     %u: tensor<12x8xf32> {train.name = "up", train.role = "param"}, %d: tensor<8x12xf32> {train.name = "down", train.role = "param"},
                     %h: tensor<10x8xf32> {train.name = "head", train.role = "param"}) -> (tensor<f32> {train.name = "loss"}) {
    %0 = nn.contract %x, %u {equation = "btc,nc->btn"} : (tensor<8x8x8xf32>, tensor<12x8xf32>) -> tensor<8x8x12xf32>
    %1 = nn.gelu %0 {tanh = true} : (tensor<8x8x12xf32>) -> tensor<8x8x12xf32>
    %2 = nn.dropout %1 {ratio = 0.1 : f64, seed = 0 : i64, id = 0 : i64} : (tensor<8x8x12xf32>) -> tensor<8x8x12xf32>
    %3 = nn.contract %2, %d {equation = "btn,cn->btc"} : (tensor<8x8x12xf32>, tensor<8x12xf32>) -> tensor<8x8x8xf32>
    %4 = nn.dropout %3 {ratio = 0.25 : f64, seed = 0 : i64, id = 0 : i64} : (tensor<8x8x8xf32>) -> tensor<8x8x8xf32>
    %sum, %n, %lse = nn.linear_cross_entropy %4, %h, %labels {ignore_index = -100 : i64} : (tensor<8x8x8xf32>, tensor<10x8xf32>, tensor<8x8xi64>) -> (tensor<f32>, tensor<f32>, tensor<8x8xf32>)
    %loss = arith.divf %sum, %n : tensor<f32>
    return %loss : tensor<f32>
  }
}
