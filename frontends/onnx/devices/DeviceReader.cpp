//===- DeviceReader.cpp - the multi-device fields of nodes ---------===//
#include "frontends/onnx/ReaderParts.h"
#include "frontends/onnx/proto/onnx-ml.pb.h"

using namespace llmc;
using namespace llmc::onnx;

ShardingSpec llmc::onnx::readSpec(const ::onnx::ShardingSpecProto &proto) {
  ShardingSpec spec;
  spec.tensor = proto.tensor_name();
  spec.devices.assign(proto.device().begin(), proto.device().end());
  for (const auto &entry : proto.index_to_device_group_map())
    spec.groups.emplace_back(entry.key(), std::vector<int64_t>(entry.value().begin(), entry.value().end()));
  for (const auto &dim : proto.sharded_dim()) {
    ShardingSpec::Dim &read = spec.dims.emplace_back();
    if (dim.has_axis())
      read.axis = dim.axis();
    for (const auto &part : dim.simple_sharding()) {
      ShardingSpec::Part &readPart = read.parts.emplace_back();
      if (part.has_dim_value())
        readPart.size = part.dim_value();
      readPart.shards = part.num_shards();
    }
  }
  return spec;
}

void llmc::onnx::writeSpec(const ShardingSpec &spec, ::onnx::ShardingSpecProto &proto) {
  proto.set_tensor_name(spec.tensor);
  for (int64_t device : spec.devices)
    proto.add_device(device);
  for (const auto &[key, devices] : spec.groups) {
    auto *entry = proto.add_index_to_device_group_map();
    entry->set_key(key);
    for (int64_t device : devices)
      entry->add_value(device);
  }
  for (const ShardingSpec::Dim &dim : spec.dims) {
    auto *written = proto.add_sharded_dim();
    written->set_axis(dim.axis.value_or(0));
    for (const ShardingSpec::Part &part : dim.parts) {
      auto *simple = written->add_simple_sharding();
      if (part.size)
        simple->set_dim_value(*part.size);
      simple->set_num_shards(part.shards);
    }
  }
}

std::vector<NodeDevices> llmc::onnx::readDevices(const ::onnx::NodeProto &proto) {
  std::vector<NodeDevices> all;
  for (const auto &entry : proto.device_configurations()) {
    NodeDevices &devices = all.emplace_back();
    devices.configuration = entry.configuration_id();
    devices.hasStage = entry.has_pipeline_stage();
    for (const auto &spec : entry.sharding_spec())
      devices.specs.push_back(readSpec(spec));
  }
  return all;
}
