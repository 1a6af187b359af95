//===- Explain.cpp - llmc explain --------------------------------------------------------===//
#include "compiler/driver/Explain.h"
#include "tools/llmc/Tool.h"
#include "llvm/Support/MemoryBuffer.h"

namespace llmc::tool {

int explain(llvm::StringRef plan, llvm::StringRef profile, bool json) {
  auto file = runtime::PlanFile::read(plan.str());
  if (!file.ok())
    return fail(static_cast<ExitCode>(file.status().code), file.status().message, file.status().hint);
  if (json) {
    driver::writeJson((*file)->plan(), (*file)->digest(), llvm::outs());
    return kDone;
  }
  std::string text;
  if (!profile.empty()) {
    auto buffer = llvm::MemoryBuffer::getFile(profile);
    if (!buffer)
      return fail(kBadInput, "cannot read profile '" + profile + "': " + buffer.getError().message());
    text = (*buffer)->getBuffer().str();
  }
  if (llvm::Error error = driver::explainPlan(**file, text, llvm::outs()))
    return fail(kBadInput, llvm::toString(std::move(error)), "profiles are written by llmc-run --profile FILE");
  return kDone;
}

} // namespace llmc::tool
