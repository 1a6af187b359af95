//===- ValidateRanks.cpp - what ranks say to each other -------------------===//
//
// Each collective is checked alone, then each segment for what runs beside its collectives, then all ranks: the members of
// a group must issue the same sequence, and the sequences of different groups must not cross, or they would wait for each
// other forever.
//
//===----------------------------------------------------------------------===//
#include "runtime/plan/ValidatorParts.h"
#include <map>
#include <numeric>
#include <set>
#include <tuple>

namespace llmc::runtime {

using Operands = flatbuffers::Vector<flatbuffers::Offset<fb::Operand>>;

uint32_t placesOf(const fb::Plan &plan, int64_t groups) {
  return groups >= 0 && groups < sizeOf(plan.groups()) ? plan.groups()->Get(static_cast<uint32_t>(groups))->size() : 0;
}

void validateGroups(const fb::Plan &plan, Problems &problems) {
  uint32_t ranks = sizeOf(plan.ranks());
  for (uint32_t i = 0; i < sizeOf(plan.groups()); ++i) {
    const fb::Groups &groups = *plan.groups()->Get(i);
    std::string where = "groups " + std::to_string(i) + " '" + textOf(groups.name()) + "'";
    bool good = problems.require(groups.size() >= 1 && ranks % groups.size() == 0, where, "their size does not divide the ranks");
    good &= problems.require(sizeOf(groups.ranks()) == ranks, where, "do not hold each rank once");
    std::vector<bool> seen(ranks, false);
    for (uint32_t j = 0; good && j < ranks; ++j) {
      uint32_t rank = groups.ranks()->Get(j);
      good = problems.require(rank < ranks && !seen[rank], where, "do not hold each rank once");
      if (good)
        seen[rank] = true;
    }
  }
  Checked points(1);
  for (uint32_t i = 0; i < sizeOf(plan.mesh()); ++i)
    points = points * plan.mesh()->Get(i)->size();
  problems.require(sizeOf(plan.mesh()) == 0 || points.equals(ranks), "mesh", "has another number of points than there are ranks");
}

std::pair<uint64_t, uint64_t> reachOf(const ProgramContext &context, const fb::Operand &operand) {
  const fb::Buffer &buffer = context.buffer(operand.buffer());
  uint64_t begin = buffer.offset() + operand.offset(), end = begin + operand.bytes();
  if (buffer.place_groups() >= 0)
    end += (placesOf(context.plan, buffer.place_groups()) - 1) * buffer.place_stride();
  return {begin, end};
}

bool isAligned(const ProgramContext &context, const fb::Operand &operand, uint64_t width) {
  const fb::Buffer &buffer = context.buffer(operand.buffer());
  return (buffer.offset() + operand.offset()) % width == 0 && (buffer.place_groups() < 0 || buffer.place_stride() % width == 0);
}

static bool meet(const ProgramContext &context, const fb::Operand &a, const fb::Operand &b) {
  if (context.buffer(a.buffer()).arena() != context.buffer(b.buffer()).arena())
    return false;
  auto [beginA, endA] = reachOf(context, a);
  auto [beginB, endB] = reachOf(context, b);
  return beginA < endB && beginB < endA;
}

/// Whether `part` is the rank's own part of what `whole` shows, by its place in `groups`.
static bool isOwnPart(const ProgramContext &context, const fb::Operand &part, const fb::Operand &whole, uint32_t groups) {
  const fb::Buffer &buffer = context.buffer(part.buffer());
  return buffer.place_groups() == static_cast<int32_t>(groups) && buffer.place_stride() == part.bytes() &&
         context.buffer(whole.buffer()).place_groups() < 0 &&
         context.buffer(whole.buffer()).arena() == buffer.arena() && reachOf(context, part) == reachOf(context, whole);
}

static bool isSame(const ProgramContext &context, const fb::Operand &a, const fb::Operand &b) {
  const fb::Buffer &x = context.buffer(a.buffer()), &y = context.buffer(b.buffer());
  return x.arena() == y.arena() && x.offset() + a.offset() == y.offset() + b.offset() && a.bytes() == b.bytes() &&
         x.place_groups() == y.place_groups() && x.place_stride() == y.place_stride();
}

void validateCollective(const ProgramContext &context, const fb::Collective &body, const Operands *operands, const std::string &where,
                        Problems &problems) {
  auto require = [&](bool good, const std::string &what) { return problems.require(good, where, what); };
  uint64_t places = placesOf(context.plan, body.groups());
  uint64_t width = elementBytes(body.type());
  if (!require(places > 0, "names no division into groups") ||
      !require(isEnumerator(body.kind(), fb::CollectiveKind::MAX) && isEnumerator(body.reduction(), fb::Reduction::MAX) && width > 0,
               "unknown collective, reduction or element type") ||
      !require(sizeOf(operands) > 0 && sizeOf(operands) % 2 == 0, "needs operands in pairs: from, to"))
    return;
  bool reduces = body.kind() == fb::CollectiveKind::AllReduce || body.kind() == fb::CollectiveKind::ReduceScatter;
  bool isNumber = body.type() == fb::DataType::F32 || body.type() == fb::DataType::F64 || body.type() == fb::DataType::I32 ||
                  body.type() == fb::DataType::I64;
  require(!reduces || isNumber, "its element type cannot be reduced");
  for (uint32_t i = 0; i < operands->size(); i += 2) {
    const fb::Operand &from = *operands->Get(i), &to = *operands->Get(i + 1);
    std::string pair = "operands " + std::to_string(i) + " and " + std::to_string(i + 1) + ": ";
    require(from.access() == fb::Access::Read && to.access() == fb::Access::Write, pair + "have the wrong access");
    require(from.bytes() % width == 0 && to.bytes() % width == 0, pair + "are no whole elements");
    require(isAligned(context, from, width) && isAligned(context, to, width), pair + "are not aligned to their elements");
    bool fits = body.kind() == fb::CollectiveKind::AllGather       ? (Checked(from.bytes()) * places).equals(to.bytes())
                : body.kind() == fb::CollectiveKind::ReduceScatter ? (Checked(to.bytes()) * places).equals(from.bytes())
                                                                   : from.bytes() == to.bytes();
    require(fits && (body.kind() != fb::CollectiveKind::AllToAll || from.bytes() % (places * width) == 0),
            pair + "do not have the bytes for " + std::to_string(places) + " ranks");
    bool inPlace = (body.kind() == fb::CollectiveKind::AllReduce && isSame(context, from, to)) ||
                   (body.kind() == fb::CollectiveKind::AllGather && isOwnPart(context, from, to, body.groups())) ||
                   (body.kind() == fb::CollectiveKind::ReduceScatter && isOwnPart(context, to, from, body.groups()));
    require(inPlace || !meet(context, from, to), pair + "overlap");
    for (uint32_t j = 0; j < operands->size(); ++j)
      if (j / 2 != i / 2)
        require(!meet(context, to, *operands->Get(j)), pair + "overlap operand " + std::to_string(j));
  }
}

void validateCopy(const ProgramContext &context, const fb::Copy &body, const Operands &operands, const std::string &where,
                  Problems &problems) {
  auto require = [&](bool good, const std::string &what) { return problems.require(good, where, what); };
  uint32_t count = sizeOf(body.sizes());
  const fb::Operand &to = *operands.Get(0), &from = *operands.Get(1);
  if (count == 0) {
    require(to.bytes() == from.bytes() && body.place_groups() < 0, "copy of unequal sizes");
    return;
  }
  if (!require(count <= 4 && sizeOf(body.to_strides()) == count && sizeOf(body.from_strides()) == count && body.unit() > 0,
               "strided copy has no unit, or sizes and strides of different number"))
    return;
  Checked toEnd(body.unit()), fromEnd(body.unit()), reach(body.unit());
  bool apart = true;
  for (uint32_t i = count; i-- > 0;) {
    uint64_t size = body.sizes()->Get(i), stride = body.to_strides()->Get(i);
    if (!require(size >= 1, "strided copy has an empty dimension"))
      return;
    apart &= size == 1 || (reach.valid() && stride >= static_cast<uint64_t>(reach.value())); // inner blocks lie before the next outer one
    toEnd = toEnd + Checked(stride) * (size - 1);
    fromEnd = fromEnd + Checked(body.from_strides()->Get(i)) * (size - 1);
    reach = reach + Checked(stride) * (size - 1);
  }
  require(apart, "blocks of a strided copy overlap");
  if (body.place_groups() >= 0) {
    uint64_t places = placesOf(context.plan, body.place_groups());
    if (!require(places > 0, "names no division into groups"))
      return;
    fromEnd = fromEnd + Checked(body.place_stride()) * (places - 1);
  }
  require(toEnd.atMost(to.bytes()) && fromEnd.atMost(from.bytes()), "strided copy leaves its operands");
}

void validateEvents(const ProgramContext &context, const fb::Segment &segment, const std::string &where, Problems &problems) {
  std::map<int64_t, const fb::Instruction *> running;
  std::set<int64_t> used;
  for (uint32_t i = 0; i < sizeOf(segment.instructions()); ++i) {
    const fb::Instruction &instruction = *segment.instructions()->Get(i);
    std::string at = where + " instruction " + std::to_string(i) + " '" + textOf(instruction.name()) + "'";
    if (const fb::Wait *wait = instruction.body_as_Wait()) {
      problems.require(running.erase(wait->event()) == 1, at, "waits for an event that no collective before it has");
      continue;
    }
    for (auto &[event, collective] : running)
      for (uint32_t a = 0; a < sizeOf(instruction.operands()); ++a)
        for (uint32_t b = 0; b < sizeOf(collective->operands()); ++b) {
          const fb::Operand &mine = *instruction.operands()->Get(a), &theirs = *collective->operands()->Get(b);
          bool known = context.isSound(mine.buffer()) && context.isSound(theirs.buffer());
          bool harmless = mine.access() == fb::Access::Read && theirs.access() == fb::Access::Read;
          problems.require(!known || harmless || !meet(context, mine, theirs), at,
                           "touches what the collective of event " + std::to_string(event) + " still works on");
        }
    const fb::Collective *body = instruction.body_as_Collective();
    if (!body || body->event() < 0)
      continue;
    problems.require(used.insert(body->event()).second && body->event() < 1 << 20, at, "its event is another's, or impossible");
    running[body->event()] = &instruction;
  }
  problems.require(running.empty(), where, "ends while collectives are not waited for");
}

namespace {
/// What the members of a group must agree on: segment, position among the group's collectives, and the call.
struct Call {
  std::string segment;
  fb::CollectiveKind kind;
  fb::DataType type;
  fb::Reduction reduction;
  std::string reason;
  std::vector<uint64_t> bytes;
  bool operator==(const Call &) const = default;
};

/// The calls of a program by division, in order.
std::map<uint32_t, std::vector<Call>> callsOf(const fb::RankProgram &program) {
  std::map<uint32_t, std::vector<Call>> calls;
  for (uint32_t s = 0; s < sizeOf(program.segments()); ++s) {
    const fb::Segment &segment = *program.segments()->Get(s);
    for (uint32_t i = 0; i < sizeOf(segment.instructions()); ++i)
      if (const fb::Collective *body = segment.instructions()->Get(i)->body_as_Collective()) {
        Call call{textOf(segment.name()), body->kind(), body->type(), body->reduction(), textOf(body->reason()), {}};
        for (uint32_t j = 0; j < sizeOf(segment.instructions()->Get(i)->operands()); ++j)
          call.bytes.push_back(segment.instructions()->Get(i)->operands()->Get(j)->bytes());
        calls[body->groups()].push_back(std::move(call));
      }
  }
  return calls;
}

std::string describe(const std::vector<Call> &calls, size_t index) {
  if (index >= calls.size())
    return "nothing";
  uint64_t bytes = 0;
  for (uint64_t operand : calls[index].bytes)
    bytes += operand;
  return std::string(fb::EnumNameCollectiveKind(calls[index].kind)) + " (" + calls[index].reason + ") of " + std::to_string(bytes) +
         " bytes in segment '" + calls[index].segment + "'";
}

/// One segment, as far as collectives make ranks wait for each other: a rank stands at its next collective until all
/// members of its group stand at theirs of that division. Of a plan whose groups are sound and agree on their sequences.
class Rehearsal {
public:
  Rehearsal(const fb::Plan &plan, const std::string &segment) : plan(plan), next(sizeOf(plan.ranks()), 0) {
    for (uint32_t i = 0; i < sizeOf(plan.programs()); ++i)
      sequences.push_back(sequenceOf(*plan.programs()->Get(i), segment));
    for (uint32_t g = 0; g < sizeOf(plan.groups()); ++g) {
      const fb::Groups &groups = *plan.groups()->Get(g);
      groupOf.emplace_back(next.size());
      for (uint32_t j = 0; j < next.size(); ++j)
        groupOf[g][groups.ranks()->Get(j)] = j / groups.size();
      standing.emplace_back(next.size() / groups.size(), 0);
    }
  }

  /// The ranks that never come to the end.
  std::vector<uint32_t> stuck() {
    std::vector<uint32_t> arriving(next.size()), result;
    std::iota(arriving.begin(), arriving.end(), 0u);
    while (!arriving.empty()) {
      uint32_t rank = arriving.back();
      arriving.pop_back();
      if (isDone(rank))
        continue;
      uint32_t g = at(rank), group = groupOf[g][rank], size = plan.groups()->Get(g)->size();
      if (++standing[g][group] < size)
        continue;
      standing[g][group] = 0;
      for (uint32_t place = 0; place < size; ++place) {
        uint32_t member = plan.groups()->Get(g)->ranks()->Get(group * size + place);
        ++next[member];
        arriving.push_back(member);
      }
    }
    for (uint32_t rank = 0; rank < next.size(); ++rank)
      if (!isDone(rank))
        result.push_back(rank);
    return result;
  }
  /// The division in which a stuck rank waits.
  uint32_t at(uint32_t rank) const { return sequence(rank)[next[rank]]; }

private:
  static std::vector<uint32_t> sequenceOf(const fb::RankProgram &program, const std::string &name) {
    std::vector<uint32_t> divisions;
    for (uint32_t s = 0; s < sizeOf(program.segments()); ++s)
      for (uint32_t i = 0; textOf(program.segments()->Get(s)->name()) == name && i < sizeOf(program.segments()->Get(s)->instructions()); ++i)
        if (const fb::Collective *body = program.segments()->Get(s)->instructions()->Get(i)->body_as_Collective())
          divisions.push_back(body->groups());
    return divisions;
  }
  const std::vector<uint32_t> &sequence(uint32_t rank) const { return sequences[plan.ranks()->Get(rank)->program()]; }
  bool isDone(uint32_t rank) const { return next[rank] == sequence(rank).size(); }

  const fb::Plan &plan;
  std::vector<std::vector<uint32_t>> sequences; // by program: divisions
  std::vector<size_t> next;                     // by rank
  std::vector<std::vector<uint32_t>> groupOf;   // by division, by rank
  std::vector<std::vector<uint32_t>> standing;  // by division, by group: members that have come
};
} // namespace

/// Sequences that agree in each group may still cross: one rank waits in a group for another, which waits for it in a
/// second group.
static void validateOrder(const fb::Plan &plan, Problems &problems) {
  std::set<std::string> names;
  for (uint32_t p = 0; p < sizeOf(plan.programs()); ++p)
    for (uint32_t s = 0; s < sizeOf(plan.programs()->Get(p)->segments()); ++s)
      names.insert(textOf(plan.programs()->Get(p)->segments()->Get(s)->name()));
  for (const std::string &name : names) {
    Rehearsal rehearsal(plan, name);
    std::string text;
    for (uint32_t rank : rehearsal.stuck())
      text += (text.empty() ? "" : ", ") + ("rank " + std::to_string(rank) + " in groups '") + textOf(plan.groups()->Get(rehearsal.at(rank))->name()) + "'";
    problems.require(text.empty(), "segment '" + name + "'", "ranks would wait for each other forever: " + text);
  }
}

void validateMeetings(const fb::Plan &plan, Problems &problems) {
  if (sizeOf(plan.programs()) < 2)
    return; // all ranks run the same
  size_t before = problems.texts.size();
  std::vector<std::map<uint32_t, std::vector<Call>>> calls;
  for (uint32_t i = 0; i < sizeOf(plan.programs()); ++i)
    calls.push_back(callsOf(*plan.programs()->Get(i)));
  std::set<std::tuple<uint32_t, uint32_t, uint32_t>> compared; // division, programs
  for (uint32_t g = 0; g < sizeOf(plan.groups()); ++g) {
    const fb::Groups &groups = *plan.groups()->Get(g);
    for (uint32_t j = 0; groups.size() > 0 && j < sizeOf(groups.ranks()); ++j) {
      uint32_t first = groups.ranks()->Get(j / groups.size() * groups.size()), rank = groups.ranks()->Get(j);
      if (first >= sizeOf(plan.ranks()) || rank >= sizeOf(plan.ranks()))
        continue;
      uint32_t a = plan.ranks()->Get(first)->program(), b = plan.ranks()->Get(rank)->program();
      if (a == b || a >= calls.size() || b >= calls.size() || !compared.insert({g, a, b}).second)
        continue;
      const std::vector<Call> &left = calls[a][g], &right = calls[b][g];
      size_t at = 0;
      while (at < left.size() && at < right.size() && left[at] == right[at])
        ++at;
      problems.require(at == left.size() && at == right.size(),
                       "ranks " + std::to_string(first) + " and " + std::to_string(rank),
                       "would not meet: collective " + std::to_string(at) + " of groups '" + textOf(groups.name()) + "' is " +
                           describe(left, at) + " on the one, " + describe(right, at) + " on the other");
    }
  }
  if (before == 0 && problems.texts.empty()) // ranks, programs and groups are sound
    validateOrder(plan, problems);
}

} // namespace llmc::runtime
