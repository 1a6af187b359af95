//===- RecipePrinter.cpp - a recipe as text, and its keys explained ---===//
#include "frontends/recipe/RecipePrinter.h"
#include "frontends/recipe/Binder.h"
#include "frontends/recipe/Keys.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"
#include <charconv>

using llvm::StringRef;
using namespace llmc;
using namespace llmc::recipe;

namespace {

/// The shortest text that reads back as the same number.
std::string numberText(double value) {
  char text[64];
  auto [end, error] = std::to_chars(text, text + sizeof(text), value);
  return error == std::errc() ? std::string(text, end) : "0";
}

std::string quote(StringRef text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      out += '\\';
    out += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return out + "\"";
}

template <typename Range, typename Print> std::string listText(const Range &range, Print print) {
  std::string text = "[";
  for (auto &item : range)
    text += (text.size() > 1 ? ", " : "") + print(item);
  return text + "]";
}

std::string quotedList(const std::vector<std::string> &words) {
  return listText(words, [](const std::string &word) { return quote(word); });
}

const char *boolText(bool value) { return value ? "true" : "false"; }

class Printer {
public:
  explicit Printer(const train::Recipe &r) : r(r) {}

  std::string run() {
    line("loss", loss());
    line("loss_average", r.lossAverage == train::LossAverage::Tokens ? "tokens" : "micro_batch");
    mapping("data", r.data, [](const train::DataSource &source) { return sourceText(source); });
    mapping("shapes", r.shapes, [](int64_t size) { return std::to_string(size); });
    batch();
    line("optimizer", optimizer());
    line("schedule", schedule());
    if (r.clipGradNorm)
      line("clip_grad_norm", numberText(*r.clipGradNorm));
    line("precision", r.precision);
    ranks();
    memory();
    parameters();
    if (llvm::any_of(r.data, [](auto &entry) { return entry.second.isTokens(); }))
      line("shuffle", boolText(r.shuffle));
    if (!r.predict.empty())
      line("predict", quote(r.predict));
    line("seed", std::to_string(r.seed));
    return std::move(text);
  }

private:
  void line(StringRef key, const std::string &value) { text += (key + ": " + value + "\n").str(); }

  template <typename T, typename Print> void mapping(StringRef key, const std::vector<std::pair<std::string, T>> &entries, Print print) {
    std::string body;
    for (auto &[name, value] : entries)
      body += (body.empty() ? "" : ", ") + quote(name) + ": " + print(value);
    if (!body.empty())
      line(key, "{" + body + "}");
  }

  static std::string sourceText(const train::DataSource &source) {
    std::string name = source.isTokens() ? "tokens" : source.array;
    name = quote(name + (source.isNext() ? ".next" : ""));
    return source.shiftedTwice ? "{source: " + name + ", shifted_twice: true}" : name;
  }

  std::string loss() const {
    const train::Loss &l = r.loss;
    std::string of = quote(l.prediction), with = quote(l.target);
    switch (l.kind) {
    case train::Loss::Output:
      return quote(l.output);
    case train::Loss::CrossEntropy:
      return "{cross_entropy: {" + std::string(l.probabilities ? "probabilities" : "logits") + ": " + of + ", labels: " + with +
             (l.ignoreIndex ? ", ignore_index: " + std::to_string(*l.ignoreIndex) : "") + "}}";
    case train::Loss::Mse:
      return "{mse: {prediction: " + of + ", target: " + with + "}}";
    case train::Loss::L1:
      return "{l1: {prediction: " + of + ", target: " + with + "}}";
    case train::Loss::Huber:
      return "{huber: {prediction: " + of + ", target: " + with + ", delta: " + numberText(l.delta) + "}}";
    case train::Loss::BceWithLogits:
      return "{bce_with_logits: {logits: " + of + ", target: " + with + "}}";
    }
    return "";
  }

  void batch() {
    std::string micro = r.batch.autoMicro ? "auto" : r.batch.micro > 0 ? std::to_string(r.batch.micro) : "";
    std::string step = r.batch.step > 0 ? "step: " + std::to_string(r.batch.step) : "";
    if (!micro.empty())
      micro = (step.empty() ? "" : ", ") + ("micro: " + micro);
    if (!step.empty() || !micro.empty())
      line("batch", "{" + step + micro + "}");
  }

  std::string optimizer() const {
    const train::Optimizer &o = r.optimizer;
    std::string common = "lr: " + numberText(o.lr) + ", weight_decay: " + numberText(o.weightDecay) +
                         (o.noDecay ? ", no_decay: " + quotedList(*o.noDecay) : "");
    if (o.kind == train::Optimizer::Sgd)
      return "{sgd: {" + common + ", momentum: " + numberText(o.momentum) + ", nesterov: " + boolText(o.nesterov) + "}}";
    return "{adamw: {" + common + ", betas: [" + numberText(o.beta1) + ", " + numberText(o.beta2) + "], eps: " + numberText(o.eps) + "}}";
  }

  std::string schedule() const {
    const train::Schedule &s = r.schedule;
    bool constant = s.kind == train::Schedule::Constant;
    std::string name = constant ? "constant" : s.kind == train::Schedule::Linear ? "linear" : "cosine";
    return "{" + name + ": {warmup_steps: " + std::to_string(s.warmupSteps) + (s.totalSteps > 0 ? ", total_steps: " + std::to_string(s.totalSteps) : "") +
           (constant ? "" : ", min_lr: " + numberText(s.minLr)) + "}}";
  }

  void ranks() {
    mapping("mesh", r.mesh, [](int64_t size) { return std::to_string(size); });
    if (r.zero > 0)
      line("zero", std::to_string(r.zero));
    if (r.sequenceParallel)
      line("sequence_parallel", "true");
    std::string body;
    for (const train::ParameterSharding &entry : r.sharding)
      body += (body.empty() ? "" : ", ") + quote(entry.glob) + ": " + listText(entry.dims, quotedList);
    if (!body.empty())
      line("sharding", "{" + body + "}");
    if (!r.onnxSharding.empty())
      line("onnx_sharding", quote(r.onnxSharding));
    if (llvm::any_of(r.mesh, [](auto &axis) { return axis.second > 1; }))
      line("communication", "{bucket: " + std::to_string(r.bucket) + "B}");
  }

  void memory() {
    std::string budget = r.memoryBudget ? "budget: " + std::to_string(*r.memoryBudget) + "B, " : "";
    line("memory", "{" + budget + "recompute: " + r.recompute + ", offload: " + r.offload + "}");
  }

  void parameters() {
    if (!r.weights.empty())
      line("weights", quote(r.weights));
    std::string body;
    for (const train::Initializer &init : r.init)
      body += (body.empty() ? "" : ", ") + quote(init.glob) + ": " + quote(initializerText(init));
    if (!body.empty())
      line("init", "{" + body + "}");
    if (!r.trainable.empty())
      line("trainable", quotedList(r.trainable));
  }

  static std::string initializerText(const train::Initializer &init) {
    switch (init.kind) {
    case train::Initializer::Zeros:
      return "zeros";
    case train::Initializer::Ones:
      return "ones";
    case train::Initializer::Constant:
      return "constant(" + numberText(init.a) + ")";
    case train::Initializer::Normal:
      return "normal(" + numberText(init.b) + ")";
    case train::Initializer::Uniform:
      return "uniform(" + numberText(init.a) + ", " + numberText(init.b) + ")";
    }
    return "";
  }

  const train::Recipe &r;
  std::string text;
};

} // namespace

std::string recipe::printRecipe(const train::Recipe &recipe) { return Printer(recipe).run(); }

static std::string explain(const KeyInfo &key) {
  std::string text = key.path.str() + ": " + key.type.str();
  if (!key.fallback.empty())
    text += " (default " + key.fallback.str() + ")";
  text += "\n  " + key.text.str() + "\n";
  llvm::SmallVector<StringRef> lines;
  key.example.split(lines, '\n');
  for (auto [i, line] : llvm::enumerate(lines))
    text += (i == 0 ? "  example: " : "           ") + line.str() + "\n";
  return text;
}

std::string recipe::explainKey(StringRef path, std::string &near) {
  std::string text;
  bool exact = llvm::any_of(allKeys(), [&](const KeyInfo &key) { return key.path == path; });
  for (const KeyInfo &key : allKeys()) {
    bool below = key.path.starts_with((path + ".").str());
    if (exact ? key.path == path || below : key.name() == path)
      text += (text.empty() ? "" : "\n") + explain(key);
  }
  if (!text.empty())
    return text;
  llvm::SmallVector<StringRef> names;
  for (const KeyInfo &key : allKeys())
    names.append({key.path, key.name()});
  near = nearest(path, names);
  return "";
}

std::string recipe::keysAsMarkdown() {
  std::string text =
      "# Keys of a recipe\n\n"
      "<!-- Made from the parser's table by `llmc recipe --markdown`; a test compares the two. -->\n\n"
      "A recipe is one YAML file (JSON is YAML too). Unknown keys, wrong types and combinations that contradict each other or leave a key "
      "without effect\nare errors, all reported at once (exit code 3). `llmc recipe --explain KEY` prints what stands here; `llmc compile MODEL -r "
      "RECIPE\n--print-recipe` prints all values in force, as a recipe. Names that begin with `*` or contain `: ` need quotes.\n\n"
      "INPUT, DIMENSION and GLOB stand for names of yours. In globs `*` is any run of characters and `?` is one; each must match a parameter.\n\n";
  for (const KeyInfo &key : allKeys()) {
    size_t depth = key.path.count('.');
    text += std::string(2 + std::min<size_t>(depth, 2), '#') + " " + key.path.str() + "\n\n";
    text += key.type.str() + (key.fallback.empty() ? "" : "; default `" + key.fallback.str() + "`") + "\n\n" + key.text.str() + "\n\n";
    text += "```yaml\n" + key.example.str() + "\n```\n\n";
  }
  text.pop_back();
  return text;
}
