//===- Window.cpp - convolutions and pools, as sums and extremes over window positions ------===//
//
// A window operator over an image [b, c, s...] is taken apart by the position inside the window: the padded image cut to
// start at that position, with the stride, is what that position sees. A convolution is the sum over positions of
// contractions over channels, a pool the sum or maximum of the cuts. Windows that do not overlap (a vision model's patches)
// are one contraction. Every op made has a derivative.
//
//===----------------------------------------------------------------------===//
#include "frontends/onnx/NodeImporter.h"
#include "frontends/onnx/OpTable.h"
#include <limits>

using namespace mlir;
using namespace llmc;
using namespace llmc::onnx;

static constexpr int64_t kMaxPositions = 256;

namespace {
/// The windows of one operator, one entry per spatial dimension.
struct Windows {
  SmallVector<int64_t> kernel, stride, dilation, before, after, output;

  int64_t positions() const {
    int64_t product = 1;
    for (int64_t extent : kernel)
      product *= extent;
    return product;
  }
};
} // namespace

static FailureOr<Windows> windowsOf(NodeImporter &n, ArrayRef<int64_t> image, SmallVector<int64_t> kernel) {
  size_t rank = image.size();
  Windows w;
  w.kernel = std::move(kernel);
  w.stride = n.attrInts("strides").value_or(SmallVector<int64_t>(rank, 1));
  w.dilation = n.attrInts("dilations").value_or(SmallVector<int64_t>(rank, 1));
  SmallVector<int64_t> pads = n.attrInts("pads").value_or(SmallVector<int64_t>(2 * rank, 0));
  if (w.kernel.size() != rank || w.stride.size() != rank || w.dilation.size() != rank || pads.size() != 2 * rank || rank > 3)
    return n.fail("kernel, strides, dilations or pads do not fit the image");
  std::string automatic = n.attrText("auto_pad", "NOTSET");
  for (size_t d = 0; d < rank; ++d) {
    for (int64_t v : {w.kernel[d], w.stride[d], w.dilation[d]})
      if (v < 1 || v > (1 << 20))
        return n.fail("kernel, strides or dilations are out of range");
    int64_t span = (w.kernel[d] - 1) * w.dilation[d] + 1, first = pads[d], last = pads[rank + d];
    if (automatic == "SAME_UPPER" || automatic == "SAME_LOWER") {
      int64_t count = (image[d] + w.stride[d] - 1) / w.stride[d];
      int64_t total = std::max<int64_t>(0, (count - 1) * w.stride[d] + span - image[d]);
      first = automatic == "SAME_UPPER" ? total / 2 : total - total / 2;
      last = total - first;
    } else if (automatic == "VALID") {
      first = last = 0;
    }
    if (first < 0 || last < 0 || first > (1 << 20) || last > (1 << 20) || image[d] + first + last < span)
      return n.fail("the window does not fit the image");
    w.before.push_back(first);
    w.after.push_back(last);
    w.output.push_back((image[d] + first + last - span) / w.stride[d] + 1);
  }
  if (w.positions() > kMaxPositions)
    return n.fail("a window of " + Twine(w.positions()) + " positions");
  return w;
}

/// The image [b, c, s...] with a border of `fill`.
static Value padded(NodeImporter &n, Value x, const Windows &w, double fill) {
  SmallVector<int64_t> shape(nn::typeOf(x).getShape()), offsets(shape.size(), 0), sizes = shape;
  size_t lead = shape.size() - w.kernel.size();
  for (size_t d = 0; d < w.kernel.size(); ++d) {
    offsets[lead + d] = w.before[d];
    shape[lead + d] += w.before[d] + w.after[d];
  }
  if (shape == sizes)
    return x;
  MLIRContext *context = n.state.builder.getContext();
  Value border = n.splat(RankedTensorType::get(shape, nn::typeOf(x).getElementType()), fill);
  return n.emit<tensor::InsertSliceOp>(x, border, getAsIndexOpFoldResult(context, offsets), getAsIndexOpFoldResult(context, sizes),
                                       SmallVector<OpFoldResult>(shape.size(), n.state.builder.getIndexAttr(1)));
}

/// What position `p` (row-major in the kernel) of every window sees of the padded image.
static Value seenFrom(NodeImporter &n, Value image, const Windows &w, int64_t p) {
  size_t lead = nn::typeOf(image).getRank() - w.kernel.size();
  for (size_t d = w.kernel.size(); d-- > 0;) {
    int64_t at = p % w.kernel[d] * w.dilation[d];
    p /= w.kernel[d];
    image = n.slice(image, static_cast<int64_t>(lead + d), at, w.output[d], w.stride[d]);
  }
  return image;
}

/// One contraction where the windows tile the image: x [b, c, h, p, w, q], weight [o, c, p, q] -> [b, h, w, o].
static Value patches(NodeImporter &n, const Windows &w) {
  size_t spatial = w.kernel.size();
  SmallVector<int64_t> shape = {n.shape(0)[0], n.shape(0)[1]}, permutation = {0, static_cast<int64_t>(spatial) + 1};
  std::string lhs = "bc", rhs = "oc", result = "b";
  for (size_t d = 0; d < spatial; ++d) {
    shape.append({w.output[d], w.kernel[d]});
    lhs += {static_cast<char>('h' + d), static_cast<char>('p' + d)};
    rhs += static_cast<char>('p' + d);
    result += static_cast<char>('h' + d);
    permutation.push_back(1 + static_cast<int64_t>(d));
  }
  Value y = n.emit<nn::ContractOp>(lhs + "," + rhs + "->" + result + "o", n.reshape(n.in(0), shape), n.in(1));
  return n.transpose(y, permutation);
}

/// The general form: per group g, y[b, g, o, s] = sum over positions of sum over c of x[b, g, c, s + p] weight[g, o, c, p].
static Value convolve(NodeImporter &n, const Windows &w, int64_t groups) {
  int64_t batch = n.shape(0)[0], channels = n.shape(0)[1], outputs = n.shape(1)[0], perGroup = channels / groups;
  std::string spatial = StringRef("hij").take_front(w.kernel.size()).str();
  Value image = padded(n, n.in(0), w, 0);
  Value weights = n.reshape(n.in(1), {groups, outputs / groups, perGroup, w.positions()}), sum;
  for (int64_t p = 0; p < w.positions(); ++p) {
    SmallVector<int64_t> shape = {batch, groups, perGroup};
    shape.append(w.output.begin(), w.output.end());
    Value seen = n.reshape(seenFrom(n, image, w, p), shape);
    Value weight = n.reshape(n.slice(weights, 3, p, 1), {groups, outputs / groups, perGroup});
    Value term = n.emit<nn::ContractOp>("bgc" + spatial + ",goc->bgo" + spatial, seen, weight);
    sum = sum ? n.emit<arith::AddFOp>(sum, term) : term;
  }
  SmallVector<int64_t> shape = {batch, outputs};
  shape.append(w.output.begin(), w.output.end());
  return n.reshape(sum, shape);
}

static bool isRealImage(NodeImporter &n) {
  return n.in(0) && n.rank(0) >= 3 && isa<FloatType>(nn::typeOf(n.in(0)).getElementType());
}

static LogicalResult conv(NodeImporter &n) {
  if (!isRealImage(n) || !n.in(1) || n.rank(1) != n.rank(0) ||
      nn::typeOf(n.in(0)).getElementType() != nn::typeOf(n.in(1)).getElementType())
    return n.fail("a real image and kernels of its rank expected");
  int64_t groups = n.attr("group", 1), channels = n.shape(0)[1], outputs = n.shape(1)[0];
  if (groups < 1 || channels % groups || outputs % groups || n.shape(1)[1] != channels / groups)
    return n.fail("the channels do not fit the kernels");
  auto w = windowsOf(n, n.shape(0).drop_front(2), SmallVector<int64_t>(n.shape(1).drop_front(2)));
  if (failed(w))
    return failure();
  bool tiles = groups == 1 && w->stride == w->kernel;
  for (size_t d = 0; d < w->kernel.size(); ++d)
    tiles &= w->dilation[d] == 1 && w->before[d] == 0 && w->after[d] == 0 && w->output[d] * w->kernel[d] == n.shape(0)[2 + d];
  Value y = tiles ? patches(n, *w) : convolve(n, *w, groups);
  if (n.in(2)) {
    if (n.rank(2) != 1 || n.shape(2)[0] != outputs)
      return n.fail("one bias per output channel expected");
    y = n.emit<arith::AddFOp>(y, n.broadcast(n.in(2), nn::typeOf(y).getShape(), {1}));
  }
  return n.done(y);
}

/// The windows of a pool; `ceil_mode` counts windows that begin inside the image and end outside.
static FailureOr<Windows> poolWindows(NodeImporter &n) {
  auto kernel = n.attrInts("kernel_shape");
  if (!isRealImage(n) || !kernel)
    return n.fail("a real image and a kernel_shape expected");
  auto w = windowsOf(n, n.shape(0).drop_front(2), *kernel);
  if (succeeded(w) && n.attr("ceil_mode", 0))
    for (size_t d = 0; d < w->kernel.size(); ++d) {
      int64_t extent = n.shape(0)[2 + d], span = (w->kernel[d] - 1) * w->dilation[d] + 1;
      if ((extent + w->before[d] + w->after[d] - span) % w->stride[d] != 0)
        return n.fail("ceil_mode with windows that leave the image");
    }
  return w;
}

static LogicalResult maxPool(NodeImporter &n) {
  auto w = poolWindows(n);
  if (failed(w))
    return failure();
  if (n.wants(1))
    return n.fail("the indices output");
  Value image = padded(n, n.in(0), *w, -std::numeric_limits<double>::infinity()), result;
  // maximumf gives a tie to its second operand: going backwards, the first position gets it, as in PyTorch.
  for (int64_t p = w->positions(); p-- > 0;) {
    Value seen = seenFrom(n, image, *w, p);
    result = result ? n.emit<arith::MaximumFOp>(result, seen) : seen;
  }
  return n.done(result);
}

static LogicalResult averagePool(NodeImporter &n) {
  auto w = poolWindows(n);
  if (failed(w))
    return failure();
  auto sum = [&](Value image) {
    Value total;
    for (int64_t p = 0; p < w->positions(); ++p) {
      Value seen = seenFrom(n, image, *w, p);
      total = total ? n.emit<arith::AddFOp>(total, seen) : seen;
    }
    return total;
  };
  Value total = sum(padded(n, n.in(0), *w, 0));
  // Border elements count only with count_include_pad.
  Value count = n.attr("count_include_pad", 0) ? n.splatLike(total, static_cast<double>(w->positions()))
                                               : sum(padded(n, n.splatLike(n.in(0), 1), *w, 0));
  return n.done(n.emit<arith::DivFOp>(total, count));
}

// (sum |x|^p)^(1/p) over each window
static LogicalResult lpPool(NodeImporter &n) {
  auto w = poolWindows(n);
  if (failed(w))
    return failure();
  int64_t p = n.attr("p", 2);
  if (p < 1 || p > 64)
    return n.fail("p must be 1 or more");
  Value size = n.emit<math::AbsFOp>(n.in(0)), terms = size, total;
  for (int64_t i = 1; i < p; ++i)
    terms = n.emit<arith::MulFOp>(terms, size);
  Value image = padded(n, terms, *w, 0);
  for (int64_t position = 0; position < w->positions(); ++position) {
    Value seen = seenFrom(n, image, *w, position);
    total = total ? n.emit<arith::AddFOp>(total, seen) : seen;
  }
  if (p == 1)
    return n.done(total);
  return n.done(p == 2 ? n.emit<math::SqrtOp>(total) : n.emit<math::PowFOp>(total, n.splatLike(total, 1.0 / static_cast<double>(p))));
}

// x / (bias + alpha / size * sum of squares over `size` neighbouring channels)^beta
static LogicalResult localResponseNorm(NodeImporter &n) {
  int64_t size = n.attr("size", 0);
  if (!n.in(0) || n.rank(0) < 2 || !isa<FloatType>(nn::typeOf(n.in(0)).getElementType()) || size < 1 || size > kMaxPositions)
    return n.fail("a real image and a size expected");
  Value x = n.in(0), squares = n.emit<arith::MulFOp>(x, x), total;
  SmallVector<int64_t> shape(n.shape(0)), offsets(n.rank(0), 0);
  shape[1] += size - 1;
  offsets[1] = (size - 1) / 2;
  MLIRContext *context = n.state.builder.getContext();
  Value border = n.splat(RankedTensorType::get(shape, nn::typeOf(x).getElementType()), 0);
  if (size > 1)
    squares = n.emit<tensor::InsertSliceOp>(squares, border, getAsIndexOpFoldResult(context, offsets),
                                            getAsIndexOpFoldResult(context, n.shape(0)),
                                            SmallVector<OpFoldResult>(shape.size(), n.state.builder.getIndexAttr(1)));
  for (int64_t i = 0; i < size; ++i) {
    Value seen = n.slice(squares, 1, i, n.shape(0)[1]);
    total = total ? n.emit<arith::AddFOp>(total, seen) : seen;
  }
  total = n.emit<arith::MulFOp>(total, n.splatLike(x, n.attrFloat("alpha", 0.0001f) / static_cast<double>(size)));
  total = n.emit<arith::AddFOp>(total, n.splatLike(x, n.attrFloat("bias", 1)));
  return n.done(n.emit<arith::DivFOp>(x, n.emit<math::PowFOp>(total, n.splatLike(x, n.attrFloat("beta", 0.75f)))));
}

static LogicalResult globalPool(NodeImporter &n, nn::ReduceKind kind) {
  if (!isRealImage(n))
    return n.fail("a real image expected");
  SmallVector<int64_t> dims, shape(n.shape(0));
  for (int64_t d = 2; d < n.rank(0); ++d) {
    dims.push_back(d);
    shape[d] = 1;
  }
  return n.done(n.reshape(n.emit<nn::ReduceOp>(n.in(0), kind, ArrayRef<int64_t>(dims)), shape));
}
static LogicalResult globalAverage(NodeImporter &n) { return globalPool(n, nn::ReduceKind::Mean); }
static LogicalResult globalMax(NodeImporter &n) { return globalPool(n, nn::ReduceKind::Max); }

void llmc::onnx::registerWindow(OpTable &t) {
  t.add("Conv", 1, conv);
  t.add("MaxPool", 1, maxPool);
  t.add("AveragePool", 7, averagePool);
  t.add("LpPool", 2, lpPool);
  t.add("LRN", 1, localResponseNorm);
  t.add("GlobalAveragePool", 1, globalAverage);
  t.add("GlobalMaxPool", 1, globalMax);
}
