//===- GraphTest.cpp - small graphs, imported and computed ------===//
#include "GraphTest.h"
#include "compiler/reference/Interpreter.h"
#include "frontends/onnx/Constants.h"
#include "frontends/onnx/Reader.h"
#include "llvm/Support/FormatVariadic.h"

namespace llmc::test {

void GraphTest::SetUp() {
  TempFolder::SetUp();
  mlir::DialectRegistry registry;
  onnx::registerImportDialects(registry);
  context.appendDialectRegistry(registry);
  options.forTraining = false;
  options.recipe.loss.output = "no output is the loss";
}

HostTensor GraphTest::outputOf(llvm::StringRef graph, const std::vector<HostTensor> &inputs) {
  onnx::ReadResult read = onnx::readModel(model(graph));
  EXPECT_TRUE(read.model) << textOf(read.problems);
  if (!read.model)
    return HostTensor::zeros({}, true);
  onnx::ImportResult imported = onnx::importModel(*read.model, options, &context);
  EXPECT_TRUE(imported.module) << textOf(imported.problems);
  if (!imported.module)
    return HostTensor::zeros({}, true);
  auto function = *imported.module->getOps<mlir::func::FuncOp>().begin();
  std::vector<HostTensor> arguments = inputs;
  for (unsigned i = arguments.size(); i < function.getNumArguments(); ++i) {
    if (auto value = llvm::dyn_cast_or_null<mlir::ElementsAttr>(function.getArgAttr(i, "train.value")))
      arguments.push_back(*HostTensor::fromAttribute(value));
    for (const onnx::Tensor &tensor : read.model->initializers)
      if (tensor.name == function.getArgAttrOfType<mlir::StringAttr>(i, "train.name"))
        arguments.push_back(onnx::hostTensor(tensor));
  }
  auto results = reference::Interpreter(reference::Arithmetic::AsTyped).run(function, arguments);
  EXPECT_TRUE(mlir::succeeded(results));
  return mlir::succeeded(results) ? results->front() : HostTensor::zeros({}, true);
}

std::vector<double> GraphTest::valuesOf(llvm::StringRef graph, const std::vector<HostTensor> &inputs) {
  HostTensor out = outputOf(graph, inputs);
  std::vector<double> values;
  for (int64_t i = 0; i < out.size(); ++i)
    values.push_back(out.real(i));
  return values;
}

std::string GraphTest::refusalOf(llvm::StringRef graph) {
  onnx::ReadResult read = onnx::readModel(model(graph));
  if (!read.model)
    return textOf(read.problems);
  return textOf(onnx::importModel(*read.model, options, &context).problems);
}

HostTensor reals(llvm::ArrayRef<int64_t> shape, std::vector<double> values) {
  HostTensor tensor = HostTensor::zeros(shape, true);
  tensor.reals = std::move(values);
  return tensor;
}

HostTensor integers(llvm::ArrayRef<int64_t> shape, std::vector<int64_t> values) {
  HostTensor tensor = HostTensor::zeros(shape, false);
  tensor.integers = std::move(values);
  return tensor;
}

std::string floatsOf(llvm::StringRef name, llvm::ArrayRef<int64_t> dims, llvm::ArrayRef<double> values) {
  std::string text = "initializer { name: \"" + name.str() + "\" data_type: 1";
  for (int64_t dim : dims)
    text += " dims: " + std::to_string(dim);
  for (double value : values)
    text += llvm::formatv(" float_data: {0:F9}", value).str();
  return text + " }\n";
}

std::string attr(llvm::StringRef name, int64_t value) {
  return llvm::formatv(" attribute {{ name: \"{0}\" type: INT i: {1} }", name, value);
}

std::string attr(llvm::StringRef name, double value) {
  return llvm::formatv(" attribute {{ name: \"{0}\" type: FLOAT f: {1:F9} }", name, value);
}

std::string attrInts(llvm::StringRef name, llvm::ArrayRef<int64_t> values) {
  std::string text = " attribute { name: \"" + name.str() + "\" type: INTS";
  for (int64_t value : values)
    text += " ints: " + std::to_string(value);
  return text + " }";
}

std::string attr(llvm::StringRef name, llvm::StringRef text) {
  return llvm::formatv(" attribute {{ name: \"{0}\" type: STRING s: \"{1}\" }", name, text);
}

std::string graphOf(int64_t opset, llvm::StringRef parts) {
  return "opset_import { version: " + std::to_string(opset) + " } graph {\n" + parts.str() + "}\n";
}

} // namespace llmc::test
