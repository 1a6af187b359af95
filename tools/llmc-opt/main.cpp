//===- main.cpp - llmc-opt: every pass and dialect, for tests and debugging ----===//
#include "compiler/driver/Pipeline.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  llmc::driver::registerAllDialects(registry);
  llmc::driver::registerAllPasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "llmc optimizer driver\n", registry));
}
