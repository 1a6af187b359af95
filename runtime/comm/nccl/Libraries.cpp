//===- Libraries.cpp - CUDA's driver and NCCL, loaded at run time ---------===//
#include "runtime/comm/nccl/Libraries.h"
#include <dlfcn.h>

namespace llmc::runtime::nccl {

static constexpr char kCudaHint[] = "install NVIDIA's driver; libcuda.so.1 comes with it (Debian: libcuda1)";
static constexpr char kNcclHint[] = "install the package libnccl2, version 2.18 or later";

/// A library, and the first function that it lacks.
class Loading {
public:
  explicit Loading(const std::string &path) : path(path), handle(::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (!handle)
      problem = ::dlerror();
  }

  template <typename Function> void find(const char *name, Function &function) {
    function = handle ? reinterpret_cast<Function>(::dlsym(handle, name)) : nullptr;
    if (handle && !function && problem.empty())
      problem = "'" + path + "' has no " + name;
  }

  Status status(const char *hint) const {
    return problem.empty() ? Status::success() : Status::wrongUse("ranks cannot talk over NCCL: " + problem, hint);
  }

private:
  const std::string path;
  void *handle;
  std::string problem;
};

Status loadCuda(const std::string &path, Libraries &libraries) {
  Loading loading(path);
#define LLMC_FIND(name, parameters) loading.find(#name, libraries.name);
  LLMC_CUDA_FUNCTIONS(LLMC_FIND)
#undef LLMC_FIND
  return loading.status(kCudaHint);
}

/// Versions before 2.9 are encoded as major * 1000 + minor * 100 + patch.
static std::string textOf(int version) {
  int major = version < 10000 ? version / 1000 : version / 10000;
  return std::to_string(major) + "." + std::to_string(version / 100 % (version < 10000 ? 10 : 100)) + "." +
         std::to_string(version % 100);
}

Status loadNccl(const std::string &path, Libraries &libraries) {
  Loading loading(path);
  // The version first: what an old library lacks is not the point.
  loading.find("ncclGetVersion", libraries.ncclGetVersion);
  int version = 0;
  if (libraries.ncclGetVersion && libraries.ncclGetVersion(&version) == NcclResult::Success && version < kOldestNccl)
    return Status::wrongUse("ranks cannot talk over NCCL: '" + path + "' is NCCL " + textOf(version) + ", and " +
                                textOf(kOldestNccl) + " is the oldest that will do",
                            kNcclHint);
#define LLMC_FIND(result, name, parameters) loading.find(#name, libraries.name);
  LLMC_NCCL_FUNCTIONS(LLMC_FIND)
#undef LLMC_FIND
  return loading.status(kNcclHint);
}

std::string nameOf(const Libraries &libraries, CudaResult result) {
  const char *name = nullptr;
  if (libraries.cuGetErrorName(result, &name) != CudaResult::Success || !name)
    return "CUDA error " + std::to_string(static_cast<int>(result));
  return name;
}

} // namespace llmc::runtime::nccl
