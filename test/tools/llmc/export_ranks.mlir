// Two ranks train, with optimizer states cut (ZeRO), and leave a checkpoint in parts.
// RUN: rm -rf %t && mkdir %t && cp %S/../../models/mlp/model.onnx %t/model.onnx
// RUN: (cat %S/../../models/mlp/recipe.yaml; echo "mesh: {dp: 2}"; echo "zero: 1") > %t/two.yaml
// RUN: llmc compile %t/model.onnx -r %S/../../models/mlp/recipe.yaml -o %t/one.plan
// RUN: llmc compile %t/model.onnx -r %t/two.yaml -o %t/two.plan
// RUN: llmc-run %t/two.plan --ranks 2 --data %S/../../models/mlp/batches.safetensors --steps 3 --checkpoint %t/ck
// RUN: ls %t/ck/step-00000003 | FileCheck %s --check-prefix=FILES
// FILES: manifest.json
// FILES-NEXT: rank-00000.safetensors
// FILES-NEXT: rank-00001.safetensors

// It is exported like one rank's, and one rank goes on from it as the two would.
// RUN: llmc export %t/ck --model %t/model.onnx -o %t/trained.onnx | FileCheck %s --check-prefix=DONE
// DONE: trained.onnx: 4 tensors after step 3
// RUN: cp -r %t/ck %t/ck1
// RUN: llmc-run %t/one.plan --data %S/../../models/mlp/batches.safetensors --steps 5 --checkpoint %t/ck1 --resume | cut -c1-44 > %t/one
// RUN: llmc-run %t/two.plan --ranks 2 --data %S/../../models/mlp/batches.safetensors --steps 5 --checkpoint %t/ck --resume | cut -c1-44 > %t/two
// RUN: FileCheck %s --check-prefix=STEPS < %t/one
// STEPS: step: 4 loss: {{[0-9.]+}} grad_norm:
// STEPS-NEXT: step: 5 loss:
// RUN: diff %t/one %t/two

// A rank's file is missing: said with its name, and the checkpoint before it is taken, by all ranks.
// RUN: rm %t/ck/step-00000005/rank-00001.safetensors
// RUN: not llmc export %t/ck/step-00000005 --model %t/model.onnx -o %t/x.onnx 2>&1 | FileCheck %s --check-prefix=MISSING
// MISSING: error: {{.*}}rank-00001.safetensors
// RUN: llmc-run %t/two.plan --ranks 2 --data %S/../../models/mlp/batches.safetensors --steps 5 --checkpoint %t/ck --resume 2>&1 | FileCheck %s --check-prefix=OLDER
// OLDER: passed over a damaged checkpoint: {{.*}}rank-00001.safetensors
// OLDER: continuing after step 3
