//===- Nn.td - all of the nn dialect, for TableGen ------------------------===//
include "dialects/nn/NnOps.td"
include "dialects/nn/NnComposites.td"
