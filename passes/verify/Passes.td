//===- Passes.td - what holds at each level ----------------------------------===//
#ifndef LLMC_PASSES_VERIFY
#define LLMC_PASSES_VERIFY

include "mlir/Pass/PassBase.td"

def VerifyLevel : Pass<"verify-level", "::mlir::ModuleOp"> {
  let summary = "checks what docs/levels.md promises of a level";
  let description = [{
    Each violation names the op and the pass that should have prevented it.

    Input (level model): a function with `train.value_and_grad`
    Output: error: op `train.value_and_grad` is illegal at level `model`
            note: pass `autodiff-expand` should have removed it
  }];
  let options = [Option<"level", "level", "std::string", "\"imported\"", "name of the level">];
}

#endif // LLMC_PASSES_VERIFY
