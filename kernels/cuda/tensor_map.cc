// Tensor maps, made by the driver: it is asked for by name, so that nothing links against it.
#include "kernels/cuda/tensor_map.h"

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "kernels/cuda/status.h"

namespace birkhoff::cuda {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

absl::StatusOr<Encode> FindEncode() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  RETURN_IF_ERROR(ToStatus(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                                            12000, cudaEnableDefault, &found),
                           "tensor map"));
  if (found != cudaDriverEntryPointSuccess) {
    return absl::UnimplementedError("the driver has no tensor maps");
  }
  return reinterpret_cast<Encode>(function);
}

}  // namespace

absl::StatusOr<TensorMap> TensorMapOf(const BoxedRows& rows) {
  static const absl::StatusOr<Encode> encode = FindEncode();
  RETURN_IF_ERROR(encode.status());
  const auto channels = cuuint64_t(rows.channels), streams = cuuint64_t(rows.streams);
  const cuuint64_t sizes[3] = {channels, cuuint64_t(rows.tokens), streams};
  const cuuint64_t strides[2] = {channels * cuuint64_t(rows.TokenRows()) * sizeof(bf16),
                                 channels * cuuint64_t(rows.stream_rows) * sizeof(bf16)};
  const cuuint32_t box[3] = {kBoxChannels, cuuint32_t(rows.box_tokens), cuuint32_t(rows.streams)};
  const cuuint32_t steps[3] = {1, 1, 1};
  CUtensorMap map;
  static_assert(sizeof(map) == sizeof(TensorMap) && alignof(CUtensorMap) <= alignof(TensorMap));
  const CUresult result =
      (*encode)(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<bf16*>(rows.first), sizes,
                strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) {
    return absl::InternalError(absl::StrCat("cuTensorMapEncodeTiled gives ", int(result), " for [",
                                            rows.tokens, ", ", rows.streams, ", ", rows.channels,
                                            "]"));
  }
  TensorMap out;
  std::memcpy(out.opaque, &map, sizeof(map));
  return out;
}

}  // namespace birkhoff::cuda
