//===- History.h - the last instructions of a rank --------------*- C++ -*-===//
#ifndef LLMC_RUNTIME_EXECUTOR_HISTORY_H
#define LLMC_RUNTIME_EXECUTOR_HISTORY_H

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

namespace llmc::runtime {

/// What a rank did last, for the day on which it hangs. One thread writes; any may read, and sees each entry whole or, while
/// it is being overwritten, not at all.
class History {
public:
  static constexpr uint64_t kEntries = 1024;

  struct Entry {
    uint64_t step = 0;
    uint32_t micro = 0, segment = 0, instruction = 0;
    int64_t begin = 0, end = 0; // nanoseconds; end 0: it has not ended
  };

  void begin(const Entry &entry) {
    uint64_t number = count.load(std::memory_order_relaxed);
    Slot &slot = slots[number % kEntries];
    slot.number.store(0, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
    slot.step.store(entry.step, std::memory_order_relaxed);
    slot.micro.store(entry.micro, std::memory_order_relaxed);
    slot.segment.store(entry.segment, std::memory_order_relaxed);
    slot.instruction.store(entry.instruction, std::memory_order_relaxed);
    slot.begin.store(entry.begin, std::memory_order_relaxed);
    slot.end.store(0, std::memory_order_relaxed);
    slot.number.store(number + 1, std::memory_order_release);
    count.store(number + 1, std::memory_order_release);
  }
  /// The entry begun last has ended.
  void end(int64_t time) {
    slots[(count.load(std::memory_order_relaxed) - 1) % kEntries].end.store(time, std::memory_order_relaxed);
  }

  /// Oldest first.
  std::vector<Entry> entries() const {
    std::vector<Entry> result;
    uint64_t last = count.load(std::memory_order_acquire);
    for (uint64_t number = last > kEntries ? last - kEntries : 0; number < last; ++number) {
      const Slot &slot = slots[number % kEntries];
      if (slot.number.load(std::memory_order_acquire) != number + 1)
        continue;
      Entry entry{slot.step.load(std::memory_order_relaxed),        slot.micro.load(std::memory_order_relaxed),
                  slot.segment.load(std::memory_order_relaxed),     slot.instruction.load(std::memory_order_relaxed),
                  slot.begin.load(std::memory_order_relaxed),       slot.end.load(std::memory_order_relaxed)};
      std::atomic_thread_fence(std::memory_order_acquire);
      if (slot.number.load(std::memory_order_relaxed) == number + 1)
        result.push_back(entry);
    }
    return result;
  }

private:
  struct Slot {
    std::atomic<uint64_t> number{0}, step{0}; // number: 1 for the first entry ever; 0 while it is written
    std::atomic<uint32_t> micro{0}, segment{0}, instruction{0};
    std::atomic<int64_t> begin{0}, end{0};
  };
  std::array<Slot, kEntries> slots;
  std::atomic<uint64_t> count{0};
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_EXECUTOR_HISTORY_H
