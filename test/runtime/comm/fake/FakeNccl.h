//===- FakeNccl.h - how tests make the fake NCCL misbehave ------*- C++ -*-===//
#ifndef LLMC_TEST_RUNTIME_COMM_FAKE_FAKENCCL_H
#define LLMC_TEST_RUNTIME_COMM_FAKE_FAKENCCL_H

namespace llmc::test {

/// What the next groups of calls do on the ranks with that number in their communicators, in this process: -1 they
/// never end; > 0 they fail with that NcclResult while they run; 0 as usual.
using MisbehaveFunction = void(int rank, int how);
inline constexpr char kMisbehaveSymbol[] = "fakeNcclMisbehave";

} // namespace llmc::test

extern "C" llmc::test::MisbehaveFunction fakeNcclMisbehave;

#endif // LLMC_TEST_RUNTIME_COMM_FAKE_FAKENCCL_H
