//===- ParameterInit.cpp - first values of parameters ---------------------===//
#include "runtime/io/ParameterInit.h"
#include "runtime/io/Random.h"
#include <algorithm>
#include <xxhash.h>

namespace llmc::runtime {

void toPart(const fb::Plan &plan, const std::vector<ViewStep> &view, const Shape &shape, const Cuts *cuts, uint32_t rank, uint64_t width,
            const void *logical, void *part) {
  Shape compiled = shape;
  std::string problem;
  applyToShape(view, compiled, problem); // validated
  Box own = partOf(plan, compiled, cuts, rank);
  bool keepsBytes = std::all_of(view.begin(), view.end(), [](const ViewStep &step) { return step.kind == fb::ViewKind::Reshape; });
  if (keepsBytes)
    return copyBox(own, Box::whole(compiled), logical, own, part, width);
  if (own.isWhole(compiled))
    return toCompiled(view, shape, width, logical, part);
  std::vector<uint8_t> whole(static_cast<size_t>(elementCount(compiled)) * width);
  toCompiled(view, shape, width, logical, whole.data());
  copyBox(own, Box::whole(compiled), whole.data(), own, part, width);
}

static constexpr int64_t kBlock = 1 << 16; // elements per item of parallel work; even

void ParameterInitializer::fillRandom(const fb::Parameter &parameter, int64_t count, void *logical) const {
  const fb::Init &init = *parameter.init();
  RandomStream stream(plan.seed(), parameter.name()->str());
  uint64_t width = elementBytes(parameter.type());
  parallel((count + kBlock - 1) / kBlock, [&](int64_t block) {
    int64_t begin = block * kBlock, size = std::min(kBlock, count - begin);
    std::vector<float> values(static_cast<size_t>(size) + 1);
    float a = static_cast<float>(init.a()), b = static_cast<float>(init.b());
    for (int64_t i = 0; i < size; ++i) {
      if (init.kind() == fb::InitKind::Constant) {
        values[i] = a;
      } else if (init.kind() == fb::InitKind::Uniform) {
        values[i] = a + (b - a) * stream.uniform(static_cast<uint64_t>(begin + i));
      } else if (i % 2 == 0) {
        auto [first, second] = stream.normalPair(static_cast<uint64_t>(begin + i));
        values[i] = a + b * first;
        values[i + 1] = a + b * second;
      }
    }
    convertElements(fb::DataType::F32, values.data(), parameter.type(), static_cast<uint8_t *>(logical) + begin * width,
                    size);
  });
}

Status ParameterInitializer::fromFile(const fb::Parameter &parameter, void *compiled) {
  const fb::Init &init = *parameter.init();
  std::string relative = init.path()->str();
  std::shared_ptr<MappedFile> &file = files[relative];
  if (!file) {
    auto path = resolveInside(folder, relative);
    if (!path.ok())
      return Status::badInput("parameter '" + parameter.name()->str() + "': " + path.status().message,
                              "weights are looked for beside the plan, or in --model-folder");
    auto mapped = MappedFile::open(*path);
    if (!mapped.ok())
      return mapped.status();
    file = *mapped;
  }
  Bytes bytes = file->bytes();
  if (init.offset() > bytes.size() || init.bytes() > bytes.size() - init.offset())
    return Status::badInput("parameter '" + parameter.name()->str() + "': file '" + file->path() + "' has " +
                            std::to_string(bytes.size()) + " bytes, its value ends at " +
                            std::to_string(init.offset() + init.bytes()));
  Bytes value = bytes.subspan(init.offset(), init.bytes());
  if (init.digest() != 0 && XXH3_64bits(value.data(), value.size()) != init.digest())
    return Status::badInput("parameter '" + parameter.name()->str() + "': file '" + file->path() +
                                "' has changed since the plan was compiled",
                            "compile again");
  toPart(plan, viewOf(parameter), shapeOf(parameter.shape()), parameter.cuts(), rank, elementBytes(parameter.type()), value.data(),
         compiled);
  return Status::success();
}

Status ParameterInitializer::initialize(const fb::Parameter &parameter, void *compiled) {
  if (!parameter.init())
    return Status::success();
  if (parameter.init()->kind() == fb::InitKind::File)
    return fromFile(parameter, compiled);
  Shape shape = shapeOf(parameter.shape());
  int64_t count = elementCount(shape);
  std::vector<ViewStep> view = viewOf(parameter);
  if (view.empty() && (!parameter.cuts() || parameter.cuts()->size() == 0)) {
    fillRandom(parameter, count, compiled);
    return Status::success();
  }
  uint64_t width = elementBytes(parameter.type());
  std::vector<uint8_t> logical(static_cast<size_t>(count) * width);
  fillRandom(parameter, count, logical.data());
  toPart(plan, view, shape, parameter.cuts(), rank, width, logical.data(), compiled);
  return Status::success();
}

Status ParameterInitializer::load(const fb::Parameter &parameter, const SafetensorsFile &file, const TensorInfo &info,
                                  void *compiled) {
  Shape shape = shapeOf(parameter.shape());
  std::string name = "tensor of parameter '" + parameter.name()->str() + "' in '" + file.path() + "' ";
  auto describe = [](const Shape &sizes) {
    std::string text;
    for (int64_t size : sizes)
      text += (text.empty() ? "" : "x") + std::to_string(size);
    return text.empty() ? std::string("scalar") : text;
  };
  if (info.shape != shape)
    return Status::badInput(name + "has shape " + describe(info.shape) + ", not " + describe(shape));
  if (!info.supported || !isFloat(info.type))
    return Status::badInput(name + "has type " + info.typeName);
  Bytes bytes = file.data(info);
  const void *logical = bytes.data();
  std::vector<uint8_t> converted;
  uint64_t width = elementBytes(parameter.type());
  if (info.type != parameter.type()) {
    converted.resize(static_cast<size_t>(elementCount(shape)) * width);
    convertElements(info.type, bytes.data(), parameter.type(), converted.data(), elementCount(shape));
    logical = converted.data();
  }
  toPart(plan, viewOf(parameter), shape, parameter.cuts(), rank, width, logical, compiled);
  return Status::success();
}

} // namespace llmc::runtime
