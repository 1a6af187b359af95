//===- NodeTests.cpp - runs the ONNX package's node tests through importer and interpreter ------===//
//
// Each test is a model of one node with inputs and outputs. It runs three times: with all inputs as arguments, with the
// integer inputs as initializers, and with all inputs as initializers (then everything is folded). A test passes if at
// least one form imports and each form that imports gives the expected numbers. The names of those that pass stand in
// LIST, one a line: the run fails if another one passes too, or one of them does not. Without the folder it exits with 77
// (skipped). `onnx_node_tests DIR --only SUBSTRING` prints what SUBSTRING's tests do, `onnx_node_tests DIR --write LIST`
// writes the list.
//
//===----------------------------------------------------------------------===//
#include "compiler/reference/Interpreter.h"
#include "frontends/onnx/Constants.h"
#include "frontends/onnx/Importer.h"
#include "frontends/onnx/OpTable.h"
#include "frontends/onnx/Reader.h"
#include "frontends/onnx/proto/onnx-ml.pb.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include <fstream>
#include <set>

namespace llmc {
namespace {

enum class Form { Arguments, IntegerConstants, Constants };

struct Outcome {
  enum Kind { Passed, Unsupported, Wrong } kind = Unsupported;
  std::string detail;
};

template <typename Proto> bool parseFile(const std::string &path, Proto &proto) {
  std::ifstream in(path, std::ios::binary);
  return in && proto.ParseFromIstream(&in);
}

/// The elements of a TensorProto, by writing it into a model as an initializer and reading that back.
class Values {
public:
  static mlir::FailureOr<HostTensor> read(const ::onnx::TensorProto &proto, const std::string &scratch);
};

std::string writeModel(const ::onnx::ModelProto &model, const std::string &scratch) {
  std::ofstream out(scratch, std::ios::binary | std::ios::trunc);
  model.SerializeToOstream(&out);
  return scratch;
}

mlir::FailureOr<HostTensor> Values::read(const ::onnx::TensorProto &proto, const std::string &scratch) {
  ::onnx::ModelProto model;
  model.add_opset_import()->set_version(18);
  auto *tensor = model.mutable_graph()->add_initializer();
  *tensor = proto;
  tensor->set_name("x");
  auto *node = model.mutable_graph()->add_node();
  node->set_op_type("Identity");
  node->add_input("x");
  node->add_output("y");
  model.mutable_graph()->add_output()->set_name("y");
  onnx::ReadResult result = onnx::readModel(writeModel(model, scratch));
  mlir::MLIRContext context;
  if (!result.model || !onnx::elementType(result.model->initializers[0].type, &context))
    return mlir::failure();
  return onnx::hostTensor(result.model->initializers[0]);
}

bool isInteger(int32_t type) { return type != 1 && type != 10 && type != 11 && type != 16; }

bool close(const HostTensor &got, const HostTensor &want, std::string &detail) {
  if (got.shape != want.shape) {
    detail = "shape";
    return false;
  }
  for (int64_t i = 0; i < got.size(); ++i) {
    double a = got.real(i), b = want.real(i);
    if (std::isnan(a) != std::isnan(b) || (!std::isnan(b) && a != b && !(std::abs(a - b) <= 1e-5 + 1e-3 * std::abs(b)))) {
      detail = llvm::formatv("element {0}: {1}, expected {2}", i, a, b).str();
      return false;
    }
  }
  return true;
}

class Runner {
public:
  Runner(std::string folder, std::string scratch) : folder(std::move(folder)), scratch(std::move(scratch)) {
    onnx::registerImportDialects(registry);
  }

  Outcome run(Form form) {
    ::onnx::ModelProto model;
    if (!parseFile(folder + "/model.onnx", model))
      return {Outcome::Unsupported, "unreadable"};
    if (auto why = clampOpset(model); !why.empty())
      return {Outcome::Unsupported, why};
    std::vector<HostTensor> arguments;
    auto *graph = model.mutable_graph();
    for (int i = 0; i < graph->input_size(); ++i) {
      ::onnx::TensorProto proto;
      if (!parseFile(llvm::formatv("{0}/test_data_set_0/input_{1}.pb", folder, i), proto))
        return {Outcome::Unsupported, "input that is no tensor"};
      proto.set_name(graph->input(i).name());
      bool constant = form == Form::Constants || (form == Form::IntegerConstants && isInteger(proto.data_type()));
      auto values = Values::read(proto, scratch);
      if (mlir::failed(values))
        return {Outcome::Unsupported, "element type " + std::to_string(proto.data_type())};
      if (constant)
        *graph->add_initializer() = proto;
      else
        arguments.push_back(*values);
    }
    return check(model, std::move(arguments));
  }

private:
  /// Node tests are written for the set in which the operator last changed; the importer takes 18 to 23.
  static std::string clampOpset(::onnx::ModelProto &model) {
    for (auto &import : *model.mutable_opset_import()) {
      if (!import.domain().empty() && import.domain() != "ai.onnx")
        continue;
      import.set_version(std::clamp<int64_t>(import.version(), 7, 27));
    }
    return "";
  }

  Outcome check(const ::onnx::ModelProto &proto, std::vector<HostTensor> arguments) {
    onnx::ReadResult read = onnx::readModel(writeModel(proto, scratch));
    if (!read.model)
      return {Outcome::Unsupported, read.problems.front().message};
    mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
    onnx::ImportOptions options;
    options.forTraining = false;
    options.recipe.trainable.clear();
    options.recipe.loss.output = "no output is the loss";
    onnx::ImportResult imported = onnx::importModel(*read.model, options, &context);
    if (!imported.module)
      return {Outcome::Unsupported, imported.problems.front().message};
    auto function = *imported.module->getOps<mlir::func::FuncOp>().begin();
    for (unsigned i = arguments.size(); i < function.getNumArguments(); ++i) {
      if (auto value = llvm::dyn_cast_or_null<mlir::ElementsAttr>(function.getArgAttr(i, "train.value")))
        arguments.push_back(*HostTensor::fromAttribute(value));
      else
        for (const onnx::Tensor &tensor : read.model->initializers)
          if (tensor.name == function.getArgAttrOfType<mlir::StringAttr>(i, "train.name"))
            arguments.push_back(onnx::hostTensor(tensor));
    }
    auto results = reference::Interpreter(reference::Arithmetic::AsTyped).run(function, arguments);
    if (mlir::failed(results))
      return {Outcome::Wrong, "the interpreter failed"};
    for (size_t i = 0; i < results->size(); ++i) {
      ::onnx::TensorProto proto;
      if (!parseFile(llvm::formatv("{0}/test_data_set_0/output_{1}.pb", folder, i), proto))
        return {Outcome::Unsupported, "output that is no tensor"};
      auto want = Values::read(proto, scratch + ".out");
      std::string detail;
      if (mlir::failed(want))
        return {Outcome::Unsupported, "element type of the output"};
      if (!close((*results)[i], *want, detail))
        return {Outcome::Wrong, "output " + std::to_string(i) + ", " + detail};
    }
    return {Outcome::Passed, ""};
  }

  std::string folder, scratch;
  mlir::DialectRegistry registry;
};

/// One test in its three forms.
struct Tally {
  bool passed = false;
  int wrong = 0;
};

Tally runTest(const std::string &folder, const std::string &scratch, bool verbose) {
  Tally tally;
  llvm::StringRef name = llvm::sys::path::filename(folder);
  for (Form form : {Form::Arguments, Form::IntegerConstants, Form::Constants}) {
    Outcome outcome = Runner(folder, scratch).run(form);
    tally.passed |= outcome.kind == Outcome::Passed;
    if (outcome.kind == Outcome::Wrong) {
      ++tally.wrong;
      llvm::outs() << "WRONG " << name << " (form " << static_cast<int>(form) << "): " << outcome.detail << "\n";
    } else if (verbose) {
      llvm::outs() << name << " (form " << static_cast<int>(form)
                   << "): " << (outcome.kind == Outcome::Passed ? "passed" : "unsupported: " + outcome.detail) << "\n";
    }
  }
  return tally;
}

/// The lines of a list; empty if there is no such file.
std::set<std::string> readList(const std::string &path) {
  std::set<std::string> names;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);)
    if (!line.empty())
      names.insert(line);
  return names;
}

/// 0 if exactly the tests of the list passed.
int compareWithList(const std::set<std::string> &passed, const std::string &path) {
  std::set<std::string> expected = readList(path);
  int differences = 0;
  for (const std::string &name : expected)
    if (!passed.count(name) && ++differences)
      llvm::outs() << "does not pass any more: " << name << "\n";
  for (const std::string &name : passed)
    if (!expected.count(name) && ++differences)
      llvm::outs() << "passes, add it to the list: " << name << "\n";
  return differences;
}

int runNodeTests(int argc, char **argv) {
  if (argc < 3 || !llvm::sys::fs::is_directory(argv[1])) {
    llvm::outs() << "skipped: no folder of ONNX node tests\n";
    return 77;
  }
  llvm::StringRef mode = argv[2], argument = argc > 3 ? argv[3] : "";
  llvm::SmallString<128> scratch;
  if (llvm::sys::fs::createTemporaryFile("node", "onnx", scratch))
    return 1;
  std::vector<std::string> folders;
  std::error_code error;
  for (llvm::sys::fs::directory_iterator it(argv[1], error), end; it != end && !error; it.increment(error))
    folders.push_back(it->path());
  llvm::sort(folders);
  std::set<std::string> passed;
  int wrong = 0;
  for (const std::string &folder : folders) {
    llvm::StringRef name = llvm::sys::path::filename(folder);
    if ((mode == "--only" && !name.contains(argument)) || name.starts_with("test_training_dropout")) // random by another generator
      continue;
    Tally tally = runTest(folder, scratch.str().str(), mode == "--only");
    wrong += tally.wrong;
    if (tally.passed)
      passed.insert(name.str());
  }
  llvm::sys::fs::remove(scratch);
  llvm::sys::fs::remove(scratch + ".out");
  if (mode == "--write") {
    std::ofstream out(argument.str());
    for (const std::string &name : passed)
      out << name << "\n";
  }
  llvm::outs() << passed.size() << " passed, " << wrong << " wrong, " << folders.size() - passed.size() << " not supported\n";
  int differences = mode == "--only" || mode == "--write" ? 0 : compareWithList(passed, mode.str());
  return wrong == 0 && differences == 0 ? 0 : 1;
}

} // namespace
} // namespace llmc

int main(int argc, char **argv) { return llmc::runNodeTests(argc, argv); }
