//===- GraphTest.h - small graphs, imported and computed ------*- C++ -*-===//
#ifndef LLMC_TEST_FRONTENDS_ONNX_GRAPHTEST_H
#define LLMC_TEST_FRONTENDS_ONNX_GRAPHTEST_H

#include "TextModel.h"
#include "dialects/interfaces/HostTensor.h"
#include "frontends/onnx/Importer.h"

namespace llmc::test {

class GraphTest : public TempFolder {
protected:
  void SetUp() override;

  /// The first output of the graph for these inputs, in order, computed by the interpreter; reports a failure if the graph is not
  /// imported. Initializers have their values.
  HostTensor outputOf(llvm::StringRef graph, const std::vector<HostTensor> &inputs = {});
  /// Its elements.
  std::vector<double> valuesOf(llvm::StringRef graph, const std::vector<HostTensor> &inputs = {});
  /// What the importer says; empty if it takes the graph.
  std::string refusalOf(llvm::StringRef graph);

  onnx::ImportOptions options;
  mlir::MLIRContext context;
};

HostTensor reals(llvm::ArrayRef<int64_t> shape, std::vector<double> values);
HostTensor integers(llvm::ArrayRef<int64_t> shape, std::vector<int64_t> values);

/// An initializer of float32 with these elements.
std::string floatsOf(llvm::StringRef name, llvm::ArrayRef<int64_t> dims, llvm::ArrayRef<double> values);
/// Attributes of a node.
std::string attr(llvm::StringRef name, int64_t value);
std::string attr(llvm::StringRef name, double value);
std::string attrInts(llvm::StringRef name, llvm::ArrayRef<int64_t> values);
std::string attr(llvm::StringRef name, llvm::StringRef text);
/// A model of `opset` around the parts of a graph.
std::string graphOf(int64_t opset, llvm::StringRef parts);

} // namespace llmc::test

#endif // LLMC_TEST_FRONTENDS_ONNX_GRAPHTEST_H
