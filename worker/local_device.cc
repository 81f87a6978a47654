// GPUs are looked up through kernels/cuda, which answers in every build; "auto" takes the CPU after
// any trouble with them.
#include "worker/local_device.h"

#include <unistd.h>

#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/status_macros.h"
#include "core/spec/peak_flops.h"
#include "core/spec/product_rate.h"
#include "kernels/cpu/paths.h"
#include "kernels/cuda/backend.h"

namespace birkhoff {
namespace {

int64_t MachineMemoryBytes() {
  return int64_t{::sysconf(_SC_PHYS_PAGES)} * int64_t{::sysconf(_SC_PAGE_SIZE)};
}

absl::StatusOr<int> GpuIndex(absl::string_view name) {
  int index = 0;
  if (name == "cuda") return index;
  absl::string_view number = name;
  if (absl::ConsumePrefix(&number, "cuda:") && absl::SimpleAtoi(number, &index) && index >= 0) {
    return index;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("device ", name, "; need auto, cpu, cuda or cuda:NUMBER"));
}

std::string Describe(const cuda::GpuInfo& gpu, const std::string& versions) {
  return absl::StrCat(gpu.name, ", ", versions);
}

// OpenBLAS is there where oneDNN has no kernels, or to compare.
double CpuProductRate(cpu::Paths paths) {
  const bool onednn = paths.products == cpu::ProductLibrary::kOneDnn;
  return ProductRate(onednn ? BestIsa() : Isa::kBaseline);
}

absl::StatusOr<LocalDevice> FindGpu(const std::string& text) {
  ASSIGN_OR_RETURN(const int index, GpuIndex(text));
  RETURN_IF_ERROR(cuda::CudaAvailable());
  ASSIGN_OR_RETURN(const std::vector<cuda::GpuInfo> gpus, cuda::ListGpus());
  if (index >= static_cast<int>(gpus.size())) {
    return absl::InvalidArgumentError(absl::StrCat("device ", text, ": this machine has ",
                                                   gpus.size(), " GPUs, numbered from 0"));
  }
  ASSIGN_OR_RETURN(const std::string versions, cuda::LibraryVersions());
  LocalDevice device;
  device.name = absl::StrCat("cuda:", index);
  device.resources.device = ProcessorName(Processor::kCuda);
  device.resources.memory_bytes = gpus[index].memory_bytes;
  device.resources.peak_flops = PeakFlops(gpus[index].name, Precision::kBf16);
  device.resources.description = Describe(gpus[index], versions);
  return device;
}

}  // namespace

absl::StatusOr<LocalDevice> FindLocalDevice(const std::string& text, int64_t cpu_memory_bytes,
                                            int threads) {
  if (text != "cpu") {
    absl::StatusOr<LocalDevice> gpu = FindGpu(text == "auto" ? "cuda" : text);
    if (gpu.ok() || text != "auto") return gpu;
  }
  RETURN_IF_ERROR(cpu::CheckEnvironment());
  LocalDevice device;
  device.name = device.resources.device = ProcessorName(Processor::kCpu);
  device.resources.description = DescribeCpu();
  device.resources.product_flops = threads * CpuProductRate(cpu::ThisProcess());
  device.resources.memory_bytes = cpu_memory_bytes > 0 ? cpu_memory_bytes : MachineMemoryBytes();
  return device;
}

std::string DescribeCpu() { return cpu::Describe(cpu::ThisProcess()); }

absl::StatusOr<std::string> DescribeGpus() {
  RETURN_IF_ERROR(FindGpu("cuda").status());
  ASSIGN_OR_RETURN(const std::vector<cuda::GpuInfo> gpus, cuda::ListGpus());
  ASSIGN_OR_RETURN(const std::string versions, cuda::LibraryVersions());
  std::string lines;
  for (const cuda::GpuInfo& gpu : gpus) {
    absl::StrAppend(&lines, "cuda:", gpu.index, "\t", Describe(gpu, versions), "\n");
  }
  return lines;
}

double PeakFlopsOf(const std::string& name, Precision precision) {
  if (name == "cpu") return 0.0;
  const absl::StatusOr<int> index = GpuIndex(name);
  const auto gpus = cuda::ListGpus();
  const bool there = index.ok() && gpus.ok() && *index < static_cast<int>(gpus->size());
  return there ? PeakFlops((*gpus)[*index].name, precision) : 0.0;
}

absl::StatusOr<std::unique_ptr<Device>> OpenLocalDevice(const std::string& name, int threads) {
  if (name == "cpu") return NewCpuDevice(threads);
  ASSIGN_OR_RETURN(const int index, GpuIndex(name));
  return cuda::NewDevice(index);
}

}  // namespace birkhoff
