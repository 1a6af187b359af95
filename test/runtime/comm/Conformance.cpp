//===- Conformance.cpp - what every communicator must do ------------------===//
//
// Every rank can compute every other rank's operands, and so what each collective must give, serially and in rank
// order.
//
//===----------------------------------------------------------------------===//
#include "test/runtime/comm/Conformance.h"
#include "runtime/plan/View.h"
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>

using namespace llmc::runtime;

namespace llmc::test {
namespace {

using Bytes = std::vector<char>;
using Counts = std::vector<size_t>;

/// Values of magnitudes so different that the order of additions shows in the bits.
template <typename T> T value(uint64_t key) {
  key = (key + 1) * 0x9E3779B97F4A7C15ull;
  key = (key ^ key >> 29) * 0xBF58476D1CE4E5B9ull;
  key ^= key >> 32;
  if constexpr (std::is_floating_point_v<T>)
    return static_cast<T>((static_cast<double>(key % 20001) - 10000) / (key >> 60 & 7 ? 7.0 : 0.007));
  else
    return static_cast<T>(key);
}

template <typename T> Bytes valuesOf(unsigned rank, size_t operand, size_t count) {
  Bytes bytes(count * sizeof(T));
  for (size_t i = 0; i < count; ++i) {
    T each = value<T>((rank * 131ull + operand) * 1000003ull + i);
    std::memcpy(bytes.data() + i * sizeof(T), &each, sizeof(T));
  }
  return bytes;
}

/// Of floats.
template <typename T> Bytes magnitudes(Bytes bytes) {
  for (size_t i = 0; i < bytes.size() / sizeof(T); ++i)
    reinterpret_cast<T *>(bytes.data())[i] = std::abs(reinterpret_cast<const T *>(bytes.data())[i]);
  return bytes;
}

/// Numbers that are not like others.
template <typename T> std::vector<T> specialValues() {
  using Limits = std::numeric_limits<T>;
  if constexpr (std::is_floating_point_v<T>)
    return {T(1), T(0), -T(0), Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN(), Limits::denorm_min(), Limits::max(), Limits::lowest()};
  else
    return {T(0), T(1), T(-1), Limits::max(), Limits::min()};
}

/// The sum in the order of `values`, or their largest: NaN if one is, the first of equal ones.
template <typename T> T reduceSpecials(const std::vector<T> &values, Reduction reduction) {
  T result = values[0];
  for (size_t i = 1; i < values.size(); ++i) {
    T next = values[i];
    if (reduction == Reduction::Max)
      result = next > result || next != next ? next : result;
    else if constexpr (std::is_integral_v<T>)
      result = static_cast<T>(static_cast<uint64_t>(result) + static_cast<uint64_t>(next));
    else
      result += next;
  }
  return result;
}

template <typename T> Bytes serial(const std::vector<Bytes> &sources, Reduction reduction) {
  Bytes result = sources[0];
  T *sums = reinterpret_cast<T *>(result.data());
  for (size_t r = 1; r < sources.size(); ++r)
    for (size_t i = 0; i < result.size() / sizeof(T); ++i) {
      T next = reinterpret_cast<const T *>(sources[r].data())[i];
      if (reduction == Reduction::Max)
        sums[i] = std::max(sums[i], next);
      else if constexpr (std::is_integral_v<T>)
        sums[i] = static_cast<T>(static_cast<uint64_t>(sums[i]) + static_cast<uint64_t>(next));
      else
        sums[i] += next;
    }
  return result;
}

class Checker {
public:
  Checker(World &world, const Memory &memory, const Promises &promises)
      : world(world), memory(memory), promises(promises) {}

  Outcome run() {
    world.setDeadline(std::chrono::seconds(20));
    group(world.all(), "world");
    subgroups();
    wrongUse(world.all());
    status(world.finish(), "finish");
    return outcome;
  }

private:
  void problem(const std::string &text) {
    outcome.problems += "rank " + std::to_string(world.rank()) + ", " + text + "\n";
  }
  bool status(const Status &got, const std::string &what) {
    if (!got.ok())
      problem(what + ": " + got.message);
    return got.ok();
  }
  void same(const Bytes &got, const Bytes &expected, const std::string &what) {
    if (got != expected)
      problem(what + ": wrong bits");
    for (char byte : got)
      outcome.digest = (outcome.digest ^ static_cast<unsigned char>(byte)) * 0x100000001B3ull;
  }

  /// Sums of n floats in any order: within n roundings of the sum of their magnitudes.
  template <typename T>
  void near(const Bytes &got, const Bytes &expected, const Bytes &most, unsigned n, const std::string &what) {
    bool good = got.size() == expected.size();
    for (size_t i = 0; i < expected.size() / sizeof(T) && good; ++i) {
      auto at = [&](const Bytes &bytes) { return reinterpret_cast<const T *>(bytes.data())[i]; };
      good = std::abs(at(got) - at(expected)) <= static_cast<T>(n) * std::numeric_limits<T>::epsilon() * at(most);
    }
    if (!good)
      problem(what + ": wrong values");
  }

  /// One call: operand k has fromParts * counts[k] elements to send and toParts * counts[k] to get; `expect` gives what
  /// operand k must get, and `most`, where given, the magnitudes that bound the rounding. In place, the smaller side
  /// lies at this rank's part of the larger one.
  template <typename T>
  void collective(Communicator &comm, const std::string &what, const Counts &counts, size_t fromParts, size_t toParts,
                  bool inPlace, uint64_t bytesSent, const std::function<Status(std::span<const Operand>)> &call,
                  const std::function<Bytes(size_t)> &expect, const std::function<Bytes(size_t)> &most = nullptr) {
    std::vector<std::unique_ptr<Buffer>> buffers;
    std::vector<std::pair<const Buffer *, size_t>> results; // and where they begin
    std::vector<Operand> operands(counts.size());
    for (size_t k = 0; k < counts.size(); ++k) {
      size_t part = comm.rank() * counts[k] * sizeof(T);
      Bytes from = valuesOf<T>(comm.ranks()[comm.rank()], k, fromParts * counts[k]);
      Bytes to(toParts * counts[k] * sizeof(T), 99);
      auto place = [&](const Bytes &bytes) {
        buffers.push_back(std::make_unique<Buffer>(memory, bytes));
        return buffers.back().get();
      };
      if (inPlace && fromParts < toParts) {
        std::copy(from.begin(), from.end(), to.begin() + static_cast<ptrdiff_t>(part));
        const Buffer *both = place(to);
        operands[k] = {both->address() + part, both->address(), counts[k]};
        results.emplace_back(both, 0);
      } else if (inPlace) {
        const Buffer *both = place(from);
        size_t begin = fromParts > toParts ? part : 0;
        operands[k] = {both->address(), both->address() + begin, counts[k]};
        results.emplace_back(both, begin);
      } else {
        const Buffer *source = place(from), *target = place(to);
        operands[k] = {source->address(), target->address(), counts[k]};
        results.emplace_back(target, 0);
      }
    }
    uint64_t before = comm.traffic().bytesSent;
    if (!status(call(operands), what))
      return;
    if (comm.traffic().bytesSent - before != bytesSent)
      problem(what + ": sent " + std::to_string(comm.traffic().bytesSent - before) + " bytes, not " +
              std::to_string(bytesSent));
    for (size_t k = 0; k < counts.size(); ++k) {
      Bytes got = results[k].first->read(results[k].second, toParts * counts[k] * sizeof(T));
      if constexpr (std::is_floating_point_v<T>)
        if (most) {
          near<T>(got, expect(k), most(k), comm.size(), what + ", operand " + std::to_string(k));
          continue;
        }
      same(got, expect(k), what + ", operand " + std::to_string(k));
    }
  }

  template <typename T> void reductions(Communicator &comm, fb::DataType type, const Counts &counts, std::string what) {
    unsigned n = comm.size(), me = comm.rank();
    size_t total = std::accumulate(counts.begin(), counts.end(), size_t(0));
    size_t part = total / n + (me < total % n ? 1 : 0);
    what += std::string(", ") + fb::EnumNameDataType(type) + ", " + std::to_string(counts.size()) + " operands";
    auto reduced = [&](size_t k, size_t parts, Reduction reduction, bool magnitude = false) {
      std::vector<Bytes> sources;
      for (unsigned rank : comm.ranks()) {
        sources.push_back(valuesOf<T>(rank, k, parts * counts[k]));
        if constexpr (std::is_floating_point_v<T>)
          sources.back() = magnitude ? magnitudes<T>(sources.back()) : sources.back();
      }
      return serial<T>(sources, reduction);
    };
    auto ownPart = [&](size_t k, const Bytes &all) {
      size_t size = counts[k] * sizeof(T);
      return Bytes(all.data() + me * size, all.data() + (me + 1) * size);
    };
    for (bool inPlace : {false, true})
      for (Reduction reduction : {Reduction::Sum, Reduction::Max}) {
        bool rounded = std::is_floating_point_v<T> && reduction == Reduction::Sum && !promises.rankOrder;
        auto most = [&](size_t k, size_t parts) { return reduced(k, parts, Reduction::Sum, true); };
        using Bound = std::function<Bytes(size_t)>;
        // 2P(n-1)/n, to the element: all parts but the own to be reduced, the own part to be spread.
        collective<T>(
            comm, what + ", allReduce", counts, 1, 1, inPlace, (total - part + (n - 1) * part) * sizeof(T),
            [&](auto operands) { return comm.allReduce(operands, type, reduction); },
            [&](size_t k) { return reduced(k, 1, reduction); },
            rounded ? Bound([&](size_t k) { return most(k, 1); }) : nullptr);
        collective<T>(
            comm, what + ", reduceScatter", counts, n, 1, inPlace, (n - 1) * total * sizeof(T),
            [&](auto operands) { return comm.reduceScatter(operands, type, reduction); },
            [&](size_t k) { return ownPart(k, reduced(k, n, reduction)); },
            rounded ? Bound([&](size_t k) { return ownPart(k, most(k, n)); }) : nullptr);
      }
  }

  /// Each special number in each rank's place, with each other one in all other places.
  template <typename T> void specials(Communicator &comm, fb::DataType type, const std::string &what) {
    const std::vector<T> values = specialValues<T>();
    unsigned n = comm.size();
    size_t pairs = values.size() * values.size(), cases = pairs * n;
    auto valueAt = [&](unsigned rank, size_t i) {
      bool isPlace = rank == i % cases / pairs;
      return values[isPlace ? i % values.size() : i % pairs / values.size()];
    };
    // Long enough for each case to come into whole vectors and into what is left of them; and too short for a vector.
    for (size_t begin : {size_t(0), cases / 5, 2 * cases / 5, 3 * cases / 5, 4 * cases / 5})
      for (size_t count : begin ? std::vector<size_t>{7} : std::vector<size_t>{5 * cases + 3, cases})
        for (Reduction reduction : {Reduction::Sum, Reduction::Max})
          for (unsigned parts : {1u, n}) {
            Bytes from(parts * count * sizeof(T));
            for (size_t i = 0; i < parts * count; ++i)
              reinterpret_cast<T *>(from.data())[i] = valueAt(comm.rank(), begin + i % count);
            Buffer source(memory, from), target(memory, Bytes(count * sizeof(T), 99));
            Operand operand{source.address(), target.address(), count};
            Status done = parts == 1 ? comm.allReduce({&operand, 1}, type, reduction) : comm.reduceScatter({&operand, 1}, type, reduction);
            if (!status(done, what + ", special values"))
              return;
            Bytes got = target.read();
            for (size_t i = 0; i < count; ++i) {
              std::vector<T> operands;
              for (unsigned rank = 0; rank < n; ++rank)
                operands.push_back(valueAt(rank, begin + i));
              special(reinterpret_cast<const T *>(got.data())[i], operands, reduction, what + ", " + fb::EnumNameDataType(type));
            }
          }
  }

  template <typename T> void special(T got, std::vector<T> operands, Reduction reduction, const std::string &what) {
    if constexpr (std::is_floating_point_v<T>)
      if (!promises.rankOrder) {
        auto isHuge = [](T each) { return std::isfinite(each) && std::abs(each) > 2; };
        if (reduction == Reduction::Sum && std::any_of(operands.begin(), operands.end(), isHuge))
          return; // whether the sum overflows depends on the order
        auto isNumber = [](T each) { return each == each; };
        if (reduction == Reduction::Max && std::any_of(operands.begin(), operands.end(), isNumber))
          std::erase_if(operands, [&](T each) { return !isNumber(each); });
      }
    T expected = reduceSpecials(operands, reduction);
    bool good = expected != expected ? got != got : got == expected;
    if constexpr (std::is_floating_point_v<T>)
      good = good && (!promises.rankOrder || expected != expected || std::signbit(got) == std::signbit(expected));
    if (good)
      return;
    std::string list;
    for (T each : operands)
      list += " " + std::to_string(each);
    problem(what + (reduction == Reduction::Sum ? ", the sum of" : ", the largest of") + list + " is not " + std::to_string(got));
  }

  template <typename T> void movements(Communicator &comm, fb::DataType type, const Counts &counts, std::string what) {
    unsigned n = comm.size(), me = comm.rank();
    size_t total = std::accumulate(counts.begin(), counts.end(), size_t(0));
    what += std::string(", ") + fb::EnumNameDataType(type) + ", " + std::to_string(counts.size()) + " operands";
    for (bool inPlace : {false, true}) {
      collective<T>(
          comm, what + ", allGather", counts, 1, n, inPlace, (n - 1) * total * sizeof(T),
          [&](auto operands) { return comm.allGather(operands, type); },
          [&](size_t k) {
            Bytes all;
            for (unsigned rank : comm.ranks()) {
              Bytes each = valuesOf<T>(rank, k, counts[k]);
              all.insert(all.end(), each.begin(), each.end());
            }
            return all;
          });
      for (unsigned root = 0; root < n; ++root) {
        uint64_t sent = me == root && n > 1 ? total : 0;
        if (me != root && n > 1) {
          size_t place = (me + n - root) % n - 1;
          sent = (total / (n - 1) + (place < total % (n - 1) ? 1 : 0)) * (n - 2);
        }
        collective<T>(
            comm, what + ", broadcast", counts, 1, 1, inPlace, sent * sizeof(T),
            [&](auto operands) { return comm.broadcast(operands, type, root); },
            [&](size_t k) { return valuesOf<T>(comm.ranks()[root], k, counts[k]); });
      }
    }
    collective<T>(
        comm, what + ", allToAll", counts, n, n, false, (n - 1) * total * sizeof(T),
        [&](auto operands) { return comm.allToAll(operands, type); },
        [&](size_t k) {
          Bytes all;
          size_t size = counts[k] * sizeof(T);
          for (unsigned rank : comm.ranks()) {
            Bytes each = valuesOf<T>(rank, k, n * counts[k]);
            all.insert(all.end(), each.begin() + static_cast<ptrdiff_t>(me * size),
                       each.begin() + static_cast<ptrdiff_t>((me + 1) * size));
          }
          return all;
        });
  }

  /// To both neighbours at once, and in pairs with tags that arrive in another order than they are received.
  void messages(Communicator &comm, const std::string &what) {
    unsigned n = comm.size(), me = comm.rank(), next = (me + 1) % n, last = (me + n - 1) % n;
    if (n == 1)
      return;
    for (size_t count : {size_t(0), size_t(3), size_t(200000)}) {
      Bytes empty(count * sizeof(float));
      Buffer forward(memory, valuesOf<float>(me, 1, count)), back(memory, valuesOf<float>(me, 2, count));
      Buffer fromLast(memory, empty), fromNext(memory, empty);
      Transfer transfers[] = {{Transfer::Send, next, 5, forward.address(), forward.size()},
                              {Transfer::Receive, next, 6, fromNext.address(), fromNext.size()},
                              {Transfer::Send, last, 6, back.address(), back.size()},
                              {Transfer::Receive, last, 5, fromLast.address(), fromLast.size()}};
      status(comm.exchange(transfers), what + ", ring");
      same(fromLast.read(), valuesOf<float>(last, 1, count), what + ", from the last");
      same(fromNext.read(), valuesOf<float>(next, 2, count), what + ", from the next");
    }
    pair(comm, what);
  }

  /// Two messages from rank 0 to rank 1, which asks for the second first; then one more.
  void pair(Communicator &comm, const std::string &what) {
    Bytes first = valuesOf<float>(0, 3, 50), second = valuesOf<float>(0, 4, 50);
    Buffer one(memory, first), two(memory, second);
    if (comm.rank() == 0) {
      Transfer both[] = {{Transfer::Send, 1, 1, one.address(), one.size()},
                         {Transfer::Send, 1, 2, two.address(), two.size()}};
      status(comm.exchange(both), what + ", two sends");
      status(comm.send(1, 3, {reinterpret_cast<const std::byte *>(one.address()), one.size()}), what + ", send");
    } else if (comm.rank() == 1) {
      Buffer got(memory, Bytes(first.size())), later(memory, Bytes(second.size()));
      auto place = [](const Buffer &buffer) {
        return std::span(reinterpret_cast<std::byte *>(buffer.address()), buffer.size());
      };
      if (promises.tags) {
        status(comm.recv(0, 2, place(later)), what + ", recv");
        status(comm.recv(0, 1, place(got)), what + ", recv");
      } else {
        Transfer both[] = {{Transfer::Receive, 0, 2, later.address(), later.size()},
                           {Transfer::Receive, 0, 1, got.address(), got.size()}};
        status(comm.exchange(both), what + ", two receives");
      }
      same(got.read(), first, what + ", tag 1");
      same(later.read(), second, what + ", tag 2");
      status(comm.recv(0, 3, place(later)), what + ", recv");
      same(later.read(), first, what + ", tag 3");
    }
  }

  void group(Communicator &comm, const std::string &what) {
    for (const Counts &counts : {Counts{}, {1}, {7}, {0, 5}}) {
      reductions<float>(comm, fb::DataType::F32, counts, what);
      movements<uint8_t>(comm, fb::DataType::U8, counts, what);
    }
    Counts bucket = {1000, 3, 0, 17};
    reductions<float>(comm, fb::DataType::F32, bucket, what);
    reductions<double>(comm, fb::DataType::F64, bucket, what);
    reductions<int32_t>(comm, fb::DataType::I32, bucket, what);
    reductions<int64_t>(comm, fb::DataType::I64, bucket, what);
    movements<uint16_t>(comm, fb::DataType::BF16, bucket, what);
    movements<int64_t>(comm, fb::DataType::I64, bucket, what);
    reductions<float>(comm, fb::DataType::F32, {150000, 150001, 5}, what);
    movements<float>(comm, fb::DataType::F32, {150001}, what);
    specials<float>(comm, fb::DataType::F32, what);
    specials<double>(comm, fb::DataType::F64, what);
    specials<int32_t>(comm, fb::DataType::I32, what);
    specials<int64_t>(comm, fb::DataType::I64, what);
    messages(comm, what);
    status(comm.barrier(), what + ", barrier");
  }

  /// Rows and columns of a mesh, groups that overlap, a group in another order, the same group twice.
  void subgroups() {
    std::vector<std::vector<unsigned>> lists;
    std::vector<unsigned> reversed(world.size());
    std::iota(reversed.rbegin(), reversed.rend(), 0u);
    lists.push_back(reversed);
    lists.push_back(reversed);
    if (world.size() == 4)
      lists.insert(lists.end(), {{0, 1}, {2, 3}, {0, 2}, {1, 3}, {2, 0, 3}, {3}});
    std::vector<std::unique_ptr<Communicator>> groups;
    for (const std::vector<unsigned> &ranks : lists) {
      if (std::find(ranks.begin(), ranks.end(), world.rank()) == ranks.end())
        continue;
      auto made = world.group(ranks);
      if (!status(made.status(), "group"))
        return;
      if ((*made)->ranks() != ranks)
        problem("a group has other ranks than asked for");
      groups.push_back(std::move(*made));
    }
    for (size_t i = 0; i < groups.size(); ++i) {
      reductions<float>(*groups[i], fb::DataType::F32, {33, 4}, "group " + std::to_string(i));
      movements<float>(*groups[i], fb::DataType::F32, {33, 4}, "group " + std::to_string(i));
      messages(*groups[i], "group " + std::to_string(i));
    }
  }

  /// Wrong arguments are refused before anything is sent: the communicator stays usable.
  void wrongUse(Communicator &comm) {
    float number = 0;
    Operand operand{&number, &number, 1}, none{nullptr, nullptr, 1};
    auto refused = [&](const Status &status, const std::string &what) {
      if (status.code != StatusCode::WrongUse)
        problem(what + " was not refused");
    };
    refused(comm.allReduce({&operand, 1}, fb::DataType::BF16, Reduction::Sum), "a sum of bf16");
    refused(comm.allReduce({&none, 1}, fb::DataType::F32, Reduction::Sum), "a null operand");
    refused(comm.broadcast({&operand, 1}, fb::DataType::F32, comm.size()), "a root outside");
    refused(comm.send(comm.rank(), 0, {}), "a message to oneself");
    refused(comm.send(comm.size(), 0, {}), "a message to nobody");
    refused(world.group({world.rank(), world.rank()}).status(), "a group with a rank twice");
    refused(world.group({world.rank(), world.size()}).status(), "a group with a rank outside");
    refused(world.group({}).status(), "a group without this rank");
    status(comm.barrier(), "barrier after wrong use");
  }

  World &world;
  const Memory &memory;
  const Promises promises;
  Outcome outcome;
};

} // namespace

Outcome checkConformance(World &world, const Memory &memory, const Promises &promises) {
  return Checker(world, memory, promises).run();
}

} // namespace llmc::test
