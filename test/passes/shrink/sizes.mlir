// RUN: llmc-opt %s --shrink-sizes --split-input-file | FileCheck %s

// Hidden size, vocabulary and positions become smaller, each everywhere, and stay equal modulo 48 = lcm(16, 3 ranks); the larger of
// two stays the larger. The batch stays. Labels that are shifted by one still are. What was in a file is made up.
// CHECK-LABEL: train.left_out = ["size 1000 becomes 88: dimension 0 of embed", "size 256 becomes 64: dimension 1 of up and 1 more", "size 100 becomes 52: dimension 1 of ids", "size 96 becomes 48: dimension 1 of embed and 2 more", "choices by size {{[^"]*}}", "1 smaller parameters have made up values, not those of the model"]
//  CHECK-SAME:   init = [{a = -5.000000e-02 : f64, b = 5.000000e-02 : f64, glob = "embed", kind = 4 : i64}]
// CHECK-LABEL: func.func @forward
//  CHECK-SAME:   tensor<2x52xi64> {train.name = "ids", {{.*}}tensor<88x48xf32> {train.name = "embed", {{.*}}tensor<48x64xf32> {train.name = "up", {{.*}}tensor<64x48xf32> {train.name = "down", {{.*}}train.value = dense<2.000000e+00> : tensor<52x48xf32>}
//       CHECK:   arith.constant dense<-100> : tensor<2x53xi64>
//       CHECK:   nn.gather {{.*}} -> tensor<2x52x48xf32>
//       CHECK:   tensor.insert_slice {{.*}}[0, 0] [2, 52] [1, 1] : tensor<2x52xi64> into tensor<2x53xi64>
//       CHECK:   tensor.extract_slice {{.*}}[0, 1] [2, 52] [1, 1] : tensor<2x53xi64> to tensor<2x52xi64>
module attributes {train.recipe = {mesh = [{name = "dp", value = 3 : i64}]}} {
func.func @forward(%ids: tensor<2x100xi64> {train.name = "ids", train.role = "input"}, %e: tensor<1000x96xf32> {train.name = "embed", train.role = "param", train.source = {path = "w", offset = 0 : i64, bytes = 384000 : i64}}, %u: tensor<96x256xf32> {train.name = "up", train.role = "param"}, %d: tensor<256x96xf32> {train.name = "down", train.role = "param"}, %m: tensor<100x96xf32> {train.name = "mask", train.role = "constant", train.value = dense<2.0> : tensor<100x96xf32>}) -> tensor<f32> {
  %pad = arith.constant dense<-100> : tensor<2x101xi64>
  %0 = nn.gather %e, %ids : (tensor<1000x96xf32>, tensor<2x100xi64>) -> tensor<2x100x96xf32>
  %1 = nn.contract %0, %u {equation = "btc,cf->btf"} : (tensor<2x100x96xf32>, tensor<96x256xf32>) -> tensor<2x100x256xf32>
  %2 = nn.contract %1, %d {equation = "btf,fc->btc"} : (tensor<2x100x256xf32>, tensor<256x96xf32>) -> tensor<2x100x96xf32>
  %3 = nn.broadcast %m {dims = array<i64: 1, 2>} : (tensor<100x96xf32>) -> tensor<2x100x96xf32>
  %4 = arith.mulf %2, %3 : tensor<2x100x96xf32>
  %longer = tensor.insert_slice %ids into %pad[0, 0] [2, 100] [1, 1] : tensor<2x100xi64> into tensor<2x101xi64>
  %labels = tensor.extract_slice %longer[0, 1] [2, 100] [1, 1] : tensor<2x101xi64> to tensor<2x100xi64>
  %sum, %n, %lse = nn.linear_cross_entropy %4, %e, %labels {ignore_index = -100 : i64} : (tensor<2x100x96xf32>, tensor<1000x96xf32>, tensor<2x100xi64>) -> (tensor<f32>, tensor<f32>, tensor<2x100xf32>)
  return %sum : tensor<f32>
}
}

// -----

// Heads are split from their number, and the parts of a fused weight stay three equal ones.
// CHECK-LABEL: func.func @forward
//  CHECK-SAME:   tensor<2x80x64xf32> {train.name = "x", {{.*}}tensor<64x288xf32> {train.name = "qkv", {{.*}}tensor<96x64xf32> {train.name = "o"
//       CHECK:   tensor.extract_slice {{.*}}[0, 0, 0] [2, 80, 96] [1, 1, 1] : tensor<2x80x288xf32> to tensor<2x80x96xf32>
//       CHECK:   tensor.extract_slice {{.*}}[0, 0, 96] [2, 80, 96]
//       CHECK:   tensor.extract_slice {{.*}}[0, 0, 192] [2, 80, 96]
//       CHECK:   tensor.expand_shape {{.*}} output_shape [2, 80, 2, 48] : tensor<2x80x96xf32> into tensor<2x80x2x48xf32>
//       CHECK:   nn.attention {{.*}} -> (tensor<2x80x2x48xf32>, tensor<2x2x80xf32>)
module {
func.func @forward(%x: tensor<2x640x320xf32> {train.name = "x", train.role = "input"}, %qkv: tensor<320x864xf32> {train.name = "qkv", train.role = "param"}, %o: tensor<288x320xf32> {train.name = "o", train.role = "param"}) -> tensor<2x640x320xf32> {
  %0 = nn.contract %x, %qkv {equation = "btc,cf->btf"} : (tensor<2x640x320xf32>, tensor<320x864xf32>) -> tensor<2x640x864xf32>
  %q = tensor.extract_slice %0[0, 0, 0] [2, 640, 288] [1, 1, 1] : tensor<2x640x864xf32> to tensor<2x640x288xf32>
  %k = tensor.extract_slice %0[0, 0, 288] [2, 640, 288] [1, 1, 1] : tensor<2x640x864xf32> to tensor<2x640x288xf32>
  %v = tensor.extract_slice %0[0, 0, 576] [2, 640, 288] [1, 1, 1] : tensor<2x640x864xf32> to tensor<2x640x288xf32>
  %qh = tensor.expand_shape %q [[0], [1], [2, 3]] output_shape [2, 640, 2, 144] : tensor<2x640x288xf32> into tensor<2x640x2x144xf32>
  %kh = tensor.expand_shape %k [[0], [1], [2, 3]] output_shape [2, 640, 2, 144] : tensor<2x640x288xf32> into tensor<2x640x2x144xf32>
  %vh = tensor.expand_shape %v [[0], [1], [2, 3]] output_shape [2, 640, 2, 144] : tensor<2x640x288xf32> into tensor<2x640x2x144xf32>
  %a, %lse = nn.attention %qh, %kh, %vh {causal = true, scale = 0.144 : f64} : (tensor<2x640x2x144xf32>, tensor<2x640x2x144xf32>, tensor<2x640x2x144xf32>) -> (tensor<2x640x2x144xf32>, tensor<2x2x640xf32>)
  %1 = tensor.collapse_shape %a [[0], [1], [2, 3]] : tensor<2x640x2x144xf32> into tensor<2x640x288xf32>
  %2 = nn.contract %1, %o {equation = "btf,fc->btc"} : (tensor<2x640x288xf32>, tensor<288x320xf32>) -> tensor<2x640x320xf32>
  return %2 : tensor<2x640x320xf32>
}
}

// -----

// Rows that computed ids look up stay; so do those that a constant chooses, and 96, which is 12 x 8 here and 8 x 12 there.
// A constant that counts from the end chooses a row that a smaller table may not have: -40, but not -2.
// CHECK-LABEL: train.left_out = ["size 60 becomes 44: dimension 0 of last", "size 50 becomes 34: dimension 1 of ids",
// CHECK-LABEL: func.func @forward
//  CHECK-SAME:   tensor<2x34xi64> {{.*}}tensor<100x96xf32> {train.name = "embed", {{.*}}tensor<60x96xf32> {train.name = "positions"
//  CHECK-SAME:   tensor<60x96xf32> {train.name = "early"{{.*}}tensor<44x96xf32> {train.name = "last"
//       CHECK:   arith.constant dense<2> : tensor<2x34xi64>
module {
func.func @forward(%ids: tensor<2x50xi64> {train.name = "ids", train.role = "input"}, %e: tensor<100x96xf32> {train.name = "embed", train.role = "param"}, %p: tensor<60x96xf32> {train.name = "positions", train.role = "param"}, %c: tensor<96xf32> {train.name = "scale", train.role = "param"}, %q: tensor<60x96xf32> {train.name = "early", train.role = "param"}, %r: tensor<60x96xf32> {train.name = "last", train.role = "param"}) -> tensor<2x50x12x8xf32> {
  %early = arith.constant dense<[-1, -40, 0]> : tensor<3xi64>
  %last = arith.constant dense<[-1, -2, 0]> : tensor<3xi64>
  %at = arith.constant dense<[0, 1, 59]> : tensor<3xi64>
  %two = arith.constant dense<2> : tensor<2x50xi64>
  %half = arith.divsi %ids, %two : tensor<2x50xi64>
  %0 = nn.gather %e, %half : (tensor<100x96xf32>, tensor<2x50xi64>) -> tensor<2x50x96xf32>
  %1 = nn.gather %p, %at : (tensor<60x96xf32>, tensor<3xi64>) -> tensor<3x96xf32>
  %10 = nn.gather %q, %early : (tensor<60x96xf32>, tensor<3xi64>) -> tensor<3x96xf32>
  %11 = nn.gather %r, %last : (tensor<60x96xf32>, tensor<3xi64>) -> tensor<3x96xf32>
  %12 = arith.addf %1, %10 : tensor<3x96xf32>
  %13 = arith.addf %12, %11 : tensor<3x96xf32>
  %2 = nn.reduce %13 {dims = array<i64: 0>, kind = 0 : i32} : (tensor<3x96xf32>) -> tensor<96xf32>
  %3 = tensor.expand_shape %c [[0, 1]] output_shape [12, 8] : tensor<96xf32> into tensor<12x8xf32>
  %4 = tensor.expand_shape %2 [[0, 1]] output_shape [8, 12] : tensor<96xf32> into tensor<8x12xf32>
  %5 = nn.transpose %4 {permutation = array<i64: 1, 0>} : (tensor<8x12xf32>) -> tensor<12x8xf32>
  %6 = arith.addf %3, %5 : tensor<12x8xf32>
  %7 = nn.broadcast %6 {dims = array<i64: 2, 3>} : (tensor<12x8xf32>) -> tensor<2x50x12x8xf32>
  %8 = tensor.expand_shape %0 [[0], [1], [2, 3]] output_shape [2, 50, 12, 8] : tensor<2x50x96xf32> into tensor<2x50x12x8xf32>
  %9 = arith.addf %7, %8 : tensor<2x50x12x8xf32>
  return %9 : tensor<2x50x12x8xf32>
}
}

// -----

// Equal parts of a concatenation stay equal, behind one row that stays one row; what ids of the data choose along stays whole.
// CHECK-LABEL: train.left_out = ["size 200 becomes 56: dimension 1 of x and 4 more", "size 160 becomes 48: dimension 1 of a and 1 more", "choices by size
// CHECK-LABEL: func.func @forward
//  CHECK-SAME:   tensor<56x300xf32> {train.name = "looked"
//       CHECK:   tensor.concat dim(1) %{{.+}}, %{{.+}} : (tensor<2x48xf32>, tensor<2x48xf32>) -> tensor<2x96xf32>
//       CHECK:   tensor.concat dim(0) %{{.+}}, %{{.+}} : (tensor<1x56xf32>, tensor<2x56xf32>) -> tensor<3x56xf32>
module {
func.func @forward(%x: tensor<2x200xf32> {train.name = "x", train.role = "input"}, %at: tensor<2x3xi64> {train.name = "at", train.role = "input"}, %a: tensor<200x160xf32> {train.name = "a", train.role = "param"}, %b: tensor<200x160xf32> {train.name = "b", train.role = "param"}, %t: tensor<1x200xf32> {train.name = "token", train.role = "param"}, %l: tensor<200x300xf32> {train.name = "looked", train.role = "param"}) -> (tensor<2x320xf32>, tensor<3x160xf32>, tensor<2x3xf32>) {
  %0 = nn.contract %x, %a {equation = "tk,kn->tn"} : (tensor<2x200xf32>, tensor<200x160xf32>) -> tensor<2x160xf32>
  %1 = nn.contract %x, %b {equation = "tk,kn->tn"} : (tensor<2x200xf32>, tensor<200x160xf32>) -> tensor<2x160xf32>
  %2 = tensor.concat dim(1) %0, %1 : (tensor<2x160xf32>, tensor<2x160xf32>) -> tensor<2x320xf32>
  %3 = tensor.concat dim(0) %t, %x : (tensor<1x200xf32>, tensor<2x200xf32>) -> tensor<3x200xf32>
  %4 = nn.contract %3, %a {equation = "tk,kn->tn"} : (tensor<3x200xf32>, tensor<200x160xf32>) -> tensor<3x160xf32>
  %5 = nn.contract %x, %l {equation = "tk,kn->tn"} : (tensor<2x200xf32>, tensor<200x300xf32>) -> tensor<2x300xf32>
  %6 = nn.gather_along %5, %at {axis = 1 : i64} : (tensor<2x300xf32>, tensor<2x3xi64>) -> tensor<2x3xf32>
  return %2, %4, %6 : tensor<2x320xf32>, tensor<3x160xf32>, tensor<2x3xf32>
}
}

// -----

// A token in front of a sequence, which is read from its place again.
// CHECK-LABEL: func.func @forward
//       CHECK:   %[[ALL:.+]] = tensor.concat dim(1) %{{.+}}, %{{.+}} : (tensor<2x1x64xf32>, tensor<2x72x64xf32>) -> tensor<2x73x64xf32>
//       CHECK:   tensor.extract_slice %[[ALL]][0, 0, 0] [2, 1, 64] [1, 1, 1]
module {
func.func @forward(%x: tensor<2x200x96xf32> {train.name = "x", train.role = "input"}, %t: tensor<2x1x96xf32> {train.name = "token", train.role = "param"}, %w: tensor<96x64xf32> {train.name = "w", train.role = "param"}, %o: tensor<96x64xf32> {train.name = "o", train.role = "param"}) -> (tensor<2x201x64xf32>, tensor<2x1x64xf32>) {
  %0 = tensor.concat dim(1) %t, %x : (tensor<2x1x96xf32>, tensor<2x200x96xf32>) -> tensor<2x201x96xf32>
  %1 = nn.contract %0, %w {equation = "btk,kn->btn"} : (tensor<2x201x96xf32>, tensor<96x64xf32>) -> tensor<2x201x64xf32>
  %2 = tensor.extract_slice %0[0, 0, 0] [2, 1, 96] [1, 1, 1] : tensor<2x201x96xf32> to tensor<2x1x96xf32>
  %3 = nn.contract %2, %o {equation = "btk,kn->btn"} : (tensor<2x1x96xf32>, tensor<96x64xf32>) -> tensor<2x1x64xf32>
  return %1, %3 : tensor<2x201x64xf32>, tensor<2x1x64xf32>
}
}
