//===- Readers.h - what reads the values of keys that are more than one number or word -*- C++ -*-===//
#ifndef LLMC_FRONTENDS_RECIPE_READERS_H
#define LLMC_FRONTENDS_RECIPE_READERS_H

#include "frontends/recipe/Binder.h"

namespace llmc::recipe {

// Limits. Reals become f32 in the step; counts beyond these are slips of the keyboard.
inline constexpr double kMaxReal = 3.4028234e38, kMinReal = 1.1754944e-38;
inline constexpr double kMaxRate = 1e6;       // no model survives a learning rate beyond
inline constexpr double kMaxBeta = 0.9999999; // the next one is 1 in f32
inline constexpr int64_t kMaxSamples = int64_t(1) << 24;
inline constexpr int64_t kMaxDimension = int64_t(1) << 30;
inline constexpr int64_t kMaxRanks = int64_t(1) << 20;
inline constexpr int64_t kMaxSteps = int64_t(1) << 40;

using Path = const std::string &;

/// A mapping whose keys are the rows of the table below `path`.
void readSection(const Value &value, Path path, Binder &b);
void readLoss(const Value &value, Path path, Binder &b);
void readAddedLoss(const Value &value, Path path, Binder &b);
void readData(const Value &value, Path path, Binder &b);
void readShapes(const Value &value, Path path, Binder &b);
void readBatch(const Value &value, Path path, Binder &b);
void readMicro(const Value &value, Path path, Binder &b);
void readOptimizer(const Value &value, Path path, Binder &b);
void readBetas(const Value &value, Path path, Binder &b);
void readNoDecay(const Value &value, Path path, Binder &b);
void readSchedule(const Value &value, Path path, Binder &b);
void readMesh(const Value &value, Path path, Binder &b);
void readSharding(const Value &value, Path path, Binder &b);
void readBucket(const Value &value, Path path, Binder &b);
void readInit(const Value &value, Path path, Binder &b);
void readSeed(const Value &value, Path path, Binder &b);

/// A list of globs, each with its line.
void readGlobs(const Value &value, Path path, std::vector<std::string> &into, Binder &b);

} // namespace llmc::recipe

#endif // LLMC_FRONTENDS_RECIPE_READERS_H
