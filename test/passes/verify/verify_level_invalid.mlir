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
