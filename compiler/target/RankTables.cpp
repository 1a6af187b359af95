//===- RankTables.cpp - ranks, their groups, and what each has of a tensor ----------===//
#include "compiler/target/PlanTables.h"
#include "compiler/target/ViewSteps.h"
#include "dialects/train/Train.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;

namespace llmc::target {

void PlanTables::addRanks() {
  for (auto op : module.getOps<plan::GroupsOp>()) {
    groups[op.getSymName()] = plan.groups.size();
    if (op.getAxes().size() == 1)
      axisGroups[cast<StringAttr>(op.getAxes()[0])] = plan.groups.size();
    auto division = std::make_unique<fb::GroupsT>();
    division->name = op.getSymName().str();
    division->size = static_cast<uint32_t>(op.getSize());
    division->ranks.assign(op.getRanks().begin(), op.getRanks().end());
    plan.groups.push_back(std::move(division));
  }
  dist::MeshAttr mesh = dist::meshOf(module);
  for (int64_t rank = 0; rank < (mesh ? mesh.ranks() : 1); ++rank)
    plan.ranks.push_back(std::make_unique<fb::RankT>());
  for (size_t axis = 0; mesh && axis < mesh.getNames().size(); ++axis) {
    plan.mesh.push_back(std::make_unique<fb::MeshAxisT>());
    plan.mesh.back()->name = mesh.getNames()[axis].str();
    plan.mesh.back()->size = static_cast<uint32_t>(mesh.getSizes()[axis]);
  }
}

std::vector<std::unique_ptr<fb::CutT>> PlanTables::cutsOf(Operation *op) const {
  std::vector<std::unique_ptr<fb::CutT>> cuts;
  auto attribute = op->getAttrOfType<dist::ShardingAttr>(dist::kSharding);
  if (!attribute)
    return cuts;
  for (auto [dim, axes] : llvm::enumerate(dist::Sharding::of(attribute).dims))
    for (StringAttr axis : axes) {
      auto cut = std::make_unique<fb::CutT>();
      cut->dim = static_cast<uint32_t>(dim);
      cut->groups = axisGroups.lookup(axis);
      cuts.push_back(std::move(cut));
    }
  return cuts;
}

std::vector<uint32_t> PlanTables::sumOf(Operation *op) const {
  std::vector<uint32_t> result;
  if (auto attribute = op->getAttrOfType<dist::ShardingAttr>(dist::kSharding))
    for (StringAttr axis : dist::Sharding::of(attribute).sum)
      result.push_back(axisGroups.lookup(axis));
  return result;
}

fb::CopyT PlanTables::copyOf(plan::CopyOp copy) const {
  fb::CopyT body;
  if (auto places = copy.getPlaceGroupsAttr()) {
    body.sizes = {static_cast<uint64_t>(copy.getRows().value_or(1))};
    body.unit = copy.getUnit();
    body.to_strides = {body.unit};
    body.from_strides = {static_cast<uint64_t>(copy.getFromStride())};
    body.place_groups = static_cast<int32_t>(groupsOf(places));
    body.place_stride = body.unit;
  }
  return body;
}

fb::CollectiveT PlanTables::collectiveOf(plan::CollectiveOp op) const {
  fb::CollectiveT body;
  body.kind = llvm::StringSwitch<fb::CollectiveKind>(op.getKind())
                  .Case("all_gather", fb::CollectiveKind::AllGather)
                  .Case("reduce_scatter", fb::CollectiveKind::ReduceScatter)
                  .Default(fb::CollectiveKind::AllReduce);
  body.groups = groupsOf(op.getGroupsAttr());
  body.type = dataTypeOf(op.getType()).value_or(fb::DataType::U8);
  body.reduction = op.getReduction() == "max" ? fb::Reduction::Max : fb::Reduction::Sum;
  body.reason = op.getReason().str();
  if (op.getEvent())
    body.event = static_cast<int32_t>(*op.getEvent());
  return body;
}

std::unique_ptr<fb::StateBufferT> PlanTables::stateBuffer(StringRef name, FlatSymbolRefAttr buffer, ArrayRef<int64_t> logical) const {
  auto entry = std::make_unique<fb::StateBufferT>();
  entry->name = name.str();
  entry->buffer = bufferOf(buffer);
  entry->cuts = cutsOf(bufferNamed(buffer.getValue()));
  entry->sum = sumOf(bufferNamed(buffer.getValue()));
  if (auto view = bufferNamed(buffer.getValue())->getAttrOfType<ArrayAttr>(train::kView))
    entry->view = viewSteps(view, logical);
  return entry;
}

/// The compiled form is what the ranks hold together; the view leads to it from the logical one, if that is another.
void PlanTables::addLogicalShape(plan::ParameterOp op, fb::ParameterT &parameter, const std::vector<int64_t> &local) const {
  parameter.shape = local;
  for (const auto &cut : parameter.cuts)
    parameter.shape[cut->dim] *= plan.groups[cut->groups]->size;
  if (!op.getShape() || !op.getView())
    return;
  parameter.shape.assign(op.getShape()->begin(), op.getShape()->end());
  parameter.view = viewSteps(*op.getView(), parameter.shape);
}

} // namespace llmc::target
