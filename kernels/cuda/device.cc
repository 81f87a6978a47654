// A GPU behind the seam: streams, events and memory of the CUDA runtime.
#include "kernels/cuda/device.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstdlib>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/base/status_macros.h"
#include "kernels/cuda/backend.h"
#include "kernels/cuda/image.h"
#include "kernels/cuda/range.h"
#include "kernels/cuda/status.h"

namespace birkhoff::cuda {
namespace {

// Kernels are loaded with the context, not by their first launch: a load may wait for all running
// work, and behind a kernel that waits for another rank it would wait for ever.  CUDA reads the
// variable once, when a context begins; it is set before main, when there is one thread (for
// programs that open this code as a library, loader.cc has set it by now).  Who sets it outside has
// the last word.  What the libraries load by shape (a product's kernel, a plan of attention) is
// loaded by its first call, which a stage makes before it joins others.
[[maybe_unused]] const int kEagerLoading = setenv("CUDA_MODULE_LOADING", "EAGER", /*replace=*/0);

// What the calling thread is putting into a graph instead of on streams.
struct Recording {
  absl::Status status;  // the first error; none of the GPU's
  // Dependencies between streams have events of their own: one that is part of a graph can be
  // asked for nothing else.
  std::map<const Event*, cudaEvent_t> edges;

  ~Recording() {
    for (const auto& [event, edge] : edges) cudaEventDestroy(edge);
  }
};
thread_local Recording* recording = nullptr;

// One GPU, as its streams, events and memory see it.
class Gpu {
 public:
  explicit Gpu(int index) : index_(index) {}

  int index() const { return index_; }
  void Enter() { Check(cudaSetDevice(index_), "cudaSetDevice"); }
  // Keeps the first error; true: there is none in this call.  An error is told once: what stayed
  // as the thread's last error would be taken for one of the next launch.
  bool Check(cudaError_t error, const char* what) {
    if (error == cudaSuccess) return true;
    cudaGetLastError();
    const absl::Status status = ToStatus(error, absl::StrCat("cuda:", index_, ": ", what).c_str());
    if (recording != nullptr) {
      recording->status.Update(status);
      return false;
    }
    absl::MutexLock lock(&mutex_);
    status_.Update(status);
    return false;
  }
  absl::Status status() const {
    absl::MutexLock lock(&mutex_);
    return status_;
  }

 private:
  const int index_;
  mutable absl::Mutex mutex_;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

class CudaEvent final : public Event {
 public:
  CudaEvent(Gpu& gpu, bool for_host) : gpu_(gpu), for_host_(for_host) {
    gpu_.Enter();
    gpu_.Check(
        cudaEventCreateWithFlags(&event_, for_host ? cudaEventDefault : cudaEventDisableTiming),
        "cudaEventCreate");
  }
  ~CudaEvent() override { gpu_.Check(cudaEventDestroy(event_), "cudaEventDestroy"); }

  void Synchronize() override {
    if (recorded_) gpu_.Check(cudaEventSynchronize(event_), "cudaEventSynchronize");
  }
  bool Done() const override {
    if (!recorded_) return true;
    gpu_.Enter();  // any thread asks, and CUDA would give it another GPU's context
    const cudaError_t error = cudaEventQuery(event_);
    if (error == cudaErrorNotReady) return false;
    gpu_.Check(error, "cudaEventQuery");
    return true;
  }
  // CUDA is asked about reached points alone: its refusal of others would stay behind as the
  // thread's last error, for the next launch to find.
  int64_t NsSince(const Event& earlier) const override {
    const auto& from = static_cast<const CudaEvent&>(earlier);
    if (!recorded_ || !from.recorded_ || !Done() || !from.Done()) return 0;
    float milliseconds = 0.0f;
    const cudaError_t error = cudaEventElapsedTime(&milliseconds, from.event_, event_);
    return gpu_.Check(error, "cudaEventElapsedTime") ? int64_t(double(milliseconds) * 1e6) : 0;
  }

  void Record(cudaStream_t stream) {
    if (recording == nullptr) {
      gpu_.Check(cudaEventRecord(event_, stream), "cudaEventRecord");
    } else {
      // Each launch of the graph records it for the host and for times: a step of the graph too, so
      // that who waits for the edge joins behind it.
      if (for_host_) {
        gpu_.Check(cudaEventRecordWithFlags(event_, stream, cudaEventRecordExternal),
                   "cudaEventRecordWithFlags");
      }
      RecordEdge(stream);
    }
    recorded_ = true;
  }
  void WaitIn(cudaStream_t stream) {
    if (recording == nullptr) {
      gpu_.Check(cudaStreamWaitEvent(stream, event_, 0), "cudaStreamWaitEvent");
    } else if (const auto edge = recording->edges.find(this); edge != recording->edges.end()) {
      gpu_.Check(cudaStreamWaitEvent(stream, edge->second, 0), "cudaStreamWaitEvent");
    } else if (recorded_) {
      recording->status.Update(
          absl::FailedPreconditionError("a wait for what is no part of the graph"));
    }
  }

 private:
  void RecordEdge(cudaStream_t stream) {
    cudaEvent_t& edge = recording->edges[this];
    if (edge == nullptr) {
      gpu_.Check(cudaEventCreateWithFlags(&edge, cudaEventDisableTiming), "cudaEventCreate");
    }
    gpu_.Check(cudaEventRecord(edge, stream), "cudaEventRecord");
  }

  Gpu& gpu_;
  const bool for_host_;
  cudaEvent_t event_ = nullptr;
  std::atomic<bool> recorded_{false};
};

class CudaStream final : public Stream {
 public:
  CudaStream(Gpu& gpu, bool urgent) : gpu_(gpu) {
    gpu_.Enter();
    int least = 0, greatest = 0;
    gpu_.Check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "stream priorities");
    gpu_.Check(
        cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, urgent ? greatest : least),
        "cudaStreamCreateWithPriority");
  }
  ~CudaStream() override {
    Synchronize();
    gpu_.Check(cudaStreamDestroy(stream_), "cudaStreamDestroy");
  }

  void Record(Event& event) override { static_cast<CudaEvent&>(event).Record(Enter()); }
  void Wait(Event& event) override { static_cast<CudaEvent&>(event).WaitIn(Enter()); }
  void Synchronize() override {
    gpu_.Check(cudaStreamSynchronize(Enter()), "cudaStreamSynchronize");
  }

  void Copy(DevicePtr<std::byte> to, DevicePtr<const std::byte> from, int64_t bytes) override {
    Move(to.address(), from.address(), bytes, cudaMemcpyDeviceToDevice, "copy");
  }
  void Upload(DevicePtr<std::byte> to, const std::byte* from, int64_t bytes) override {
    Move(to.address(), from, bytes, cudaMemcpyHostToDevice, "upload");
  }
  void Download(std::byte* to, DevicePtr<const std::byte> from, int64_t bytes) override {
    Move(to, from.address(), bytes, cudaMemcpyDeviceToHost, "download");
  }
  void Fill(DevicePtr<std::byte> to, std::byte value, int64_t bytes) override {
    if (bytes == 0) return;
    gpu_.Check(cudaMemsetAsync(to.address(), std::to_integer<int>(value), size_t(bytes), Enter()),
               "fill");
  }
  void HostWork(std::function<void()> work) override {
    if (recording != nullptr) {
      return recording->status.Update(
          absl::FailedPreconditionError("work of the host is no part of a graph"));
    }
    auto owned = std::make_unique<std::function<void()>>(std::move(work));
    if (gpu_.Check(cudaLaunchHostFunc(Enter(), RunHostWork, owned.get()), "cudaLaunchHostFunc")) {
      (void)owned.release();  // RunHostWork owns it
    }
  }

  void EnterRange(const char* name) override { PushRange(name); }
  void LeaveRange() override { PopRange(); }

  // CUDA's handle, its GPU made current.
  cudaStream_t Enter() {
    gpu_.Enter();
    return stream_;
  }

 private:
  static void RunHostWork(void* work) {
    const std::unique_ptr<std::function<void()>> owned(static_cast<std::function<void()>*>(work));
    (*owned)();
  }
  void Move(void* to, const void* from, int64_t bytes, cudaMemcpyKind kind, const char* what) {
    if (bytes == 0) return;
    gpu_.Check(cudaMemcpyAsync(to, from, size_t(bytes), kind, Enter()), what);
  }

  Gpu& gpu_;
  cudaStream_t stream_ = nullptr;
};

absl::Status CheckSize(const char* what, int64_t bytes) {
  if (bytes >= 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(what, ": bytes=", bytes, "; need bytes >= 0"));
}

// "what: no room for n bytes", and no trace of it in the thread's last error.
absl::Status AllocationStatus(cudaError_t error, const char* what, int64_t bytes) {
  if (error == cudaSuccess) return absl::OkStatus();
  cudaGetLastError();
  if (error != cudaErrorMemoryAllocation) return ToStatus(error, what);
  return absl::ResourceExhaustedError(absl::StrCat(what, ": no room for ", bytes, " bytes"));
}

class CudaMemory final : public DeviceMemory {
 public:
  // `allocated` counts the bytes while the memory lives; both it and `gpu` must outlive this.
  CudaMemory(Gpu& gpu, std::byte* data, int64_t size, std::atomic<int64_t>& allocated)
      : gpu_(gpu), data_(data), size_(size), allocated_(allocated) {
    allocated_ += size_;
  }
  ~CudaMemory() override {
    allocated_ -= size_;
    gpu_.Enter();
    gpu_.Check(cudaFree(data_), "cudaFree");
  }
  DevicePtr<std::byte> data() const override { return DevicePtr<std::byte>(data_); }
  int64_t size() const override { return size_; }

 private:
  Gpu& gpu_;
  std::byte* const data_;
  const int64_t size_;
  std::atomic<int64_t>& allocated_;
};

class PinnedMemory final : public HostMemory {
 public:
  PinnedMemory(Gpu& gpu, std::byte* data, int64_t size) : gpu_(gpu), data_(data), size_(size) {}
  ~PinnedMemory() override { gpu_.Check(cudaFreeHost(data_), "cudaFreeHost"); }
  std::byte* data() const override { return data_; }
  int64_t size() const override { return size_; }

 private:
  Gpu& gpu_;
  std::byte* const data_;
  const int64_t size_;
};

class CudaGraph final : public Graph {
 public:
  CudaGraph(Gpu& gpu, cudaGraphExec_t graph) : gpu_(gpu), graph_(graph) {}
  ~CudaGraph() override {
    gpu_.Enter();
    gpu_.Check(cudaGraphExecDestroy(graph_), "cudaGraphExecDestroy");
  }
  void Launch(Stream& stream) override {
    gpu_.Check(cudaGraphLaunch(graph_, static_cast<CudaStream&>(stream).Enter()),
               "cudaGraphLaunch");
  }

 private:
  Gpu& gpu_;
  const cudaGraphExec_t graph_;
};

// Relaxed: libraries may ask the driver what a stricter mode refuses, and nothing of ours allocates
// between the two ends.
absl::StatusOr<cudaGraph_t> RecordGraph(cudaStream_t stream, absl::FunctionRef<void()> enqueue) {
  Recording mine;
  RETURN_IF_ERROR(ToStatus(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed),
                           "cudaStreamBeginCapture"));
  recording = &mine;
  enqueue();
  recording = nullptr;
  cudaGraph_t graph = nullptr;
  mine.status.Update(ToStatus(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture"));
  if (mine.status.ok()) return graph;
  cudaGetLastError();
  if (graph != nullptr) cudaGraphDestroy(graph);
  return mine.status;
}

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(int index) : gpu_(index) {}

  std::unique_ptr<Stream> NewStream(const std::string& name) override {
    return std::make_unique<CudaStream>(gpu_, absl::EndsWith(name, "-high"));
  }
  std::unique_ptr<Event> NewEvent() override { return std::make_unique<CudaEvent>(gpu_, true); }
  std::unique_ptr<Event> NewEdge() override { return std::make_unique<CudaEvent>(gpu_, false); }

  // At least a byte, so that an empty allocation has an address too.
  absl::StatusOr<std::unique_ptr<DeviceMemory>> Allocate(int64_t bytes) override {
    constexpr char kWhat[] = "cuda memory";
    RETURN_IF_ERROR(CheckSize(kWhat, bytes));
    gpu_.Enter();
    void* data = nullptr;
    const cudaError_t error = cudaMalloc(&data, size_t(std::max<int64_t>(bytes, 1)));
    RETURN_IF_ERROR(AllocationStatus(error, kWhat, bytes));
    return std::make_unique<CudaMemory>(gpu_, static_cast<std::byte*>(data), bytes, allocated_);
  }
  absl::StatusOr<std::unique_ptr<HostMemory>> AllocateHost(int64_t bytes) override {
    constexpr char kWhat[] = "pinned host memory";
    RETURN_IF_ERROR(CheckSize(kWhat, bytes));
    gpu_.Enter();
    void* data = nullptr;
    const cudaError_t error =
        cudaHostAlloc(&data, size_t(std::max<int64_t>(bytes, 1)), cudaHostAllocDefault);
    RETURN_IF_ERROR(AllocationStatus(error, kWhat, bytes));
    return std::make_unique<PinnedMemory>(gpu_, static_cast<std::byte*>(data), bytes);
  }

  absl::StatusOr<std::unique_ptr<Graph>> Capture(Stream& stream,
                                                 absl::FunctionRef<void()> enqueue) override {
    ASSIGN_OR_RETURN(const cudaGraph_t graph,
                     RecordGraph(static_cast<CudaStream&>(stream).Enter(), enqueue));
    cudaGraphExec_t ready = nullptr;
    const cudaError_t error =
        cudaGraphInstantiate(&ready, graph, cudaGraphInstantiateFlagUseNodePriority);
    cudaGraphDestroy(graph);
    if (error != cudaSuccess) cudaGetLastError();
    RETURN_IF_ERROR(ToStatus(error, "cudaGraphInstantiate"));
    return std::make_unique<CudaGraph>(gpu_, ready);
  }

  int64_t allocated_bytes() const override { return allocated_; }
  Processor processor() const override { return Processor::kCuda; }
  std::string name() const override { return absl::StrCat("cuda:", gpu_.index()); }
  absl::Status status() const override { return gpu_.status(); }

  void Enter() { gpu_.Enter(); }

 private:
  Gpu gpu_;
  std::atomic<int64_t> allocated_{0};
};

absl::Status CheckIndex(int index) {
  int count = 0;
  RETURN_IF_ERROR(ToStatus(cudaGetDeviceCount(&count), "cudaGetDeviceCount"));
  if (index >= 0 && index < count) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("device: cuda:", index, "; need an index below ",
                                                 count, ", the GPUs that are visible here"));
}

}  // namespace

StreamHandle Enter(Stream& stream) {
  assert(dynamic_cast<CudaStream*>(&stream) != nullptr);
  return static_cast<CudaStream&>(stream).Enter();
}

void Enter(Device& device) {
  assert(device.processor() == Processor::kCuda);
  static_cast<CudaDevice&>(device).Enter();
}

absl::StatusOr<std::unique_ptr<Device>> NewDevice(int index) {
  RETURN_IF_ERROR(CudaAvailable());
  RETURN_IF_ERROR(CheckIndex(index));
  RETURN_IF_ERROR(ToStatus(cudaSetDevice(index), "cudaSetDevice"));
  RETURN_IF_ERROR(ToStatus(cudaFree(nullptr), "the GPU's context"));
  RETURN_IF_ERROR(CheckKernelImage());
  return std::make_unique<CudaDevice>(index);
}

}  // namespace birkhoff::cuda
