//===- Place.h - where other ranks reach this machine -----------*- C++ -*-===//
#ifndef LLMC_RUNTIME_COMM_MPI_PLACE_H
#define LLMC_RUNTIME_COMM_MPI_PLACE_H

#include <cstdint>
#include <string>

namespace llmc::runtime {

/// "HOST PORT ADDRESS,ADDRESS,...": the machine's name, and the numeric addresses of its interfaces that are up.
std::string placeOfThisMachine(uint16_t port);
/// Reads that: `addresses` become those to try in turn, separated by commas; on that machine itself the loopback's, too.
/// False if it is none.
bool readPlace(const std::string &text, std::string &addresses, uint16_t &port);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_COMM_MPI_PLACE_H
