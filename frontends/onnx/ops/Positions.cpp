//===- Positions.cpp - what gathers and scatters ask of indices ------===//
#include "frontends/onnx/ops/Positions.h"

using namespace mlir;
using namespace llmc;
using namespace llmc::onnx;

std::optional<int64_t> llmc::onnx::consecutive(NodeImporter &n, Value indices, int64_t extent) {
  const HostTensor *values = n.state.pool.elements(indices);
  if (!values || values->size() == 0)
    return std::nullopt;
  int64_t first = values->integers[0];
  first = first < 0 ? first + extent : first;
  for (int64_t i = 0; i < values->size(); ++i) {
    int64_t value = values->integers[i] < 0 ? values->integers[i] + extent : values->integers[i];
    if (value != first + i)
      return std::nullopt;
  }
  if (first < 0 || first + values->size() > extent)
    return std::nullopt;
  return first;
}

LogicalResult llmc::onnx::checkRange(NodeImporter &n, Value indices, int64_t extent) {
  if (const HostTensor *values = n.state.pool.elements(indices))
    for (int64_t value : values->integers)
      if (value < -extent || value >= extent)
        return n.fail("index " + Twine(value) + " is outside a dimension of size " + Twine(extent));
  return success();
}

SmallVector<int64_t> llmc::onnx::frontPermutation(int64_t rank, int64_t d, bool back) {
  SmallVector<int64_t> permutation;
  for (int64_t i = 0; i < rank; ++i)
    permutation.push_back(back ? (i < d ? i + 1 : i == d ? 0 : i) : (i == 0 ? d : i <= d ? i - 1 : i));
  return permutation;
}

Value llmc::onnx::wrapped(NodeImporter &n, Value indices, int64_t extent) {
  if (const HostTensor *known = n.state.pool.elements(indices))
    if (llvm::all_of(known->integers, [](int64_t index) { return index >= 0; }))
      return indices;
  Value below = n.emit<arith::CmpIOp>(arith::CmpIPredicate::slt, indices, n.splatLike(indices, 0));
  Value shifted = n.emit<arith::AddIOp>(indices, n.splatLike(indices, static_cast<double>(extent)));
  return n.emit<arith::SelectOp>(below, shifted, indices);
}

Value llmc::onnx::flatIndex(NodeImporter &n, Value indices, ArrayRef<int64_t> extents) {
  RankedTensorType type = nn::typeOf(indices);
  int64_t last = type.getRank() - 1;
  SmallVector<int64_t> shape(type.getShape().drop_back());
  Value flat;
  for (auto [i, extent] : llvm::enumerate(extents)) {
    Value part = wrapped(n, n.reshape(n.slice(indices, last, static_cast<int64_t>(i), 1), shape), extent);
    if (flat)
      flat = n.emit<arith::MulIOp>(flat, n.splatLike(flat, static_cast<double>(extent)));
    flat = flat ? n.emit<arith::AddIOp>(flat, part) : part;
  }
  return flat;
}

Value llmc::onnx::positionsAlong(NodeImporter &n, ArrayRef<int64_t> shape, int64_t axis) {
  SmallVector<int64_t> positions;
  for (int64_t i = 0; i < shape[axis]; ++i)
    positions.push_back(i);
  return n.broadcast(n.state.pool.makeInts(n.loc, positions), shape, {axis});
}

Value llmc::onnx::gatherRows(NodeImporter &n, Value value, ArrayRef<int64_t> rows, int64_t d) {
  RankedTensorType type = nn::typeOf(value);
  Value table = n.transpose(value, frontPermutation(type.getRank(), d, /*back=*/false));
  SmallVector<int64_t> shape(nn::typeOf(table).getShape());
  shape[0] = static_cast<int64_t>(rows.size());
  Value picked = n.emit<nn::GatherOp>(RankedTensorType::get(shape, type.getElementType()), table, n.state.pool.makeInts(n.loc, rows));
  return n.transpose(picked, frontPermutation(type.getRank(), d, /*back=*/true));
}
