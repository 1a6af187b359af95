//===- AttentionText.h - attention kernels as text ------------------------------*- C++ -*-===//
#ifndef LLMC_TEST_COMPILER_CODEGEN_ATTENTIONTEXT_H
#define LLMC_TEST_COMPILER_CODEGEN_ATTENTIONTEXT_H

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace llmc::test {

struct AttentionShape {
  enum Mask { None, Seen, Additive };
  int64_t B, T, H, D, S, G, E;
  bool causal = true;
  Mask mask = None;
  int64_t maskBatch = 1, maskHeads = 1;
  bool fused = false; // query, key and value are slices of one tensor [B, T, .], their gradients are concatenated
  const char *element = "f32"; // of all tensors but lse
};

inline std::string tensorText(std::initializer_list<int64_t> shape, const char *element = "f32") {
  std::string text = "tensor<";
  for (int64_t size : shape)
    text += std::to_string(size) + "x";
  return text + element + ">";
}

/// Text of the module with kernel @k of nn.attention, or of nn.attention_backward with arguments result, lse, cotangent
/// after query, key and value (or the fused tensor) and before the mask.
inline std::string attentionText(const AttentionShape &s, bool backward) {
  auto number = [](int64_t value) { return std::to_string(value); };
  int64_t q = s.H * s.D, k = s.G * s.D, v = s.G * s.E;
  auto typeOf = [&](std::initializer_list<int64_t> shape) { return tensorText(shape, s.element); };
  std::string qType = typeOf({s.B, s.T, s.H, s.D}), kType = typeOf({s.B, s.S, s.G, s.D}), vType = typeOf({s.B, s.S, s.G, s.E}),
              yType = typeOf({s.B, s.T, s.H, s.E}), lseType = tensorText({s.B, s.H, s.T}), fusedType = typeOf({s.B, s.T, q + k + v});
  std::string maskType = tensorText({s.maskBatch, s.maskHeads, s.T, s.S}, s.mask == AttentionShape::Seen ? "i1" : s.element);
  std::string arguments = s.fused ? "%qkv: " + fusedType : "%q: " + qType + ", %k: " + kType + ", %v: " + vType;
  if (backward)
    arguments += ", %y: " + yType + ", %lse: " + lseType + ", %dy: " + yType;
  if (s.mask != AttentionShape::None)
    arguments += ", %m: " + maskType;
  std::string body;
  auto part = [&](const std::string &name, int64_t at, int64_t width, int64_t heads, const std::string &type) {
    std::string flat = typeOf({s.B, s.T, width});
    body += "  %" + name + "f = tensor.extract_slice %qkv[0, 0, " + number(at) + "] [" + number(s.B) + ", " + number(s.T) + ", " + number(width) +
            "] [1, 1, 1] : " + fusedType + " to " + flat + "\n  %" + name + " = tensor.expand_shape %" + name + "f [[0], [1], [2, 3]] output_shape [" +
            number(s.B) + ", " + number(s.T) + ", " + number(heads) + ", " + number(width / heads) + "] : " + flat + " into " + type + "\n";
  };
  if (s.fused) {
    part("q", 0, q, s.H, qType);
    part("k", q, k, s.G, kType);
    part("v", q + k, v, s.G, vType);
  }
  std::string mask = s.mask == AttentionShape::None ? "" : ", %m", maskOf = s.mask == AttentionShape::None ? "" : ", " + maskType;
  std::string attributes = " {scale = " + std::to_string(1 / std::sqrt(static_cast<double>(s.D))) + " : f64, causal = " + (s.causal ? "true" : "false") + "} : (";
  std::string results;
  if (!backward) {
    body += "  %o, %l = nn.attention %q, %k, %v" + mask + attributes +
            qType + ", " + kType + ", " + vType + maskOf + ") -> (" + yType + ", " + lseType + ")\n";
    std::string flat = typeOf({s.B, s.T, s.H * s.E});
    body += "  %of = tensor.collapse_shape %o [[0], [1], [2, 3]] : " + yType + " into " + flat + "\n";
    results = flat + ", " + lseType;
    body += "  return %of, %l : " + results + "\n";
  } else {
    body += "  %a, %b, %c = nn.attention_backward %q, %k, %v, %y, %lse, %dy" + mask + attributes + qType + ", " + kType + ", " + vType + ", " + yType +
            ", " + lseType + ", " + yType + maskOf + ") -> (" + qType + ", " + kType + ", " + vType + ")\n";
    results = qType + ", " + kType + ", " + vType;
    if (s.fused) {
      auto collapse = [&](const std::string &name, const std::string &type, int64_t width) {
        body += "  %" + name + "f = tensor.collapse_shape %" + name + " [[0], [1], [2, 3]] : " + type + " into " + typeOf({s.B, s.T, width}) + "\n";
      };
      collapse("a", qType, q), collapse("b", kType, k), collapse("c", vType, v);
      body += "  %g = tensor.concat dim(2) %af, %bf, %cf : (" + typeOf({s.B, s.T, q}) + ", " + typeOf({s.B, s.T, k}) + ", " +
              typeOf({s.B, s.T, v}) + ") -> " + fusedType + "\n";
      results = fusedType;
      body += "  return %g : " + results + "\n";
    } else {
      body += "  return %a, %b, %c : " + results + "\n";
    }
  }
  return "func.func private @k(" + arguments + ") -> (" + results + ") {\n" + body + "}\n";
}

} // namespace llmc::test

#endif // LLMC_TEST_COMPILER_CODEGEN_ATTENTIONTEXT_H
