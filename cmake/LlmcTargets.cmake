# llmc_library(NAME SOURCES... LINK...): a static library of one room. Rooms that include MLIR link llmc_mlir, which also
# brings the precompiled header.
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

# Dev: -O1 keeps builds short and numeric code usable; assertions on.
set(CMAKE_CXX_FLAGS_DEV "-O1 -g1" CACHE STRING "" FORCE)
set(CMAKE_C_FLAGS_DEV "-O1 -g1" CACHE STRING "" FORCE)

add_library(llmc_flags INTERFACE)
target_compile_options(llmc_flags INTERFACE -Wall -Wextra -Wno-unused-parameter -Wno-comment -fpch-preprocess
  -ffile-prefix-map=${CMAKE_SOURCE_DIR}=. -fdiagnostics-color=always)
target_include_directories(llmc_flags INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})

function(llmc_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC llmc_flags ${ARG_LINK})
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
  if("llmc_mlir" IN_LIST ARG_LINK)
    target_precompile_headers(${name} REUSE_FROM llmc_pch)
    add_dependencies(${name} llmc_pch)
  endif()
endfunction()
