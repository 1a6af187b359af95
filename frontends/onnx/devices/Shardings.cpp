//===- Shardings.cpp - the model's own shardings, in axes of a mesh ------===//
//
//   1. which shard each device has, from a spec's list of devices and its groups: every device has exactly one;
//   2. for each part of each dimension, the axes of the mesh whose places these are (DeviceMesh.h);
//   3. one sharding per tensor.
// Everything here comes from a file: counts are checked before anything is allocated or multiplied.
//
//===----------------------------------------------------------------------===//
#include "frontends/onnx/devices/Shardings.h"
#include "frontends/onnx/devices/DeviceMesh.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CheckedArithmetic.h"
#include <set>

using llvm::StringRef;
using namespace llmc;
using namespace llmc::onnx;
using train::ModelSharding;

namespace {

constexpr size_t kShown = 16; // devices, or names, in a message

std::string listOf(llvm::ArrayRef<int64_t> numbers) {
  std::string text;
  for (int64_t number : numbers.take_front(kShown))
    text += (text.empty() ? "" : ", ") + std::to_string(number);
  return "[" + text + (numbers.size() > kShown ? ", ..." : "") + "]";
}

/// The devices as the spec lists them, groups in parentheses.
std::string devicesOf(const ShardingSpec &spec) {
  std::string text;
  for (int64_t device : llvm::ArrayRef(spec.devices).take_front(kShown)) {
    auto group = llvm::find_if(spec.groups, [&](auto &entry) { return entry.first == device; });
    text += (text.empty() ? "" : ", ") + (group == spec.groups.end() ? std::to_string(device) : listOf(group->second));
  }
  return "[" + text + (spec.devices.size() > kShown ? ", ..." : "") + "]";
}

class ShardingReader {
public:
  ShardingReader(const Model &model, const train::Recipe &recipe, const Roles &roles, const Shapes &shapes)
      : model(model), name(recipe.onnxSharding), roles(roles), shapes(shapes), mesh(recipe) {}

  ShardingsResult run() {
    if (!findConfiguration())
      return std::move(result);
    for (const Node &node : model.nodes)
      for (auto [k, output] : llvm::enumerate(node.outputs))
        if (!output.empty())
          producers[output] = {&node, k};
    // What a node says of its results goes before what readers say of them.
    for (bool ofResults : {true, false})
      for (const Node &node : model.nodes)
        for (const NodeDevices &devices : node.devices)
          visit(node, devices, ofResults);
    note(constants, "are whole on every rank, being constants: ");
    note(notComputed, "are not computed: ");
    note(others, "are read otherwise than they are made; they are read as they are made: ");
    for (auto &[tensor, sharding] : found)
      result.shardings.push_back(sharding);
    return std::move(result);
  }

private:
  using Where = std::string;

  void problem(const llvm::Twine &message, const Where &where, const llvm::Twine &hint = "",
               int exitCode = Problem::kBadInput) {
    result.problems.push_back({message.str(), where, hint.str(), exitCode});
  }

  void note(const llvm::MapVector<StringRef, StringRef> &list, StringRef what) {
    std::string names;
    size_t count = 0;
    for (auto &[tensor, node] : list)
      if (count++ < kShown)
        names += (names.empty() ? "" : ", ") + tensor.str() + " (" + node.str() + ")";
    if (count > 0)
      result.notes.push_back("`onnx_sharding`: " + std::to_string(count) + (count == 1 ? " tensor" : " tensors") +
                             " that the model cuts " + what.str() + names + (count > kShown ? ", ..." : ""));
  }

  bool findConfiguration() {
    const DeviceConfiguration *chosen = nullptr;
    std::string known;
    for (const DeviceConfiguration &each : model.configurations) {
      known += (known.empty() ? "" : ", ") + each.name;
      if (each.name != name)
        continue;
      if (chosen)
        problem("configuration `" + name + "` is defined twice", model.file);
      chosen = &each;
    }
    if (!chosen) {
      problem("`onnx_sharding: " + name + "` names no configuration of the model", "onnx_sharding",
              known.empty() ? "the model has none; `llmc plan MODEL -r RECIPE -o FILE.onnx` writes one" : "it has " + known);
      return false;
    }
    if (chosen->deviceNames != 0 && chosen->deviceNames != chosen->devices)
      problem("configuration `" + name + "` has " + llvm::Twine(chosen->devices) + " devices and " +
                  llvm::Twine(chosen->deviceNames) + " names of devices",
              model.file);
    if (chosen->devices < 1 || mesh.ranks() != chosen->devices)
      problem("configuration `" + name + "` has " + llvm::Twine(chosen->devices) + " devices, the mesh (" + mesh.text() + ") has " +
                  (mesh.ranks() ? llvm::Twine(*mesh.ranks()) : llvm::Twine("too many")) + " ranks",
              "onnx_sharding", "give a mesh with one rank for each device");
    count = chosen->devices;
    return result.problems.empty();
  }

  void visit(const Node &node, const NodeDevices &devices, bool ofResults) {
    Where where = devices.call.empty() ? node.where() : devices.call;
    bool known = llvm::any_of(model.configurations, [&](auto &each) { return each.name == devices.configuration; });
    if (!known && ofResults && unknown.insert(devices.configuration).second)
      problem("`" + devices.configuration + "` is no configuration of the model", where);
    if (devices.configuration != name)
      return;
    if (devices.hasStage && ofResults && !stageSeen) {
      stageSeen = true;
      problem("configuration `" + name + "` has pipeline stages, which are not supported yet", where,
              "use a configuration without `pipeline_stage`", Problem::kUnsupported);
    }
    for (const ShardingSpec &spec : devices.specs) {
      bool isResult = llvm::is_contained(node.outputs, spec.tensor);
      bool isOwn = isResult || llvm::is_contained(node.inputs, spec.tensor) || !devices.call.empty();
      if (spec.tensor.empty() || !isOwn) {
        if (ofResults)
          problem("a sharding is of tensor `" + spec.tensor + "`, which is neither input nor output of the node", where);
      } else if (isResult == ofResults) {
        read(node, spec, where);
      }
    }
  }

  void read(const Node &node, const ShardingSpec &spec, const Where &where) {
    auto shape = shapes.find(spec.tensor);
    if (shape == shapes.end()) {
      notComputed.insert({spec.tensor, node.name});
      return;
    }
    ModelSharding sharding;
    sharding.tensor = spec.tensor;
    sharding.node = node.name;
    sharding.shape.assign(shape->second.begin(), shape->second.end());
    bool isInput = llvm::any_of(model.inputs, [&](const ValueInfo &input) { return input.name == spec.tensor; });
    if (auto producer = producers.find(spec.tensor); producer != producers.end()) {
      sharding.kind = ModelSharding::Value;
      sharding.node = producer->second.first->name;
      sharding.output = static_cast<int64_t>(producer->second.second);
      sharding.outputs = static_cast<int64_t>(producer->second.first->outputs.size());
    } else if (isInput) {
      sharding.kind = ModelSharding::Input;
    } else if (roles.of(spec.tensor) != Kind::Parameter) {
      if (!spec.dims.empty())
        constants.insert({spec.tensor, node.name});
      return;
    }
    if (!convert(spec, sharding, where))
      return;
    auto [it, isNew] = found.insert({spec.tensor, sharding});
    if (isNew || it->second.dims == sharding.dims)
      return;
    if (sharding.kind == ModelSharding::Value)
      others.insert({spec.tensor, node.name});
    else
      problem("tensor `" + spec.tensor + "` is cut in two ways, here and at " + it->second.node, where,
              "every node must say the same of a parameter or an input");
  }

  /// The number of shards, checked against the dimensions; nothing after a problem.
  std::optional<int64_t> countShards(const ShardingSpec &spec, const ModelSharding &sharding, const Where &where);
  /// The shard of each device; nothing after a problem.
  std::optional<std::vector<int64_t>> placeShards(const ShardingSpec &spec, int64_t shards, const Where &where);
  bool convert(const ShardingSpec &spec, ModelSharding &sharding, const Where &where);

  const Model &model;
  const std::string &name;
  const Roles &roles;
  const Shapes &shapes;
  DeviceMesh mesh;
  int64_t count = 0; // of devices
  bool stageSeen = false;
  std::set<std::string> unknown; // configurations that were reported
  llvm::StringMap<std::pair<const Node *, size_t>> producers;
  llvm::MapVector<StringRef, ModelSharding> found;
  llvm::MapVector<StringRef, StringRef> constants, notComputed, others; // tensor -> node
  ShardingsResult result;
};

std::optional<int64_t> ShardingReader::countShards(const ShardingSpec &spec, const ModelSharding &sharding,
                                                   const Where &where) {
  auto fail = [&](const llvm::Twine &message) {
    problem("sharding of `" + spec.tensor + "`: " + message, where);
    return std::nullopt;
  };
  auto rank = static_cast<int64_t>(sharding.shape.size());
  std::vector<bool> seen(rank);
  int64_t shards = 1;
  for (const ShardingSpec::Dim &dim : spec.dims) {
    if (!dim.axis || *dim.axis < -rank || *dim.axis >= rank)
      return fail(dim.axis ? "axis " + llvm::Twine(*dim.axis) + " is outside a tensor of rank " + llvm::Twine(rank)
                           : llvm::Twine("a sharded dimension names no axis"));
    int64_t axis = *dim.axis < 0 ? *dim.axis + rank : *dim.axis, size = sharding.shape[axis], product = 1;
    if (seen[axis])
      return fail("axis " + llvm::Twine(axis) + " stands twice");
    seen[axis] = true;
    if (dim.parts.empty())
      return fail("axis " + llvm::Twine(axis) + " has no `simple_sharding`");
    // The first dimension of what depends on inputs may be resized to the micro-batch.
    bool isResized = sharding.kind != ModelSharding::Param && axis == 0, complete = true;
    for (const ShardingSpec::Part &part : dim.parts) {
      if (part.shards < 1 || (!isResized && part.shards > part.size.value_or(size)))
        return fail("axis " + llvm::Twine(axis) + " is cut into " + llvm::Twine(part.shards) + " shards, of size " +
                    llvm::Twine(part.size.value_or(size)));
      complete &= part.size.has_value();
      auto all = llvm::checkedMul(shards, part.shards), sizes = llvm::checkedMul(product, part.size.value_or(1));
      if (!all || !sizes || *all > count)
        return fail("it has more shards than the " + llvm::Twine(count) + " devices of the configuration");
      shards = *all;
      product = *sizes;
    }
    if (!isResized && (complete ? product != size : dim.parts.size() > 1))
      return fail("axis " + llvm::Twine(axis) + " has size " + llvm::Twine(size) + ", its `simple_sharding` " +
                  (complete ? "makes " + llvm::Twine(product) : llvm::Twine("leaves a size open")));
  }
  return shards;
}

std::optional<std::vector<int64_t>> ShardingReader::placeShards(const ShardingSpec &spec, int64_t shards, const Where &where) {
  auto fail = [&](const llvm::Twine &message, const llvm::Twine &hint = "") {
    problem("sharding of `" + spec.tensor + "`: " + message, where, hint);
    return std::nullopt;
  };
  std::map<int64_t, llvm::ArrayRef<int64_t>> groups;
  for (const auto &[key, devices] : spec.groups)
    if (!groups.try_emplace(key, devices).second)
      return fail("group " + llvm::Twine(key) + " is defined twice");
  // A list of devices without a cut says who holds the whole.
  bool isWhole = shards == 1;
  if (isWhole && spec.devices.empty())
    return std::vector<int64_t>();
  if (!isWhole && static_cast<int64_t>(spec.devices.size()) != shards)
    return fail(llvm::Twine(spec.devices.size()) + " devices or groups are given for " + llvm::Twine(shards) + " shards");
  std::map<int64_t, int64_t> shardOf;
  for (auto [shard, entry] : llvm::enumerate(spec.devices)) {
    auto group = groups.find(entry);
    for (int64_t device : group == groups.end() ? llvm::ArrayRef(entry) : group->second) {
      if (device < 0 || device >= count)
        return fail("device " + llvm::Twine(device) + " is out of range, the configuration has " + llvm::Twine(count));
      if (!shardOf.try_emplace(device, isWhole ? 0 : shard).second)
        return fail("device " + llvm::Twine(device) + " stands twice in " + devicesOf(spec));
    }
  }
  if (static_cast<int64_t>(shardOf.size()) != count)
    return fail("only " + llvm::Twine(shardOf.size()) + " of the " + llvm::Twine(count) + " devices hold a part: " + devicesOf(spec),
                "list every device; those that hold the same part form a group in `index_to_device_group_map`");
  std::vector<int64_t> places; // by device, which the map is sorted by
  for (auto [device, shard] : shardOf)
    places.push_back(shard);
  return places;
}

bool ShardingReader::convert(const ShardingSpec &spec, ModelSharding &sharding, const Where &where) {
  std::optional<int64_t> shards = countShards(spec, sharding, where);
  std::optional<std::vector<int64_t>> places = shards ? placeShards(spec, *shards, where) : std::nullopt;
  if (!places)
    return false;
  auto rank = static_cast<int64_t>(sharding.shape.size());
  sharding.dims.assign(rank, {ModelSharding::Factor()});
  std::vector<std::string> used;
  int64_t minor = *shards;
  for (const ShardingSpec::Dim &dim : spec.dims) {
    std::vector<ModelSharding::Factor> &factors = sharding.dims[*dim.axis < 0 ? *dim.axis + rank : *dim.axis];
    factors.clear();
    for (const ShardingSpec::Part &part : dim.parts) {
      minor /= part.shards;
      std::optional<DeviceMesh::Axes> axes = mesh.find(*places, minor, part.shards, used);
      if (!axes) {
        problem("sharding of `" + spec.tensor + "`: the " + llvm::Twine(part.shards) + " shards of axis " + llvm::Twine(*dim.axis) +
                    " on devices " + devicesOf(spec) + " are no places of axes of the mesh (" + mesh.text() + ")",
                where, "device d is rank d; ranks are numbered row-major over the axes of the mesh, in the recipe's order");
        return false;
      }
      factors.push_back({dim.parts.size() == 1 ? 0 : part.size.value_or(0), *axes});
    }
  }
  return true;
}

} // namespace

ShardingsResult llmc::onnx::readShardings(const Model &model, const train::Recipe &recipe, const Roles &roles,
                                          const Shapes &shapes) {
  return ShardingReader(model, recipe, roles, shapes).run();
}
