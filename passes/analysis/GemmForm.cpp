//===- GemmForm.cpp - a contraction as a batched matrix product -------------------===//
//
//   1. labels are sorted into batch (in all three tensors), rows (lhs and result), columns (rhs and result), contracted;
//   2. the sides are swapped if the result's innermost dimension is a row;
//   3. contracted labels must merge into one dimension; columns and rows merge as far as they can, what is left over
//      becomes a batch with stride 0 in the operand that lacks it.
//
//===----------------------------------------------------------------------===//
#include "passes/analysis/GemmForm.h"

using namespace mlir;

namespace llmc::analysis {

namespace {

constexpr size_t kMaxBatches = 4;

/// One label with its step in each tensor (0 where it is absent).
struct Label {
  int64_t size, a, b, c;
};

/// Merges neighbours of `labels` (sorted outer to inner) that are one dimension in all tensors.
SmallVector<Label> merge(SmallVector<Label> labels) {
  SmallVector<Label> merged;
  for (const Label &label : labels) {
    if (!merged.empty()) {
      Label &outer = merged.back();
      if (outer.a == label.a * label.size && outer.b == label.b * label.size && outer.c == label.c * label.size) {
        outer = {outer.size * label.size, label.a, label.b, label.c};
        continue;
      }
    }
    merged.push_back(label);
  }
  return merged;
}

struct Sorted {
  SmallVector<Label> batch, rows, columns, contracted;
};

Sorted sortLabels(nn::ContractOp op, bool swapped) {
  StringRef aLabels = swapped ? op.rhsLabels() : op.lhsLabels(), bLabels = swapped ? op.lhsLabels() : op.rhsLabels();
  Value a = swapped ? op.getRhs() : op.getLhs(), b = swapped ? op.getLhs() : op.getRhs();
  auto stepOf = [](StringRef labels, Value value, char label) -> std::pair<int64_t, int64_t> {
    size_t position = labels.find(label);
    if (position == StringRef::npos)
      return {0, 0};
    int64_t step = 1;
    for (int64_t d = position + 1; d < nn::typeOf(value).getRank(); ++d)
      step *= nn::typeOf(value).getDimSize(d);
    return {nn::typeOf(value).getDimSize(position), step};
  };
  Sorted sorted;
  std::string all = aLabels.str();
  for (char label : bLabels)
    if (!aLabels.contains(label))
      all.push_back(label);
  for (char label : all) {
    auto [aSize, aStep] = stepOf(aLabels, a, label);
    auto [bSize, bStep] = stepOf(bLabels, b, label);
    auto [cSize, cStep] = stepOf(op.resultLabels(), op.getResult(), label);
    Label entry{std::max({aSize, bSize, cSize}), aStep, bStep, cStep};
    if (entry.size == 1)
      continue;
    bool inA = aSize != 0, inB = bSize != 0, inC = cSize != 0;
    (inA && inB && inC ? sorted.batch : inA && inC ? sorted.rows : inB && inC ? sorted.columns : sorted.contracted).push_back(entry);
  }
  llvm::sort(sorted.contracted, [](const Label &x, const Label &y) { return x.a > y.a; });
  for (auto *list : {&sorted.batch, &sorted.rows, &sorted.columns})
    llvm::sort(*list, [](const Label &x, const Label &y) { return x.c > y.c; });
  return sorted;
}

} // namespace

std::optional<GemmForm> gemmFormOf(nn::ContractOp op) {
  GemmForm form;
  Sorted s = sortLabels(op, false);
  int64_t innermostRow = s.rows.empty() ? 0 : s.rows.back().c, innermostColumn = s.columns.empty() ? 0 : s.columns.back().c;
  if (innermostColumn != 1 && innermostRow == 1) {
    form.swapped = true;
    s = sortLabels(op, true);
  }
  SmallVector<Label> contracted = merge(s.contracted), rows = merge(s.rows), columns = merge(s.columns), batch = merge(s.batch);
  if (contracted.size() > 1)
    return std::nullopt;
  Label k = contracted.empty() ? Label{1, 1, 1, 0} : contracted.front();
  Label n = {1, 0, 1, 1}, m = {1, 0, 0, 0};
  if (!columns.empty())
    n = columns.pop_back_val();
  if (n.size > 1 && n.c != 1)
    return std::nullopt;
  if (!rows.empty()) {
    auto *largest = std::max_element(rows.begin(), rows.end(), [](const Label &x, const Label &y) { return x.size < y.size; });
    m = *largest;
    rows.erase(largest);
  }
  llvm::append_range(batch, rows);
  llvm::append_range(batch, columns);
  if (batch.size() > kMaxBatches)
    return std::nullopt;
  for (const Label &label : batch) {
    form.batch.push_back(label.size);
    form.aBatch.push_back(label.a);
    form.bBatch.push_back(label.b);
    form.cBatch.push_back(label.c);
  }
  form.m = m.size, form.n = n.size, form.k = k.size;
  form.aRow = m.size == 1 ? std::max<int64_t>(1, k.size * k.a) : m.a, form.aColumn = k.size == 1 ? 1 : k.a;
  form.bRow = k.size == 1 ? std::max<int64_t>(1, n.size * n.b) : k.b, form.bColumn = n.size == 1 ? 1 : n.b;
  form.cRow = m.size == 1 ? n.size : m.c;
  // A single column or row may carry any stride; the library wants one inner stride of 1.
  if (form.n == 1 && form.bRow != 1)
    form.bColumn = 1;
  bool aReadable = form.aRow == 1 || form.aColumn == 1, bReadable = form.bRow == 1 || form.bColumn == 1;
  if (!aReadable || !bReadable || form.cRow < form.n)
    return std::nullopt;
  return form;
}

} // namespace llmc::analysis
