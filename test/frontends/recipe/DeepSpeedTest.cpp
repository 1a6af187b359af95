//===- DeepSpeedTest.cpp - DeepSpeed configurations as recipes ------===//
#include "frontends/recipe/RecipeParser.h"
#include "frontends/recipe/RecipePrinter.h"
#include "llvm/ADT/STLExtras.h"
#include <gtest/gtest.h>

namespace llmc::recipe {
namespace {

ParsedRecipe parse(llvm::StringRef text) { return parseRecipe(llvm::MemoryBufferRef(text, "ds.json")); }

std::string problemsOf(llvm::StringRef text) {
  std::string all;
  for (const Problem &problem : parse(text).problems)
    all += problem.text();
  return all;
}

TEST(DeepSpeedTest, ReadsATypicalFile) {
  ParsedRecipe parsed = parse(R"({
    "train_batch_size": 32, "train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 4,
    "optimizer": {"type": "AdamW", "params": {"lr": 3e-4, "betas": [0.9, 0.95], "weight_decay": 0.1}},
    "scheduler": {"type": "WarmupCosineLR", "params": {"total_num_steps": 100, "warmup_num_steps": 10, "warmup_type": "linear", "cos_min_ratio": 0.1}},
    "gradient_clipping": 1.0, "fp16": {"enabled": false}, "bf16": {"enabled": false},
    "zero_optimization": {"stage": 2, "overlap_comm": true}, "steps_per_print": 10,
    "llmc": {"data": {"input_ids": "tokens", "labels": "tokens.next"}, "seed": 7}})");
  ASSERT_TRUE(parsed.problems.empty()) << parsed.problems[0].text();
  const train::Recipe &r = parsed.recipe;
  EXPECT_EQ(r.batch.step, 32);
  EXPECT_EQ(r.batch.micro, 8); // both data-parallel ranks together
  ASSERT_EQ(r.mesh.size(), 1u);
  EXPECT_EQ(r.mesh[0].second, 2);
  EXPECT_EQ(r.optimizer.eps, 1e-8);
  EXPECT_DOUBLE_EQ(r.schedule.minLr, 3e-5);
  EXPECT_EQ(r.clipGradNorm, 1.0);
  EXPECT_EQ(r.precision, "fp32");
  EXPECT_EQ(r.zero, 2);
  EXPECT_EQ(r.lossAverage, train::LossAverage::MicroBatch);
  EXPECT_EQ(r.data.size(), 2u);
  EXPECT_EQ(r.seed, 7u);
EXPECT_TRUE(r.optimizer.decays({"bias"}, 1)); // as DeepSpeed, which is given all parameters
  EXPECT_EQ(parsed.notes.size(), 6u); // averaging, decay, warm-up, ranks, overlap_comm, steps_per_print
}

TEST(DeepSpeedTest, RecognizedByItsKeys) {
  ParsedRecipe parsed = parseRecipe(llvm::MemoryBufferRef("{\"train_batch_size\": 8}", "recipe"));
  EXPECT_TRUE(parsed.problems.empty());
  EXPECT_EQ(parsed.recipe.batch.step, 8);
}

TEST(DeepSpeedTest, BadFiles) {
  EXPECT_NE(problemsOf(R"({"train_batchsize": 8})").find("did you mean `train_batch_size`?"), std::string::npos);
  EXPECT_NE(problemsOf(R"({"train_batch_size": "many"})").find("must be an integer"), std::string::npos);
  EXPECT_NE(problemsOf(R"({"train_batch_size": 7, "train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 2})")
                .find("no multiple"),
            std::string::npos);
  EXPECT_NE(problemsOf(R"({"optimizer": {"type": "Lion"}})").find("`optimizer.type: Lion` is not supported"), std::string::npos);
  EXPECT_NE(problemsOf(R"({"optimizer": {"type": "Adam", "params": {"adam_w_mode": false, "weight_decay": 0.1}}})")
                .find("adam_w_mode"),
            std::string::npos);
  EXPECT_NE(problemsOf(R"({"scheduler": {"type": "WarmupLR", "params": {"warmup_min_lr": 0.1}}})").find("begin at 0"),
            std::string::npos);
}

bool hasNote(const ParsedRecipe &parsed, llvm::StringRef part) {
  return llvm::any_of(parsed.notes, [&](const std::string &note) { return llvm::StringRef(note).contains(part); });
}

// Hugging Face's Trainer fills `auto` in: its defaults, each with a note, and errors where there is none.
TEST(DeepSpeedTest, Automatic) {
  ParsedRecipe parsed = parse(R"({"fp16": {"enabled": "auto"}, "bf16": {"enabled": "auto"},
    "optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": "auto", "eps": "auto", "weight_decay": "auto"}},
    "scheduler": {"type": "WarmupLR", "params": {"warmup_min_lr": "auto", "warmup_max_lr": "auto", "warmup_num_steps": "auto"}},
    "gradient_accumulation_steps": "auto", "gradient_clipping": "auto", "train_batch_size": "auto", "train_micro_batch_size_per_gpu": "auto"})");
  ASSERT_TRUE(parsed.problems.empty()) << parsed.problems[0].text();
  const train::Recipe &r = parsed.recipe;
  EXPECT_EQ(r.optimizer.lr, 5e-5);
  EXPECT_EQ(r.optimizer.beta1, 0.9);
  EXPECT_EQ(r.optimizer.beta2, 0.999);
  EXPECT_EQ(r.optimizer.eps, 1e-8);
  EXPECT_EQ(r.optimizer.weightDecay, 0);
  EXPECT_EQ(r.clipGradNorm, 1.0);
  EXPECT_EQ(r.schedule.warmupSteps, 0);
  EXPECT_EQ(r.batch.step, 0); // as exported
  EXPECT_EQ(r.batch.micro, 0);
  EXPECT_EQ(r.precision, "fp32");
  for (const char *part : {"`optimizer.params.lr: auto` is 5e-5", "betas: auto` is [0.9, 0.999]", "eps: auto` is 1e-8", "weight_decay: auto` is 0",
                           "`gradient_clipping: auto` is 1,", "`train_batch_size: auto` follows", "`fp16.enabled: auto` is false", "warmup_num_steps: auto` is 0"})
    EXPECT_TRUE(hasNote(parsed, part)) << part;
  EXPECT_NE(problemsOf(R"({"scheduler": {"type": "WarmupDecayLR", "params": {"total_num_steps": "auto"}}})").find("write the number of steps"), std::string::npos);
}

// train_batch_size = train_micro_batch_size_per_gpu * gradient_accumulation_steps * ranks.
TEST(DeepSpeedTest, BatchIdentity) {
  auto batch = [](llvm::StringRef text) {
    ParsedRecipe parsed = parse(text);
    EXPECT_TRUE(parsed.problems.empty()) << text.str() << (parsed.problems.empty() ? "" : parsed.problems[0].text());
    int64_t ranks = parsed.recipe.mesh.empty() ? 0 : parsed.recipe.mesh[0].second;
    return std::tuple(parsed.recipe.batch.step, parsed.recipe.batch.micro, ranks);
  };
  EXPECT_EQ(batch(R"({"train_batch_size": 4, "train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": 2})"), std::tuple(4, 2, 2));
  EXPECT_EQ(batch(R"({"train_batch_size": 8, "train_micro_batch_size_per_gpu": 2})"), std::tuple(8, 2, 0));
  EXPECT_EQ(batch(R"({"train_batch_size": 8, "gradient_accumulation_steps": 2})"), std::tuple(8, 4, 0));
  EXPECT_EQ(batch(R"({"train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 3})"), std::tuple(6, 2, 0));
  EXPECT_EQ(batch(R"({"train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 3, "llmc": {"mesh": {"dp": 4}}})"), std::tuple(24, 8, 4));
  EXPECT_EQ(batch(R"({"train_batch_size": 8, "llmc": {"batch": {"step": 6, "micro": 3}}})"), std::tuple(6, 3, 0));
  EXPECT_EQ(batch(R"({"train_batch_size": 8, "zero_optimization": {"stage": 2}})"), std::tuple(8, 0, 1));
  EXPECT_TRUE(hasNote(parse(R"({"train_batch_size": 4, "train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": 2})"), "--ranks 2"));
  EXPECT_NE(problemsOf(R"({"train_batch_size": 8, "train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 2, "llmc": {"mesh": {"dp": 4}}})")
                .find("times 4 data ranks"),
            std::string::npos);
  EXPECT_NE(problemsOf(R"({"gradient_accumulation_steps": 2})").find("needs `train_micro_batch_size_per_gpu`"), std::string::npos);
  EXPECT_NE(problemsOf(R"({"train_batch_size": 1099511627776})").find("at most 16777216"), std::string::npos);
}

// What it says, written as a recipe, is the same recipe.
TEST(DeepSpeedTest, PrintsAsRecipe) {
  ParsedRecipe parsed = parse(R"({"train_batch_size": 8, "train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 2, "zero_optimization": {"stage": 2},
    "optimizer": {"type": "Adam", "params": {"lr": 0.01, "weight_decay": 0.1}}, "scheduler": {"type": "WarmupDecayLR", "params": {"total_num_steps": 9}},
    "llmc": {"data": {"x": "tokens"}}})");
  ParsedRecipe again = parseRecipe(llvm::MemoryBufferRef(printRecipe(parsed.recipe), "r.yaml"));
  EXPECT_TRUE(again.problems.empty()) << again.problems[0].text();
  EXPECT_EQ(again.recipe, parsed.recipe) << printRecipe(parsed.recipe);
}

TEST(DeepSpeedTest, Optimizers) {
  auto optimizer = [](llvm::StringRef text) { return parse(("{\"optimizer\": " + text + "}").str()).recipe.optimizer; };
  EXPECT_EQ(optimizer(R"({"type": "Adam"})").kind, train::Optimizer::AdamW);
  EXPECT_EQ(optimizer(R"({"type": "adamw", "params": {"weight_decay": 0.1, "adam_w_mode": false}})").weightDecay, 0.1); // AdamW is always decoupled
  EXPECT_EQ(optimizer(R"({"type": "AdamW", "params": {"torch_adam": true}})").weightDecay, 0.01);                       // torch's default
  EXPECT_EQ(optimizer(R"({"type": "AdamW"})").weightDecay, 0.0);                                                      // DeepSpeed's
  train::Optimizer sgd = optimizer(R"({"type": "SGD", "params": {"lr": 0.1, "momentum": 0.9, "nesterov": true}})");
  EXPECT_EQ(sgd.kind, train::Optimizer::Sgd);
  EXPECT_TRUE(sgd.nesterov);
  EXPECT_EQ(optimizer(R"({"type": "AdamW", "params": {"lr": 0.5}}, "scheduler": {"type": "WarmupLR", "params": {}})").lr, 1e-3); // warmup_max_lr
  for (auto [params, part] : {std::pair(R"("SGD", "params": {"dampening": 0.1})", "optimizer.params.dampening"),
                              std::pair(R"("Adam", "params": {"amsgrad": true})", "optimizer.params.amsgrad"),
                              std::pair(R"("Adam", "params": {"bias_correction": false})", "optimizer.params.bias_correction"),
                              std::pair(R"("OneBitAdam")", "`optimizer.type: OneBitAdam` is not supported"), std::pair(R"("Lamb")", "use AdamW, Adam or SGD")})
    EXPECT_NE(problemsOf(std::string("{\"optimizer\": {\"type\": ") + params + "}}").find(part), std::string::npos) << params;
  EXPECT_EQ(problemsOf(R"({"optimizer": {"type": "Lion"}, "llmc": {"optimizer": {"sgd": {"lr": 1}}}})"), ""); // `llmc` decides
}

// Which Adam a config means, and its weight decay when it says none: DeepSpeed's own has 0, torch.optim.AdamW has 0.01, torch.optim.Adam 0.
// Decay in the gradient, Adam's way, is refused.
TEST(DeepSpeedTest, EveryAdam) {
  for (const char *type : {"Adam", "AdamW"})
    for (const char *mode : {"", "true", "false"})
      for (const char *torch : {"", "true", "false"})
        for (const char *decay : {"", "0", "0.1"}) {
          auto entry = [](const char *key, const char *value) { return *value ? std::string(", \"") + key + "\": " + value : ""; };
          std::string text = std::string(R"({"optimizer": {"type": ")") + type + R"(", "params": {"lr": 0.1)" + entry("adam_w_mode", mode) + entry("torch_adam", torch) +
                             entry("weight_decay", decay) + "}}}";
          bool decoupled = type == std::string("AdamW") || mode != std::string("false");
          double expected = *decay ? std::atof(decay) : torch == std::string("true") && decoupled ? 0.01 : 0.0;
          if (!decoupled && expected != 0) {
            EXPECT_NE(problemsOf(text).find("adam_w_mode"), std::string::npos) << text;
            continue;
          }
          EXPECT_EQ(problemsOf(text), "") << text;
          EXPECT_EQ(parse(text).recipe.optimizer.weightDecay, expected) << text;
        }
}

// Keys that change no number are taken; those that would are refused by name, unless they are off.
TEST(DeepSpeedTest, ListedKeys) {
  EXPECT_EQ(problemsOf(R"({"zero_optimization": {"stage": 3, "param_persistence_threshold": 1e5, "model_persistence_threshold": 1e6,
    "offload_optimizer": {"device": "none"}, "zero_quantized_weights": false, "mics_shard_size": 2, "log_trace_cache_warnings": true},
    "zero_force_ds_cpu_optimizer": false, "amp": {"enabled": false}, "compression_training": {}, "elasticity": {"enabled": false},
    "data_efficiency": {"enabled": false}, "tensor_parallel": {"autotp_size": 1}, "train_batch_size": 4})"),
            "");
  for (auto [text, part] : {std::pair(R"({"fp16": {"enabled": true}})", "`fp16: {enabled: true}` is not supported yet"),
                            std::pair(R"({"bf16": {"enabled": true}})", "write \"bf16\": {\"enabled\": false}"),
                            std::pair(R"({"amp": {"enabled": true}})", "`amp` is not supported: it computes in 16 bits"),
                            std::pair(R"({"zero_optimization": {"offload_optimizer": {"device": "cpu"}}})", "`zero_optimization.offload_optimizer: {device: cpu}`"),
                            std::pair(R"({"zero_optimization": {"zero_quantized_weights": true}})", "zero_quantized_weights"),
                            std::pair(R"({"compression_training": {"weight_quantization": {"shared_parameters": {"enabled": true}}}})", "compression_training"),
                            std::pair(R"({"tensor_parallel": {"autotp_size": 2}})", "\"mesh\""), std::pair(R"({"data_types": {"grad_accum_dtype": "bf16"}})", "data_types"),
                            std::pair(R"({"scheduler": {"type": "OneCycle", "params": {}}})", "`scheduler.type: OneCycle` is not supported"),
                            std::pair(R"({"scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": 5}}})", "write \"warmup_type\": \"linear\""),
                            std::pair(R"({"zero_optimisation": {}})", "did you mean `zero_optimization`?")})
    EXPECT_NE(problemsOf(text).find(part), std::string::npos) << text << "\n" << problemsOf(text);
}

} // namespace
} // namespace llmc::recipe
