//===- GraphOrder.cpp - function inlining and topological order ------===//
#include "frontends/onnx/ReaderParts.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringSet.h"
#include <functional>
#include <set>

using llvm::StringRef;
using namespace llmc;
using namespace llmc::onnx;

static constexpr size_t kMaxNodes = 1000000;
static constexpr size_t kMaxDepth = 64;

/// Gives every name in the graphs of `node`, and in theirs, a new one. Copies the graphs: attributes share them.
static void renameGraphs(Node &node, const std::function<void(std::string &)> &rename) {
  for (std::string &name : node.captures)
    rename(name);
  for (NodeAttribute &attribute : node.attributes) {
    if (!attribute.graph)
      continue;
    attribute.graph = std::make_shared<Subgraph>(*attribute.graph);
    for (Tensor &tensor : attribute.graph->initializers)
      rename(tensor.name);
    for (Node &inner : attribute.graph->nodes) {
      for (std::string &name : inner.inputs)
        rename(name);
      for (std::string &name : inner.outputs)
        rename(name);
      renameGraphs(inner, rename);
    }
    for (std::string &name : attribute.graph->inputs)
      rename(name);
    for (std::string &name : attribute.graph->outputs)
      rename(name);
  }
}

/// Renames what the graphs of `node` define and read. `outer` maps names around the node to new ones; returns those that are
/// read of them, by their new names.
static std::set<std::string> nameInside(Node &node, const llvm::StringMap<std::string> &outer) {
  std::set<std::string> captured;
  for (NodeAttribute &attribute : node.attributes) {
    if (!attribute.graph)
      continue;
    Subgraph &graph = *attribute.graph;
    // The first output is unique, the node's name need not be.
    std::string prefix = (node.outputs.empty() ? node.name : node.outputs.front()) + "/" + attribute.name + "/";
    llvm::StringMap<std::string> names = outer;
    llvm::StringSet<> own;
    auto define = [&](std::string &name) {
      if (name.empty())
        return;
      own.insert(prefix + name);
      names[name] = prefix + name;
      name = prefix + name;
    };
    auto use = [&](std::string &name) {
      if (name.empty())
        return;
      if (auto it = names.find(name); it != names.end())
        name = it->second;
      if (!own.contains(name))
        captured.insert(name);
    };
    for (std::string &name : graph.inputs)
      define(name);
    for (Tensor &tensor : graph.initializers)
      define(tensor.name);
    for (Node &inner : graph.nodes) {
      inner.name = prefix + inner.name;
      for (std::string &name : inner.outputs)
        define(name);
    }
    for (Node &inner : graph.nodes) {
      for (std::string &name : inner.inputs)
        use(name);
      for (const std::string &name : nameInside(inner, names))
        if (!own.contains(name))
          captured.insert(name);
    }
    for (std::string &name : graph.outputs)
      use(name);
  }
  node.captures.assign(captured.begin(), captured.end());
  return captured;
}

void llmc::onnx::nameGraphs(Node &node) { nameInside(node, {}); }

namespace {
class Inliner {
public:
  Inliner(const FunctionTable &functions, Problems &problems) : functions(functions), problems(problems) {}

  void run(std::vector<Node> &&nodes, std::vector<Node> &out) {
    for (Node &node : nodes) {
      if (out.size() > kMaxNodes) {
        if (!full)
          problems.push_back({"inlining the functions makes more than a million nodes", node.name, ""});
        full = true;
        return;
      }
      for (NodeAttribute &attribute : node.attributes)
        if (attribute.graph) {
          std::vector<Node> inner;
          run(std::move(attribute.graph->nodes), inner);
          attribute.graph->nodes = std::move(inner);
        }
      auto it = functions.find(node.domain + "::" + node.op);
      if (it == functions.end())
        out.push_back(std::move(node));
      else
        expand(node, it->first, it->second, out);
    }
  }

private:
  void expand(const Node &call, const std::string &key, const Function &function, std::vector<Node> &out) {
    if (!active.insert(key).second || active.size() > kMaxDepth) {
      problems.push_back({"function `" + call.op + "` calls itself", call.name, "ONNX functions must not be recursive"});
      return;
    }
    if (call.inputs.size() > function.inputs.size() || call.outputs.size() > function.outputs.size())
      problems.push_back({"function `" + call.op + "` is called with too many inputs or outputs", call.name, ""});
    llvm::StringMap<std::string> names;
    for (size_t i = 0; i < function.inputs.size(); ++i)
      names[function.inputs[i]] = i < call.inputs.size() ? call.inputs[i] : "";
    for (size_t i = 0; i < function.outputs.size(); ++i)
      if (i < call.outputs.size() && !call.outputs[i].empty()) {
        if (names.count(function.outputs[i]))
          passThrough(call, names[function.outputs[i]], call.outputs[i], out);
        else
          names[function.outputs[i]] = call.outputs[i];
      }
    size_t first = out.size();
    std::vector<Node> body;
    for (const Node &inner : function.nodes)
      body.push_back(instantiate(inner, call, function, names));
    run(std::move(body), out);
    if (out.size() > first)
      for (NodeDevices devices : call.devices) { // the call is gone, what it says of its tensors is not
        devices.call = devices.call.empty() ? call.where() : devices.call;
        out[first].devices.push_back(std::move(devices));
      }
    active.erase(key);
  }

  /// An output that is an input of the function.
  void passThrough(const Node &call, const std::string &from, const std::string &to, std::vector<Node> &out) {
    Node identity;
    identity.op = "Identity";
    identity.version = 1;
    identity.name = call.name + "/" + to;
    identity.inputs = {from};
    identity.outputs = {to};
    out.push_back(identity);
  }

  Node instantiate(const Node &inner, const Node &call, const Function &function, llvm::StringMap<std::string> &names) {
    Node node = inner;
    node.name = call.name + "/" + inner.name;
    std::function<void(std::string &)> rename = [&](std::string &name) {
      if (name.empty())
        return;
      auto [it, fresh] = names.try_emplace(name);
      if (fresh)
        it->second = call.name + "/" + name;
      name = it->second;
    };
    for (std::string &name : node.inputs)
      rename(name);
    for (std::string &name : node.outputs)
      rename(name);
    renameGraphs(node, rename);
    for (NodeDevices &devices : node.devices)
      for (ShardingSpec &spec : devices.specs)
        rename(spec.tensor);
    if (node.file.empty()) {
      node.file = call.file;
      node.line = call.line;
    }
    if (node.scopes.empty())
      node.scopes = call.scopes;
    std::vector<NodeAttribute> attributes;
    for (NodeAttribute &attribute : node.attributes) {
      if (attribute.reference.empty()) {
        attributes.push_back(std::move(attribute));
        continue;
      }
      const NodeAttribute *given = call.attribute(attribute.reference);
      for (const NodeAttribute &fallback : function.defaults)
        if (!given && fallback.name == attribute.reference)
          given = &fallback;
      if (!given) // optional and not given: the inner operator's default holds
        continue;
      attributes.push_back(*given);
      attributes.back().name = attribute.name;
    }
    node.attributes = std::move(attributes);
    return node;
  }

  const FunctionTable &functions;
  Problems &problems;
  std::set<std::string> active;
  bool full = false;
};
} // namespace

void llmc::onnx::inlineFunctions(std::vector<Node> &nodes, const FunctionTable &functions, Problems &problems) {
  if (functions.empty())
    return;
  std::vector<Node> out;
  Inliner(functions, problems).run(std::move(nodes), out);
  nodes = std::move(out);
}

void llmc::onnx::sortNodes(Model &model, Problems &problems) {
  constexpr size_t kGiven = SIZE_MAX; // inputs and initializers
  llvm::StringMap<size_t> producer;
  for (const ValueInfo &input : model.inputs)
    if (!producer.try_emplace(input.name, kGiven).second)
      problems.push_back({"two inputs are named `" + input.name + "`", model.file, ""});
  for (const Tensor &tensor : model.initializers)
    producer.try_emplace(tensor.name, kGiven);
  for (size_t i = 0; i < model.nodes.size(); ++i)
    for (const std::string &name : model.nodes[i].outputs)
      if (!name.empty() && !producer.try_emplace(name, i).second)
        problems.push_back({"the value `" + name + "` is defined twice", model.nodes[i].where(),
                            "an ONNX graph defines each value once; export it again"});

  std::vector<size_t> waiting(model.nodes.size());
  std::vector<std::vector<size_t>> users(model.nodes.size());
  for (size_t i = 0; i < model.nodes.size(); ++i) {
    std::vector<std::string> read = model.nodes[i].inputs;
    read.insert(read.end(), model.nodes[i].captures.begin(), model.nodes[i].captures.end());
    for (const std::string &name : read) {
      if (name.empty())
        continue;
      auto it = producer.find(name);
      if (it == producer.end()) {
        problems.push_back({"the input `" + name + "` of this node is defined nowhere", model.nodes[i].where(),
                            "the graph is incomplete; export it again"});
      } else if (it->second != kGiven) {
        users[it->second].push_back(i);
        ++waiting[i];
      }
    }
  }
  std::set<size_t> ready; // by place in the file, so that a sorted graph keeps its order
  for (size_t i = 0; i < waiting.size(); ++i)
    if (waiting[i] == 0)
      ready.insert(i);
  std::vector<Node> sorted;
  while (!ready.empty()) {
    size_t next = *ready.begin();
    ready.erase(ready.begin());
    for (size_t user : users[next])
      if (--waiting[user] == 0)
        ready.insert(user);
    sorted.push_back(std::move(model.nodes[next]));
  }
  if (sorted.size() != model.nodes.size()) {
    size_t stuck = 0;
    while (waiting[stuck] == 0)
      ++stuck;
    problems.push_back({"the graph has a cycle through this node", model.nodes[stuck].where(),
                        std::to_string(model.nodes.size() - sorted.size()) + " nodes wait for each other"});
  }
  model.nodes = std::move(sorted);
  for (const ValueInfo &output : model.outputs)
    if (!producer.count(output.name))
      problems.push_back({"the output `" + output.name + "` is defined nowhere", model.file, ""});
}

void llmc::onnx::dropUnusedOutputs(Model &model) {
  llvm::StringSet<> used;
  std::function<void(const Node &)> read = [&](const Node &node) {
    used.insert(node.inputs.begin(), node.inputs.end());
    for (const NodeAttribute &attribute : node.attributes)
      if (attribute.graph) {
        used.insert(attribute.graph->outputs.begin(), attribute.graph->outputs.end());
        llvm::for_each(attribute.graph->nodes, read);
      }
  };
  for (const ValueInfo &output : model.outputs)
    used.insert(output.name);
  llvm::for_each(model.nodes, read);
  std::function<void(Node &)> drop = [&](Node &node) {
    if (llvm::any_of(node.outputs, [&](const std::string &name) { return used.contains(name); }))
      for (std::string &name : node.outputs)
        if (!used.contains(name))
          name.clear();
    for (NodeAttribute &attribute : node.attributes)
      if (attribute.graph)
        llvm::for_each(attribute.graph->nodes, drop);
  };
  llvm::for_each(model.nodes, drop);
}
