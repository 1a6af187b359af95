// A recipe with `predict` makes a plan that continues a text; what cannot be continued is said.
// RUN: rm -rf %t && mkdir %t
// RUN: llmc compile %S/../../../examples/quickstart/model.onnx -r %S/../../../examples/quickstart/recipe.yaml -o %t/m.plan
// RUN: llmc-run %t/m.plan --data %s:bytes --steps 1 --checkpoint %t/ck
// RUN: llmc-run %t/m.plan --checkpoint %t/ck --resume --prompt ids:84,104,101 --generate 130 | FileCheck %s --check-prefix=IDS
// IDS: ids:84,104,101{{(,[0-9]+){130}$}}

// The likeliest token each time, and with a temperature the same draws each time.
// RUN: llmc-run %t/m.plan --checkpoint %t/ck --resume --prompt "The " --generate 20 --temperature 1 > %t/one
// RUN: llmc-run %t/m.plan --checkpoint %t/ck --resume --prompt "The " --generate 20 --temperature 1 --threads 1 > %t/two
// RUN: cmp %t/one %t/two

// RUN: not llmc-run %t/m.plan --prompt ids:84,256 --generate 1 2>&1 | FileCheck %s --check-prefix=ID
// ID: error: the prompt's id 256 is outside the model's vocabulary
// RUN: not llmc-run %t/m.plan --checkpoint %t --resume --prompt x --generate 1 2>&1 | FileCheck %s --check-prefix=NONE
// NONE: error: there is no trained state
// RUN: not llmc-run %t/m.plan --prompt x 2>&1 | FileCheck %s --check-prefix=ALONE
// ALONE: error: --prompt TEXT needs --generate N
