// RUN: llmc-opt %s --split-input-file --verify-diagnostics

// Tables of positions: each rank and size alone wrong.

func.func @tables(%a0: tensor<2x3x4x8xf32>, %a1: tensor<3x8xf32>, %a2: tensor<3x8xf32>) {
  %r = nn.rope %a0, %a1, %a2 : (tensor<2x3x4x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>) -> tensor<2x3x4x8xf32>
  return
}
func.func @tables_of_each_sample(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x3x2xf32>, %a2: tensor<2x3x2xf32>) {
  %r = nn.rope %a0, %a1, %a2 : (tensor<2x3x4x8xf32>, tensor<2x3x2xf32>, tensor<2x3x2xf32>) -> tensor<2x3x4x8xf32>
  return
}

// -----

func.func @input_rank(%a0: tensor<3x4x8xf32>, %a1: tensor<3x8xf32>, %a2: tensor<3x8xf32>) {
  // expected-error@+1 {{C1: input must be [batch, sequence, heads, size], cos and sin [sequence, R] or [batch, sequence, R]}}
  %r = nn.rope %a0, %a1, %a2 : (tensor<3x4x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>) -> tensor<3x4x8xf32>
  return
}

// -----

func.func @result(%a0: tensor<2x3x4x8xf32>, %a1: tensor<3x8xf32>, %a2: tensor<3x8xf32>) {
  // expected-error@+1 {{C1: input must be [batch, sequence, heads, size], cos and sin [sequence, R] or [batch, sequence, R]}}
  %r = nn.rope %a0, %a1, %a2 : (tensor<2x3x4x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>) -> tensor<2x3x8x4xf32>
  return
}

// -----

func.func @one_table(%a0: tensor<2x3x4x8xf32>, %a1: tensor<3x8xf32>, %a2: tensor<3x6xf32>) {
  // expected-error@+1 {{C1: input must be [batch, sequence, heads, size], cos and sin [sequence, R] or [batch, sequence, R]}}
  %r = nn.rope %a0, %a1, %a2 : (tensor<2x3x4x8xf32>, tensor<3x8xf32>, tensor<3x6xf32>) -> tensor<2x3x4x8xf32>
  return
}

// -----

func.func @table_of_one_position(%a0: tensor<2x3x4x8xf32>, %a1: tensor<8xf32>, %a2: tensor<8xf32>) {
  // expected-error@+1 {{C1: input must be [batch, sequence, heads, size], cos and sin [sequence, R] or [batch, sequence, R]}}
  %r = nn.rope %a0, %a1, %a2 : (tensor<2x3x4x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<2x3x4x8xf32>
  return
}

// -----

func.func @table_of_each_head(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x3x4x8xf32>, %a2: tensor<2x3x4x8xf32>) {
  // expected-error@+1 {{C1: input must be [batch, sequence, heads, size], cos and sin [sequence, R] or [batch, sequence, R]}}
  %r = nn.rope %a0, %a1, %a2 : (tensor<2x3x4x8xf32>, tensor<2x3x4x8xf32>, tensor<2x3x4x8xf32>) -> tensor<2x3x4x8xf32>
  return
}

// -----

func.func @sequence(%a0: tensor<2x3x4x8xf32>, %a1: tensor<4x8xf32>, %a2: tensor<4x8xf32>) {
  // expected-error@+1 {{C1: the tables do not fit [batch, sequence, heads, size], or R is odd or larger than size}}
  %r = nn.rope %a0, %a1, %a2 : (tensor<2x3x4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<2x3x4x8xf32>
  return
}

// -----

func.func @batch(%a0: tensor<2x3x4x8xf32>, %a1: tensor<1x3x8xf32>, %a2: tensor<1x3x8xf32>) {
  // expected-error@+1 {{C1: the tables do not fit [batch, sequence, heads, size], or R is odd or larger than size}}
  %r = nn.rope %a0, %a1, %a2 : (tensor<2x3x4x8xf32>, tensor<1x3x8xf32>, tensor<1x3x8xf32>) -> tensor<2x3x4x8xf32>
  return
}

// -----

func.func @sequence_of_each_sample(%a0: tensor<2x3x4x8xf32>, %a1: tensor<2x4x8xf32>, %a2: tensor<2x4x8xf32>) {
  // expected-error@+1 {{C1: the tables do not fit [batch, sequence, heads, size], or R is odd or larger than size}}
  %r = nn.rope %a0, %a1, %a2 : (tensor<2x3x4x8xf32>, tensor<2x4x8xf32>, tensor<2x4x8xf32>) -> tensor<2x3x4x8xf32>
  return
}

// -----

func.func @odd(%a0: tensor<2x3x4x8xf32>, %a1: tensor<3x7xf32>, %a2: tensor<3x7xf32>) {
  // expected-error@+1 {{C1: the tables do not fit [batch, sequence, heads, size], or R is odd or larger than size}}
  %r = nn.rope %a0, %a1, %a2 : (tensor<2x3x4x8xf32>, tensor<3x7xf32>, tensor<3x7xf32>) -> tensor<2x3x4x8xf32>
  return
}

// -----

func.func @larger_than_size(%a0: tensor<2x3x4x8xf32>, %a1: tensor<3x10xf32>, %a2: tensor<3x10xf32>) {
  // expected-error@+1 {{C1: the tables do not fit [batch, sequence, heads, size], or R is odd or larger than size}}
  %r = nn.rope %a0, %a1, %a2 : (tensor<2x3x4x8xf32>, tensor<3x10xf32>, tensor<3x10xf32>) -> tensor<2x3x4x8xf32>
  return
}
