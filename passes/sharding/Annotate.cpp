//===- Annotate.cpp - sharding-annotate ------------------------------------------===//
#include "dialects/dist/Dist.h"
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "passes/sharding/Passes.h"
#include "passes/sharding/TensorParallel.h"

namespace llmc::sharding {
#define GEN_PASS_DEF_SHARDINGANNOTATE
#include "passes/sharding/Passes.h.inc"
} // namespace llmc::sharding

using namespace mlir;
using namespace llmc;
using dist::Sharding;

namespace {

struct Annotate : sharding::impl::ShardingAnnotateBase<Annotate> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (dist::meshOf(module))
      return; // given in the IR
    train::Recipe recipe = train::recipeOf(module);
    SmallVector<StringAttr> names;
    SmallVector<int64_t> sizes;
    for (auto &[name, size] : recipe.mesh)
      if (size > 1) {
        names.push_back(StringAttr::get(&getContext(), name));
        sizes.push_back(size);
      }
    if (names.empty())
      return;
    for (StringAttr name : names)
      if (name != "dp" && name != "tp") {
        module.emitError() << "mesh axis '" << name.getValue()
                           << "' is not supported: this compiler shards over dp and tp";
        return signalPassFailure();
      }
    mesh = dist::MeshAttr::get(&getContext(), names, sizes);
    data = StringAttr::get(&getContext(), "dp");
    zero = recipe.zero;
    samples = recipe.batch.micro;
    module->setAttr(dist::kMesh, mesh);
    auto tensor = StringAttr::get(&getContext(), "tp");
    if (auto forward = module.lookupSymbol<func::FuncOp>(train::kEvaluate); forward && mesh.size(tensor) > 1)
      parameters = sharding::findTensorParallel(forward, mesh, tensor);
    bool valid = true;
    for (auto function : module.getOps<func::FuncOp>())
      valid &= annotate(function);
    if (!valid)
      signalPassFailure();
  }

private:
  bool annotate(func::FuncOp function) {
    for (unsigned i = 0; i < function.getNumResults(); ++i) {
      auto type = cast<RankedTensorType>(function.getResultTypes()[i]);
      if (auto sharding = stateSharding(train::resultString(function, i, train::kRole),
                                        train::resultString(function, i, train::kName), type))
        function.setResultAttr(i, dist::kSharding, sharding->toAttribute(&getContext()));
    }
    bool valid = true;
    for (unsigned i = 0; i < function.getNumArguments(); ++i) {
      auto type = cast<RankedTensorType>(function.getArgumentTypes()[i]);
      StringRef role = train::argumentString(function, i, train::kRole);
      std::optional<Sharding> sharding =
          role == train::kInput ? inputSharding(function, i, valid)
                                : stateSharding(role, train::argumentString(function, i, train::kName), type);
      if (sharding)
        function.setArgAttr(i, dist::kSharding, sharding->toAttribute(&getContext()));
    }
    return valid;
  }

  std::optional<Sharding> inputSharding(func::FuncOp function, unsigned i, bool &valid) {
    auto type = cast<RankedTensorType>(function.getArgumentTypes()[i]);
    Sharding sharding = Sharding::whole(type.getRank());
    if (mesh.size(data) == 0 || type.getRank() == 0 || function.getName() == train::kPredict ||
        (samples > 0 && type.getDimSize(0) != samples))
      return sharding;
    if (type.getDimSize(0) % mesh.size(data) != 0) {
      valid = false;
      function.emitError() << "axis dp of " << mesh.size(data) << " ranks does not divide the " << type.getDimSize(0)
                           << " samples of a micro-batch, dimension 0 of input '"
                           << train::argumentString(function, i, train::kName) << "'; make batch.micro a multiple of "
                           << mesh.size(data);
    }
    sharding.dims[0] = {data};
    return sharding;
  }

  /// The sharding of an argument or result; nothing where it follows from the computation. State of a parameter is cut
  /// as the parameter is, and by ZeRO besides.
  std::optional<Sharding> stateSharding(StringRef role, StringRef name, RankedTensorType type) {
    bool ofParameter = role == train::kParam || role == train::kMoment || role == train::kGradient;
    StringRef parameter = role == train::kMoment ? name.split('.').second : name;
    Sharding sharding = Sharding::whole(type.getRank());
    if (auto it = parameters.find(parameter.str()); ofParameter && it != parameters.end())
      sharding = it->second;
    bool cut = (role == train::kMoment && zero >= 1) || (role == train::kGradient && zero >= 2) ||
               (role == train::kParam && zero >= 3);
    if (cut && mesh.size(data) > 1 && addZero(sharding, type))
      return sharding;
    if (role == train::kGradient || role == train::kAccumulator)
      return std::nullopt;
    return sharding;
  }

  /// Cuts a tensor over data ranks along the first dimension that divides.
  bool addZero(Sharding &sharding, RankedTensorType type) {
    for (auto [axes, size] : llvm::zip_equal(sharding.dims, type.getShape()))
      if (size % (mesh.size(axes) * mesh.size(data)) == 0) {
        axes.push_back(data);
        return true;
      }
    return false;
  }

  dist::MeshAttr mesh;
  StringAttr data;
  int64_t zero = 0, samples = 0;              // of a micro-batch; 0: as exported
  std::map<std::string, Sharding> parameters; // that tensor parallelism cuts
};

} // namespace
