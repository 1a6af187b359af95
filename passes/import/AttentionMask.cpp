//===- AttentionMask.cpp - constant masks by value ----------------------------------===//
#include "passes/import/AttentionMask.h"
#include "passes/import/Matching.h"
#include <cmath>

using namespace mlir;

namespace llmc::importing {

/// What a [T, S] mask hides.
static MaskKind kindOfElements(const HostTensor &mask, int64_t queries, int64_t keys, bool inverted) {
  bool all = true, causal = keys >= queries;
  for (int64_t t = 0; t < queries; ++t)
    for (int64_t s = 0; s < keys; ++s) {
      int64_t i = t * keys + s;
      bool seen = mask.isReal ? mask.reals[i] == 0.0 : (mask.integers[i] != 0) != inverted;
      if (mask.isReal && !seen && !(mask.reals[i] <= MaskReader::kHidden))
        return MaskKind::Other; // a bias
      all &= seen;
      causal &= seen == (s <= t + keys - queries);
      if (!all && !causal)
        return MaskKind::Other;
    }
  return all ? MaskKind::Nothing : MaskKind::Causal;
}

MaskKind MaskReader::kindOf(Value mask, bool inverted) {
  // A shift of all scores by one finite number changes no probability.
  if (std::optional<double> splat = splatOf(mask))
    return (nn::typeOf(mask).getElementType().isInteger(1) ? (*splat != 0.0) != inverted : std::isfinite(*splat)) ? MaskKind::Nothing
                                                                                                               : MaskKind::Other;
  int64_t rank = nn::typeOf(mask).getRank();
  Spread spread = spreadOf(mask);
  ElementsAttr attribute = known.attributeOf(spread.source);
  if (!attribute || rank < 2 || spread.dims != SmallVector<int64_t>({rank - 2, rank - 1}))
    return MaskKind::Other;
  auto [it, isNew] = kinds.try_emplace({attribute, inverted}, MaskKind::Other);
  if (isNew) {
    FailureOr<HostTensor> elements = HostTensor::fromAttribute(attribute);
    ArrayRef<int64_t> shape = nn::typeOf(mask).getShape();
    if (succeeded(elements))
      it->second = kindOfElements(*elements, shape[rank - 2], shape[rank - 1], inverted);
  }
  return it->second;
}

} // namespace llmc::importing
