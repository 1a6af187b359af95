// RUN: llmc-opt %s --split-input-file --verify-diagnostics

// Each operand and result of the losses alone in another shape.

func.func @cross_entropy(%a0: tensor<2x3x4xf32>, %a1: tensor<2x3xi64>) {
  %r:3 = nn.cross_entropy %a0, %a1 {ignore_index = -100 : i64} : (tensor<2x3x4xf32>, tensor<2x3xi64>) -> (tensor<f32>, tensor<f32>, tensor<2x3xf32>)
  return
}
func.func @one_row(%a0: tensor<4xf32>, %a1: tensor<i64>) {
  %r:3 = nn.cross_entropy %a0, %a1 {ignore_index = -100 : i64} : (tensor<4xf32>, tensor<i64>) -> (tensor<f32>, tensor<f32>, tensor<f32>)
  return
}
func.func @gradient(%a0: tensor<2x3x4xf32>, %a1: tensor<2x3xi64>, %a2: tensor<2x3xf32>, %a3: tensor<f32>) {
  %r = nn.cross_entropy_backward %a0, %a1, %a2, %a3 {ignore_index = -100 : i64} : (tensor<2x3x4xf32>, tensor<2x3xi64>, tensor<2x3xf32>, tensor<f32>) -> tensor<2x3x4xf32>
  return
}
func.func @linear(%a0: tensor<2x3x4xf32>, %a1: tensor<6x4xf32>, %a2: tensor<2x3xi64>) {
  %r:3 = nn.linear_cross_entropy %a0, %a1, %a2 {ignore_index = -100 : i64} : (tensor<2x3x4xf32>, tensor<6x4xf32>, tensor<2x3xi64>) -> (tensor<f32>, tensor<f32>, tensor<2x3xf32>)
  return
}
func.func @linear_with_bias(%a0: tensor<2x3x4xf32>, %a1: tensor<4x6xf32>, %a2: tensor<2x3xi64>, %a3: tensor<6xf32>) {
  %r:3 = nn.linear_cross_entropy %a0, %a1, %a2, %a3 {ignore_index = -100 : i64, vocabulary_last} : (tensor<2x3x4xf32>, tensor<4x6xf32>, tensor<2x3xi64>, tensor<6xf32>) -> (tensor<f32>, tensor<f32>, tensor<2x3xf32>)
  return
}
func.func @in_parts(%a0: tensor<2x3x4xf32>, %a1: tensor<6x4xf32>, %a2: tensor<2x3xi64>) {
  %r:3 = nn.linear_cross_entropy %a0, %a1, %a2 {ignore_index = -100 : i64, parts = 6 : i64} : (tensor<2x3x4xf32>, tensor<6x4xf32>, tensor<2x3xi64>) -> (tensor<f32>, tensor<f32>, tensor<6x2x3xf32>)
  return
}
func.func @in_one_part(%a0: tensor<2x3x4xf32>, %a1: tensor<6x4xf32>, %a2: tensor<2x3xi64>) {
  %r:3 = nn.linear_cross_entropy %a0, %a1, %a2 {ignore_index = -100 : i64, parts = 1 : i64} : (tensor<2x3x4xf32>, tensor<6x4xf32>, tensor<2x3xi64>) -> (tensor<f32>, tensor<f32>, tensor<1x2x3xf32>)
  return
}
func.func @linear_gradient(%a0: tensor<2x3x4xf32>, %a1: tensor<6x4xf32>, %a2: tensor<2x3xi64>, %a3: tensor<2x3xf32>, %a4: tensor<f32>, %a5: tensor<6xf32>) {
  %r:3 = nn.linear_cross_entropy_backward %a0, %a1, %a2, %a3, %a4, %a5 {ignore_index = -100 : i64} : (tensor<2x3x4xf32>, tensor<6x4xf32>, tensor<2x3xi64>, tensor<2x3xf32>, tensor<f32>, tensor<6xf32>) -> (tensor<2x3x4xf32>, tensor<6x4xf32>, tensor<6xf32>)
  return
}

// -----

func.func @scalar_logits(%a0: tensor<f32>, %a1: tensor<i64>) {
  // expected-error@+1 {{C1: labels and lse must have the logits' leading shape, loss_sum and weight rank 0}}
  %r:3 = nn.cross_entropy %a0, %a1 {ignore_index = -100 : i64} : (tensor<f32>, tensor<i64>) -> (tensor<f32>, tensor<f32>, tensor<f32>)
  return
}

// -----

func.func @labels(%a0: tensor<2x3x4xf32>, %a1: tensor<2xi64>) {
  // expected-error@+1 {{C1: labels and lse must have the logits' leading shape, loss_sum and weight rank 0}}
  %r:3 = nn.cross_entropy %a0, %a1 {ignore_index = -100 : i64} : (tensor<2x3x4xf32>, tensor<2xi64>) -> (tensor<f32>, tensor<f32>, tensor<2x3xf32>)
  return
}

// -----

func.func @lse(%a0: tensor<2x3x4xf32>, %a1: tensor<2x3xi64>) {
  // expected-error@+1 {{C1: labels and lse must have the logits' leading shape, loss_sum and weight rank 0}}
  %r:3 = nn.cross_entropy %a0, %a1 {ignore_index = -100 : i64} : (tensor<2x3x4xf32>, tensor<2x3xi64>) -> (tensor<f32>, tensor<f32>, tensor<2x3x4xf32>)
  return
}

// -----

func.func @loss_sum(%a0: tensor<2x3x4xf32>, %a1: tensor<2x3xi64>) {
  // expected-error@+1 {{C1: labels and lse must have the logits' leading shape, loss_sum and weight rank 0}}
  %r:3 = nn.cross_entropy %a0, %a1 {ignore_index = -100 : i64} : (tensor<2x3x4xf32>, tensor<2x3xi64>) -> (tensor<1xf32>, tensor<f32>, tensor<2x3xf32>)
  return
}

// -----

func.func @weight(%a0: tensor<2x3x4xf32>, %a1: tensor<2x3xi64>) {
  // expected-error@+1 {{C1: labels and lse must have the logits' leading shape, loss_sum and weight rank 0}}
  %r:3 = nn.cross_entropy %a0, %a1 {ignore_index = -100 : i64} : (tensor<2x3x4xf32>, tensor<2x3xi64>) -> (tensor<f32>, tensor<1xf32>, tensor<2x3xf32>)
  return
}

// -----

func.func @another_gradient(%a0: tensor<2x3x4xf32>, %a1: tensor<2x3xi64>, %a2: tensor<2x3xf32>, %a3: tensor<f32>) {
  // expected-error@+1 {{C1: the gradient must have the logits' type}}
  %r = nn.cross_entropy_backward %a0, %a1, %a2, %a3 {ignore_index = -100 : i64} : (tensor<2x3x4xf32>, tensor<2x3xi64>, tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @scalar_input(%a0: tensor<f32>, %a1: tensor<6x4xf32>, %a2: tensor<i64>) {
  // expected-error@+1 {{C1: the weight must be [V, C], or [C, V] if vocabulary_last}}
  %r:3 = nn.linear_cross_entropy %a0, %a1, %a2 {ignore_index = -100 : i64} : (tensor<f32>, tensor<6x4xf32>, tensor<i64>) -> (tensor<f32>, tensor<f32>, tensor<f32>)
  return
}

// -----

func.func @matrix_rank(%a0: tensor<2x3x4xf32>, %a1: tensor<6x4x1xf32>, %a2: tensor<2x3xi64>) {
  // expected-error@+1 {{C1: the weight must be [V, C], or [C, V] if vocabulary_last}}
  %r:3 = nn.linear_cross_entropy %a0, %a1, %a2 {ignore_index = -100 : i64} : (tensor<2x3x4xf32>, tensor<6x4x1xf32>, tensor<2x3xi64>) -> (tensor<f32>, tensor<f32>, tensor<2x3xf32>)
  return
}

// -----

func.func @matrix_order(%a0: tensor<2x3x4xf32>, %a1: tensor<4x6xf32>, %a2: tensor<2x3xi64>) {
  // expected-error@+1 {{C1: the weight must be [V, C], or [C, V] if vocabulary_last}}
  %r:3 = nn.linear_cross_entropy %a0, %a1, %a2 {ignore_index = -100 : i64} : (tensor<2x3x4xf32>, tensor<4x6xf32>, tensor<2x3xi64>) -> (tensor<f32>, tensor<f32>, tensor<2x3xf32>)
  return
}

// -----

func.func @vocabulary_is_not_last(%a0: tensor<2x3x4xf32>, %a1: tensor<6x4xf32>, %a2: tensor<2x3xi64>) {
  // expected-error@+1 {{C1: the weight must be [V, C], or [C, V] if vocabulary_last}}
  %r:3 = nn.linear_cross_entropy %a0, %a1, %a2 {ignore_index = -100 : i64, vocabulary_last} : (tensor<2x3x4xf32>, tensor<6x4xf32>, tensor<2x3xi64>) -> (tensor<f32>, tensor<f32>, tensor<2x3xf32>)
  return
}

// -----

func.func @bias(%a0: tensor<2x3x4xf32>, %a1: tensor<6x4xf32>, %a2: tensor<2x3xi64>, %a3: tensor<4xf32>) {
  // expected-error@+1 {{C1: the bias must be [V]}}
  %r:3 = nn.linear_cross_entropy %a0, %a1, %a2, %a3 {ignore_index = -100 : i64} : (tensor<2x3x4xf32>, tensor<6x4xf32>, tensor<2x3xi64>, tensor<4xf32>) -> (tensor<f32>, tensor<f32>, tensor<2x3xf32>)
  return
}

// -----

func.func @bias_of_the_last(%a0: tensor<2x3x4xf32>, %a1: tensor<4x6xf32>, %a2: tensor<2x3xi64>, %a3: tensor<4xf32>) {
  // expected-error@+1 {{C1: the bias must be [V]}}
  %r:3 = nn.linear_cross_entropy %a0, %a1, %a2, %a3 {ignore_index = -100 : i64, vocabulary_last} : (tensor<2x3x4xf32>, tensor<4x6xf32>, tensor<2x3xi64>, tensor<4xf32>) -> (tensor<f32>, tensor<f32>, tensor<2x3xf32>)
  return
}

// -----

func.func @linear_labels(%a0: tensor<2x3x4xf32>, %a1: tensor<6x4xf32>, %a2: tensor<3x2xi64>) {
  // expected-error@+1 {{C1: labels must have the input's leading shape}}
  %r:3 = nn.linear_cross_entropy %a0, %a1, %a2 {ignore_index = -100 : i64} : (tensor<2x3x4xf32>, tensor<6x4xf32>, tensor<3x2xi64>) -> (tensor<f32>, tensor<f32>, tensor<2x3xf32>)
  return
}

// -----

func.func @parts_0(%a0: tensor<2x3x4xf32>, %a1: tensor<6x4xf32>, %a2: tensor<2x3xi64>) {
  // expected-error@+1 {{C2: 0 parts do not divide 6 classes}}
  %r:3 = nn.linear_cross_entropy %a0, %a1, %a2 {ignore_index = -100 : i64, parts = 0 : i64} : (tensor<2x3x4xf32>, tensor<6x4xf32>, tensor<2x3xi64>) -> (tensor<f32>, tensor<f32>, tensor<0x2x3xf32>)
  return
}

// -----

func.func @parts_4(%a0: tensor<2x3x4xf32>, %a1: tensor<6x4xf32>, %a2: tensor<2x3xi64>) {
  // expected-error@+1 {{C2: 4 parts do not divide 6 classes}}
  %r:3 = nn.linear_cross_entropy %a0, %a1, %a2 {ignore_index = -100 : i64, parts = 4 : i64} : (tensor<2x3x4xf32>, tensor<6x4xf32>, tensor<2x3xi64>) -> (tensor<f32>, tensor<f32>, tensor<4x2x3xf32>)
  return
}

// -----

func.func @parts_7(%a0: tensor<2x3x4xf32>, %a1: tensor<6x4xf32>, %a2: tensor<2x3xi64>) {
  // expected-error@+1 {{C2: 7 parts do not divide 6 classes}}
  %r:3 = nn.linear_cross_entropy %a0, %a1, %a2 {ignore_index = -100 : i64, parts = 7 : i64} : (tensor<2x3x4xf32>, tensor<6x4xf32>, tensor<2x3xi64>) -> (tensor<f32>, tensor<f32>, tensor<7x2x3xf32>)
  return
}

// -----

func.func @linear_lse(%a0: tensor<2x3x4xf32>, %a1: tensor<6x4xf32>, %a2: tensor<2x3xi64>) {
  // expected-error@+1 {{C1: lse must have the input's leading shape, behind `parts` if there are some}}
  %r:3 = nn.linear_cross_entropy %a0, %a1, %a2 {ignore_index = -100 : i64} : (tensor<2x3x4xf32>, tensor<6x4xf32>, tensor<2x3xi64>) -> (tensor<f32>, tensor<f32>, tensor<3x2xf32>)
  return
}

// -----

func.func @lse_of_no_parts(%a0: tensor<2x3x4xf32>, %a1: tensor<6x4xf32>, %a2: tensor<2x3xi64>) {
  // expected-error@+1 {{C1: lse must have the input's leading shape, behind `parts` if there are some}}
  %r:3 = nn.linear_cross_entropy %a0, %a1, %a2 {ignore_index = -100 : i64} : (tensor<2x3x4xf32>, tensor<6x4xf32>, tensor<2x3xi64>) -> (tensor<f32>, tensor<f32>, tensor<1x2x3xf32>)
  return
}

// -----

func.func @lse_of_parts(%a0: tensor<2x3x4xf32>, %a1: tensor<6x4xf32>, %a2: tensor<2x3xi64>) {
  // expected-error@+1 {{C1: lse must have the input's leading shape, behind `parts` if there are some}}
  %r:3 = nn.linear_cross_entropy %a0, %a1, %a2 {ignore_index = -100 : i64, parts = 2 : i64} : (tensor<2x3x4xf32>, tensor<6x4xf32>, tensor<2x3xi64>) -> (tensor<f32>, tensor<f32>, tensor<2x3xf32>)
  return
}

// -----

func.func @input_gradient(%a0: tensor<2x3x4xf32>, %a1: tensor<6x4xf32>, %a2: tensor<2x3xi64>, %a3: tensor<2x3xf32>, %a4: tensor<f32>, %a5: tensor<6xf32>) {
  // expected-error@+1 {{C1: gradient types differ from those of input, weight and bias}}
  %r:3 = nn.linear_cross_entropy_backward %a0, %a1, %a2, %a3, %a4, %a5 {ignore_index = -100 : i64} : (tensor<2x3x4xf32>, tensor<6x4xf32>, tensor<2x3xi64>, tensor<2x3xf32>, tensor<f32>, tensor<6xf32>) -> (tensor<6x4xf32>, tensor<6x4xf32>, tensor<6xf32>)
  return
}

// -----

func.func @weight_gradient(%a0: tensor<2x3x4xf32>, %a1: tensor<6x4xf32>, %a2: tensor<2x3xi64>, %a3: tensor<2x3xf32>, %a4: tensor<f32>, %a5: tensor<6xf32>) {
  // expected-error@+1 {{C1: gradient types differ from those of input, weight and bias}}
  %r:3 = nn.linear_cross_entropy_backward %a0, %a1, %a2, %a3, %a4, %a5 {ignore_index = -100 : i64} : (tensor<2x3x4xf32>, tensor<6x4xf32>, tensor<2x3xi64>, tensor<2x3xf32>, tensor<f32>, tensor<6xf32>) -> (tensor<2x3x4xf32>, tensor<4x6xf32>, tensor<6xf32>)
  return
}

// -----

func.func @bias_gradient(%a0: tensor<2x3x4xf32>, %a1: tensor<6x4xf32>, %a2: tensor<2x3xi64>, %a3: tensor<2x3xf32>, %a4: tensor<f32>, %a5: tensor<6xf32>) {
  // expected-error@+1 {{C1: gradient types differ from those of input, weight and bias}}
  %r:3 = nn.linear_cross_entropy_backward %a0, %a1, %a2, %a3, %a4, %a5 {ignore_index = -100 : i64} : (tensor<2x3x4xf32>, tensor<6x4xf32>, tensor<2x3xi64>, tensor<2x3xf32>, tensor<f32>, tensor<6xf32>) -> (tensor<2x3x4xf32>, tensor<6x4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @missing_bias_gradient(%a0: tensor<2x3x4xf32>, %a1: tensor<6x4xf32>, %a2: tensor<2x3xi64>, %a3: tensor<2x3xf32>, %a4: tensor<f32>, %a5: tensor<6xf32>) {
  // expected-error@+1 {{C1: gradient types differ from those of input, weight and bias}}
  %r:2 = nn.linear_cross_entropy_backward %a0, %a1, %a2, %a3, %a4, %a5 {ignore_index = -100 : i64} : (tensor<2x3x4xf32>, tensor<6x4xf32>, tensor<2x3xi64>, tensor<2x3xf32>, tensor<f32>, tensor<6xf32>) -> (tensor<2x3x4xf32>, tensor<6x4xf32>)
  return
}

// -----

func.func @gradient_of_no_bias(%a0: tensor<2x3x4xf32>, %a1: tensor<6x4xf32>, %a2: tensor<2x3xi64>, %a3: tensor<2x3xf32>, %a4: tensor<f32>) {
  // expected-error@+1 {{C1: gradient types differ from those of input, weight and bias}}
  %r:3 = nn.linear_cross_entropy_backward %a0, %a1, %a2, %a3, %a4 {ignore_index = -100 : i64} : (tensor<2x3x4xf32>, tensor<6x4xf32>, tensor<2x3xi64>, tensor<2x3xf32>, tensor<f32>) -> (tensor<2x3x4xf32>, tensor<6x4xf32>, tensor<6xf32>)
  return
}
