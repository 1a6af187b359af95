//===- Launcher.h - what ranks know before MPI starts -----------*- C++ -*-===//
#ifndef LLMC_RUNTIME_COMM_MPI_LAUNCHER_H
#define LLMC_RUNTIME_COMM_MPI_LAUNCHER_H

#include "runtime/comm/rendezvous/Frames.h"
#include <memory>

namespace llmc::runtime {

/// The launcher's store of texts, over PMIx (https://pmix.github.io), which mpirun of Open MPI and srun of Slurm speak. It stays
/// usable while MPI starts, and does not wait for other ranks.
class Launcher {
public:
  /// Null if the launcher of this process does not speak PMIx, or this was built without it.
  static std::unique_ptr<Launcher> find();
  virtual ~Launcher() = default;

  virtual unsigned rank() const = 0;
  virtual unsigned size() const = 0;
  /// For all ranks to get; once.
  virtual Status put(const std::string &text) = 0;
  /// What `rank` has put, as soon as it has. Late: it has not, or is not there.
  virtual Outcome get(unsigned rank, std::string &text, Until until) = 0;
  /// The orderly end, after MPI's. Nothing is called afterwards.
  virtual Status leave() = 0;
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_COMM_MPI_LAUNCHER_H
