// RUN: llmc-opt %s --sharding-propagate --split-input-file --verify-diagnostics | FileCheck %s

// The sum that a product over tensor ranks leaves is scattered along the sequence, a norm works on parts, and the next product
// gets them gathered. A stream with several readers is scattered once; the gradient of the norm's scale is a sum over ranks.
// CHECK-LABEL: func.func @accumulate
//       CHECK:   %[[Y:.+]] = nn.contract {{.*}}dist.shardings = [#dist.sharding<[{}, {}, {}] sum {tp}>]
//       CHECK:   %[[S:.+]] = dist.reshard %[[Y]] {{.*}}to = #dist.sharding<[{}, {tp}, {}]>
//       CHECK:   %[[N:.+]], %{{.+}} = nn.rms_norm %[[S]], {{.*}}dist.shardings = [#dist.sharding<[{}, {tp}, {}]>, #dist.sharding<[{}, {tp}]>]
//       CHECK:   %[[W:.+]] = dist.reshard %[[N]] {{.*}}from = #dist.sharding<[{}, {tp}, {}]>{{.*}}to = #dist.sharding<[{}, {}, {}]>
//       CHECK:   %[[U:.+]] = nn.contract %[[W]], %arg2 {{.*}}dist.shardings = [#dist.sharding<[{}, {}, {tp}]>]
//       CHECK:   %[[Z:.+]] = nn.contract {{.*}}sum {tp}>]
//       CHECK:   %[[R:.+]] = dist.reshard %[[Z]] {{.*}}to = #dist.sharding<[{}, {tp}, {}]>
//       CHECK:   arith.addf %[[S]], %[[R]] {dist.shardings = [#dist.sharding<[{}, {tp}, {}]>]}
//       CHECK:   nn.rms_norm_backward {{.*}}dist.shardings = [#dist.sharding<[{}, {tp}, {}]>, #dist.sharding<[{}] sum {tp}>]
module attributes {dist.mesh = #dist.mesh<tp = 2>, train.recipe = {sequence_parallel = true}} {
  func.func @accumulate(%a: tensor<2x4x8xf32> {dist.sharding = #dist.sharding<[{}, {}, {tp}]>}, %w: tensor<6x8xf32> {dist.sharding = #dist.sharding<[{}, {tp}]>},
                        %u: tensor<8x6xf32> {dist.sharding = #dist.sharding<[{tp}, {}]>}, %s: tensor<6xf32> {dist.sharding = #dist.sharding<[{}]>})
      -> (tensor<2x4x6xf32> {train.name = "dy"}, tensor<6xf32> {train.name = "ds"}) {
    %y = nn.contract %a, %w {equation = "btk,ck->btc"} : (tensor<2x4x8xf32>, tensor<6x8xf32>) -> tensor<2x4x6xf32>
    %n, %r = nn.rms_norm %y, %s {epsilon = 1.0e-5 : f64} : (tensor<2x4x6xf32>, tensor<6xf32>) -> (tensor<2x4x6xf32>, tensor<2x4xf32>)
    %h = nn.contract %n, %u {equation = "btc,kc->btk"} : (tensor<2x4x6xf32>, tensor<8x6xf32>) -> tensor<2x4x8xf32>
    %z = nn.contract %h, %w {equation = "btk,ck->btc"} : (tensor<2x4x8xf32>, tensor<6x8xf32>) -> tensor<2x4x6xf32>
    %o = arith.addf %y, %z : tensor<2x4x6xf32>
    %dy, %ds = nn.rms_norm_backward %y, %s, %r, %o : (tensor<2x4x6xf32>, tensor<6xf32>, tensor<2x4xf32>, tensor<2x4x6xf32>) -> (tensor<2x4x6xf32>, tensor<6xf32>)
    return %dy, %ds : tensor<2x4x6xf32>, tensor<6xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<tp = 2>, train.recipe = {sequence_parallel = true}} {
  func.func @accumulate(%a: tensor<2x5x8xf32> {dist.sharding = #dist.sharding<[{}, {}, {tp}]>}, %w: tensor<6x8xf32> {dist.sharding = #dist.sharding<[{}, {tp}]>}) -> tensor<2x5x6xf32> {
    %y = nn.contract %a, %w {equation = "btk,ck->btc"} : (tensor<2x5x8xf32>, tensor<6x8xf32>) -> tensor<2x5x6xf32>
    // expected-error@+1 {{`sequence_parallel`: the 2 ranks of axis tp do not divide the sequence, dimension 1 of size 5; pad the sequences or leave `sequence_parallel` out}}
    %n = math.exp %y : tensor<2x5x6xf32>
    return %n : tensor<2x5x6xf32>
  }
}
