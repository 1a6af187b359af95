# MLIR and LLVM 22 as Debian packages them: shared libraries, RTTI on, exceptions off.
find_package(MLIR 22.1 REQUIRED CONFIG HINTS /usr/lib/llvm-22/lib/cmake/mlir)
list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
set(MLIR_LINK_MLIR_DYLIB ON)
set(LLVM_LINK_LLVM_DYLIB ON)
include_directories(SYSTEM ${MLIR_INCLUDE_DIRS})
include(TableGen)
include(AddLLVM)
include(AddMLIR)

add_library(llmc_mlir INTERFACE)
target_include_directories(llmc_mlir SYSTEM INTERFACE ${MLIR_INCLUDE_DIRS} ${LLVM_INCLUDE_DIRS})
target_link_libraries(llmc_mlir INTERFACE MLIR LLVM)

# One precompiled header for everything that includes MLIR.
file(WRITE ${CMAKE_BINARY_DIR}/pch/pch.cpp "")
add_library(llmc_pch STATIC ${CMAKE_BINARY_DIR}/pch/pch.cpp)
target_link_libraries(llmc_pch PUBLIC llmc_flags llmc_mlir)
target_precompile_headers(llmc_pch PRIVATE
  <algorithm> <cmath> <functional> <memory> <optional> <string> <vector>
  <mlir/IR/Builders.h> <mlir/IR/BuiltinOps.h> <mlir/IR/BuiltinTypes.h> <mlir/IR/PatternMatch.h> <mlir/IR/OpImplementation.h>
  <mlir/IR/Matchers.h> <mlir/Interfaces/SideEffectInterfaces.h> <mlir/Interfaces/InferTypeOpInterface.h>
  <mlir/Bytecode/BytecodeOpInterface.h>
  <mlir/Dialect/Arith/IR/Arith.h> <mlir/Dialect/Math/IR/Math.h> <mlir/Dialect/Tensor/IR/Tensor.h>
  <mlir/Dialect/Func/IR/FuncOps.h> <mlir/Pass/Pass.h> <mlir/Pass/PassManager.h>)

# llmc_tablegen(TARGET TD OUT ARGS...) pairs: runs mlir-tblgen on TD of this folder for each `OUT:ARGS` given.
function(llmc_tablegen target td)
  set(LLVM_TARGET_DEFINITIONS ${td})
  foreach(pair ${ARGN})
    string(REPLACE ":" ";" parts ${pair})
    list(POP_FRONT parts out)
    mlir_tablegen(${out} ${parts} -I ${CMAKE_SOURCE_DIR})
  endforeach()
  add_public_tablegen_target(${target})
  add_dependencies(mlir-headers-anchor ${target})
endfunction()
add_custom_target(mlir-headers-anchor)
