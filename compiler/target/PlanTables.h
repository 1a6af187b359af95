//===- PlanTables.h - the plan dialect as tables of the plan file -*- C++ -*-===//
#ifndef LLMC_COMPILER_TARGET_PLANTABLES_H
#define LLMC_COMPILER_TARGET_PLANTABLES_H

#include "compiler/codegen/Kernels.h"
#include "dialects/dist/Dist.h"
#include "dialects/plan/Plan.h"
#include "dialects/train/Recipe.h"
#include "mlir/IR/BuiltinOps.h"
#include "runtime/plan/Plan_generated.h"
#include "llvm/ADT/StringMap.h"

namespace llmc::target {

namespace fb = llmc::plan::fb;

/// Turns the ops of a module of level `plan` into a fb::PlanT of one program. Constants go to one raw section.
class PlanTables {
public:
  /// `folder` is where the paths of initial values start; files found there are digested if
  /// `digests`.
  PlanTables(mlir::ModuleOp module, const codegen::KernelImage &image, llvm::StringRef folder, bool digests);

  llvm::Error build();

  fb::PlanT plan;
  std::vector<uint8_t> constants;

private:
  void addKernels();
  void addRanks();
  llvm::Error addBuffer(plan::BufferOp op);
  void addSegment(plan::SegmentOp op);
  std::unique_ptr<fb::InstructionT> instruction(mlir::Operation *op);
  fb::CopyT copyOf(plan::CopyOp op) const;
  fb::CollectiveT collectiveOf(plan::CollectiveOp op) const;
  void addLogicalShape(plan::ParameterOp op, fb::ParameterT &parameter, const std::vector<int64_t> &local) const;
  std::vector<std::unique_ptr<fb::OperandT>> operands(mlir::ArrayAttr list);
  llvm::Error addParameter(plan::ParameterOp op);
  std::unique_ptr<fb::InitT> initOf(plan::ParameterOp op, const fb::ParameterT &parameter);
  void addScalar(plan::ScalarOp op);
  void addHeader();
  void addForecast();
  /// The parts of what `op` describes with its `dist.sharding`, one cut per axis; whole without one.
  std::vector<std::unique_ptr<fb::CutT>> cutsOf(mlir::Operation *op) const;
  /// The groups over which it is a partial sum.
  std::vector<uint32_t> sumOf(mlir::Operation *op) const;
  mlir::Operation *bufferNamed(llvm::StringRef name) const { return bufferOps.lookup(name); }
  uint32_t groupsOf(mlir::FlatSymbolRefAttr symbol) const { return groups.lookup(symbol.getValue()); }
  std::unique_ptr<fb::StateBufferT> stateBuffer(llvm::StringRef name, mlir::FlatSymbolRefAttr buffer,
                                                    llvm::ArrayRef<int64_t> logical) const;
  uint32_t bufferOf(mlir::FlatSymbolRefAttr symbol) const { return buffers.lookup(symbol.getValue()); }

  mlir::ModuleOp module;
  const codegen::KernelImage &image;
  std::string folder;
  bool digests;
  train::Recipe recipe;
  fb::RankProgramT *program = nullptr;
  llvm::StringMap<uint32_t> arenas, buffers, segments, firstKernel, groups;
  llvm::StringMap<uint32_t> axisGroups; // by axis of the mesh
  llvm::StringMap<mlir::Operation *> bufferOps;
};

/// The plan file's name of an element type; nothing if it has none.
std::optional<fb::DataType> dataTypeOf(mlir::Type type);

} // namespace llmc::target

#endif // LLMC_COMPILER_TARGET_PLANTABLES_H
