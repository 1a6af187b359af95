//===- CpuKernels.cpp - all kernels of a plan in one shared object -------------===//
#include "compiler/codegen/Parallel.h"
#include "compiler/codegen/cpu/CpuLowering.h"
#include "lld/Common/Driver.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include <mutex>

LLD_HAS_DRIVER(elf)

using namespace mlir;

namespace llmc::codegen {
namespace {

/// A folder of its own that is removed at the end.
class TemporaryFolder {
public:
  static llvm::Expected<std::unique_ptr<TemporaryFolder>> create() {
    auto folder = std::make_unique<TemporaryFolder>();
    if (std::error_code code = llvm::sys::fs::createUniqueDirectory("llmc-link", folder->path))
      return llvm::createStringError(code, "cannot make a temporary folder");
    return folder;
  }
  ~TemporaryFolder() {
    if (!path.empty())
      llvm::sys::fs::remove_directories(path);
  }
  std::string file(const Twine &name) const {
    llvm::SmallString<128> result(path);
    llvm::sys::path::append(result, name);
    return result.str().str();
  }
  llvm::SmallString<128> path;
};

llvm::Error writeFile(StringRef path, ArrayRef<char> bytes) {
  std::error_code code;
  llvm::raw_fd_ostream stream(path, code);
  if (!code)
    stream.write(bytes.data(), bytes.size());
  stream.close();
  if (code || stream.has_error())
    return llvm::createStringError("cannot write " + path);
  return llvm::Error::success();
}

/// Links objects, in order, to one shared object; lld has global state, so one link at a time.
llvm::Expected<std::vector<char>> link(ArrayRef<llvm::SmallVector<char, 0>> objects) {
  auto folder = TemporaryFolder::create();
  if (!folder)
    return folder.takeError();
  std::vector<std::string> storage = {"ld.lld", "-shared", "--build-id=none", "--no-undefined-version", "-z", "noexecstack",
                                      "--threads=1", "-soname=llmc-kernels", "-o", (*folder)->file("kernels.so")};
  for (auto [i, object] : llvm::enumerate(objects)) {
    storage.push_back((*folder)->file("k" + Twine(i) + ".o"));
    if (llvm::Error error = writeFile(storage.back(), object))
      return error;
  }
  std::vector<const char *> arguments;
  for (const std::string &each : storage)
    arguments.push_back(each.c_str());
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  std::string messages;
  llvm::raw_string_ostream stream(messages);
  lld::Result result = lld::lldMain(arguments, stream, stream, {{lld::Gnu, &lld::elf::link}});
  if (result.retCode != 0)
    return llvm::createStringError("linking the kernels failed: " + messages);
  auto buffer = llvm::MemoryBuffer::getFile((*folder)->file("kernels.so"), /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer)
    return llvm::createStringError(buffer.getError(), "cannot read the linked kernels");
  return std::vector<char>((*buffer)->getBufferStart(), (*buffer)->getBufferEnd());
}

} // namespace

llvm::Expected<KernelImage> generateCpuKernels(ModuleOp kernels, const CpuOptions &options) {
  KernelImage image;
  image.cpu = options.cpu.empty() ? hostCpuLevel() : options.cpu;
  std::vector<std::unique_ptr<KernelForm>> forms;
  for (auto function : kernels.getOps<func::FuncOp>()) {
    auto form = selectForm(function);
    if (!form)
      return form.takeError();
    image.kernels.push_back((*form)->description());
    forms.push_back(std::move(*form));
  }
  std::vector<llvm::SmallVector<char, 0>> objects(forms.size());
  llvm::Error error = forEachKernel(forms, options.threads, [&] {
    return [worker = std::make_shared<CpuWorker>(image.cpu), &objects](const KernelForm &form, size_t i) -> llvm::Error {
      auto object = worker->generate(form);
      if (!object)
        return object.takeError();
      objects[i] = std::move(*object);
      return llvm::Error::success();
    };
  });
  if (error)
    return error;
  auto elf = link(objects);
  if (!elf)
    return elf.takeError();
  image.elf = std::move(*elf);
  return image;
}

} // namespace llmc::codegen
