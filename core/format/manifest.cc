// Manifest <-> JSON.
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/format/checkpoint.h"
#include "core/format/checksum.h"

namespace birkhoff {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kFormatVersion = 1;
constexpr char kChecksum[] = "checksum";

Json TensorsToJson(const Manifest& manifest) {
  Json tensors = Json::object();
  for (const auto& [name, tensor] : manifest.tensors) {
    tensors[name] = {{"shard", tensor.shard},
                     {"shape", tensor.shape},
                     {"dtype", tensor.dtype},
                     {"checksum", tensor.checksum}};
  }
  return tensors;
}

Json ShardsToJson(const Manifest& manifest) {
  Json shards = Json::array();
  for (const ManifestShard& shard : manifest.shards) {
    shards.push_back({{"file", shard.file},
                      {"bytes", shard.bytes},
                      {"checksum", shard.checksum},
                      {"header_checksum", shard.header_checksum}});
  }
  return shards;
}

Json FilesToJson(const std::vector<TokenFacts>& files) {
  Json list = Json::array();
  for (const TokenFacts& file : files) {
    list.push_back({{"path", file.path},
                    {"tokens", file.tokens},
                    {"type", file.type},
                    {"sample", file.sample}});
  }
  return list;
}

std::vector<TokenFacts> FilesFromJson(const Json& data, const char* key) {
  std::vector<TokenFacts> files;
  for (const Json& file : data.value(key, Json::array())) {
    files.push_back({file.at("path").get<std::string>(), file.at("tokens").get<int64_t>(),
                     file.at("type").get<std::string>(), file.at("sample").get<std::string>()});
  }
  return files;
}

Manifest FromJson(const Json& json) {
  Manifest manifest;
  json.at("job").get_to(manifest.job);
  json.at("attempt").get_to(manifest.attempt);
  json.at("step").get_to(manifest.step);
  json.at("tokens").get_to(manifest.tokens);
  json.at("skipped").get_to(manifest.skipped);
  json.at("skipped_in_a_row").get_to(manifest.skipped_in_a_row);
  manifest.commit = json.value("commit", int64_t{0});
  json.at("data").at("next_sample").get_to(manifest.next_sample);
  json.at("data").at("seed").get_to(manifest.data_seed);
  manifest.train_files = FilesFromJson(json.at("data"), "train");
  manifest.validation_files = FilesFromJson(json.at("data"), "validation");
  json.at("training_seed").get_to(manifest.training_seed);
  if (const auto origin = json.find("init_from"); origin != json.end()) {
    origin->at("directory").get_to(manifest.origin.directory);
    origin->at("checkpoint").get_to(manifest.origin.checkpoint);
  }
  json.at("model_hash").get_to(manifest.model_hash);
  json.at("plan_hash").get_to(manifest.plan_hash);
  json.at("spec").get_to(manifest.spec);
  for (const auto& [name, tensor] : json.at("tensors").items()) {
    manifest.tensors[name] = {
        tensor.at("shard").get<std::string>(), tensor.at("shape").get<std::vector<int64_t>>(),
        tensor.at("dtype").get<std::string>(), tensor.at("checksum").get<std::string>()};
  }
  for (const Json& shard : json.at("shards")) {
    manifest.shards.push_back(
        {shard.at("file").get<std::string>(), shard.at("bytes").get<int64_t>(),
         shard.at("checksum").get<std::string>(), shard.at("header_checksum").get<std::string>()});
  }
  return manifest;
}

}  // namespace

std::string ManifestToJson(const Manifest& manifest) {
  Json json = {{"format_version", kFormatVersion},
               {"job", manifest.job},
               {"attempt", manifest.attempt},
               {"step", manifest.step},
               {"tokens", manifest.tokens},
               {"skipped", manifest.skipped},
               {"skipped_in_a_row", manifest.skipped_in_a_row},
               {"commit", manifest.commit},
               {"data",
                {{"next_sample", manifest.next_sample},
                 {"seed", manifest.data_seed},
                 {"train", FilesToJson(manifest.train_files)},
                 {"validation", FilesToJson(manifest.validation_files)}}},
               {"training_seed", manifest.training_seed},
               {"model_hash", manifest.model_hash},
               {"plan_hash", manifest.plan_hash},
               {"spec", manifest.spec}};
  if (!manifest.origin.directory.empty()) {
    json["init_from"] = {{"directory", manifest.origin.directory},
                         {"checkpoint", manifest.origin.checkpoint}};
  }
  json["tensors"] = TensorsToJson(manifest);
  json["shards"] = ShardsToJson(manifest);
  json[kChecksum] = ChecksumOf(json.dump());
  return json.dump(1) + "\n";
}

absl::StatusOr<Manifest> ManifestFromJson(std::string_view text) {
  try {
    Json json = Json::parse(text);
    const int version = json.at("format_version").get<int>();
    if (version != kFormatVersion) {
      return absl::DataLossError(
          absl::StrCat("format_version is ", version, "; this program reads ", kFormatVersion));
    }
    const std::string checksum = json.at(kChecksum).get<std::string>();
    json.erase(kChecksum);
    if (const std::string found = ChecksumOf(json.dump()); found != checksum) {
      return absl::DataLossError(absl::StrCat("checksum is ", found, "; need ", checksum));
    }
    return FromJson(json);
  } catch (const std::exception& error) {  // what is not JSON, or lacks a key
    return absl::DataLossError(error.what());
  }
}

}  // namespace birkhoff
