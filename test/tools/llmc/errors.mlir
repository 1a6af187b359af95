// What is wrong is said once, with the documented exit code.
// RUN: not llmc compile %S/../../models/mlp/model.onnx 2>&1 | FileCheck %s --check-prefix=NORECIPE
// NORECIPE: error: compile needs a recipe
// NORECIPE: hint: give one with -r recipe.yaml

// RUN: not llmc compile %t.absent.onnx -r %S/../../models/mlp/recipe.yaml -o %t.plan 2>&1 | FileCheck %s --check-prefix=ABSENT
// ABSENT: error: {{.*}}absent.onnx

// RUN: not llmc compile %S/../../models/mlp/model.onnx -r %S/../../models/mlp/recipe.yaml --stop-after kernel 2>&1 | FileCheck %s --check-prefix=LEVEL
// LEVEL: error: no level 'kernel'
// LEVEL: hint: the levels are: imported, model, step

// Two wrong keys are two errors, each with its line and the nearest valid key.
// RUN: echo 'los: loss' > %t.yaml
// RUN: echo 'optimizer: {adamw: {leraning_rate: 1}}' >> %t.yaml
// RUN: not llmc compile %S/../../models/mlp/model.onnx -r %t.yaml -o %t.plan 2>&1 | FileCheck %s --check-prefix=KEYS
// KEYS-DAG: error: {{.*}}los{{.*}}.yaml:1
// KEYS-DAG: error: {{.*}}leraning_rate{{.*}}.yaml:2
