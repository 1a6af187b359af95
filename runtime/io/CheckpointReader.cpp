//===- CheckpointReader.cpp - tensors of a checkpoint ---------------------===//
#include "runtime/io/CheckpointReader.h"
#include "runtime/plan/PlanFile.h"

namespace llmc::runtime {

Result<CheckpointReader> CheckpointReader::open(const std::string &folder) {
  auto mapped = MappedFile::open(folder + "/manifest.json");
  if (!mapped.ok())
    return mapped.status();
  CheckpointReader reader;
  reader.path = folder;
  if (std::string problem = parseManifest((*mapped)->bytes(), reader.contents); !problem.empty())
    return reader.bad(problem);
  if (reader.contents.inParts)
    return reader;
  if (Status status = reader.listTensors("model.safetensors", reader.contents.model); !status.ok())
    return status;
  if (Status status = reader.listTensors("optimizer.safetensors", reader.contents.optimizer); !status.ok())
    return status;
  return reader;
}

/// The tensors of a file of format 1.
Status CheckpointReader::listTensors(const std::string &name, StoredTensors &tensors) {
  if (!contents.files.count(name))
    return bad("its manifest has no digest of " + name);
  auto opened = file(name);
  if (!opened.ok())
    return opened.status();
  for (const auto &[entry, info] : (*opened)->tensors())
    tensors[entry] = {info.supported, info.type, info.typeName, info.shape, {}, {{name, entry, Box::whole(info.shape)}}};
  return Status::success();
}

Result<std::shared_ptr<SafetensorsFile>> CheckpointReader::file(const std::string &name) {
  std::shared_ptr<SafetensorsFile> &known = files[name];
  if (!known) {
    auto opened = SafetensorsFile::open(path + "/" + name);
    if (!opened.ok())
      return bad(opened.status().message);
    known = *opened;
  }
  return known;
}

Status CheckpointReader::checkDigests(size_t first, size_t stride) {
  std::string problems;
  size_t index = 0;
  for (const auto &[name, digest] : contents.files) {
    if (index++ % stride != first)
      continue;
    auto mapped = MappedFile::open(path + "/" + name);
    std::string problem = !mapped.ok()                               ? mapped.status().message
                          : digestOf((*mapped)->bytes()) != digest ? name + " is damaged: its digest does not match the manifest"
                                                                   : "";
    if (!problem.empty())
      problems += (problems.empty() ? "" : "; ") + problem;
  }
  return problems.empty() ? Status::success() : bad(problems);
}

Result<Bytes> CheckpointReader::part(const StoredTensor &tensor, const StoredPart &part) {
  auto opened = file(part.file);
  if (!opened.ok())
    return opened.status();
  const TensorInfo *info = (*opened)->find(part.entry);
  if (!info || info->supported != tensor.supported || (info->supported && info->type != tensor.type) ||
      info->shape != part.box.size)
    return bad("'" + part.entry + "' in " + part.file + (info ? " has another shape or type than in the manifest" : " is missing"));
  return (*opened)->data(*info);
}

/// The parts that have elements of `box`, once it is sure that they hold all of it.
Result<std::vector<CheckpointReader::Piece>> CheckpointReader::piecesOf(const std::string &name,
                                                                        const StoredTensor &tensor, const Box &box) {
  std::vector<Piece> pieces;
  std::vector<Box> boxes;
  for (const StoredPart &stored : tensor.parts) {
    if (!intersect(stored.box, box))
      continue;
    auto bytes = part(tensor, stored);
    if (!bytes.ok())
      return bytes.status();
    pieces.push_back({stored.box, *bytes});
    boxes.push_back(stored.box);
  }
  if (!covers(boxes, box))
    return bad("the parts of '" + name + "' leave some of it out");
  return pieces;
}

static bool isSame(const std::vector<ViewStep> &a, const std::vector<ViewStep> &b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const ViewStep &x, const ViewStep &y) { return x.kind == y.kind && x.values == y.values; });
}

Status CheckpointReader::readBox(const std::string &name, const StoredTensor &tensor, const std::vector<ViewStep> &view,
                                 const Box &box, void *to) {
  if (isSame(tensor.view, view)) {
    auto pieces = piecesOf(name, tensor, box);
    if (!pieces.ok())
      return pieces.status();
    for (const Piece &piece : *pieces)
      copyCommon(piece.box, piece.bytes.data(), box, to, elementBytes(tensor.type));
    return Status::success();
  }
  std::vector<uint8_t> scratch;
  auto logical = readLogical(name, tensor, scratch);
  if (!logical.ok())
    return logical.status();
  toPart(view, tensor.shape, box, elementBytes(tensor.type), logical->data(), to);
  return Status::success();
}

Result<Bytes> CheckpointReader::readLogical(const std::string &name, const StoredTensor &tensor,
                                            std::vector<uint8_t> &scratch) {
  Shape compiled = compiledShape(tensor.view, tensor.shape);
  Box whole = Box::whole(compiled);
  if (keepsBytes(tensor.view) && tensor.parts.size() == 1 && tensor.parts[0].box == whole)
    return part(tensor, tensor.parts[0]);
  auto pieces = piecesOf(name, tensor, whole);
  if (!pieces.ok())
    return pieces.status();
  uint64_t width = elementBytes(tensor.type);
  std::vector<uint8_t> all(static_cast<size_t>(elementCount(compiled)) * width);
  for (const Piece &piece : *pieces)
    copyCommon(piece.box, piece.bytes.data(), whole, all.data(), width);
  if (keepsBytes(tensor.view)) {
    scratch.swap(all);
    return Bytes(scratch);
  }
  scratch.resize(static_cast<size_t>(elementCount(tensor.shape)) * width);
  toLogical(tensor.view, tensor.shape, width, all.data(), scratch.data());
  return Bytes(scratch);
}

} // namespace llmc::runtime
