//===- Communication.cpp - the collectives of one rank's program ----------===//
#include "runtime/executor/Communication.h"
#include "runtime/comm/Agree.h"
#include "runtime/comm/Failure.h"
#include "runtime/plan/Places.h"
#include <cstring>

namespace llmc::runtime {

/// Whether each division has collectives, of any program.
static std::vector<bool> divisionsThatTalk(const fb::Plan &plan) {
  std::vector<bool> talks(plan.groups() ? plan.groups()->size() : 0);
  for (const fb::RankProgram *program : *plan.programs())
    for (uint32_t s = 0; program->segments() && s < program->segments()->size(); ++s) {
      const auto *instructions = program->segments()->Get(s)->instructions();
      for (uint32_t i = 0; instructions && i < instructions->size(); ++i)
        if (const fb::Collective *collective = instructions->Get(i)->body_as_Collective())
          talks[collective->groups()] = true;
    }
  return talks;
}

Result<std::unique_ptr<Communication>> Communication::open(const fb::Plan &plan, uint32_t rank, World *world) {
  std::unique_ptr<Communication> result(new Communication());
  std::vector<bool> talks = divisionsThatTalk(plan);
  for (uint32_t i = 0; i < talks.size(); ++i) {
    result->divisions.push_back(nullptr);
    if (!talks[i] || plan.groups()->Get(i)->size() == 1)
      continue;
    if (!world)
      return Status::internal("a plan of several ranks has no world");
    auto group = world->group(placeOf(plan, i, rank).members);
    if (!group.ok())
      return during("opening groups of ranks", group.status());
    result->divisions.back() = std::move(*group);
  }
  return result;
}

Status compareRanks(World &world, const PlanFile &plan, const std::string &options) {
  std::string mine = plan.digest() + digestOf({reinterpret_cast<const uint8_t *>(options.data()), options.size()});
  auto all = gatherTexts(world, mine);
  if (!all.ok())
    return during("comparing plans", all.status());
  std::string plans, arguments;
  size_t half = plan.digest().size();
  for (unsigned rank = 1; rank < world.size(); ++rank) {
    const std::string &theirs = (*all)[rank], &first = all->front();
    if (theirs.substr(0, half) != first.substr(0, half))
      plans += " " + std::to_string(rank);
    else if (theirs != first)
      arguments += " " + std::to_string(rank);
  }
  if (!plans.empty())
    return Status::planRefused("ranks" + plans + " have another plan than rank 0", "give all ranks the same file");
  if (!arguments.empty())
    return Status::planRefused("ranks" + arguments + " were started with other arguments than rank 0",
                               "steps, checkpoints, evaluation and settings must be the same on all ranks");
  return Status::success();
}

Communication::~Communication() {
  {
    std::lock_guard<std::mutex> lock(mutex);
    stopping = true;
  }
  changed.notify_all();
  if (thread.joinable())
    thread.join();
}

Status Communication::execute(BoundCollective &collective) {
  if (!collective.group) { // alone: all parts are its own
    for (size_t i = 0; i < collective.operands.size(); ++i)
      if (collective.operands[i].to != collective.operands[i].from)
        std::memcpy(collective.operands[i].to, collective.operands[i].from, collective.bytes[i]);
    return Status::success();
  }
  uint64_t before = collective.group->traffic().bytesSent;
  Status status = Status::internal("an unknown collective");
  switch (collective.kind) {
  case fb::CollectiveKind::AllReduce:
    status = collective.group->allReduce(collective.operands, collective.type, collective.reduction);
    break;
  case fb::CollectiveKind::AllGather:
    status = collective.group->allGather(collective.operands, collective.type);
    break;
  case fb::CollectiveKind::ReduceScatter:
    status = collective.group->reduceScatter(collective.operands, collective.type, collective.reduction);
    break;
  case fb::CollectiveKind::AllToAll:
    status = collective.group->allToAll(collective.operands, collective.type);
    break;
  }
  collective.sent += collective.group->traffic().bytesSent - before;
  return status;
}

void Communication::work() {
  std::unique_lock<std::mutex> lock(mutex);
  while (true) {
    changed.wait(lock, [&] { return stopping || !queue.empty(); });
    if (queue.empty())
      return;
    BoundCollective *next = queue.front();
    queue.pop_front();
    bool skip = !failure.ok();
    lock.unlock();
    Status status = skip ? Status::success() : execute(*next);
    lock.lock();
    if (!status.ok())
      failure = status;
    ++done;
    changed.notify_all();
  }
}

uint64_t Communication::start(BoundCollective &collective) {
  if (!thread.joinable())
    thread = std::thread([this] { work(); });
  uint64_t ticket;
  {
    std::lock_guard<std::mutex> lock(mutex);
    queue.push_back(&collective);
    ticket = ++started;
  }
  changed.notify_all();
  return ticket;
}

Status Communication::wait(uint64_t ticket) {
  std::unique_lock<std::mutex> lock(mutex);
  changed.wait(lock, [&] { return done >= ticket; });
  return failure;
}

Status Communication::run(BoundCollective &collective) {
  return thread.joinable() ? wait(start(collective)) : execute(collective);
}

} // namespace llmc::runtime
