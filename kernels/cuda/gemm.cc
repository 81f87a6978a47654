// A plan (operation, layouts, algorithm) for each problem, made by its first call and kept.
// cuBLASLt is column-major: every product is asked for as its transpose, a and b trading places.
#include "kernels/cuda/gemm.h"

#include <cublasLt.h>

#include <array>
#include <map>
#include <type_traits>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/base/status_macros.h"
#include "kernels/arguments.h"

namespace birkhoff::cuda {
namespace {

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
  std::string ToString() const {
    return absl::StrCat("gemm ", n, "x", m, "x", k, transpose_b ? " a^T" : "",
                        transpose_a ? " b^T" : "", " ld ", ldb, ",", lda, ",", ldc, " align ",
                        align_b, ",", align_a, ",", align_c);
  }
};

struct Plan {
  Operation operation;
  Layout a, b, c;
  cublasLtMatmulAlgo_t algorithm;
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

absl::StatusOr<Plan> NewPlan(cublasLtHandle_t handle, const Problem& p) {
  Plan plan;
  ASSIGN_OR_RETURN(plan.operation, NewOperation(p));
  ASSIGN_OR_RETURN(plan.a,
                   NewLayout(p.in, p.transpose_a ? p.k : p.m, p.transpose_a ? p.m : p.k, p.lda));
  ASSIGN_OR_RETURN(plan.b,
                   NewLayout(p.in, p.transpose_b ? p.n : p.k, p.transpose_b ? p.k : p.n, p.ldb));
  ASSIGN_OR_RETURN(plan.c, NewLayout(p.out, p.m, p.n, p.ldc));
  ASSIGN_OR_RETURN(const Preference preference, NewPreference(p));
  cublasLtMatmulHeuristicResult_t result = {};
  int found = 0;
  RETURN_IF_ERROR(ToStatus(cublasLtMatmulAlgoGetHeuristic(
                               handle, plan.operation.get(), plan.a.get(), plan.b.get(),
                               plan.c.get(), plan.c.get(), preference.get(), 1, &result, &found),
                           p.ToString()));
  if (found == 0) return absl::InternalError(p.ToString() + ": cuBLASLt has no algorithm for it");
  plan.algorithm = result.algo;
  return plan;
}

}  // namespace

class GemmLibrary::Impl {
 public:
  explicit Impl(Handle handle) : handle_(std::move(handle)) {}

  absl::Status Run(const Problem& problem, float alpha, const void* a, const void* b, float beta,
                   void* c, void* workspace, StreamHandle stream) {
    ASSIGN_OR_RETURN(const Plan* plan, Find(problem));
    const cublasStatus_t status =
        cublasLtMatmul(handle_.get(), plan->operation.get(), &alpha, a, plan->a.get(), b,
                       plan->b.get(), &beta, c, plan->c.get(), c, plan->c.get(), &plan->algorithm,
                       workspace, size_t{GemmLibrary::kWorkspaceBytes}, stream);
    if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
    return ToStatus(status, problem.ToString());
  }

 private:
  // Lives as long as this.
  absl::StatusOr<const Plan*> Find(const Problem& problem) {
    absl::MutexLock lock(&mutex_);
    const auto found = plans_.find(problem);
    if (found != plans_.end()) return &found->second;
    ASSIGN_OR_RETURN(Plan plan, NewPlan(handle_.get(), problem));
    return &plans_.emplace(problem, std::move(plan)).first->second;
  }

  const Handle handle_;
  absl::Mutex mutex_;
  std::map<Problem, Plan> plans_ ABSL_GUARDED_BY(mutex_);
};

absl::StatusOr<std::unique_ptr<GemmLibrary>> GemmLibrary::New() {
  cublasLtHandle_t handle = nullptr;
  RETURN_IF_ERROR(ToStatus(cublasLtCreate(&handle), "cublasLtCreate"));
  return std::unique_ptr<GemmLibrary>(new GemmLibrary(std::make_unique<Impl>(Handle(handle))));
}

GemmLibrary::GemmLibrary(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GemmLibrary::~GemmLibrary() = default;

template <typename T, typename Out>
absl::Status GemmLibrary::Gemm(const GemmArgs<T, Out>& args, StreamHandle stream) {
  RETURN_IF_ERROR(Validate(args));
  if (args.m == 0 || args.n == 0) return absl::OkStatus();
  if (args.k == 0) return ScaleRows(args.c, args.m, args.n, args.ldc, args.beta, stream);
  RETURN_IF_ERROR(RequirePointers("gemm", {{"workspace", args.workspace}}));
  return impl_->Run(ProblemOf(args), float(args.alpha), args.b, args.a, float(args.beta), args.c,
                    args.workspace, stream);
}

template absl::Status GemmLibrary::Gemm(const GemmArgs<float>&, StreamHandle);
template absl::Status GemmLibrary::Gemm(const GemmArgs<bf16>&, StreamHandle);
template absl::Status GemmLibrary::Gemm(const GemmArgs<bf16, float>&, StreamHandle);

}  // namespace birkhoff::cuda
