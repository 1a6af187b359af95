// RUN: llmc-opt %s --import-drop-constants | FileCheck %s

// Only constants go: the unused input stays, and so does the constant with a user.
// CHECK-LABEL: func.func @forward
//  CHECK-SAME:   (%{{.+}}: tensor<2xf32> {train.name = "x", train.role = "input"}, %[[C:.+]]: tensor<2xf32> {train.name = "constant.1", {{.+}}})
//       CHECK:   return %[[C]]
func.func @forward(%x: tensor<2xf32> {train.name = "x", train.role = "input"},
                   %a: tensor<2xf32> {train.name = "constant.0", train.role = "constant", train.value = dense<[1.0, 2.0]> : tensor<2xf32>},
                   %b: tensor<2xf32> {train.name = "constant.1", train.role = "constant", train.value = dense<[3.0, 4.0]> : tensor<2xf32>}) -> tensor<2xf32> {
  return %b : tensor<2xf32>
}
