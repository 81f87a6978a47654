// The only file that includes cuDNN's frontend, whose headers take a compiler long.
#include "kernels/cuda/sdpa.h"

#include <cudnn_frontend.h>

#include <cmath>
#include <map>
#include <unordered_map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/base/status_macros.h"

namespace birkhoff::cuda {
namespace {

namespace fe = cudnn_frontend;
using Tensor = std::shared_ptr<fe::graph::Tensor_attributes>;
using Pointers = std::unordered_map<int64_t, void*>;

enum Uid : int64_t { kQ = 1, kK, kV, kOut, kLse, kDOut, kDQ, kDK, kDV };
enum class Pass { kForward, kBackward };

absl::Status ToStatus(cudnnStatus_t status, const char* what) {
  if (status == CUDNN_STATUS_SUCCESS) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(what, ": ", cudnnGetErrorString(status)));
}

absl::Status ToStatus(const fe::error_t& error, Pass pass, const SdpaShape& s) {
  if (error.is_good()) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(
      "cuDNN attention ", pass == Pass::kForward ? "forward" : "backward", " batch=", s.batch,
      " length=", s.length, " heads=", s.heads, " kv_heads=", s.kv_heads, " head_dim=", s.head_dim,
      " qkv_stride=", s.qkv_stride, ": ", error.err_msg));
}

// [batch, heads, length, head_dim] inside rows of the fused projection.
Tensor& InRows(Tensor& tensor, const SdpaShape& s, int64_t heads, int64_t row) {
  tensor->set_dim({s.batch, heads, s.length, s.head_dim})
      .set_stride({s.length * row, s.head_dim, row, 1});
  return tensor;
}

class GraphBuilder {
 public:
  explicit GraphBuilder(const SdpaShape& shape) : s_(shape) {
    graph_->set_io_data_type(fe::DataType_t::BFLOAT16)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
  }

  std::shared_ptr<fe::graph::Graph> Forward() {
    const auto attributes = fe::graph::SDPA_attributes()
                                .set_name("attention")
                                .set_generate_stats(true)
                                .set_causal_mask(true)
                                .set_attn_scale(Scale());
    auto [out, lse] =
        graph_->sdpa(Input(kQ, s_.heads, s_.qkv_stride), Input(kK, s_.kv_heads, s_.qkv_stride),
                     Input(kV, s_.kv_heads, s_.qkv_stride), attributes);
    Output(out, kOut, s_.heads, OutRow());
    lse->set_output(true).set_uid(kLse);
    AsLse(lse);
    return graph_;
  }

  std::shared_ptr<fe::graph::Graph> Backward(bool deterministic) {
    const auto attributes = fe::graph::SDPA_backward_attributes()
                                .set_name("attention gradient")
                                .set_causal_mask(true)
                                .set_attn_scale(Scale())
                                .set_deterministic_algorithm(deterministic);
    Tensor lse = New(kLse);
    AsLse(lse);
    auto [dq, dk, dv] = graph_->sdpa_backward(
        Input(kQ, s_.heads, s_.qkv_stride), Input(kK, s_.kv_heads, s_.qkv_stride),
        Input(kV, s_.kv_heads, s_.qkv_stride), Input(kOut, s_.heads, OutRow()),
        Input(kDOut, s_.heads, OutRow()), lse, attributes);
    Output(dq, kDQ, s_.heads, s_.qkv_stride);
    Output(dk, kDK, s_.kv_heads, s_.qkv_stride);
    Output(dv, kDV, s_.kv_heads, s_.qkv_stride);
    return graph_;
  }

 private:
  int64_t OutRow() const { return s_.heads * s_.head_dim; }
  float Scale() const { return float(1.0 / std::sqrt(double(s_.head_dim))); }

  Tensor New(Uid uid) { return graph_->tensor(fe::graph::Tensor_attributes().set_uid(uid)); }
  Tensor Input(Uid uid, int64_t heads, int64_t row) {
    Tensor tensor = New(uid);
    return InRows(tensor, s_, heads, row);
  }
  void Output(Tensor& tensor, Uid uid, int64_t heads, int64_t row) {
    InRows(tensor, s_, heads, row)->set_output(true).set_uid(uid);
  }
  // Packed: before cuDNN 9.26 the backward pass reads no other layout.
  void AsLse(Tensor& tensor) {
    tensor->set_data_type(fe::DataType_t::FLOAT)
        .set_dim({s_.batch, s_.heads, s_.length, 1})
        .set_stride({s_.heads * s_.length, s_.length, 1, 1});
  }

  const SdpaShape s_;
  const std::shared_ptr<fe::graph::Graph> graph_ = std::make_shared<fe::graph::Graph>();
};

struct Plan {
  std::shared_ptr<fe::graph::Graph> graph;  // shared, as the frontend wants its graphs
  int64_t workspace_bytes = 0;
};

// The frontend takes all pointers as void*.
template <typename T>
void* Address(const T* pointer) {
  return const_cast<T*>(pointer);
}

}  // namespace

class SdpaLibrary::Impl {
 public:
  Impl(cudnnHandle_t handle, bool deterministic) : handle_(handle), deterministic_(deterministic) {}
  ~Impl() { cudnnDestroy(handle_); }

  absl::StatusOr<int64_t> WorkspaceBytes(const SdpaShape& shape) {
    absl::MutexLock lock(&mutex_);
    ASSIGN_OR_RETURN(const Plan forward, Find(Pass::kForward, shape));
    ASSIGN_OR_RETURN(const Plan backward, Find(Pass::kBackward, shape));
    return std::max(forward.workspace_bytes, backward.workspace_bytes);
  }

  // Under the lock from choosing the handle's stream to the last launch on it.
  absl::Status Run(Pass pass, const SdpaShape& shape, Pointers pointers, void* workspace,
                   StreamHandle stream) {
    absl::MutexLock lock(&mutex_);
    ASSIGN_OR_RETURN(const Plan plan, Find(pass, shape));
    RETURN_IF_ERROR(ToStatus(cudnnSetStream(handle_, stream), "cudnnSetStream"));
    return ToStatus(plan.graph->execute(handle_, pointers, workspace), pass, shape);
  }

 private:
  using Key = std::pair<Pass, SdpaShape>;

  // What failed once is not tried again.
  absl::StatusOr<Plan> Find(Pass pass, const SdpaShape& shape)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto found = plans_.find({pass, shape});
    if (found != plans_.end()) return found->second;
    return plans_.emplace(Key{pass, shape}, Make(pass, shape)).first->second;
  }

  absl::StatusOr<Plan> Make(Pass pass, const SdpaShape& shape)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    GraphBuilder builder(shape);
    Plan plan;
    plan.graph = pass == Pass::kForward ? builder.Forward() : builder.Backward(deterministic_);
    RETURN_IF_ERROR(ToStatus(plan.graph->build(handle_, {fe::HeurMode_t::A}), pass, shape));
    RETURN_IF_ERROR(ToStatus(plan.graph->get_workspace_size(plan.workspace_bytes), pass, shape));
    return plan;
  }

  absl::Mutex mutex_;
  const cudnnHandle_t handle_;
  const bool deterministic_;
  std::map<Key, absl::StatusOr<Plan>> plans_ ABSL_GUARDED_BY(mutex_);
};

absl::StatusOr<std::unique_ptr<SdpaLibrary>> SdpaLibrary::New(bool deterministic) {
  cudnnHandle_t handle = nullptr;
  RETURN_IF_ERROR(ToStatus(cudnnCreate(&handle), "cudnnCreate"));
  return std::unique_ptr<SdpaLibrary>(
      new SdpaLibrary(std::make_unique<Impl>(handle, deterministic)));
}

SdpaLibrary::SdpaLibrary(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SdpaLibrary::~SdpaLibrary() = default;

absl::StatusOr<int64_t> SdpaLibrary::WorkspaceBytes(const SdpaShape& shape) {
  return impl_->WorkspaceBytes(shape);
}

absl::Status SdpaLibrary::Forward(const SdpaShape& shape, const SdpaForwardBuffers& b,
                                  StreamHandle stream) {
  const Pointers pointers = {
      {kQ, Address(b.q)}, {kK, Address(b.k)}, {kV, Address(b.v)}, {kOut, b.out}, {kLse, b.lse}};
  return impl_->Run(Pass::kForward, shape, pointers, b.workspace, stream);
}

absl::Status SdpaLibrary::Backward(const SdpaShape& shape, const SdpaBackwardBuffers& b,
                                   StreamHandle stream) {
  const Pointers pointers = {{kQ, Address(b.q)},
                             {kK, Address(b.k)},
                             {kV, Address(b.v)},
                             {kOut, Address(b.out)},
                             {kLse, Address(b.lse)},
                             {kDOut, Address(b.dout)},
                             {kDQ, b.dq},
                             {kDK, b.dk},
                             {kDV, b.dv}};
  return impl_->Run(Pass::kBackward, shape, pointers, b.workspace, stream);
}

}  // namespace birkhoff::cuda
