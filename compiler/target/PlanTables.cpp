//===- PlanTables.cpp - the plan dialect as tables of the plan file ----------------===//
#include "compiler/target/PlanTables.h"
#include "compiler/devices/Device.h"
#include "dialects/dist/Dist.h"
#include "dialects/interfaces/Interfaces.h"
#include "dialects/train/Train.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "runtime/support/File.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/raw_ostream.h"
#include <thread>
#include <xxhash.h>

using namespace mlir;

namespace llmc::target {

std::optional<fb::DataType> dataTypeOf(Type type) {
  if (auto tensor = dyn_cast<RankedTensorType>(type))
    type = tensor.getElementType();
  if (type.isF32())
    return fb::DataType::F32;
  if (type.isF64())
    return fb::DataType::F64;
  if (type.isF16())
    return fb::DataType::F16;
  if (type.isBF16())
    return fb::DataType::BF16;
  if (type.isInteger(64) || type.isIndex())
    return fb::DataType::I64;
  if (type.isInteger(32))
    return fb::DataType::I32;
  if (type.isInteger(8))
    return fb::DataType::I8;
  if (type.isInteger(1))
    return fb::DataType::Bool;
  return std::nullopt;
}

/// The ONNX node and Python line of an op, for traces and explanations; the first, and how many more, of a message of several.
static std::string originOf(Location loc) {
  if (auto name = dyn_cast<NameLoc>(loc)) {
    std::string inner = originOf(name.getChildLoc());
    return name.getName().str() + (inner.empty() ? "" : ", " + inner);
  }
  if (auto file = dyn_cast<FileLineColLoc>(loc))
    return file.getFilename().str() + ":" + std::to_string(file.getLine());
  auto fused = dyn_cast<FusedLoc>(loc);
  if (!fused)
    return "";
  SmallVector<std::string> parts;
  for (Location part : fused.getLocations())
    if (std::string text = originOf(part); !text.empty() && !llvm::is_contained(parts, text))
      parts.push_back(text);
  if (!fused.getMetadata())
    return llvm::join(parts, ", ");
  bool isMessage = fused.getMetadata() == dist::messageTag(loc.getContext());
  std::string first = parts.empty() ? "" : parts.front();
  return isMessage && parts.size() > 1 ? first + " and " + std::to_string(parts.size() - 1) + " more" : first;
}

/// The bytes of a constant as the runtime holds them: i1 takes one byte.
static FailureOr<std::vector<uint8_t>> bytesOf(ElementsAttr value) {
  RankedTensorType type = cast<RankedTensorType>(value.getType());
  int64_t width = elementBytes(type.getElementType()), count = type.getNumElements();
  std::vector<uint8_t> bytes(static_cast<size_t>(width * count));
  auto copy = [&](ArrayRef<char> raw, bool splat) {
    for (int64_t i = 0; splat && i < count; ++i)
      std::memcpy(bytes.data() + i * width, raw.data(), width);
    if (!splat)
      std::memcpy(bytes.data(), raw.data(), bytes.size());
  };
  if (type.getElementType().isInteger(1)) {
    FailureOr<HostTensor> tensor = HostTensor::fromAttribute(value);
    if (failed(tensor))
      return failure();
    llvm::copy(tensor->integers, bytes.begin());
    return bytes;
  }
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(value)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    if (!blob || blob->getData().size() != bytes.size())
      return failure();
    copy(blob->getData(), false);
    return bytes;
  }
  auto dense = dyn_cast<DenseElementsAttr>(value);
  if (!dense)
    return failure();
  copy(dense.getRawData(), dense.isSplat());
  return bytes;
}

static fb::Access accessOf(StringRef text) {
  return llvm::StringSwitch<fb::Access>(text).Case("read", fb::Access::Read).Case("write", fb::Access::Write).Default(fb::Access::ReadWrite);
}

PlanTables::PlanTables(ModuleOp module, const codegen::KernelImage &image, StringRef folder, bool digests)
    : module(module), image(image), folder(folder), digests(digests), recipe(train::recipeOf(module)) {
  plan.programs.push_back(std::make_unique<fb::RankProgramT>());
  program = plan.programs.back().get();
}

llvm::Error PlanTables::build() {
  addKernels();
  for (auto op : module.getOps<plan::ArenaOp>()) {
    auto arena = std::make_unique<fb::ArenaT>();
    arena->name = op.getSymName().str();
    arena->kind = llvm::StringSwitch<fb::ArenaKind>(op.getKind())
                      .Case("state", fb::ArenaKind::State)
                      .Case("slot", fb::ArenaKind::Slot)
                      .Case("input", fb::ArenaKind::Input)
                      .Case("output", fb::ArenaKind::Output)
                      .Case("constant", fb::ArenaKind::Constant)
                      .Default(fb::ArenaKind::Scratch);
    arena->bytes = op.getBytes();
    if (arena->kind == fb::ArenaKind::Constant)
      constants.resize(op.getBytes());
    arenas[op.getSymName()] = program->arenas.size();
    program->arenas.push_back(std::move(arena));
  }
  addRanks();
  for (auto op : module.getOps<plan::SegmentOp>())
    segments[op.getSymName()] = segments.size();
  for (auto op : module.getOps<plan::BufferOp>())
    buffers[op.getSymName()] = buffers.size(), bufferOps[op.getSymName()] = op;
  for (auto op : module.getOps<plan::BufferOp>())
    if (llvm::Error error = addBuffer(op))
      return error;
  for (auto op : module.getOps<plan::SegmentOp>())
    addSegment(op);
  for (auto op : module.getOps<plan::ParameterOp>())
    if (llvm::Error error = addParameter(op))
      return error;
  for (auto op : module.getOps<plan::ScalarOp>())
    addScalar(op);
  if (auto weight = buffers.find("accumulator.weight"); weight != buffers.end())
    program->weight = static_cast<int32_t>(weight->second), program->weight_sum = sumOf(bufferNamed(weight->first()));
  addHeader();
  addForecast();
  return llvm::Error::success();
}

void PlanTables::addKernels() {
  for (const codegen::GeneratedKernel &kernel : image.kernels) {
    firstKernel[kernel.name] = plan.kernels.size();
    for (const codegen::KernelStage &stage : kernel.stages) {
      auto entry = std::make_unique<fb::KernelT>();
      entry->symbol = stage.symbol;
      entry->name = kernel.name;
      entry->workgroups = static_cast<uint32_t>(stage.workgroups);
      for (const codegen::StageOperand &operand : stage.operands) {
        auto argument = std::make_unique<fb::KernelArgumentT>();
        argument->bytes = operand.bytes;
        argument->access = static_cast<fb::Access>(operand.mode);
        entry->arguments.push_back(std::move(argument));
      }
      plan.kernels.push_back(std::move(entry));
    }
  }
}

llvm::Error PlanTables::addBuffer(plan::BufferOp op) {
  auto buffer = std::make_unique<fb::BufferT>();
  auto type = cast<RankedTensorType>(op.getType());
  std::optional<fb::DataType> element = dataTypeOf(type);
  if (!element)
    return llvm::createStringError("buffer '" + op.getSymName() + "' has an element type that plans do not know");
  buffer->name = op.getSymName().str();
  buffer->category = op.getCategory().str();
  buffer->origin = originOf(op.getLoc());
  buffer->arena = arenas.lookup(op.getArena());
  buffer->offset = op.getOffset();
  buffer->bytes = tensorBytes(type);
  buffer->type = *element;
  buffer->shape.assign(type.getShape().begin(), type.getShape().end());
  if (std::optional<StringRef> segment = op.getSegment()) {
    buffer->segment = segments.lookup(*segment);
    buffer->first = op.getFirst();
    buffer->last = op.getLast();
  }
  if (auto alias = op.getAliasOfAttr())
    buffer->alias_of = bufferOf(alias);
  if (auto places = op.getPlaceGroupsAttr()) {
    buffer->place_groups = static_cast<int32_t>(groupsOf(places));
    buffer->place_stride = op.getPlaceStride();
  }
  if (auto value = op.getValueAttr()) {
    FailureOr<std::vector<uint8_t>> bytes = bytesOf(value);
    if (failed(bytes))
      return llvm::createStringError("constant '" + op.getSymName() + "' has no dense value");
    llvm::copy(*bytes, constants.begin() + buffer->offset);
  }
  program->buffers.push_back(std::move(buffer));
  return llvm::Error::success();
}

std::vector<std::unique_ptr<fb::OperandT>> PlanTables::operands(ArrayAttr list) {
  std::vector<std::unique_ptr<fb::OperandT>> result;
  for (auto attribute : list.getAsRange<plan::OperandAttr>()) {
    auto operand = std::make_unique<fb::OperandT>();
    operand->buffer = bufferOf(attribute.getBuffer());
    operand->offset = attribute.getOffset();
    operand->bytes = attribute.getBytes();
    operand->access = accessOf(attribute.getAccess().getValue());
    result.push_back(std::move(operand));
  }
  return result;
}

static fb::GemmT gemmOf(DictionaryAttr shape) {
  fb::GemmT gemm;
  auto number = [&](StringRef key) { return shape.getAs<IntegerAttr>(key).getInt(); };
  auto list = [&](StringRef key) { return std::vector<int64_t>(shape.getAs<DenseI64ArrayAttr>(key).asArrayRef()); };
  if (auto type = shape.getAs<TypeAttr>("type"))
    gemm.type = gemm.output_type = dataTypeOf(type.getValue()).value_or(fb::DataType::F32);
  gemm.m = number("m"), gemm.n = number("n"), gemm.k = number("k");
  gemm.batch = list("batch"), gemm.a_batch = list("a_batch"), gemm.b_batch = list("b_batch"), gemm.c_batch = list("c_batch");
  gemm.a_row = number("a_row"), gemm.a_column = number("a_column");
  gemm.b_row = number("b_row"), gemm.b_column = number("b_column"), gemm.c_row = number("c_row");
  gemm.beta = shape.contains("accumulate") ? 1.0f : 0.0f;
  gemm.has_bias = shape.contains("bias");
  gemm.tile_m = number("tile_m"), gemm.tile_n = number("tile_n");
  return gemm;
}

std::unique_ptr<fb::InstructionT> PlanTables::instruction(Operation *op) {
  auto result = std::make_unique<fb::InstructionT>();
  result->origin = originOf(op->getLoc());
  llvm::TypeSwitch<Operation *>(op)
      .Case([&](plan::LaunchOp launch) {
        fb::LaunchT body;
        body.kernel = firstKernel.lookup(launch.getKernel()) + launch.getStage();
        result->body.Set(std::move(body));
        result->name = launch.getKernel().str();
        result->flops = launch.getFlops();
        result->operands = operands(launch.getOperandsAttr());
      })
      .Case([&](plan::GemmOp gemm) {
        result->body.Set(gemmOf(gemm.getShape()));
        if (auto name = gemm->getAttrOfType<StringAttr>("name"))
          result->name = name.str();
        result->flops = gemm.getFlops();
        result->operands = operands(gemm.getOperandsAttr());
      })
      .Case([&](plan::CopyOp copy) {
        result->body.Set(copyOf(copy));
        result->name = "copy";
        result->operands = operands(copy.getOperandsAttr());
      })
      .Case([&](plan::CollectiveOp collective) {
        result->body.Set(collectiveOf(collective));
        result->name = collective.getKind().str();
        result->operands = operands(collective.getOperandsAttr());
      })
      .Case([&](plan::WaitOp wait) {
        fb::WaitT body;
        body.event = static_cast<uint32_t>(wait.getEvent());
        result->body.Set(body);
        result->name = "wait";
      })
      .Case([&](plan::FillOp fill) {
        fb::FillT body;
        body.pattern = static_cast<uint64_t>(fill.getPattern());
        body.width = static_cast<uint8_t>(fill.getWidth());
        result->body.Set(std::move(body));
        result->name = "fill";
        result->operands = operands(fill.getOperandsAttr());
      });
  for (const auto &operand : result->operands)
    result->bytes += operand->bytes * (operand->access == fb::Access::ReadWrite ? 2 : 1);
  return result;
}

void PlanTables::addSegment(plan::SegmentOp op) {
  auto segment = std::make_unique<fb::SegmentT>();
  segment->name = op.getSymName().str();
  for (Operation &inner : op.getBody().front()) {
    if (auto input = dyn_cast<plan::InputOp>(inner)) {
      auto entry = std::make_unique<fb::InputT>();
      entry->name = input.getName().str();
      entry->buffer = bufferOf(input.getBufferAttr());
      entry->source = llvm::StringSwitch<fb::Source>(input.getSource())
                          .Case("tokens", fb::Source::Tokens)
                          .Case("tokens.next", fb::Source::TokensNext)
                          .Case("array.next", fb::Source::ArrayNext)
                          .Case("position", fb::Source::Position)
                          .Case("place", fb::Source::Place)
                          .Default(fb::Source::Array);
      entry->array = input.getArray().str();
      entry->limit = input.getLimit();
      entry->allow_ignored = input.getAllowIgnored();
      entry->ignored = input.getIgnored();
      entry->cuts = cutsOf(input);
      if (auto places = input.getPlaceGroupsAttr())
        entry->place_groups = static_cast<int32_t>(groupsOf(places));
      segment->inputs.push_back(std::move(entry));
    } else if (auto output = dyn_cast<plan::OutputOp>(inner)) {
      auto entry = std::make_unique<fb::OutputT>();
      entry->name = output.getName().str();
      entry->buffer = bufferOf(output.getBufferAttr());
      segment->outputs.push_back(std::move(entry));
    } else {
      segment->instructions.push_back(instruction(&inner));
    }
  }
  program->segments.push_back(std::move(segment));
}

std::unique_ptr<fb::InitT> PlanTables::initOf(plan::ParameterOp op, const fb::ParameterT &parameter) {
  auto init = std::make_unique<fb::InitT>();
  const train::Initializer *chosen = nullptr;
  for (const train::Initializer &entry : recipe.init)
    if (train::matchesGlob(entry.glob, parameter.name))
      chosen = &entry;
  init->stands_in = chosen && chosen->glob != "*"; // a name, or part of one: meant for a parameter that `weights` lack
  if (auto path = op.getInit().getAs<StringAttr>("path")) {
    init->kind = fb::InitKind::File;
    init->path = path.str();
    init->offset = op.getInit().getAs<IntegerAttr>("offset").getInt();
    init->bytes = op.getInit().getAs<IntegerAttr>("bytes").getInt();
    if (!digests)
      return init;
    auto resolved = runtime::resolveInside(folder, init->path);
    auto file = resolved.ok() ? runtime::MappedFile::open(*resolved) : resolved.status();
    bool exists = file.ok() && init->offset <= (*file)->bytes().size() && init->bytes <= (*file)->bytes().size() - init->offset;
    if (exists)
      init->digest = XXH3_64bits((*file)->bytes().data() + init->offset, init->bytes);
    if (exists || !chosen)
      return init;
    init->path.clear(), init->offset = init->bytes = 0; // the graph came without its weights
  }
  if (!chosen)
    return nullptr;
  init->kind = chosen->kind == train::Initializer::Normal    ? fb::InitKind::Normal
               : chosen->kind == train::Initializer::Uniform ? fb::InitKind::Uniform
                                                             : fb::InitKind::Constant;
  init->a = chosen->kind == train::Initializer::Ones ? 1.0 : chosen->kind == train::Initializer::Normal ? 0.0 : chosen->a;
  init->b = chosen->b;
  return init;
}

llvm::Error PlanTables::addParameter(plan::ParameterOp op) {
  auto parameter = std::make_unique<fb::ParameterT>();
  parameter->name = op.getName().str();
  parameter->buffer = bufferOf(op.getBufferAttr());
  const fb::BufferT &buffer = *program->buffers[parameter->buffer];
  parameter->cuts = cutsOf(bufferNamed(op.getBuffer()));
  addLogicalShape(op, *parameter, buffer.shape);
  parameter->type = buffer.type;
  parameter->trainable = op.getTrainable();
  parameter->decay = op.getDecay();
  if (auto gradient = op.getGradientAttr())
    parameter->gradient = stateBuffer("", gradient, parameter->shape);
  for (NamedAttribute state : op.getStates())
    parameter->states.push_back(stateBuffer(state.getName(), cast<FlatSymbolRefAttr>(state.getValue()), parameter->shape));
  for (auto alias : op.getAliases().getAsRange<StringAttr>())
    parameter->aliases.push_back(alias.str());
  parameter->init = initOf(op, *parameter);
  program->parameters.push_back(std::move(parameter));
  return llvm::Error::success();
}

void PlanTables::addScalar(plan::ScalarOp op) {
  auto scalar = std::make_unique<fb::ScalarT>();
  scalar->name = op.getName().str();
  scalar->buffer = bufferOf(op.getBufferAttr());
  scalar->type = program->buffers[scalar->buffer]->type;
  scalar->initial = op.getInitial().convertToDouble();
  scalar->settable = op.getSettable();
  program->scalars.push_back(std::move(scalar));
}

void PlanTables::addHeader() {
  plan.producer = "llmc";
  llvm::raw_string_ostream(plan.recipe) << train::toAttribute(module.getContext(), recipe);
  plan.samples_per_step = recipe.batch.step;
  plan.samples_per_micro_batch = recipe.batch.micro;
  plan.micro_batches = recipe.batch.micro ? recipe.batch.step / recipe.batch.micro : 1;
  plan.seed = recipe.seed;
  plan.shuffle = recipe.shuffle;
  plan.total_steps = recipe.schedule.totalSteps;
  plan.weights = recipe.weights;
  plan.precision = recipe.precision;
  // A sample is one window of the token stream, as long as the inputs that the stream feeds; without a stream, a row of ids.
  for (bool stream : {true, false})
    for (const auto &segment : program->segments)
      for (const auto &input : segment->inputs) {
        const fb::BufferT &buffer = *program->buffers[input->buffer];
        bool isStream = input->source == fb::Source::Tokens || input->source == fb::Source::TokensNext;
        bool isInteger = buffer.type == fb::DataType::I64 || buffer.type == fb::DataType::I32;
        if (input->source == fb::Source::Position || buffer.shape.size() != 2 || !isInteger || isStream != stream)
          continue;
        if (plan.sequence == 0)
          plan.sequence = static_cast<uint32_t>(buffer.shape[1]);
        if (!input->allow_ignored)
          plan.vocabulary = std::max<uint64_t>(plan.vocabulary, input->limit);
      }
}

void PlanTables::addForecast() {
  auto forecast = std::make_unique<fb::ForecastT>();
  // Ranks share this machine as far as it has cores for them.
  unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  unsigned sharing = std::min<unsigned>(cores, static_cast<unsigned>(plan.ranks.size()));
  devices::Device device = devices::cpuDevice(image.cpu, cores / sharing);
  device.bandwidth /= sharing;
  for (const auto &segment : program->segments) {
    uint64_t runs = segment->name == "accumulate" ? plan.micro_batches : segment->name == "update" ? 1 : 0;
    for (const auto &instruction : segment->instructions) {
      double seconds = devices::forecastSeconds(device, instruction->body.AsGemm(), instruction->flops, instruction->bytes);
      instruction->predicted_ns = static_cast<uint64_t>(seconds * 1e9);
      forecast->step_flops += runs * instruction->flops;
      forecast->step_ns += runs * instruction->predicted_ns;
    }
  }
  for (const auto &arena : program->arenas)
    forecast->peak_bytes += arena->bytes;
  for (const auto &buffer : program->buffers) {
    if (buffer->alias_of >= 0)
      continue;
    uint64_t *sum = llvm::StringSwitch<uint64_t *>(buffer->category)
                        .Case("parameter", &forecast->parameter_bytes)
                        .Case("gradient", &forecast->gradient_bytes)
                        .Case("optimizer", &forecast->optimizer_bytes)
                        .Default(nullptr);
    if (sum)
      *sum += buffer->bytes;
  }
  plan.forecast = std::move(forecast);
}

} // namespace llmc::target
