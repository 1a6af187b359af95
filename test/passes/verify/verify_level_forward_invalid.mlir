// RUN: llmc-opt %s --verify-level=level=model --split-input-file --verify-diagnostics

// The smallest model.
func.func @forward(%x: tensor<4xf32> {train.name = "x", train.role = "input"}) -> (tensor<4xf32> {train.name = "y"}) {
  %0 = arith.negf %x : tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

// expected-error@+1 {{no function @forward at level `model`}}
module {
func.func @predict(%x: tensor<4xf32> {train.name = "x", train.role = "input"}) -> (tensor<4xf32> {train.name = "y"}) {
  %0 = arith.negf %x : tensor<4xf32>
  return %0 : tensor<4xf32>
}
}

// -----

// expected-error@+1 {{argument 0 has no static shape}}
func.func @forward(%x: tensor<?xf32> {train.name = "x", train.role = "input"}) -> (tensor<?xf32> {train.name = "y"}) {
  %0 = arith.negf %x : tensor<?xf32>
  return %0 : tensor<?xf32>
}

// -----

// expected-error@+1 {{argument 0 has no `train.role` or `train.name`}}
func.func @forward(%x: tensor<4xf32> {train.name = "x"}) -> (tensor<4xf32> {train.name = "y"}) {
  %0 = arith.negf %x : tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

// expected-error@+1 {{argument 0 has no `train.role` or `train.name`}}
func.func @forward(%x: tensor<4xf32> {train.role = "input"}) -> (tensor<4xf32> {train.name = "y"}) {
  %0 = arith.negf %x : tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

// expected-error@+1 {{result 0 has no `train.name`}}
func.func @forward(%x: tensor<4xf32> {train.name = "x", train.role = "input"}) -> tensor<4xf32> {
  %0 = arith.negf %x : tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

// An argument of another function counts too.
func.func @forward(%x: tensor<4xf32> {train.name = "x", train.role = "input"}) -> (tensor<4xf32> {train.name = "y"}) {
  %0 = arith.negf %x : tensor<4xf32>
  return %0 : tensor<4xf32>
}
// expected-error@+1 {{argument 0 has no static shape}}
func.func @predict(%x: f32 {train.name = "x", train.role = "input"}) {
  return
}

// -----

// expected-error@+1 {{argument 0 has no static shape}}
func.func @forward(%x: tensor<4x?xf32> {train.name = "x", train.role = "input"})  {
  return
}

// -----

func.func @forward(%x: tensor<4xf32> {train.name = "x", train.role = "input"}) -> (tensor<4xf32> {train.name = "y"}) {
  // expected-error@+1 {{op `func.call` is illegal at level `model`}}
  func.call @forward(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %0 = arith.negf %x : tensor<4xf32>
  return %0 : tensor<4xf32>
}
