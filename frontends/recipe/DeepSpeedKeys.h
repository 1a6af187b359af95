//===- DeepSpeedKeys.h - DeepSpeed's keys that change no number, and those that would -*- C++ -*-===//
#ifndef LLMC_FRONTENDS_RECIPE_DEEPSPEEDKEYS_H
#define LLMC_FRONTENDS_RECIPE_DEEPSPEEDKEYS_H

#include "frontends/recipe/Binder.h"

namespace llmc::recipe::deepspeed {

/// A key that is accepted as long as it changes nothing.
struct Neutral {
  llvm::StringRef name;
  std::vector<llvm::StringRef> values; // that change nothing; none: a feature, off unless an `enabled` in it says otherwise
  llvm::StringRef what;                // the reason why others are refused
  llvm::StringRef hint;
  llvm::StringRef instead = ""; // the key of a recipe that may decide the same
};

struct ListedKeys {
  std::vector<llvm::StringRef> ignored; // what only concerns DeepSpeed's runtime
  std::vector<Neutral> neutral;
};

const ListedKeys &topKeys();
const ListedKeys &zeroKeys();
const ListedKeys &precisionKeys();
const ListedKeys &offloadKeys();
const ListedKeys &adamKeys();
const ListedKeys &sgdKeys();

bool isNeutral(const Value &value, const Neutral &key);

} // namespace llmc::recipe::deepspeed

#endif // LLMC_FRONTENDS_RECIPE_DEEPSPEEDKEYS_H
