//===- VerifyPlan.cpp - level `plan`: addresses and order --------------------------===//
//
//   1. every buffer lies in its arena, every alias in the buffer it is a part of;
//   2. buffers of one arena that live at the same time lie apart;
//   3. operands lie in their buffers and are used while these live; temporaries are written before they are read;
//   4. divisions into groups hold each rank once, and collectives move as many bytes as their groups have places for.
// The budget is judged by the driver, which can say what would help.
//
//===----------------------------------------------------------------------===//
#include "passes/verify/VerifyPlan.h"
#include "dialects/dist/Dist.h"
#include "dialects/interfaces/Interfaces.h"
#include "dialects/plan/Plan.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include <map>

using namespace mlir;

namespace llmc::verify {

namespace {

struct Placed {
  plan::BufferOp op;
  int64_t begin, end, first, last;
  std::string segment; // empty: alive throughout
};

class PlanChecks {
public:
  explicit PlanChecks(ModuleOp module) : module(module) {}

  bool run() {
    for (auto groups : module.getOps<plan::GroupsOp>())
      checkGroups(groups);
    for (auto arena : module.getOps<plan::ArenaOp>())
      arenas[arena.getSymName()] = arena;
    for (auto buffer : module.getOps<plan::BufferOp>())
      place(buffer);
    for (auto buffer : module.getOps<plan::BufferOp>())
      checkAlias(buffer);
    checkPacking();
    for (auto segment : module.getOps<plan::SegmentOp>())
      checkSegment(segment);
    return valid;
  }

private:
  void fail(Operation *op, const Twine &message) {
    op->emitError() << message;
    valid = false;
  }

  void checkGroups(plan::GroupsOp op) {
    dist::MeshAttr mesh = dist::meshOf(module);
    int64_t ranks = mesh ? mesh.ranks() : 1;
    SmallVector<int64_t> sorted(op.getRanks());
    llvm::sort(sorted);
    if (!llvm::equal(sorted, llvm::seq<int64_t>(0, ranks)) || op.getSize() < 1 || ranks % static_cast<int64_t>(op.getSize()) != 0)
      return fail(op, "does not divide the " + Twine(ranks) + " ranks into equal groups");
    places[op.getSymName()] = static_cast<int64_t>(op.getSize());
  }

  /// Places of a group of this division; 0 after an error.
  int64_t placesOf(Operation *op, StringRef groups) {
    int64_t count = places.lookup(groups);
    if (count == 0)
      fail(op, "names no division into groups");
    return count;
  }

  void place(plan::BufferOp op) {
    auto arena = arenas.lookup(op.getArena());
    int64_t begin = op.getOffset(), end = begin + tensorBytes(op.getType());
    if (op.getPlaceGroups()) { // of all ranks
      end += (placesOf(op, *op.getPlaceGroups()) - 1) * static_cast<int64_t>(op.getPlaceStride());
      if (!op.getAliasOf())
        return fail(op, "depends on the rank's place, but is a part of no buffer");
    }
    if (!arena)
      return fail(op, "names no arena");
    if (begin < 0 || end > static_cast<int64_t>(arena.getBytes()))
      fail(op, "leaves its arena: bytes [" + Twine(begin) + ", " + Twine(end) + ") of " + Twine(arena.getBytes()));
    std::string segment = op.getSegment() ? op.getSegment()->str() : "";
    buffers[op.getSymName()] = {
        op, begin, end, static_cast<int64_t>(op.getFirst()), static_cast<int64_t>(op.getLast()), segment};
  }

  void checkAlias(plan::BufferOp op) {
    if (!op.getAliasOf())
      return;
    auto root = buffers.find(*op.getAliasOf()), own = buffers.find(op.getSymName());
    if (own == buffers.end())
      return; // it could not be placed, which was said
    Placed &self = own->second;
    if (root == buffers.end())
      return fail(op, "is a part of no buffer");
    Placed &whole = root->second;
    if (op.getArena() != whole.op.getArena() || self.begin < whole.begin || self.end > whole.end)
      fail(op, "does not lie inside '" + whole.op.getSymName() + "', which it is a part of");
    if (!whole.segment.empty() && (self.segment != whole.segment || self.first < whole.first || self.last > whole.last))
      fail(op, "outlives '" + whole.op.getSymName() + "', which it is a part of");
  }

  /// Sweeps over time with the live buffers sorted by address: a new one can only meet its neighbours.
  void checkPacking() {
    std::map<std::pair<std::string, std::string>, std::vector<Placed *>> groups;
    for (auto &entry : buffers)
      if (!entry.second.op.getAliasOf() && arenas.lookup(entry.second.op.getArena()).getKind() != "constant")
        groups[{entry.second.op.getArena().str(), entry.second.segment}].push_back(&entry.second);
    for (auto &[key, group] : groups) {
      llvm::sort(group,
                 [](Placed *a, Placed *b) { return a->first != b->first ? a->first < b->first : a->begin < b->begin; });
      std::map<int64_t, Placed *> live;
      std::multimap<int64_t, Placed *> ends;
      for (Placed *buffer : group) {
        bool always = key.second.empty();
        while (!always && !ends.empty() && ends.begin()->first < buffer->first) {
          live.erase(ends.begin()->second->begin);
          ends.erase(ends.begin());
        }
        auto after = live.lower_bound(buffer->begin);
        Placed *other = after != live.end() && after->second->begin < buffer->end ? after->second : nullptr;
        if (after != live.begin() && std::prev(after)->second->end > buffer->begin)
          other = std::prev(after)->second;
        if (other)
          fail(buffer->op, "overlaps '" + other->op.getSymName() + "' while both live");
        live[buffer->begin] = buffer;
        ends.emplace(buffer->last, buffer);
      }
    }
  }

  void checkSegment(plan::SegmentOp segment) {
    llvm::StringSet<> written;
    int64_t position = 0;
    for (Operation &op : segment.getBody().front()) {
      auto operands = op.getAttrOfType<ArrayAttr>("operands");
      if (!operands)
        continue;
      for (bool writes : {false, true}) // an instruction reads what was there before it
        for (auto operand : operands.getAsRange<plan::OperandAttr>())
          checkOperand(segment, &op, operand, position, writes, written);
      if (auto collective = dyn_cast<plan::CollectiveOp>(op))
        checkCollective(collective);
      ++position;
    }
  }

  void checkCollective(plan::CollectiveOp op) {
    auto count = static_cast<uint64_t>(placesOf(op, op.getGroups()));
    auto list = llvm::to_vector(op.getOperands().getAsRange<plan::OperandAttr>());
    if (list.empty() || list.size() % 2 != 0)
      return fail(op, "needs operands in pairs: from, to");
    for (size_t i = 0; i < list.size(); i += 2) {
      uint64_t from = list[i].getBytes(), to = list[i + 1].getBytes();
      bool fits = op.getKind() == "all_gather"       ? to == from * count
                  : op.getKind() == "reduce_scatter" ? from == to * count
                                                     : op.getKind() == "all_reduce" && from == to;
      if (!fits || list[i].getAccess() != "read" || list[i + 1].getAccess() != "write")
        fail(op, "moves " + Twine(from) + " bytes to " + Twine(to) + " between " + Twine(count) + " ranks");
    }
  }

  void checkOperand(plan::SegmentOp segment, Operation *op, plan::OperandAttr operand, int64_t position, bool writes,
                    llvm::StringSet<> &written) {
    auto found = buffers.find(operand.getBuffer().getValue());
    if (found == buffers.end())
      return writes ? void() : fail(op, "operand names no buffer");
    Placed &buffer = found->second;
    StringRef name = found->first(), root = buffer.op.getAliasOf() ? *buffer.op.getAliasOf() : name;
    if (writes) {
      if (operand.getAccess().getValue() != "read")
        written.insert(root);
      return;
    }
    if (static_cast<int64_t>(operand.getOffset() + operand.getBytes()) > buffer.end - buffer.begin)
      fail(op, "operand leaves buffer '" + name + "'");
    if (buffer.segment.empty())
      return;
    if (buffer.segment != segment.getSymName() || position < buffer.first || position > buffer.last)
      fail(op, "uses buffer '" + name + "' outside its life");
    if (operand.getAccess().getValue() != "write" && !written.contains(root))
      fail(op, "reads buffer '" + name + "' before anything wrote it");
  }

  ModuleOp module;
  llvm::StringMap<plan::ArenaOp> arenas;
  llvm::StringMap<int64_t> places; // of a group, by division
  llvm::StringMap<Placed> buffers;
  bool valid = true;
};

} // namespace

bool verifyPlan(ModuleOp module) { return PlanChecks(module).run(); }

} // namespace llmc::verify
