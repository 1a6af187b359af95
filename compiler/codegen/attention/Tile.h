//===- Tile.h - products, transposition and exponentials on tiles of f32 ------*- C++ -*-===//
//
// Tiles are padded local buffers of f32, rows of a multiple of 16 elements aligned to 64 bytes, so that no product needs a
// mask.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_COMPILER_CODEGEN_ATTENTION_TILE_H
#define LLMC_COMPILER_CODEGEN_ATTENTION_TILE_H

#include "compiler/codegen/Code.h"
#include "compiler/codegen/attention/Problem.h"

namespace llmc::codegen::attention {

/// Lanes of one vector, and rows of a register tile.
constexpr int64_t kLanes = 16, kRows = 6;

constexpr int64_t ceilDiv(int64_t x, int64_t y) { return (x + y - 1) / y; }
constexpr int64_t roundUp(int64_t x, int64_t y) { return ceilDiv(x, y) * y; }

/// Part of the sum over k, up to `end`, that only some vectors of the lanes take part in (none: 0 vectors).
struct Segment {
  mlir::Value end;
  int64_t firstVector, vectors;
};

/// C(r, lane) = start + sum over k of A(r, k) * B(k, lane), with A(r, k) = a[r * aRow + k * aStep], B(k, lane) =
/// b[k * bStep + lane], C(r, lane) = c[r * cRow + lane].
struct Product {
  mlir::Value a;
  int64_t aRow, aStep;
  mlir::Value b;
  int64_t bStep;
  mlir::Value c;
  int64_t cRow;
  mlir::Value count; // of k; not used if there are segments
  enum Start { Zero, Add, ScaleAndAdd } start = Zero;
  mlir::Value scale; // ScaleAndAdd: C times scale[lane] before the sum
  llvm::SmallVector<Segment, 4> segments; // one after the other; at most 4 vectors of lanes then
};

/// Vectors of f32 code; pointers are to f32.
class TileCode {
public:
  explicit TileCode(Code &code) : code(code) {}
  Code &code;

  mlir::Type f32() { return code.b.getF32Type(); }
  mlir::Type lanesType() { return Code::vectorOf(f32(), kLanes); }
  mlir::Value at(mlir::Value pointer, mlir::Value index) { return code.address(pointer, f32(), index); }
  mlir::Value at(mlir::Value pointer, int64_t index) { return index == 0 ? pointer : at(pointer, code.i64(index)); }
  mlir::Value load(mlir::Value pointer) { return code.load(lanesType(), pointer, 64); }
  void store(mlir::Value value, mlir::Value pointer) { code.store(value, pointer, 64); }
  mlir::Value buffer(int64_t elements) { return code.stack(elements * 4); }
  /// The f32 at `pointer` in all lanes.
  mlir::Value broadcast(mlir::Value pointer) { return code.splat(code.load(f32(), pointer), kLanes); }
  /// Lanes whose number is below `count`.
  mlir::Value lanesBelow(mlir::Value count);
  void fill(mlir::Value pointer, int64_t elements, double value);

  /// The product for `rows` of C and `columns`, a multiple of the lanes.
  void product(const Product &p, int64_t rows, int64_t columns);
  /// The same for a variable number of rows; A and C have space up to a multiple of kRows. Rows from `row` on need the
  /// product up to k < countOf(row) only.
  void product(const Product &p, mlir::Value rows, int64_t columns, llvm::function_ref<mlir::Value(mlir::Value row)> countOf = nullptr);
  /// Emits code that branches to emit(0), ..., emit(count - 1) by `index`, clamped.
  void choose(mlir::Value index, int64_t count, llvm::function_ref<void(int64_t)> emit);
  /// One register tile: rows <= kRows, vectors <= 4.
  void registerTile(const Product &p, int64_t rows, int64_t vectors);
  /// rows[i][j] -> result[j][i].
  llvm::SmallVector<mlir::Value> transpose(llvm::ArrayRef<mlir::Value> rows);
  /// exp(x), zero below -87.7, good to 2e-7 up to 88; NaN stays NaN.
  mlir::Value exp(mlir::Value x);

private:
  void narrowTile(const Product &p, int64_t rows, int64_t vectors);
  using EmitRows = llvm::function_ref<void(mlir::Value row, int64_t rows, mlir::Value count)>;
  void panels(const Product &p, int64_t columns, llvm::function_ref<void(EmitRows)> overRows);
};

/// The elements of a [B, T, H, D]-like view along its last dimension.
class Row {
public:
  /// `indices`: of all dimensions but the last. `base` is the tensor's pointer.
  Row(TileCode &tile, const AffineView &view, mlir::Value base, llvm::ArrayRef<mlir::Value> indices);
  /// 16 elements as f32 from `column` on; a null mask is all of them.
  mlir::Value load(mlir::Value column, mlir::Value mask) const;
  void store(mlir::Value value, mlir::Value column, mlir::Value mask) const;
  /// One element as f32.
  mlir::Value loadOne(mlir::Value column) const;

private:
  mlir::Value address(mlir::Value column) const;
  TileCode &tile;
  const AffineView &view;
  mlir::Value pointer;
};

/// Pieces of a view in tiles. Rows are indexed by dimension 1 of the view.
class Mover {
public:
  Mover(TileCode &tile, const AffineView &view, mlir::Value base, mlir::Value batch, mlir::Value head)
      : tile(tile), view(view), base(base), batch(batch), head(head), size(view.shape[3]) {}
  /// target[r * rowStep + d] = factor * view(first + r, d) for r < rows, zero from the size on up to a multiple of 16.
  void copyIn(mlir::Value target, int64_t rowStep, mlir::Value first, mlir::Value rows, double factor);
  /// target[d * rowStep + r] = factor * view(first + r, d) for r < rows (a multiple of 16); rows past the end of the view
  /// repeat its last one.
  void transposeIn(mlir::Value target, int64_t rowStep, mlir::Value first, int64_t rows, double factor);
  /// view(first + r, d) = factors[r] * source[d * rowStep + r] for r < rows that are inside of the view; no `factors`: 1.
  void transposeOut(mlir::Value source, int64_t rowStep, mlir::Value first, int64_t rows, mlir::Value factors);
  Row row(mlir::Value index) { return Row(tile, view, base, {batch, index, head}); }
  /// Visits the last dimension in vectors: column, mask.
  void columns(llvm::function_ref<void(mlir::Value, mlir::Value)> body);

private:
  TileCode &tile;
  const AffineView &view;
  mlir::Value base, batch, head;
  int64_t size;
};

} // namespace llmc::codegen::attention

#endif // LLMC_COMPILER_CODEGEN_ATTENTION_TILE_H
