//===- TextModel.cpp - small models for tests, written as protobuf text ------===//
#include "TextModel.h"
#include "frontends/onnx/proto/onnx-ml.pb.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include <cstring>
#include <fstream>
#include <google/protobuf/text_format.h>

namespace llmc::test {

void TempFolder::SetUp() {
  llvm::SmallString<128> path;
  ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("llmc-test", path));
  folder = path.str().str();
}

void TempFolder::TearDown() { llvm::sys::fs::remove_directories(folder); }

std::string TempFolder::write(llvm::StringRef name, llvm::StringRef bytes) {
  std::string path = folder + "/" + name.str();
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return path;
}

std::string TempFolder::model(llvm::StringRef text, llvm::StringRef name) {
  ::onnx::ModelProto proto;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text.str(), &proto)) << text.str();
  if (!proto.has_ir_version())
    proto.set_ir_version(10);
  if (proto.opset_import_size() == 0)
    proto.add_opset_import()->set_version(18);
  return write(name, proto.SerializeAsString());
}

static std::string escaped(llvm::StringRef bytes) {
  std::string out;
  for (unsigned char c : bytes)
    out += llvm::formatv("\\{0}{1}{2}", c >> 6, (c >> 3) & 7, c & 7).str();
  return out;
}

static std::string dimsText(llvm::ArrayRef<int64_t> dims) {
  std::string text;
  for (int64_t dim : dims)
    text += " dims: " + std::to_string(dim);
  return text;
}

std::string floats(llvm::StringRef name, llvm::ArrayRef<int64_t> dims, float value) {
  int64_t count = 1;
  for (int64_t dim : dims)
    count *= dim;
  std::vector<float> data(count, value);
  llvm::StringRef bytes(reinterpret_cast<const char *>(data.data()), data.size() * 4);
  return llvm::formatv("initializer {{ name: \"{0}\" data_type: 1 {1} raw_data: \"{2}\" }\n", name, dimsText(dims), escaped(bytes));
}

std::string ints(llvm::StringRef name, llvm::ArrayRef<int64_t> values) {
  llvm::StringRef bytes(reinterpret_cast<const char *>(values.data()), values.size() * 8);
  return llvm::formatv("initializer {{ name: \"{0}\" data_type: 7 dims: {1} raw_data: \"{2}\" }\n", name, values.size(),
                       escaped(bytes));
}

std::string kind(llvm::StringRef name, llvm::StringRef kind) {
  return llvm::formatv("value_info {{ name: \"{0}\" metadata_props {{ key: "
                       "\"pkg.torch.export.graph_signature.InputSpec.kind\" value: \"{1}\" } }\n",
                       name, kind);
}

std::string value(llvm::StringRef field, llvm::StringRef name, int type, llvm::ArrayRef<std::string> dims) {
  std::string shape;
  for (const std::string &dim : dims)
    shape += llvm::isDigit(dim[0]) ? " dim { dim_value: " + dim + " }" : " dim { dim_param: \"" + dim + "\" }";
  return llvm::formatv("{0} {{ name: \"{1}\" type {{ tensor_type {{ elem_type: {2} shape {{{3} } } } }\n", field, name, type,
                       shape);
}

std::string node(llvm::StringRef op, llvm::ArrayRef<std::string> inputs, llvm::ArrayRef<std::string> outputs,
                 llvm::StringRef extra) {
  std::string text = "node { op_type: \"" + op.str() + "\" name: \"node_" + outputs[0] + "\"";
  for (const std::string &input : inputs)
    text += " input: \"" + input + "\"";
  for (const std::string &output : outputs)
    text += " output: \"" + output + "\"";
  return text + " " + extra.str() + " }\n";
}

std::string mlpText(llvm::StringRef extra) {
  std::string transB = "attribute { name: \"transB\" type: INT i: 1 }";
  return "graph {\n" + value("input", "x", 1, {"4", "3"}) + value("input", "labels", 7, {"4"}) +
         value("output", "loss", 1, {}) + value("output", "logits", 1, {"4", "2"}) + floats("fc1.weight", {5, 3}, 0.5) +
         floats("fc1.bias", {5}, 0.25) + floats("fc2.weight", {2, 5}, 0.125) + kind("fc1.weight", "PARAMETER") +
         kind("fc1.bias", "PARAMETER") + kind("fc2.weight", "PARAMETER") +
         node("Gemm", {"x", "fc1.weight", "fc1.bias"}, {"h"},
              transB + " metadata_props { key: \"pkg.torch.onnx.stack_trace\" value: \"model.py:7 in forward\\nlinear.py:9 in "
                       "forward\" }") +
         node("Relu", {"h"}, {"r"}) + node("Gemm", {"r", "fc2.weight"}, {"logits"}, transB) +
         node("SoftmaxCrossEntropyLoss", {"logits", "labels"}, {"loss"}, "attribute { name: \"ignore_index\" type: INT i: -100 }") +
         extra.str() + "}\n";
}

std::string textOf(const Problems &problems) {
  std::string text;
  for (const Problem &problem : problems)
    text += problem.text();
  return text;
}

void expectOne(const Problems &problems, llvm::StringRef part) {
  EXPECT_EQ(problems.size(), 1u) << textOf(problems);
  EXPECT_NE(textOf(problems).find(part.str()), std::string::npos) << textOf(problems) << "lacks: " << part.str();
}

} // namespace llmc::test
