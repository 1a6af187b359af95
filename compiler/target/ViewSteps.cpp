//===- ViewSteps.cpp - `train.view` as steps of the plan file ----------------------===//
#include "compiler/target/ViewSteps.h"
#include "mlir/IR/BuiltinTypes.h"

using namespace mlir;

namespace llmc::target {

namespace fb = llmc::plan::fb;

std::vector<std::unique_ptr<fb::ViewT>> viewSteps(ArrayAttr view, ArrayRef<int64_t> logical) {
  std::vector<std::unique_ptr<fb::ViewT>> steps;
  std::vector<int64_t> shape(logical);
  for (auto entry : view.getAsRange<DictionaryAttr>()) {
    NamedAttribute only = *entry.begin();
    ArrayRef<int64_t> values = cast<DenseI64ArrayAttr>(only.getValue()).asArrayRef();
    auto step = std::make_unique<fb::ViewT>();
    std::vector<int64_t> after(values);
    if (only.getName() == "pad") {
      step->kind = fb::ViewKind::Pad;
      for (auto [from, to] : llvm::zip_equal(shape, values))
        step->values.insert(step->values.end(), {0, to - from});
    } else if (only.getName() == "permute") {
      step->kind = fb::ViewKind::Permute;
      step->values = after;
      for (auto [d, from] : llvm::enumerate(values))
        after[d] = shape[from];
    } else {
      step->kind = fb::ViewKind::Reshape;
      step->values = after;
    }
    shape = after;
    steps.push_back(std::move(step));
  }
  return steps;
}

} // namespace llmc::target
