//===- ReaderTest.cpp - reading ONNX files, good and bad ------===//
#include "frontends/onnx/Reader.h"
#include "TextModel.h"
#include "llvm/Support/FileSystem.h"
#include <cstring>
#include <fstream>

namespace llmc::test {
namespace {

class ReaderTest : public TempFolder {
protected:
  Problems problemsOf(llvm::StringRef text) { return onnx::readModel(model(text)).problems; }
  /// The problems of the small network with `extra` in its graph.
  Problems withExtra(llvm::StringRef extra) { return problemsOf(mlpText(extra)); }
};

std::string external(llvm::StringRef location, llvm::StringRef offset, llvm::StringRef length) {
  return "initializer { name: \"e\" data_type: 1 dims: 4 data_location: EXTERNAL external_data { key: \"location\" value: \"" +
         location.str() + "\" } external_data { key: \"offset\" value: \"" + offset.str() +
         "\" } external_data { key: \"length\" value: \"" + length.str() + "\" } }\n";
}

// A weight's source is the range of the file that holds its elements.
TEST_F(ReaderTest, FindsTheBytesOfInitializers) {
  std::string path = model(mlpText());
  auto result = onnx::readModel(path);
  ASSERT_TRUE(result.model) << textOf(result.problems);
  const onnx::Tensor *weight = result.model->initializer("fc2.weight");
  ASSERT_TRUE(weight && weight->source);
  EXPECT_EQ(weight->source->path, "model.onnx");
  EXPECT_EQ(weight->source->bytes, 40);
  std::ifstream in(path, std::ios::binary);
  in.seekg(weight->source->offset);
  float first = 0;
  in.read(reinterpret_cast<char *>(&first), 4);
  EXPECT_EQ(first, 0.125f);
}

// float_data, the older form, is packed and so a range too.
TEST_F(ReaderTest, FindsPackedFloatData) {
  auto result = onnx::readModel(model(mlpText("initializer { name: \"f\" data_type: 1 dims: 2 float_data: 3 float_data: 4 }\n")));
  ASSERT_TRUE(result.model) << textOf(result.problems);
  const onnx::Tensor *tensor = result.model->initializer("f");
  ASSERT_TRUE(tensor && tensor->source);
  float second = 0;
  std::memcpy(&second, tensor->data.data() + 4, 4);
  EXPECT_EQ(second, 4.0f);
}

TEST_F(ReaderTest, ReadsPythonLines) {
  auto result = onnx::readModel(model(mlpText()));
  ASSERT_TRUE(result.model);
  EXPECT_EQ(result.model->nodes[0].where(), "node_h (model.py:7)"); // not linear.py, which is PyTorch's
}

TEST_F(ReaderTest, MapsExternalData) {
  write("w.bin", std::string(32, '\0'));
  auto result = onnx::readModel(model(mlpText(external("w.bin", "16", "16.0"))));
  ASSERT_TRUE(result.model) << textOf(result.problems);
  EXPECT_EQ(result.model->initializer("e")->source->offset, 16);
}

// A data file that does not exist matters only if a value is needed.
TEST_F(ReaderTest, ToleratesMissingExternalData) {
  auto result = onnx::readModel(model(mlpText(external("nowhere.bin", "0", "16"))));
  ASSERT_TRUE(result.model) << textOf(result.problems);
  EXPECT_TRUE(result.model->initializer("e")->missing);
}

TEST_F(ReaderTest, SortsNodes) {
  auto result = onnx::readModel(model("graph {" + value("input", "x", 1, {"2"}) + value("output", "c", 1, {"2"}) +
                                      node("Neg", {"b"}, {"c"}) + node("Neg", {"x"}, {"b"}) + "}"));
  ASSERT_TRUE(result.model) << textOf(result.problems);
  EXPECT_EQ(result.model->nodes[0].outputs[0], "b");
}

// Attributes of a call reach the nodes inside, defaults where it gives none; names inside stay apart.
TEST_F(ReaderTest, InlinesFunctions) {
  std::string text = "graph {" + value("input", "x", 1, {"2"}) + value("output", "z", 1, {"2"}) +
                     node("Half", {"x"}, {"y"}, "domain: \"f\" attribute { name: \"a\" type: FLOAT f: 3 }") +
                     node("Half", {"y"}, {"z"}, "domain: \"f\"") +
                     "} functions { name: \"Half\" domain: \"f\" input: \"i\" output: \"o\" attribute_proto { name: \"a\" type: "
                     "FLOAT f: 7 } opset_import { version: 18 } node { op_type: \"Elu\" input: \"i\" output: \"t\" attribute { "
                     "name: \"alpha\" type: FLOAT ref_attr_name: \"a\" } } node { op_type: \"Neg\" input: \"t\" output: \"o\" } "
                     "} opset_import { version: 18 } opset_import { domain: \"f\" version: 1 }";
  auto result = onnx::readModel(model(text));
  ASSERT_TRUE(result.model) << textOf(result.problems);
  ASSERT_EQ(result.model->nodes.size(), 4u);
  EXPECT_EQ(result.model->nodes[0].attribute("alpha")->f, 3);
  EXPECT_EQ(result.model->nodes[2].attribute("alpha")->f, 7);
  EXPECT_NE(result.model->nodes[0].outputs[0], result.model->nodes[2].outputs[0]);
}

TEST_F(ReaderTest, DropsInitializersFromInputs) {
  auto result = onnx::readModel(model(mlpText(value("input", "fc1.bias", 1, {"5"}))));
  ASSERT_TRUE(result.model) << textOf(result.problems);
  EXPECT_EQ(result.model->inputs.size(), 2u);
}

// Bad files: each is one clear problem, and no crash.

TEST_F(ReaderTest, NoFile) { expectOne(onnx::readModel(folder + "/none.onnx").problems, "cannot read the model"); }
TEST_F(ReaderTest, Folder) { expectOne(onnx::readModel(folder).problems, "this is a folder"); }
TEST_F(ReaderTest, Empty) { expectOne(onnx::readModel(write("e.onnx", "")).problems, "the file is empty"); }
TEST_F(ReaderTest, NotOnnx) {
  expectOne(onnx::readModel(write("e.onnx", "PK\x03\x04 this is a zip file")).problems, "no ONNX file");
}

// Every prefix of a good file is refused or, if only trailing fields are gone, read.
TEST_F(ReaderTest, Truncated) {
  std::ifstream in(model(mlpText()), std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), {});
  for (size_t length = 1; length < bytes.size(); length += 7) {
    auto result = onnx::readModel(write("cut.onnx", llvm::StringRef(bytes).take_front(length)));
    EXPECT_TRUE(result.model || !result.problems.empty());
  }
}

// No altered byte crashes the reader.
TEST_F(ReaderTest, Altered) {
  std::ifstream in(model(mlpText()), std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), {});
  for (size_t i = 0; i < bytes.size(); i += 5) {
    std::string altered = bytes;
    altered[i] = static_cast<char>(altered[i] ^ (1 << (i % 8)));
    auto result = onnx::readModel(write("altered.onnx", altered));
    EXPECT_TRUE(result.model || !result.problems.empty());
  }
}

TEST_F(ReaderTest, NoGraph) { expectOne(problemsOf("producer_name: \"x\""), "holds no graph"); }
TEST_F(ReaderTest, OldOpset) { expectOne(problemsOf("opset_import { version: 6 }" + mlpText()), "operator set 6 is not supported (7 to 27 are)"); }
TEST_F(ReaderTest, NewOpset) { expectOne(problemsOf("opset_import { version: 28 }" + mlpText()), "operator set 28 is not supported"); }
TEST_F(ReaderTest, WrongByteCount) {
  expectOne(withExtra("initializer { name: \"w\" data_type: 1 dims: 4 raw_data: \"abc\" }"), "has 3 bytes of data");
}
TEST_F(ReaderTest, WrongElementCount) {
  expectOne(withExtra("initializer { name: \"w\" data_type: 1 dims: 4 float_data: 1 }"), "1 elements of data");
}
TEST_F(ReaderTest, NegativeDimension) {
  expectOne(withExtra("initializer { name: \"w\" data_type: 1 dims: -4 raw_data: \"\" }"), "dimension is negative");
}
TEST_F(ReaderTest, OverflowingDimensions) {
  expectOne(withExtra("initializer { name: \"w\" data_type: 1 dims: 4294967296 dims: 4294967296 dims: 4 raw_data: \"\" }"),
            "size of the tensor overflows");
  expectOne(withExtra("initializer { name: \"w\" data_type: 1 dims: 4611686018427387904 raw_data: \"\" }"), "overflows");
}
TEST_F(ReaderTest, UnknownType) {
  expectOne(withExtra("initializer { name: \"w\" data_type: 77 dims: 1 raw_data: \"x\" }"), "element type (type 77) is unknown");
}
TEST_F(ReaderTest, Segments) {
  expectOne(withExtra("initializer { name: \"w\" data_type: 1 dims: 1 segment { begin: 0 end: 1 } }"), "segments");
}
TEST_F(ReaderTest, SameInitializerTwice) { expectOne(withExtra(floats("fc1.bias", {5}, 1)), "two initializers are named"); }
TEST_F(ReaderTest, ValueDefinedTwice) { expectOne(withExtra(node("Neg", {"h"}, {"r"})), "`r` is defined twice"); }
TEST_F(ReaderTest, OutputOverInitializer) { expectOne(withExtra(node("Neg", {"h"}, {"fc1.bias"})), "`fc1.bias` is defined twice"); }
TEST_F(ReaderTest, UndefinedInput) { expectOne(withExtra(node("Neg", {"ghost"}, {"g"})), "`ghost` of this node is defined nowhere"); }
TEST_F(ReaderTest, UndefinedOutput) { expectOne(withExtra(value("output", "ghost", 1, {})), "output `ghost` is defined nowhere"); }
TEST_F(ReaderTest, Cycle) {
  expectOne(withExtra(node("Add", {"p", "h"}, {"q"}) + node("Neg", {"q"}, {"p"})), "cycle through this node");
}
TEST_F(ReaderTest, InputTypeContradictsInitializer) {
  expectOne(withExtra(value("input", "fc1.bias", 7, {"5"})), "differ in type or shape");
}
TEST_F(ReaderTest, InputWithoutShape) {
  expectOne(withExtra("input { name: \"u\" type { tensor_type { elem_type: 1 } } }"), "has no shape");
}
TEST_F(ReaderTest, RecursiveFunction) {
  expectOne(problemsOf("graph {" + value("input", "x", 1, {"2"}) + value("output", "y", 1, {"2"}) +
                       node("F", {"x"}, {"y"}, "domain: \"f\"") +
                       "} functions { name: \"F\" domain: \"f\" input: \"i\" output: \"o\" opset_import { version: 18 } node { "
                       "op_type: \"F\" domain: \"f\" input: \"i\" output: \"o\" } } opset_import { version: 18 }"),
            "calls itself");
}
TEST_F(ReaderTest, ExternalAbsolutePath) { expectOne(withExtra(external("/etc/passwd", "0", "16")), "outside the model's folder"); }
TEST_F(ReaderTest, ExternalParentPath) { expectOne(withExtra(external("a/../../x", "0", "16")), "outside the model's folder"); }
TEST_F(ReaderTest, ExternalLinkOut) {
  ASSERT_FALSE(llvm::sys::fs::create_link("/etc/passwd", folder + "/link.bin"));
  expectOne(withExtra(external("link.bin", "0", "16")), "link to outside the model's folder");
}
TEST_F(ReaderTest, ExternalFolder) {
  ASSERT_FALSE(llvm::sys::fs::create_directory(folder + "/sub"));
  expectOne(withExtra(external("sub", "0", "16")), "no regular file");
}
TEST_F(ReaderTest, ExternalTruncated) {
  write("w.bin", "12345678");
  expectOne(withExtra(external("w.bin", "0", "16")), "ends before this tensor");
}
TEST_F(ReaderTest, ExternalOffsetOverflows) {
  write("w.bin", "12345678");
  expectOne(withExtra(external("w.bin", "9223372036854775807", "16")), "ends before this tensor");
}
TEST_F(ReaderTest, ExternalBadOffset) {
  write("w.bin", "12345678");
  expectOne(withExtra(external("w.bin", "-8", "16")), "no byte count");
}
TEST_F(ReaderTest, ExternalWrongLength) {
  write("w.bin", std::string(64, 'x'));
  expectOne(withExtra(external("w.bin", "0", "12")), "has 12 bytes, its shape needs 16");
}

} // namespace
} // namespace llmc::test
