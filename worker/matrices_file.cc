// Sums over tokens stand in the shares already, for the gain of the mean matrix; a sub-layer's are
// filled by the one rank that owns it, so adding all rows is exact.
#include "worker/matrices_file.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/str_cat.h"

namespace birkhoff {
namespace {

using Json = nlohmann::ordered_json;

Json MeanMatrices(const ShareLayout& layout, std::span<const double> all, double tokens,
                  GainOf of) {
  Json by_sublayer = Json::array();
  for (int l = 0; l < layout.num_sublayers(); ++l) {
    std::vector<double> mean(layout.matrix_elements());
    for (size_t row = 0; row < all.size(); row += layout.length()) {
      const std::span<const double> sum = all.subspan(row + layout.MatrixAt(l, of), mean.size());
      for (size_t i = 0; i < mean.size(); ++i) mean[i] += sum[i];
    }
    for (double& value : mean) value /= tokens;
    by_sublayer.push_back(std::move(mean));
  }
  return by_sublayer;
}

}  // namespace

std::string MatricesToJson(const ShareLayout& layout, std::span<const double> all, int64_t tokens,
                           int64_t step) {
  const auto count = static_cast<double>(tokens);
  Json json;
  json["step"] = step;
  json["streams"] = std::llround(std::sqrt(static_cast<double>(layout.matrix_elements())));
  json["forward_by_sublayer"] = MeanMatrices(layout, all, count, GainOf::kPrefix);
  json["backward_by_sublayer"] = MeanMatrices(layout, all, count, GainOf::kSuffix);
  return json.dump();
}

absl::Status WriteMatrices(Disk& disk, const std::string& directory, const std::string& json) {
  return ReplaceFile(disk, absl::StrCat(directory, "/matrices.json"), json);
}

}  // namespace birkhoff
