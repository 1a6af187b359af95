//===- ValidateState.cpp - the state of all ranks together ----------------===//
#include "runtime/plan/StateLayout.h"
#include "runtime/plan/ValidatorParts.h"
#include <map>

namespace llmc::runtime {

/// Whether some ranks of one group of `sum` have different places in `cut`.
static bool tellsApart(const fb::Plan &plan, uint32_t sum, uint32_t cut) {
  const fb::Groups &groups = *plan.groups()->Get(sum);
  std::vector<uint32_t> places(plan.ranks()->size());
  for (uint32_t i = 0; i < places.size(); ++i)
    places[plan.groups()->Get(cut)->ranks()->Get(i)] = i % plan.groups()->Get(cut)->size();
  for (uint32_t i = 0; i < places.size(); ++i)
    if (places[groups.ranks()->Get(i)] != places[groups.ranks()->Get(i / groups.size() * groups.size())])
      return true;
  return false;
}

void validateSums(const fb::Plan &plan, const flatbuffers::Vector<uint32_t> *sum, const Cuts *cuts,
                  const std::string &where, Problems &problems) {
  for (uint32_t i = 0; i < sizeOf(sum); ++i) {
    uint32_t division = sum->Get(i);
    if (!problems.require(placesOf(plan, division) > 0, where, "is a sum over no division into groups"))
      continue;
    for (uint32_t j = 0; j < sizeOf(cuts); ++j)
      if (uint32_t cut = cuts->Get(j)->groups(); placesOf(plan, cut) > 0)
        problems.require(!tellsApart(plan, division, cut), where, "is a sum over ranks that hold different parts");
  }
}

namespace {
/// What programs must agree on, by name.
class Meanings {
public:
  explicit Meanings(Problems &problems) : problems(problems) {}

  void program(const fb::RankProgram &program, const std::string &where) {
    for (uint32_t i = 0; i < sizeOf(program.parameters()); ++i) {
      const fb::Parameter &parameter = *program.parameters()->Get(i);
      std::string name = textOf(parameter.name());
      check("parameter '" + name + "'", form(parameter, viewOf(parameter), parameter.type()), where);
      auto stateForm = [&](const fb::StateBuffer &state) {
        return form(parameter, viewOf(parameter, state), program.buffers()->Get(state.buffer())->type());
      };
      if (parameter.gradient())
        check("gradient of '" + name + "'", stateForm(*parameter.gradient()), where);
      for (uint32_t j = 0; j < sizeOf(parameter.states()); ++j) {
        const fb::StateBuffer &state = *parameter.states()->Get(j);
        check("state '" + name + "." + textOf(state.name()) + "'", stateForm(state), where);
      }
    }
  }

private:
  using Form = std::vector<std::vector<int64_t>>;
  static Form form(const fb::Parameter &parameter, const std::vector<ViewStep> &view, fb::DataType type) {
    Form form = {{static_cast<int64_t>(type)}, shapeOf(parameter.shape())};
    for (const ViewStep &step : view) {
      form.push_back({static_cast<int64_t>(step.kind)});
      form.push_back(step.values);
    }
    return form;
  }
  void check(const std::string &name, Form form, const std::string &where) {
    auto [known, isNew] = forms.emplace(name, std::move(form));
    problems.require(isNew || known->second == form, where + name,
                     "has another shape, type or view than in another program");
  }

  Problems &problems;
  std::map<std::string, Form> forms;
};
} // namespace

void validateSharedState(const fb::Plan &plan, Problems &problems) {
  if (sizeOf(plan.programs()) < 2)
    return; // cuts of equal programs leave nothing out
  Meanings meanings(problems);
  for (uint32_t i = 0; i < plan.programs()->size(); ++i)
    meanings.program(*plan.programs()->Get(i), "program " + std::to_string(i) + " ");
  if (!problems.texts.empty())
    return;
  StateLayout layout = stateLayout(plan);
  for (const std::vector<StateTensor> *tensors : {&layout.model, &layout.optimizer})
    for (const StateTensor &tensor : *tensors) {
      std::vector<Box> boxes;
      for (const HeldPart &part : tensor.parts)
        boxes.push_back(part.box);
      problems.require(covers(boxes, Box::whole(tensor.compiled)), "'" + tensor.name + "'",
                       "some of it is held by no rank");
    }
}

} // namespace llmc::runtime
