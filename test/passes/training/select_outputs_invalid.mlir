// RUN: llmc-opt %s --training-select-outputs --verify-diagnostics

// A loss that the graph does not have is answered with the outputs it has.
// expected-error @below {{the graph has no output 'loss' (recipe key 'loss')}}
// expected-note @below {{its outputs are: logits}}
func.func @forward(%x: tensor<4x5xf32> {train.name = "x", train.role = "input"}) -> (tensor<4x5xf32> {train.name = "logits"}) {
  return %x : tensor<4x5xf32>
}
