"""lit configuration: `RUN: llmc-opt ... | FileCheck`, tools from the build folder and LLVM 22."""
import os

import lit.formats

config.name = "llmc"
config.test_format = lit.formats.ShTest(True)
config.suffixes = [".mlir"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.llmc_build_root, "test")
config.environment["PATH"] = os.pathsep.join(
    [os.path.join(config.llmc_build_root, "bin"), config.llvm_tools_dir, config.environment["PATH"]])
