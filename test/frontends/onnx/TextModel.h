//===- TextModel.h - small models for tests, written as protobuf text ------===//
#ifndef LLMC_TEST_FRONTENDS_ONNX_TEXTMODEL_H
#define LLMC_TEST_FRONTENDS_ONNX_TEXTMODEL_H

#include "frontends/Problem.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <gtest/gtest.h>
#include <string>

namespace llmc::test {

/// A folder that is removed at the end of the test.
class TempFolder : public ::testing::Test {
protected:
  void SetUp() override;
  void TearDown() override;
  /// Writes `bytes` to a file of the folder and returns its path.
  std::string write(llvm::StringRef name, llvm::StringRef bytes);
  /// Writes a ModelProto given as text; ir_version and an opset import of 18 are added if there are none.
  std::string model(llvm::StringRef text, llvm::StringRef name = "model.onnx");

  std::string folder;
};

/// A two-layer network with a loss: input x [4, 3], labels [4], parameters fc1.weight [5, 3], fc1.bias [5],
/// fc2.weight [2, 5], with the exporter's metadata. `extra` is added inside the graph.
std::string mlpText(llvm::StringRef extra = "");

/// An initializer of float32 values, all `value`, as raw data.
std::string floats(llvm::StringRef name, llvm::ArrayRef<int64_t> dims, float value);
/// A 1-D int64 initializer.
std::string ints(llvm::StringRef name, llvm::ArrayRef<int64_t> values);
/// `value_info` metadata that marks `name` as PARAMETER or BUFFER.
std::string kind(llvm::StringRef name, llvm::StringRef kind);
/// An input or output; a dimension is a number or a symbol. Type 1 is float32, 7 int64.
std::string value(llvm::StringRef field, llvm::StringRef name, int type, llvm::ArrayRef<std::string> dims);
std::string node(llvm::StringRef op, llvm::ArrayRef<std::string> inputs, llvm::ArrayRef<std::string> outputs,
                 llvm::StringRef extra = "");

/// All problems as the tools print them.
std::string textOf(const Problems &problems);
/// Expects that `problems` holds exactly one whose text contains `part`.
void expectOne(const Problems &problems, llvm::StringRef part);

} // namespace llmc::test

#endif // LLMC_TEST_FRONTENDS_ONNX_TEXTMODEL_H
