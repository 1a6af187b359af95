// RUN: llmc-opt %s --split-input-file --verify-diagnostics

// Gradients of nn.attention have the types of what they are gradients of.

func.func @gradients(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>, %a3: tensor<2x3x4x6xf32>, %a4: tensor<2x4x3xf32>, %a5: tensor<2x3x4x6xf32>) {
  %r:3 = nn.attention_backward %a0, %a1, %a2, %a3, %a4, %a5 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>, tensor<2x3x4x6xf32>, tensor<2x4x3xf32>, tensor<2x3x4x6xf32>) -> (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>)
  return
}
func.func @with_mask(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>, %a3: tensor<2x3x4x6xf32>, %a4: tensor<2x4x3xf32>, %a5: tensor<2x3x4x6xf32>, %a6: tensor<1x1x3x5xf32>) {
  %r:3 = nn.attention_backward %a0, %a1, %a2, %a3, %a4, %a5, %a6 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>, tensor<2x3x4x6xf32>, tensor<2x4x3xf32>, tensor<2x3x4x6xf32>, tensor<1x1x3x5xf32>) -> (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>)
  return
}

// -----

func.func @query_gradient(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>, %a3: tensor<2x3x4x6xf32>, %a4: tensor<2x4x3xf32>, %a5: tensor<2x3x4x6xf32>) {
  // expected-error@+1 {{C1: gradient types differ from those of query, key and value}}
  %r:3 = nn.attention_backward %a0, %a1, %a2, %a3, %a4, %a5 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>, tensor<2x3x4x6xf32>, tensor<2x4x3xf32>, tensor<2x3x4x6xf32>) -> (tensor<2x5x2x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>)
  return
}

// -----

func.func @key_gradient(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>, %a3: tensor<2x3x4x6xf32>, %a4: tensor<2x4x3xf32>, %a5: tensor<2x3x4x6xf32>) {
  // expected-error@+1 {{C1: gradient types differ from those of query, key and value}}
  %r:3 = nn.attention_backward %a0, %a1, %a2, %a3, %a4, %a5 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>, tensor<2x3x4x6xf32>, tensor<2x4x3xf32>, tensor<2x3x4x6xf32>) -> (tensor<2x3x4x8xf32>, tensor<2x5x2x6xf32>, tensor<2x5x2x6xf32>)
  return
}

// -----

func.func @value_gradient(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>, %a3: tensor<2x3x4x6xf32>, %a4: tensor<2x4x3xf32>, %a5: tensor<2x3x4x6xf32>) {
  // expected-error@+1 {{C1: gradient types differ from those of query, key and value}}
  %r:3 = nn.attention_backward %a0, %a1, %a2, %a3, %a4, %a5 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>, tensor<2x3x4x6xf32>, tensor<2x4x3xf32>, tensor<2x3x4x6xf32>) -> (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x8xf32>)
  return
}

// -----

func.func @shapes_of_the_forward_op(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>, %a3: tensor<2x3x4x6xf32>, %a4: tensor<2x3x4xf32>, %a5: tensor<2x3x4x6xf32>) {
  // expected-error@+1 {{C1: lse must be [B, H, T]}}
  %r:3 = nn.attention_backward %a0, %a1, %a2, %a3, %a4, %a5 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>, tensor<2x3x4x6xf32>, tensor<2x3x4xf32>, tensor<2x3x4x6xf32>) -> (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>)
  return
}
