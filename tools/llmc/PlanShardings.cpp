//===- PlanShardings.cpp - llmc plan -o: a model with the shardings of its plan --------===//
//
// From a module of level `sharded`, whose @evaluate is the forward pass alone:
//   1. how each input and parameter is cut for its readers: fused and padded ones in the dimensions of the file, and without
//      what ZeRO gathers before;
//   2. how the values are cut that results of nodes still are; partial sums as they are read;
//   3. these as devices: rank r of the mesh is device r.
//
//===----------------------------------------------------------------------===//
#include "dialects/dist/Dist.h"
#include "dialects/nn/Nn.h"
#include "dialects/train/Train.h"
#include "frontends/onnx/Reader.h"
#include "passes/analysis/NodeValues.h"
#include "passes/sharding/Axes.h"
#include "passes/sharding/annotate/RecipeShardings.h"
#include "tools/llmc/OnnxFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using llmc::dist::Sharding;
using llmc::onnx::ShardingSpec;

namespace llmc::tool {

namespace {

/// A dimension as the file has it: its factors, each with the axes that cut it.
struct Factor {
  std::optional<int64_t> size;
  dist::Axes axes;
};

class ShardingCollector {
public:
  ShardingCollector(ModuleOp module, const onnx::Model &model, const LoadedShapes &shapes)
      : module(module), model(model), shapes(shapes), mesh(dist::meshOf(module)),
        forward(module.lookupSymbol<func::FuncOp>(train::kEvaluate)) {}

  onnx::ShardingsToWrite run(const std::string &configuration) {
    result.configuration = configuration;
    result.devices = mesh.ranks();
    bool gathers = train::recipeOf(module).zero == 3;
    for (unsigned i = 0; i < forward.getNumArguments(); ++i) {
      StringRef role = train::argumentString(forward, i, train::kRole);
      if (role == train::kInput)
        addValue(train::argumentString(forward, i, train::kName),
                 Sharding::of(forward.getArgAttrOfType<dist::ShardingAttr>(i, dist::kSharding)), forward.getArgument(i));
      else if (role == train::kParam)
        addParameter(i, gathers);
    }
    analysis::NodeValues values(forward, [](Operation *) { return true; });
    for (const onnx::Node &node : model.nodes)
      for (auto [k, output] : llvm::enumerate(node.outputs))
        if (auto shape = shapes.find(output); shape != shapes.end())
          if (Value value = values.find(node.name, static_cast<int64_t>(k), static_cast<int64_t>(node.outputs.size()), shape->second))
            if (std::optional<Sharding> sharding = shardingOf(value))
              addValue(output, *sharding, value);
    return std::move(result);
  }

private:
  static Sharding resultSharding(Value value) {
    auto result = cast<OpResult>(value);
    auto shardings = result.getOwner()->getAttrOfType<ArrayAttr>(dist::kShardings);
    return shardings ? Sharding::of(cast<dist::ShardingAttr>(shardings[result.getResultNumber()]))
                     : Sharding::whole(cast<RankedTensorType>(value.getType()).getRank());
  }

  /// How a value is held. One that is resharded for all its readers is as they read it; nothing if it is a partial sum for
  /// some, such as a loss, which is summed once in a step.
  static std::optional<Sharding> shardingOf(Value value) {
    Sharding sharding = resultSharding(value);
    if (value.hasOneUse())
      if (auto reshard = dyn_cast<dist::ReshardOp>(*value.user_begin());
          reshard && !reshard.getReason().starts_with("output ") &&
          (sharding.isPartial() || reshard.getReason().starts_with("onnx sharding of ")))
        sharding = Sharding::of(reshard.getTo());
    return sharding.isPartial() ? std::nullopt : std::optional(sharding);
  }

  void addValue(StringRef name, const Sharding &sharding, Value value) {
    auto type = cast<RankedTensorType>(value.getType());
    std::vector<std::vector<Factor>> dims;
    for (auto [d, axes] : llvm::enumerate(sharding.dims)) // dimension 0 may be of another size in the file
      dims.push_back({{d == 0 ? std::nullopt : std::optional(type.getDimSize(d)), axes}});
    add(name, dims);
  }

  void addParameter(unsigned argument, bool gathers) {
    Value value = forward.getArgument(argument);
    Sharding sharding = Sharding::of(forward.getArgAttrOfType<dist::ShardingAttr>(argument, dist::kSharding));
    // One that is held as rows is seen as a tensor behind them; the rows may be gathered before.
    for (Value at = value; !at.use_empty();) {
      Operation *user = *at.user_begin();
      if (auto tensor = dyn_cast<nn::UnflattenPartsOp>(user)) {
        value = tensor.getResult();
        sharding = resultSharding(value);
      }
      if (!isa<dist::ReshardOp>(user))
        break;
      at = user->getResult(0);
    }
    if (gathers)
      sharding = sharding::withoutData(sharding);
    ArrayRef<int64_t> stored = cast<RankedTensorType>(value.getType()).getShape(), logical = stored;
    if (auto shape = forward.getArgAttrOfType<DenseI64ArrayAttr>(argument, train::kShape))
      logical = shape.asArrayRef();
    SmallVector<int64_t> last = sharding::storedDims(stored, logical);
    std::vector<std::vector<Factor>> dims;
    int64_t begin = 0;
    for (auto [size, end] : llvm::zip_equal(logical, last)) {
      std::vector<Factor> &factors = dims.emplace_back();
      int64_t rest = size; // the last of several may be padded
      for (; begin <= end; ++begin) {
        factors.push_back({begin == end ? rest : stored[begin], sharding.dims[begin]});
        rest /= stored[begin];
      }
    }
    add(train::argumentString(forward, argument, train::kName), dims);
  }

  void add(StringRef name, const std::vector<std::vector<Factor>> &dims) {
    ShardingSpec spec;
    spec.tensor = name.str();
    dist::Axes all;
    for (auto [d, factors] : llvm::enumerate(dims)) {
      if (llvm::all_of(factors, [](const Factor &factor) { return factor.axes.empty(); }))
        continue;
      ShardingSpec::Dim &dim = spec.dims.emplace_back();
      dim.axis = static_cast<int64_t>(d);
      for (const Factor &factor : factors) {
        dim.parts.push_back({factor.size, mesh.size(factor.axes)});
        llvm::append_range(all, factor.axes);
      }
    }
    std::vector<std::vector<int64_t>> shards(mesh.size(all));
    for (int64_t rank = 0; rank < mesh.ranks(); ++rank)
      shards[mesh.index(rank, all)].push_back(rank);
    for (auto [k, ranks] : llvm::enumerate(shards)) {
      int64_t key = -1 - static_cast<int64_t>(k); // no number of a device
      spec.devices.push_back(ranks.size() == 1 ? ranks.front() : key);
      if (ranks.size() > 1)
        spec.groups.push_back({key, ranks});
    }
    result.specs[spec.tensor] = std::move(spec);
  }

  ModuleOp module;
  const onnx::Model &model;
  const LoadedShapes &shapes;
  dist::MeshAttr mesh;
  func::FuncOp forward;
  onnx::ShardingsToWrite result;
};

} // namespace

int writeShardedModel(ModuleOp module, const std::string &modelPath, const LoadedShapes &shapes,
                      const ShardedModelOptions &options) {
  if (!dist::meshOf(module))
    return fail(kBadInput, "the recipe's mesh has one rank, so there are no shardings to write", "mesh: {dp: 2, tp: 2}");
  onnx::ReadResult read = onnx::readModel(modelPath);
  if (!read.model)
    return report(read.problems);
  onnx::ShardingsToWrite shardings = ShardingCollector(module, *read.model, shapes).run(options.configuration);
  onnx::WriteOptions write;
  write.shardings = &shardings;
  auto folderOf = [](StringRef path) { return llvm::sys::path::parent_path(path).empty() ? "." : llvm::sys::path::parent_path(path); };
  write.keepExternal = llvm::sys::fs::equivalent(folderOf(modelPath), folderOf(options.output));
  write.keepMissing = true;
  if (int code = writeOnnx(*read.model, {}, write, options.output))
    return code;
  llvm::errs() << "note: " << options.output << ": configuration `" << options.configuration << "` of " << shardings.devices
               << " devices, shardings of " << shardings.specs.size() << " tensors\n";
  return kDone;
}

} // namespace llmc::tool
