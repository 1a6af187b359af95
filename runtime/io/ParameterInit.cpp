//===- ParameterInit.cpp - first values of parameters ---------------------===//
#include "runtime/io/ParameterInit.h"
#include "runtime/io/Random.h"
#include <algorithm>
#include <xxhash.h>

namespace llmc::runtime {

static constexpr int64_t kBlock = 1 << 16; // elements per item of parallel work

/// `count` values of a tensor, from row-major element `first` on.
static void drawValues(const fb::Init &init, const RandomStream &stream, uint64_t first, int64_t count, float *values) {
  float a = static_cast<float>(init.a()), b = static_cast<float>(init.b());
  uint64_t end = first + static_cast<uint64_t>(count);
  if (init.kind() == fb::InitKind::Constant)
    std::fill(values, values + count, a);
  else if (init.kind() == fb::InitKind::Uniform)
    for (uint64_t element = first; element < end; ++element)
      values[element - first] = a + (b - a) * stream.uniform(element);
  else
    for (uint64_t element = first; element < end;) {
      uint64_t pair = element / 2 * 2;
      std::array<float, 2> normals = stream.normalPair(pair);
      for (; element < std::min(end, pair + 2); ++element)
        values[element - first] = a + b * normals[element - pair];
    }
}

Box ParameterInitializer::ownBox(const fb::Parameter &parameter) const {
  return partOf(plan, compiledShape(viewOf(parameter), shapeOf(parameter.shape())), parameter.cuts(), places);
}

/// Writes the elements of `box` of a tensor of `shape`.
void ParameterInitializer::fillRandom(const fb::Parameter &parameter, const Shape &shape, const Box &box,
                                      void *to) const {
  RandomStream stream(plan.seed(), parameter.name()->str());
  uint64_t width = elementBytes(parameter.type());
  Runs runs(box, shape);
  int64_t total = elementCount(box.size);
  parallel((total + kBlock - 1) / kBlock, [&](int64_t block) {
    int64_t begin = block * kBlock, end = std::min(begin + kBlock, total);
    std::vector<float> values(static_cast<size_t>(end - begin));
    for (int64_t at = begin; at < end;) {
      int64_t inside = at % runs.length, count = std::min(runs.length - inside, end - at);
      drawValues(*parameter.init(), stream, static_cast<uint64_t>(runs.begin(at / runs.length) + inside), count,
                 &values[at - begin]);
      at += count;
    }
    convertElements(fb::DataType::F32, values.data(), parameter.type(),
                    static_cast<uint8_t *>(to) + static_cast<uint64_t>(begin) * width, end - begin);
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
  toPart(viewOf(parameter), shapeOf(parameter.shape()), ownBox(parameter), elementBytes(parameter.type()), value.data(),
         compiled);
  return Status::success();
}

Status ParameterInitializer::initialize(const fb::Parameter &parameter, void *compiled) {
  if (!parameter.init())
    return Status::badInput("parameter '" + parameter.name()->str() + "' has no value in the model",
                            "name a file with `weights` in the recipe or --weights FILE, or give values with `init`");
  if (parameter.init()->kind() == fb::InitKind::File)
    return fromFile(parameter, compiled);
  Shape shape = shapeOf(parameter.shape());
  std::vector<ViewStep> view = viewOf(parameter);
  Box box = ownBox(parameter);
  if (keepsBytes(view)) {
    fillRandom(parameter, compiledShape(view, shape), box, compiled);
    return Status::success();
  }
  uint64_t width = elementBytes(parameter.type());
  std::vector<uint8_t> logical(static_cast<size_t>(elementCount(shape)) * width);
  fillRandom(parameter, shape, Box::whole(shape), logical.data());
  toPart(view, shape, box, width, logical.data(), compiled);
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
  if (info.shape != shape) {
    bool isTransposed = shape.size() == 2 && info.shape == Shape{shape[1], shape[0]};
    return Status::badInput(name + "has shape " + describe(info.shape) + ", not " + describe(shape) +
                            (isTransposed ? ": it is transposed, as between Linear and Conv1D" : ""));
  }
  if (!info.supported || !isFloat(info.type))
    return Status::badInput(name + "has type " + info.typeName);
  Box box = ownBox(parameter);
  const void *logical = file.data(info).data();
  if (info.type == parameter.type()) {
    toPart(viewOf(parameter), shape, box, elementBytes(info.type), logical, compiled);
    return Status::success();
  }
  int64_t count = elementCount(box.size);
  std::vector<uint8_t> part(static_cast<size_t>(count) * elementBytes(info.type)); // zeros are zeros in all types
  toPart(viewOf(parameter), shape, box, elementBytes(info.type), logical, part.data());
  convertElements(info.type, part.data(), parameter.type(), compiled, count);
  return Status::success();
}

} // namespace llmc::runtime
