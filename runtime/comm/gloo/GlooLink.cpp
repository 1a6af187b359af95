//===- GlooLink.cpp - messages over Gloo's TCP transport ------------------===//
//
// Of Gloo only the transport is used: connections between all pairs of processes, with a thread that reads and writes
// them, and unbound buffers. Gloo closes all connections when a wait of its own times out, so its waits get no timeout
// here: a ticker interrupts them.
//
//===----------------------------------------------------------------------===//
#include "runtime/comm/Failure.h"
#include "runtime/comm/Plugin.h"
#include "runtime/comm/gloo/Rendezvous.h"
#include "runtime/comm/network/NetworkWorld.h"
#include <condition_variable>
#include <csignal>
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

  Status connect(const WorldOptions &options) {
    Result<std::unique_ptr<Rendezvous>> rendezvous = Rendezvous::meet(options);
    if (!rendezvous.ok())
      return rendezvous.status();
    unsigned peer = own;
    try {
      WithoutPipeSignal guard; // inherited by Gloo's thread
      ::gloo::transport::tcp::attr attributes;
      attributes.hostname = (*rendezvous)->ownAddress();
      device = ::gloo::transport::tcp::CreateDevice(attributes);
      context = device->createContext(static_cast<int>(own), static_cast<int>(count));
      context->setTimeout(options.deadline);
      std::string addresses; // at which this rank waits for each other
      size_t bytes = 0;
      for (unsigned i = 0; i < count; ++i)
        if (i != own)
          bytes = context->createPair(static_cast<int>(i))->address().bytes().size();
      for (unsigned i = 0; i < count; ++i) {
        std::vector<char> address(bytes, 0);
        if (i != own)
          address = context->getPair(static_cast<int>(i))->address().bytes();
        addresses.append(address.begin(), address.end());
      }
      Result<std::vector<std::string>> all = (*rendezvous)->gather(addresses);
      if (!all.ok())
        return all.status();
      for (peer = 0; peer < count; ++peer) {
        if (peer == own)
          continue;
        std::string address = (*all)[peer].substr(own * bytes, bytes);
        context->getPair(static_cast<int>(peer))->connect({address.begin(), address.end()});
      }
    } catch (const std::exception &error) {
      return peer == own ? Status::internal(std::string("Gloo: ") + error.what()) : rankDied(peer);
    }
    return Status::success();
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
