//===- Gemm.cpp - contractions in fixed tiles -----------------------------===//
//
// Tiles at the right and lower edge are smaller, so a contraction has up to four tile shapes, each with its primitive.
// f32 without an activation goes to matrix units where the processor has them, or to vectorProduct where that is the
// better one; f64 to plain loops. oneDNN takes strided matrices, bias as a descriptor, beta and activations as
// post-operations. Where it would fall back to its reference code, the plain loops here take over.
//
//===----------------------------------------------------------------------===//
#include "runtime/kernels/Gemm.h"
#include "runtime/kernels/PlainGemm.h"
#include "runtime/kernels/SplitProduct.h"
#include "runtime/kernels/VectorProduct.h"
#include <algorithm>
#include <cstring>
#include <dnnl.hpp>
#include <map>
#include <mutex>
#include <omp.h>
#include <tuple>
#include <vector>

namespace llmc::runtime {
namespace {

/// A matmul primitive with the memory objects of each thread; arguments are set tile by tile.
struct Primitive {
  dnnl::matmul matmul;
  std::string name;
  size_t scratchBytes = 0;
  struct PerThread {
    dnnl::memory a, b, c, bias, scratch;
    std::vector<dnnl_exec_arg_t> arguments;
  };
  mutable std::vector<PerThread> threads;
};

struct Key {
  TileShape shape;
  float beta;
  bool hasBias;
  fb::Activation activation;
  auto operator<=>(const Key &) const = default;
};

struct Shared {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  std::vector<dnnl::stream> streams;
  std::vector<std::vector<uint8_t>> scratch; // per thread, 64 bytes more than needed

  void reserveScratch(size_t bytes) {
    for (std::vector<uint8_t> &each : scratch)
      each.resize(std::max(each.size(), bytes + 64));
  }
  void *scratchOf(unsigned thread) {
    uintptr_t address = reinterpret_cast<uintptr_t>(scratch[thread].data());
    return reinterpret_cast<void *>((address + 63) / 64 * 64);
  }
};

/// Where a contraction's tiles lie.
struct Grid {
  int64_t m, n, tileM, tileN, tilesM, tilesN, batches;
  std::vector<int64_t> batch, aBatch, bBatch, cBatch;
  int64_t aRow, bColumn, cRow;

  explicit Grid(const fb::Gemm &gemm)
      : m(gemm.m()), n(gemm.n()), tileM(std::min(gemm.tile_m(), gemm.m())), tileN(std::min(gemm.tile_n(), gemm.n())),
        tilesM((m - 1) / tileM + 1), tilesN((n - 1) / tileN + 1), batches(1), aRow(gemm.a_row()),
        bColumn(gemm.b_column()), cRow(gemm.c_row()) {
    auto copy = [](const flatbuffers::Vector<int64_t> *from, std::vector<int64_t> &to) {
      if (from)
        to.assign(from->begin(), from->end());
    };
    copy(gemm.batch(), batch);
    copy(gemm.a_batch(), aBatch);
    copy(gemm.b_batch(), bBatch);
    copy(gemm.c_batch(), cBatch);
    for (int64_t size : batch)
      batches *= size;
  }

  /// Other tiles than the plan's: as few and as even as the limits allow, but `wanted` where they do not become too small.
  void retile(int64_t rows, int64_t columns, int64_t wanted) {
    constexpr int64_t kSmallest = 64, kStep = 32;
    auto even = [](int64_t size, int64_t most) {
      int64_t parts = (size - 1) / most + 1, part = (size - 1) / parts + 1;
      return std::min(size, (part + kStep - 1) / kStep * kStep);
    };
    auto settle = [&] {
      tileM = even(m, rows), tileN = even(n, columns);
      tilesM = (m - 1) / tileM + 1, tilesN = (n - 1) / tileN + 1;
    };
    settle();
    while (batches * tilesM * tilesN < wanted && std::max(tileM, tileN) > kSmallest) {
      int64_t &larger = tileM >= tileN ? rows : columns;
      larger = std::max(kStep, std::max(tileM, tileN) / 2 / kStep * kStep);
      settle();
    }
  }

  struct Place {
    int64_t a = 0, b = 0, c = 0, bias = 0; // elements
    bool lastM, lastN;
  };
  Place place(int64_t tile) const {
    int64_t i = tile % tilesM, j = tile / tilesM % tilesN, rest = tile / (tilesM * tilesN);
    Place place;
    place.lastM = i + 1 == tilesM;
    place.lastN = j + 1 == tilesN;
    place.a = i * tileM * aRow;
    place.b = j * tileN * bColumn;
    place.c = i * tileM * cRow + j * tileN;
    place.bias = j * tileN;
    for (size_t d = batch.size(); d-- > 0;) {
      int64_t index = rest % batch[d];
      rest /= batch[d];
      place.a += index * aBatch[d];
      place.b += index * bBatch[d];
      place.c += index * cBatch[d];
    }
    return place;
  }
  TileShape shape(const fb::Gemm &gemm, bool lastM, bool lastN) const {
    return {lastM ? m - (tilesM - 1) * tileM : tileM,
            lastN ? n - (tilesN - 1) * tileN : tileN,
            gemm.k(),
            gemm.a_row(),
            gemm.a_column(),
            gemm.b_row(),
            gemm.b_column(),
            gemm.c_row()};
  }
};

TileShape wholeShape(const fb::Gemm &gemm) {
  return {gemm.m(), gemm.n(), gemm.k(), gemm.a_row(), gemm.a_column(), gemm.b_row(), gemm.b_column(), gemm.c_row()};
}

class LibraryGemm : public Gemm {
public:
  LibraryGemm(const fb::Gemm &gemm, const GemmOperands &operands, Shared &shared)
      : grid(gemm), operands(operands), shared(shared) {}

  int64_t tiles() const override { return grid.tilesM * grid.tilesN * grid.batches; }
  const char *implementation() const override { return primitives[0]->name.c_str(); }

  bool runTile(int64_t tile, unsigned thread) const override {
    Grid::Place place = grid.place(tile);
    const Primitive &primitive = *primitives[place.lastM * 2 + place.lastN];
    Primitive::PerThread &local = primitive.threads[thread];
    auto at = [](const void *base, int64_t element) {
      return const_cast<float *>(static_cast<const float *>(base) + element);
    };
    bool good = dnnl_memory_set_data_handle(local.a.get(), at(operands.a, place.a)) == dnnl_success;
    good &= dnnl_memory_set_data_handle(local.b.get(), at(operands.b, place.b)) == dnnl_success;
    good &= dnnl_memory_set_data_handle(local.c.get(), at(operands.c, place.c)) == dnnl_success;
    if (operands.bias)
      good &= dnnl_memory_set_data_handle(local.bias.get(), at(operands.bias, place.bias)) == dnnl_success;
    good &= dnnl_memory_set_data_handle(local.scratch.get(), shared.scratchOf(thread)) == dnnl_success;
    return good &&
           dnnl_primitive_execute(primitive.matmul.get(), shared.streams[thread].get(),
                                  static_cast<int>(local.arguments.size()), local.arguments.data()) == dnnl_success;
  }

  Grid grid;
  const Primitive *primitives[4] = {}; // by lastM * 2 + lastN
private:
  GemmOperands operands;
  Shared &shared;
};

template <typename T> class LoopGemm : public Gemm {
public:
  LoopGemm(const fb::Gemm &gemm, const GemmOperands &operands, unsigned threads)
      : grid(gemm), beta(gemm.beta()), activation(gemm.activation()), operands(operands) {
    for (int i = 0; i < 4; ++i)
      shapes[i] = grid.shape(gemm, i & 2, i & 1);
    rows.resize(threads);
    for (std::vector<T> &row : rows)
      row.resize(static_cast<size_t>(grid.tileN));
  }
  int64_t tiles() const override { return grid.tilesM * grid.tilesN * grid.batches; }
  const char *implementation() const override { return "loops"; }
  bool runTile(int64_t tile, unsigned thread) const override {
    Grid::Place place = grid.place(tile);
    const T *bias = operands.bias ? static_cast<const T *>(operands.bias) + place.bias : nullptr;
    plainTile<T>(shapes[place.lastM * 2 + place.lastN], static_cast<const T *>(operands.a) + place.a,
                 static_cast<const T *>(operands.b) + place.b, static_cast<T *>(operands.c) + place.c, bias, beta,
                 activation, rows[thread].data());
    return true;
  }

private:
  Grid grid;
  float beta;
  fb::Activation activation;
  TileShape shapes[4];
  GemmOperands operands;
  mutable std::vector<std::vector<T>> rows;
};

/// Products that pack their operands. Their sums have one order for any tiles, so these are chosen for the threads there are:
/// the larger, the less is packed.
struct PackedProduct {
  const char *name;
  int64_t rows, columns; // of a tile, at most
  size_t (*scratch)(int64_t m, int64_t n);
  void (*compute)(const TileShape &, const float *, const float *, float *, const float *, float, void *);
};

// What is in use at once stays in the second-level cache: sums and packed rows of the first, packed rows of the second.
constexpr PackedProduct kSplitProduct = {"amx:bf16x6", 512, 384, splitProductScratch, splitProduct};
constexpr PackedProduct kVectorProduct = {"avx2:6x16", 1024, 1024, vectorProductScratch, vectorProduct};

class PackedGemm : public Gemm {
public:
  PackedGemm(const PackedProduct &product, const fb::Gemm &gemm, const GemmOperands &operands, Shared &shared)
      : product(product), grid(gemm), beta(gemm.beta()), operands(operands), shared(shared) {
    int64_t threads = static_cast<int64_t>(shared.streams.size());
    grid.retile(product.rows, product.columns, threads > 1 ? 2 * threads : 1); // two for each, since cores are seldom equally fast
    for (int i = 0; i < 4; ++i)
      shapes[i] = grid.shape(gemm, i & 2, i & 1);
    shared.reserveScratch(product.scratch(grid.tileM, grid.tileN));
  }
  int64_t tiles() const override { return grid.tilesM * grid.tilesN * grid.batches; }
  const char *implementation() const override { return product.name; }
  bool runTile(int64_t tile, unsigned thread) const override {
    Grid::Place place = grid.place(tile);
    const float *bias = operands.bias ? static_cast<const float *>(operands.bias) + place.bias : nullptr;
    product.compute(shapes[place.lastM * 2 + place.lastN], static_cast<const float *>(operands.a) + place.a,
                    static_cast<const float *>(operands.b) + place.b, static_cast<float *>(operands.c) + place.c, bias,
                    beta, shared.scratchOf(thread));
    return true;
  }

private:
  const PackedProduct &product;
  Grid grid;
  float beta;
  TileShape shapes[4];
  GemmOperands operands;
  Shared &shared;
};

class Library : public GemmLibrary {
public:
  Library(unsigned threads, Products products)
      : matrix(products == Products::Matrix || (products == Products::Best && hasMatrixUnits())),
        vectors(products == Products::Vector || (products <= Products::VectorUnits && prefersVectorProduct())) {
    for (unsigned i = 0; i < threads; ++i)
      shared.streams.emplace_back(shared.engine);
    shared.scratch.resize(threads);
  }

  Result<std::unique_ptr<Gemm>> bind(const fb::Gemm &gemm, const GemmOperands &operands) override {
    unsigned threads = static_cast<unsigned>(shared.streams.size());
    if (gemm.type() == fb::DataType::F64)
      return std::unique_ptr<Gemm>(new LoopGemm<double>(gemm, operands, threads));
    if (const PackedProduct *product = packedProduct(gemm))
      return std::unique_ptr<Gemm>(new PackedGemm(*product, gemm, operands, shared));
    auto result = std::make_unique<LibraryGemm>(gemm, operands, shared);
    for (int i = 0; i < 4; ++i) {
      Key key{result->grid.shape(gemm, i & 2, i & 1), gemm.beta(), gemm.has_bias(), gemm.activation()};
      result->primitives[i] = primitiveFor(key);
      if (!result->primitives[i])
        return std::unique_ptr<Gemm>(new LoopGemm<float>(gemm, operands, threads));
    }
    return std::unique_ptr<Gemm>(std::move(result));
  }

private:
  /// What computes `gemm` better than the library; null if nothing does.
  const PackedProduct *packedProduct(const fb::Gemm &gemm) const {
    if (gemm.activation() != fb::Activation::None)
      return nullptr;
    if (matrix && suitsMatrixUnits(wholeShape(gemm)))
      return &kSplitProduct;
    return vectors && suitsVectorProduct(wholeShape(gemm)) ? &kVectorProduct : nullptr;
  }

  /// The primitive of `key`; null if the library has only its reference code for it.
  const Primitive *primitiveFor(const Key &key) {
    auto [entry, isNew] = primitives.try_emplace(key);
    if (isNew)
      entry->second = makePrimitive(key);
    return entry->second.get();
  }

  static dnnl::primitive_attr attributesOf(const Key &key) {
    dnnl::post_ops operations;
    if (key.activation == fb::Activation::GeluTanh)
      operations.append_eltwise(1.0f, dnnl::algorithm::eltwise_gelu_tanh, 0.0f, 0.0f);
    if (key.activation == fb::Activation::GeluErf)
      operations.append_eltwise(1.0f, dnnl::algorithm::eltwise_gelu_erf, 0.0f, 0.0f);
    if (key.activation == fb::Activation::Relu)
      operations.append_eltwise(1.0f, dnnl::algorithm::eltwise_relu, 0.0f, 0.0f);
    if (key.activation == fb::Activation::Silu)
      operations.append_eltwise(1.0f, dnnl::algorithm::eltwise_swish, 1.0f, 0.0f);
    if (key.beta != 0.0f)
      operations.append_sum(key.beta);
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    attributes.set_post_ops(operations);
    return attributes;
  }

  std::unique_ptr<Primitive> makePrimitive(const Key &key) {
    using dnnl::memory;
    const TileShape &s = key.shape;
    constexpr auto f32 = memory::data_type::f32;
    memory::desc a({s.m, s.k}, f32, memory::dims{s.aRow, s.aColumn});
    memory::desc b({s.k, s.n}, f32, memory::dims{s.bRow, s.bColumn});
    memory::desc c({s.m, s.n}, f32, memory::dims{s.cRow, 1});
    memory::desc bias({1, s.n}, f32, memory::dims{s.n, 1});
    dnnl::matmul::desc description = key.hasBias ? dnnl::matmul::desc(a, b, bias, c) : dnnl::matmul::desc(a, b, c);
    dnnl::matmul::primitive_desc primitive(description, attributesOf(key), shared.engine, /*allow_empty=*/true);
    if (!primitive || std::strstr(primitive.impl_info_str(), "ref"))
      return nullptr;
    auto result = std::make_unique<Primitive>();
    result->matmul = dnnl::matmul(primitive);
    result->name = primitive.impl_info_str();
    result->scratchBytes = primitive.scratchpad_desc().get_size();
    shared.reserveScratch(result->scratchBytes);
    for (size_t i = 0; i < shared.streams.size(); ++i) {
      Primitive::PerThread local;
      local.a = memory(a, shared.engine, nullptr);
      local.b = memory(b, shared.engine, nullptr);
      local.c = memory(c, shared.engine, nullptr);
      local.bias = memory(bias, shared.engine, nullptr);
      local.scratch = memory(primitive.scratchpad_desc(), shared.engine, nullptr);
      local.arguments = {{DNNL_ARG_SRC, local.a.get()},
                         {DNNL_ARG_WEIGHTS, local.b.get()},
                         {DNNL_ARG_DST, local.c.get()},
                         {DNNL_ARG_SCRATCHPAD, local.scratch.get()}};
      if (key.hasBias)
        local.arguments.push_back({DNNL_ARG_BIAS, local.bias.get()});
      result->threads.push_back(std::move(local));
    }
    return result;
  }

  const bool matrix, vectors;
  Shared shared;
  std::map<Key, std::unique_ptr<Primitive>> primitives;
};

} // namespace

bool isAvailable(Products products) {
  if (products == Products::Matrix)
    return hasMatrixUnits();
  return products != Products::Vector || hasVectorProduct();
}

Result<std::unique_ptr<GemmLibrary>> GemmLibrary::create(unsigned threads, Products products) {
  // The fixed rule: the widest instruction set, whatever the environment says. Fails once a primitive exists, which
  // then was made under the same rule.
  static std::once_flag once;
  std::call_once(once, [] {
    dnnl_set_max_cpu_isa(dnnl_cpu_isa_all);
    dnnl_set_verbose(0);
    dnnl_set_jit_dump(0);
  });
  initializeThread();
  return std::unique_ptr<GemmLibrary>(new Library(threads, products));
}

void GemmLibrary::initializeThread() { omp_set_num_threads(1); }

} // namespace llmc::runtime
