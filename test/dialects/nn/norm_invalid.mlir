// RUN: llmc-opt %s --split-input-file --verify-diagnostics

// Scale and bias lie along the normalized dimension, statistics along the others.

func.func @layer_norm(%a0: tensor<2x3x4xf32>, %a1: tensor<4xf32>, %a2: tensor<4xf32>) {
  %r:3 = nn.layer_norm %a0, %a1, %a2 {epsilon = 1.0e-5 : f64} : (tensor<2x3x4xf32>, tensor<4xf32>, tensor<4xf32>) -> (tensor<2x3x4xf32>, tensor<2x3xf32>, tensor<2x3xf32>)
  return
}
func.func @without_bias(%a0: tensor<2x3x4xf32>, %a1: tensor<4xf32>) {
  %r:3 = nn.layer_norm %a0, %a1 {epsilon = 1.0e-5 : f64} : (tensor<2x3x4xf32>, tensor<4xf32>) -> (tensor<2x3x4xf32>, tensor<2x3xf32>, tensor<2x3xf32>)
  return
}
func.func @one_row(%a0: tensor<4xf32>, %a1: tensor<4xf32>) {
  %r:3 = nn.layer_norm %a0, %a1 {epsilon = 1.0e-5 : f64} : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<f32>, tensor<f32>)
  return
}
func.func @rms_norm(%a0: tensor<2x3x4xf32>, %a1: tensor<4xf32>) {
  %r:2 = nn.rms_norm %a0, %a1 {epsilon = 1.0e-5 : f64} : (tensor<2x3x4xf32>, tensor<4xf32>) -> (tensor<2x3x4xf32>, tensor<2x3xf32>)
  return
}
func.func @layer_norm_backward(%a0: tensor<2x3x4xf32>, %a1: tensor<4xf32>, %a2: tensor<2x3xf32>, %a3: tensor<2x3xf32>, %a4: tensor<2x3x4xf32>) {
  %r:3 = nn.layer_norm_backward %a0, %a1, %a2, %a3, %a4 : (tensor<2x3x4xf32>, tensor<4xf32>, tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x3x4xf32>) -> (tensor<2x3x4xf32>, tensor<4xf32>, tensor<4xf32>)
  return
}
func.func @rms_norm_backward(%a0: tensor<2x3x4xf32>, %a1: tensor<4xf32>, %a2: tensor<2x3xf32>, %a3: tensor<2x3x4xf32>) {
  %r:2 = nn.rms_norm_backward %a0, %a1, %a2, %a3 : (tensor<2x3x4xf32>, tensor<4xf32>, tensor<2x3xf32>, tensor<2x3x4xf32>) -> (tensor<2x3x4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @scalar(%a0: tensor<f32>, %a1: tensor<4xf32>) {
  // expected-error@+1 {{C1: scale and bias must have the size of the last dimension}}
  %r:3 = nn.layer_norm %a0, %a1 {epsilon = 1.0e-5 : f64} : (tensor<f32>, tensor<4xf32>) -> (tensor<f32>, tensor<f32>, tensor<f32>)
  return
}

// -----

func.func @scale_rank(%a0: tensor<2x3x4xf32>, %a1: tensor<1x4xf32>) {
  // expected-error@+1 {{C1: scale and bias must have the size of the last dimension}}
  %r:3 = nn.layer_norm %a0, %a1 {epsilon = 1.0e-5 : f64} : (tensor<2x3x4xf32>, tensor<1x4xf32>) -> (tensor<2x3x4xf32>, tensor<2x3xf32>, tensor<2x3xf32>)
  return
}

// -----

func.func @scale_size(%a0: tensor<2x3x4xf32>, %a1: tensor<3xf32>, %a2: tensor<4xf32>) {
  // expected-error@+1 {{C1: scale and bias must have the size of the last dimension}}
  %r:3 = nn.layer_norm %a0, %a1, %a2 {epsilon = 1.0e-5 : f64} : (tensor<2x3x4xf32>, tensor<3xf32>, tensor<4xf32>) -> (tensor<2x3x4xf32>, tensor<2x3xf32>, tensor<2x3xf32>)
  return
}

// -----

func.func @bias_size(%a0: tensor<2x3x4xf32>, %a1: tensor<4xf32>, %a2: tensor<3xf32>) {
  // expected-error@+1 {{C1: scale and bias must have the size of the last dimension}}
  %r:3 = nn.layer_norm %a0, %a1, %a2 {epsilon = 1.0e-5 : f64} : (tensor<2x3x4xf32>, tensor<4xf32>, tensor<3xf32>) -> (tensor<2x3x4xf32>, tensor<2x3xf32>, tensor<2x3xf32>)
  return
}

// -----

func.func @mean(%a0: tensor<2x3x4xf32>, %a1: tensor<4xf32>) {
  // expected-error@+1 {{C2: mean and rstd must have the leading shape}}
  %r:3 = nn.layer_norm %a0, %a1 {epsilon = 1.0e-5 : f64} : (tensor<2x3x4xf32>, tensor<4xf32>) -> (tensor<2x3x4xf32>, tensor<2x3x4xf32>, tensor<2x3xf32>)
  return
}

// -----

func.func @rstd(%a0: tensor<2x3x4xf32>, %a1: tensor<4xf32>) {
  // expected-error@+1 {{C2: mean and rstd must have the leading shape}}
  %r:3 = nn.layer_norm %a0, %a1 {epsilon = 1.0e-5 : f64} : (tensor<2x3x4xf32>, tensor<4xf32>) -> (tensor<2x3x4xf32>, tensor<2x3xf32>, tensor<2xf32>)
  return
}

// -----

func.func @result(%a0: tensor<2x3x4xf32>, %a1: tensor<4xf32>) {
  // expected-error@+1 {{C2: mean and rstd must have the leading shape}}
  %r:3 = nn.layer_norm %a0, %a1 {epsilon = 1.0e-5 : f64} : (tensor<2x3x4xf32>, tensor<4xf32>) -> (tensor<2x3x4xf64>, tensor<2x3xf32>, tensor<2x3xf32>)
  return
}

// -----

func.func @rms_scalar(%a0: tensor<f32>, %a1: tensor<4xf32>) {
  // expected-error@+1 {{C1: scale must have the size of the last dimension}}
  %r:2 = nn.rms_norm %a0, %a1 {epsilon = 1.0e-5 : f64} : (tensor<f32>, tensor<4xf32>) -> (tensor<f32>, tensor<f32>)
  return
}

// -----

func.func @rms_scale(%a0: tensor<2x3x4xf32>, %a1: tensor<3xf32>) {
  // expected-error@+1 {{C1: scale must have the size of the last dimension}}
  %r:2 = nn.rms_norm %a0, %a1 {epsilon = 1.0e-5 : f64} : (tensor<2x3x4xf32>, tensor<3xf32>) -> (tensor<2x3x4xf32>, tensor<2x3xf32>)
  return
}

// -----

func.func @rms_rstd(%a0: tensor<2x3x4xf32>, %a1: tensor<4xf32>) {
  // expected-error@+1 {{C2: rstd must have the leading shape}}
  %r:2 = nn.rms_norm %a0, %a1 {epsilon = 1.0e-5 : f64} : (tensor<2x3x4xf32>, tensor<4xf32>) -> (tensor<2x3x4xf32>, tensor<3xf32>)
  return
}

// -----

func.func @rms_result(%a0: tensor<2x3x4xf32>, %a1: tensor<4xf32>) {
  // expected-error@+1 {{C2: rstd must have the leading shape}}
  %r:2 = nn.rms_norm %a0, %a1 {epsilon = 1.0e-5 : f64} : (tensor<2x3x4xf32>, tensor<4xf32>) -> (tensor<3x2x4xf32>, tensor<2x3xf32>)
  return
}

// -----

func.func @gradient_of_x(%a0: tensor<2x3x4xf32>, %a1: tensor<4xf32>, %a2: tensor<2x3xf32>, %a3: tensor<2x3xf32>, %a4: tensor<2x3x4xf32>) {
  // expected-error@+1 {{C1: gradient types differ from those of x and scale}}
  %r:3 = nn.layer_norm_backward %a0, %a1, %a2, %a3, %a4 : (tensor<2x3x4xf32>, tensor<4xf32>, tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x3x4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @gradient_of_scale(%a0: tensor<2x3x4xf32>, %a1: tensor<4xf32>, %a2: tensor<2x3xf32>, %a3: tensor<2x3xf32>, %a4: tensor<2x3x4xf32>) {
  // expected-error@+1 {{C1: gradient types differ from those of x and scale}}
  %r:3 = nn.layer_norm_backward %a0, %a1, %a2, %a3, %a4 : (tensor<2x3x4xf32>, tensor<4xf32>, tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x3x4xf32>) -> (tensor<2x3x4xf32>, tensor<2x3x4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @gradient_of_bias(%a0: tensor<2x3x4xf32>, %a1: tensor<4xf32>, %a2: tensor<2x3xf32>, %a3: tensor<2x3xf32>, %a4: tensor<2x3x4xf32>) {
  // expected-error@+1 {{C1: gradient types differ from those of x and scale}}
  %r:3 = nn.layer_norm_backward %a0, %a1, %a2, %a3, %a4 : (tensor<2x3x4xf32>, tensor<4xf32>, tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x3x4xf32>) -> (tensor<2x3x4xf32>, tensor<4xf32>, tensor<2x3x4xf32>)
  return
}

// -----

func.func @rms_gradient_of_x(%a0: tensor<2x3x4xf32>, %a1: tensor<4xf32>, %a2: tensor<2x3xf32>, %a3: tensor<2x3x4xf32>) {
  // expected-error@+1 {{C1: gradient types differ from those of x and scale}}
  %r:2 = nn.rms_norm_backward %a0, %a1, %a2, %a3 : (tensor<2x3x4xf32>, tensor<4xf32>, tensor<2x3xf32>, tensor<2x3x4xf32>) -> (tensor<2x3xf32>, tensor<4xf32>)
  return
}

// -----

func.func @rms_gradient_of_scale(%a0: tensor<2x3x4xf32>, %a1: tensor<4xf32>, %a2: tensor<2x3xf32>, %a3: tensor<2x3x4xf32>) {
  // expected-error@+1 {{C1: gradient types differ from those of x and scale}}
  %r:2 = nn.rms_norm_backward %a0, %a1, %a2, %a3 : (tensor<2x3x4xf32>, tensor<4xf32>, tensor<2x3xf32>, tensor<2x3x4xf32>) -> (tensor<2x3x4xf32>, tensor<2x3xf32>)
  return
}
