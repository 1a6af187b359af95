//===- PmixLauncher.cpp - texts for other ranks, over PMIx ----------------===//
#include "runtime/comm/mpi/Launcher.h"
#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <pmix.h>

namespace llmc::runtime {
namespace {

constexpr char kKey[] = "llmc.rendezvous";

/// What a thread of PMIx answers; it may do so after nobody waits any more.
struct Answer {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  pmix_status_t status = PMIX_ERROR;
  std::string text;
};

void takeAnswer(pmix_status_t status, pmix_value_t *value, void *data) {
  std::unique_ptr<std::shared_ptr<Answer>> answer(static_cast<std::shared_ptr<Answer> *>(data));
  std::lock_guard<std::mutex> lock((*answer)->mutex);
  (*answer)->status = status;
  if (status == PMIX_SUCCESS && value && value->type == PMIX_STRING && value->data.string)
    (*answer)->text = value->data.string;
  (*answer)->done = true;
  (*answer)->changed.notify_one();
}

class PmixLauncher : public Launcher {
public:
  bool open() {
    if (PMIx_Init(&self, nullptr, 0) != PMIX_SUCCESS)
      return false;
    pmix_proc_t job = self;
    job.rank = PMIX_RANK_WILDCARD;
    pmix_value_t *value = nullptr;
    if (PMIx_Get(&job, PMIX_JOB_SIZE, nullptr, 0, &value) == PMIX_SUCCESS && value->type == PMIX_UINT32)
      count = value->data.uint32;
    if (value)
      PMIX_VALUE_RELEASE(value);
    if (self.rank < count)
      return true;
    (void)PMIx_Finalize(nullptr, 0); // as often as PMIx_Init: the launcher takes others for failed
    return false;
  }

  unsigned rank() const override { return self.rank; }
  unsigned size() const override { return count; }

  Status put(const std::string &text) override {
    pmix_value_t value;
    PMIX_VALUE_CONSTRUCT(&value);
    value.type = PMIX_STRING;
    value.data.string = const_cast<char *>(text.c_str()); // PMIx copies it
    pmix_status_t status = PMIx_Put(PMIX_GLOBAL, kKey, &value);
    if (status == PMIX_SUCCESS)
      status = PMIx_Commit();
    if (status != PMIX_SUCCESS)
      return Status::internal(std::string("PMIx takes no text: ") + PMIx_Error_string(status));
    return Status::success();
  }

  Outcome get(unsigned rank, std::string &text, Until until) override {
    do {
      auto answer = std::make_shared<Answer>();
      if (!ask(rank, answer))
        return Outcome::Gone;
      std::unique_lock<std::mutex> lock(answer->mutex);
      while (!answer->done && !until.passed())
        answer->changed.wait_for(lock, std::chrono::milliseconds(std::clamp(until.milliseconds(), 1, 100)));
      if (answer->done && answer->status == PMIX_SUCCESS) {
        text = answer->text;
        return Outcome::Done;
      }
      if (answer->done) // some servers do not wait
        answer->changed.wait_for(lock, std::chrono::milliseconds(20));
    } while (!until.passed());
    return Outcome::Late;
  }

  Status leave() override {
    return PMIx_Finalize(nullptr, 0) == PMIX_SUCCESS ? Status::success() : Status::internal("PMIx_Finalize failed");
  }

private:
  bool ask(unsigned rank, const std::shared_ptr<Answer> &answer) {
    pmix_proc_t peer = self;
    peer.rank = rank;
    auto *data = new std::shared_ptr<Answer>(answer);
    pmix_status_t status = PMIx_Get_nb(&peer, kKey, nullptr, 0, takeAnswer, data);
    if (status == PMIX_SUCCESS)
      return true;
    delete data; // it is not called
    return false;
  }

  pmix_proc_t self;
  unsigned count = 0;
};

} // namespace

std::unique_ptr<Launcher> Launcher::find() {
  if (!std::getenv("PMIX_NAMESPACE") || !std::getenv("PMIX_RANK"))
    return nullptr; // PMIx_Init would start a job of its own
  auto launcher = std::make_unique<PmixLauncher>();
  if (!launcher->open())
    return nullptr;
  return launcher;
}

} // namespace llmc::runtime
