// RUN: llmc-opt %s --verify-level=level=step --split-input-file --verify-diagnostics

// A border check names the pass that should have run.
// expected-error @below {{no function @accumulate at level `step`}}
// expected-error @below {{no function @update at level `step`}}
// expected-error @below {{no function @evaluate at level `step`}}
module {
func.func private @f(%x: tensor<f32> {train.name = "x", train.role = "input"}) -> (tensor<f32> {train.name = "loss"}) {
  return %x : tensor<f32>
}
func.func @g(%x: tensor<f32> {train.name = "x", train.role = "input"}) -> (tensor<f32> {train.name = "loss"}) {
  // expected-error @below {{op `train.value_and_grad` is illegal at level `step`}}
  // expected-note @below {{pass `autodiff-expand` should have removed it}}
  %l, %dx = train.value_and_grad @f(%x) {wrt = array<i64: 0>} : (tensor<f32>) -> (tensor<f32>, tensor<f32>)
  return %l : tensor<f32>
}
}

// -----

// Functions share state by name and role, so they must agree on its type.
func.func @accumulate() -> (tensor<f64> {train.name = "weight", train.role = "accumulator"}) {
  %0 = arith.constant dense<1.0> : tensor<f64>
  return %0 : tensor<f64>
}
// expected-error @below {{state 'weight' is 'tensor<f32>' here, and 'tensor<f64>' in another function}}
func.func @update(%w: tensor<f32> {train.name = "weight", train.role = "accumulator"}) -> (tensor<f32> {train.name = "loss", train.role = "output"}) {
  return %w : tensor<f32>
}
func.func @evaluate() {
  return
}
