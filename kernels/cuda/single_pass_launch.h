// How single-pass kernels are launched: persistent grids of clusters, as many as the GPU holds.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <mutex>
#include <tuple>

#include "absl/status/statusor.h"
#include "core/base/status_macros.h"
#include "kernels/cuda/boundary_config.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/status.h"

namespace birkhoff::cuda {

// What the GPU says of a kernel: asked once, since asking takes as long as a launch.
struct KernelResidence {
  int clusters = 0;     // that the GPU holds at a time
  int registers = 0;    // of a thread
  int local_bytes = 0;  // of a thread: spills
};

// Of the kernels that a configuration chooses; for who measures them.
absl::StatusOr<KernelResidence> ForwardResidence(const BoundaryConfig& config, bool merge);
absl::StatusOr<KernelResidence> BackwardResidence(const BoundaryConfig& config,
                                                  const BoundaryShape& shape);

// Of a forward pass that is `mixed` (boundary_config.h).
absl::StatusOr<KernelResidence> MixedResidence(const BoundaryConfig& config, bool merge);
absl::StatusOr<int64_t> LaunchMixedForward(const SingleForwardArgs& usual,
                                           const BoundaryConfig& config, bool merge,
                                           StreamHandle stream);

template <typename Args>
using SinglePassKernel = void (*)(const Args);

inline cudaLaunchConfig_t LaunchConfig(const BoundaryConfig& config, int64_t clusters,
                                       cudaLaunchAttribute* cluster, StreamHandle stream) {
  cluster->id = cudaLaunchAttributeClusterDimension;
  cluster->val.clusterDim = {unsigned(config.geometry.cluster), 1, 1};
  cudaLaunchConfig_t launch = {};
  launch.gridDim = {unsigned(clusters * config.geometry.cluster), 1, 1};
  launch.blockDim = {unsigned(config.threads), 1, 1};
  launch.dynamicSmemBytes = size_t(config.shared_bytes);
  launch.stream = stream;
  launch.attrs = cluster;
  launch.numAttrs = 1;
  return launch;
}

template <typename Args>
absl::StatusOr<KernelResidence> AskResidence(SinglePassKernel<Args> kernel,
                                             const BoundaryConfig& config) {
  const void* function = reinterpret_cast<const void*>(kernel);
  // A kernel serves configurations of several sizes, so it may have all there is.
  RETURN_IF_ERROR(ToStatus(
      cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, kMostSharedBytes),
      "single pass: shared memory"));
  if (config.geometry.cluster > 8) {
    RETURN_IF_ERROR(
        ToStatus(cudaFuncSetAttribute(function, cudaFuncAttributeNonPortableClusterSizeAllowed, 1),
                 "single pass: cluster size"));
  }
  cudaLaunchAttribute cluster;
  const cudaLaunchConfig_t launch = LaunchConfig(config, 1, &cluster, nullptr);
  KernelResidence residence;
  RETURN_IF_ERROR(ToStatus(cudaOccupancyMaxActiveClusters(&residence.clusters, function, &launch),
                           "single pass: clusters"));
  cudaFuncAttributes attributes;
  RETURN_IF_ERROR(ToStatus(cudaFuncGetAttributes(&attributes, function), "single pass: registers"));
  residence.registers = attributes.numRegs;
  residence.local_bytes = int(attributes.localSizeBytes);
  return residence;
}

// Thread-safe.  The answers hold as long as the process: a GPU does not change.
template <typename Args>
absl::StatusOr<KernelResidence> ResidenceOf(SinglePassKernel<Args> kernel,
                                            const BoundaryConfig& config) {
  using Key = std::tuple<const void*, int, int, int, int>;
  static std::mutex mutex;
  static std::map<Key, KernelResidence> known;
  int device = 0;
  RETURN_IF_ERROR(ToStatus(cudaGetDevice(&device), "single pass: device"));
  const Key key = {reinterpret_cast<const void*>(kernel), device, config.threads,
                   config.shared_bytes, config.geometry.cluster};
  const std::lock_guard<std::mutex> lock(mutex);
  if (const auto found = known.find(key); found != known.end()) return found->second;
  ASSIGN_OR_RETURN(const KernelResidence residence, AskResidence(kernel, config));
  return known.emplace(key, residence).first->second;
}

// Queues the kernel; returns the number of clusters, 0 where the GPU has no room for one.
template <typename Args>
absl::StatusOr<int64_t> LaunchClusters(SinglePassKernel<Args> kernel, const BoundaryConfig& config,
                                       const Args& args, StreamHandle stream) {
  ASSIGN_OR_RETURN(const KernelResidence residence, ResidenceOf(kernel, config));
  const int64_t clusters = std::min<int64_t>(residence.clusters, config.most_clusters);
  if (clusters == 0) return 0;
  cudaLaunchAttribute cluster;
  const cudaLaunchConfig_t launch = LaunchConfig(config, clusters, &cluster, stream);
  RETURN_IF_ERROR(ToStatus(cudaLaunchKernelEx(&launch, kernel, args), "single pass"));
  return clusters;
}

}  // namespace birkhoff::cuda
