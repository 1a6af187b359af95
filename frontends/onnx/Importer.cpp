//===- Importer.cpp - Model -> IR at level `imported` ------===//
//
//   1. roles of initializers, sizes of symbolic dimensions;
//   2. arguments for inputs and parameters, placeholders for everything known;
//   3. each live node through its handler, known values folded on the way;
//   4. the recipe's loss, results, and constants for the placeholders that are left.
// Problems are collected throughout; a node that cannot be imported only silences the nodes that use it.
//
//===----------------------------------------------------------------------===//
#include "frontends/onnx/Importer.h"
#include "dialects/train/Train.h"
#include "frontends/onnx/NodeImporter.h"
#include "frontends/onnx/OpTable.h"
#include "frontends/onnx/recipe/RecipeChecks.h"
#include "frontends/onnx/recipe/RecipeLoss.h"
#include "frontends/onnx/recipe/ShiftedLabels.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSet.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;
using namespace llmc;
using namespace llmc::onnx;

void llmc::onnx::registerImportDialects(DialectRegistry &registry) {
  registry.insert<func::FuncDialect, arith::ArithDialect, math::MathDialect, tensor::TensorDialect, nn::NnDialect>();
  registerExternalModels(registry);
}

namespace {

/// Reasons for which nodes were not imported, by operator.
struct Unsupported {
  size_t count = 0;
  std::string first;
};

class Importer {
public:
  Importer(const Model &model, const ImportOptions &options, MLIRContext *context)
      : model(model), recipe(options.recipe), forTraining(options.forTraining), builder(context), pool(builder),
        state{builder, pool, {}, options.recipe.seed, 0, {}} {
    state.isPyTorchs = model.isPyTorchs;
    state.importGraph = [this](const Subgraph &graph) { return importGraph(graph); };
  }

  ImportResult run() {
    result.roles = findRoles(model);
    chooseTrainable(model, recipe, result.roles);
    append(reportLost(result.roles, recipe));
    if (forTraining)
      append(reportUnclear(result.roles));
    checkTypes();
    findLive();
    findUnsupported();
    if (forTraining)
      append(checkNames(model, recipe));
    bindDimensions();
    if (!result.problems.empty())
      return std::move(result);
    Location unknown = builder.getUnknownLoc();
    OwningOpRef<ModuleOp> module = ModuleOp::create(unknown);
    builder.setInsertionPointToStart(module->getBody());
    function = func::FuncOp::create(builder, unknown, "forward", builder.getFunctionType({}, {}));
    builder.setInsertionPointToStart(function.addEntryBlock());
    makeArguments();
    importNodes();
    readModelShardings();
    addLoss();
    if (result.problems.empty())
      finish();
    if (result.problems.empty() && failed(verify(*module)))
      problem("the imported function does not verify", model.file, "this is an error of llmc; please report the model");
    if (result.problems.empty())
      result.module = std::move(module);
    return std::move(result);
  }

private:
  void problem(const Twine &message, const Twine &where, const Twine &hint, int exitCode = Problem::kBadInput) {
    result.problems.push_back({message.str(), where.str(), hint.str(), exitCode});
  }
  /// The same of a key of the recipe.
  void keyProblem(const Twine &key, const Twine &message, const Twine &hint) {
    result.problems.push_back(recipeProblem(key.str(), message.str(), hint.str()));
  }
  void append(Problems problems) {
    result.problems.insert(result.problems.end(), problems.begin(), problems.end());
  }

  /// Refuses 16-bit models by name and reports inputs of types that nothing computes with.
  void checkTypes() {
    for (auto [type, name] : {std::pair(DType::BFloat16, "bf16"), std::pair(DType::Float16, "fp16")}) {
      size_t count = 0;
      std::string first;
      for (const Tensor &tensor : model.initializers)
        if (tensor.type == type && count++ == 0)
          first = tensor.name;
      for (const ValueInfo &input : model.inputs)
        if (input.type == type && count++ == 0)
          first = input.name;
      if (count > 0)
        problem("the model computes in " + Twine(nameOf(type)) + " (" + Twine(count) + " tensors), which needs `precision: " + name +
                    "`, not supported yet",
                first, "export the model in float32 (model.float())", Problem::kUnsupported);
    }
    for (const ValueInfo &input : model.inputs)
      if (!elementType(input.type, builder.getContext()) && input.type != DType::BFloat16 && input.type != DType::Float16)
        problem("input `" + input.name + "` has type " + nameOf(input.type) + ", which is not supported", model.file,
                "use float32, int64, int32 or bool", Problem::kUnsupported);
  }

  void findLive() {
    llvm::StringSet<> needed;
    for (const ValueInfo &output : model.outputs)
      needed.insert(output.name);
    live.assign(model.nodes.size(), false);
    for (size_t i = model.nodes.size(); i-- > 0;) {
      const Node &node = model.nodes[i];
      live[i] = llvm::any_of(node.outputs, [&](const std::string &name) { return needed.contains(name); });
      if (live[i]) {
        needed.insert(node.inputs.begin(), node.inputs.end());
        needed.insert(node.captures.begin(), node.captures.end());
      }
    }
  }

  void refuse(const Node &node, const std::string &reason) {
    Unsupported &entry = unsupported[{node.opName(), reason}];
    if (entry.count++ == 0)
      entry.first = node.where();
  }

  void findUnsupported() {
    for (auto [i, node] : llvm::enumerate(model.nodes))
      if (live[i] && !OpTable::get().find(node))
        refuse(node, node.domain.empty() ? "" : "not an operator of the ONNX standard");
  }

  void reportUnsupported() {
    if (unsupported.empty())
      return;
    std::string message = std::to_string(unsupported.size()) +
                          (unsupported.size() == 1 ? " operator of this model is" : " operators of this model are") +
                          " not supported";
    for (auto &[key, entry] : unsupported) {
      message += "\n  " + key.first + "  " + std::to_string(entry.count) + "x  first at " + entry.first;
      if (!key.second.empty())
        message += "  " + key.second;
    }
    problem(message, "", "`llmc check` lists all operators", Problem::kUnsupported);
  }

  void bindDimensions();
  Location locationOf(const Node &node);
  NamedAttribute name(StringRef key, StringRef value) { return builder.getNamedAttr(key, builder.getStringAttr(value)); }
  void makeArguments();
  void findChangedBuffers();
  void addUpdate(const std::string &output, const std::string &buffer, Value value);
  void addWeight(const Tensor &tensor, RankedTensorType type, StringRef role);
  /// True if the value of this name was imported.
  bool isKnown(StringRef name) const {
    auto it = state.slots.find(name);
    return it != state.slots.end() && (it->second.value || it->second.isSequence);
  }
  bool importNode(const Node &node);
  bool importGraph(const Subgraph &graph);
  void importNodes();
  void readModelShardings();
  void addLoss();
  void checkLossOutput();
  void finish();
  void checkValues(ArrayRef<const Tensor *> used);

  const Model &model;
  const train::Recipe &recipe;
  bool forTraining;
  OpBuilder builder;
  ConstantPool pool;
  ImportState state;
  ImportResult result;
  func::FuncOp function;
  std::vector<bool> live;
  llvm::MapVector<std::pair<std::string, std::string>, Unsupported, std::map<std::pair<std::string, std::string>, unsigned>>
      unsupported;
  std::map<std::string, SmallVector<int64_t>> inputShapes;
  std::vector<std::string> inputNames;
  std::vector<std::pair<std::string, Value>> outputs;
};

/// Dimensions that two inputs share by symbol get one size; a symbolic first dimension that the recipe does not name is
/// the batch.
void Importer::bindDimensions() {
  int64_t batch = recipe.batch.micro > 0 ? recipe.batch.micro : recipe.batch.step;
  std::map<std::string, int64_t> sizes(recipe.shapes.begin(), recipe.shapes.end());
  std::set<std::string> symbols, unbound;
  for (const ValueInfo &input : model.inputs)
    for (const Dim &dim : input.dims)
      if (!dim.symbol.empty())
        symbols.insert(dim.symbol);
  for (auto &[symbol, size] : recipe.shapes)
    if (!symbols.count(symbol)) {
      std::string known;
      for (const std::string &s : symbols)
        known += (known.empty() ? "" : ", ") + s;
      keyProblem("shapes." + symbol, "`shapes." + symbol + "` names no dimension of the model",
              symbols.empty() ? "all shapes of this model are static; remove it" : "its symbolic dimensions are " + known);
    }
  for (const ValueInfo &input : model.inputs) {
    SmallVector<int64_t> &shape = inputShapes[input.name];
    for (auto [d, dim] : llvm::enumerate(input.dims)) {
      shape.push_back(dim.size);
      if (dim.symbol.empty())
        continue;
      auto it = sizes.find(dim.symbol);
      if (it != sizes.end()) {
        shape.back() = it->second;
      } else if (d == 0 && batch > 0) {
        shape.back() = batch;
        sizes[dim.symbol] = batch;
      } else if (!forTraining) {
        constexpr int64_t kSequence = 16, kImage = 224;
        shape.back() = d == 0 ? 2 : input.dims.size() == 4 && d >= 2 ? kImage : kSequence;
        sizes[dim.symbol] = shape.back();
        result.notes.push_back("dimension `" + dim.symbol + "` of `" + input.name + "` is symbolic; checked with size " +
                               std::to_string(shape.back()));
      } else if (unbound.insert(dim.symbol).second) {
        keyProblem("shapes", "dimension " + Twine(d) + " of input `" + input.name + "` (`" + dim.symbol + "`) has no size",
                d == 0 ? Twine("give `batch: {micro: N}`")
                       : "give `shapes: {" + dim.symbol + ": N}`");
      }
      if (shape.back() == 0)
        shape.back() = 1;
    }
    int64_t elements = 1;
    for (int64_t extent : shape)
      if (extent == 0 || (extent > 0 && elements > (int64_t(1) << 46) / extent)) {
        problem("input `" + input.name + "` is empty or too large", model.file, "");
        break;
      } else {
        elements *= std::max<int64_t>(extent, 1);
      }
  }
}

/// The ONNX node that a location names.
static std::string nameOf(Location loc) {
  std::string name;
  loc->walk([&](Location inner) {
    if (auto named = dyn_cast<NameLoc>(inner))
      name = named.getName().str();
    return name.empty() ? WalkResult::advance() : WalkResult::interrupt();
  });
  return name;
}

Location Importer::locationOf(const Node &node) {
  Location name = NameLoc::get(builder.getStringAttr(node.name));
  if (node.file.empty())
    return name;
  Location line = FileLineColLoc::get(builder.getStringAttr(node.file), static_cast<unsigned>(node.line), 0);
  return FusedLoc::get(builder.getContext(), {name, line});
}

/// Running statistics of batch normalization in training mode, and what the exporter says that forward changes.
void Importer::findChangedBuffers() {
  auto add = [&](const std::string &name) {
    if (model.initializer(name))
      state.bufferOf[name] = name;
  };
  for (auto [i, node] : llvm::enumerate(model.nodes)) {
    const NodeAttribute *training = node.op == "BatchNormalization" && node.domain.empty() ? node.attribute("training_mode") : nullptr;
    if (live[i] && training && training->i != 0 && node.inputs.size() == 5)
      add(node.inputs[3]), add(node.inputs[4]);
  }
  for (auto &[output, buffer] : model.bufferUpdates)
    add(buffer);
}

/// An argument of role param or buffer, which has its initial value in a file.
void Importer::addWeight(const Tensor &tensor, RankedTensorType type, StringRef role) {
  SmallVector<NamedAttribute> attrs = {name("train.name", tensor.name), name("train.role", role)};
  if (result.roles.frozen.contains(tensor.name))
    attrs.push_back(builder.getNamedAttr("train.frozen", builder.getUnitAttr()));
  if (tensor.source)
    attrs.push_back(builder.getNamedAttr(
        "train.source",
        builder.getDictionaryAttr({builder.getNamedAttr("bytes", builder.getI64IntegerAttr(tensor.source->bytes)),
                                   builder.getNamedAttr("offset", builder.getI64IntegerAttr(tensor.source->offset)),
                                   name("path", tensor.source->path)})));
  if (auto it = result.roles.aliases.find(tensor.name); it != result.roles.aliases.end()) {
    SmallVector<StringRef> names(it->second.begin(), it->second.end());
    attrs.push_back(builder.getNamedAttr("train.aliases", builder.getStrArrayAttr(names)));
  }
  Location loc = NameLoc::get(builder.getStringAttr(tensor.name));
  unsigned index = function.getNumArguments();
  (void)function.insertArgument(index, type, builder.getDictionaryAttr(attrs), loc);
  state.slots[tensor.name].value = function.getArgument(index);
}

void Importer::makeArguments() {
  findChangedBuffers();
  auto addInput = [&](const std::string &input, RankedTensorType type) {
    unsigned index = function.getNumArguments();
    (void)function.insertArgument(index, type,
                                  builder.getDictionaryAttr({name("train.name", input), name("train.role", "input")}),
                                  NameLoc::get(builder.getStringAttr(input)));
    state.slots[input].value = function.getArgument(index);
    inputNames.push_back(input);
  };
  for (const ValueInfo &input : model.inputs)
    addInput(input.name, RankedTensorType::get(inputShapes[input.name], elementType(input.type, builder.getContext())));
  // Labels that the recipe adds: their shape is only known once the logits are, so the argument comes later (addLoss).
  for (const Tensor &tensor : model.constants)
    if (Type element = elementType(tensor.type, builder.getContext()))
      state.slots[tensor.name].value = pool.fromInitializer(NameLoc::get(builder.getStringAttr(tensor.name)), tensor,
                                                            RankedTensorType::get(tensor.dims, element), /*isBuffer=*/false);
  for (const Tensor &tensor : model.initializers) {
    Type element = elementType(tensor.type, builder.getContext());
    bool isParameter = result.roles.of(tensor.name) == Kind::Parameter;
    if (!element || (isParameter && !isa<FloatType>(element))) {
      if (isParameter)
        problem("parameter `" + Twine(tensor.name) + "` has type " + nameOf(tensor.type), tensor.name, "", Problem::kUnsupported);
      continue; // a constant of such a type is refused where it is used
    }
    auto type = RankedTensorType::get(tensor.dims, element);
    if (isParameter && tensor.elements == 0)
      problem("parameter `" + Twine(tensor.name) + "` is empty", tensor.name, "");
    else if (isParameter)
      addWeight(tensor, type, "param");
    else if (state.bufferOf.contains(tensor.name) && !isa<FloatType>(element))
      problem("buffer `" + Twine(tensor.name) + "`, which forward updates, has type " + nameOf(tensor.type), tensor.name,
              "make it a buffer of float32, which counts exactly up to 16777216", Problem::kUnsupported);
    else if (state.bufferOf.contains(tensor.name))
      addWeight(tensor, type, "buffer");
    else // a buffer of integers that does not change is a constant
      state.slots[tensor.name].value = pool.fromInitializer(NameLoc::get(builder.getStringAttr(tensor.name)), tensor, type,
                                                            result.roles.of(tensor.name) == Kind::Buffer && isa<FloatType>(element));
  }
}

/// True if the node was imported. One of unknown inputs is passed over: what makes them was refused.
bool Importer::importNode(const Node &node) {
  Handler handler = OpTable::get().find(node);
  bool poisoned = !handler;
  for (const std::string &input : node.inputs) {
    bool known = input.empty() || isKnown(input);
    if (!known && model.initializer(input) && handler)
      refuse(node, "a constant of type " + nameOf(model.initializer(input)->type));
    poisoned |= !known;
  }
  if (poisoned)
    return false;
  NodeImporter importer(node, locationOf(node), state);
  if (succeeded(handler(importer)))
    for (auto [k, output] : llvm::enumerate(node.outputs))
      if (!output.empty() && !isKnown(output))
        (void)importer.fail("output " + Twine(k));
  if (!importer.failed())
    return true;
  refuse(node, importer.reason());
  for (const std::string &output : node.outputs)
    state.slots.erase(output);
  return false;
}

bool Importer::importGraph(const Subgraph &graph) {
  bool all = true;
  for (const Node &node : graph.nodes) {
    if (!OpTable::get().find(node))
      refuse(node, node.domain.empty() ? "" : "not an operator of the ONNX standard");
    all &= importNode(node);
  }
  return all;
}

void Importer::importNodes() {
  for (auto [i, node] : llvm::enumerate(model.nodes))
    if (live[i])
      importNode(node);
  reportUnsupported();
  for (const ValueInfo &output : model.outputs) {
    Value value = state.slots.lookup(output.name).value;
    if (auto update = model.bufferUpdates.find(output.name); update != model.bufferUpdates.end())
      addUpdate(output.name, update->second, value);
    else
      outputs.emplace_back(output.name, value);
    if (result.problems.empty() && !value)
      problem("output `" + output.name + "` is no tensor that can be computed", model.file, "leave it out of the export",
              Problem::kUnsupported);
  }
}

void Importer::addUpdate(const std::string &output, const std::string &buffer, Value value) {
  if (!state.bufferOf.contains(buffer) || !state.slots.lookup(buffer).value)
    return problem("output `" + output + "` is the new value of `" + buffer + "`, which is no buffer of the model", model.file, "");
  if (value)
    state.newBuffers.try_emplace(buffer, value); // a batch normalization has said it, if it is its own
}

/// Now that every value has its shape.
void Importer::readModelShardings() {
  for (auto &entry : state.slots)
    if (Value value = entry.second.value)
      result.shapes[entry.first()] = SmallVector<int64_t>(nn::typeOf(value).getShape());
  if (!recipe.onnxSharding.empty()) {
    ShardingsResult read = readShardings(model, recipe, result.roles, result.shapes);
    append(read.problems);
    llvm::append_range(result.notes, read.notes);
    result.shardings = std::move(read.shardings);
  } else if (!model.configurations.empty() && !recipe.mesh.empty()) {
    result.notes.push_back("the model has shardings of its own, which `onnx_sharding: " + model.configurations.front().name +
                           "` would use");
  }
}

void Importer::addLoss() {
  if (!result.problems.empty())
    return;
  if (recipe.loss.kind == train::Loss::Output)
    checkLossOutput();
  else
    result.lossOutput = addRecipeLoss(recipe, {function, state, outputs, inputNames}, result.problems);
}

void Importer::checkLossOutput() {
  auto it = llvm::find_if(outputs, [&](auto &o) { return o.first == recipe.loss.output; });
  if (it == outputs.end())
    return; // said before, by name
  RankedTensorType type = nn::typeOf(it->second);
  if (type.getNumElements() != 1 || !isa<FloatType>(type.getElementType()))
    return keyProblem("loss", "the loss `" + Twine(recipe.loss.output) + "` is no real scalar", "it must be one number per batch");
  if (pool.isKnown(it->second))
    return keyProblem("loss", "the loss `" + Twine(recipe.loss.output) + "` is a constant", "it must depend on inputs and parameters");
  if (type.getRank() != 0)
    it->second = nn::reshape(builder, it->second.getLoc(), it->second, {});
}

void Importer::finish() {
  SmallVector<Value> values;
  SmallVector<Type> types;
  for (auto &[name, value] : outputs) {
    values.push_back(value);
    types.push_back(value.getType());
  }
  for (auto &[buffer, value] : state.newBuffers) {
    if (value.getType() != state.slots[buffer].value.getType())
      problem("the new value of buffer `" + Twine(buffer) + "` has another shape or type than it", buffer, "", Problem::kUnsupported);
    values.push_back(value);
    types.push_back(value.getType());
  }
  func::ReturnOp::create(builder, builder.getUnknownLoc(), values);
  pool.materialize(function);
  function.walk([&](Operation *op) {
    for (Value value : op->getOperands())
      if (nn::typeOf(value).getNumElements() == 0 && result.problems.empty())
        problem("a tensor without elements", nameOf(op->getLoc()),
                "empty tensors cannot be trained on", Problem::kUnsupported);
  });
  SmallVector<Type> arguments(function.getBody().getArgumentTypes());
  SmallVector<Attribute> attrs;
  for (auto &[name, value] : outputs)
    attrs.push_back(builder.getDictionaryAttr({this->name("train.name", name)}));
  for (auto &[buffer, value] : state.newBuffers)
    attrs.push_back(train::nameAndRole(builder.getContext(), buffer, train::kBuffer));
  ArrayAttr argumentAttrs = function.getAllArgAttrs();
  function.setType(builder.getFunctionType(arguments, types));
  if (argumentAttrs)
    function.setAllArgAttrs(argumentAttrs);
  function.setAllResultAttrs(attrs);
  function.setPublic();
  if (model.knowsNumbers)
    function->setAttr(train::kKnownNumbers, builder.getUnitAttr());
  if (!model.fixedBatch.empty())
    function->setAttr(train::kFixedBatch, builder.getStringAttr(model.fixedBatch));
  if (forTraining) {
    append(checkShapes(function, recipe));
    append(checkShifts(function, recipe));
  }

  SmallVector<const Tensor *> needed;
  for (const Tensor &tensor : model.initializers)
    if (tensor.missing && (result.roles.of(tensor.name) == Kind::Parameter || state.bufferOf.contains(tensor.name) || pool.used.count(&tensor)))
      needed.push_back(&tensor);
  checkValues(needed);
  size_t fixed = 0;
  for (auto [i, node] : llvm::enumerate(model.nodes))
    if (const NodeAttribute *training = node.attribute("training_mode"); live[i] && node.op == "BatchNormalization")
      fixed += !training || training->i == 0;
  if (fixed > 0)
    result.notes.push_back(std::to_string(fixed) + " BatchNormalization nodes use their stored statistics (training_mode=0), as a "
                                                   "module in evaluation mode does; torch.onnx.export writes this for one in training mode too");
  if (!result.roles.fromMetadata)
    result.notes.push_back("the file does not say which initializers are parameters; " +
                           std::to_string(result.roles.kinds.size()) + " were found by how they are used (see `llmc check`)");
}

/// Values in data files that do not exist must come from the recipe.
void Importer::checkValues(ArrayRef<const Tensor *> needed) {
  if (!forTraining || !recipe.weights.empty())
    return;
  std::string message, file;
  size_t count = 0;
  for (const Tensor *tensor : needed) {
    bool initialized = llvm::any_of(recipe.init, [&](auto &init) { return train::matchesGlob(init.glob, tensor->name); });
    if (pool.missing.count(tensor) || !initialized) {
      file = tensor->missingFile;
      if (++count <= 20)
        message += "\n  " + tensor->name;
    }
  }
  if (count == 0)
    return;
  if (count > 20)
    message += "\n  and " + std::to_string(count - 20) + " more";
  problem(Twine(count) + " values are in the data file `" + file + "`, which does not exist:" + message, model.file,
          "put the file beside the model, or initialize: `init: {\"*\": normal(0.02)}`, or give `weights`");
}

} // namespace

ImportResult llmc::onnx::importModel(const Model &model, const ImportOptions &options, MLIRContext *context) {
  context->loadAllAvailableDialects();
  return Importer(model, options, context).run();
}
