// RUN: llmc-opt %s --sharding-annotate --split-input-file --verify-diagnostics | FileCheck %s

// Moments are cut from stage 1 on, along the first dimension that divides; gradients are left to the computation.
// CHECK: dist.mesh = #dist.mesh<dp = 2>
module attributes {train.recipe = {batch.micro = 4 : i64, mesh = [{name = "dp", value = 2 : i64}, {name = "tp", value = 1 : i64}], zero = 1 : i64}} {
  // CHECK-LABEL: func.func @accumulate
  // CHECK-SAME:  %arg0: tensor<4x3xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "x"
  // CHECK-SAME:  %arg1: tensor<3x8xf32> {dist.sharding = #dist.sharding<[{}, {}]>, train.name = "w"
  // CHECK-SAME:  %arg2: tensor<3x8xf32> {train.name = "w", train.role = "gradient"}
  func.func @accumulate(%x: tensor<4x3xf32> {train.name = "x", train.role = "input"}, %w: tensor<3x8xf32> {train.name = "w", train.role = "param"},
                        %g: tensor<3x8xf32> {train.name = "w", train.role = "gradient"}) { return }
  // CHECK-LABEL: func.func @update
  // CHECK-SAME:  %arg0: tensor<3x8xf32> {dist.sharding = #dist.sharding<[{}, {dp}]>, train.name = "exp_avg.w"
  // CHECK-SAME:  %arg1: tensor<3xf32> {dist.sharding = #dist.sharding<[{}]>, train.name = "exp_avg.b"
  func.func @update(%m: tensor<3x8xf32> {train.name = "exp_avg.w", train.role = "moment"}, %b: tensor<3xf32> {train.name = "exp_avg.b", train.role = "moment"}) { return }
}

// -----

module attributes {train.recipe = {batch.micro = 3 : i64, mesh = [{name = "dp", value = 2 : i64}]}} {
  // expected-error@+1 {{axis dp of 2 ranks does not divide the 3 samples of a micro-batch, dimension 0 of input 'x'; make batch.micro a multiple of 2}}
  func.func @accumulate(%x: tensor<3x3xf32> {train.name = "x", train.role = "input"}) { return }
}
