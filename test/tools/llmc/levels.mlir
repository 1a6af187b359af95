// Each level is printed, verified, and taken back; what follows is the same from the file as in one run.
// RUN: llmc compile %S/../../models/mlp/model.onnx -r %S/../../models/mlp/recipe.yaml --stop-after imported -o %t.imported
// RUN: llmc compile %t.imported --start-from imported --stop-after model -o %t.model
// RUN: llmc compile %t.model --start-from model --stop-after step -o %t.step
// RUN: llmc compile %t.step --start-from step --stop-after sharded -o %t.sharded
// RUN: llmc compile %t.sharded --start-from sharded --stop-after scheduled -o %t.scheduled
// RUN: llmc compile %t.scheduled --start-from scheduled --stop-after local -o %t.local
// RUN: llmc compile %t.local --start-from local --stop-after kernels -o %t.kernels
// RUN: llmc compile %S/../../models/mlp/model.onnx -r %S/../../models/mlp/recipe.yaml --stop-after kernels -o %t.once
// RUN: diff %t.kernels %t.once
// RUN: FileCheck %s --input-file=%t.imported --check-prefix=IMPORTED
// RUN: FileCheck %s --input-file=%t.model --check-prefix=MODEL
// RUN: FileCheck %s --input-file=%t.step --check-prefix=STEP
// RUN: FileCheck %s --input-file=%t.kernels --check-prefix=KERNELS

// Parameters keep their names and say where their values are; ops keep their ONNX nodes.
// IMPORTED: func.func @forward(%{{.+}}: tensor<32x64xf32> {train.name = "input", train.role = "input"}
// IMPORTED-SAME: train.name = "fc1.weight", train.role = "param", train.source = {bytes = 32768 : i64, offset = {{[0-9]+}} : i64, path = "model.onnx"}
// IMPORTED: nn.contract {{.+}} loc(fused["node_linear", "export_models.py":187:0])

// The exported batch of 32 is the recipe's micro-batch of 8.
// MODEL: func.func @forward(%{{.+}}: tensor<8x64xf32>

// STEP-DAG: func.func @accumulate
// STEP-DAG: func.func @update
// STEP-DAG: func.func @evaluate

// KERNELS: func.func private @contract_{{.+}}plan.gemm
