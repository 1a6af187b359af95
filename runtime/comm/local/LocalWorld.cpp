//===- LocalWorld.cpp - ranks that are threads of one process -------------===//
#include "runtime/comm/local/LocalWorld.h"
#include "runtime/comm/Failure.h"
#include "runtime/comm/local/LocalCommunicator.h"
#include <numeric>
#include <thread>

namespace llmc::runtime {
namespace {

using local::Group;
using local::LocalCommunicator;
using local::Shared;

class ThreadWorld : public World {
public:
  ThreadWorld(std::shared_ptr<Shared> shared, std::shared_ptr<Group> everyone, unsigned rank)
      : shared(std::move(shared)), number(rank), count(static_cast<unsigned>(everyone->ranks.size())),
        whole(this->shared, std::move(everyone), rank, deadline) {}

  ~ThreadWorld() override {
    std::lock_guard<std::mutex> lock(shared->mutex);
    if (!finished)
      (void)shared->fail(rankDied(number));
  }

  unsigned rank() const override { return number; }
  unsigned size() const override { return count; }
  Communicator &all() override { return whole; }
  void setDeadline(std::chrono::milliseconds limit) override { deadline = limit; }

  Result<std::unique_ptr<Communicator>> group(std::vector<unsigned> ranks) override {
    if (Status status = checkGroup(ranks, number, count); !status.ok())
      return status;
    unsigned place = static_cast<unsigned>(std::find(ranks.begin(), ranks.end(), number) - ranks.begin());
    std::shared_ptr<Group> joined;
    {
      std::lock_guard<std::mutex> lock(shared->mutex);
      if (shared->failed)
        return shared->failure;
      std::vector<std::shared_ptr<Group>> &known = shared->groups[ranks];
      size_t index = opened[ranks]++;
      if (index == known.size())
        known.push_back(std::make_shared<Group>(ranks));
      joined = known[index];
    }
    auto communicator = std::make_unique<LocalCommunicator>(shared, std::move(joined), place, deadline);
    if (Status status = communicator->barrier(); !status.ok())
      return status;
    return std::unique_ptr<Communicator>(std::move(communicator));
  }

  Status poll() override {
    std::lock_guard<std::mutex> lock(shared->mutex);
    return shared->failed ? shared->failure : Status::success();
  }

  Status fail(Status status) override {
    std::lock_guard<std::mutex> lock(shared->mutex);
    return shared->fail(std::move(status));
  }

  Status finish() override {
    Status status = whole.barrier();
    finished = status.ok();
    return status;
  }

private:
  const std::shared_ptr<Shared> shared;
  const unsigned number, count;
  std::chrono::milliseconds deadline = kDefaultDeadline;
  LocalCommunicator whole;
  std::map<std::vector<unsigned>, size_t> opened; // how often this rank has opened a group
  bool finished = false;
};

} // namespace

std::vector<std::unique_ptr<World>> LocalWorld::create(unsigned size) {
  auto shared = std::make_shared<Shared>();
  std::vector<unsigned> ranks(size);
  std::iota(ranks.begin(), ranks.end(), 0u);
  auto everyone = std::make_shared<Group>(ranks);
  // Under an empty name: `group` may open the same list, as another group.
  shared->groups[{}].push_back(everyone);
  std::vector<std::unique_ptr<World>> worlds;
  for (unsigned rank = 0; rank < size; ++rank)
    worlds.push_back(std::make_unique<ThreadWorld>(shared, everyone, rank));
  return worlds;
}

std::vector<Status> LocalWorld::run(unsigned size, const std::function<Status(World &)> &rankMain) {
  std::vector<std::unique_ptr<World>> worlds = create(size);
  std::vector<Status> outcomes(size);
  std::vector<std::thread> threads;
  for (unsigned rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] {
      outcomes[rank] = rankMain(*worlds[rank]);
      if (outcomes[rank].ok())
        outcomes[rank] = worlds[rank]->finish();
      worlds[rank].reset(); // the others need not wait for it
    });
  for (std::thread &thread : threads)
    thread.join();
  return outcomes;
}

} // namespace llmc::runtime
