// The plan computes what the interpreter computes, on made-up inputs and on given ones.
// RUN: llmc verify %S/../../models/mlp/model.onnx -r %S/../../models/mlp/recipe.yaml | FileCheck %s
// RUN: llmc verify %S/../../models/mlp/model.onnx -r %S/../../models/mlp/recipe.yaml --steps 3 --data %S/../../models/mlp/batches.safetensors | FileCheck %s --check-prefix=DATA
// CHECK: 2 steps of 4 micro-batches, {{.*}}made up from seed 1234
// CHECK: grad_norm
// CHECK: loss
// CHECK: output 'loss_sum' of @evaluate
// CHECK: fc1.weight {{ *[0-9].[0-9]E.[0-9]+ +[0-9].[0-9]E.[0-9]+}}
// CHECK: agrees with the reference interpreter
// DATA: 3 steps of 4 micro-batches, {{.*}}batches.safetensors
// DATA: agrees with the reference interpreter

// RUN: not llmc verify %S/../../models/mlp/model.onnx -r %S/../../models/mlp/recipe.yaml --steps 21 --data %S/../../models/mlp/batches.safetensors 2>&1 | FileCheck %s --check-prefix=SHORT
// SHORT: error: the data lasts for 20 steps, 21 are to run

// Too much for the interpreter is said before anything runs.
// RUN: not llmc verify %S/../../models/mlp/model.onnx -r %S/../../models/mlp/recipe.yaml --steps 1000000 2>&1 | FileCheck %s --check-prefix=LARGE
// LARGE: error: 1000000 steps are {{.*}} GFLOP, too much for the reference interpreter
// LARGE: hint:
