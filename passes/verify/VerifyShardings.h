//===- VerifyShardings.h - levels sharded and scheduled ---------*- C++ -*-===//
#ifndef LLMC_PASSES_VERIFY_VERIFYSHARDINGS_H
#define LLMC_PASSES_VERIFY_VERIFYSHARDINGS_H

#include "mlir/IR/BuiltinOps.h"

namespace llmc::verify {

/// Whether each value of a module with a mesh has a sharding that fits it, shardings of an op's operands and results satisfy its
/// factor rule, differ only across a `dist.reshard`, and functions agree on the state they share. Reports all that is wrong.
bool verifyShardings(mlir::ModuleOp module);

} // namespace llmc::verify

#endif // LLMC_PASSES_VERIFY_VERIFYSHARDINGS_H
