//===- Contract.cpp - MatMul, Gemm, Einsum ------===//
#include "frontends/onnx/NodeImporter.h"
#include "frontends/onnx/OpTable.h"
#include <set>

using namespace mlir;
using namespace llmc;
using namespace llmc::onnx;

static bool bothFloat(NodeImporter &n) {
  return n.in(0) && n.in(1) && isa<FloatType>(nn::typeOf(n.in(0)).getElementType()) &&
         nn::typeOf(n.in(0)).getElementType() == nn::typeOf(n.in(1)).getElementType();
}

/// Emits a contraction. Dimensions of size 1 that the other operand has larger (broadcast batches) are dropped first.
static Value contract(NodeImporter &n, Value lhs, StringRef l, Value rhs, StringRef r, StringRef result) {
  auto drop = [&](Value &value, StringRef labels, Value other, StringRef otherLabels) {
    std::string kept;
    SmallVector<int64_t> shape;
    for (auto [label, extent] : llvm::zip_equal(labels, nn::typeOf(value).getShape())) {
      size_t at = otherLabels.find(label);
      if (extent == 1 && at != StringRef::npos && nn::typeOf(other).getDimSize(at) != 1)
        continue;
      kept += label;
      shape.push_back(extent);
    }
    value = n.reshape(value, shape);
    return kept;
  };
  Value right = rhs;
  std::string left = drop(lhs, l, rhs, r);
  std::string rightLabels = drop(right, r, lhs, left);
  return n.emit<nn::ContractOp>(left + "," + rightLabels + "->" + result.str(), lhs, right);
}

static LogicalResult matmul(NodeImporter &n) {
  if (!bothFloat(n))
    return n.fail("two real inputs of one type expected");
  Value a = n.in(0), b = n.in(1);
  bool vectorA = n.rank(0) == 1, vectorB = n.rank(1) == 1;
  if (n.rank(0) == 0 || n.rank(1) == 0)
    return n.fail("a scalar cannot be multiplied");
  int64_t batchA = std::max<int64_t>(n.rank(0) - 2, 0), batchB = std::max<int64_t>(n.rank(1) - 2, 0);
  int64_t batch = std::max(batchA, batchB);
  if (batch > 20)
    return n.fail("too many dimensions");
  std::string letters;
  for (int64_t i = 0; i < batch; ++i)
    letters += static_cast<char>('a' + i);
  std::string l = letters.substr(batch - batchA) + (vectorA ? "k" : "mk");
  std::string r = letters.substr(batch - batchB) + (vectorB ? "k" : "kn");
  std::string result = letters + (vectorA ? "" : "m") + (vectorB ? "" : "n");
  // The batch letters are a, b, ...; rename the matrix letters out of their way.
  auto rename = [](std::string &labels, size_t from) {
    for (size_t i = from; i < labels.size(); ++i)
      labels[i] = labels[i] == 'm' ? 'x' : labels[i] == 'n' ? 'y' : 'z';
  };
  rename(l, batchA);
  rename(r, batchB);
  rename(result, batch);
  int64_t k = n.shape(0).back(), other = vectorB ? n.shape(1)[0] : n.shape(1)[n.rank(1) - 2];
  if (k != other)
    return n.fail("the inner dimensions differ: " + Twine(k) + " and " + Twine(other));
  for (int64_t i = 1; i <= std::min(batchA, batchB); ++i) {
    int64_t x = n.shape(0)[batchA - i], y = n.shape(1)[batchB - i];
    if (x != y && x != 1 && y != 1)
      return n.fail("the batch dimensions differ: " + Twine(x) + " and " + Twine(y));
  }
  return n.done(contract(n, a, l, b, r, result));
}

static LogicalResult gemm(NodeImporter &n) {
  if (!bothFloat(n) || n.rank(0) != 2 || n.rank(1) != 2)
    return n.fail("two real matrices of one type expected");
  bool ta = n.attr("transA", 0), tb = n.attr("transB", 0);
  int64_t m = n.shape(0)[ta ? 1 : 0], k = n.shape(0)[ta ? 0 : 1], other = n.shape(1)[tb ? 1 : 0],
          columns = n.shape(1)[tb ? 0 : 1];
  if (k != other)
    return n.fail("the inner dimensions differ: " + Twine(k) + " and " + Twine(other));
  Value y = contract(n, n.in(0), ta ? "km" : "mk", n.in(1), tb ? "nk" : "kn", "mn");
  auto scaled = [&](Value value, double factor) {
    return factor == 1 ? value : n.emit<arith::MulFOp>(value, n.splatLike(value, factor));
  };
  y = scaled(y, n.attrFloat("alpha", 1));
  if (!n.in(2) || n.attrFloat("beta", 1) == 0)
    return n.done(y);
  auto shape = n.commonShape({y, n.in(2)});
  if (failed(shape) || *shape != ArrayRef<int64_t>({m, columns}))
    return n.fail("the added matrix has the wrong shape");
  Value c = scaled(n.in(2), n.attrFloat("beta", 1));
  return n.done(n.emit<arith::AddFOp>(y, n.broadcastTo(c, *shape)));
}

/// Einsum of one or two operands without ellipsis and repeated letters in a term.
static LogicalResult einsum(NodeImporter &n) {
  std::string equation = n.attrText("equation", "");
  llvm::erase(equation, ' ');
  auto [terms, result] = StringRef(equation).split("->");
  auto [l, r] = terms.split(',');
  bool simple = StringRef(equation).contains("->") && !StringRef(equation).contains('.') && !r.contains(',');
  for (StringRef term : {l, r, result})
    simple &= std::set<char>(term.begin(), term.end()).size() == term.size();
  if (!simple || n.node.inputs.size() > 2 || (n.node.inputs.size() == 2) != terms.contains(','))
    return n.fail("equation `" + equation + "`");
  if (n.node.inputs.size() == 2) {
    if (!bothFloat(n) || static_cast<int64_t>(l.size()) != n.rank(0) || static_cast<int64_t>(r.size()) != n.rank(1))
      return n.fail("the equation does not fit the inputs");
    // A letter that only one operand has and the result lacks is summed first.
    auto sumOut = [&](Value value, StringRef labels, StringRef other, std::string &kept) {
      SmallVector<int64_t> dims;
      for (auto [d, label] : llvm::enumerate(labels)) {
        if (!other.contains(label) && !result.contains(label))
          dims.push_back(static_cast<int64_t>(d));
        else
          kept += label;
      }
      return dims.empty() ? value : n.emit<nn::ReduceOp>(value, nn::ReduceKind::Sum, dims);
    };
    std::string left, right;
    Value a = sumOut(n.in(0), l, r, left), b = sumOut(n.in(1), r, l, right);
    return n.done(contract(n, a, left, b, right, result));
  }
  if (!n.in(0) || static_cast<int64_t>(l.size()) != n.rank(0))
    return n.fail("the equation does not fit the input");
  SmallVector<int64_t> dims, permutation;
  std::string kept;
  for (auto [d, label] : llvm::enumerate(l))
    if (result.contains(label))
      kept += label;
    else
      dims.push_back(static_cast<int64_t>(d));
  Value value = dims.empty() ? n.in(0) : n.emit<nn::ReduceOp>(n.in(0), nn::ReduceKind::Sum, dims);
  if (kept.size() != result.size())
    return n.fail("equation `" + equation + "`");
  for (char label : result)
    permutation.push_back(static_cast<int64_t>(kept.find(label)));
  return n.done(n.transpose(value, permutation));
}

void llmc::onnx::registerContract(OpTable &t) {
  t.add("MatMul", 1, matmul);
  t.add("Gemm", 7, gemm);
  t.add("Einsum", 12, einsum);
}
