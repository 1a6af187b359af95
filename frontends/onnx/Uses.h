//===- Uses.h - what the use of an initializer says of it -------*- C++ -*-===//
#ifndef LLMC_FRONTENDS_ONNX_USES_H
#define LLMC_FRONTENDS_ONNX_USES_H

#include "frontends/onnx/Model.h"
#include "llvm/ADT/StringSet.h"

namespace llmc::onnx {

/// Whether an initializer is trained, as far as its uses tell.
struct Verdict {
  enum Kind { Constant, Unclear, Parameter, Buffer } kind = Constant; // a later one outweighs an earlier one
  std::string reason;                                                // in the user's words, naming a node
};

/// Judges real initializers of a file that does not say what its parameters are, by the operators that read them, directly
/// or through operators that only move elements.
///   - Weights of products and convolutions, tables that are looked up by data, scales and biases of normalizations, and what is
///     added to data, multiplied with it in one dimension, or joined with it are parameters.
///   - Statistics of BatchNormalization are buffers.
///   - Single numbers, masks, tables of sines and cosines, frequencies, and bounds are constants, whatever reads them but a
///     product or a normalization.
///   - A name as modules give them ("blocks.0.gamma") decides where the use does not.
class UseJudge {
public:
  explicit UseJudge(const Model &model);
  Verdict judge(const Tensor &tensor) const;
  /// How many nodes read a parameter or buffer all of whose elements are equal: more than one if an exporter merged equal ones.
  size_t countEqual(const Tensor &tensor) const;

private:
  struct Use {
    const Node *node;
    size_t operand;
  };

  void addUses(const Node &node);
  bool dependsOnData(llvm::StringRef name) const { return data.contains(name); }
  Verdict follow(llvm::StringRef value, const Tensor &tensor, unsigned depth) const;
  Verdict ofUse(const Use &use, const Tensor &tensor, unsigned depth) const;
  Verdict ofArithmetic(const Use &use, const Tensor &tensor) const;
  Verdict ofTable(const Use &use, const Tensor &tensor) const;
  bool feedsSoftmax(llvm::StringRef value, unsigned depth) const;
  bool isInput(llvm::StringRef value, unsigned depth) const;

  const Model &model;
  llvm::StringMap<std::vector<Use>> uses;
  llvm::StringMap<const Node *> producer;
  llvm::StringSet<> data; // values that depend on inputs of the graph
};

} // namespace llmc::onnx

#endif // LLMC_FRONTENDS_ONNX_USES_H
