//===- StateLayout.cpp - which ranks hold which parts of the state --------===//
#include "runtime/plan/StateLayout.h"
#include "runtime/plan/Places.h"
#include "runtime/plan/Tables.h"
#include <map>
#include <set>

namespace llmc::runtime {

const HeldPart *StateTensor::partOf(uint32_t rank, uint32_t &buffer) const {
  for (const HeldPart &part : parts)
    for (const Holder &holder : part.holders)
      if (holder.rank == rank) {
        buffer = holder.buffer;
        return &part;
      }
  return nullptr;
}

namespace {
/// Collects the parts of tensors rank by rank.
class Collector {
public:
  explicit Collector(const fb::Plan &plan) : plan(plan) {
    for (uint32_t rank = 0; rank < plan.ranks()->size(); ++rank)
      places.push_back(placesOfRank(plan, rank));
  }

  /// The parameter itself.
  void add(const fb::Parameter &parameter, uint32_t rank) {
    add(parameter.name()->str(), parameter, viewOf(parameter), parameter.cuts(), rank, parameter.buffer());
  }
  /// Its gradient or optimizer state.
  void add(const std::string &name, const fb::Parameter &parameter, const fb::StateBuffer &state, uint32_t rank) {
    add(name, parameter, viewOf(parameter, state), state.cuts(), rank, state.buffer());
  }
  /// A buffer as it is.
  void addBytes(const std::string &name, uint32_t rank, uint32_t buffer) {
    auto [index, isNew] = find(name);
    StateTensor &tensor = tensors[index];
    if (isNew) {
      tensor.type = fb::DataType::U8;
      tensor.shape = tensor.compiled = {static_cast<int64_t>(bufferOf(rank, buffer).bytes())};
    }
    hold(index, Box::whole(tensor.compiled), rank, buffer);
  }
  StateTensor &back() { return tensors.back(); }
  size_t size() const { return tensors.size(); }
  std::vector<StateTensor> take() { return std::move(tensors); }

private:
  void add(const std::string &name, const fb::Parameter &parameter, const std::vector<ViewStep> &view, const Cuts *cuts,
           uint32_t rank, uint32_t buffer) {
    auto [index, isNew] = find(name);
    StateTensor &tensor = tensors[index];
    if (isNew) {
      tensor.type = bufferOf(rank, buffer).type();
      tensor.shape = shapeOf(parameter.shape());
      tensor.view = view;
      tensor.compiled = compiledShape(tensor.view, tensor.shape);
    }
    hold(index, partOf(plan, tensor.compiled, cuts, places[rank]), rank, buffer);
  }
  const fb::Buffer &bufferOf(uint32_t rank, uint32_t buffer) const {
    return *plan.programs()->Get(plan.ranks()->Get(rank)->program())->buffers()->Get(buffer);
  }
  std::pair<size_t, bool> find(const std::string &name) {
    auto [entry, isNew] = byName.emplace(name, tensors.size());
    if (isNew) {
      tensors.emplace_back();
      tensors.back().name = name;
      byBox.emplace_back();
    }
    return {entry->second, isNew};
  }
  void hold(size_t index, const Box &box, uint32_t rank, uint32_t buffer) {
    std::vector<HeldPart> &parts = tensors[index].parts;
    auto [entry, isNew] = byBox[index].emplace(std::pair(box.begin, box.size), parts.size());
    if (isNew)
      parts.push_back({box, {}});
    parts[entry->second].holders.push_back({rank, buffer});
  }

  const fb::Plan &plan;
  std::vector<std::vector<uint32_t>> places; // by rank
  std::vector<StateTensor> tensors;
  std::map<std::string, size_t> byName;
  std::vector<std::map<std::pair<Shape, Shape>, size_t>> byBox; // by tensor
};
} // namespace

static uint32_t rootOf(const fb::RankProgram &program, uint32_t buffer) {
  while (program.buffers()->Get(buffer)->alias_of() >= 0)
    buffer = static_cast<uint32_t>(program.buffers()->Get(buffer)->alias_of());
  return buffer;
}

/// Buffers of state that belong to no parameter or scalar and are not zero at the start of each step.
static std::vector<std::pair<std::string, uint32_t>> otherBuffers(const fb::RankProgram &program) {
  std::set<uint32_t> covered;
  auto cover = [&](uint32_t buffer) { covered.insert(rootOf(program, buffer)); };
  for (uint32_t i = 0; i < sizeOf(program.parameters()); ++i) {
    const fb::Parameter &parameter = *program.parameters()->Get(i);
    cover(parameter.buffer());
    if (parameter.gradient())
      cover(parameter.gradient()->buffer());
    for (uint32_t j = 0; j < sizeOf(parameter.states()); ++j)
      cover(parameter.states()->Get(j)->buffer());
  }
  for (uint32_t i = 0; i < sizeOf(program.scalars()); ++i)
    cover(program.scalars()->Get(i)->buffer());
  std::vector<std::pair<std::string, uint32_t>> others;
  std::set<std::string> names;
  for (uint32_t i = 0; i < sizeOf(program.buffers()); ++i) {
    const fb::Buffer &buffer = *program.buffers()->Get(i);
    std::string category = buffer.category() ? buffer.category()->str() : "";
    if (buffer.alias_of() >= 0 || covered.count(i) || category == "accumulator" || category == "gradient" ||
        program.arenas()->Get(buffer.arena())->kind() != fb::ArenaKind::State)
      continue;
    std::string name = "buffer." + (buffer.name() ? buffer.name()->str() : "");
    if (!names.insert(name).second)
      name += "." + std::to_string(i);
    others.push_back({name, i});
  }
  return others;
}

StateLayout stateLayout(const fb::Plan &plan) {
  Collector model(plan), optimizer(plan), others(plan);
  for (uint32_t rank = 0; rank < plan.ranks()->size(); ++rank) {
    const fb::RankProgram &program = *plan.programs()->Get(plan.ranks()->Get(rank)->program());
    for (uint32_t i = 0; i < sizeOf(program.parameters()); ++i) {
      const fb::Parameter &parameter = *program.parameters()->Get(i);
      model.add(parameter, rank);
      for (uint32_t j = 0; j < sizeOf(parameter.states()); ++j) {
        const fb::StateBuffer &state = *parameter.states()->Get(j);
        optimizer.add(parameter.name()->str() + "." + state.name()->str(), parameter, state, rank);
      }
    }
    for (auto &[name, buffer] : otherBuffers(program))
      others.addBytes(name, rank, buffer);
  }
  StateLayout layout{model.take(), optimizer.take()};
  for (StateTensor &tensor : others.take())
    layout.optimizer.push_back(std::move(tensor));
  return layout;
}

std::vector<StateTensor> gradientLayout(const fb::Plan &plan) {
  Collector gradients(plan);
  for (uint32_t rank = 0; rank < plan.ranks()->size(); ++rank) {
    const fb::RankProgram &program = *plan.programs()->Get(plan.ranks()->Get(rank)->program());
    for (uint32_t i = 0; i < sizeOf(program.parameters()); ++i) {
      const fb::Parameter &parameter = *program.parameters()->Get(i);
      const fb::StateBuffer *gradient = parameter.gradient();
      if (!gradient)
        continue;
      size_t before = gradients.size();
      gradients.add(parameter.name()->str(), parameter, *gradient, rank);
      if (gradients.size() > before && gradient->sum())
        gradients.back().sum.assign(gradient->sum()->begin(), gradient->sum()->end());
    }
  }
  return gradients.take();
}

std::vector<uint32_t> ranksAround(const fb::Plan &plan, const std::vector<uint32_t> &divisions, uint32_t rank) {
  std::set<uint32_t> around = {rank};
  for (uint32_t division : divisions) {
    std::set<uint32_t> reached = around;
    for (uint32_t member : around) {
      PlaceInGroup place = placeOf(plan, division, member);
      reached.insert(place.members.begin(), place.members.end());
    }
    around.swap(reached);
  }
  return {around.begin(), around.end()};
}

} // namespace llmc::runtime
