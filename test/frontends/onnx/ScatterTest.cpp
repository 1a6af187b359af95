//===- ScatterTest.cpp - scatters and gathers in every form they are made of, against loops ------===//
//
// How many indices there are, whether they are known and whether they are distinct decides of which ops a scatter is made.
// Every form must give what a loop over the indices gives, the last of equal ones last.
//
//===----------------------------------------------------------------------===//
#include "GraphTest.h"

namespace llmc::test {
namespace {

using Ints = std::vector<int64_t>;
using Reals = std::vector<double>;

int64_t sizeOf(const Ints &shape) {
  int64_t size = 1;
  for (int64_t extent : shape)
    size *= extent;
  return size;
}

Reals counted(int64_t count, double from) {
  Reals values;
  for (int64_t i = 0; i < count; ++i)
    values.push_back(from + i);
  return values;
}

/// Indices in [-extent, extent), some equal, some from the end.
Ints mixed(int64_t count, int64_t extent, uint64_t seed) {
  Ints values;
  for (int64_t i = 0; i < count; ++i) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    values.push_back(static_cast<int64_t>((seed >> 33) % (2 * extent)) - extent);
  }
  return values;
}

std::string intsOf(const char *name, const Ints &dims, const Ints &values) {
  std::string text = "initializer { name: \"" + std::string(name) + "\" data_type: 7";
  for (int64_t d : dims)
    text += " dims: " + std::to_string(d);
  for (int64_t v : values)
    text += " int64_data: " + std::to_string(v);
  return text + " }\n";
}

/// Place in a tensor of `shape` of the element at the coordinates of element i of `small`, with `index` along `axis`.
int64_t placeOf(int64_t i, const Ints &small, const Ints &shape, int64_t axis, int64_t index) {
  Ints at(small.size());
  for (size_t d = small.size(); d-- > 0; i /= small[d])
    at[d] = i % small[d];
  at[axis] = index < 0 ? index + shape[axis] : index;
  int64_t place = 0;
  for (size_t d = 0; d < shape.size(); ++d)
    place = place * shape[d] + at[d];
  return place;
}

class ScatterTest : public GraphTest {
protected:
  /// y = op(x, at, u) with indices from the data or known.
  Reals run(const std::string &op, const Ints &shape, const Ints &small, const Ints &indices, const Ints &updatesShape, bool known, const std::string &attributes) {
    auto dims = [](const Ints &extents) {
      std::vector<std::string> text;
      for (int64_t d : extents)
        text.push_back(std::to_string(d));
      return text;
    };
    std::string text = value("input", "x", 1, dims(shape));
    std::vector<HostTensor> inputs = {reals(shape, counted(sizeOf(shape), 1))};
    std::vector<std::string> names = {"x", "at"};
    if (!updatesShape.empty()) {
      text += value("input", "u", 1, dims(updatesShape));
      inputs.push_back(reals(updatesShape, counted(sizeOf(updatesShape), 1000)));
      names.push_back("u");
    }
    text += known ? intsOf("at", small, indices) : value("input", "at", 7, dims(small));
    if (!known)
      inputs.push_back(integers(small, indices));
    return valuesOf(graphOf(18, text + value("output", "y", 1, {}) + node(op, names, {"y"}, attributes)), inputs);
  }
};

struct Form {
  Ints shape, small;
  int64_t axis;
};

// Up to 64 indices are selections, more are a lookup if they are known; indices shorter than the data leave the rest.
TEST_F(ScatterTest, Elements) {
  for (const Form &f : {Form{{5, 3}, {2, 3}, 0}, Form{{5, 3}, {2, 2}, 0}, Form{{3, 5}, {3, 4}, 1}, Form{{3, 5}, {2, 7}, 1}, Form{{70, 2}, {64, 2}, 0}, Form{{70, 2}, {65, 2}, 0},
                        Form{{3, 40}, {2, 90}, 1}, Form{{2, 3, 70}, {2, 2, 66}, 2}, Form{{2, 70, 3}, {1, 65, 3}, 1}, Form{{6}, {4}, 0}, Form{{6}, {70}, 0}})
    for (bool known : {true, false}) {
      if (!known && f.small[f.axis] > 64)
        continue; // refused: any could be equal
      Ints indices = mixed(sizeOf(f.small), f.shape[f.axis], 7 + f.axis);
      Reals expected = counted(sizeOf(f.shape), 1);
      for (int64_t i = 0; i < sizeOf(f.small); ++i)
        expected[placeOf(i, f.small, f.shape, f.axis, indices[i])] = 1000 + i;
      EXPECT_EQ(run("ScatterElements", f.shape, f.small, indices, f.small, known, attr("axis", f.axis)), expected) << f.shape.size() << " " << f.small[0] << " " << known;
      EXPECT_EQ(run("ScatterElements", f.shape, f.small, indices, f.small, known, attr("axis", f.axis - static_cast<int64_t>(f.shape.size()))), expected);
    }
}

// A sum takes as many as there are, equal ones too.
TEST_F(ScatterTest, Sums) {
  for (const Form &f : {Form{{5, 3}, {2, 3}, 0}, Form{{5, 3}, {80, 3}, 0}, Form{{3, 5}, {3, 9}, 1}})
    for (bool known : {true, false}) {
      Ints indices = mixed(sizeOf(f.small), f.shape[f.axis], 3);
      Reals expected = counted(sizeOf(f.shape), 1);
      for (int64_t i = 0; i < sizeOf(f.small); ++i)
        expected[placeOf(i, f.small, f.shape, f.axis, indices[i])] += 1000 + i;
      EXPECT_EQ(run("ScatterElements", f.shape, f.small, indices, f.small, known, attr("axis", f.axis) + attr("reduction", llvm::StringRef("add"))), expected);
    }
}

TEST_F(ScatterTest, GatherElements) {
  for (const Form &f : {Form{{5, 3}, {2, 3}, 0}, Form{{5, 3}, {9, 2}, 0}, Form{{3, 5}, {2, 70}, 1}, Form{{6}, {70}, 0}, Form{{2, 3, 4}, {2, 5, 3}, 1}})
    for (bool known : {true, false}) {
      Ints indices = mixed(sizeOf(f.small), f.shape[f.axis], 11);
      Reals expected;
      for (int64_t i = 0; i < sizeOf(f.small); ++i)
        expected.push_back(1 + placeOf(i, f.small, f.shape, f.axis, indices[i]));
      EXPECT_EQ(run("GatherElements", f.shape, f.small, indices, {}, known, attr("axis", f.axis)), expected) << f.shape.size() << " " << f.small[0] << " " << known;
    }
}

// Rows or elements; consecutive ones from the first, the middle and from the end are one insertion.
TEST_F(ScatterTest, Rows) {
  struct Nd {
    Ints shape, small, indices;
    Ints updates;
  };
  std::vector<Nd> cases = {{{4, 2}, {3, 1}, {0, 1, 2}, {3, 2}},    {{4, 2}, {3, 1}, {1, 2, 3}, {3, 2}},  {{4, 2}, {3, 1}, {-3, -2, -1}, {3, 2}},
                           {{4, 2}, {3, 1}, {-1, 0, 1}, {3, 2}},   {{4, 2}, {3, 1}, {2, -2, 2}, {3, 2}}, {{4, 2}, {4, 1}, {0, 1, 2, 3}, {4, 2}},
                           {{4, 2}, {4, 1}, {3, 2, 1, 0}, {4, 2}}, {{4, 3}, {2, 2}, {-1, -1, 0, 2}, {2}}, {{4, 3}, {2, 2}, {1, 2, 2, 0}, {2}}};
  cases.push_back({{9, 2}, {64, 1}, mixed(64, 9, 5), {64, 2}});
  cases.push_back({{9, 2}, {65, 1}, mixed(65, 9, 5), {65, 2}});
  cases.push_back({{3, 3}, {2, 33, 2}, mixed(132, 3, 9), {2, 33}});
  for (const Nd &c : cases)
    for (bool known : {true, false}) {
      int64_t depth = c.small.back(), count = sizeOf(c.small) / depth, row = sizeOf(c.shape);
      if (!known && count > 64)
        continue;
      Reals expected = counted(row, 1);
      for (int64_t d = 0; d < depth; ++d)
        row /= c.shape[d];
      for (int64_t i = 0; i < count; ++i) {
        int64_t place = 0;
        for (int64_t d = 0; d < depth; ++d) {
          int64_t index = c.indices[i * depth + d];
          place = place * c.shape[d] + (index < 0 ? index + c.shape[d] : index);
        }
        for (int64_t e = 0; e < row; ++e)
          expected[place * row + e] = 1000 + i * row + e;
      }
      EXPECT_EQ(run("ScatterND", c.shape, c.small, c.indices, c.updates, known, ""), expected) << count << " " << known << " " << c.indices[0];
    }
}

// Positions from a top-k are distinct: a sum does it, also with zeros among the updates and data that is not zero.
TEST_F(ScatterTest, DistinctPositions) {
  std::string top = ints("k", {2}) + node("TopK", {"x", "k"}, {"best", "at"}, attr("axis", int64_t(1)));
  std::string io = value("input", "x", 1, {"2", "4"}) + value("input", "u", 1, {"2", "2"}) + value("output", "y", 1, {});
  std::vector<HostTensor> inputs = {reals({2, 4}, {3, 9, 1, 7, -1, -2, -3, -4}), reals({2, 2}, {0, 5, 6, 0})};
  EXPECT_EQ(valuesOf(graphOf(18, io + top + node("ScatterElements", {"x", "at", "u"}, {"y"}, attr("axis", int64_t(1)))), inputs), (Reals{3, 0, 1, 5, 6, 0, -3, -4}));
  EXPECT_EQ(valuesOf(graphOf(18, io + top + floats("z", {2, 4}, 0) + node("ScatterElements", {"z", "at", "u"}, {"y"}, attr("axis", int64_t(-1)))), inputs), (Reals{0, 0, 0, 5, 6, 0, 0, 0}));
  // Distinct within rows only: along the first dimension two may be equal, and the last stays.
  EXPECT_EQ(valuesOf(graphOf(18, io + top + floats("z", {4, 2}, 1) + node("ScatterElements", {"z", "at", "u"}, {"y"}, attr("axis", int64_t(0)))), inputs),
            (Reals{6, 1, 0, 0, 1, 1, 1, 5}));
  // More data than rows of positions: the other rows stay.
  EXPECT_EQ(valuesOf(graphOf(18, io + top + floats("z", {3, 5}, 1) + node("ScatterElements", {"z", "at", "u"}, {"y"}, attr("axis", int64_t(1)))), inputs),
            (Reals{1, 0, 1, 5, 1, 6, 0, 1, 1, 1, 1, 1, 1, 1, 1}));
}

} // namespace
} // namespace llmc::test
