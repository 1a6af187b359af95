// A model in double precision, with a mask, trains in double precision: sums over micro-batches and the loss too.
// RUN: llmc verify %s --start-from imported --steps 3 | FileCheck %s
// RUN: llmc compile %s --start-from imported --stop-after step | FileCheck %s --check-prefix=STEP
// CHECK: 3 steps of 2 micro-batches
// CHECK: {{^}}  w {{.*}}E-1{{[5-9] .*}}E-1{{[5-9]$}}
// CHECK: agrees with the reference interpreter
// STEP: func.func @update
// STEP-SAME: tensor<f64> {train.name = "loss_sum", train.role = "accumulator"}
// STEP-SAME: tensor<f64> {train.name = "loss", train.role = "output"}
module attributes {train.recipe = {loss = "loss", batch.micro = 2 : i64, batch.step = 4 : i64}} {
  func.func @forward(%x: tensor<4x5xf64> {train.name = "x", train.role = "input"}, %labels: tensor<4xi64> {train.name = "labels", train.role = "input"},
                     %mask: tensor<4x7xi1> {train.name = "mask", train.role = "input"}, %w: tensor<7x5xf64> {train.name = "w", train.role = "param"})
      -> (tensor<f64> {train.name = "loss"}) {
    %low = arith.constant dense<-2.0> : tensor<4x7xf64>
    %y = nn.contract %x, %w {equation = "bc,vc->bv"} : (tensor<4x5xf64>, tensor<7x5xf64>) -> tensor<4x7xf64>
    %z = arith.select %mask, %y, %low : tensor<4x7xi1>, tensor<4x7xf64>
    %sum, %n, %lse = nn.cross_entropy %z, %labels {ignore_index = -100 : i64} : (tensor<4x7xf64>, tensor<4xi64>) -> (tensor<f64>, tensor<f64>, tensor<4xf64>)
    %loss = arith.divf %sum, %n : tensor<f64>
    return %loss : tensor<f64>
  }
}
