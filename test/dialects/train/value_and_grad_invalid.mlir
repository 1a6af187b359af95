// RUN: llmc-opt %s --split-input-file --verify-diagnostics

// Gradients of none, of some and of all arguments that are real.
func.func private @f(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>) {
  %0 = arith.constant dense<0.0> : tensor<f32>
  return %0, %a : tensor<f32>, tensor<4xf32>
}
func.func @none(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) {
  %r:2 = train.value_and_grad @f(%a, %i, %b) {wrt = array<i64>} : (tensor<4xf32>, tensor<4xi64>, tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>)
  return
}
func.func @first(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) {
  %r:3 = train.value_and_grad @f(%a, %i, %b) {wrt = array<i64: 0>} : (tensor<4xf32>, tensor<4xi64>, tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>, tensor<4xf32>)
  return
}
func.func @last(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) {
  %r:3 = train.value_and_grad @f(%a, %i, %b) {wrt = array<i64: 2>} : (tensor<4xf32>, tensor<4xi64>, tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>, tensor<2xf64>)
  return
}
func.func @all(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) {
  %r:4 = train.value_and_grad @f(%a, %i, %b) {wrt = array<i64: 0, 2>} : (tensor<4xf32>, tensor<4xi64>, tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>, tensor<4xf32>, tensor<2xf64>)
  return
}

// -----

func.func private @f(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>) {
  %0 = arith.constant dense<0.0> : tensor<f32>
  return %0, %a : tensor<f32>, tensor<4xf32>
}
func.func @no_callee(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) {
  // expected-error@+1 {{C1: the callee is no function of this module with the operands' types}}
  %r:3 = train.value_and_grad @g(%a, %i, %b) {wrt = array<i64: 0>} : (tensor<4xf32>, tensor<4xi64>, tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func private @f(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>) {
  %0 = arith.constant dense<0.0> : tensor<f32>
  return %0, %a : tensor<f32>, tensor<4xf32>
}
func.func @too_few_operands(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) {
  // expected-error@+1 {{C1: the callee is no function of this module with the operands' types}}
  %r:3 = train.value_and_grad @f(%a, %i) {wrt = array<i64: 0>} : (tensor<4xf32>, tensor<4xi64>) -> (tensor<f32>, tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func private @f(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>) {
  %0 = arith.constant dense<0.0> : tensor<f32>
  return %0, %a : tensor<f32>, tensor<4xf32>
}
func.func @operand_types(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) {
  // expected-error@+1 {{C1: the callee is no function of this module with the operands' types}}
  %r:3 = train.value_and_grad @f(%a, %i, %a) {wrt = array<i64: 0>} : (tensor<4xf32>, tensor<4xi64>, tensor<4xf32>) -> (tensor<f32>, tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func private @f(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>) {
  %0 = arith.constant dense<0.0> : tensor<f32>
  return %0, %a : tensor<f32>, tensor<4xf32>
}
func.func @twice(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) {
  // expected-error@+1 {{C2: wrt must be increasing arguments of floating-point element type}}
  %r:4 = train.value_and_grad @f(%a, %i, %b) {wrt = array<i64: 0, 0>} : (tensor<4xf32>, tensor<4xi64>, tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func private @f(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>) {
  %0 = arith.constant dense<0.0> : tensor<f32>
  return %0, %a : tensor<f32>, tensor<4xf32>
}
func.func @decreasing(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) {
  // expected-error@+1 {{C2: wrt must be increasing arguments of floating-point element type}}
  %r:4 = train.value_and_grad @f(%a, %i, %b) {wrt = array<i64: 2, 0>} : (tensor<4xf32>, tensor<4xi64>, tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>, tensor<2xf64>, tensor<4xf32>)
  return
}

// -----

func.func private @f(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>) {
  %0 = arith.constant dense<0.0> : tensor<f32>
  return %0, %a : tensor<f32>, tensor<4xf32>
}
func.func @behind_the_last(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) {
  // expected-error@+1 {{C2: wrt must be increasing arguments of floating-point element type}}
  %r:3 = train.value_and_grad @f(%a, %i, %b) {wrt = array<i64: 3>} : (tensor<4xf32>, tensor<4xi64>, tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>, tensor<2xf64>)
  return
}

// -----

func.func private @f(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>) {
  %0 = arith.constant dense<0.0> : tensor<f32>
  return %0, %a : tensor<f32>, tensor<4xf32>
}
func.func @negative(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) {
  // expected-error@+1 {{C2: wrt must be increasing arguments of floating-point element type}}
  %r:3 = train.value_and_grad @f(%a, %i, %b) {wrt = array<i64: -1>} : (tensor<4xf32>, tensor<4xi64>, tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>, tensor<2xf64>)
  return
}

// -----

func.func private @f(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>) {
  %0 = arith.constant dense<0.0> : tensor<f32>
  return %0, %a : tensor<f32>, tensor<4xf32>
}
func.func @integers(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) {
  // expected-error@+1 {{C2: wrt must be increasing arguments of floating-point element type}}
  %r:3 = train.value_and_grad @f(%a, %i, %b) {wrt = array<i64: 1>} : (tensor<4xf32>, tensor<4xi64>, tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>, tensor<4xi64>)
  return
}

// -----

func.func private @f(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>) {
  %0 = arith.constant dense<0.0> : tensor<f32>
  return %0, %a : tensor<f32>, tensor<4xf32>
}
func.func @no_gradient(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) {
  // expected-error@+1 {{C3: the results must be the callee's, the first of rank 0, then one gradient per wrt}}
  %r:2 = train.value_and_grad @f(%a, %i, %b) {wrt = array<i64: 0>} : (tensor<4xf32>, tensor<4xi64>, tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>)
  return
}

// -----

func.func private @f(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>) {
  %0 = arith.constant dense<0.0> : tensor<f32>
  return %0, %a : tensor<f32>, tensor<4xf32>
}
func.func @gradient_of_nothing(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) {
  // expected-error@+1 {{C3: the results must be the callee's, the first of rank 0, then one gradient per wrt}}
  %r:3 = train.value_and_grad @f(%a, %i, %b) {wrt = array<i64>} : (tensor<4xf32>, tensor<4xi64>, tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func private @f(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>) {
  %0 = arith.constant dense<0.0> : tensor<f32>
  return %0, %a : tensor<f32>, tensor<4xf32>
}
func.func @gradient_type(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) {
  // expected-error@+1 {{C3: the results must be the callee's, the first of rank 0, then one gradient per wrt}}
  %r:3 = train.value_and_grad @f(%a, %i, %b) {wrt = array<i64: 0>} : (tensor<4xf32>, tensor<4xi64>, tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>, tensor<4xf64>)
  return
}

// -----

func.func private @f(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>) {
  %0 = arith.constant dense<0.0> : tensor<f32>
  return %0, %a : tensor<f32>, tensor<4xf32>
}
func.func @result_type(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) {
  // expected-error@+1 {{C3: the results must be the callee's, the first of rank 0, then one gradient per wrt}}
  %r:3 = train.value_and_grad @f(%a, %i, %b) {wrt = array<i64: 0>} : (tensor<4xf32>, tensor<4xi64>, tensor<2xf64>) -> (tensor<f32>, tensor<4xf64>, tensor<4xf32>)
  return
}

// -----

func.func private @f(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>) {
  %0 = arith.constant dense<0.0> : tensor<f32>
  return %0, %a : tensor<f32>, tensor<4xf32>
}
func.func @fewer_results(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) {
  // expected-error@+1 {{C3: the results must be the callee's, the first of rank 0, then one gradient per wrt}}
  %r:2 = train.value_and_grad @f(%a, %i, %b) {wrt = array<i64: 0>} : (tensor<4xf32>, tensor<4xi64>, tensor<2xf64>) -> (tensor<f32>, tensor<4xf32>)
  return
}

// -----

func.func private @f(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) -> (tensor<1xf32>, tensor<4xf32>) {
  %0 = arith.constant dense<0.0> : tensor<1xf32>
  return %0, %a : tensor<1xf32>, tensor<4xf32>
}
func.func @loss_of_rank_1(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) {
  // expected-error@+1 {{C3: the results must be the callee's, the first of rank 0, then one gradient per wrt}}
  %r:3 = train.value_and_grad @f(%a, %i, %b) {wrt = array<i64: 0>} : (tensor<4xf32>, tensor<4xi64>, tensor<2xf64>) -> (tensor<1xf32>, tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func private @f(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) {
  return
}
func.func @no_result(%a: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<2xf64>) {
  // expected-error@+1 {{C3: the results must be the callee's, the first of rank 0, then one gradient per wrt}}
  train.value_and_grad @f(%a, %i, %b) {wrt = array<i64>} : (tensor<4xf32>, tensor<4xi64>, tensor<2xf64>) -> ()
  return
}
