//===- Place.h - where rank 0 listens, as a text ----------------*- C++ -*-===//
#ifndef LLMC_RUNTIME_COMM_RENDEZVOUS_PLACE_H
#define LLMC_RUNTIME_COMM_RENDEZVOUS_PLACE_H

#include <cstdint>
#include <string>

namespace llmc::runtime {

/// For WorldOptions and Rendezvous::meet.
struct Place {
  std::string addresses; // to try in turn, separated by commas
  uint16_t port = 0;
  uint64_t job = 0;
};

/// "HOST PORT JOB ADDRESS,ADDRESS,...": this machine's name, and the numeric addresses of its interfaces that are up.
std::string describeThisMachine(uint16_t port, uint64_t job);
/// Reads that. The first address is the machine's name, or the loopback's on that machine itself. False if it is none.
bool readPlace(const std::string &text, Place &place);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_COMM_RENDEZVOUS_PLACE_H
