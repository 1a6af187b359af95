// RUN: llmc-opt %s --verify-level=level=step --split-input-file --verify-diagnostics

// State keeps its type; what is no state of one name and role may differ.
func.func @accumulate() { return }
func.func @evaluate() { return }
func.func @update(%w: tensor<4xf32> {train.name = "w", train.role = "parameter"}) -> (tensor<4xf32> {train.name = "w", train.role = "parameter"}) {
  %0 = arith.constant dense<0.0> : tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

func.func @accumulate() { return }
func.func @evaluate() { return }
func.func @update(%w: tensor<4xf32> {train.name = "w", train.role = "parameter"}) -> (tensor<2xf32> {train.name = "w", train.role = "accumulator"}) {
  %0 = arith.constant dense<0.0> : tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

func.func @accumulate() { return }
func.func @evaluate() { return }
func.func @update(%w: tensor<4xf32> {train.name = "w", train.role = "parameter"}) -> (tensor<2xf32> {train.name = "v", train.role = "parameter"}) {
  %0 = arith.constant dense<0.0> : tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

func.func @accumulate() { return }
func.func @evaluate() { return }
// expected-error@+2 {{state 'w' changes its type from 'tensor<4xf32>' to 'tensor<2xf32>'}}
// expected-error@+1 {{state 'w' is 'tensor<2xf32>' here, and 'tensor<4xf32>' in another function}}
func.func @update(%w: tensor<4xf32> {train.name = "w", train.role = "parameter"}) -> (tensor<2xf32> {train.name = "w", train.role = "parameter"}) {
  %0 = arith.constant dense<0.0> : tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

// Inputs are no state, and one function returns them in one type all the same.
func.func @accumulate() { return }
func.func @evaluate() { return }
// expected-error@+1 {{state 'w' changes its type from 'tensor<4xf32>' to 'tensor<2xf32>'}}
func.func @update(%w: tensor<4xf32> {train.name = "w", train.role = "input"}) -> (tensor<2xf32> {train.name = "w", train.role = "input"}) {
  %0 = arith.constant dense<0.0> : tensor<2xf32>
  return %0 : tensor<2xf32>
}
