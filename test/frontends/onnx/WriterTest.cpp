//===- WriterTest.cpp - models with new values of initializers ------===//
#include "frontends/onnx/Writer.h"
#include "TextModel.h"
#include "frontends/onnx/Reader.h"
#include "frontends/onnx/proto/onnx-ml.pb.h"
#include <cstring>
#include <fstream>
#include <google/protobuf/util/message_differencer.h>
#include <sstream>

namespace llmc::test {
namespace {

llvm::ArrayRef<char> bytesOf(const std::vector<float> &values) {
  return {reinterpret_cast<const char *>(values.data()), values.size() * sizeof(float)};
}

::onnx::ModelProto parse(const std::string &bytes) {
  ::onnx::ModelProto proto;
  EXPECT_TRUE(proto.ParseFromString(bytes));
  return proto;
}

std::string contents(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

/// A float32 initializer of `count` elements in a data file.
std::string external(llvm::StringRef name, int64_t count, llvm::StringRef location) {
  return "initializer { name: \"" + name.str() + "\" data_type: 1 dims: " + std::to_string(count) +
         " data_location: EXTERNAL external_data { key: \"location\" value: \"" + location.str() + "\" } }\n";
}

class WriterTest : public TempFolder {
protected:
  std::unique_ptr<onnx::Model> read(const std::string &path) {
    auto result = onnx::readModel(path);
    EXPECT_TRUE(result.model) << textOf(result.problems);
    return std::move(result.model);
  }
  /// Writes `written` as the tool does, and reads it back.
  std::unique_ptr<onnx::Model> writeAndRead(const onnx::WrittenModel &written, llvm::StringRef name) {
    std::string data;
    for (const auto &part : written.data) {
      data.resize(part.offset);
      data.append(part.bytes.begin(), part.bytes.end());
    }
    write(name.str() + ".data", data);
    return read(write(name, written.file));
  }
};

// Only the named initializer changes, and in it nothing but the elements: float_data gives way to raw data.
TEST_F(WriterTest, ReplacesElementsAndNothingElse) {
  std::string path = model(mlpText("initializer { name: \"f\" data_type: 1 dims: 2 float_data: 3 float_data: 4 }\n"));
  auto original = read(path);
  std::vector<float> weights(10, 2.5f), pair = {7, 8};
  auto result = onnx::rewriteModel(*original, {{"fc2.weight", bytesOf(weights)}, {"f", bytesOf(pair)}}, {"x.data"});
  ASSERT_TRUE(result.model) << textOf(result.problems);
  EXPECT_TRUE(result.model->data.empty());
  ::onnx::ModelProto before = parse(contents(path)), after = parse(result.model->file);
  for (::onnx::TensorProto &tensor : *after.mutable_graph()->mutable_initializer()) {
    if (tensor.name() != "fc2.weight" && tensor.name() != "f")
      continue;
    std::vector<float> &expected = tensor.name() == "f" ? pair : weights;
    ASSERT_EQ(tensor.raw_data().size(), expected.size() * sizeof(float));
    EXPECT_EQ(std::memcmp(tensor.raw_data().data(), expected.data(), tensor.raw_data().size()), 0);
    EXPECT_EQ(tensor.float_data_size(), 0);
    for (const ::onnx::TensorProto &old : before.graph().initializer())
      if (old.name() == tensor.name())
        tensor = old;
  }
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(before, after));
}

// A parameter that was exported without its value points nowhere afterwards.
TEST_F(WriterTest, ReplacesReferencesToAbsentFiles) {
  auto original = read(model(mlpText(external("e", 4, "nowhere.data"))));
  std::vector<float> values = {1, 2, 3, 4};
  auto result = onnx::rewriteModel(*original, {{"e", bytesOf(values)}}, {"x.data"});
  ASSERT_TRUE(result.model) << textOf(result.problems);
  auto again = writeAndRead(*result.model, "x");
  const onnx::Tensor *tensor = again->initializer("e");
  ASSERT_TRUE(tensor && !tensor->missing);
  EXPECT_EQ(std::memcmp(tensor->data.data(), values.data(), 16), 0);
  expectOne(onnx::rewriteModel(*original, {}, {"x.data"}).problems, "`nowhere.data` does not exist");
}

// Above the limit, large tensors go to one data file at aligned offsets, and so do those of the original's data file.
TEST_F(WriterTest, WritesOneDataFile) {
  std::vector<float> old(100, 3.0f), values(200, 4.0f), few = {5, 6};
  write("old.data", llvm::StringRef(bytesOf(old).data(), bytesOf(old).size()));
  auto original = read(model(mlpText(external("kept", 100, "old.data") + external("new", 200, "gone.data") + external("few", 2, "gone.data"))));
  auto result = onnx::rewriteModel(*original, {{"new", bytesOf(values)}, {"few", bytesOf(few)}}, {"x.data", /*inlineLimit=*/1000});
  ASSERT_TRUE(result.model) << textOf(result.problems);
  ASSERT_EQ(result.model->data.size(), 2u);
  EXPECT_EQ(result.model->data[1].offset, onnx::WrittenModel::kAlignment);
  auto again = writeAndRead(*result.model, "x");
  auto expect = [&](llvm::StringRef name, const std::vector<float> &wanted, llvm::StringRef file) {
    const onnx::Tensor *tensor = again->initializer(name);
    ASSERT_TRUE(tensor && tensor->source && tensor->data.size() == wanted.size() * sizeof(float)) << name.str();
    EXPECT_EQ(std::memcmp(tensor->data.data(), wanted.data(), tensor->data.size()), 0) << name.str();
    EXPECT_EQ(tensor->source->path, file.str());
  };
  expect("kept", old, "x.data");
  expect("new", values, "x.data");
  expect("few", few, "x");
}

TEST_F(WriterTest, RefusesWhatDoesNotFit) {
  auto original = read(model(mlpText()));
  std::vector<float> values(3);
  expectOne(onnx::rewriteModel(*original, {{"fc3.weight", bytesOf(values)}}, {"x"}).problems, "no initializer `fc3.weight`");
  expectOne(onnx::rewriteModel(*original, {{"fc2.weight", bytesOf(values)}}, {"x"}).problems, "`fc2.weight` has 40 bytes, not 12");
}

} // namespace
} // namespace llmc::test
