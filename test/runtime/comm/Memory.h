//===- Memory.h - where operands of a test lie ------------------*- C++ -*-===//
#ifndef LLMC_TEST_RUNTIME_COMM_MEMORY_H
#define LLMC_TEST_RUNTIME_COMM_MEMORY_H

#include "runtime/comm/nccl/Abi.h"
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace llmc::test {

/// The host's memory.
class Memory {
public:
  virtual ~Memory() = default;
  virtual char *allocate(size_t bytes) const;
  virtual void release(char *address) const;
  virtual void write(char *to, const void *from, size_t bytes) const;
  virtual void read(void *to, const char *from, size_t bytes) const;
};

/// A GPU's, by way of a library that is CUDA's driver or stands in for it.
class GpuMemory : public Memory {
public:
  /// The GPUs that the library finds; 0 if it cannot be loaded.
  static unsigned count(const std::string &library);

  GpuMemory(const std::string &library, unsigned device);
  ~GpuMemory() override;
  char *allocate(size_t bytes) const override;
  void release(char *address) const override;
  void write(char *to, const void *from, size_t bytes) const override;
  void read(void *to, const char *from, size_t bytes) const override;

private:
  struct Functions;
  const std::unique_ptr<Functions> functions;
  runtime::nccl::CudaContext context = nullptr;
};

/// Bytes in a memory.
class Buffer {
public:
  Buffer(const Memory &memory, const std::vector<char> &bytes)
      : memory(memory), bytes(bytes.size()), start(memory.allocate(bytes.size() + 1)) {
    memory.write(start, bytes.data(), bytes.size());
  }
  ~Buffer() { memory.release(start); }
  Buffer(const Buffer &) = delete;
  Buffer &operator=(const Buffer &) = delete;

  char *address() const { return start; }
  size_t size() const { return bytes; }
  /// `count` bytes from byte `begin` on.
  std::vector<char> read(size_t begin, size_t count) const {
    std::vector<char> result(count);
    memory.read(result.data(), start + begin, count);
    return result;
  }
  std::vector<char> read() const { return read(0, bytes); }

private:
  const Memory &memory;
  const size_t bytes;
  char *const start;
};

} // namespace llmc::test

#endif // LLMC_TEST_RUNTIME_COMM_MEMORY_H
