// The plan computes what the interpreter computes, on made-up inputs and on given ones.
// RUN: llmc verify %S/../../models/mlp/model.onnx -r %S/../../models/mlp/recipe.yaml | FileCheck %s
// RUN: llmc verify %S/../../models/mlp/model.onnx -r %S/../../models/mlp/recipe.yaml --steps 3 --data %S/../../models/mlp/batches.safetensors | FileCheck %s --check-prefix=DATA
// CHECK: 2 steps of 4 micro-batches, {{.*}}made up from seed 1234
// CHECK-NEXT: largest relative differences to the reference interpreter
// CHECK-NEXT: grad_norm
// CHECK-NEXT: loss
// CHECK-NEXT: lr
// CHECK-NEXT: output 'loss_sum' of @evaluate
// CHECK-NEXT: output 'weight' of @evaluate
// CHECK-NEXT: parameter gradient change
// CHECK-NEXT: fc1.bias {{[0-9].[0-9]E.[0-9]+ [0-9].[0-9]E.[0-9]+}}
// CHECK-NEXT: fc1.weight {{[0-9].[0-9]E.[0-9]+ [0-9].[0-9]E.[0-9]+}}
// CHECK-NEXT: fc2.bias {{[0-9].[0-9]E.[0-9]+ [0-9].[0-9]E.[0-9]+}}
// CHECK-NEXT: fc2.weight {{[0-9].[0-9]E.[0-9]+ [0-9].[0-9]E.[0-9]+}}
// CHECK-NEXT: the plan agrees with the reference interpreter
// DATA: 3 steps of 4 micro-batches, {{.*}}batches.safetensors
// DATA: agrees with the reference interpreter

// What is verified on ranks: simulated in f64, and executed.
// RUN: mkdir -p %t && cp %S/../../models/mlp/recipe.yaml %t/ranks.yaml && echo "mesh: {dp: 2, tp: 2}" >> %t/ranks.yaml
// RUN: llmc verify %S/../../models/mlp/model.onnx -r %t/ranks.yaml | FileCheck %s --check-prefix=RANKS
// RANKS: largest relative differences of 4 ranks to one, in f64
// RANKS-NEXT: grad_norm
// RANKS-NEXT: loss
// RANKS-NEXT: output 'loss_sum' of @evaluate
// RANKS-NEXT: output 'weight' of @evaluate
// RANKS-NEXT: parameter gradient value
// RANKS-NEXT: fc1.weight {{[0-9].[0-9]E-1[0-9] [0-9].[0-9]E[+-][0-9]+}}
// RANKS-NEXT: fc1.bias
// RANKS-NEXT: fc2.weight
// RANKS-NEXT: fc2.bias
// RANKS-NEXT: the ranks compute what one rank computes
// RANKS-NEXT: largest relative differences of the plan on local ranks to one rank, executed in f32 for 2 steps
// RANKS-NEXT: grad_norm
// RANKS-NEXT: loss
// RANKS-NEXT: parameter gradient value
// RANKS-NEXT: fc1.bias
// RANKS-NEXT: fc1.weight {{[0-9].[0-9]E-0[0-9] [0-9].[0-9]E[+-][0-9]+}}
// RANKS-NEXT: fc2.bias
// RANKS-NEXT: fc2.weight
// RANKS-NEXT: the executed ranks compute what one executed rank computes
// RUN: not llmc verify %S/../../models/mlp/model.onnx -r %t/ranks.yaml --data %S/../../models/mlp/batches.safetensors 2>&1 | FileCheck %s --check-prefix=MADE
// MADE: error: ranks are verified on inputs that are made up
// RUN: not llmc verify %S/../../models/mlp/model.onnx -r %t/ranks.yaml --steps 0 2>&1 | FileCheck %s --check-prefix=STEPS
// STEPS: error: --steps needs a whole number from 1 on

// RUN: not llmc verify %S/../../models/mlp/model.onnx -r %S/../../models/mlp/recipe.yaml --steps 21 --data %S/../../models/mlp/batches.safetensors 2>&1 | FileCheck %s --check-prefix=SHORT
// SHORT: error: the data lasts for 20 steps, 21 are to run

// Too much for the interpreter is said before anything runs.
// RUN: not llmc verify %S/../../models/mlp/model.onnx -r %S/../../models/mlp/recipe.yaml --steps 1000000 2>&1 | FileCheck %s --check-prefix=LARGE
// LARGE: error: 1000000 steps are {{.*}} GFLOP, too much for the reference interpreter
// LARGE: hint: a micro-batch is {{.*}}; the same operations are checked then
