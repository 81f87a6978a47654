// A plan (operation, layouts, algorithm) for each problem, made by its first call and kept; where
// calibration asks for it, by trial.
// cuBLASLt is column-major: every product is asked for as its transpose, a and b trading places.
#include "kernels/cuda/gemm.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <array>
#include <cstring>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/base/status_macros.h"
#include "kernels/arguments.h"
#include "kernels/cuda/status.h"

namespace birkhoff::cuda {
namespace {

using cuda::ToStatus;
absl::Status ToStatus(cublasStatus_t status, const std::string& what) {
  if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(what, ": ", cublasLtGetStatusName(status), ": ",
                                          cublasLtGetStatusString(status)));
}

template <typename T, cublasStatus_t (*kDestroy)(T*)>
struct Destroy {
  using pointer = T*;
  void operator()(T* object) const { kDestroy(object); }
};
template <typename T, cublasStatus_t (*kDestroy)(T*)>
using Owned = std::unique_ptr<T, Destroy<T, kDestroy>>;

using Handle = Owned<cublasLtContext, cublasLtDestroy>;
using Layout = Owned<std::remove_pointer_t<cublasLtMatrixLayout_t>, cublasLtMatrixLayoutDestroy>;
using Operation = Owned<std::remove_pointer_t<cublasLtMatmulDesc_t>, cublasLtMatmulDescDestroy>;
using Preference =
    Owned<std::remove_pointer_t<cublasLtMatmulPreference_t>, cublasLtMatmulPreferenceDestroy>;

// What an algorithm depends on, in cuBLASLt's column-major words: our row-major c = op(a) op(b) is
// c^T = op(b)^T op(a)^T there, so that A is our b, B our a, and a stored row a column.
struct Problem {
  cudaDataType_t in, out;
  bool transpose_a, transpose_b;
  int64_t m, n, k, lda, ldb, ldc;
  uint32_t align_a, align_b, align_c;

  auto operator<=>(const Problem&) const = default;
  static const char* NameOf(cudaDataType_t type) { return type == CUDA_R_32F ? "f32" : "bf16"; }
  std::string ToString() const {
    return absl::StrCat("gemm ", NameOf(in), ">", NameOf(out), " ", n, "x", m, "x", k,
                        transpose_b ? " a^T" : "", transpose_a ? " b^T" : "", " ld ", ldb, ",", lda,
                        ",", ldc, " align ", align_b, ",", align_a, ",", align_c);
  }
};

struct Plan {
  Operation operation;
  Layout a, b, c;
  cublasLtMatmulAlgo_t algorithm = {};
};

template <typename T>
constexpr cudaDataType_t kCudaType = std::is_same_v<T, float> ? CUDA_R_32F : CUDA_R_16BF;

// Bytes that divide the address, 16 at most: no load of a kernel is wider, and the algorithm, and
// with it the bits, must not depend on where in an arena a buffer happens to lie.
uint32_t Alignment(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer) | 16;
  return uint32_t(address & -address);
}

template <typename T, typename Out>
Problem ProblemOf(const GemmArgs<T, Out>& args) {
  return {.in = kCudaType<T>,
          .out = kCudaType<Out>,
          .transpose_a = args.transpose_b,
          .transpose_b = args.transpose_a,
          .m = args.n,
          .n = args.m,
          .k = args.k,
          .lda = args.ldb,
          .ldb = args.lda,
          .ldc = args.ldc,
          .align_a = Alignment(args.b),
          .align_b = Alignment(args.a),
          .align_c = Alignment(args.c)};
}

absl::StatusOr<Layout> NewLayout(cudaDataType_t type, int64_t rows, int64_t columns, int64_t ld) {
  cublasLtMatrixLayout_t layout = nullptr;
  RETURN_IF_ERROR(
      ToStatus(cublasLtMatrixLayoutCreate(&layout, type, uint64_t(rows), uint64_t(columns), ld),
               "cublasLtMatrixLayoutCreate"));
  return Layout(layout);
}

absl::StatusOr<Operation> NewOperation(const Problem& problem) {
  cublasLtMatmulDesc_t raw = nullptr;
  RETURN_IF_ERROR(ToStatus(cublasLtMatmulDescCreate(&raw, CUBLAS_COMPUTE_32F, CUDA_R_32F),
                           "cublasLtMatmulDescCreate"));
  Operation operation(raw);
  for (const auto& [attribute, transpose] :
       {std::pair(CUBLASLT_MATMUL_DESC_TRANSA, problem.transpose_a),
        std::pair(CUBLASLT_MATMUL_DESC_TRANSB, problem.transpose_b)}) {
    const int32_t value = transpose ? CUBLAS_OP_T : CUBLAS_OP_N;
    RETURN_IF_ERROR(ToStatus(cublasLtMatmulDescSetAttribute(raw, attribute, &value, sizeof(value)),
                             "cublasLtMatmulDescSetAttribute"));
  }
  return operation;
}

absl::StatusOr<Preference> NewPreference(const Problem& problem) {
  cublasLtMatmulPreference_t raw = nullptr;
  RETURN_IF_ERROR(ToStatus(cublasLtMatmulPreferenceCreate(&raw), "cublasLtMatmulPreferenceCreate"));
  Preference preference(raw);
  const auto set = [raw](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    return ToStatus(cublasLtMatmulPreferenceSetAttribute(raw, attribute, &value, sizeof(value)),
                    "cublasLtMatmulPreferenceSetAttribute");
  };
  RETURN_IF_ERROR(
      set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{GemmLibrary::kWorkspaceBytes}));
  RETURN_IF_ERROR(
      set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE}));
  RETURN_IF_ERROR(set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, problem.align_a));
  RETURN_IF_ERROR(set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, problem.align_b));
  RETURN_IF_ERROR(set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, problem.align_c));
  RETURN_IF_ERROR(set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, problem.align_c));
  return preference;
}

// Without its algorithm.
absl::StatusOr<Plan> NewPlan(const Problem& p) {
  Plan plan;
  ASSIGN_OR_RETURN(plan.operation, NewOperation(p));
  ASSIGN_OR_RETURN(plan.a,
                   NewLayout(p.in, p.transpose_a ? p.k : p.m, p.transpose_a ? p.m : p.k, p.lda));
  ASSIGN_OR_RETURN(plan.b,
                   NewLayout(p.in, p.transpose_b ? p.n : p.k, p.transpose_b ? p.k : p.n, p.ldb));
  ASSIGN_OR_RETURN(plan.c, NewLayout(p.out, p.m, p.n, p.ldc));
  return plan;
}

// At least one and `most` at most, in the order of the heuristics.
absl::StatusOr<std::vector<cublasLtMatmulAlgo_t>> Candidates(cublasLtHandle_t handle,
                                                             const Problem& p, const Plan& plan,
                                                             int most) {
  ASSIGN_OR_RETURN(const Preference preference, NewPreference(p));
  std::vector<cublasLtMatmulHeuristicResult_t> results(static_cast<size_t>(most));
  int found = 0;
  RETURN_IF_ERROR(
      ToStatus(cublasLtMatmulAlgoGetHeuristic(handle, plan.operation.get(), plan.a.get(),
                                              plan.b.get(), plan.c.get(), plan.c.get(),
                                              preference.get(), most, results.data(), &found),
               p.ToString()));
  if (found == 0) return absl::InternalError(p.ToString() + ": cuBLASLt has no algorithm for it");
  std::vector<cublasLtMatmulAlgo_t> algorithms;
  for (int i = 0; i < found; ++i) algorithms.push_back(results[size_t(i)].algo);
  return algorithms;
}

using AlgorithmWords = std::array<uint64_t, 8>;
static_assert(sizeof(cublasLtMatmulAlgo_t) == sizeof(AlgorithmWords));

// One call, as cuBLASLt sees it.
struct Operands {
  float alpha;
  const void *a, *b;
  float beta;
  void *c, *workspace;
  cudaStream_t stream;
};

cublasStatus_t Launch(cublasLtHandle_t handle, const Plan& plan,
                      const cublasLtMatmulAlgo_t& algorithm, const Operands& o) {
  return cublasLtMatmul(handle, plan.operation.get(), &o.alpha, o.a, plan.a.get(), o.b,
                        plan.b.get(), &o.beta, o.c, plan.c.get(), o.c, plan.c.get(), &algorithm,
                        o.workspace, size_t{GemmLibrary::kWorkspaceBytes}, o.stream);
}

// The times of candidates on the operands of a call; negative: it does not run.
class GemmTrial {
 public:
  static absl::StatusOr<std::vector<double>> Run(
      cublasLtHandle_t handle, const Plan& plan,
      const std::vector<cublasLtMatmulAlgo_t>& candidates, const Operands& operands) {
    GemmTrial trial;
    RETURN_IF_ERROR(ToStatus(cudaEventCreate(&trial.begin_), "cudaEventCreate"));
    RETURN_IF_ERROR(ToStatus(cudaEventCreate(&trial.end_), "cudaEventCreate"));
    std::vector<double> best(candidates.size(), -1.0);
    // In rounds, so that a change of the clock meets all of them.
    for (int round = 0; round < kRounds; ++round) {
      for (size_t i = 0; i < candidates.size(); ++i) {
        if (round > 0 && best[i] < 0.0) continue;
        ASSIGN_OR_RETURN(const double us, trial.Time(handle, plan, candidates[i], operands));
        if (us >= 0.0 && (best[i] < 0.0 || us < best[i])) best[i] = us;
      }
    }
    return best;
  }
  ~GemmTrial() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }

 private:
  static constexpr int kRounds = 4, kLaunches = 5;

  GemmTrial() = default;
  absl::StatusOr<double> Time(cublasLtHandle_t handle, const Plan& plan,
                              const cublasLtMatmulAlgo_t& algorithm, const Operands& operands) {
    // The first call may load the kernel.
    if (Launch(handle, plan, algorithm, operands) != CUBLAS_STATUS_SUCCESS) return -1.0;
    RETURN_IF_ERROR(ToStatus(cudaEventRecord(begin_, operands.stream), "cudaEventRecord"));
    for (int i = 0; i < kLaunches; ++i) Launch(handle, plan, algorithm, operands);
    RETURN_IF_ERROR(ToStatus(cudaEventRecord(end_, operands.stream), "cudaEventRecord"));
    RETURN_IF_ERROR(ToStatus(cudaEventSynchronize(end_), "trial of a product"));
    float milliseconds = 0.0f;
    RETURN_IF_ERROR(
        ToStatus(cudaEventElapsedTime(&milliseconds, begin_, end_), "cudaEventElapsedTime"));
    return double(milliseconds) * 1e3 / kLaunches;
  }

  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

// What the algorithms of this library on the current card are good for.
absl::StatusOr<std::string> LibraryName() {
  int device = 0;
  cudaDeviceProp properties = {};
  RETURN_IF_ERROR(ToStatus(cudaGetDevice(&device), "cudaGetDevice"));
  RETURN_IF_ERROR(
      ToStatus(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties"));
  return absl::StrCat("cuBLASLt ", cublasLtGetVersion(), " on ", properties.name);
}

}  // namespace

class GemmLibrary::Impl {
 public:
  Impl(Handle handle, GemmChoices choices, bool search)
      : handle_(std::move(handle)), search_(search), choices_(std::move(choices)) {}

  absl::Status Run(const Problem& problem, const Operands& operands) {
    ASSIGN_OR_RETURN(const Plan* plan, Find(problem, operands));
    const cublasStatus_t status = Launch(handle_.get(), *plan, plan->algorithm, operands);
    if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
    return ToStatus(status, problem.ToString());
  }

  GemmChoices choices() const {
    absl::MutexLock lock(&mutex_);
    return choices_;
  }

 private:
  static constexpr int kCandidates = 16;
  static constexpr double kGain = 0.99;  // less is noise: the heuristics' first stays

  // Lives as long as this.
  absl::StatusOr<const Plan*> Find(const Problem& problem, const Operands& operands) {
    absl::MutexLock lock(&mutex_);
    const auto found = plans_.find(problem);
    if (found != plans_.end()) return &found->second;
    ASSIGN_OR_RETURN(Plan plan, NewPlan(problem));
    RETURN_IF_ERROR(Choose(problem, operands, &plan));
    return &plans_.emplace(problem, std::move(plan)).first->second;
  }

  absl::Status Choose(const Problem& problem, const Operands& operands, Plan* plan)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto chosen = choices_.by_problem.find(problem.ToString());
    if (chosen != choices_.by_problem.end()) return Take(problem, chosen->second, plan);
    ASSIGN_OR_RETURN(const std::vector<cublasLtMatmulAlgo_t> candidates,
                     Candidates(handle_.get(), problem, *plan, search_ ? kCandidates : 1));
    plan->algorithm = candidates.front();
    return search_ ? Search(problem, candidates, operands, plan) : absl::OkStatus();
  }

  absl::Status Take(const Problem& problem, const GemmChoice& choice, Plan* plan) {
    std::memcpy(&plan->algorithm, choice.algorithm.data(), sizeof(plan->algorithm));
    cublasLtMatmulHeuristicResult_t checked = {};
    const cublasStatus_t status =
        cublasLtMatmulAlgoCheck(handle_.get(), plan->operation.get(), plan->a.get(), plan->b.get(),
                                plan->c.get(), plan->c.get(), &plan->algorithm, &checked);
    RETURN_IF_ERROR(ToStatus(status, problem.ToString() + ": the chosen algorithm"));
    if (checked.workspaceSize <= size_t{kWorkspaceBytes}) return absl::OkStatus();
    return absl::InternalError(problem.ToString() + ": the chosen algorithm wants more workspace");
  }

  absl::Status Search(const Problem& problem, const std::vector<cublasLtMatmulAlgo_t>& candidates,
                      const Operands& operands, Plan* plan) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    ASSIGN_OR_RETURN(const std::vector<double> us,
                     GemmTrial::Run(handle_.get(), *plan, candidates, operands));
    size_t best = 0;
    for (size_t i = 1; i < us.size(); ++i) {
      const double limit = best == 0 ? us[0] * kGain : us[best];
      if (us[i] >= 0.0 && (us[best] < 0.0 || us[i] < limit)) best = i;
    }
    plan->algorithm = candidates[best];
    GemmChoice& choice = choices_.by_problem[problem.ToString()];
    std::memcpy(choice.algorithm.data(), &plan->algorithm, sizeof(plan->algorithm));
    choice.us = us[best];
    choice.first_us = us[0];
    return absl::OkStatus();
  }

  const Handle handle_;
  const bool search_;
  mutable absl::Mutex mutex_;
  GemmChoices choices_ ABSL_GUARDED_BY(mutex_);
  std::map<Problem, Plan> plans_ ABSL_GUARDED_BY(mutex_);
};

absl::StatusOr<std::unique_ptr<GemmLibrary>> GemmLibrary::New(const GemmChoices& choices,
                                                              bool search) {
  ASSIGN_OR_RETURN(const std::string library, LibraryName());
  if (!choices.by_problem.empty() && choices.library != library) {
    return absl::FailedPreconditionError(absl::StrCat("the card file has products of ",
                                                      choices.library, "; here is ", library,
                                                      ": calibrate anew, or go without it"));
  }
  cublasLtHandle_t handle = nullptr;
  RETURN_IF_ERROR(ToStatus(cublasLtCreate(&handle), "cublasLtCreate"));
  return std::unique_ptr<GemmLibrary>(new GemmLibrary(
      std::make_unique<Impl>(Handle(handle), GemmChoices{library, choices.by_problem}, search)));
}

GemmChoices GemmLibrary::choices() const { return impl_->choices(); }

GemmLibrary::GemmLibrary(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GemmLibrary::~GemmLibrary() = default;

template <typename T, typename Out>
absl::Status GemmLibrary::Gemm(const GemmArgs<T, Out>& args, StreamHandle stream) {
  RETURN_IF_ERROR(Validate(args));
  if (args.m == 0 || args.n == 0) return absl::OkStatus();
  if (args.k == 0) return ScaleRows(args.c, args.m, args.n, args.ldc, args.beta, stream);
  RETURN_IF_ERROR(RequirePointers("gemm", {{"workspace", args.workspace}}));
  return impl_->Run(ProblemOf(args), {float(args.alpha), args.b, args.a, float(args.beta), args.c,
                                      args.workspace, stream});
}

template absl::Status GemmLibrary::Gemm(const GemmArgs<float>&, StreamHandle);
template absl::Status GemmLibrary::Gemm(const GemmArgs<bf16>&, StreamHandle);
template absl::Status GemmLibrary::Gemm(const GemmArgs<bf16, float>&, StreamHandle);

}  // namespace birkhoff::cuda
