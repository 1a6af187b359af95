//===- GemmTest.cpp - contractions against plain loops --------------------===//
#include "runtime/executor/ThreadPool.h"
#include "runtime/kernels/Gemm.h"
#include "runtime/kernels/PlainGemm.h"
#include "runtime/kernels/SplitProduct.h"
#include "runtime/kernels/VectorProduct.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <optional>
#include <random>

using namespace llmc::runtime;

namespace {

struct Problem {
  int64_t m, n, k, tileM, tileN;
  bool transposeA, transposeB;
  float beta = 0;
  bool bias = false;
  fb::Activation activation = fb::Activation::None;
  int64_t pad = 0; // extra elements per row
};

template <typename T> std::vector<T> random(size_t count, unsigned seed) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> distribution(-1, 1);
  std::vector<T> values(count);
  for (T &value : values)
    value = static_cast<T>(distribution(engine));
  return values;
}

/// The result of `p` with `threads` threads, or of plain loops where `products` says nothing: batch of two over A and C, B shared.
template <typename T> std::vector<T> compute(const Problem &p, unsigned threads, std::optional<Products> products) {
  fb::GemmT gemm;
  gemm.type = gemm.output_type = sizeof(T) == 8 ? fb::DataType::F64 : fb::DataType::F32;
  gemm.m = p.m, gemm.n = p.n, gemm.k = p.k, gemm.tile_m = p.tileM, gemm.tile_n = p.tileN;
  gemm.a_row = p.transposeA ? 1 : p.k + p.pad, gemm.a_column = p.transposeA ? p.m + p.pad : 1;
  gemm.b_row = p.transposeB ? 1 : p.n + p.pad, gemm.b_column = p.transposeB ? p.k + p.pad : 1;
  gemm.c_row = p.n + p.pad;
  gemm.beta = p.beta, gemm.has_bias = p.bias, gemm.activation = p.activation;
  int64_t sizeA = (std::max(p.m, p.k) + p.pad) * std::max(p.m, p.k), sizeC = p.m * (p.n + p.pad);
  gemm.batch = {2}, gemm.a_batch = {sizeA}, gemm.b_batch = {0}, gemm.c_batch = {sizeC};
  std::vector<T> a = random<T>(2 * sizeA, 1), b = random<T>((std::max(p.n, p.k) + p.pad) * std::max(p.n, p.k), 2);
  std::vector<T> c = random<T>(2 * sizeC, 3), bias = random<T>(p.n, 4);
  if (!products) {
    TileShape shape{p.m, p.n, p.k, gemm.a_row, gemm.a_column, gemm.b_row, gemm.b_column, gemm.c_row};
    std::vector<T> row(p.n);
    for (int64_t i = 0; i < 2; ++i)
      plainTile<T>(shape, a.data() + i * sizeA, b.data(), c.data() + i * sizeC, p.bias ? bias.data() : nullptr, p.beta,
                   p.activation, row.data());
    return c;
  }
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(fb::Gemm::Pack(builder, &gemm));
  ThreadPool pool(threads, GemmLibrary::initializeThread);
  auto library = GemmLibrary::create(threads, *products);
  auto bound = (*library)->bind(*flatbuffers::GetRoot<fb::Gemm>(builder.GetBufferPointer()),
                                {a.data(), b.data(), c.data(), p.bias ? bias.data() : nullptr});
  EXPECT_TRUE(bound.ok());
  pool.forEach((*bound)->tiles(), [&](int64_t tile, unsigned thread) { EXPECT_TRUE((*bound)->runTile(tile, thread)); });
  return c;
}

template <typename T> void check(const Problem &p, double tolerance, Products products) {
  std::vector<T> expected = compute<T>(p, 1, std::nullopt), one = compute<T>(p, 1, products);
  double largest = 0, difference = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::fabs(static_cast<double>(expected[i])));
    difference = std::max(difference, std::fabs(static_cast<double>(expected[i]) - static_cast<double>(one[i])));
  }
  EXPECT_LT(difference, tolerance * largest) << p.m << "x" << p.n << "x" << p.k << " A" << p.transposeA << " B" << p.transposeB;
  for (unsigned threads : {2u, 4u})
    EXPECT_EQ(std::memcmp(one.data(), compute<T>(p, threads, products).data(), one.size() * sizeof(T)), 0) << threads;
}

/// Each implementation that a processor may choose, forced; those that this one cannot run are skipped by name.
class GemmBy : public testing::TestWithParam<Products> {
protected:
  void SetUp() override {
    if (!isAvailable(GetParam()))
      GTEST_SKIP() << "this processor has no " << (GetParam() == Products::Matrix ? "matrix units" : "AVX2");
  }
};

std::string nameOf(const testing::TestParamInfo<Products> &info) {
  constexpr const char *names[] = {"Best", "VectorUnits", "Matrix", "Vector", "OneDnn"};
  return names[static_cast<size_t>(info.param)];
}
INSTANTIATE_TEST_SUITE_P(Products, GemmBy, testing::Values(Products::Best, Products::VectorUnits, Products::Matrix, Products::Vector, Products::OneDnn), nameOf);

TEST_P(GemmBy, AllLayoutsAndOddSizes) {
  struct Size {
    int64_t m, n, k, tileM, tileN;
  };
  for (Size s : {Size{1, 1, 1, 4, 4}, Size{7, 5, 3, 4, 2}, Size{33, 65, 17, 16, 32}, Size{128, 1, 40, 64, 64},
                 Size{1, 100, 257, 8, 48}, Size{97, 130, 300, 64, 64},
                 Size{530, 540, 130, 530, 540}, Size{48, 16, 31, 48, 16}})
    for (int layout = 0; layout < 4; ++layout)
      for (int64_t pad : {0, 3})
        check<float>({s.m, s.n, s.k, s.tileM, s.tileN, (layout & 1) != 0, (layout & 2) != 0, 0, false, fb::Activation::None, pad}, 2e-6, GetParam());
}

TEST_P(GemmBy, BetaBiasActivation) {
  check<float>({530, 1100, 20, 530, 1100, false, false, 0.5f}, 2e-6, GetParam()); // larger than what is computed at once: each element once
  for (int layout = 0; layout < 4; ++layout) {
    bool ta = layout & 1, tb = layout & 2;
    check<float>({70, 90, 50, 32, 48, ta, tb, 1.0f}, 2e-6, GetParam());
    check<float>({70, 90, 50, 32, 48, ta, tb, 0.5f, true}, 2e-6, GetParam());
    check<float>({70, 90, 50, 32, 48, ta, tb, 0.0f, true}, 2e-6, GetParam());
    for (fb::Activation activation : {fb::Activation::GeluTanh, fb::Activation::GeluErf, fb::Activation::Relu, fb::Activation::Silu})
      check<float>({70, 90, 50, 32, 48, ta, tb, 0.0f, true, activation}, 4e-6, GetParam());
  }
}

/// Scratch memory for a product that packs.
struct Scratch {
  explicit Scratch(size_t bytes) : memory(bytes + 64) {}
  void *aligned() { return memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64; }
  std::vector<char> memory;
};

/// Against exact sums: splitting must not cost accuracy, also where the operands' magnitudes differ widely.
TEST(Gemm, MatrixUnitsAreAsAccurateAsF32) {
  if (!hasMatrixUnits())
    GTEST_SKIP() << "this processor has no matrix units";
  std::mt19937 engine(7);
  std::normal_distribution<float> normal;
  for (double spread : {0.0, 3.0})
    for (int64_t k : {32, 768, 3000}) {
      constexpr int64_t m = 64, n = 96;
      std::vector<float> a(m * k), b(k * n), c(m * n);
      for (auto *values : {&a, &b})
        for (float &value : *values)
          value = static_cast<float>(normal(engine) * std::exp(spread * normal(engine)));
      Scratch scratch(splitProductScratch(m, n));
      TileShape shape{m, n, k, k, 1, n, 1, n};
      ASSERT_TRUE(suitsMatrixUnits(shape));
      splitProduct(shape, a.data(), b.data(), c.data(), nullptr, 0.0f, scratch.aligned());
      double split = 0, chain = 0;
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) {
          double exact = 0, magnitude = 0;
          float sum = 0;
          for (int64_t l = 0; l < k; ++l) {
            double term = static_cast<double>(a[i * k + l]) * static_cast<double>(b[l * n + j]);
            exact += term;
            magnitude += std::fabs(term);
            sum += a[i * k + l] * b[l * n + j];
          }
          split += std::pow((static_cast<double>(c[i * n + j]) - exact) / magnitude, 2);
          chain += std::pow((static_cast<double>(sum) - exact) / magnitude, 2);
        }
      EXPECT_LT(split, chain) << "k " << k << ", spread " << spread;
    }
}

TEST(Gemm, MatrixUnitsKeepNotANumber) {
  if (!hasMatrixUnits())
    GTEST_SKIP() << "this processor has no matrix units";
  constexpr int64_t size = 32;
  std::vector<float> a(size * size, 1.0f), b = a, c = a;
  a[5 * size + 3] = std::numeric_limits<float>::quiet_NaN();
  a[9 * size + 3] = std::numeric_limits<float>::infinity();
  Scratch scratch(splitProductScratch(size, size));
  splitProduct({size, size, size, size, 1, size, 1, size}, a.data(), b.data(), c.data(), nullptr, 0.0f, scratch.aligned());
  for (int64_t i = 0; i < size; ++i)
    EXPECT_EQ(std::isfinite(c[i * size + 7]), i != 5 && i != 9) << i;
}

/// All layouts, sizes within and beyond panels and blocks, against loops; and the same bits in four tiles as in one.
TEST(Gemm, ProductsOnVectors) {
  if (!hasVectorProduct())
    GTEST_SKIP() << "this processor has no AVX2";
  for (auto [m, n, k] : {std::tuple<int64_t, int64_t, int64_t>{8, 8, 8}, {6, 16, 256}, {13, 37, 19}, {200, 50, 257}, {193, 33, 600}})
    for (int layout = 0; layout < 8; ++layout) {
      bool ta = layout & 1, tb = layout & 2, starts = layout & 4;
      TileShape shape{m, n, k, ta ? 1 : k + 3, ta ? m + 3 : 1, tb ? 1 : n + 3, tb ? k + 3 : 1, n + 3};
      std::vector<float> a = random<float>((m + 3) * (k + 3), 1), b = random<float>((n + 3) * (k + 3), 2),
                         expected = random<float>(m * (n + 3), 3), whole = expected, parts = expected, bias = random<float>(n, 4), row(n);
      const float *start = starts ? bias.data() : nullptr;
      float beta = starts ? 0.5f : 0.0f;
      plainTile<float>(shape, a.data(), b.data(), expected.data(), start, beta, fb::Activation::None, row.data());
      Scratch scratch(vectorProductScratch(m, n));
      vectorProduct(shape, a.data(), b.data(), whole.data(), start, beta, scratch.aligned());
      for (size_t i = 0; i < whole.size(); ++i)
        ASSERT_NEAR(whole[i], expected[i], 2e-6 * static_cast<double>(k)) << m << "x" << n << "x" << k << " layout " << layout << " at " << i;
      int64_t upper = m / 2 + 1, left = n / 2 + 1;
      for (int64_t i : {int64_t(0), upper})
        for (int64_t j : {int64_t(0), left}) {
          TileShape part = shape;
          part.m = i ? m - upper : upper, part.n = j ? n - left : left;
          vectorProduct(part, a.data() + i * shape.aRow, b.data() + j * shape.bColumn, parts.data() + i * shape.cRow + j,
                        start ? start + j : nullptr, beta, scratch.aligned());
        }
      EXPECT_EQ(std::memcmp(whole.data(), parts.data(), whole.size() * sizeof(float)), 0) << m << "x" << n << "x" << k << " layout " << layout;
    }
}

TEST(Gemm, DoublePrecision) { check<double>({33, 20, 17, 16, 8, true, false, 1.0f, true}, 1e-14, Products::Best); }

TEST(ThreadPool, RunsEachItemOnce) {
  for (unsigned threads : {1u, 2u, 5u}) {
    ThreadPool pool(threads, [] {});
    for (int64_t items : {0, 1, 2, 3, 1000}) {
      std::vector<std::atomic<int>> counts(static_cast<size_t>(items));
      for (int round = 0; round < 20; ++round)
        pool.forEach(items, [&](int64_t item, unsigned thread) {
          EXPECT_LT(thread, threads);
          ++counts[static_cast<size_t>(item)];
        });
      for (auto &count : counts)
        ASSERT_EQ(count.load(), 20);
    }
  }
}

/// The pool may be destroyed while a worker is still waking up for the last job.
TEST(ThreadPool, StopsAtAnyMoment) {
  for (int round = 0; round < 3000; ++round) {
    ThreadPool pool(3, [] {});
    std::atomic<int> count = 0;
    pool.forEach(2 + round % 3, [&](int64_t, unsigned) { ++count; });
    ASSERT_EQ(count.load(), 2 + round % 3);
  }
}

} // namespace
