//===- DeepSpeedKeysTest.cpp - DeepSpeed's keys, value by value ------===//
#include "frontends/recipe/RecipeParser.h"
#include "llvm/ADT/STLExtras.h"
#include <gtest/gtest.h>

namespace llmc::recipe {
namespace {

ParsedRecipe parse(const std::string &text) { return parseRecipe(llvm::MemoryBufferRef(text, "ds.json")); }

bool hasNote(const ParsedRecipe &parsed, llvm::StringRef part) {
  return llvm::any_of(parsed.notes, [&](const std::string &note) { return llvm::StringRef(note).contains(part); });
}

/// `inner` at the end of a path of mappings: {"a": {"b": inner}}.
std::string nested(llvm::StringRef path, llvm::StringRef inner) {
  auto [first, rest] = path.split('.');
  return "{\"" + first.str() + "\": " + (rest.empty() ? inner.str() : nested(rest, inner)) + "}";
}

// A key that would change numbers is taken at the values that leave them alone and refused by its path at all others; with "llmc"
// deciding what it stands for, it does not matter. Each such key is listed.
TEST(DeepSpeedKeysTest, NeutralValues) {
  struct Case {
    const char *path;
    std::vector<const char *> taken, refused;
    const char *instead = nullptr; // what "llmc" says instead
  };
  std::vector<const char *> off = {"false", "{}", R"({"enabled": false})"}, on = {"true", R"({"enabled": true})"};
  const char *optimizer = R"("optimizer": {"sgd": {"lr": 1}})", *mesh = R"("mesh": {"dp": 1})", *batch = R"("batch": {"step": 4})", *precision = R"("precision": "fp32")";
  std::vector<Case> cases = {
      {"amp", off, on, precision},
      {"torch_autocast", off, on, precision},
      {"elasticity", off, on, batch},
      {"compression_training", {"{}", R"({"weight_quantization": {"shared_parameters": {"enabled": false}}})"}, {R"({"weight_quantization": {"shared_parameters": {"enabled": true}}})"}},
      {"quantize_training", off, on},
      {"weight_quantization", off, on},
      {"data_efficiency", off, {"true", R"({"data_sampling": {"enabled": true}})"}},
      {"curriculum_learning", off, on},
      {"progressive_layer_drop", off, on},
      {"eigenvalue", off, on},
      {"sparse_attention", {"false"}, {"true", R"({"mode": "fixed"})"}},
      {"data_types", {"{}", R"({"grad_accum_dtype": "fp32"})", R"({"grad_accum_dtype": null})"}, {R"({"grad_accum_dtype": "bf16"})"}},
      {"communication_data_type", {"\"fp32\"", "\"float32\""}, {"\"fp16\"", "\"bfp16\""}},
      {"seq_parallel_communication_data_type", {"\"fp32\"", "\"float32\""}, {"\"fp16\""}},
      {"sequence_parallel_size", {"1"}, {"2", "0"}, mesh},
      {"tensor_parallel", {"{}", R"({"autotp_size": 0})", R"({"autotp_size": 1})", R"({"tp": {"tp_size": 1}})"}, {R"({"autotp_size": 2})", R"({"tp": {"tp_size": 4}})"}, mesh},
      {"zero_optimization.cpu_offload", {"false"}, {"true"}},
      {"zero_optimization.cpu_offload_params", {"false"}, {"true"}},
      {"zero_optimization.zero_quantized_weights", {"false"}, {"true"}},
      {"zero_optimization.zero_quantized_nontrainable_weights", {"false"}, {"true"}},
      {"zero_optimization.zero_quantized_gradients", {"false"}, {"true"}},
      {"zero_optimization.zeropp_loco_param", {"{}"}, {"true"}},
      {"fp16.fp16_master_weights_and_grads", {"false"}, {"true"}},
      {"bf16.bf16_master_weights_and_grads", {"false"}, {"true"}},
      {"bf16.bf16_optimizer_states", {"false"}, {"true"}}};
  for (const Case &each : cases) {
    for (const char *value : each.taken) {
      ParsedRecipe parsed = parse(nested(each.path, value));
      EXPECT_TRUE(parsed.problems.empty()) << each.path << ": " << value << "\n" << (parsed.problems.empty() ? "" : parsed.problems[0].text());
    }
    for (const char *value : each.refused) {
      ParsedRecipe parsed = parse(nested(each.path, value));
      ASSERT_EQ(parsed.problems.size(), 1u) << each.path << ": " << value;
      EXPECT_NE(parsed.problems[0].text().find("`" + std::string(each.path) + "` is not supported: "), std::string::npos) << parsed.problems[0].text();
      EXPECT_FALSE(parsed.problems[0].hint.empty());
      if (each.instead) {
        std::string text = nested(each.path, value);
        text.insert(text.size() - 1, std::string(", \"llmc\": {") + each.instead + "}");
        EXPECT_TRUE(parse(text).problems.empty()) << text;
      }
    }
  }
  for (auto [type, key, taken, refused] : {std::tuple("Adam", "bias_correction", "true", "false"), std::tuple("AdamW", "bias_correction", "true", "false"),
                                           std::tuple("AdamW", "amsgrad", "false", "true"), std::tuple("AdamW", "maximize", "false", "true"),
                                           std::tuple("SGD", "dampening", "0", "0.1"), std::tuple("SGD", "dampening", "0.0", "1"), std::tuple("SGD", "maximize", "false", "true")}) {
    auto text = [&](const char *value) { return std::string(R"("optimizer": {"type": ")") + type + R"(", "params": {")" + key + "\": " + value + "}}"; };
    EXPECT_TRUE(parse("{" + text(taken) + "}").problems.empty()) << key;
    ASSERT_EQ(parse("{" + text(refused) + "}").problems.size(), 1u) << key;
    EXPECT_NE(parse("{" + text(refused) + "}").problems[0].text().find("`optimizer.params." + std::string(key) + "` is not supported: "), std::string::npos);
    EXPECT_TRUE(parse("{" + text(refused) + ", \"llmc\": {" + optimizer + "}}").problems.empty()) << key;
  }
}

// State stays on the device: other places are refused by name, whatever else is said of them.
TEST(DeepSpeedKeysTest, Offload) {
  for (std::string what : {"offload_optimizer", "offload_param"}) {
    std::string path = "zero_optimization." + what;
    for (const char *device : {"cpu", "nvme"}) {
      ParsedRecipe parsed = parse(nested(path, std::string(R"({"device": ")") + device + R"(", "pin_memory": true})"));
      ASSERT_EQ(parsed.problems.size(), 1u);
      EXPECT_NE(parsed.problems[0].text().find("`" + path + ": {device: " + device + "}` is not supported yet"), std::string::npos) << parsed.problems[0].text();
      EXPECT_NE(parsed.problems[0].hint.find("remove `" + what + "`"), std::string::npos);
    }
    EXPECT_TRUE(parse(nested(path, R"({"device": "none", "pin_memory": true})")).problems.empty());
    EXPECT_TRUE(parse(nested(path, "{}")).problems.empty());
    EXPECT_EQ(parse(nested(path, R"({"device": "gpu"})")).problems.size(), 1u);
  }
}

TEST(DeepSpeedKeysTest, Numbers) {
  EXPECT_EQ(parse(R"({"gradient_clipping": 0})").recipe.clipGradNorm, std::nullopt); // DeepSpeed's way to have none
  EXPECT_EQ(parse(R"({"gradient_clipping": 0.5})").recipe.clipGradNorm, 0.5);
  EXPECT_EQ(parse(R"({"gradient_clipping": -1})").problems.size(), 1u);
  EXPECT_EQ(parse(R"({"seed": 5})").recipe.seed, 5u);
  EXPECT_EQ(parse(R"({"seed": 0})").recipe.seed, 0u);
  EXPECT_EQ(parse(R"({"seed": -1})").problems.size(), 1u);
  EXPECT_EQ(parse(R"({"seed": 5, "llmc": {"seed": 6}})").recipe.seed, 6u); // `llmc` decides
  for (int stage : {0, 1, 2, 3})
    EXPECT_EQ(parse(R"({"zero_optimization": {"stage": )" + std::to_string(stage) + "}}").recipe.zero, stage);
  EXPECT_EQ(parse(R"({"zero_optimization": {"stage": 4}})").problems.size(), 1u);
  EXPECT_TRUE(parse(R"({"fp16": {"enabled": true}, "llmc": {"precision": "fp32"}})").problems.empty());
  train::Optimizer sgd = parse(R"({"optimizer": {"type": "SGD", "params": {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.2}}})").recipe.optimizer;
  EXPECT_EQ(std::tuple(sgd.kind, sgd.lr, sgd.momentum, sgd.weightDecay, sgd.nesterov), std::tuple(train::Optimizer::Sgd, 0.1, 0.8, 0.2, false));
  train::Optimizer adam = parse(R"({"optimizer": {"type": "AdamW", "params": {"lr": 0.1, "betas": [0.8, 0.95], "eps": 1e-6}}})").recipe.optimizer;
  EXPECT_EQ(std::tuple(adam.kind, adam.lr, adam.beta1, adam.beta2, adam.eps), std::tuple(train::Optimizer::AdamW, 0.1, 0.8, 0.95, 1e-6));
  EXPECT_NE(parse(R"({"optimizer": {"params": {"lr": 1}}})").problems.at(0).text().find("`optimizer` has no `type`"), std::string::npos);
  EXPECT_NE(parse(R"({"optimizer": {"type": "AdanW"}})").problems.at(0).hint.find("did you mean `AdamW`?"), std::string::npos);
}

// DeepSpeed's three schedules, with its defaults where a parameter is absent.
TEST(DeepSpeedKeysTest, Schedulers) {
  auto parsed = [](const std::string &type, const std::string &params, const std::string &more = "") {
    return parse(R"({"optimizer": {"type": "AdamW", "params": {"lr": 0.5}}, "scheduler": {"type": ")" + type + R"(", "params": {)" + params + "}}" + more + "}");
  };
  using train::Schedule;
  struct Case {
    const char *type, *params;
    Schedule::Kind kind;
    int64_t warmup, total;
    double peak, last;
    bool saysPeak; // in a note
  };
  for (const Case &each : std::vector<Case>{
           {"WarmupLR", "", Schedule::Constant, 0, 0, 1e-3, 0, true},
           {"WarmupLR", R"("warmup_max_lr": 0.2, "warmup_num_steps": 7, "warmup_type": "linear")", Schedule::Constant, 7, 0, 0.2, 0, false},
           {"WarmupLR", R"("warmup_max_lr": "auto")", Schedule::Constant, 0, 0, 0.5, 0, false}, // the optimizer's
           {"WarmupLR", R"("warmup_min_lr": 0, "last_batch_iteration": -1)", Schedule::Constant, 0, 0, 1e-3, 0, true},
           {"WarmupDecayLR", R"("total_num_steps": 90)", Schedule::Linear, 0, 90, 1e-3, 0, true},
           {"WarmupDecayLR", R"("total_num_steps": 90, "warmup_max_lr": 0.2, "warmup_num_steps": 9, "warmup_type": "linear")", Schedule::Linear, 9, 90, 0.2, 0, false},
           {"WarmupCosineLR", R"("total_num_steps": 90)", Schedule::Cosine, 0, 90, 0.5, 0.5e-4, false},
           {"WarmupCosineLR", R"("total_num_steps": 90, "cos_min_ratio": 0.2, "warmup_min_ratio": 0)", Schedule::Cosine, 0, 90, 0.5, 0.1, false},
           {"WarmupCosineLR", R"("total_num_steps": 90, "cos_min_ratio": 0, "warmup_num_steps": 3, "warmup_type": "linear")", Schedule::Cosine, 3, 90, 0.5, 0, false}}) {
    ParsedRecipe found = parsed(each.type, each.params);
    ASSERT_TRUE(found.problems.empty()) << each.type << each.params << found.problems[0].text();
    const Schedule &s = found.recipe.schedule;
    EXPECT_EQ(std::tuple(s.kind, s.warmupSteps, s.totalSteps), std::tuple(each.kind, each.warmup, each.total)) << each.type << each.params;
    EXPECT_DOUBLE_EQ(s.minLr, each.last) << each.type << each.params;
    EXPECT_EQ(found.recipe.optimizer.lr, each.peak) << each.type << each.params;
    EXPECT_EQ(hasNote(found, "`scheduler.params.warmup_max_lr` is 0.001"), each.saysPeak) << each.type << each.params;
    EXPECT_EQ(hasNote(found, "DeepSpeed's is one step behind"), each.warmup > 0) << each.type << each.params;
    // `llmc` replaces the schedule, and then the optimizer's rate is the peak.
    ParsedRecipe own = parsed(each.type, each.params, R"(, "llmc": {"schedule": {"constant": {"warmup_steps": 2}}})");
    ASSERT_TRUE(own.problems.empty()) << own.problems[0].text();
    EXPECT_EQ(std::tuple(own.recipe.schedule.kind, own.recipe.schedule.warmupSteps, own.recipe.optimizer.lr, own.recipe.schedule.minLr), std::tuple(Schedule::Constant, 2, 0.5, 0.0));
  }
  for (auto [type, params, part] : {std::tuple("WarmupLR", R"("warmup_min_lr": 0.1)", "a warm-up that does not begin at 0"),
                                    std::tuple("WarmupDecayLR", R"("total_num_steps": 9, "warmup_min_lr": 0.1)", "a warm-up that does not begin at 0"),
                                    std::tuple("WarmupCosineLR", R"("total_num_steps": 9, "warmup_min_ratio": 0.1)", "a warm-up that does not begin at 0"),
                                    std::tuple("WarmupDecayLR", R"("total_num_steps": 9, "warmup_num_steps": 1)", "`scheduler.params.warmup_type: log`"),
                                    std::tuple("WarmupLR", R"("warmup_num_steps": 1, "warmup_type": "log")", "`scheduler.params.warmup_type: log`"),
                                    std::tuple("WarmupDecayLR", "", "total_steps"), std::tuple("WarmupCosineLR", "", "total_steps"),
                                    std::tuple("WarmupCosineLR", R"("total_num_steps": "auto")", "`scheduler.params.total_num_steps: auto`"),
                                    std::tuple("WarmupDecayLR", R"("total_num_steps": 0)", "at least 1"), std::tuple("WarmupLR", R"("total_num_steps": 9)", "total_num_steps"),
                                    std::tuple("WarmupCosineLR", R"("total_num_steps": 9, "warmup_max_lr": 0.1)", "warmup_max_lr"),
                                    std::tuple("WarmupLR", R"("cos_min_ratio": 0.1)", "cos_min_ratio")}) {
    ParsedRecipe found = parsed(type, params);
    ASSERT_EQ(found.problems.size(), 1u) << type << params;
    EXPECT_NE(found.problems[0].text().find(part), std::string::npos) << found.problems[0].text();
  }
}

// Without several ranks ZeRO cuts nothing, which is said; keys that only steer DeepSpeed's runtime are named and change nothing.
TEST(DeepSpeedKeysTest, Notes) {
  EXPECT_TRUE(hasNote(parse(R"({"train_batch_size": 4, "zero_optimization": {"stage": 2}})"), "`zero_optimization.stage` cuts nothing on one rank"));
  EXPECT_FALSE(hasNote(parse(R"({"train_batch_size": 4, "zero_optimization": {"stage": 0}})"), "cuts nothing"));
  EXPECT_FALSE(hasNote(parse(R"({"train_batch_size": 4, "zero_optimization": {"stage": 2}, "llmc": {"mesh": {"dp": 2}}})"), "cuts nothing"));
  ParsedRecipe several = parse(R"({"train_batch_size": 12, "train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 2, "zero_optimization": {"stage": 2}})");
  EXPECT_TRUE(hasNote(several, "mesh: {dp: 3}, since train_batch_size is 3 times"));
  EXPECT_TRUE(hasNote(several, "`mpirun -n 3`"));
  EXPECT_FALSE(hasNote(several, "cuts nothing"));
  for (const char *path : {"steps_per_print", "zero_optimization.overlap_comm", "fp16.loss_scale", "zero_optimization.offload_optimizer.pin_memory"})
    EXPECT_TRUE(hasNote(parse(nested(path, "1")), "`" + std::string(path) + "` only concerns DeepSpeed's runtime: ignored")) << path;
  EXPECT_TRUE(hasNote(parse(R"({"optimizer": {"type": "AdamW", "params": {"weight_decay": 0.1}}})"), "weight decay applies to all parameters"));
  EXPECT_FALSE(hasNote(parse(R"({"optimizer": {"type": "AdamW"}})"), "weight decay applies"));
}

} // namespace
} // namespace llmc::recipe
