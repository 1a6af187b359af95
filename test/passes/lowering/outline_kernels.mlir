// RUN: llmc-opt %s --lowering-outline-kernels --lowering-select-library --split-input-file | FileCheck %s

// A bias goes with its contraction, elementwise neighbours become one kernel, equal kernels one function.
// CHECK-LABEL: func.func @block
//       CHECK:   %[[A:.+]] = call @contract_[[C:.+]](%arg0, %arg1, %arg2)
//       CHECK:   %[[B:.+]] = call @[[K:.+]](%[[A]])
//       CHECK:   %[[D:.+]] = call @contract_[[C]](%[[B]], %arg1, %arg2)
//       CHECK:   call @[[K]](%[[D]])
//       CHECK: func.func private @contract_
//  CHECK-SAME:   plan.gemm = {{.*}}bias = 2 : i64{{.*}}k = 16 : i64, m = 32 : i64, n = 16 : i64
//       CHECK:   nn.broadcast
//       CHECK:   arith.addf
//       CHECK: func.func private @[[K]]
//       CHECK:   nn.gelu
//       CHECK:   math.exp
func.func @block(%x: tensor<4x8x16xf32>, %w: tensor<16x16xf32>, %bias: tensor<16xf32>) -> tensor<4x8x16xf32> {
  %b = nn.broadcast %bias {dims = array<i64: 2>} : (tensor<16xf32>) -> tensor<4x8x16xf32>
  %0 = nn.contract %x, %w {equation = "btk,nk->btn"} : (tensor<4x8x16xf32>, tensor<16x16xf32>) -> tensor<4x8x16xf32>
  %1 = arith.addf %0, %b : tensor<4x8x16xf32>
  %g = nn.gelu %1 {tanh = true} : (tensor<4x8x16xf32>) -> tensor<4x8x16xf32>
  %2 = math.exp %g : tensor<4x8x16xf32>
  %3 = nn.contract %2, %w {equation = "btk,nk->btn"} : (tensor<4x8x16xf32>, tensor<16x16xf32>) -> tensor<4x8x16xf32>
  %4 = arith.addf %3, %b : tensor<4x8x16xf32>
  %h = nn.gelu %4 {tanh = true} : (tensor<4x8x16xf32>) -> tensor<4x8x16xf32>
  %5 = math.exp %h : tensor<4x8x16xf32>
  return %5 : tensor<4x8x16xf32>
}

// -----

// A path that leaves a group and comes back keeps it from growing: the sum waits for the contraction.
// CHECK-LABEL: func.func @cycle
//       CHECK:   %[[E:.+]] = call @exp_
//       CHECK:   %[[Y:.+]] = call @contract_{{.+}}(%[[E]]
//       CHECK:   call @addf_{{.+}}(%[[E]], %[[Y]])
func.func @cycle(%x: tensor<4x4xf32>, %w: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %e = math.exp %x : tensor<4x4xf32>
  %y = nn.contract %e, %w {equation = "mk,kn->mn"} : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %s = arith.addf %e, %y : tensor<4x4xf32>
  return %s : tensor<4x4xf32>
}

// -----

// Of the products of a sum the later one adds in the place of the earlier; a gradient accumulator is added to as well.
// CHECK-LABEL: func.func @sums
//       CHECK:   %[[P:.+]] = call @contract_{{.+}}(%arg0, %arg1, %arg2)
//       CHECK:   %[[Q:.+]] = call @contract_{{.+}}(%arg0, %arg1, %[[P]])
//       CHECK:   return %[[Q]]
//       CHECK: plan.gemm = {{.*}}accumulate = 2 : i64
func.func @sums(%x: tensor<8x4xf32>, %y: tensor<8x6xf32>, %g: tensor<4x6xf32> {train.name = "w", train.role = "gradient"}) -> tensor<4x6xf32> {
  %p = nn.contract %x, %y {equation = "tm,tn->mn"} : (tensor<8x4xf32>, tensor<8x6xf32>) -> tensor<4x6xf32>
  %0 = arith.addf %g, %p : tensor<4x6xf32>
  %q = nn.contract %x, %y {equation = "tm,tn->mn"} : (tensor<8x4xf32>, tensor<8x6xf32>) -> tensor<4x6xf32>
  %1 = arith.addf %0, %q : tensor<4x6xf32>
  return %1 : tensor<4x6xf32>
}

// -----

// A product reads memory, so a splat stays outside; an elementwise kernel takes it as a number.
// CHECK-LABEL: func.func @splats
//       CHECK:   %[[C:.+]] = arith.constant dense<2.500000e-01>
//       CHECK:   %[[Y:.+]] = call @contract_{{.+}}(%arg0, %[[C]])
//       CHECK:   call @mulf_{{[^,]+}}(%[[Y]])
func.func @splats(%x: tensor<8x4xf32>) -> tensor<8x2xf32> {
  %c = arith.constant dense<2.500000e-01> : tensor<4x2xf32>
  %d = arith.constant dense<3.000000e+00> : tensor<8x2xf32>
  %y = nn.contract %x, %c {equation = "mk,kn->mn"} : (tensor<8x4xf32>, tensor<4x2xf32>) -> tensor<8x2xf32>
  %z = arith.mulf %y, %d : tensor<8x2xf32>
  return %z : tensor<8x2xf32>
}
