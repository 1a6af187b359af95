//===- onednn_square.cpp - the library's own best rate ------------------------===//
//
// Prints the best of N runs of a 2048^3 f32 product by oneDNN with its own threads, and by the runtime's tiles.
//
//===----------------------------------------------------------------------===//
#include "runtime/executor/ThreadPool.h"
#include "runtime/kernels/Gemm.h"
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <dnnl.h>
#include <omp.h>
#include <vector>

using namespace llmc::runtime;

template <typename F> static double bestSeconds(int runs, F work) {
  double best = 1e30;
  for (int i = 0; i < runs; ++i) {
    auto begin = std::chrono::steady_clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

int main(int argc, char **argv) {
  unsigned threads = argc > 1 ? static_cast<unsigned>(std::max(1, std::atoi(argv[1]))) : availableCores();
  constexpr int64_t n = 2048;
  std::vector<float> a(n * n, 0.5f), b(n * n, 0.25f), c(n * n);
  double flops = 2.0 * n * n * n;
  omp_set_num_threads(static_cast<int>(threads));
  double library = bestSeconds(20, [&] { dnnl_sgemm('N', 'N', n, n, n, 1.0f, a.data(), n, b.data(), n, 0.0f, c.data(), n); });
  ThreadPool pool(threads, GemmLibrary::initializeThread);
  auto gemms = GemmLibrary::create(threads);
  if (!gemms.ok())
    return 1;
  fb::GemmT gemm;
  gemm.m = gemm.n = gemm.k = n;
  gemm.a_row = gemm.b_row = gemm.c_row = n;
  gemm.a_column = gemm.b_column = 1;
  gemm.tile_m = 512, gemm.tile_n = 384;
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(fb::Gemm::Pack(builder, &gemm));
  auto bound = (*gemms)->bind(*flatbuffers::GetRoot<fb::Gemm>(builder.GetBufferPointer()), {a.data(), b.data(), c.data(), nullptr});
  if (!bound.ok())
    return 1;
  double tiles = bestSeconds(20, [&] { pool.forEach((*bound)->tiles(), [&](int64_t tile, unsigned thread) { (*bound)->runTile(tile, thread); }); });
  std::printf("threads=%u onednn_gflops=%.1f tiles_gflops=%.1f ratio=%.3f\n", threads, flops / library / 1e9, flops / tiles / 1e9, library / tiles);
  return 0;
}
