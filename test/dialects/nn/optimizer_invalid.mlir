// RUN: llmc-opt %s --split-input-file --verify-diagnostics

// Parameter, gradient and state have one type, the scalars rank 0: each alone wrong.

func.func @adamw(%a0: tensor<4xf32>, %a1: tensor<4xf32>, %a2: tensor<4xf32>, %a3: tensor<4xf32>, %a4: tensor<f32>, %a5: tensor<f32>, %a6: tensor<f32>, %a7: tensor<f32>) {
  %r:3 = nn.adamw %a0, %a1, %a2, %a3, %a4, %a5, %a6, %a7 {beta1 = 0.9 : f64, beta2 = 0.999 : f64, epsilon = 1.0e-8 : f64, decay = 0.0 : f64} : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>, tensor<f32>, tensor<f32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)
  return
}
func.func @sgd(%a0: tensor<4xf32>, %a1: tensor<4xf32>, %a2: tensor<4xf32>, %a3: tensor<f32>, %a4: tensor<f32>) {
  %r:2 = nn.sgd %a0, %a1, %a2, %a3, %a4 {momentum = 0.9 : f64, decay = 0.0 : f64, nesterov = false} : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>) -> (tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @adamw_operand_0(%a0: tensor<1xf32>, %a1: tensor<4xf32>, %a2: tensor<4xf32>, %a3: tensor<4xf32>, %a4: tensor<f32>, %a5: tensor<f32>, %a6: tensor<f32>, %a7: tensor<f32>) {
  // expected-error@+1 {{C1: parameter, gradient, moments and results must have one type, scalars rank 0}}
  %r:3 = nn.adamw %a0, %a1, %a2, %a3, %a4, %a5, %a6, %a7 {beta1 = 0.9 : f64, beta2 = 0.999 : f64, epsilon = 1.0e-8 : f64, decay = 0.0 : f64} : (tensor<1xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>, tensor<f32>, tensor<f32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @adamw_operand_1(%a0: tensor<4xf32>, %a1: tensor<1xf32>, %a2: tensor<4xf32>, %a3: tensor<4xf32>, %a4: tensor<f32>, %a5: tensor<f32>, %a6: tensor<f32>, %a7: tensor<f32>) {
  // expected-error@+1 {{C1: parameter, gradient, moments and results must have one type, scalars rank 0}}
  %r:3 = nn.adamw %a0, %a1, %a2, %a3, %a4, %a5, %a6, %a7 {beta1 = 0.9 : f64, beta2 = 0.999 : f64, epsilon = 1.0e-8 : f64, decay = 0.0 : f64} : (tensor<4xf32>, tensor<1xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>, tensor<f32>, tensor<f32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @adamw_operand_2(%a0: tensor<4xf32>, %a1: tensor<4xf32>, %a2: tensor<1xf32>, %a3: tensor<4xf32>, %a4: tensor<f32>, %a5: tensor<f32>, %a6: tensor<f32>, %a7: tensor<f32>) {
  // expected-error@+1 {{C1: parameter, gradient, moments and results must have one type, scalars rank 0}}
  %r:3 = nn.adamw %a0, %a1, %a2, %a3, %a4, %a5, %a6, %a7 {beta1 = 0.9 : f64, beta2 = 0.999 : f64, epsilon = 1.0e-8 : f64, decay = 0.0 : f64} : (tensor<4xf32>, tensor<4xf32>, tensor<1xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>, tensor<f32>, tensor<f32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @adamw_operand_3(%a0: tensor<4xf32>, %a1: tensor<4xf32>, %a2: tensor<4xf32>, %a3: tensor<1xf32>, %a4: tensor<f32>, %a5: tensor<f32>, %a6: tensor<f32>, %a7: tensor<f32>) {
  // expected-error@+1 {{C1: parameter, gradient, moments and results must have one type, scalars rank 0}}
  %r:3 = nn.adamw %a0, %a1, %a2, %a3, %a4, %a5, %a6, %a7 {beta1 = 0.9 : f64, beta2 = 0.999 : f64, epsilon = 1.0e-8 : f64, decay = 0.0 : f64} : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<1xf32>, tensor<f32>, tensor<f32>, tensor<f32>, tensor<f32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @adamw_operand_4(%a0: tensor<4xf32>, %a1: tensor<4xf32>, %a2: tensor<4xf32>, %a3: tensor<4xf32>, %a4: tensor<1xf32>, %a5: tensor<f32>, %a6: tensor<f32>, %a7: tensor<f32>) {
  // expected-error@+1 {{C1: parameter, gradient, moments and results must have one type, scalars rank 0}}
  %r:3 = nn.adamw %a0, %a1, %a2, %a3, %a4, %a5, %a6, %a7 {beta1 = 0.9 : f64, beta2 = 0.999 : f64, epsilon = 1.0e-8 : f64, decay = 0.0 : f64} : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<1xf32>, tensor<f32>, tensor<f32>, tensor<f32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @adamw_operand_5(%a0: tensor<4xf32>, %a1: tensor<4xf32>, %a2: tensor<4xf32>, %a3: tensor<4xf32>, %a4: tensor<f32>, %a5: tensor<1xf32>, %a6: tensor<f32>, %a7: tensor<f32>) {
  // expected-error@+1 {{C1: parameter, gradient, moments and results must have one type, scalars rank 0}}
  %r:3 = nn.adamw %a0, %a1, %a2, %a3, %a4, %a5, %a6, %a7 {beta1 = 0.9 : f64, beta2 = 0.999 : f64, epsilon = 1.0e-8 : f64, decay = 0.0 : f64} : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<1xf32>, tensor<f32>, tensor<f32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @adamw_operand_6(%a0: tensor<4xf32>, %a1: tensor<4xf32>, %a2: tensor<4xf32>, %a3: tensor<4xf32>, %a4: tensor<f32>, %a5: tensor<f32>, %a6: tensor<1xf32>, %a7: tensor<f32>) {
  // expected-error@+1 {{C1: parameter, gradient, moments and results must have one type, scalars rank 0}}
  %r:3 = nn.adamw %a0, %a1, %a2, %a3, %a4, %a5, %a6, %a7 {beta1 = 0.9 : f64, beta2 = 0.999 : f64, epsilon = 1.0e-8 : f64, decay = 0.0 : f64} : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>, tensor<1xf32>, tensor<f32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @adamw_operand_7(%a0: tensor<4xf32>, %a1: tensor<4xf32>, %a2: tensor<4xf32>, %a3: tensor<4xf32>, %a4: tensor<f32>, %a5: tensor<f32>, %a6: tensor<f32>, %a7: tensor<1xf32>) {
  // expected-error@+1 {{C1: parameter, gradient, moments and results must have one type, scalars rank 0}}
  %r:3 = nn.adamw %a0, %a1, %a2, %a3, %a4, %a5, %a6, %a7 {beta1 = 0.9 : f64, beta2 = 0.999 : f64, epsilon = 1.0e-8 : f64, decay = 0.0 : f64} : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>, tensor<f32>, tensor<1xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @adamw_result_0(%a0: tensor<4xf32>, %a1: tensor<4xf32>, %a2: tensor<4xf32>, %a3: tensor<4xf32>, %a4: tensor<f32>, %a5: tensor<f32>, %a6: tensor<f32>, %a7: tensor<f32>) {
  // expected-error@+1 {{C1: parameter, gradient, moments and results must have one type, scalars rank 0}}
  %r:3 = nn.adamw %a0, %a1, %a2, %a3, %a4, %a5, %a6, %a7 {beta1 = 0.9 : f64, beta2 = 0.999 : f64, epsilon = 1.0e-8 : f64, decay = 0.0 : f64} : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>, tensor<f32>, tensor<f32>) -> (tensor<1xf32>, tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @adamw_result_1(%a0: tensor<4xf32>, %a1: tensor<4xf32>, %a2: tensor<4xf32>, %a3: tensor<4xf32>, %a4: tensor<f32>, %a5: tensor<f32>, %a6: tensor<f32>, %a7: tensor<f32>) {
  // expected-error@+1 {{C1: parameter, gradient, moments and results must have one type, scalars rank 0}}
  %r:3 = nn.adamw %a0, %a1, %a2, %a3, %a4, %a5, %a6, %a7 {beta1 = 0.9 : f64, beta2 = 0.999 : f64, epsilon = 1.0e-8 : f64, decay = 0.0 : f64} : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>, tensor<f32>, tensor<f32>) -> (tensor<4xf32>, tensor<1xf32>, tensor<4xf32>)
  return
}

// -----

func.func @adamw_result_2(%a0: tensor<4xf32>, %a1: tensor<4xf32>, %a2: tensor<4xf32>, %a3: tensor<4xf32>, %a4: tensor<f32>, %a5: tensor<f32>, %a6: tensor<f32>, %a7: tensor<f32>) {
  // expected-error@+1 {{C1: parameter, gradient, moments and results must have one type, scalars rank 0}}
  %r:3 = nn.adamw %a0, %a1, %a2, %a3, %a4, %a5, %a6, %a7 {beta1 = 0.9 : f64, beta2 = 0.999 : f64, epsilon = 1.0e-8 : f64, decay = 0.0 : f64} : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>, tensor<f32>, tensor<f32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<1xf32>)
  return
}

// -----

func.func @sgd_operand_0(%a0: tensor<1xf32>, %a1: tensor<4xf32>, %a2: tensor<4xf32>, %a3: tensor<f32>, %a4: tensor<f32>) {
  // expected-error@+1 {{C1: parameter, gradient, buffer and results must have one type, scalars rank 0}}
  %r:2 = nn.sgd %a0, %a1, %a2, %a3, %a4 {momentum = 0.9 : f64, decay = 0.0 : f64, nesterov = false} : (tensor<1xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>) -> (tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @sgd_operand_1(%a0: tensor<4xf32>, %a1: tensor<1xf32>, %a2: tensor<4xf32>, %a3: tensor<f32>, %a4: tensor<f32>) {
  // expected-error@+1 {{C1: parameter, gradient, buffer and results must have one type, scalars rank 0}}
  %r:2 = nn.sgd %a0, %a1, %a2, %a3, %a4 {momentum = 0.9 : f64, decay = 0.0 : f64, nesterov = false} : (tensor<4xf32>, tensor<1xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>) -> (tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @sgd_operand_2(%a0: tensor<4xf32>, %a1: tensor<4xf32>, %a2: tensor<1xf32>, %a3: tensor<f32>, %a4: tensor<f32>) {
  // expected-error@+1 {{C1: parameter, gradient, buffer and results must have one type, scalars rank 0}}
  %r:2 = nn.sgd %a0, %a1, %a2, %a3, %a4 {momentum = 0.9 : f64, decay = 0.0 : f64, nesterov = false} : (tensor<4xf32>, tensor<4xf32>, tensor<1xf32>, tensor<f32>, tensor<f32>) -> (tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @sgd_operand_3(%a0: tensor<4xf32>, %a1: tensor<4xf32>, %a2: tensor<4xf32>, %a3: tensor<1xf32>, %a4: tensor<f32>) {
  // expected-error@+1 {{C1: parameter, gradient, buffer and results must have one type, scalars rank 0}}
  %r:2 = nn.sgd %a0, %a1, %a2, %a3, %a4 {momentum = 0.9 : f64, decay = 0.0 : f64, nesterov = false} : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<1xf32>, tensor<f32>) -> (tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @sgd_operand_4(%a0: tensor<4xf32>, %a1: tensor<4xf32>, %a2: tensor<4xf32>, %a3: tensor<f32>, %a4: tensor<1xf32>) {
  // expected-error@+1 {{C1: parameter, gradient, buffer and results must have one type, scalars rank 0}}
  %r:2 = nn.sgd %a0, %a1, %a2, %a3, %a4 {momentum = 0.9 : f64, decay = 0.0 : f64, nesterov = false} : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<1xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @sgd_result_0(%a0: tensor<4xf32>, %a1: tensor<4xf32>, %a2: tensor<4xf32>, %a3: tensor<f32>, %a4: tensor<f32>) {
  // expected-error@+1 {{C1: parameter, gradient, buffer and results must have one type, scalars rank 0}}
  %r:2 = nn.sgd %a0, %a1, %a2, %a3, %a4 {momentum = 0.9 : f64, decay = 0.0 : f64, nesterov = false} : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>) -> (tensor<1xf32>, tensor<4xf32>)
  return
}

// -----

func.func @sgd_result_1(%a0: tensor<4xf32>, %a1: tensor<4xf32>, %a2: tensor<4xf32>, %a3: tensor<f32>, %a4: tensor<f32>) {
  // expected-error@+1 {{C1: parameter, gradient, buffer and results must have one type, scalars rank 0}}
  %r:2 = nn.sgd %a0, %a1, %a2, %a3, %a4 {momentum = 0.9 : f64, decay = 0.0 : f64, nesterov = false} : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>) -> (tensor<4xf32>, tensor<1xf32>)
  return
}
