//===- VersionOnly.cpp - a libnccl.so.2 that has nothing but a version ----===//
extern "C" int ncclGetVersion(int *version) {
  *version = FAKE_NCCL_VERSION;
  return 0;
}
