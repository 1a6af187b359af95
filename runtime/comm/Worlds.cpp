//===- Worlds.cpp - opens a world by the name of its backend --------------===//
#include "runtime/comm/Worlds.h"
#include "runtime/comm/Plugin.h"
#include "runtime/comm/local/LocalWorld.h"
#include <climits>
#include <dlfcn.h>
#include <unistd.h>

namespace llmc::runtime {

static std::string executableFolder() {
  char path[PATH_MAX];
  ssize_t length = ::readlink("/proc/self/exe", path, sizeof(path));
  std::string text(path, length > 0 ? static_cast<size_t>(length) : 0);
  return text.substr(0, text.rfind('/'));
}

static Result<std::unique_ptr<World>> openPlugin(const std::string &name, const std::string &packages,
                                                 const WorldOptions &options) {
  std::string path = (options.plugins.empty() ? executableFolder() : options.plugins) + "/llmc_comm_" + name + ".so";
  void *module = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!module) {
    bool built = ::access(path.c_str(), R_OK) == 0;
    std::string reason = built ? ::dlerror() : "there is no '" + path + "', as where its package was not there at the build";
    return Status::wrongUse("ranks cannot talk over " + name + ": " + reason,
                            "install the package " + packages + (built ? "" : ", configure and build again"));
  }
  auto *open = reinterpret_cast<OpenWorldFunction *>(::dlsym(module, kOpenWorldSymbol));
  if (!open)
    return Status::wrongUse("'" + path + "' is no plugin of this program");
  Status status;
  std::unique_ptr<World> world;
  open(options, status, world);
  if (!world)
    return status.ok() ? Status::internal("the plugin for " + name + " opened nothing") : status;
  return world;
}

Result<std::unique_ptr<World>> openWorld(Backend backend, const WorldOptions &options) {
  switch (backend) {
  case Backend::Local:
    if (options.size > 1 || options.rank > 0)
      return Status::wrongUse("one process alone has no " + std::to_string(options.size) + " ranks");
    return std::move(LocalWorld::create(1)[0]);
  case Backend::Gloo:
    if (options.rank >= options.size)
      return Status::wrongUse("rank " + std::to_string(options.rank) + " of " + std::to_string(options.size));
    return openPlugin("gloo", "libgloo-dev", options);
  case Backend::Mpi:
    return openPlugin("mpi", "libopenmpi-dev", options);
  }
  return Status::internal("unknown backend");
}

} // namespace llmc::runtime
