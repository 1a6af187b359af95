//===- Annotate.cpp - sharding-annotate ------------------------------------------===//
//
//   1. how parameters are cut over tensor ranks, found in @evaluate, or said by the model, or by the recipe;
//   2. how state and inputs are cut besides, over data ranks: state with a dimension that they divide, see FlattenState.cpp
//      for the rest;
//   3. the mesh, whose axes become several where some dimension has fewer parts than an axis has places; and attributes.
//
//===----------------------------------------------------------------------===//
#include "dialects/dist/Dist.h"
#include "dialects/nn/Nn.h"
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "passes/sharding/Axes.h"
#include "passes/sharding/Passes.h"
#include "passes/sharding/annotate/ModelShardings.h"
#include "passes/sharding/annotate/RecipeShardings.h"
#include "passes/sharding/annotate/TensorParallel.h"

#include <numeric>

namespace llmc::sharding {
#define GEN_PASS_DEF_SHARDINGANNOTATE
#include "passes/sharding/Passes.h.inc"
} // namespace llmc::sharding

using namespace mlir;
using namespace llmc;
using sharding::Cuts;
using sharding::DimCuts;

namespace {

struct Annotate : sharding::impl::ShardingAnnotateBase<Annotate> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (dist::meshOf(module))
      return; // given in the IR
    train::Recipe recipe = train::recipeOf(module);
    axes = {};
    for (auto &[name, size] : recipe.mesh)
      if (size > 1)
        axes.add(axis(name), size);
    if (axes.empty())
      return;
    for (auto &[name, size] : recipe.mesh)
      if (size > 1 && name != "dp_replicate" && name != "dp" && name != "tp") {
        module.emitError() << "mesh axis '" << name
                           << "' is not supported: this compiler shards over dp_replicate, dp and tp";
        return signalPassFailure();
      }
    for (auto &[name, size] : recipe.mesh)
      if (size > 1 && name != "tp")
        dataAxes.push_back(axis(name));
    zero = recipe.zero;
    samples = recipe.batch.micro;
    if (failed(cutParameters(module, recipe)))
      return signalPassFailure();
    bool valid = true;
    for (auto function : module.getOps<func::FuncOp>())
      valid &= collect(function);
    if (!valid)
      return signalPassFailure();
    module->setAttr(dist::kMesh, axes.mesh(&getContext()));
    if (auto forward = module.lookupSymbol<func::FuncOp>(train::kEvaluate); forward && !recipe.modelSharding.empty())
      module->setAttr(dist::kWanted, sharding::wantedOf(forward, recipe, axes));
    for (auto &[function, isResult, index, cuts] : places)
      if (isResult)
        function.setResultAttr(index, dist::kSharding, attributeOf(cuts));
      else
        function.setArgAttr(index, dist::kSharding, attributeOf(cuts));
  }

private:
  StringAttr axis(StringRef name) { return StringAttr::get(&getContext(), name); }

  /// Says where tensor ranks compute the same heads.
  static void remarkOnHeads(func::FuncOp forward, int64_t ranks) {
    for (auto attention : forward.getOps<nn::AttentionOp>())
      if (int64_t heads = nn::typeOf(attention.getQuery()).getDimSize(2); heads % ranks != 0) {
        attention.emitRemark() << "axis tp of " << ranks << " ranks does not divide the " << heads
                               << " heads: attention is cut into " << std::gcd(ranks, heads)
                               << " parts, which several ranks compute; make tp a divisor of " << heads;
        return;
      }
  }

  LogicalResult cutParameters(ModuleOp module, const train::Recipe &recipe) {
    auto forward = module.lookupSymbol<func::FuncOp>(train::kEvaluate);
    StringAttr tensor = axis("tp");
    if (!forward)
      return success();
    if (axes.size(tensor) > 1)
      for (auto &[name, cut] : sharding::findTensorParallel(forward, axes.size(tensor))) {
        auto type =
            cast<RankedTensorType>(forward.getArgumentTypes()[train::findArgument(forward, name, train::kParam)]);
        Cuts cuts(type.getRank());
        cuts[cut.dim].push_back({tensor, cut.parts});
        (void)axes.admit(tensor, cut.parts);
        parameters[name] = cuts;
      }
    remarkOnHeads(forward, axes.size(tensor));
    bool valid = succeeded(sharding::readModelShardings(forward, recipe, axes, parameters));
    valid &= succeeded(sharding::admitValues(forward, recipe, axes));
    std::map<std::string, Cuts> ofModel = parameters;
    valid &= succeeded(sharding::readRecipeShardings(forward, recipe, axes, parameters));
    for (const train::ModelSharding &each : recipe.modelSharding)
      if (auto it = parameters.find(each.tensor); it != parameters.end() && it->second != ofModel[each.tensor])
        forward.emitRemark() << "`sharding` of the recipe goes before the model's for parameter '" << each.tensor << "'";
    return success(valid && succeeded(checkInputs(forward, recipe)));
  }

  /// Inputs are filled by the data loader, by samples over data ranks; the model may say just that.
  LogicalResult checkInputs(func::FuncOp forward, const train::Recipe &recipe) {
    bool valid = true;
    for (const train::ModelSharding &each : recipe.modelSharding) {
      int64_t argument = train::findArgument(forward, each.tensor, train::kInput);
      if (each.kind != train::ModelSharding::Input || argument < 0)
        continue;
      Cuts said(each.dims.size());
      for (auto [own, factors] : llvm::zip_equal(said, each.dims))
        for (const auto &factor : factors)
          for (const auto &cut : factor.axes)
            own.push_back({axis(cut.name), cut.parts});
      std::optional<Cuts> needed = cutsOfInput(forward, static_cast<unsigned>(argument), valid);
      if (needed && *needed == said)
        continue;
      valid = false;
      emitError(NameLoc::get(axis(each.node)))
          << "`onnx_sharding`: input '" << each.tensor << "' is cut otherwise than by its samples over data ranks, which "
          << (needed && !needed->empty() && !needed->front().empty() ? "cut dimension 0" : "leave it whole")
          << "; say that, or nothing of it";
    }
    return success(valid);
  }

  bool collect(func::FuncOp function) {
    for (unsigned i = 0; i < function.getNumResults(); ++i) {
      auto type = cast<RankedTensorType>(function.getResultTypes()[i]);
      if (auto cuts = cutsOfState(train::resultString(function, i, train::kRole),
                                  train::resultString(function, i, train::kName), type))
        places.push_back({function, true, i, *cuts});
    }
    bool valid = true;
    for (unsigned i = 0; i < function.getNumArguments(); ++i) {
      auto type = cast<RankedTensorType>(function.getArgumentTypes()[i]);
      StringRef role = train::argumentString(function, i, train::kRole);
      std::optional<Cuts> cuts = role == train::kInput
                                     ? cutsOfInput(function, i, valid)
                                     : cutsOfState(role, train::argumentString(function, i, train::kName), type);
      if (cuts)
        places.push_back({function, false, i, *cuts});
    }
    return valid;
  }

  std::optional<Cuts> cutsOfInput(func::FuncOp function, unsigned i, bool &valid) {
    auto type = cast<RankedTensorType>(function.getArgumentTypes()[i]);
    Cuts cuts(type.getRank());
    int64_t ranks = 1;
    std::string names;
    for (StringAttr data : dataAxes) {
      ranks *= axes.size(data);
      names += (names.empty() ? "axis " : " and ") + data.str();
    }
    if (ranks == 1 || type.getRank() == 0 || function.getName() == train::kPredict ||
        (samples > 0 && type.getDimSize(0) != samples))
      return cuts;
    if (type.getDimSize(0) % ranks != 0) {
      valid = false;
      function.emitError() << names << " of " << ranks << " ranks does not divide the " << type.getDimSize(0)
                           << " samples of a micro-batch, dimension 0 of input '"
                           << train::argumentString(function, i, train::kName) << "'; make batch.micro a multiple of "
                           << ranks;
    }
    for (StringAttr data : dataAxes)
      cuts[0].push_back({data, axes.size(data)});
    return cuts;
  }

  /// How an argument or result is cut; nothing where it follows from the computation. State of a parameter is cut as
  /// the parameter is, and by ZeRO besides.
  std::optional<Cuts> cutsOfState(StringRef role, StringRef name, RankedTensorType type) {
    bool ofParameter = role == train::kParam || role == train::kMoment || role == train::kGradient;
    StringRef parameter = role == train::kMoment ? name.split('.').second : name;
    Cuts cuts(type.getRank());
    if (auto it = parameters.find(parameter.str()); ofParameter && it != parameters.end())
      cuts = it->second;
    bool cut = (role == train::kMoment && zero >= 1) || (role == train::kGradient && zero >= 2) ||
               (role == train::kParam && zero >= 3);
    if (cut && addZero(cuts, type))
      return cuts;
    if (role == train::kGradient || role == train::kAccumulator || role == train::kOutput)
      return std::nullopt;
    return cuts;
  }

  /// Cuts a tensor over data ranks along the first dimension that they divide; false if there is none.
  bool addZero(Cuts &cuts, RankedTensorType type) {
    StringAttr data = axis("dp");
    auto isData = [&](const DimCuts &dim) { return llvm::any_of(dim, [&](auto &cut) { return cut.first == data; }); };
    if (llvm::any_of(cuts, isData))
      return true; // by the recipe
    int64_t parts = axes.size(data);
    for (auto [dim, size] : llvm::zip_equal(cuts, type.getShape())) {
      int64_t present = 1;
      for (auto &[name, own] : dim)
        present *= own;
      if (size % (present * parts) == 0 && axes.admit(data, parts)) {
        dim.push_back({data, parts});
        return true;
      }
    }
    return false;
  }

  dist::ShardingAttr attributeOf(const Cuts &cuts) {
    dist::Sharding sharding = dist::Sharding::whole(static_cast<int64_t>(cuts.size()));
    for (auto [dim, own] : llvm::zip_equal(sharding.dims, cuts))
      for (auto &[name, parts] : own)
        llvm::append_range(dim, axes.major(name, parts));
    return sharding.toAttribute(&getContext());
  }

  struct Place {
    func::FuncOp function;
    bool isResult;
    unsigned index;
    Cuts cuts;
  };

  sharding::AxisSplitter axes;
  SmallVector<StringAttr> dataAxes;       // in the order of the recipe
  int64_t zero = 0, samples = 0;          // of a micro-batch; 0: as exported
  std::map<std::string, Cuts> parameters; // that tensor parallelism or the recipe cuts
  SmallVector<Place> places;
};

} // namespace
