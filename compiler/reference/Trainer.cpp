//===- Trainer.cpp - trains with the interpreter ---------------------------------===//
#include "compiler/reference/Trainer.h"
#include "compiler/reference/Ranks.h"
#include "compiler/reference/View.h"
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"

using namespace mlir;

namespace llmc::reference {

Trainer::Trainer(ModuleOp module, Arithmetic arithmetic)
    : module(module), mesh(dist::meshOf(module)), interpreter(arithmetic) {
  HostTensor lr = HostTensor::zeros(Float32Type::get(module.getContext()));
  lr.reals[0] = train::recipeOf(module).optimizer.lr;
  if (arithmetic == Arithmetic::AsTyped)
    roundTo(Float32Type::get(module.getContext()), lr);
  set("lr", lr);
  findViews();
}

/// State of a parameter that says no view of its own has the parameter's.
void Trainer::findViews() {
  for (auto function : module.getOps<func::FuncOp>())
    for (unsigned i = 0; i < function.getNumArguments(); ++i) {
      StringRef role = train::argumentString(function, i, train::kRole),
                name = train::argumentString(function, i, train::kName);
      if (function.getArgAttr(i, train::kView))
        views[{role.str(), name.str()}] = {function, i};
    }
}

void Trainer::set(StringRef name, HostTensor value) {
  for (StringRef role : {train::kParam, train::kBuffer, train::kScalar})
    if (llvm::any_of(module.getOps<func::FuncOp>(), [&](func::FuncOp function) { return train::findArgument(function, name, role) >= 0; }))
      state[{role.str(), name.str()}] = {value, {}, {}, false};
}

const Trainer::Key *Trainer::find(StringRef name) const {
  for (StringRef role : {train::kParam, train::kBuffer, train::kMoment, train::kScalar})
    if (auto it = state.find({role.str(), name.str()}); it != state.end())
      return &it->first;
  return nullptr;
}

const HostTensor *Trainer::get(StringRef name) const {
  const Key *key = find(name);
  return key ? &logicalOf(*key, state.at(*key)) : nullptr;
}

const HostTensor *Trainer::getStored(StringRef name) const {
  const Key *key = find(name);
  return key ? &wholeOf(state.at(*key)) : nullptr;
}

const HostTensor &Trainer::logicalOf(const Key &key, Held &held) const {
  auto view = views.find(key);
  if (view == views.end() && (key.first == train::kMoment || key.first == train::kGradient))
    view = views.find({train::kParam.str(), key.first == train::kMoment ? StringRef(key.second).split('.').second.str() : key.second});
  if (!held.stored || view == views.end())
    return wholeOf(held);
  if (!held.logical)
    held.logical = unviewed(wholeOf(held), view->second.first, view->second.second);
  return *held.logical;
}

const HostTensor &Trainer::wholeOf(Held &held) const {
  if (!held.whole && !mesh)
    held.whole = held.parts.front();
  if (!held.whole) {
    SmallVector<const HostTensor *> parts;
    for (const HostTensor &part : held.parts)
      parts.push_back(&part);
    held.whole = assemble(parts, held.sharding, mesh);
  }
  return *held.whole;
}

/// What each rank gets of an argument's value.
std::vector<HostTensor> Trainer::partsOf(const HostTensor &whole, func::FuncOp function, unsigned argument) const {
  if (!mesh)
    return {whole};
  dist::Sharding sharding =
      dist::Sharding::of(function.getArgAttrOfType<dist::ShardingAttr>(argument, dist::kSharding));
  std::vector<HostTensor> parts;
  for (int64_t rank = 0; rank < mesh.ranks(); ++rank)
    parts.push_back(partOf(whole, sharding, mesh, rank));
  return parts;
}

const HostTensor *Trainer::gradient(StringRef name) const {
  auto it = lastGradients.find(name.str());
  return it == lastGradients.end() ? nullptr : &it->second;
}

LogicalResult Trainer::call(func::FuncOp function, const Inputs &inputs) {
  std::vector<std::vector<HostTensor>> arguments(ranks());
  for (unsigned i = 0; i < function.getNumArguments(); ++i) {
    std::string name = train::argumentString(function, i, train::kName).str();
    std::string role = train::argumentString(function, i, train::kRole).str();
    std::vector<HostTensor> parts;
    if (auto value = function.getArgAttrOfType<ElementsAttr>(i, train::kValue)) {
      FailureOr<HostTensor> constant = HostTensor::fromAttribute(value);
      if (failed(constant))
        return function.emitError() << "constant '" << name << "' has no value";
      parts = partsOf(*constant, function, i);
    } else if (role == train::kInput || role == train::kPosition) {
      auto it = inputs.find(name);
      if (it == inputs.end())
        return function.emitError() << "nothing feeds input '" << name << "'";
      parts = partsOf(it->second, function, i);
    } else if (auto it = state.find({role, name}); it != state.end()) {
      if (it->second.parts.empty() && role == train::kParam && !it->second.stored) {
        it->second.whole = viewed(std::move(*it->second.whole), function, i);
        it->second.stored = true;
      }
      parts = it->second.parts.empty() ? partsOf(*it->second.whole, function, i) : it->second.parts;
    } else {
      parts.assign(ranks(), HostTensor::zeros(function.getArgumentTypes()[i]));
    }
    for (auto [list, part] : llvm::zip_equal(arguments, parts)) {
      if (part.shape != cast<RankedTensorType>(function.getArgumentTypes()[i]).getShape())
        return function.emitError() << "value of '" << name << "' has another shape than "
                                    << function.getArgumentTypes()[i];
      list.push_back(std::move(part));
    }
  }
  FailureOr<std::vector<std::vector<HostTensor>>> results = interpreter.runRanks(function, std::move(arguments));
  if (failed(results))
    return failure();
  for (unsigned i = 0; i < function.getNumResults(); ++i) {
    Held held;
    if (auto sharding = function.getResultAttrOfType<dist::ShardingAttr>(i, dist::kSharding))
      held.sharding = dist::Sharding::of(sharding);
    for (std::vector<HostTensor> &list : *results)
      held.parts.push_back(std::move(list[i]));
    std::string name = train::resultString(function, i, train::kName).str();
    std::string role = train::resultString(function, i, train::kRole).str();
    if (role == train::kOutput)
      outputs[name] = wholeOf(held);
    else
      state[{role, name}] = std::move(held);
  }
  return success();
}

LogicalResult Trainer::step(ArrayRef<Inputs> microBatches) {
  auto accumulate = module.lookupSymbol<func::FuncOp>(train::kAccumulate),
       update = module.lookupSymbol<func::FuncOp>(train::kUpdate);
  const HostTensor *count = get("step");
  int64_t samples = 0;
  for (const Inputs &batch : microBatches) {
    Inputs inputs = batch;
    inputs["position"] = {{2}, false, {}, {count ? count->integers[0] : 0, samples}};
    auto first = llvm::find_if(batch, [](const auto &input) { return input.second.rank() > 0; }); // a scalar is for all samples
    if (first != batch.end())
      samples += first->second.shape[0];
    if (failed(call(accumulate, inputs)))
      return failure();
  }
  lastGradients.clear();
  double weight = wholeOf(state.at({train::kAccumulator.str(), "weight"})).reals[0];
  if (weight == 0) // no label counts, and all gradients are zero
    weight = 1;
  for (auto &[key, held] : state)
    if (key.first == train::kGradient) {
      HostTensor &average = lastGradients[key.second] = logicalOf(key, held);
      for (double &value : average.reals)
        value /= weight;
    }
  return call(update, {});
}

FailureOr<std::map<std::string, HostTensor>> Trainer::evaluate(StringRef function, const Inputs &inputs) {
  auto callee = module.lookupSymbol<func::FuncOp>(function);
  if (!callee)
    return module.emitError() << "no function @" << function;
  std::map<std::string, HostTensor> saved;
  std::swap(saved, outputs);
  LogicalResult result = call(callee, inputs);
  std::swap(saved, outputs);
  if (failed(result))
    return failure();
  return saved;
}

} // namespace llmc::reference
