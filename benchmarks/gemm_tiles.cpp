//===- gemm_tiles.cpp - contractions in tiles against the machine ---------===//
//
// Prints, for GPT-2's sizes and each layout, the rate of a contraction cut into fixed tiles of single-threaded calls, its
// share of the processor's peak, and the tile that was best; and the rate of oneDNN in tiles of 512 x 384, which computes what
// has an activation.
//
//===----------------------------------------------------------------------===//
#include "runtime/executor/ThreadPool.h"
#include "runtime/kernels/Gemm.h"
#include "runtime/kernels/PeakRate.h"
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

using namespace llmc::runtime;

namespace {

struct Rate {
  double flops = 0;
  const char *implementation = "";
};

Rate measure(ThreadPool &pool, GemmLibrary &library, fb::GemmT gemm) {
  std::vector<float> a(gemm.m * gemm.k, 0.5f), b(gemm.k * gemm.n, 0.25f), c(gemm.m * gemm.n);
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(fb::Gemm::Pack(builder, &gemm));
  auto bound = library.bind(*flatbuffers::GetRoot<fb::Gemm>(builder.GetBufferPointer()), {a.data(), b.data(), c.data(), nullptr});
  Rate rate;
  if (!bound.ok())
    return rate;
  for (int repetition = 0; repetition < 12; ++repetition) {
    auto begin = std::chrono::steady_clock::now();
    pool.forEach((*bound)->tiles(), [&](int64_t tile, unsigned thread) { (*bound)->runTile(tile, thread); });
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    rate.flops = std::max(rate.flops, 2.0 * gemm.m * gemm.n * gemm.k / seconds);
  }
  rate.implementation = (*bound)->implementation();
  return rate;
}

} // namespace

int main(int argc, char **argv) {
  unsigned threads = argc > 1 ? static_cast<unsigned>(std::max(1, std::atoi(argv[1]))) : availableCores();
  ThreadPool pool(threads, GemmLibrary::initializeThread);
  auto library = GemmLibrary::create(threads);
  if (!library.ok())
    return 1;
  double peak = measurePeakFlops() * threads;
  std::printf("threads=%u peak=%.0f GFLOP/s\n", threads, peak / 1e9);
  struct Size {
    const char *name;
    int64_t m, n, k;
  };
  for (Size s : {Size{"qkv", 1024, 2304, 768}, Size{"up", 1024, 3072, 768}, Size{"down", 1024, 768, 3072},
                 Size{"dW", 768, 3072, 1024}, Size{"head", 1024, 8192, 768}, Size{"square", 2048, 2048, 2048}})
    for (int layout = 0; layout < 4; ++layout) {
      bool ta = layout & 1, tb = layout & 2;
      Rate best, withActivation;
      int64_t bestM = 0, bestN = 0;
      std::string all;
      for (auto [tileM, tileN] : {std::pair<int64_t, int64_t>{512, 384}, {256, 384}, {512, 192}, {256, 256}, {192, 512}, {128, 768}, {1024, 384}}) {
        fb::GemmT gemm;
        gemm.m = s.m, gemm.n = s.n, gemm.k = s.k, gemm.tile_m = tileM, gemm.tile_n = tileN;
        gemm.a_row = ta ? 1 : s.k, gemm.a_column = ta ? s.m : 1;
        gemm.b_row = tb ? 1 : s.n, gemm.b_column = tb ? s.k : 1, gemm.c_row = s.n;
        Rate rate = measure(pool, **library, gemm);
        char text[64];
        std::snprintf(text, sizeof(text), " %lldx%lld:%.0f", static_cast<long long>(tileM), static_cast<long long>(tileN), rate.flops / 1e9);
        all += text;
        if (rate.flops > best.flops)
          best = rate, bestM = tileM, bestN = tileN;
        if (tileM == 512 && tileN == 384) {
          gemm.activation = fb::Activation::Relu;
          withActivation = measure(pool, **library, gemm);
        }
      }
      std::printf("%-6s A%c B%c %s best=%lldx%lld %.0f GFLOP/s ratio=%.2f of peak, %s with relu %.0f |%s\n", s.name, ta ? 't' : ' ', tb ? 't' : ' ',
                  best.implementation, static_cast<long long>(bestM), static_cast<long long>(bestN), best.flops / 1e9,
                  best.flops / peak, withActivation.implementation, withActivation.flops / 1e9, all.c_str());
    }
  return 0;
}
