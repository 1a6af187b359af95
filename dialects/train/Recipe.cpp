//===- Recipe.cpp - the recipe as a module attribute ------------*- C++ -*-===//
//
// One visitor lists every field once; a writer and a reader run it, so that the two directions cannot drift apart.
//
//===----------------------------------------------------------------------===//
#include "dialects/train/Recipe.h"
#include "mlir/IR/Builders.h"
#include <type_traits>

using namespace mlir;
using namespace llmc::train;

namespace {

/// Calls `v(key, field)` for each field of `r`; `R` is Recipe or const Recipe.
template <typename V, typename R> void visitFields(V &v, R &r) {
  v("loss.kind", r.loss.kind);
  v("loss.output", r.loss.output);
  v("loss.prediction", r.loss.prediction);
  v("loss.target", r.loss.target);
  v("loss.probabilities", r.loss.probabilities);
  v("loss.ignore_index", r.loss.ignoreIndex);
  v("loss.delta", r.loss.delta);
  v("loss_average", r.lossAverage);
  v("data", r.data);
  v("shapes", r.shapes);
  v("batch.step", r.batch.step);
  v("batch.micro", r.batch.micro);
  v("batch.auto_micro", r.batch.autoMicro);
  v("optimizer.kind", r.optimizer.kind);
  v("optimizer.lr", r.optimizer.lr);
  v("optimizer.beta1", r.optimizer.beta1);
  v("optimizer.beta2", r.optimizer.beta2);
  v("optimizer.eps", r.optimizer.eps);
  v("optimizer.momentum", r.optimizer.momentum);
  v("optimizer.nesterov", r.optimizer.nesterov);
  v("optimizer.weight_decay", r.optimizer.weightDecay);
  v("optimizer.no_decay", r.optimizer.noDecay);
  v("schedule.kind", r.schedule.kind);
  v("schedule.warmup_steps", r.schedule.warmupSteps);
  v("schedule.total_steps", r.schedule.totalSteps);
  v("schedule.min_lr", r.schedule.minLr);
  v("clip_grad_norm", r.clipGradNorm);
  v("precision", r.precision);
  v("mesh", r.mesh);
  v("zero", r.zero);
  v("sequence_parallel", r.sequenceParallel);
  v("sharding", r.sharding);
  v("onnx_sharding", r.onnxSharding);
  v("model_sharding", r.modelSharding);
  v("communication.bucket", r.bucket);
  v("memory.budget", r.memoryBudget);
  v("memory.recompute", r.recompute);
  v("memory.offload", r.offload);
  v("weights", r.weights);
  v("init", r.init);
  v("trainable", r.trainable);
  v("shuffle", r.shuffle);
  v("predict", r.predict);
  v("seed", r.seed);
}

/// The fields of one list entry.
template <typename V, typename T> void visitEntry(V &v, T &e) {
  using Entry = std::remove_const_t<T>;
  if constexpr (std::is_same_v<Entry, DataSource>) {
    v("kind", e.kind);
    v("array", e.array);
    v("shifted_twice", e.shiftedTwice);
  } else if constexpr (std::is_same_v<Entry, Initializer>) {
    v("kind", e.kind);
    v("glob", e.glob);
    v("a", e.a);
    v("b", e.b);
  } else if constexpr (std::is_same_v<Entry, ParameterSharding>) {
    v("glob", e.glob);
    v("dims", e.dims);
    v("line", e.line);
  } else if constexpr (std::is_same_v<Entry, ModelSharding>) {
    v("kind", e.kind);
    v("tensor", e.tensor);
    v("node", e.node);
    v("output", e.output);
    v("outputs", e.outputs);
    v("shape", e.shape);
    v("dims", e.dims);
  } else if constexpr (std::is_same_v<Entry, ModelSharding::Axis>) {
    v("name", e.name);
    v("parts", e.parts);
  } else if constexpr (std::is_same_v<Entry, ModelSharding::Factor>) {
    v("size", e.size);
    v("axes", e.axes);
  } else { // std::pair<std::string, DataSource or int64_t>
    v("name", e.first);
    if constexpr (std::is_same_v<decltype(e.second), DataSource>)
      visitEntry(v, e.second);
    else
      v("value", e.second);
  }
}

struct Writer {
  explicit Writer(MLIRContext *context) : b(context) {}

  template <typename T> void operator()(StringRef key, const T &value) {
    if (Attribute attr = encode(value))
      entries.push_back(b.getNamedAttr(key, attr));
  }

  Attribute encode(const std::string &s) { return b.getStringAttr(s); }
  Attribute encode(bool v) { return b.getBoolAttr(v); }
  Attribute encode(double v) { return b.getF64FloatAttr(v); }
  Attribute encode(int64_t v) { return b.getI64IntegerAttr(v); }
  Attribute encode(uint64_t v) { return b.getI64IntegerAttr(static_cast<int64_t>(v)); }
  template <typename T> Attribute encode(const std::optional<T> &v) { return v ? encode(*v) : Attribute(); }
  template <typename T> Attribute encode(const std::vector<T> &list) {
    SmallVector<Attribute> items;
    for (const T &item : list)
      items.push_back(encode(item));
    return b.getArrayAttr(items);
  }
  template <typename T> Attribute encode(const T &v) {
    if constexpr (std::is_enum_v<T>) {
      return b.getI64IntegerAttr(static_cast<int64_t>(v));
    } else {
      Writer inner(b.getContext());
      visitEntry(inner, v);
      return b.getDictionaryAttr(inner.entries);
    }
  }

  Builder b;
  SmallVector<NamedAttribute> entries;
};

struct Reader {
  explicit Reader(DictionaryAttr attr) : attr(attr) {}

  template <typename T> void operator()(StringRef key, T &value) {
    Attribute entry = attr.get(key);
    if constexpr (IsOptional<T>::value) {
      value.reset();
      if (entry)
        ok &= decode(entry, value.emplace());
    } else {
      ok &= !entry || decode(entry, value);
    }
  }

  template <typename T> struct IsOptional : std::false_type {};
  template <typename T> struct IsOptional<std::optional<T>> : std::true_type {};

  static bool decode(Attribute a, std::string &s) {
    auto str = dyn_cast<StringAttr>(a);
    if (str)
      s = str.str();
    return static_cast<bool>(str);
  }
  static bool decode(Attribute a, bool &v) {
    auto attr = dyn_cast<BoolAttr>(a);
    if (attr)
      v = attr.getValue();
    return static_cast<bool>(attr);
  }
  static bool decode(Attribute a, double &v) {
    auto attr = dyn_cast<FloatAttr>(a);
    if (attr)
      v = attr.getValueAsDouble();
    return static_cast<bool>(attr);
  }
  static bool decode(Attribute a, int64_t &v) {
    auto attr = dyn_cast<IntegerAttr>(a);
    if (attr)
      v = attr.getInt();
    return static_cast<bool>(attr);
  }
  static bool decode(Attribute a, uint64_t &v) {
    int64_t i = 0;
    bool ok = decode(a, i);
    v = static_cast<uint64_t>(i);
    return ok;
  }
  template <typename T> static bool decode(Attribute a, std::vector<T> &list) {
    auto attr = dyn_cast<ArrayAttr>(a);
    list.clear();
    if (!attr)
      return false;
    for (Attribute item : attr)
      if (!decode(item, list.emplace_back()))
        return false;
    return true;
  }
  template <typename T> static bool decode(Attribute a, T &v) {
    if constexpr (std::is_enum_v<T>) {
      int64_t i = 0;
      bool ok = decode(a, i);
      v = static_cast<T>(i);
      return ok && i >= 0 && i <= 5; // no enum of the recipe has more values
    } else {
      auto dict = dyn_cast<DictionaryAttr>(a);
      if (!dict)
        return false;
      Reader inner(dict);
      visitEntry(inner, v);
      return inner.ok;
    }
  }

  DictionaryAttr attr;
  bool ok = true;
};

} // namespace

DictionaryAttr llmc::train::toAttribute(MLIRContext *context, const Recipe &recipe) {
  Writer writer(context);
  visitFields(writer, recipe);
  return DictionaryAttr::get(context, writer.entries);
}

FailureOr<Recipe> llmc::train::fromAttribute(DictionaryAttr attribute) {
  Recipe recipe;
  if (!attribute)
    return failure();
  Reader reader(attribute);
  visitFields(reader, recipe);
  if (!reader.ok)
    return failure();
  return recipe;
}

Recipe llmc::train::recipeOf(ModuleOp module) {
  auto attr = module->getAttrOfType<DictionaryAttr>("train.recipe");
  if (!attr)
    return Recipe();
  FailureOr<Recipe> recipe = fromAttribute(attr);
  return succeeded(recipe) ? *recipe : Recipe();
}

bool llmc::train::matchesGlob(llvm::StringRef glob, llvm::StringRef name) {
  // Greedy with one point of return: the last `*` may take one character more.
  size_t g = 0, n = 0, star = llvm::StringRef::npos, resume = 0;
  while (n < name.size()) {
    if (g < glob.size() && glob[g] == '*') {
      star = g++;
      resume = n;
    } else if (g < glob.size() && (glob[g] == '?' || glob[g] == name[n])) {
      ++g, ++n;
    } else if (star != llvm::StringRef::npos) {
      g = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (g < glob.size() && glob[g] == '*')
    ++g;
  return g == glob.size();
}

bool llmc::train::matchesAny(const std::vector<std::string> &globs, const std::vector<std::string> &names) {
  return llvm::any_of(globs, [&](const std::string &glob) {
    return llvm::any_of(names, [&](const std::string &name) { return matchesGlob(glob, name); });
  });
}

bool Optimizer::decays(const std::vector<std::string> &names, int64_t rank) const {
  return weightDecay != 0.0 && (noDecay ? !matchesAny(*noDecay, names) : rank >= 2);
}
