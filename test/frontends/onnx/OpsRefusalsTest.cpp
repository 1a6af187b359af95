//===- OpsRefusalsTest.cpp - forms of operators that are refused, each beside one that is taken ------===//
#include "GraphTest.h"

namespace llmc::test {
namespace {

struct Case {
  std::string taken, refused;
  const char *reason;
  int64_t opset = 18;
};

class OpsRefusalsTest : public GraphTest {
protected:
  /// Inputs are v [4], m [3, 4], t [2, 3, 4], x [2, 4, 6, 6], q [1, 2, 3, 4] of reals, s a scalar; i [3, 4], j [4] of integers, b [3, 4].
  std::string refusalOf(const std::string &parts, int64_t opset) {
    return GraphTest::refusalOf(graphOf(opset, value("input", "s", 1, {}) + value("input", "v", 1, {"4"}) + value("input", "m", 1, {"3", "4"}) + value("input", "t", 1, {"2", "3", "4"}) +
                                                   value("input", "x", 1, {"2", "4", "6", "6"}) + value("input", "q", 1, {"1", "2", "3", "4"}) +
                                                   value("input", "i", 7, {"3", "4"}) + value("input", "j", 7, {"4"}) + value("input", "b", 9, {"3", "4"}) +
                                                   value("output", "y", 1, {}) + parts));
  }
  void check(const std::vector<Case> &cases) {
    for (const Case &each : cases) {
      EXPECT_EQ(refusalOf(each.taken, each.opset), "") << each.taken;
      std::string text = refusalOf(each.refused, each.opset);
      EXPECT_NE(text.find(each.reason), std::string::npos) << each.refused << text << "lacks: " << each.reason;
    }
  }
  static std::string y(llvm::StringRef op, std::vector<std::string> inputs, const std::string &attributes = "") { return node(op, inputs, {"y"}, attributes); }
  /// The same with an initializer c of integers.
  static std::string yc(llvm::StringRef op, std::vector<std::string> inputs, std::vector<int64_t> c, const std::string &attributes = "") {
    return ints("c", c) + y(op, inputs, attributes);
  }
  static std::string a(const char *name, int64_t value) { return attr(name, value); }
};

TEST_F(OpsRefusalsTest, Shapes) {
  check({
      {yc("Reshape", {"m", "c"}, {0, 2, 2}), yc("Reshape", {"m", "c"}, {3, 4, 0}), "the shape copies a dimension that the input does not have"},
      {yc("Reshape", {"m", "c"}, {-1, 6}), yc("Reshape", {"m", "c"}, {-1, -1}), "the new shape is not valid"},
      {yc("Reshape", {"m", "c"}, {2, 6}), yc("Reshape", {"m", "c"}, {-2, -6}), "the new shape is not valid"},
      {yc("Reshape", {"m", "c"}, {2, 6}), yc("Reshape", {"m", "c"}, {2, 5}), "a tensor of 12 elements cannot take the new shape"},
      {yc("Reshape", {"m", "c"}, {-1, 4}), yc("Reshape", {"m", "c"}, {-1, 5}), "a tensor of 12 elements cannot take the new shape"},
      {yc("Reshape", {"m", "c"}, {0, 4}), yc("Reshape", {"m", "c"}, {-1, 0}, a("allowzero", 1)), "a tensor of 12 elements cannot take the new shape"},
      {y("Flatten", {"m"}, a("axis", 2)), y("Flatten", {"m"}, a("axis", 3)), "the axis is out of range"},
      {y("Flatten", {"m"}, a("axis", -2)), y("Flatten", {"m"}, a("axis", -3)), "the axis is out of range"},
      {y("Transpose", {"m"}, attrInts("perm", {1, 0})), y("Transpose", {"m"}, attrInts("perm", {1, 1})), "perm is no permutation of the dimensions"},
      {y("Transpose", {"m"}), y("Transpose", {"m"}, attrInts("perm", {1, 2})), "perm is no permutation of the dimensions"},
      {y("Transpose", {"m"}), y("Transpose", {"m"}, attrInts("perm", {0})), "perm is no permutation of the dimensions"},
      {yc("Squeeze", {"q", "c"}, {-4}), yc("Squeeze", {"q", "c"}, {1}), "a squeezed dimension has size 2"},
      {yc("Squeeze", {"q", "c"}, {0}), yc("Squeeze", {"q", "c"}, {0, -4}), "an axis is given twice"},
      {yc("Unsqueeze", {"m", "c"}, {0, 3}), yc("Unsqueeze", {"m", "c"}, {0, -4}), "an axis is given twice"},
      {yc("Unsqueeze", {"m", "c"}, {2}), yc("Unsqueeze", {"m", "c"}, {3}), "axis 3 is outside a tensor of rank 3"},
      {yc("Unsqueeze", {"m", "c"}, {-3}), yc("Unsqueeze", {"m", "c"}, std::vector<int64_t>(65, 0)), "the axes are not valid"},
      {yc("Expand", {"m", "c"}, {2, 3, 1}), yc("Expand", {"m", "c"}, {2, 2, 4}), "dimension of size 3 cannot be expanded to 2"},
      {yc("Expand", {"s", "c"}, {2}), yc("Expand", {"s", "c"}, {-1}), "the expanded shape is not valid"},
      {yc("Expand", {"s", "c"}, {2}), yc("Expand", {"s", "c"}, {int64_t(1) << 40, int64_t(1) << 40}), "the expanded shape is not valid"},
      {yc("Tile", {"m", "c"}, {1, 2}), yc("Tile", {"m", "c"}, {1}), "one repetition per dimension expected"},
      {yc("Tile", {"m", "c"}, {2, 1}), yc("Tile", {"m", "c"}, {2, 0}), "the repetitions are not valid"},
      {yc("Tile", {"m", "c"}, {2, 1}), yc("Tile", {"m", "c"}, {int64_t(1) << 62, 1}), "the repetitions are not valid"},
      {y("Concat", {"m", "m"}, a("axis", -1)), y("Concat", {"m", "t"}, a("axis", 0)), "the parts differ in type, or in a dimension other than the axis"},
      {y("Concat", {"m", "m"}, a("axis", 0)), y("Concat", {"m", "i"}, a("axis", 0)), "the parts differ in type"},
      {floats("w", {1, 4}, 1) + y("Concat", {"m", "w"}, a("axis", 0)), floats("w", {1, 4}, 1) + y("Concat", {"m", "w"}, a("axis", 1)), "or in a dimension other than the axis"},
      {ints("c", {0}) + ints("d", {1}) + y("Slice", {"m", "c", "d"}), ints("c", {0}) + ints("d", {1, 1}) + y("Slice", {"m", "c", "d"}), "starts, ends, axes and steps differ in length"},
      {ints("c", {0}) + ints("d", {1}) + y("Slice", {"m", "c", "d", "d", "d"}), ints("c", {0}) + ints("d", {1}) + y("Slice", {"m", "c", "d", "c", "c"}), "an axis or a step is not valid"},
      {ints("c", {0}) + ints("d", {2}) + ints("e", {-2}) + y("Slice", {"m", "c", "d", "e"}), ints("c", {0}) + ints("d", {2}) + y("Slice", {"m", "c", "d", "d"}),
       "axis 2 is outside a tensor of rank 2"},
  });
}

TEST_F(OpsRefusalsTest, Missing) {
  for (const char *op : {"Flatten", "Transpose", "Neg", "Abs", "Relu", "Dropout", "Squeeze", "Clip", "ReduceSum"})
    check({{y(op, {"m"}), y(op, {""}), "input 0 is missing"}});
  for (const char *op : {"Reshape", "Expand"})
    check({{yc(op, {"m", "c"}, {3, 4}), yc(op, {"", "c"}, {3, 4}), "input 0 is missing"}});
  check({{y("Sum", {"m", "m"}), y("Sum", {"", "m"}), "input 0 is missing"}, {y("Concat", {"m"}, a("axis", 0)), y("Concat", {"", "m"}, a("axis", 0)), "input 0 is missing"}});
  check({{y("Sum", {"m"}), y("Sum", {}), "the node has no inputs"}, {y("Div", {"m", "m"}), y("Div", {"m"}), "two inputs expected"}});
}

TEST_F(OpsRefusalsTest, Parts) {
  auto split = [](const std::string &constants, std::vector<std::string> inputs, std::vector<std::string> outputs, const std::string &attributes) {
    return constants + node("Split", inputs, outputs, attributes);
  };
  std::string constant = floats("two", {2}, 0), one = floats("one", {}, 1);
  check({
      {split("", {"m"}, {"y", "z"}, a("axis", 1) + a("num_outputs", 2)), split("", {"m"}, {"y", "z"}, a("axis", 1) + a("num_outputs", 5)), "num_outputs is not valid"},
      {split("", {"m"}, {"y"}, a("num_outputs", 1)), split("", {"m"}, {"y"}, a("num_outputs", 0)), "num_outputs is not valid"},
      {split(ints("c", {1, 3}), {"m", "c"}, {"y", "z"}, a("axis", 1)), split(ints("c", {4}), {"m", "c"}, {"y", "z"}, a("axis", 1)), "more outputs than parts"},
      {split(ints("c", {1, 3}), {"m", "c"}, {"y", "z"}, a("axis", 1)), split(ints("c", {1, 4}), {"m", "c"}, {"y", "z"}, a("axis", 1)), "the parts do not add up to the dimension"},
      {split(ints("c", {2, 2}), {"m", "c"}, {"y", "z"}, a("axis", 1)), split(ints("c", {1, 2}), {"m", "c"}, {"y", "z"}, a("axis", 1)), "the parts do not add up to the dimension"},
      {split(ints("c", {2, 2}), {"m", "c"}, {"y", "z"}, a("axis", 1)), split(ints("c", {-1, 5}), {"m", "c"}, {"y", "z"}, a("axis", 1)), "the parts do not add up to the dimension"},
      {yc("Pad", {"v", "c"}, {1, 1}), yc("Pad", {"v", "c"}, {1}), "two pads per axis expected"},
      {yc("Pad", {"v", "c"}, {-3, 0}), yc("Pad", {"v", "c"}, {-4, 0}), "the pads are not valid"},
      {yc("Pad", {"v", "c"}, {-2, -1}), yc("Pad", {"v", "c"}, {-2, -2}), "the pads are not valid"},
      {one + yc("Pad", {"v", "c", "one"}, {1, 1}), constant + yc("Pad", {"v", "c", "two"}, {1, 1}), "the fill value must be one constant"},
      {yc("Pad", {"v", "c"}, {3, 3}, attr("mode", llvm::StringRef("reflect"))), yc("Pad", {"v", "c"}, {4, 0}, attr("mode", llvm::StringRef("reflect"))), "the pads are not valid"},
      {yc("Pad", {"v", "c"}, {9, 9}, attr("mode", llvm::StringRef("edge"))), yc("Pad", {"v", "c"}, {0, 4}, attr("mode", llvm::StringRef("reflect"))), "the pads are not valid"},
      {yc("Pad", {"v", "c"}, {-3, 0}, attr("mode", llvm::StringRef("wrap"))), yc("Pad", {"v", "c"}, {-2, -2}, attr("mode", llvm::StringRef("wrap"))), "the pads are not valid"},
      {y("DepthToSpace", {"x"}, a("blocksize", 2)), y("DepthToSpace", {"x"}, a("blocksize", 3)), "blocksize does not divide the channels"},
      {y("DepthToSpace", {"x"}, a("blocksize", 1)), y("DepthToSpace", {"x"}, a("blocksize", 0)), "a 4-D input and a blocksize expected"},
      {y("DepthToSpace", {"x"}, a("blocksize", 1)), y("DepthToSpace", {"t"}, a("blocksize", 1)), "a 4-D input and a blocksize expected"},
      {y("SpaceToDepth", {"x"}, a("blocksize", 3)), y("SpaceToDepth", {"x"}, a("blocksize", 4)), "blocksize does not divide the image"},
  });
}

TEST_F(OpsRefusalsTest, Products) {
  std::string w = floats("w", {4, 3}, 1), batched = floats("z", {3, 4, 5}, 1);
  check({
      {w + y("MatMul", {"m", "w"}), y("MatMul", {"m", "m"}), "the inner dimensions differ: 4 and 3"},
      {y("MatMul", {"m", "v"}), y("MatMul", {"v", "m"}), "the inner dimensions differ: 4 and 3"},
      {y("MatMul", {"v", "v"}), y("MatMul", {"v", "s"}), "a scalar cannot be multiplied"},
      {y("MatMul", {"v", "v"}), y("MatMul", {"s", "v"}), "a scalar cannot be multiplied"},
      {w + y("MatMul", {"t", "w"}), batched + y("MatMul", {"t", "z"}), "the batch dimensions differ: 2 and 3"},
      {w + y("MatMul", {"m", "w"}), y("MatMul", {"m", "i"}), "two real inputs of one type expected"},
      {w + y("Gemm", {"m", "w"}), y("Gemm", {"m", "m"}), "the inner dimensions differ: 4 and 3"},
      {y("Gemm", {"m", "m"}, a("transB", 1)), y("Gemm", {"m", "t"}), "two real matrices of one type expected"},
      {y("Gemm", {"m", "m"}, a("transA", 1)), y("Gemm", {"t", "m"}), "two real matrices of one type expected"},
      {y("Gemm", {"m", "m", "s"}, a("transB", 1)), y("Gemm", {"m", "m", "t"}, a("transA", 1)), "shapes do not match: 4 and 3 in one dimension"},
      {y("Gemm", {"m", "m", "v"}, a("transA", 1)), floats("z", {2, 3, 3}, 1) + y("Gemm", {"m", "m", "z"}, a("transB", 1)), "the added matrix has the wrong shape"},
      {y("Einsum", {"m"}, attr("equation", llvm::StringRef("ab->ba"))), y("Einsum", {"m"}, attr("equation", llvm::StringRef("abc->ba"))), "the equation does not fit the input"},
      {y("Einsum", {"m", "v"}, attr("equation", llvm::StringRef("ab,b->a"))), y("Einsum", {"m", "v"}, attr("equation", llvm::StringRef("ab,bc->a"))),
       "the equation does not fit the inputs"},
      {y("Einsum", {"m", "v"}, attr("equation", llvm::StringRef("ab,b->a"))), y("Einsum", {"v", "m"}, attr("equation", llvm::StringRef("ab,ab->a"))),
       "the equation does not fit the inputs"},
  });
}

TEST_F(OpsRefusalsTest, Elements) {
  std::string zeros = ints("z", {1, 0, 2, 3}), numbers = ints("z", {1, -1, 2, 3}), two = floats("two", {2}, 0), one = floats("one", {1}, 0);
  check({
      {y("Add", {"m", "v"}), y("Add", {"m", "j"}), "the inputs have different element types"},
      {y("Add", {"m", "v"}), floats("two", {2}, 0) + y("Add", {"m", "two"}), "shapes do not match: 4 and 2 in one dimension"},
      {numbers + y("Div", {"j", "z"}), zeros + y("Div", {"j", "z"}), "division of integers by zero"},
      {numbers + y("Mod", {"j", "z"}), zeros + y("Mod", {"j", "z"}), "division of integers by zero"},
      {y("Mod", {"v", "s"}, a("fmod", 1)), y("Mod", {"v", "s"}), "Mod of reals needs fmod=1"},
      {y("Pow", {"v", "s"}), y("Pow", {"j", "j"}), "a power of integers whose exponent depends on data"},
      {y("And", {"b", "b"}), y("And", {"m", "m"}), "two boolean or integer inputs expected"},
      {y("Not", {"b"}), y("Not", {"m"}), "a boolean or integer input expected"},
      {y("Where", {"b", "m", "s"}), y("Where", {"i", "m", "s"}), "a boolean condition and two inputs of one type expected"},
      {y("Where", {"b", "m", "v"}), y("Where", {"b", "m", "i"}), "a boolean condition and two inputs of one type expected"},
      {y("Exp", {"m"}), y("Exp", {"i"}), "a real input expected"},
      {y("Sigmoid", {"m"}), y("Sigmoid", {"i"}), "a real input expected"},
      {y("Softplus", {"m"}), y("Softplus", {"i"}), "a real input expected"},
      {y("Elu", {"m"}), y("Elu", {"i"}), "a real input expected"},
      {y("Celu", {"m"}, attr("alpha", 0.5)), y("Celu", {"m"}, attr("alpha", 0.0)), "a real input expected"},
      {y("HardSigmoid", {"m"}), y("HardSigmoid", {"i"}), "a real input expected"},
      {y("Reciprocal", {"m"}), y("Reciprocal", {"i"}), "a real input expected"},
      {one + y("Clip", {"m", "one"}), two + y("Clip", {"m", "two"}), "a bound must be one number"},
      {y("Clip", {"m", "", "s"}), two + y("Clip", {"m", "", "two"}), "a bound must be one number"},
      {y("PRelu", {"m", "v"}), y("PRelu", {"m", "j"}), "two real inputs expected"},
      {y("PRelu", {"t", "m"}), y("PRelu", {"m", "t"}), "the slope does not fit the input"},
  });
}

TEST_F(OpsRefusalsTest, Reductions) {
  check({
      {y("Softmax", {"v"}), y("Softmax", {"s"}), "a real input expected"},
      {y("Softmax", {"m"}), y("Softmax", {"i"}), "a real input expected"},
      {y("Softmax", {"m"}, a("axis", 2)), y("Softmax", {"m"}, a("axis", 3)), "the axis is out of range", 11},
      {y("Softmax", {"m"}, a("axis", -2)), y("Softmax", {"m"}, a("axis", -3)), "the axis is out of range", 11},
      {y("ReduceL2", {"m"}), y("ReduceL2", {"i"}), "a real input expected"},
      {y("ReduceLogSumExp", {"m"}), y("ReduceLogSumExp", {"i"}), "a real input expected"},
      {yc("CumSum", {"m", "c"}, {1}), yc("CumSum", {"m", "c"}, {0, 1}), "one constant axis expected"},
      {yc("CumSum", {"m", "c"}, {-2}), yc("CumSum", {"m", "c"}, {2}), "axis 2 is outside a tensor of rank 2"},
      {yc("CumProd", {"m", "c"}, {1}), yc("CumProd", {"m", "c"}, {0, 1}), "one constant axis expected", 26},
      {yc("CumSum", {"m", "c"}, {0}), value("input", "long", 1, {"16385"}) + yc("CumSum", {"long", "c"}, {0}), "a running sum over 16385 elements"},
      {value("input", "long", 1, {"16384"}) + yc("CumSum", {"long", "c"}, {0}), value("input", "long", 1, {"2", "20000"}) + yc("CumSum", {"long", "c"}, {1}),
       "a running sum over 20000 elements"},
  });
}

TEST_F(OpsRefusalsTest, Normalizations) {
  std::string c4 = floats("c4", {4}, 1), c3 = floats("c3", {3}, 1), c2 = floats("c2", {2}, 1), half = floats("r", {}, 0.5), off = floats("r", {}, 1), two = floats("r", {2}, 0.5),
              below = floats("r", {}, -0.1);
  check({
      {c4 + y("LayerNormalization", {"m", "c4"}), c4 + y("LayerNormalization", {"i", "c4"}), "a real input and a scale expected"},
      {c4 + y("LayerNormalization", {"v", "c4"}), c4 + y("LayerNormalization", {"s", "c4"}), "a real input and a scale expected"},
      {c4 + y("LayerNormalization", {"m", "c4"}), c3 + y("LayerNormalization", {"m", "c3"}), ""},
      {c4 + y("LayerNormalization", {"m", "c4"}), y("LayerNormalization", {"m", "j"}), "scale and input differ in element type"},
      {c4 + y("InstanceNormalization", {"x", "c4", "c4"}), c3 + y("InstanceNormalization", {"x", "c3", "c3"}), "scale and bias must have one entry per channel"},
      {c4 + y("InstanceNormalization", {"x", "c4", "c4"}), c4 + c3 + y("InstanceNormalization", {"x", "c4", "c3"}), "scale and bias must have one entry per channel"},
      {c3 + y("InstanceNormalization", {"t", "c3", "c3"}), c4 + y("InstanceNormalization", {"m", "c4", "c4"}), "a real image, scale and bias expected"},
      {c3 + y("InstanceNormalization", {"t", "c3", "c3"}), c4 + y("InstanceNormalization", {"v", "c4", "c4"}), "a real image expected"},
      {c2 + y("GroupNormalization", {"x", "c2", "c2"}, a("num_groups", 2)), c4 + y("GroupNormalization", {"x", "c4", "c4"}, a("num_groups", 2)),
       "scale and bias must have one entry per channel"},
      {c4 + y("GroupNormalization", {"x", "c4", "c4"}, a("num_groups", 4)), c3 + y("GroupNormalization", {"x", "c3", "c3"}, a("num_groups", 3)),
       "scale and bias must have one entry per channel"},
      {c4 + y("GroupNormalization", {"x", "c4", "c4"}, a("num_groups", 2)), c4 + y("GroupNormalization", {"x", "c4", "c4"}, a("num_groups", 0)),
       "scale and bias must have one entry per channel", 21},
      {c4 + y("BatchNormalization", {"x", "c4", "c4", "c4", "c4"}), c4 + y("BatchNormalization", {"x", "c4", "c4", "c4", "s"}), "five inputs expected"},
      {c4 + y("BatchNormalization", {"x", "c4", "c4", "c4", "c4"}), c4 + y("BatchNormalization", {"v", "c4", "c4", "c4", "c4"}), "an image expected"},
      {c4 + y("BatchNormalization", {"x", "c4", "c4", "c4", "c4"}), c4 + y("BatchNormalization", {"x", "c4", "c4", "c4", "c4"}, a("training_mode", 1)),
       "training_mode=1 in a file that PyTorch did not write: its running variance would be the biased one"},
      {y("LpNormalization", {"m"}, a("p", 1)), y("LpNormalization", {"m"}, a("p", 3)), "p must be 1 or 2"},
      {y("LpNormalization", {"m"}, a("p", 2)), y("LpNormalization", {"m"}, a("p", 0)), "p must be 1 or 2"},
      {y("MeanVarianceNormalization", {"x"}), y("MeanVarianceNormalization", {"i"}), "a real input expected"},
      {half + y("Dropout", {"m", "r"}), two + y("Dropout", {"m", "r"}), "the ratio must be one constant"},
      {half + y("Dropout", {"m", "r"}), off + y("Dropout", {"m", "r"}), "a ratio outside [0, 1)"},
      {floats("r", {}, 0) + y("Dropout", {"m", "r"}), below + y("Dropout", {"m", "r"}), "a ratio outside [0, 1)"},
      {half + y("Dropout", {"m", "r"}), half + yc("Dropout", {"m", "r", "c"}, {0, 0}), "training_mode must be one constant"},
  });
}

TEST_F(OpsRefusalsTest, Windows) {
  std::string w = floats("w", {6, 4, 3, 3}, 1), grouped = floats("w", {6, 2, 3, 3}, 1), b6 = floats("b6", {6}, 1), b4 = floats("b4", {4}, 1);
  auto kernel = [](std::vector<int64_t> k) { return attrInts("kernel_shape", k); };
  check({
      {w + y("Conv", {"x", "w"}), w + y("Conv", {"t", "w"}), "a real image and kernels of its rank expected"},
      {w + y("Conv", {"x", "w"}), grouped + y("Conv", {"x", "w"}), "the channels do not fit the kernels"},
      {grouped + y("Conv", {"x", "w"}, a("group", 2)), grouped + y("Conv", {"x", "w"}, a("group", 3)), "the channels do not fit the kernels"},
      {grouped + y("Conv", {"x", "w"}, a("group", 2)), grouped + y("Conv", {"x", "w"}, a("group", 0)), "the channels do not fit the kernels"},
      {w + b6 + y("Conv", {"x", "w", "b6"}), w + b4 + y("Conv", {"x", "w", "b4"}), "one bias per output channel expected"},
      {w + b6 + y("Conv", {"x", "w", "b6"}), w + y("Conv", {"x", "w", "s"}), "one bias per output channel expected"},
      {w + y("Conv", {"x", "w"}, attrInts("strides", {1, 1})), w + y("Conv", {"x", "w"}, attrInts("strides", {1})), "kernel, strides, dilations or pads do not fit the image"},
      {w + y("Conv", {"x", "w"}, attrInts("pads", {1, 1, 1, 1})), w + y("Conv", {"x", "w"}, attrInts("pads", {1, 1})), "kernel, strides, dilations or pads do not fit the image"},
      {w + y("Conv", {"x", "w"}, attrInts("dilations", {2, 2})), w + y("Conv", {"x", "w"}, attrInts("dilations", {2, 2, 2})), "kernel, strides, dilations or pads do not fit the image"},
      {w + y("Conv", {"x", "w"}, attrInts("strides", {1, 1})), w + y("Conv", {"x", "w"}, attrInts("strides", {1, 0})), "kernel, strides or dilations are out of range"},
      {w + y("Conv", {"x", "w"}, attrInts("dilations", {2, 2})), w + y("Conv", {"x", "w"}, attrInts("dilations", {2, 3})), "the window does not fit the image"},
      {w + y("Conv", {"x", "w"}, attrInts("pads", {0, 0, 0, 0})), w + y("Conv", {"x", "w"}, attrInts("pads", {0, 0, -1, 0})), "the window does not fit the image"},
      {y("MaxPool", {"x"}, kernel({6, 6})), y("MaxPool", {"x"}, kernel({7, 6})), "the window does not fit the image"},
      {y("MaxPool", {"x"}, kernel({2, 2})), y("MaxPool", {"x"}), "a real image and a kernel_shape expected"},
      {y("MaxPool", {"x"}, kernel({2, 2}) + attrInts("strides", {2, 2}) + a("ceil_mode", 1)), y("MaxPool", {"x"}, kernel({3, 3}) + attrInts("strides", {2, 2}) + a("ceil_mode", 1)),
       "ceil_mode with windows that leave the image"},
      {y("MaxPool", {"x"}, kernel({2, 2})), value("output", "z", 7, {}) + node("MaxPool", {"x"}, {"y", "z"}, kernel({2, 2})), "the indices output"},
      {y("LpPool", {"x"}, kernel({2, 2}) + a("p", 1)), y("LpPool", {"x"}, kernel({2, 2}) + a("p", 0)), "p must be 1 or more"},
      {y("GlobalAveragePool", {"x"}), y("GlobalAveragePool", {"m"}), "a real image expected"},
      {y("LRN", {"x"}, a("size", 1)), y("LRN", {"x"}, a("size", 0)), "a real image and a size expected"},
      {y("LRN", {"m"}, a("size", 3)), y("LRN", {"v"}, a("size", 3)), "a real image and a size expected"},
  });
}

TEST_F(OpsRefusalsTest, Lookups) {
  std::string keep = ints("c", {0, 0, 1}), none = ints("c", {0, 0, 0}), beyond = ints("c", {1, 0, 0, 1}), values = floats("p", {2}, 1), three = floats("p", {3}, 1);
  auto depth = [](int64_t d) { return "initializer { name: \"d\" data_type: 7 int64_data: " + std::to_string(d) + " }\n"; };
  check({
      {y("Gather", {"m", "c"}) + ints("c", {2, -3}), y("Gather", {"m", "c"}) + ints("c", {3}), "index 3 is outside a dimension of size 3"},
      {y("Gather", {"m", "j"}), y("Gather", {"m", "c"}) + ints("c", {-4}), "index -4 is outside a dimension of size 3"},
      {y("Gather", {"m", "j"}), y("Gather", {"m", "v"}), "a tensor and integer indices expected"},
      {y("GatherElements", {"m", "i"}), y("GatherElements", {"m", "j"}), "a tensor and integer indices of the same rank expected"},
      {y("GatherElements", {"m", "i"}), y("GatherElements", {"m", "m"}), "a tensor and integer indices of the same rank expected"},
      {keep + y("Compress", {"m", "c"}, a("axis", 0)), none + y("Compress", {"m", "c"}, a("axis", 0)), "the condition keeps nothing, or more than there is"},
      {keep + y("Compress", {"m", "c"}, a("axis", 0)), beyond + y("Compress", {"m", "c"}, a("axis", 0)), "the condition keeps nothing, or more than there is"},
      {keep + y("Compress", {"m", "c"}), keep + y("Compress", {"s", "c"}), "a tensor and a constant condition expected"},
      {yc("ReverseSequence", {"m", "c"}, {3, 0, 1, 2}), yc("ReverseSequence", {"m", "c"}, {4, 0, 1, 2}), "a length is out of range"},
      {yc("ReverseSequence", {"m", "c"}, {3, 0, 1, 2}), yc("ReverseSequence", {"m", "c"}, {-1, 0, 1, 2}), "a length is out of range"},
      {yc("ReverseSequence", {"m", "c"}, {3, 0, 1, 2}), yc("ReverseSequence", {"m", "c"}, {3, 0, 1}), "a tensor and one constant length per sequence expected"},
      {values + depth(1) + y("OneHot", {"i", "d", "p"}), values + depth(0) + y("OneHot", {"i", "d", "p"}), "integer indices, a constant depth and two values expected"},
      {values + depth(5) + y("OneHot", {"i", "d", "p"}), three + depth(5) + y("OneHot", {"i", "d", "p"}), "integer indices, a constant depth and two values expected"},
      {values + depth(5) + y("OneHot", {"i", "d", "p"}), values + depth(5) + y("OneHot", {"m", "d", "p"}), "integer indices, a constant depth and two values expected"},
      {ints("k", {4}) + node("TopK", {"m", "k"}, {"y", "z"}), ints("k", {5}) + node("TopK", {"m", "k"}, {"y", "z"}), "k is outside the dimension"},
      {ints("k", {1}) + node("TopK", {"m", "k"}, {"y", "z"}), ints("k", {0}) + node("TopK", {"m", "k"}, {"y", "z"}), "k is outside the dimension"},
      {y("ScatterElements", {"m", "i", "m"}), y("ScatterElements", {"m", "j", "m"}), "data, integer indices and updates of one rank expected"},
      {y("ScatterElements", {"m", "i", "m"}), y("ScatterElements", {"m", "i", "i"}), "data, integer indices and updates of one rank expected"},
      {y("ScatterElements", {"m", "i", "m"}), floats("u", {3, 3}, 1) + y("ScatterElements", {"m", "i", "u"}), "data, integer indices and updates of one rank expected"},
      {y("ScatterElements", {"m", "i", "m"}), floats("d", {2, 4}, 1) + y("ScatterElements", {"d", "i", "m"}, a("axis", 1)), "the indices do not fit the data"},
      {floats("d", {2, 4}, 1) + y("ScatterElements", {"d", "i", "m"}), floats("d", {3, 3}, 1) + y("ScatterElements", {"d", "i", "m"}), "the indices do not fit the data"},
      {y("ScatterElements", {"m", "i", "m"}, attr("reduction", llvm::StringRef("add"))),
       floats("d", {3, 5}, 1) + y("ScatterElements", {"d", "i", "m"}, attr("reduction", llvm::StringRef("add"))), "reduction add with indices that do not cover the data"},
      {floats("u", {}, 1) + yc("ScatterND", {"m", "c", "u"}, {2, 3}), floats("u", {}, 1) + yc("ScatterND", {"m", "c", "u"}, {2, 3, 1}), "the indices do not fit the data"},
      {floats("u", {4}, 1) + yc("ScatterND", {"m", "c", "u"}, {2}), floats("u", {3}, 1) + yc("ScatterND", {"m", "c", "u"}, {2}), "the updates do not fit the indices"},
      {floats("u", {}, 1) + yc("ScatterND", {"m", "c", "u"}, {2, 3}), floats("u", {}, 1) + yc("ScatterND", {"m", "c", "u"}, {2, 4}), "index 4 is outside a dimension of size 4"},
      {floats("u", {4}, 1) + yc("ScatterND", {"m", "c", "u"}, {2}), floats("u", {4}, 1) + y("ScatterND", {"m", "v", "u"}), "data, integer indices and updates expected"},
  });
}

TEST_F(OpsRefusalsTest, AttentionForms) {
  std::string past = floats("p", {1, 2, 5, 4}, 1), other = floats("p", {1, 3, 5, 4}, 1), short4 = floats("z", {1, 2, 4, 4}, 1), flat = floats("p", {2, 5, 4}, 1);
  std::string heads = a("q_num_heads", 2) + a("kv_num_heads", 2), table = floats("f", {3, 2}, 1), wide = floats("f", {4, 2}, 1);
  auto qkv = [](std::vector<std::string> rest, const std::string &attributes = "") {
    std::vector<std::string> inputs = {"q", "q", "q"};
    inputs.insert(inputs.end(), rest.begin(), rest.end());
    return y("Attention", inputs, attributes);
  };
  check({
      {qkv({}), y("Attention", {"i", "i", "i"}), "real query, key and value expected", 23},
      {y("Attention", {"t", "t", "t"}, heads), y("Attention", {"t", "t", "t"}), "inputs of rank 4, or of rank 3 with the number of heads, expected", 23},
      {y("Attention", {"t", "t", "t"}, heads), y("Attention", {"t", "t", "t"}, a("q_num_heads", 3) + a("kv_num_heads", 2)), "inputs of rank 4, or of rank 3", 23},
      {qkv({}), floats("z", {1, 2, 3, 5}, 1) + y("Attention", {"q", "z", "q"}), "query, key and value do not fit each other", 23},
      {floats("z", {1, 2, 3, 5}, 1) + y("Attention", {"q", "q", "z"}), floats("z", {1, 2, 4, 4}, 1) + y("Attention", {"q", "q", "z"}), "query, key and value do not fit each other", 23},
      {floats("z", {1, 1, 3, 4}, 1) + y("Attention", {"q", "z", "z"}), floats("z", {1, 3, 3, 4}, 1) + y("Attention", {"q", "z", "z"}), "query, key and value do not fit each other", 23},
      {past + qkv({"", "p", "p"}), past + qkv({"", "p"}), "a past of the keys and of the values expected, or neither", 23},
      {past + qkv({"", "p", "p"}), flat + qkv({"", "p", "p"}), "a past of rank 4 expected", 23},
      {past + qkv({"", "p", "p"}), past + short4 + qkv({"", "p", "z"}), "a past of rank 4 expected", 23},
      {past + qkv({"", "p", "p"}), other + qkv({"", "p", "p"}), "the past does not fit the keys and values", 23},
      {floats("z", {3, 3}, 1) + qkv({"z"}), qkv({"s"}), "a mask of rank 0", 23},
      {floats("z", {1, 1, 3, 3}, 1) + qkv({"z"}), floats("z", {1, 1, 1, 3, 3}, 1) + qkv({"z"}), "a mask of rank 5", 23},
      {floats("z", {2, 3, 3}, 1) + qkv({"z"}), floats("z", {3, 3, 3}, 1) + qkv({"z"}), "the mask does not fit the scores", 23},
      {qkv({}, attr("softcap", 0.0)), qkv({}, attr("softcap", -1.0)), "a negative softcap", 23},
      {table + y("RotaryEmbedding", {"q", "f", "f"}), table + y("RotaryEmbedding", {"i", "f", "f"}), "a real input and two tables expected", 23},
      {floats("f", {1, 3, 2}, 1) + y("RotaryEmbedding", {"q", "f", "f"}), floats("f", {1, 4, 2}, 1) + y("RotaryEmbedding", {"q", "f", "f"}), "the cos and sin tables do not fit the input", 23},
  });
}

TEST_F(OpsRefusalsTest, Losses) {
  std::string classes = floats("c4", {4}, 1), c3 = floats("c3", {3}, 1), labels = value("input", "l", 7, {"3"}), more = value("input", "l", 7, {"2"});
  check({
      {labels + y("SoftmaxCrossEntropyLoss", {"m", "l"}), labels + y("SoftmaxCrossEntropyLoss", {"i", "l"}), "logits and integer labels expected"},
      {labels + y("SoftmaxCrossEntropyLoss", {"m", "l"}), y("SoftmaxCrossEntropyLoss", {"m", "i"}), "logits and integer labels expected"},
      {labels + y("SoftmaxCrossEntropyLoss", {"m", "l"}), c3 + y("SoftmaxCrossEntropyLoss", {"m", "c3"}), "logits and integer labels expected"},
      {labels + y("SoftmaxCrossEntropyLoss", {"m", "l"}), more + y("SoftmaxCrossEntropyLoss", {"m", "l"}), "labels and logits differ in shape"},
      {labels + classes + y("SoftmaxCrossEntropyLoss", {"m", "l", "c4"}), labels + c3 + y("SoftmaxCrossEntropyLoss", {"m", "l", "c3"}), "one weight per class expected"},
      {labels + classes + y("SoftmaxCrossEntropyLoss", {"m", "l", "c4"}), labels + y("SoftmaxCrossEntropyLoss", {"m", "l", "s"}), "one weight per class expected"},
  });
}

} // namespace
} // namespace llmc::test
