// RUN: llmc-opt %s --split-input-file --verify-diagnostics

// What the sizes of nn.attention must agree on: one operand differs in each case.

func.func @grouped(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>) {
  %r:2 = nn.attention %a0, %a1, %a2 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>) -> (tensor<2x3x4x6xf32>, tensor<2x4x3xf32>)
  return
}
func.func @whole_mask(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>, %a3: tensor<2x4x3x5xf32>) {
  %r:2 = nn.attention %a0, %a1, %a2, %a3 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>, tensor<2x4x3x5xf32>) -> (tensor<2x3x4x6xf32>, tensor<2x4x3xf32>)
  return
}
func.func @one_batch(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>, %a3: tensor<1x4x3x5xf32>) {
  %r:2 = nn.attention %a0, %a1, %a2, %a3 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>, tensor<1x4x3x5xf32>) -> (tensor<2x3x4x6xf32>, tensor<2x4x3xf32>)
  return
}
func.func @one_head(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>, %a3: tensor<2x1x3x5xf32>) {
  %r:2 = nn.attention %a0, %a1, %a2, %a3 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>, tensor<2x1x3x5xf32>) -> (tensor<2x3x4x6xf32>, tensor<2x4x3xf32>)
  return
}
func.func @one_of_each(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>, %a3: tensor<1x1x3x5xf32>) {
  %r:2 = nn.attention %a0, %a1, %a2, %a3 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>, tensor<1x1x3x5xf32>) -> (tensor<2x3x4x6xf32>, tensor<2x4x3xf32>)
  return
}
func.func @one_group(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x1x8xf32>, %a2: tensor<2x5x1x6xf32>) {
  %r:2 = nn.attention %a0, %a1, %a2 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x1x8xf32>, tensor<2x5x1x6xf32>) -> (tensor<2x3x4x6xf32>, tensor<2x4x3xf32>)
  return
}

// -----

func.func @query_rank(%a0: tensor<2x3x32xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>) {
  // expected-error@+1 {{C1: query, key, value and result have rank 4}}
  %r:2 = nn.attention %a0, %a1, %a2 {scale = 0.5 : f64, causal = false} : (tensor<2x3x32xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>) -> (tensor<2x3x4x6xf32>, tensor<2x4x3xf32>)
  return
}

// -----

func.func @key_rank(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x16xf32>, %a2: tensor<2x5x2x6xf32>) {
  // expected-error@+1 {{C1: query, key, value and result have rank 4}}
  %r:2 = nn.attention %a0, %a1, %a2 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x16xf32>, tensor<2x5x2x6xf32>) -> (tensor<2x3x4x6xf32>, tensor<2x4x3xf32>)
  return
}

// -----

func.func @value_rank(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x12xf32>) {
  // expected-error@+1 {{C1: query, key, value and result have rank 4}}
  %r:2 = nn.attention %a0, %a1, %a2 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x12xf32>) -> (tensor<2x3x4x6xf32>, tensor<2x4x3xf32>)
  return
}

// -----

func.func @result_rank(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>) {
  // expected-error@+1 {{C1: query, key, value and result have rank 4}}
  %r:2 = nn.attention %a0, %a1, %a2 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>) -> (tensor<2x3x24xf32>, tensor<2x4x3xf32>)
  return
}

// -----

func.func @key_batch(%a0: tensor<2x3x4x8xf32>, %a1: tensor<1x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>) {
  // expected-error@+1 {{C1: shapes of query, key and value do not agree}}
  %r:2 = nn.attention %a0, %a1, %a2 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<1x5x2x8xf32>, tensor<2x5x2x6xf32>) -> (tensor<2x3x4x6xf32>, tensor<2x4x3xf32>)
  return
}

// -----

func.func @value_batch(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<1x5x2x6xf32>) {
  // expected-error@+1 {{C1: shapes of query, key and value do not agree}}
  %r:2 = nn.attention %a0, %a1, %a2 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<1x5x2x6xf32>) -> (tensor<2x3x4x6xf32>, tensor<2x4x3xf32>)
  return
}

// -----

func.func @key_size(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x7xf32>, %a2: tensor<2x5x2x6xf32>) {
  // expected-error@+1 {{C1: shapes of query, key and value do not agree}}
  %r:2 = nn.attention %a0, %a1, %a2 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x7xf32>, tensor<2x5x2x6xf32>) -> (tensor<2x3x4x6xf32>, tensor<2x4x3xf32>)
  return
}

// -----

func.func @value_keys(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x4x2x6xf32>) {
  // expected-error@+1 {{C1: shapes of query, key and value do not agree}}
  %r:2 = nn.attention %a0, %a1, %a2 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x4x2x6xf32>) -> (tensor<2x3x4x6xf32>, tensor<2x4x3xf32>)
  return
}

// -----

func.func @value_groups(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x4x6xf32>) {
  // expected-error@+1 {{C1: shapes of query, key and value do not agree}}
  %r:2 = nn.attention %a0, %a1, %a2 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x4x6xf32>) -> (tensor<2x3x4x6xf32>, tensor<2x4x3xf32>)
  return
}

// -----

func.func @no_groups(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x0x8xf32>, %a2: tensor<2x5x0x6xf32>) {
  // expected-error@+1 {{C1: shapes of query, key and value do not agree}}
  %r:2 = nn.attention %a0, %a1, %a2 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x0x8xf32>, tensor<2x5x0x6xf32>) -> (tensor<2x3x4x6xf32>, tensor<2x4x3xf32>)
  return
}

// -----

func.func @groups_divide_heads(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x3x8xf32>, %a2: tensor<2x5x3x6xf32>) {
  // expected-error@+1 {{C1: shapes of query, key and value do not agree}}
  %r:2 = nn.attention %a0, %a1, %a2 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x3x8xf32>, tensor<2x5x3x6xf32>) -> (tensor<2x3x4x6xf32>, tensor<2x4x3xf32>)
  return
}

// -----

func.func @result_batch(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>) {
  // expected-error@+1 {{C1: the result must be [B, T, H, E]}}
  %r:2 = nn.attention %a0, %a1, %a2 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>) -> (tensor<1x3x4x6xf32>, tensor<2x4x3xf32>)
  return
}

// -----

func.func @result_queries(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>) {
  // expected-error@+1 {{C1: the result must be [B, T, H, E]}}
  %r:2 = nn.attention %a0, %a1, %a2 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>) -> (tensor<2x5x4x6xf32>, tensor<2x4x3xf32>)
  return
}

// -----

func.func @result_heads(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>) {
  // expected-error@+1 {{C1: the result must be [B, T, H, E]}}
  %r:2 = nn.attention %a0, %a1, %a2 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>) -> (tensor<2x3x2x6xf32>, tensor<2x4x3xf32>)
  return
}

// -----

func.func @result_size(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>) {
  // expected-error@+1 {{C1: the result must be [B, T, H, E]}}
  %r:2 = nn.attention %a0, %a1, %a2 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>) -> (tensor<2x3x4x8xf32>, tensor<2x4x3xf32>)
  return
}

// -----

func.func @lse_order(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>) {
  // expected-error@+1 {{C1: lse must be [B, H, T]}}
  %r:2 = nn.attention %a0, %a1, %a2 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>) -> (tensor<2x3x4x6xf32>, tensor<2x3x4xf32>)
  return
}

// -----

func.func @lse_batch(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>) {
  // expected-error@+1 {{C1: lse must be [B, H, T]}}
  %r:2 = nn.attention %a0, %a1, %a2 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>) -> (tensor<2x3x4x6xf32>, tensor<1x4x3xf32>)
  return
}

// -----

func.func @mask_rank(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>, %a3: tensor<3x5xf32>) {
  // expected-error@+1 {{C1: the mask must be [1 or B, 1 or H, T, S]}}
  %r:2 = nn.attention %a0, %a1, %a2, %a3 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>, tensor<3x5xf32>) -> (tensor<2x3x4x6xf32>, tensor<2x4x3xf32>)
  return
}

// -----

func.func @mask_batch(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>, %a3: tensor<3x1x3x5xf32>) {
  // expected-error@+1 {{C1: the mask must be [1 or B, 1 or H, T, S]}}
  %r:2 = nn.attention %a0, %a1, %a2, %a3 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>, tensor<3x1x3x5xf32>) -> (tensor<2x3x4x6xf32>, tensor<2x4x3xf32>)
  return
}

// -----

func.func @mask_heads(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>, %a3: tensor<1x2x3x5xf32>) {
  // expected-error@+1 {{C1: the mask must be [1 or B, 1 or H, T, S]}}
  %r:2 = nn.attention %a0, %a1, %a2, %a3 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>, tensor<1x2x3x5xf32>) -> (tensor<2x3x4x6xf32>, tensor<2x4x3xf32>)
  return
}

// -----

func.func @mask_queries(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>, %a3: tensor<1x1x1x5xf32>) {
  // expected-error@+1 {{C1: the mask must be [1 or B, 1 or H, T, S]}}
  %r:2 = nn.attention %a0, %a1, %a2, %a3 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>, tensor<1x1x1x5xf32>) -> (tensor<2x3x4x6xf32>, tensor<2x4x3xf32>)
  return
}

// -----

func.func @mask_keys(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x5x2x8xf32>, %a2: tensor<2x5x2x6xf32>, %a3: tensor<1x1x3x1xf32>) {
  // expected-error@+1 {{C1: the mask must be [1 or B, 1 or H, T, S]}}
  %r:2 = nn.attention %a0, %a1, %a2, %a3 {scale = 0.5 : f64, causal = false} : (tensor<2x3x4x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x6xf32>, tensor<1x1x3x1xf32>) -> (tensor<2x3x4x6xf32>, tensor<2x4x3xf32>)
  return
}
