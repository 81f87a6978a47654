// How a batch is cut into runs, and where each lies in the call's buffers.  lse goes through the
// workspace, from the contract's layout to cuDNN's or back, unless one sequence is all tokens.
#include "kernels/cuda/attention.h"

#include <algorithm>
#include <initializer_list>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/rounding.h"
#include "core/base/status_macros.h"
#include "kernels/arguments.h"
#include "kernels/cuda/attention_lse.h"
#include "kernels/cuda/attention_plain.h"
#include "kernels/cuda/sdpa.h"

namespace birkhoff::cuda {
namespace {

// cuDNN works on tiles of 64 queries and refuses the gradient of one token; what is shorter than a
// tile is bound by its launch on either path.
constexpr int64_t kMinCudnnLength = 64;
constexpr int kMaxCudnnHeadDim = 128;
constexpr int64_t kVector = 8;  // bf16 of a 16-byte load
// Of the square of scores that the deterministic backward pass writes down; more sequences than fit
// go one part after the other.  One sequence is never split.
constexpr int64_t kMaxSquareBytes = int64_t{1} << 30;
constexpr int64_t kAlignment = 256;  // of the parts of the workspace

template <typename T>
bool CudnnTakes(const AttentionShape& shape, int64_t length) {
  return std::is_same_v<T, bf16> && shape.head_dim % kVector == 0 &&
         shape.head_dim <= kMaxCudnnHeadDim && shape.qkv_stride % kVector == 0 &&
         length >= kMinCudnnLength;
}

int64_t MaxCount(const AttentionShape& shape, int64_t length) {
  const int64_t square = shape.heads * length * length * int64_t{sizeof(bf16)};
  return std::max<int64_t>(kMaxSquareBytes / square, 1);
}

// Neighbours of equal length, in parts that one call takes; empty sequences are left out.
template <typename T>
std::vector<SequenceRun> RunsOf(const AttentionShape& shape, bool deterministic) {
  std::vector<SequenceRun> runs;
  for (int s = 0; s < shape.num_sequences; ++s) {
    const int64_t start = shape.sequence_starts[s];
    const int64_t length = shape.sequence_starts[s + 1] - start;
    if (length == 0) continue;
    const bool split = deterministic && CudnnTakes<T>(shape, length);
    if (!runs.empty() && runs.back().length == length &&
        !(split && runs.back().count == MaxCount(shape, length))) {
      ++runs.back().count;
    } else {
      runs.push_back({.start = start, .length = length, .count = 1});
    }
  }
  return runs;
}

SdpaShape SdpaShapeOf(const AttentionShape& shape, const SequenceRun& run) {
  return {.batch = run.count,
          .length = run.length,
          .heads = shape.heads,
          .kv_heads = shape.kv_heads,
          .head_dim = shape.head_dim,
          .qkv_stride = shape.qkv_stride};
}

// One sequence over all tokens: the contract's layout of lse is cuDNN's.
bool LseIsPacked(const AttentionShape& shape, const SequenceRun& run) {
  return run.count == 1 && run.length == shape.tokens;
}

int64_t PackedLseBytes(const AttentionShape& shape, const SequenceRun& run) {
  if (LseIsPacked(shape, run)) return 0;
  return RoundUp(run.count * shape.heads * run.length * int64_t{sizeof(float)}, kAlignment);
}

absl::Status CheckHeadDim(const char* op, const AttentionShape& shape) {
  if (shape.head_dim <= kPlainMaxHeadDim) return absl::OkStatus();
  return RefuseArgument(op, absl::StrCat("head_dim=", shape.head_dim), "at most 256 on a GPU");
}

absl::Status CheckAligned(const char* op, std::initializer_list<NamedPointer> pointers) {
  for (const NamedPointer& each : pointers) {
    if (reinterpret_cast<uintptr_t>(each.pointer) % 16 != 0) {
      return RefuseArgument(op, absl::StrCat(each.name, " at an odd address"),
                            "16-byte alignment for cuDNN");
    }
  }
  return absl::OkStatus();
}

absl::Status SdpaForward(SdpaLibrary& sdpa, const AttentionForwardArgs<bf16>& args,
                         const SequenceRun& run, StreamHandle stream) {
  const AttentionShape& shape = args.shape;
  RETURN_IF_ERROR(CheckAligned("attention forward",
                               {{"q", args.q}, {"k", args.k}, {"v", args.v}, {"out", args.out}}));
  std::byte* const workspace = static_cast<std::byte*>(args.workspace);
  const int64_t in = run.start * shape.qkv_stride;
  const bool packed = LseIsPacked(shape, run);
  float* const lse = packed ? args.lse : reinterpret_cast<float*>(workspace);
  RETURN_IF_ERROR(sdpa.Forward(SdpaShapeOf(shape, run),
                               {.q = args.q + in,
                                .k = args.k + in,
                                .v = args.v + in,
                                .out = args.out + run.start * shape.heads * shape.head_dim,
                                .lse = lse,
                                .workspace = workspace + PackedLseBytes(shape, run)},
                               stream));
  if (packed) return absl::OkStatus();
  return UnpackLse(lse, args.lse, shape.tokens, shape.heads, run, stream);
}

absl::Status SdpaBackward(SdpaLibrary& sdpa, const AttentionBackwardArgs<bf16>& args,
                          const SequenceRun& run, StreamHandle stream) {
  const AttentionShape& shape = args.shape;
  RETURN_IF_ERROR(CheckAligned("attention backward", {{"q", args.q},
                                                      {"k", args.k},
                                                      {"v", args.v},
                                                      {"out", args.out},
                                                      {"dout", args.dout},
                                                      {"dq", args.dq},
                                                      {"dk", args.dk},
                                                      {"dv", args.dv}}));
  std::byte* const workspace = static_cast<std::byte*>(args.workspace);
  const float* lse = args.lse;
  if (!LseIsPacked(shape, run)) {
    float* const packed = reinterpret_cast<float*>(workspace);
    RETURN_IF_ERROR(PackLse(args.lse, packed, shape.tokens, shape.heads, run, stream));
    lse = packed;
  }
  const int64_t in = run.start * shape.qkv_stride;
  const int64_t out = run.start * shape.heads * shape.head_dim;
  return sdpa.Backward(SdpaShapeOf(shape, run),
                       {.q = args.q + in,
                        .k = args.k + in,
                        .v = args.v + in,
                        .out = args.out + out,
                        .lse = lse,
                        .dout = args.dout + out,
                        .dq = args.dq + in,
                        .dk = args.dk + in,
                        .dv = args.dv + in,
                        .workspace = workspace + PackedLseBytes(shape, run)},
                       stream);
}

}  // namespace

template <typename T>
absl::StatusOr<std::unique_ptr<AttentionLibrary<T>>> AttentionLibrary<T>::New(bool deterministic) {
  std::unique_ptr<SdpaLibrary> sdpa;
  if constexpr (std::is_same_v<T, bf16>) {
    ASSIGN_OR_RETURN(sdpa, SdpaLibrary::New(deterministic));
  }
  return std::unique_ptr<AttentionLibrary>(new AttentionLibrary(std::move(sdpa), deterministic));
}

template <typename T>
AttentionLibrary<T>::AttentionLibrary(std::unique_ptr<SdpaLibrary> sdpa, bool deterministic)
    : sdpa_(std::move(sdpa)), deterministic_(deterministic) {}
template <typename T>
AttentionLibrary<T>::~AttentionLibrary() = default;

template <typename T>
absl::Status AttentionLibrary<T>::Forward(const AttentionForwardArgs<T>& args,
                                          StreamHandle stream) {
  RETURN_IF_ERROR(Validate(args));
  RETURN_IF_ERROR(CheckHeadDim("attention forward", args.shape));
  for (const SequenceRun& run : RunsOf<T>(args.shape, deterministic_)) {
    if constexpr (std::is_same_v<T, bf16>) {
      if (CudnnTakes<T>(args.shape, run.length)) {
        RETURN_IF_ERROR(SdpaForward(*sdpa_, args, run, stream));
        continue;
      }
    }
    RETURN_IF_ERROR(PlainAttentionForward(args, run, stream));
  }
  return absl::OkStatus();
}

template <typename T>
absl::Status AttentionLibrary<T>::Backward(const AttentionBackwardArgs<T>& args,
                                           StreamHandle stream) {
  RETURN_IF_ERROR(Validate(args));
  RETURN_IF_ERROR(CheckHeadDim("attention backward", args.shape));
  for (const SequenceRun& run : RunsOf<T>(args.shape, deterministic_)) {
    if constexpr (std::is_same_v<T, bf16>) {
      if (CudnnTakes<T>(args.shape, run.length)) {
        RETURN_IF_ERROR(SdpaBackward(*sdpa_, args, run, stream));
        continue;
      }
    }
    RETURN_IF_ERROR(PlainAttentionBackward(args, run, stream));
  }
  return absl::OkStatus();
}

template <typename T>
int64_t AttentionLibrary<T>::WorkspaceBytes(const AttentionShape& shape) const {
  int64_t most = kAlignment;  // the contract wants a workspace always
  for (const SequenceRun& run : RunsOf<T>(shape, deterministic_)) {
    int64_t bytes = PlainAttentionWorkspaceBytes(shape);
    if (CudnnTakes<T>(shape, run.length)) {
      const absl::StatusOr<int64_t> sdpa = sdpa_->WorkspaceBytes(SdpaShapeOf(shape, run));
      bytes = PackedLseBytes(shape, run) + (sdpa.ok() ? *sdpa : 0);
    }
    most = std::max(most, RoundUp(bytes, kAlignment));
  }
  return most;
}

template class AttentionLibrary<float>;
template class AttentionLibrary<bf16>;

}  // namespace birkhoff::cuda
