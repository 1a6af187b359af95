//===- TrainingTest.cpp - whole runs of a small plan ----------------------===//
#include "runtime/executor/Generate.h"
#include "runtime/executor/TrainingLoop.h"
#include "test/runtime/TinyPlan.h"
#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sys/wait.h>
#include <unistd.h>

using namespace llmc::runtime;
using namespace llmc::test;

namespace {

struct Recorder : TrainingObserver {
  std::vector<StepReport> steps;
  std::vector<double> evaluations;
  std::vector<uint64_t> evaluatedAfter, savedAfter; // steps
  std::vector<std::string> notes;
  Status onStep(const StepReport &report) override {
    steps.push_back(report);
    return Status::success();
  }
  Status onEvaluation(uint64_t step, double loss) override {
    evaluations.push_back(loss);
    evaluatedAfter.push_back(step);
    return Status::success();
  }
  void onPhase(const std::string &phase, double fraction) override {
    if (phase == "writing checkpoint" && fraction == 1.0)
      savedAfter.push_back(steps.empty() ? 0 : steps.back().step);
  }
  void onNote(const std::string &text) override { notes.push_back(text); }
};

struct Outcome {
  Status status;
  Recorder recorder;
  std::vector<uint8_t> weight, momentum;
};

/// One run of the plan at `path` from start to end.
Outcome runPlan(const std::string &path, TrainingOptions options, unsigned threads = 2) {
  Outcome outcome;
  auto plan = PlanFile::read(path);
  if (!plan.ok()) {
    outcome.status = plan.status();
    return outcome;
  }
  ThreadPool pool(threads, GemmLibrary::initializeThread);
  auto executor = Executor::create(*plan, 0, pool);
  if (!executor.ok()) {
    outcome.status = executor.status();
    return outcome;
  }
  TrainingLoop loop(**executor, options, outcome.recorder);
  outcome.status = loop.prepareData();
  if (outcome.status.ok())
    outcome.status = loop.prepareState();
  if (outcome.status.ok())
    outcome.status = loop.run();
  outcome.weight.assign((*executor)->data(Weight), (*executor)->data(Weight) + 256);
  outcome.momentum.assign((*executor)->data(Momentum), (*executor)->data(Momentum) + 256);
  return outcome;
}

class Training : public ::testing::Test {
protected:
  void SetUp() override {
    writeTinyPlan(tinyPlan(), folder / "m.plan");
    writeTokens(folder / "tokens.u16", 400);
    options.dataFiles = {folder / "tokens.u16"};
    options.steps = 20;
  }
  TemporaryFolder folder;
  TrainingOptions options;
};

TEST_F(Training, LossFalls) {
  Outcome outcome = runPlan(folder / "m.plan", options);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.message;
  ASSERT_EQ(outcome.recorder.steps.size(), 20u);
  EXPECT_NEAR(outcome.recorder.steps.front().loss, std::log(8.0), 0.05);
  EXPECT_LT(outcome.recorder.steps.back().loss, outcome.recorder.steps.front().loss - 0.3);
  EXPECT_FLOAT_EQ(static_cast<float>(outcome.recorder.steps.back().lr), 0.5f);
}

TEST_F(Training, BitsDoNotDependOnThreads) {
  Outcome one = runPlan(folder / "m.plan", options, 1);
  for (unsigned threads : {2, 4}) {
    Outcome other = runPlan(folder / "m.plan", options, threads);
    EXPECT_EQ(one.weight, other.weight) << threads;
    EXPECT_EQ(one.recorder.steps.back().loss, other.recorder.steps.back().loss);
  }
}

TEST_F(Training, ResumeContinuesToTheSameBits) {
  Outcome whole = runPlan(folder / "m.plan", options);
  options.checkpointFolder = folder / "ck";
  options.checkpointEvery = 4;
  options.steps = 9;
  ASSERT_TRUE(runPlan(folder / "m.plan", options).status.ok());
  options.steps = 20;
  options.resume = true;
  Outcome resumed = runPlan(folder / "m.plan", options);
  ASSERT_TRUE(resumed.status.ok()) << resumed.status.message;
  EXPECT_EQ(resumed.recorder.steps.size(), 11u);
  EXPECT_EQ(whole.weight, resumed.weight);
  EXPECT_EQ(whole.momentum, resumed.momentum);
}

TEST_F(Training, EvaluationLeavesTrainingAlone) {
  Outcome plain = runPlan(folder / "m.plan", options);
  options.evalFiles = {folder / "tokens.u16"};
  options.evalEvery = 5;
  Outcome evaluated = runPlan(folder / "m.plan", options);
  EXPECT_EQ(evaluated.recorder.evaluations.size(), 4u);
  EXPECT_LT(evaluated.recorder.evaluations.back(), std::log(8.0));
  EXPECT_EQ(plain.weight, evaluated.weight);
}

// What is due after which step, by the sentences of docs/llmc-run.md: every N steps and after the last one; the newest two checkpoints stay.
TEST_F(Training, DoesWhatIsDueAfterEachStep) {
  options.evalFiles = {folder / "tokens.u16"};
  options.evalBatches = 1;
  for (uint64_t steps : {1, 3, 4, 6, 7})
    for (uint64_t every : {0, 1, 2, 3, 10}) {
      options.steps = steps;
      options.evalEvery = every;
      options.checkpointEvery = every ? (every + 1) / 2 : 0;
      options.checkpointFolder = folder / ("ck-" + std::to_string(steps) + "-" + std::to_string(every));
      Outcome outcome = runPlan(folder / "m.plan", options);
      ASSERT_TRUE(outcome.status.ok()) << outcome.status.message;
      std::vector<uint64_t> all, evaluated, saved, kept;
      for (uint64_t step = 1; step <= steps; ++step) {
        all.push_back(step);
        if (every && (step % every == 0 || step == steps))
          evaluated.push_back(step);
        if (step == steps || (every && step % options.checkpointEvery == 0))
          saved.push_back(step);
      }
      std::vector<uint64_t> ran;
      for (const StepReport &report : outcome.recorder.steps)
        ran.push_back(report.step);
      EXPECT_EQ(ran, all);
      EXPECT_EQ(outcome.recorder.evaluatedAfter, evaluated) << steps << " steps, every " << every;
      EXPECT_EQ(outcome.recorder.savedAfter.size(), saved.size()) << steps << " steps, every " << every;
      for (uint64_t step = 1; step <= steps; ++step)
        if (std::filesystem::exists(folder / (std::filesystem::path(options.checkpointFolder).filename().string() + "/step-0000000" + std::to_string(step))))
          kept.push_back(step);
      EXPECT_EQ(kept, std::vector<uint64_t>(saved.end() - std::min<size_t>(2, saved.size()), saved.end())) << steps << " steps, every " << every;
    }
}

// A process killed at any moment leaves a folder from which the run ends with the same bits.
TEST_F(Training, KilledRunsResumeToTheSameBits) {
  options.steps = 60;
  Outcome whole = runPlan(folder / "m.plan", options);
  options.checkpointFolder = folder / "ck";
  options.checkpointEvery = 3;
  options.resume = true;
  for (int attempt = 0; attempt < 8; ++attempt) {
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      (void)runPlan(folder / "m.plan", options, 1);
      ::_exit(0);
    }
    ::usleep(3000 + attempt * 1700);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }
  Outcome resumed = runPlan(folder / "m.plan", options);
  ASSERT_TRUE(resumed.status.ok()) << resumed.status.message;
  EXPECT_EQ(whole.weight, resumed.weight);
}

TEST_F(Training, SetChangesTheRate) {
  options.settings = {{"lr", 0.25}};
  Outcome outcome = runPlan(folder / "m.plan", options);
  EXPECT_DOUBLE_EQ(outcome.recorder.steps[0].lr, 0.25);
  options.settings = {{"step", 3}};
  EXPECT_EQ(runPlan(folder / "m.plan", options).status.code, StatusCode::WrongUse);
}

TEST_F(Training, GradientsAreSavedInLogicalForm) {
  options.saveGradients = {2, folder / "g.safetensors"};
  ASSERT_TRUE(runPlan(folder / "m.plan", options).status.ok());
  auto file = SafetensorsFile::open(folder / "g.safetensors");
  ASSERT_TRUE(file.ok()) << file.status().message;
  ASSERT_TRUE((*file)->find("bigram.weight"));
  EXPECT_EQ((*file)->find("bigram.weight")->shape, (Shape{8, 8}));
}

TEST_F(Training, InfiniteRateIsReportedAsRepeatable) {
  options.settings = {{"lr", 3.4e38}};
  Outcome outcome = runPlan(folder / "m.plan", options);
  EXPECT_EQ(outcome.status.code, StatusCode::NumbersBadRepeatably) << outcome.status.message;
}

TEST_F(Training, RatesThatNothingHoldsAreRefused) {
  for (double rate : {1e39, -1.0, std::nan(""), HUGE_VAL}) {
    options.settings = {{"lr", rate}};
    EXPECT_EQ(runPlan(folder / "m.plan", options).status.code, StatusCode::WrongUse) << rate;
  }
}

// A state that is not finite is never saved, even if loss and gradient norm still are.
TEST_F(Training, BadNumbersKeepTheLastGoodCheckpoint) {
  options.checkpointFolder = folder / "ck";
  options.checkpointEvery = 1;
  options.steps = 3;
  ASSERT_TRUE(runPlan(folder / "m.plan", options).status.ok());
  options.resume = true;
  options.steps = 20;
  options.settings = {{"lr", 3e38}};
  Outcome outcome = runPlan(folder / "m.plan", options);
  EXPECT_EQ(outcome.status.code, StatusCode::NumbersBadRepeatably) << outcome.status.message;
  EXPECT_NE(outcome.status.hint.find("lr"), std::string::npos) << outcome.status.hint;
  EXPECT_NE(outcome.status.message.find("the last checkpoint is that of step"), std::string::npos) << outcome.status.message;
  std::vector<uint64_t> steps = checkpointSteps(folder / "ck");
  ASSERT_FALSE(steps.empty());
  for (uint64_t step : steps) {
    auto checkpoint = openCheckpoint(folder / ("ck/step-0000000" + std::to_string(step)));
    ASSERT_TRUE(checkpoint.ok());
    std::vector<uint8_t> scratch;
    auto bytes = checkpoint->readLogical("bigram.weight", checkpoint->model().at("bigram.weight"), scratch);
    ASSERT_TRUE(bytes.ok());
    for (size_t i = 0; i < 64; ++i) {
      float value;
      std::memcpy(&value, bytes->data() + 4 * i, 4);
      EXPECT_TRUE(std::isfinite(value)) << "step " << step;
    }
  }
}

// A new plan's rate counts; one that a user has set stays, also for the runs after.
TEST_F(Training, ResumeTakesTheRateOfANewPlan) {
  fb::PlanT other = tinyPlan();
  other.programs[0]->scalars[1]->initial = 0.125;
  writeTinyPlan(other, folder / "other.plan");
  for (bool isSet : {false, true}) {
    options.checkpointFolder = folder / (isSet ? "set" : "plain");
    options.resume = false;
    options.steps = 2;
    options.settings.clear();
    if (isSet)
      options.settings = {{"lr", 0.25}};
    ASSERT_TRUE(runPlan(folder / "m.plan", options).status.ok());
    options.resume = true;
    options.settings.clear();
    for (uint64_t steps : {3, 4}) {
      options.steps = steps;
      Outcome outcome = runPlan(folder / "other.plan", options);
      ASSERT_TRUE(outcome.status.ok()) << outcome.status.message;
      EXPECT_EQ(outcome.recorder.steps[0].lr, isSet ? 0.25 : 0.125) << steps;
    }
    options.steps = 5;
    options.settings = {{"lr", 0.0625}};
    EXPECT_EQ(runPlan(folder / "other.plan", options).recorder.steps[0].lr, 0.0625);
  }
}

// A signal ends the run after its step, which is saved; the run goes on to the same bits.
TEST_F(Training, StopsAfterTheStepInWhichItIsAsked) {
  struct Stopper : Recorder {
    std::atomic<int> stop{0};
    Status onStep(const StepReport &report) override {
      stop = report.step == 7 ? SIGTERM : stop.load();
      return Recorder::onStep(report);
    }
  };
  Outcome whole = runPlan(folder / "m.plan", options);
  auto run = [&](Stopper &stopper) {
    auto plan = PlanFile::read(folder / "m.plan");
    ThreadPool pool(1, GemmLibrary::initializeThread);
    auto executor = Executor::create(*plan, 0, pool);
    options.stop = &stopper.stop;
    TrainingLoop loop(**executor, options, stopper);
    for (Status status : {loop.prepareData(), loop.prepareState()})
      EXPECT_TRUE(status.ok()) << status.message;
    return loop.run();
  };
  Stopper unsaved;
  Status status = run(unsaved);
  EXPECT_EQ(status.code, StatusCode::Terminated);
  EXPECT_NE(status.message.find("not saved"), std::string::npos) << status.message;
  options.checkpointFolder = folder / "ck";
  Stopper stopper;
  status = run(stopper);
  EXPECT_EQ(static_cast<int>(status.code), 143) << status.message;
  EXPECT_EQ(stopper.steps.size(), 7u);
  EXPECT_EQ(checkpointSteps(folder / "ck"), std::vector<uint64_t>{7});
  options.stop = nullptr;
  options.resume = true;
  Outcome resumed = runPlan(folder / "m.plan", options);
  ASSERT_TRUE(resumed.status.ok()) << resumed.status.message;
  EXPECT_EQ(resumed.weight, whole.weight);
}

TEST_F(Training, AnObserversErrorEndsTheRun) {
  struct Full : Recorder {
    Status onStep(const StepReport &report) override {
      (void)Recorder::onStep(report);
      return report.step == 2 ? Status::badInput("full") : Status::success();
    }
  } full;
  auto plan = PlanFile::read(folder / "m.plan");
  ThreadPool pool(1, GemmLibrary::initializeThread);
  auto executor = Executor::create(*plan, 0, pool);
  TrainingLoop loop(**executor, options, full);
  ASSERT_TRUE(loop.prepareData().ok() && loop.prepareState().ok());
  EXPECT_EQ(loop.run().code, StatusCode::BadInput);
  EXPECT_EQ(full.steps.size(), 2u);
}

TEST_F(Training, FolderIsLockedWhileItTrains) {
  options.checkpointFolder = folder / "ck";
  auto held = FolderLock::take(folder / "ck");
  ASSERT_TRUE(held.ok());
  Outcome outcome = runPlan(folder / "m.plan", options);
  EXPECT_EQ(outcome.status.code, StatusCode::WrongUse);
  EXPECT_NE(outcome.status.message.find("in use by another run"), std::string::npos) << outcome.status.message;
  held->reset();
  EXPECT_TRUE(runPlan(folder / "m.plan", options).status.ok());
}

std::string textIn(const std::string &path) {
  std::vector<uint8_t> bytes = readBytes(path);
  return {bytes.begin(), bytes.end()};
}

TEST(Metrics, OldFilesStay) {
  TemporaryFolder folder;
  std::string path = folder / "m.jsonl", old;
  StepReport report;
  {
    auto fresh = MetricsFile::open(path, {});
    ASSERT_TRUE(fresh.ok());
    for (report.step = 1; report.step <= 3; ++report.step)
      EXPECT_TRUE((*fresh)->addStep(report).ok());
  }
  old = textIn(path);
  EXPECT_EQ(std::count(old.begin(), old.end(), '\n'), 3);
  EXPECT_EQ(MetricsFile::open(path, {}).status().code, StatusCode::WrongUse);
  EXPECT_EQ(textIn(path), old);
  EXPECT_TRUE(MetricsFile::open(path, {false, true, 3}).ok());
  EXPECT_EQ(textIn(path), old);
  writeBytes(path, {old.begin(), old.end() - 20}); // killed while it wrote
  EXPECT_TRUE(MetricsFile::open(path, {false, true, 2}).ok());
  EXPECT_EQ(textIn(path), old.substr(0, old.rfind("{")));
  std::string other = old + "my notes\n" + old;
  writeBytes(path, {other.begin(), other.end()});
  EXPECT_EQ(MetricsFile::open(path, {false, true, 3}).status().code, StatusCode::WrongUse);
  EXPECT_EQ(textIn(path), other);
  EXPECT_TRUE(MetricsFile::open(path, {true, false, 0}).ok());
  EXPECT_EQ(textIn(path), "");
  auto full = MetricsFile::open("/dev/full", {});
  ASSERT_TRUE(full.ok());
  EXPECT_EQ((*full)->addStep(report).code, StatusCode::BadInput);
  EXPECT_EQ((*full)->addEvaluation(1, 2).code, StatusCode::BadInput);
}

TEST(Prompt, TextIsBytesOnlyOfModelsOfBytes) {
  EXPECT_EQ(*parsePrompt("ab", 256), (std::vector<int64_t>{97, 98}));
  EXPECT_EQ(*parsePrompt("bytes:ab", 300), (std::vector<int64_t>{97, 98}));
  EXPECT_EQ(*parsePrompt("ids:7,0", 300), (std::vector<int64_t>{7, 0}));
  for (const char *prompt : {"ab", "ids:1,", "ids:-1", "ids:1;2"})
    EXPECT_EQ(parsePrompt(prompt, 50257).status().code, StatusCode::WrongUse) << prompt;
  EXPECT_EQ(parsePrompt("bytes:ab", 255).status().code, StatusCode::WrongUse);
}

TEST_F(Training, PromptIsContinued) {
  auto plan = PlanFile::read(folder / "m.plan");
  ASSERT_TRUE(plan.ok());
  ThreadPool pool(1, GemmLibrary::initializeThread);
  auto executor = Executor::create(*plan, 0, pool);
  ASSERT_TRUE(executor.ok());
  float *weight = reinterpret_cast<float *>((*executor)->data(Weight));
  for (int i = 0; i < 8; ++i)
    weight[i * 8 + (i + 1) % 8] = 5.0f; // each id is followed by the next one
  std::vector<int64_t> out;
  auto take = [&](int64_t id) {
    out.push_back(id);
    return true;
  };
  ASSERT_TRUE(generate(**executor, {{2, 3}, 6, 0, 0}, take).ok());
  EXPECT_EQ(out, (std::vector<int64_t>{4, 5, 6, 7, 0, 1}));
  EXPECT_EQ(generate(**executor, {{9}, 1, 0, 0}, take).code, StatusCode::BadInput);
  out.clear();
  ASSERT_TRUE(generate(**executor, {{2}, 6, 0, 0}, [&](int64_t id) { return out.push_back(id), out.size() < 2; }).ok());
  EXPECT_EQ(out, (std::vector<int64_t>{3, 4})); // stopped by the receiver
}

// Bad input: each a clear error before anything runs.
TEST_F(Training, IdsBeyondTheVocabularyAreNamed) {
  writeTokens(folder / "wide.u16", 400, 9);
  options.dataFiles = {folder / "wide.u16"};
  Outcome outcome = runPlan(folder / "m.plan", options);
  EXPECT_EQ(outcome.status.code, StatusCode::BadInput);
  EXPECT_NE(outcome.status.message.find("id 8 for input"), std::string::npos) << outcome.status.message;
  EXPECT_NE(outcome.status.message.find("position"), std::string::npos);
}

TEST_F(Training, WrongDataIsRefused) {
  writeTokens(folder / "short.u16", 4);
  options.dataFiles = {folder / "short.u16"};
  EXPECT_EQ(runPlan(folder / "m.plan", options).status.code, StatusCode::BadInput);
  options.dataFiles = {folder / "missing.u16"};
  EXPECT_EQ(runPlan(folder / "m.plan", options).status.code, StatusCode::BadInput);
  options.dataFiles = {folder / "m.plan"}; // read as bytes, but the vocabulary has 8 ids
  EXPECT_EQ(runPlan(folder / "m.plan", options).status.code, StatusCode::BadInput);
  options.dataFiles = {folder / "tokens.u16", folder / "tokens.u16"};
  EXPECT_EQ(runPlan(folder / "m.plan", options).status.code, StatusCode::WrongUse);
}

TEST_F(Training, WeightsThatDoNotFitAreRefused) {
  std::vector<float> values(64, 1.0f);
  auto fetch = [&](std::vector<uint8_t> &) { return Bytes(reinterpret_cast<const uint8_t *>(values.data()), 256); };
  ASSERT_TRUE(writeSafetensors(folder / "w.safetensors", {{"head.weight", fb::DataType::F32, {8, 8}, fetch}}).ok());
  ASSERT_TRUE(writeSafetensors(folder / "shape.safetensors", {{"bigram.weight", fb::DataType::F32, {4, 16}, fetch}}).ok());
  ASSERT_TRUE(writeSafetensors(folder / "name.safetensors", {{"other", fb::DataType::F32, {8, 8}, fetch}}).ok());
  options.weights = folder / "w.safetensors"; // found by its other name
  EXPECT_TRUE(runPlan(folder / "m.plan", options).status.ok());
  for (const char *bad : {"shape.safetensors", "name.safetensors", "tokens.u16", "none"}) {
    options.weights = folder / bad;
    EXPECT_EQ(runPlan(folder / "m.plan", options).status.code, StatusCode::BadInput) << bad;
  }
}

// The newest checkpoint is damaged: the one before it is taken, and the run ends with the same bits.
TEST_F(Training, DamagedCheckpointFallsBack) {
  Outcome whole = runPlan(folder / "m.plan", options);
  options.checkpointFolder = folder / "ck";
  options.checkpointEvery = 4;
  options.steps = 12;
  ASSERT_TRUE(runPlan(folder / "m.plan", options).status.ok());
  EXPECT_FALSE(std::filesystem::exists(folder / "ck/step-00000004"));
  std::string path = folder / "ck/step-00000012/model.safetensors";
  std::vector<uint8_t> bytes = readBytes(path);
  bytes.back() ^= 1;
  writeBytes(path, bytes);
  options.steps = 20;
  options.resume = true;
  Outcome resumed = runPlan(folder / "m.plan", options);
  ASSERT_TRUE(resumed.status.ok()) << resumed.status.message;
  EXPECT_EQ(resumed.recorder.steps.front().step, 9u);
  EXPECT_EQ(whole.weight, resumed.weight);
  ASSERT_FALSE(resumed.recorder.notes.empty());
  EXPECT_NE(resumed.recorder.notes[0].find("damaged"), std::string::npos);
}

// A folder's name is the step that its manifest says: one that was renamed is passed over, and a run that has no other is refused.
TEST_F(Training, RenamedCheckpointsAreNotTaken) {
  Outcome whole = runPlan(folder / "m.plan", options);
  options.checkpointFolder = folder / "ck";
  options.checkpointEvery = 4;
  options.steps = 12;
  ASSERT_TRUE(runPlan(folder / "m.plan", options).status.ok());
  std::filesystem::rename(folder / "ck/step-00000012", folder / "ck/step-00000016");
  options.steps = 20;
  options.checkpointEvery = 0;
  options.resume = true;
  std::filesystem::copy(folder / "ck", folder / "alone", std::filesystem::copy_options::recursive);
  Outcome resumed = runPlan(folder / "m.plan", options);
  ASSERT_TRUE(resumed.status.ok()) << resumed.status.message;
  EXPECT_EQ(resumed.recorder.steps.front().step, 9u);
  EXPECT_EQ(whole.weight, resumed.weight);
  ASSERT_FALSE(resumed.recorder.notes.empty());
  EXPECT_NE(resumed.recorder.notes[0].find("another step"), std::string::npos) << resumed.recorder.notes[0];
  std::filesystem::remove_all(folder / "alone/step-00000008");
  options.checkpointFolder = folder / "alone";
  EXPECT_EQ(runPlan(folder / "m.plan", options).status.code, StatusCode::BadInput);
}

TEST_F(Training, CheckpointOfAnotherModelIsRefused) {
  options.checkpointFolder = folder / "ck";
  options.steps = 2;
  ASSERT_TRUE(runPlan(folder / "m.plan", options).status.ok());
  fb::PlanT other = tinyPlan();
  other.programs[0]->parameters[0]->name = "renamed";
  writeTinyPlan(other, folder / "other.plan");
  options.resume = true;
  EXPECT_EQ(runPlan(folder / "other.plan", options).status.code, StatusCode::BadInput);
}

} // namespace
