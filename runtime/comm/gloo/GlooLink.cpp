//===- GlooLink.cpp - messages over Gloo's TCP transport ------------------===//
//
// Of Gloo only the transport is used: connections between all pairs of processes, with a thread that reads and writes
// them, and unbound buffers. Gloo closes all connections when a wait of its own times out, so its waits get no timeout
// here: a ticker interrupts them.
//
//===----------------------------------------------------------------------===//
#include "runtime/comm/Failure.h"
#include "runtime/comm/Plugin.h"
#include "runtime/comm/network/NetworkWorld.h"
#include "runtime/comm/rendezvous/Rendezvous.h"
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <future>
#include <gloo/transport/context.h>
#include <gloo/transport/device.h>
#include <gloo/transport/tcp/device.h>
#include <gloo/transport/unbound_buffer.h>
#include <thread>

namespace llmc::runtime {
namespace {

using Buffer = ::gloo::transport::UnboundBuffer;
using namespace std::chrono_literals;

/// Interrupts a wait that has gone on for a tick or two.
class Ticker {
public:
  Ticker() : thread([this] { loop(); }) {}
  ~Ticker() {
    {
      std::lock_guard<std::mutex> lock(mutex);
      stopping = true;
    }
    changed.notify_one();
    thread.join();
  }

  /// Whether `buffer` is complete; throws if its peer is lost.
  bool wait(Buffer &buffer, bool send) {
    watch(&buffer, send);
    try {
      bool done = send ? buffer.waitSend(nullptr, kLong) : buffer.waitRecv(nullptr, kLong);
      watch(nullptr, send);
      return done;
    } catch (...) {
      watch(nullptr, send);
      throw;
    }
  }

private:
  static constexpr std::chrono::milliseconds kTick = 5ms, kLong = std::chrono::hours(1000);

  void watch(Buffer *buffer, bool send) {
    std::lock_guard<std::mutex> lock(mutex);
    watched = buffer;
    sends = send;
    fresh = true;
  }
  void loop() {
    std::unique_lock<std::mutex> lock(mutex);
    while (!changed.wait_for(lock, kTick, [&] { return stopping; })) {
      if (watched && !fresh)
        sends ? watched->abortWaitSend() : watched->abortWaitRecv();
      fresh = false;
    }
  }

  std::mutex mutex;
  std::condition_variable changed;
  Buffer *watched = nullptr;
  bool sends = false, fresh = false, stopping = false;
  std::thread thread;
};

/// Keeps a write to a closed connection from ending the process.
class WithoutPipeSignal {
public:
  WithoutPipeSignal() {
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
  }
  ~WithoutPipeSignal() {
    timespec none{};
    if (!sigismember(&before, SIGPIPE))
      while (sigtimedwait(&pipe, nullptr, &none) == SIGPIPE)
        ;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

private:
  sigset_t pipe, before;
};

class GlooLink : public Link {
public:
  GlooLink(unsigned rank, unsigned size) : own(rank), count(size) {}

  unsigned rank() const override { return own; }
  unsigned size() const override { return count; }
  uint64_t maximumTag() const override { return UINT64_MAX; }

  /// Pairs connect in a thread of their own, since Gloo waits for a peer for long and one at a time: what a rank that has
  /// stopped holds up is then not taken for missing too.
  Status connect(const WorldOptions &options) {
    Result<std::unique_ptr<Rendezvous>> rendezvous = Rendezvous::meet(options);
    if (!rendezvous.ok())
      return rendezvous.status();
    WithoutPipeSignal guard; // inherited by Gloo's thread
    Result<std::vector<Address>> addresses = exchangeAddresses(**rendezvous, options.deadline);
    if (!addresses.ok())
      return addresses.status();
    std::atomic<unsigned> peer = own;
    std::atomic<bool> stops = false;
    std::future<Status> pairs =
        std::async(std::launch::async, [&] { return connectPairs(*addresses, peer, stops); });
    auto end = Clock::now() + options.deadline;
    Status status = (*rendezvous)->conclude([&]() -> std::optional<Status> {
      if (pairs.wait_for(0s) == std::future_status::ready)
        return pairs.get();
      if (Clock::now() < end)
        return std::nullopt;
      return deadlinePassed({peer}, options.deadline);
    });
    stops = true;
    while (pairs.valid() && pairs.wait_for(5ms) != std::future_status::ready)
      if (peer != own)
        context->getPair(static_cast<int>(peer))->close(); // ends the wait for it
    return status;
  }

  Progress start(size_t number, const Packet &packet) override {
    messages.resize(std::max(messages.size(), number + 1));
    try {
      WithoutPipeSignal guard;
      messages[number] = {context->createUnboundBuffer(packet.data, packet.bytes), packet.send};
      Buffer &buffer = *messages[number].buffer;
      if (packet.send)
        buffer.send(static_cast<int>(packet.peer), packet.tag, 0, packet.bytes);
      else if (packet.peer != Packet::kAnyone)
        buffer.recv(static_cast<int>(packet.peer), packet.tag, 0, packet.bytes);
      else
        buffer.recv(others(), packet.tag, 0, packet.bytes);
      return Progress::Pending;
    } catch (const std::exception &) {
      messages[number].buffer.reset();
      return Progress::Lost;
    }
  }

  Progress wait(size_t number) override {
    Message &message = messages[number];
    try {
      if (!ticker.wait(*message.buffer, message.send))
        return Progress::Pending;
      message.buffer.reset();
      return Progress::Done;
    } catch (const std::exception &) {
      message.buffer.reset();
      return Progress::Lost;
    }
  }

  void drop(size_t first) override { messages.resize(std::min(messages.size(), first)); }
  Status close() override { return Status::success(); }

private:
  struct Message {
    std::unique_ptr<Buffer> buffer;
    bool send = false;
  };

  using Address = std::vector<char>;

  /// At which each other rank waits for this one.
  Result<std::vector<Address>> exchangeAddresses(Rendezvous &rendezvous, std::chrono::milliseconds deadline) {
    std::string mine; // at which this rank waits for each other; all addresses have one length
    size_t bytes = 0;
    try {
      ::gloo::transport::tcp::attr attributes;
      attributes.hostname = rendezvous.ownAddress();
      device = ::gloo::transport::tcp::CreateDevice(attributes);
      context = device->createContext(static_cast<int>(own), static_cast<int>(count));
      context->setTimeout(deadline);
      for (int i : others())
        bytes = context->createPair(i)->address().bytes().size();
      for (unsigned i = 0; i < count; ++i) {
        Address address = i == own ? Address(bytes, 0) : context->getPair(static_cast<int>(i))->address().bytes();
        mine.append(address.begin(), address.end());
      }
    } catch (const std::exception &error) {
      return Status::internal(std::string("Gloo: ") + error.what());
    }
    Result<std::vector<std::string>> all = rendezvous.gather(mine);
    if (!all.ok())
      return all.status();
    std::vector<Address> addresses;
    for (const std::string &each : *all) {
      if (each.size() != mine.size())
        return Status::wrongUse("ranks have other addresses of Gloo", "install the same version of libgloo on all machines");
      addresses.emplace_back(each.begin() + static_cast<std::ptrdiff_t>(own * bytes),
                             each.begin() + static_cast<std::ptrdiff_t>((own + 1) * bytes));
    }
    return addresses;
  }

  /// `peer`: who is waited for. Once `stops`, no other pair begins to connect.
  Status connectPairs(const std::vector<Address> &addresses, std::atomic<unsigned> &peer, const std::atomic<bool> &stops) {
    try {
      for (int i : others()) {
        if (stops)
          break;
        peer = static_cast<unsigned>(i);
        context->getPair(i)->connect(addresses[static_cast<size_t>(i)]);
      }
    } catch (const std::exception &) {
      return rankDied(peer);
    }
    return Status::success();
  }

  std::vector<int> others() const {
    std::vector<int> ranks;
    for (unsigned i = 0; i < count; ++i)
      if (i != own)
        ranks.push_back(static_cast<int>(i));
    return ranks;
  }

  const unsigned own, count;
  std::shared_ptr<::gloo::transport::Device> device;
  std::shared_ptr<::gloo::transport::Context> context;
  std::vector<Message> messages;
  Ticker ticker;
};

} // namespace
} // namespace llmc::runtime

void llmcOpenWorld(const llmc::runtime::WorldOptions &options, llmc::runtime::Status &status,
                   std::unique_ptr<llmc::runtime::World> &world) {
  using namespace llmc::runtime;
  auto link = std::make_unique<GlooLink>(options.rank, options.size);
  if (options.size > 1)
    status = link->connect(options);
  if (status.ok())
    world = std::make_unique<NetworkWorld>(std::move(link), options.deadline);
}
