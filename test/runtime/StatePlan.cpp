//===- StatePlan.cpp - plans of several ranks that only have state --------===//
#include "test/runtime/StatePlan.h"
#include "runtime/comm/local/LocalWorld.h"
#include "runtime/io/Random.h"
#include <cstring>
#include <thread>

namespace llmc::test {

using fb::DataType;
using namespace llmc::runtime;

std::string StateMesh::text() const {
  return "dp" + std::to_string(dp) + " tp" + std::to_string(tp) + (zero ? " zero" : "") +
         (padding ? " pad" + std::to_string(padding) : "");
}

namespace {

using CutList = std::vector<std::pair<uint32_t, StateGroups>>; // dimension, division

class Builder {
public:
  explicit Builder(const StateMesh &mesh) : mesh(mesh) {
    plan.samples_per_step = plan.samples_per_micro_batch = plan.micro_batches = plan.sequence = 1;
    plan.seed = 7;
    addGroups("dp", mesh.dp, mesh.tp);
    addGroups("tp", mesh.tp, 1);
    for (uint32_t i = 0; i < mesh.ranks(); ++i)
      plan.ranks.push_back(std::make_unique<fb::RankT>());
    plan.programs.push_back(std::make_unique<fb::RankProgramT>());
    program().arenas.push_back(std::make_unique<fb::ArenaT>());
  }

  fb::RankProgramT &program() { return *plan.programs[0]; }

  uint32_t addBuffer(const std::string &name, DataType type, const Shape &shape, const std::string &category = "test") {
    auto buffer = std::make_unique<fb::BufferT>();
    buffer->name = name;
    buffer->category = category;
    buffer->offset = program().arenas[0]->bytes;
    buffer->bytes = static_cast<uint64_t>(elementCount(shape)) * elementBytes(type);
    buffer->type = type;
    buffer->shape = shape;
    program().arenas[0]->bytes += (buffer->bytes + 63) / 64 * 64;
    program().buffers.push_back(std::move(buffer));
    return static_cast<uint32_t>(program().buffers.size() - 1);
  }

  /// `tensorCuts` cut everything; `zeroDim` is what ZeRO cuts of states and gradient.
  fb::ParameterT &addParameter(const std::string &name, DataType type, Shape shape, std::vector<ViewStep> view,
                               const CutList &tensorCuts, uint32_t zeroDim, std::vector<ViewStep> stateView = {}) {
    auto parameter = std::make_unique<fb::ParameterT>();
    parameter->name = name;
    parameter->type = type;
    parameter->shape = shape;
    parameter->trainable = true;
    parameter->view = stepsOf(view);
    Shape compiled = compiledShape(view, shape);
    parameter->buffer = addCut(name, type, compiled, tensorCuts, parameter->cuts);
    CutList stateCuts = tensorCuts;
    if (!stateView.empty()) {
      compiled = compiledShape(stateView, shape);
      stateCuts = {{0, TpGroups}};
    }
    if (mesh.zero)
      stateCuts.emplace_back(zeroDim, DpGroups);
    auto addState = [&](const std::string &stateName) {
      auto state = std::make_unique<fb::StateBufferT>();
      state->name = stateName;
      state->view = stepsOf(stateView);
      state->buffer = addCut(name + "." + stateName, DataType::F32, compiled, stateCuts, state->cuts);
      return state;
    };
    parameter->states.push_back(addState("exp_avg"));
    parameter->gradient = addState("gradient");
    if (!mesh.zero)
      parameter->gradient->sum = {DpGroups};
    parameter->init = std::make_unique<fb::InitT>();
    parameter->init->kind = fb::InitKind::Normal;
    parameter->init->b = 0.5;
    program().parameters.push_back(std::move(parameter));
    return *program().parameters.back();
  }

  fb::PlanT plan;

private:
  static std::vector<std::unique_ptr<fb::ViewT>> stepsOf(const std::vector<ViewStep> &view) {
    std::vector<std::unique_ptr<fb::ViewT>> steps;
    for (const ViewStep &step : view) {
      steps.push_back(std::make_unique<fb::ViewT>());
      steps.back()->kind = step.kind;
      steps.back()->values = step.values;
    }
    return steps;
  }

  /// Groups of ranks that are `stride` apart.
  void addGroups(const char *name, uint32_t size, uint32_t stride) {
    auto groups = std::make_unique<fb::GroupsT>();
    groups->name = name;
    groups->size = size;
    for (uint32_t first = 0; first < mesh.ranks(); ++first)
      for (uint32_t place = 0; first / stride % size == 0 && place < size; ++place)
        groups->ranks.push_back(first + place * stride);
    plan.groups.push_back(std::move(groups));
  }
  uint32_t addCut(const std::string &name, DataType type, Shape shape, const CutList &list,
                  std::vector<std::unique_ptr<fb::CutT>> &cuts) {
    for (auto [dim, groups] : list) {
      cuts.push_back(std::make_unique<fb::CutT>());
      cuts.back()->dim = dim;
      cuts.back()->groups = groups;
      shape[dim] /= plan.groups[groups]->size;
    }
    return addBuffer(name, type, shape);
  }

  StateMesh mesh;
};

} // namespace

/// From [5, 4], cut into tp parts along its second dimension, to a row for each, with zeros that make dp divide it.
static std::vector<ViewStep> rowsOfOdd(const StateMesh &mesh) {
  int64_t part = 4 / mesh.tp, padding = (mesh.dp - 5 * part % mesh.dp) % mesh.dp;
  return {{fb::ViewKind::Reshape, {5, mesh.tp, part}},
          {fb::ViewKind::Permute, {1, 0, 2}},
          {fb::ViewKind::Reshape, {mesh.tp, 5 * part}},
          {fb::ViewKind::Pad, {0, 0, 0, padding}}};
}

fb::PlanT statePlan(const StateMesh &mesh) {
  Builder builder(mesh);
  builder.addParameter("embed", DataType::F32, {10, 8}, {{fb::ViewKind::Pad, {0, mesh.padding, 0, 0}}}, {{0, TpGroups}},
                       1);
  builder.addParameter("qkv", DataType::F32, {8, 24}, {{fb::ViewKind::Reshape, {8, 3, 8}}}, {{2, TpGroups}}, 0);
  builder.addParameter("proj", DataType::F32, {8, 4}, {{fb::ViewKind::Permute, {1, 0}}}, {{1, TpGroups}}, 0);
  fb::ParameterT &norm = builder.addParameter("norm", DataType::BF16, {16}, {}, {}, 0);
  norm.init->kind = fb::InitKind::Uniform;
  norm.init->a = -1;
  builder.addParameter("odd", DataType::F32, {5, 4}, {}, {{1, TpGroups}}, 1,
                       mesh.zero ? rowsOfOdd(mesh) : std::vector<ViewStep>());
  builder.addBuffer("running", DataType::F64, {3});
  builder.addBuffer("loss_sum", DataType::F32, {}, "accumulator");
  builder.program().weight = static_cast<int32_t>(builder.addBuffer("weight", DataType::F32, {}, "accumulator"));
  builder.program().weight_sum = {DpGroups};
  auto step = std::make_unique<fb::ScalarT>();
  step->name = "step";
  step->type = DataType::I64;
  step->buffer = builder.addBuffer("step", DataType::I64, {});
  builder.program().scalars.push_back(std::move(step));
  return std::move(builder.plan);
}

void onRanks(const std::string &path, const std::function<void(RankOfPlan &)> &body, bool together) {
  auto plan = PlanFile::read(path);
  ASSERT_TRUE(plan.ok()) << plan.status().message;
  unsigned ranks = (*plan)->plan().ranks()->size();
  std::vector<std::unique_ptr<World>> worlds = LocalWorld::create(ranks);
  std::vector<std::thread> threads;
  for (unsigned rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      World *world = ranks > 1 ? worlds[rank].get() : nullptr;
      ThreadPool pool(1, GemmLibrary::initializeThread);
      auto executor = Executor::create(*plan, rank, pool, true, world);
      ASSERT_TRUE(executor.ok()) << executor.status().message;
      ModelState state(**executor);
      RankOfPlan here{**executor, state, world};
      body(here);
      EXPECT_TRUE(!together || worlds[rank]->finish().ok());
    });
  for (std::thread &thread : threads)
    thread.join();
}

std::vector<uint8_t> logicalBytes(const StateTensor &tensor, uint64_t seed) {
  RandomStream stream(seed, tensor.name);
  std::vector<uint8_t> bytes(static_cast<size_t>(elementCount(tensor.shape)) * elementBytes(tensor.type));
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<uint8_t>(stream.uniform(i) * 256);
  return bytes;
}

std::vector<uint8_t> partBytes(const StateTensor &tensor, uint32_t rank, uint64_t seed) {
  uint32_t buffer = 0;
  const HeldPart *part = tensor.partOf(rank, buffer);
  if (!part)
    return {};
  uint64_t width = elementBytes(tensor.type);
  std::vector<uint8_t> bytes(static_cast<size_t>(elementCount(part->box.size)) * width);
  toPart(tensor.view, tensor.shape, part->box, width, logicalBytes(tensor, seed).data(), bytes.data());
  return bytes;
}

static void forEachTensor(RankOfPlan &rank, const std::function<void(const StateTensor &, uint8_t *data)> &visit) {
  StateLayout layout = stateLayout(rank.executor.plan());
  for (const std::vector<StateTensor> *tensors : {&layout.model, &layout.optimizer})
    for (const StateTensor &tensor : *tensors) {
      uint32_t buffer = 0;
      if (tensor.partOf(rank.executor.rank(), buffer))
        visit(tensor, rank.executor.data(buffer));
    }
}

void fillState(RankOfPlan &rank, uint64_t seed) {
  rank.executor.clearState();
  forEachTensor(rank, [&](const StateTensor &tensor, uint8_t *data) {
    std::vector<uint8_t> bytes = partBytes(tensor, rank.executor.rank(), seed);
    std::memcpy(data, bytes.data(), bytes.size());
  });
  rank.executor.setScalar(rank.executor.program().scalars()->Get(0)->buffer(), static_cast<double>(seed));
}

void expectState(RankOfPlan &rank, uint64_t seed, const std::string &what) {
  EXPECT_EQ(rank.state.step(), seed) << what;
  forEachTensor(rank, [&](const StateTensor &tensor, const uint8_t *data) {
    std::vector<uint8_t> bytes = partBytes(tensor, rank.executor.rank(), seed);
    EXPECT_EQ(std::memcmp(data, bytes.data(), bytes.size()), 0)
        << what << ": " << tensor.name << " on rank " << rank.executor.rank();
  });
}

} // namespace llmc::test
