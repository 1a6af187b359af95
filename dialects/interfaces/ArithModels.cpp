//===- ArithModels.cpp - arith on tensors: values and derivatives -----------===//
#include "dialects/interfaces/Models.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include <cmath>

using namespace mlir;
using namespace llmc;
using namespace llmc::models;

namespace {

Value splatLike(OpBuilder &b, Value like, double value) {
  auto type = cast<ShapedType>(like.getType());
  return arith::ConstantOp::create(b, like.getLoc(),
                                   DenseElementsAttr::get(type, b.getFloatAttr(type.getElementType(), value)));
}

bool compareReal(arith::CmpFPredicate predicate, double a, double b) {
  bool unordered = std::isnan(a) || std::isnan(b);
  using P = arith::CmpFPredicate;
  switch (predicate) {
  case P::AlwaysFalse: return false;
  case P::OEQ: return !unordered && a == b;
  case P::OGT: return !unordered && a > b;
  case P::OGE: return !unordered && a >= b;
  case P::OLT: return !unordered && a < b;
  case P::OLE: return !unordered && a <= b;
  case P::ONE: return !unordered && a != b;
  case P::ORD: return !unordered;
  case P::UEQ: return unordered || a == b;
  case P::UGT: return unordered || a > b;
  case P::UGE: return unordered || a >= b;
  case P::ULT: return unordered || a < b;
  case P::ULE: return unordered || a <= b;
  case P::UNE: return unordered || a != b;
  case P::UNO: return unordered;
  case P::AlwaysTrue: return true;
  }
  return false;
}

bool compareInteger(arith::CmpIPredicate predicate, int64_t a, int64_t b) {
  using P = arith::CmpIPredicate;
  auto ua = static_cast<uint64_t>(a), ub = static_cast<uint64_t>(b);
  switch (predicate) {
  case P::eq: return a == b;
  case P::ne: return a != b;
  case P::slt: return a < b;
  case P::sle: return a <= b;
  case P::sgt: return a > b;
  case P::sge: return a >= b;
  case P::ult: return ua < ub;
  case P::ule: return ua <= ub;
  case P::ugt: return ua > ub;
  case P::uge: return ua >= ub;
  }
  return false;
}

void attachFloat(MLIRContext *ctx) {
  // y = a + b   da = dy, db = dy
  attachReal<arith::AddFOp, [](double a, double b) { return a + b; },
             [](OpBuilder &, arith::AddFOp, Value dy, ArrayRef<bool>, Gradients &g) { g.append({dy, dy}); }>(ctx);
  // y = a - b   da = dy, db = -dy
  attachReal<arith::SubFOp, [](double a, double b) { return a - b; },
             [](OpBuilder &b, arith::SubFOp op, Value dy, ArrayRef<bool> wanted, Gradients &g) {
               g.append({dy, wanted[1] ? arith::NegFOp::create(b, op.getLoc(), dy) : Value()});
             }>(ctx);
  // y = a * b   da = dy b, db = dy a     saves: a, b
  attachReal<arith::MulFOp, [](double a, double b) { return a * b; },
             [](OpBuilder &b, arith::MulFOp op, Value dy, ArrayRef<bool> wanted, Gradients &g) {
               g.push_back(wanted[0] ? arith::MulFOp::create(b, op.getLoc(), dy, op.getRhs()) : Value());
               g.push_back(wanted[1] ? arith::MulFOp::create(b, op.getLoc(), dy, op.getLhs()) : Value());
             }>(ctx);
  // y = a / b   da = dy / b, db = -(dy / b) y     saves: b, y
  attachReal<arith::DivFOp, [](double a, double b) { return a / b; },
             [](OpBuilder &b, arith::DivFOp op, Value dy, ArrayRef<bool> wanted, Gradients &g) {
               Location loc = op.getLoc();
               Value da = arith::DivFOp::create(b, loc, dy, op.getRhs());
               g.push_back(da);
               g.push_back(wanted[1] ? arith::NegFOp::create(b, loc, arith::MulFOp::create(b, loc, da, op.getResult()))
                                     : Value());
             }>(ctx);
  // y = -a   da = -dy
  attachReal<arith::NegFOp, [](double a) { return -a; },
             [](OpBuilder &b, arith::NegFOp op, Value dy, ArrayRef<bool>, Gradients &g) {
               g.push_back(arith::NegFOp::create(b, op.getLoc(), dy));
             }>(ctx);
}

// y = max(a, b)   da = a > b ? dy : 0, db = dy - da: at a tie the second operand gets all, so relu'(0) = 0.
template <typename Op, arith::CmpFPredicate predicate>
void extremeVjp(OpBuilder &b, Op op, Value dy, ArrayRef<bool> wanted, Gradients &g) {
  Location loc = op.getLoc();
  Value first = arith::CmpFOp::create(b, loc, predicate, op.getLhs(), op.getRhs());
  Value zero = splatLike(b, dy, 0.0);
  g.push_back(wanted[0] ? arith::SelectOp::create(b, loc, first, dy, zero) : Value());
  g.push_back(wanted[1] ? arith::SelectOp::create(b, loc, first, zero, dy) : Value());
}

double maximum(double a, double b) { return std::isnan(a) || std::isnan(b) ? NAN : std::max(a, b); }
double minimum(double a, double b) { return std::isnan(a) || std::isnan(b) ? NAN : std::min(a, b); }

void attachExtremes(MLIRContext *ctx) {
  attachReal<arith::MaximumFOp, maximum, extremeVjp<arith::MaximumFOp, arith::CmpFPredicate::OGT>>(ctx);
  attachReal<arith::MinimumFOp, minimum, extremeVjp<arith::MinimumFOp, arith::CmpFPredicate::OLT>>(ctx);
  attachElementwise<arith::RemFOp, RealModel<arith::RemFOp, [](double a, double b) { return std::fmod(a, b); }>,
                    ZeroVjpModel<arith::RemFOp>>(ctx);
  attachElementwise<arith::CmpFOp, ValueModel<arith::CmpFOp, [](arith::CmpFOp op, Operands in, Results out) {
                      for (int64_t i = 0, e = out[0].size(); i < e; ++i)
                        out[0].integers[i] = compareReal(op.getPredicate(), in[0]->reals[i], in[1]->reals[i]);
                      return success();
                    }>, ZeroVjpModel<arith::CmpFOp>>(ctx);
  attachElementwise<arith::CmpIOp, ValueModel<arith::CmpIOp, [](arith::CmpIOp op, Operands in, Results out) {
                      for (int64_t i = 0, e = out[0].size(); i < e; ++i)
                        out[0].integers[i] = compareInteger(op.getPredicate(), in[0]->integers[i], in[1]->integers[i]);
                      return success();
                    }>, ZeroVjpModel<arith::CmpIOp>>(ctx);
}

// y = c ? a : b   da = c ? dy : 0, db = c ? 0 : dy     saves: c
void attachSelect(MLIRContext *ctx) {
  attachElementwise<
      arith::SelectOp, ValueModel<arith::SelectOp, [](arith::SelectOp op, Operands in, Results out) {
        for (int64_t i = 0, e = out[0].size(); i < e; ++i) {
          const HostTensor &source = in[0]->integers[at(*in[0], i)] ? *in[1] : *in[2];
          if (out[0].isReal)
            out[0].reals[i] = source.reals[i];
          else
            out[0].integers[i] = source.integers[i];
        }
        return success();
      }>,
      VjpModel<arith::SelectOp, [](OpBuilder &b, arith::SelectOp op, Value dy, ArrayRef<bool> wanted, Gradients &g) {
        Location loc = op.getLoc();
        Value zero = splatLike(b, dy, 0.0);
        g.push_back(Value());
        g.push_back(wanted[1] ? arith::SelectOp::create(b, loc, op.getCondition(), dy, zero) : Value());
        g.push_back(wanted[2] ? arith::SelectOp::create(b, loc, op.getCondition(), zero, dy) : Value());
      }>>(ctx);
}

template <typename Op>
LogicalResult copyValues(Op, Operands in, Results out) {
  for (int64_t i = 0, e = out[0].size(); i < e; ++i) {
    if (out[0].isReal)
      out[0].reals[i] = in[0]->real(i);
    else
      out[0].integers[i] = in[0]->isReal ? static_cast<int64_t>(in[0]->reals[i]) : in[0]->integers[i];
  }
  return success();
}

template <typename Op>
using ConversionModel = ValueModel<Op, copyValues<Op>>;

// Widening and narrowing: the gradient is converted back.
template <typename Op, typename Inverse>
void convertBack(OpBuilder &b, Op op, Value dy, ArrayRef<bool>, Gradients &g) {
  g.push_back(Inverse::create(b, op.getLoc(), op.getIn().getType(), dy));
}
template <typename Op, typename Inverse>
void attachConversion(MLIRContext *ctx) {
  attachElementwise<Op, ConversionModel<Op>, VjpModel<Op, convertBack<Op, Inverse>>>(ctx);
}

// i1 counts as 0 and 1 under zero extension and as 0 and -1 under sign extension.
LogicalResult signExtend(arith::ExtSIOp op, Operands in, Results out) {
  bool fromBool = getElementTypeOrSelf(op.getIn().getType()).isInteger(1);
  for (int64_t i = 0, e = out[0].size(); i < e; ++i)
    out[0].integers[i] = fromBool ? -in[0]->integers[i] : in[0]->integers[i];
  return success();
}

LogicalResult zeroExtend(arith::ExtUIOp op, Operands in, Results out) {
  unsigned width = getElementTypeOrSelf(op.getIn().getType()).getIntOrFloatBitWidth();
  uint64_t mask = width >= 64 ? ~0ull : (1ull << width) - 1;
  for (int64_t i = 0, e = out[0].size(); i < e; ++i)
    out[0].integers[i] = static_cast<int64_t>(static_cast<uint64_t>(in[0]->integers[i]) & mask);
  return success();
}

void attachConversions(MLIRContext *ctx) {
  attachConversion<arith::ExtFOp, arith::TruncFOp>(ctx);
  attachConversion<arith::TruncFOp, arith::ExtFOp>(ctx);
  attachElementwise<arith::SIToFPOp, ConversionModel<arith::SIToFPOp>, ZeroVjpModel<arith::SIToFPOp>>(ctx);
  attachElementwise<arith::UIToFPOp, ConversionModel<arith::UIToFPOp>, ZeroVjpModel<arith::UIToFPOp>>(ctx);
  attachElementwise<arith::FPToSIOp, ConversionModel<arith::FPToSIOp>, ZeroVjpModel<arith::FPToSIOp>>(ctx);
  attachElementwise<arith::TruncIOp, ConversionModel<arith::TruncIOp>, ZeroVjpModel<arith::TruncIOp>>(ctx);
  attachElementwise<arith::IndexCastOp, ConversionModel<arith::IndexCastOp>, ZeroVjpModel<arith::IndexCastOp>>(ctx);
  attachElementwise<arith::ExtSIOp, ValueModel<arith::ExtSIOp, signExtend>, ZeroVjpModel<arith::ExtSIOp>>(ctx);
  attachElementwise<arith::ExtUIOp, ValueModel<arith::ExtUIOp, zeroExtend>, ZeroVjpModel<arith::ExtUIOp>>(ctx);
}

int64_t divide(int64_t a, int64_t b) { return b == 0 ? 0 : a / b; }
int64_t remainder(int64_t a, int64_t b) { return b == 0 ? 0 : a % b; }
int64_t floorDivide(int64_t a, int64_t b) {
  if (b == 0)
    return 0;
  int64_t q = a / b;
  return (a % b != 0 && (a < 0) != (b < 0)) ? q - 1 : q;
}

void attachIntegers(MLIRContext *ctx) {
  attachInteger<arith::AddIOp, [](int64_t a, int64_t b) { return static_cast<int64_t>(static_cast<uint64_t>(a) + b); }>(ctx);
  attachInteger<arith::SubIOp, [](int64_t a, int64_t b) { return static_cast<int64_t>(static_cast<uint64_t>(a) - b); }>(ctx);
  attachInteger<arith::MulIOp, [](int64_t a, int64_t b) { return static_cast<int64_t>(static_cast<uint64_t>(a) * b); }>(ctx);
  attachInteger<arith::DivSIOp, divide>(ctx);
  attachInteger<arith::RemSIOp, remainder>(ctx);
  attachInteger<arith::FloorDivSIOp, floorDivide>(ctx);
  attachInteger<arith::MaxSIOp, [](int64_t a, int64_t b) { return std::max(a, b); }>(ctx);
  attachInteger<arith::MinSIOp, [](int64_t a, int64_t b) { return std::min(a, b); }>(ctx);
  attachInteger<arith::AndIOp, [](int64_t a, int64_t b) { return a & b; }>(ctx);
  attachInteger<arith::OrIOp, [](int64_t a, int64_t b) { return a | b; }>(ctx);
  attachInteger<arith::XOrIOp, [](int64_t a, int64_t b) { return a ^ b; }>(ctx);
  attachElementwise<arith::ConstantOp, ValueModel<arith::ConstantOp, [](arith::ConstantOp op, Operands, Results out) {
                      auto elements = dyn_cast<ElementsAttr>(op.getValue());
                      if (!elements)
                        return LogicalResult::failure();
                      FailureOr<HostTensor> value = HostTensor::fromAttribute(elements);
                      if (failed(value))
                        return LogicalResult::failure();
                      out[0] = std::move(*value);
                      return LogicalResult::success();
                    }>, ZeroVjpModel<arith::ConstantOp>>(ctx);
}

} // namespace

void llmc::registerArithModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *ctx, arith::ArithDialect *) {
    attachFloat(ctx);
    attachExtremes(ctx);
    attachSelect(ctx);
    attachConversions(ctx);
    attachIntegers(ctx);
  });
}
