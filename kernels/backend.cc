// Which type computes where: float on both processors, double on the CPU, bf16 on a GPU.
#include "kernels/backend.h"

#include "absl/strings/str_cat.h"
#include "kernels/cuda/backend.h"

namespace birkhoff {
namespace {

template <typename T>
absl::Status NoSuchType(Processor processor) {
  return absl::UnimplementedError(
      absl::StrCat("no backend on ", ProcessorName(processor), " for ", DTypeName(kDTypeOf<T>)));
}

}  // namespace

template <>
absl::StatusOr<std::unique_ptr<Backend<float>>> NewBackend(Device& device,
                                                           const BackendOptions& options) {
  if (device.processor() == Processor::kCuda) return cuda::NewBackend<float>(device, options);
  return cpu::NewBackend<float>();
}

template <>
absl::StatusOr<std::unique_ptr<Backend<double>>> NewBackend(Device& device, const BackendOptions&) {
  if (device.processor() == Processor::kCuda) return NoSuchType<double>(device.processor());
  return cpu::NewBackend<double>();
}

template <>
absl::StatusOr<std::unique_ptr<Backend<bf16>>> NewBackend(Device& device,
                                                          const BackendOptions& options) {
  if (device.processor() == Processor::kCuda) return cuda::NewBackend<bf16>(device, options);
  return NoSuchType<bf16>(device.processor());
}

}  // namespace birkhoff
