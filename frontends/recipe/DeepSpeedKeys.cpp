//===- DeepSpeedKeys.cpp - DeepSpeed's keys that change no number, and those that would ---===//
//
// After https://www.deepspeed.ai/docs/config-json and the classes of deepspeed.runtime.config and runtime.zero.config.
//
//===----------------------------------------------------------------------===//
#include "frontends/recipe/DeepSpeedKeys.h"

using llvm::StringRef;
using namespace llmc::recipe;
using namespace llmc::recipe::deepspeed;

/// True if an `enabled` anywhere in `value` is not false, or a size or type is another than that of no such feature.
static bool anyEnabled(const Value &value) {
  return llvm::any_of(value.entries, [](const Value::Entry &entry) {
    StringRef key = entry.key, text = entry.value.scalar;
    if (key == "enabled")
      return text != "false";
    if (key == "autotp_size" || key == "tp_size")
      return text != "0" && text != "1";
    if (key == "grad_accum_dtype")
      return entry.value.kind != Value::Null && text != "fp32";
    return anyEnabled(entry.value);
  });
}

bool deepspeed::isNeutral(const Value &value, const Neutral &key) {
  if (key.values.empty())
    return value.kind == Value::Map ? !anyEnabled(value) : value.kind == Value::Scalar && value.scalar == "false";
  return value.kind == Value::Scalar && llvm::is_contained(key.values, value.scalar);
}

static const char kRemove[] = "remove it, or turn it off";

const ListedKeys &deepspeed::topKeys() {
  static const ListedKeys keys = {
      {"steps_per_print", "wall_clock_breakdown", "memory_breakdown", "dump_state", "tensorboard", "wandb", "csv_monitor", "comet",
       "monitor_config", "comms_logger", "flops_profiler", "prescale_gradients", "gradient_predivide_factor", "sparse_gradients",
       "disable_allgather", "zero_allow_untested_optimizer", "zero_force_ds_cpu_optimizer", "checkpoint", "aio", "activation_checkpointing",
       "dataloader_drop_last", "timers", "nebula", "compile", "graph_harvesting", "load_universal_checkpoint", "use_node_local_storage",
       "use_data_before_expert_parallelism", "checkpoint_parallel_write_pipeline", "autotuning", "hybrid_engine", "pipeline", "version",
       "zenflow", "gradient_noise_scale", "vocabulary_size"},
      {{"amp", {}, "it computes in 16 bits, and everything here is fp32", kRemove, "precision"},
       {"torch_autocast", {}, "it computes in 16 bits, and everything here is fp32", kRemove, "precision"},
       {"elasticity", {}, "it chooses batch sizes while a job runs", "write train_batch_size and train_micro_batch_size_per_gpu", "batch"},
       {"compression_training", {}, "it quantizes or prunes parameters", kRemove},
       {"quantize_training", {}, "it quantizes parameters", kRemove},
       {"weight_quantization", {}, "it quantizes parameters", kRemove},
       {"data_efficiency", {}, "it changes what is trained on", kRemove},
       {"curriculum_learning", {}, "it changes what is trained on", kRemove},
       {"progressive_layer_drop", {}, "it drops layers", kRemove},
       {"eigenvalue", {}, "it steers compression", kRemove},
       {"sparse_attention", {"false"}, "attention is computed as the model says", "remove it"},
       {"data_types", {}, "gradients are summed in fp32", "remove it"},
       {"communication_data_type", {"fp32", "float32"}, "messages are fp32", "remove it"},
       {"seq_parallel_communication_data_type", {"fp32", "float32"}, "messages are fp32", "remove it"},
       {"sequence_parallel_size", {"1"}, "sequences are not cut over ranks of their own yet", "write 1", "mesh"},
       {"tensor_parallel", {}, "tensor ranks are an axis of the mesh", "write \"llmc\": {\"mesh\": {\"dp\": N, \"tp\": N}} instead", "mesh"}}};
  return keys;
}

const ListedKeys &deepspeed::zeroKeys() {
  static const ListedKeys keys = {
      {"allgather_partitions", "allgather_bucket_size", "overlap_comm", "reduce_scatter", "reduce_bucket_size", "contiguous_gradients",
       "sub_group_size", "use_multi_rank_bucket_allreduce", "round_robin_gradients", "ignore_unused_parameters", "legacy_stage1",
       "elastic_checkpoint", "load_from_fp32_weights", "grad_hooks", "memory_efficient_linear", "pipeline_loading_checkpoint",
       "override_module_apply", "log_trace_cache_warnings", "enable_sanity_checks", "zero_hpz_partition_size", "mics_shard_size",
       "mics_hierarchical_params_gather", "cpu_offload_use_pin_memory", "prefetch_bucket_size", "param_persistence_threshold",
       "model_persistence_threshold", "max_live_parameters", "max_reuse_distance", "gather_16bit_weights_on_model_save",
       "module_granularity_threshold", "use_all_reduce_for_fetch_params", "stage3_prefetch_bucket_size", "stage3_param_persistence_threshold",
       "stage3_model_persistence_threshold", "stage3_max_live_parameters", "stage3_max_reuse_distance", "stage3_module_granularity_threshold",
       "stage3_use_all_reduce_for_fetch_params", "stage3_gather_16bit_weights_on_model_save", "stage3_gather_fp16_weights_on_model_save",
       "leaf_module", "zenflow", "allgather_sequential"},
      {{"cpu_offload", {"false"}, "state stays in the device's memory", "write false", "memory"},
       {"cpu_offload_params", {"false"}, "state stays in the device's memory", "write false", "memory"},
       {"zero_quantized_weights", {"false"}, "messages are fp32", "write false"},
       {"zero_quantized_nontrainable_weights", {"false"}, "messages are fp32", "write false"},
       {"zero_quantized_gradients", {"false"}, "messages are fp32", "write false"},
       {"zeropp_loco_param", {}, "messages are fp32", "remove it"}}};
  return keys;
}

const ListedKeys &deepspeed::precisionKeys() {
  static const ListedKeys keys = {
      {"loss_scale", "loss_scale_window", "initial_scale_power", "hysteresis", "min_loss_scale", "consecutive_hysteresis", "auto_cast",
       "immediate_grad_update", "check_grad_overflow"},
      {{"fp16_master_weights_and_grads", {"false"}, "master weights are fp32", "write false"},
       {"bf16_master_weights_and_grads", {"false"}, "master weights are fp32", "write false"},
       {"bf16_optimizer_states", {"false"}, "optimizer state is fp32", "write false"}}};
  return keys;
}

const ListedKeys &deepspeed::offloadKeys() {
  static const ListedKeys keys = {{"nvme_path", "pin_memory", "buffer_count", "buffer_size", "max_in_cpu", "fast_init", "pipeline", "pipeline_read",
                                   "pipeline_write", "ratio", "super_offload", "cpuadam_cores_perc"},
                                  {}};
  return keys;
}

const ListedKeys &deepspeed::adamKeys() {
  static const ListedKeys keys = {{"fused", "foreach", "capturable", "differentiable", "set_grad_none", "fp32_optimizer_states"},
                                  {{"bias_correction", {"true"}, "moments are corrected for their beginning at 0", "write true", "optimizer"},
                                   {"amsgrad", {"false"}, "there is no AMSGrad", "write false", "optimizer"},
                                   {"maximize", {"false"}, "a loss is minimized", "write false", "optimizer"}}};
  return keys;
}

const ListedKeys &deepspeed::sgdKeys() {
  static const ListedKeys keys = {{"fused", "foreach", "differentiable"},
                                  {{"dampening", {"0", "0.0"}, "momentum has no dampening", "write 0", "optimizer"},
                                   {"maximize", {"false"}, "a loss is minimized", "write false", "optimizer"}}};
  return keys;
}
