// RUN: llmc-opt %s --autodiff-expand --split-input-file --verify-diagnostics

// Each op without a derivative says so, through which result or for which operand; the gradients beside it exist.

func.func private @f(%q: tensor<1x2x1x4xf32>, %m: tensor<1x1x2x2xf32>) -> tensor<f32> {
  %y, %s = nn.attention %q, %q, %q, %m {scale = 0.5 : f64, causal = false} : (tensor<1x2x1x4xf32>, tensor<1x2x1x4xf32>, tensor<1x2x1x4xf32>, tensor<1x1x2x2xf32>) -> (tensor<1x2x1x4xf32>, tensor<1x1x2xf32>)
  %l = nn.reduce %y {kind = 0 : i32, dims = array<i64: 0, 1, 2, 3>} : (tensor<1x2x1x4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @attention(%q: tensor<1x2x1x4xf32>, %m: tensor<1x1x2x2xf32>) {
  %r:2 = train.value_and_grad @f(%q, %m) {wrt = array<i64: 0>} : (tensor<1x2x1x4xf32>, tensor<1x1x2x2xf32>) -> (tensor<f32>, tensor<1x2x1x4xf32>)
  return
}

// -----

func.func private @f(%q: tensor<1x2x1x4xf32>, %m: tensor<1x1x2x2xf32>) -> tensor<f32> {
  // expected-error@+1 {{has no derivative through lse}}
  %y, %s = nn.attention %q, %q, %q, %m {scale = 0.5 : f64, causal = false} : (tensor<1x2x1x4xf32>, tensor<1x2x1x4xf32>, tensor<1x2x1x4xf32>, tensor<1x1x2x2xf32>) -> (tensor<1x2x1x4xf32>, tensor<1x1x2xf32>)
  %l = nn.reduce %s {kind = 0 : i32, dims = array<i64: 0, 1, 2>} : (tensor<1x1x2xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @attention_lse(%q: tensor<1x2x1x4xf32>, %m: tensor<1x1x2x2xf32>) {
  %r:2 = train.value_and_grad @f(%q, %m) {wrt = array<i64: 0>} : (tensor<1x2x1x4xf32>, tensor<1x1x2x2xf32>) -> (tensor<f32>, tensor<1x2x1x4xf32>)
  return
}

// -----

func.func private @f(%q: tensor<1x2x1x4xf32>, %m: tensor<1x1x2x2xf32>) -> tensor<f32> {
  // expected-error@+1 {{has no derivative for its mask}}
  %y, %s = nn.attention %q, %q, %q, %m {scale = 0.5 : f64, causal = false} : (tensor<1x2x1x4xf32>, tensor<1x2x1x4xf32>, tensor<1x2x1x4xf32>, tensor<1x1x2x2xf32>) -> (tensor<1x2x1x4xf32>, tensor<1x1x2xf32>)
  %l = nn.reduce %y {kind = 0 : i32, dims = array<i64: 0, 1, 2, 3>} : (tensor<1x2x1x4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @attention_mask(%q: tensor<1x2x1x4xf32>, %m: tensor<1x1x2x2xf32>) {
  %r:3 = train.value_and_grad @f(%q, %m) {wrt = array<i64: 0, 1>} : (tensor<1x2x1x4xf32>, tensor<1x1x2x2xf32>) -> (tensor<f32>, tensor<1x2x1x4xf32>, tensor<1x1x2x2xf32>)
  return
}

// -----

func.func private @f(%x: tensor<2x4xf32>, %w: tensor<6x4xf32>, %i: tensor<2xi64>) -> tensor<f32> {
  %y, %n, %s = nn.cross_entropy %x, %i {ignore_index = -100 : i64} : (tensor<2x4xf32>, tensor<2xi64>) -> (tensor<f32>, tensor<f32>, tensor<2xf32>)
  return %y : tensor<f32>
}
func.func @cross_entropy(%x: tensor<2x4xf32>, %w: tensor<6x4xf32>, %i: tensor<2xi64>) {
  %r:2 = train.value_and_grad @f(%x, %w, %i) {wrt = array<i64: 0>} : (tensor<2x4xf32>, tensor<6x4xf32>, tensor<2xi64>) -> (tensor<f32>, tensor<2x4xf32>)
  return
}

// -----

func.func private @f(%x: tensor<2x4xf32>, %w: tensor<6x4xf32>, %i: tensor<2xi64>) -> tensor<f32> {
  // expected-error@+1 {{has no derivative through lse}}
  %y, %n, %s = nn.cross_entropy %x, %i {ignore_index = -100 : i64} : (tensor<2x4xf32>, tensor<2xi64>) -> (tensor<f32>, tensor<f32>, tensor<2xf32>)
  %l = nn.reduce %s {kind = 0 : i32, dims = array<i64: 0>} : (tensor<2xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @cross_entropy_lse(%x: tensor<2x4xf32>, %w: tensor<6x4xf32>, %i: tensor<2xi64>) {
  %r:2 = train.value_and_grad @f(%x, %w, %i) {wrt = array<i64: 0>} : (tensor<2x4xf32>, tensor<6x4xf32>, tensor<2xi64>) -> (tensor<f32>, tensor<2x4xf32>)
  return
}

// -----

func.func private @f(%x: tensor<2x4xf32>, %w: tensor<6x4xf32>, %i: tensor<2xi64>) -> tensor<f32> {
  %y, %n, %s = nn.linear_cross_entropy %x, %w, %i {ignore_index = -100 : i64} : (tensor<2x4xf32>, tensor<6x4xf32>, tensor<2xi64>) -> (tensor<f32>, tensor<f32>, tensor<2xf32>)
  return %y : tensor<f32>
}
func.func @linear(%x: tensor<2x4xf32>, %w: tensor<6x4xf32>, %i: tensor<2xi64>) {
  %r:3 = train.value_and_grad @f(%x, %w, %i) {wrt = array<i64: 0, 1>} : (tensor<2x4xf32>, tensor<6x4xf32>, tensor<2xi64>) -> (tensor<f32>, tensor<2x4xf32>, tensor<6x4xf32>)
  return
}

// -----

func.func private @f(%x: tensor<2x4xf32>, %w: tensor<6x4xf32>, %i: tensor<2xi64>) -> tensor<f32> {
  // expected-error@+1 {{has no derivative through lse}}
  %y, %n, %s = nn.linear_cross_entropy %x, %w, %i {ignore_index = -100 : i64} : (tensor<2x4xf32>, tensor<6x4xf32>, tensor<2xi64>) -> (tensor<f32>, tensor<f32>, tensor<2xf32>)
  %l = nn.reduce %s {kind = 0 : i32, dims = array<i64: 0>} : (tensor<2xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @linear_lse(%x: tensor<2x4xf32>, %w: tensor<6x4xf32>, %i: tensor<2xi64>) {
  %r:2 = train.value_and_grad @f(%x, %w, %i) {wrt = array<i64: 0>} : (tensor<2x4xf32>, tensor<6x4xf32>, tensor<2xi64>) -> (tensor<f32>, tensor<2x4xf32>)
  return
}

// -----

func.func private @f(%x: tensor<2x4xf32>, %w: tensor<6x4xf32>, %i: tensor<2xi64>) -> tensor<f32> {
  // expected-error@+1 {{has no derivative in parts: they are made after differentiation}}
  %y, %n, %s = nn.linear_cross_entropy %x, %w, %i {ignore_index = -100 : i64, parts = 2 : i64} : (tensor<2x4xf32>, tensor<6x4xf32>, tensor<2xi64>) -> (tensor<f32>, tensor<f32>, tensor<2x2xf32>)
  return %y : tensor<f32>
}
func.func @linear_in_parts(%x: tensor<2x4xf32>, %w: tensor<6x4xf32>, %i: tensor<2xi64>) {
  %r:2 = train.value_and_grad @f(%x, %w, %i) {wrt = array<i64: 0>} : (tensor<2x4xf32>, tensor<6x4xf32>, tensor<2xi64>) -> (tensor<f32>, tensor<2x4xf32>)
  return
}

// -----

func.func private @f(%x: tensor<2x4xf32>, %c: tensor<4xf32>) -> tensor<f32> {
  %y, %m, %s = nn.layer_norm %x, %c {epsilon = 1.0e-5 : f64} : (tensor<2x4xf32>, tensor<4xf32>) -> (tensor<2x4xf32>, tensor<2xf32>, tensor<2xf32>)
  %l = nn.reduce %y {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<2x4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @layer_norm(%x: tensor<2x4xf32>, %c: tensor<4xf32>) {
  %r:3 = train.value_and_grad @f(%x, %c) {wrt = array<i64: 0, 1>} : (tensor<2x4xf32>, tensor<4xf32>) -> (tensor<f32>, tensor<2x4xf32>, tensor<4xf32>)
  return
}

// -----

func.func private @f(%x: tensor<2x4xf32>, %c: tensor<4xf32>) -> tensor<f32> {
  // expected-error@+1 {{has no derivative through its statistics}}
  %y, %m, %s = nn.layer_norm %x, %c {epsilon = 1.0e-5 : f64} : (tensor<2x4xf32>, tensor<4xf32>) -> (tensor<2x4xf32>, tensor<2xf32>, tensor<2xf32>)
  %l = nn.reduce %m {kind = 0 : i32, dims = array<i64: 0>} : (tensor<2xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @layer_norm_mean(%x: tensor<2x4xf32>, %c: tensor<4xf32>) {
  %r:2 = train.value_and_grad @f(%x, %c) {wrt = array<i64: 0>} : (tensor<2x4xf32>, tensor<4xf32>) -> (tensor<f32>, tensor<2x4xf32>)
  return
}

// -----

func.func private @f(%x: tensor<2x4xf32>, %c: tensor<4xf32>) -> tensor<f32> {
  // expected-error@+1 {{has no derivative through its statistics}}
  %y, %m, %s = nn.layer_norm %x, %c {epsilon = 1.0e-5 : f64} : (tensor<2x4xf32>, tensor<4xf32>) -> (tensor<2x4xf32>, tensor<2xf32>, tensor<2xf32>)
  %l = nn.reduce %s {kind = 0 : i32, dims = array<i64: 0>} : (tensor<2xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @layer_norm_rstd(%x: tensor<2x4xf32>, %c: tensor<4xf32>) {
  %r:2 = train.value_and_grad @f(%x, %c) {wrt = array<i64: 0>} : (tensor<2x4xf32>, tensor<4xf32>) -> (tensor<f32>, tensor<2x4xf32>)
  return
}

// -----

func.func private @f(%x: tensor<2x4xf32>, %c: tensor<4xf32>) -> tensor<f32> {
  %y, %s = nn.rms_norm %x, %c {epsilon = 1.0e-5 : f64} : (tensor<2x4xf32>, tensor<4xf32>) -> (tensor<2x4xf32>, tensor<2xf32>)
  %l = nn.reduce %y {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<2x4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @rms_norm(%x: tensor<2x4xf32>, %c: tensor<4xf32>) {
  %r:3 = train.value_and_grad @f(%x, %c) {wrt = array<i64: 0, 1>} : (tensor<2x4xf32>, tensor<4xf32>) -> (tensor<f32>, tensor<2x4xf32>, tensor<4xf32>)
  return
}

// -----

func.func private @f(%x: tensor<2x4xf32>, %c: tensor<4xf32>) -> tensor<f32> {
  // expected-error@+1 {{has no derivative through its statistics}}
  %y, %s = nn.rms_norm %x, %c {epsilon = 1.0e-5 : f64} : (tensor<2x4xf32>, tensor<4xf32>) -> (tensor<2x4xf32>, tensor<2xf32>)
  %l = nn.reduce %s {kind = 0 : i32, dims = array<i64: 0>} : (tensor<2xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @rms_norm_rstd(%x: tensor<2x4xf32>, %c: tensor<4xf32>) {
  %r:2 = train.value_and_grad @f(%x, %c) {wrt = array<i64: 0>} : (tensor<2x4xf32>, tensor<4xf32>) -> (tensor<f32>, tensor<2x4xf32>)
  return
}

// -----

func.func private @f(%q: tensor<1x2x1x4xf32>, %t: tensor<2x4xf32>) -> tensor<f32> {
  %y = nn.rope %q, %t, %t : (tensor<1x2x1x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<1x2x1x4xf32>
  %l = nn.reduce %y {kind = 0 : i32, dims = array<i64: 0, 1, 2, 3>} : (tensor<1x2x1x4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @rope(%q: tensor<1x2x1x4xf32>, %t: tensor<2x4xf32>) {
  %r:2 = train.value_and_grad @f(%q, %t) {wrt = array<i64: 0>} : (tensor<1x2x1x4xf32>, tensor<2x4xf32>) -> (tensor<f32>, tensor<1x2x1x4xf32>)
  return
}

// -----

func.func private @f(%q: tensor<1x2x1x4xf32>, %t: tensor<2x4xf32>) -> tensor<f32> {
  // expected-error@+1 {{has no derivative for its tables}}
  %y = nn.rope %q, %t, %t : (tensor<1x2x1x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<1x2x1x4xf32>
  %l = nn.reduce %y {kind = 0 : i32, dims = array<i64: 0, 1, 2, 3>} : (tensor<1x2x1x4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @rope_tables(%q: tensor<1x2x1x4xf32>, %t: tensor<2x4xf32>) {
  %r:2 = train.value_and_grad @f(%q, %t) {wrt = array<i64: 1>} : (tensor<1x2x1x4xf32>, tensor<2x4xf32>) -> (tensor<f32>, tensor<2x4xf32>)
  return
}

// -----

func.func private @f(%x: tensor<2x4xf32>) -> tensor<f32> {
  // expected-error@+1 {{has no derivative: second derivatives are not computed}}
  %y = nn.softmax_backward %x, %x : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %l = nn.reduce %y {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<2x4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @softmax_backward(%x: tensor<2x4xf32>) {
  %r:2 = train.value_and_grad @f(%x) {wrt = array<i64: 0>} : (tensor<2x4xf32>) -> (tensor<f32>, tensor<2x4xf32>)
  return
}

// -----

func.func private @f(%x: tensor<2x4xf32>) -> tensor<f32> {
  // expected-error@+1 {{has no derivative: second derivatives are not computed}}
  %y = nn.log_softmax_backward %x, %x : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %l = nn.reduce %y {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<2x4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @log_softmax_backward(%x: tensor<2x4xf32>) {
  %r:2 = train.value_and_grad @f(%x) {wrt = array<i64: 0>} : (tensor<2x4xf32>) -> (tensor<f32>, tensor<2x4xf32>)
  return
}

// -----

func.func private @f(%q: tensor<1x2x1x4xf32>, %h: tensor<1x1x2xf32>) -> tensor<f32> {
  // expected-error@+1 {{has no derivative: second derivatives are not computed}}
  %y, %k, %v = nn.attention_backward %q, %q, %q, %q, %h, %q {scale = 0.5 : f64, causal = false} : (tensor<1x2x1x4xf32>, tensor<1x2x1x4xf32>, tensor<1x2x1x4xf32>, tensor<1x2x1x4xf32>, tensor<1x1x2xf32>, tensor<1x2x1x4xf32>) -> (tensor<1x2x1x4xf32>, tensor<1x2x1x4xf32>, tensor<1x2x1x4xf32>)
  %l = nn.reduce %y {kind = 0 : i32, dims = array<i64: 0, 1, 2, 3>} : (tensor<1x2x1x4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @attention_backward(%q: tensor<1x2x1x4xf32>, %h: tensor<1x1x2xf32>) {
  %r:2 = train.value_and_grad @f(%q, %h) {wrt = array<i64: 0>} : (tensor<1x2x1x4xf32>, tensor<1x1x2xf32>) -> (tensor<f32>, tensor<1x2x1x4xf32>)
  return
}

// -----

func.func private @f(%x: tensor<2x4xf32>, %i: tensor<2xi64>, %s: tensor<2xf32>, %d: tensor<f32>) -> tensor<f32> {
  // expected-error@+1 {{has no derivative: second derivatives are not computed}}
  %y = nn.cross_entropy_backward %x, %i, %s, %d {ignore_index = -100 : i64} : (tensor<2x4xf32>, tensor<2xi64>, tensor<2xf32>, tensor<f32>) -> tensor<2x4xf32>
  %l = nn.reduce %y {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<2x4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @cross_entropy_backward(%x: tensor<2x4xf32>, %i: tensor<2xi64>, %s: tensor<2xf32>, %d: tensor<f32>) {
  %r:2 = train.value_and_grad @f(%x, %i, %s, %d) {wrt = array<i64: 0>} : (tensor<2x4xf32>, tensor<2xi64>, tensor<2xf32>, tensor<f32>) -> (tensor<f32>, tensor<2x4xf32>)
  return
}

// -----

func.func private @f(%x: tensor<2x4xf32>, %w: tensor<6x4xf32>, %i: tensor<2xi64>, %s: tensor<2xf32>, %d: tensor<f32>) -> tensor<f32> {
  // expected-error@+1 {{has no derivative: second derivatives are not computed}}
  %y, %v = nn.linear_cross_entropy_backward %x, %w, %i, %s, %d {ignore_index = -100 : i64} : (tensor<2x4xf32>, tensor<6x4xf32>, tensor<2xi64>, tensor<2xf32>, tensor<f32>) -> (tensor<2x4xf32>, tensor<6x4xf32>)
  %l = nn.reduce %y {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<2x4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @linear_backward(%x: tensor<2x4xf32>, %w: tensor<6x4xf32>, %i: tensor<2xi64>, %s: tensor<2xf32>, %d: tensor<f32>) {
  %r:2 = train.value_and_grad @f(%x, %w, %i, %s, %d) {wrt = array<i64: 0>} : (tensor<2x4xf32>, tensor<6x4xf32>, tensor<2xi64>, tensor<2xf32>, tensor<f32>) -> (tensor<f32>, tensor<2x4xf32>)
  return
}

// -----

func.func private @f(%x: tensor<2x4xf32>, %c: tensor<4xf32>, %s: tensor<2xf32>) -> tensor<f32> {
  // expected-error@+1 {{has no derivative: second derivatives are not computed}}
  %y, %v, %b = nn.layer_norm_backward %x, %c, %s, %s, %x : (tensor<2x4xf32>, tensor<4xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x4xf32>) -> (tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>)
  %l = nn.reduce %y {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<2x4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @layer_norm_backward(%x: tensor<2x4xf32>, %c: tensor<4xf32>, %s: tensor<2xf32>) {
  %r:2 = train.value_and_grad @f(%x, %c, %s) {wrt = array<i64: 0>} : (tensor<2x4xf32>, tensor<4xf32>, tensor<2xf32>) -> (tensor<f32>, tensor<2x4xf32>)
  return
}

// -----

func.func private @f(%x: tensor<2x4xf32>, %c: tensor<4xf32>, %s: tensor<2xf32>) -> tensor<f32> {
  // expected-error@+1 {{has no derivative: second derivatives are not computed}}
  %y, %v = nn.rms_norm_backward %x, %c, %s, %x : (tensor<2x4xf32>, tensor<4xf32>, tensor<2xf32>, tensor<2x4xf32>) -> (tensor<2x4xf32>, tensor<4xf32>)
  %l = nn.reduce %y {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<2x4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @rms_norm_backward(%x: tensor<2x4xf32>, %c: tensor<4xf32>, %s: tensor<2xf32>) {
  %r:2 = train.value_and_grad @f(%x, %c, %s) {wrt = array<i64: 0>} : (tensor<2x4xf32>, tensor<4xf32>, tensor<2xf32>) -> (tensor<f32>, tensor<2x4xf32>)
  return
}

// -----

func.func private @f(%x: tensor<2x4xf32>, %d: tensor<f32>) -> tensor<f32> {
  // expected-error@+1 {{has no derivative: it stands in the update}}
  %y, %v = nn.sgd %x, %x, %x, %d, %d {momentum = 0.0 : f64, decay = 0.0 : f64, nesterov = false} : (tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>, tensor<f32>, tensor<f32>) -> (tensor<2x4xf32>, tensor<2x4xf32>)
  %l = nn.reduce %y {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<2x4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @sgd(%x: tensor<2x4xf32>, %d: tensor<f32>) {
  %r:2 = train.value_and_grad @f(%x, %d) {wrt = array<i64: 0>} : (tensor<2x4xf32>, tensor<f32>) -> (tensor<f32>, tensor<2x4xf32>)
  return
}

// -----

func.func private @f(%x: tensor<2x4xf32>, %d: tensor<f32>) -> tensor<f32> {
  // expected-error@+1 {{has no derivative: it stands in the update}}
  %y, %u, %v = nn.adamw %x, %x, %x, %x, %d, %d, %d, %d {beta1 = 0.9 : f64, beta2 = 0.9 : f64, epsilon = 1.0e-8 : f64, decay = 0.0 : f64} : (tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>, tensor<f32>, tensor<f32>, tensor<f32>, tensor<f32>) -> (tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>)
  %l = nn.reduce %y {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<2x4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @adamw(%x: tensor<2x4xf32>, %d: tensor<f32>) {
  %r:2 = train.value_and_grad @f(%x, %d) {wrt = array<i64: 0>} : (tensor<2x4xf32>, tensor<f32>) -> (tensor<f32>, tensor<2x4xf32>)
  return
}

// -----

func.func private @f(%x: tensor<2x4xf32>) -> tensor<f32> {
  // expected-error@+1 {{has no derivative: it stands in the update}}
  %y = nn.sum_of_squares %x : (tensor<2x4xf32>) -> tensor<f32>
  return %y : tensor<f32>
}
func.func @sum_of_squares(%x: tensor<2x4xf32>) {
  %r:2 = train.value_and_grad @f(%x) {wrt = array<i64: 0>} : (tensor<2x4xf32>) -> (tensor<f32>, tensor<2x4xf32>)
  return
}

// -----

func.func private @f(%x: tensor<2x4xf32>, %c: tensor<4xf32>) -> tensor<f32> {
  // expected-error@+1 {{is differentiated as the elementary ops that `training-build-step` makes of it}}
  %y, %u, %v = nn.batch_norm %x, %c, %c, %c, %c {epsilon = 1.0e-5 : f64, momentum = 0.9 : f64} : (tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> (tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>)
  %l = nn.reduce %y {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<2x4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @batch_norm(%x: tensor<2x4xf32>, %c: tensor<4xf32>) {
  %r:2 = train.value_and_grad @f(%x, %c) {wrt = array<i64: 0>} : (tensor<2x4xf32>, tensor<4xf32>) -> (tensor<f32>, tensor<2x4xf32>)
  return
}
