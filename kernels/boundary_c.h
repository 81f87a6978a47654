/* The boundary (kernels/boundary.h) in plain C, for other languages: python/ calls it by ctypes.
 *
 * Two libraries export these names: libbirkhoff_boundary_cuda.so, the kernels of a GPU and CUDA's
 * runtime with them, which needs the driver alone, and libbirkhoff_boundary_cpu.so.  Neither knows
 * of the other, nor of the GPU backend of the programs.
 *
 * Shapes, layouts and what a field is for are kernels/boundary.h's, by the same names; enumerations
 * are its numbers, the dtype core/base/dtype.h's (fp32 1, fp64 2, bf16 3).  T is the dtype, S fp32
 * with bf16, else T.  CUDA takes fp32 and bf16, the CPU fp32 and fp64.  Gains are not measured.
 *
 * Calls allocate nothing and keep nothing.  On a GPU they queue on `stream`, a cudaStream_t of the
 * GPU that is current, and return; on the CPU they return when the work is done, and ignore it.
 * Same input, same bits.  Any thread may call.
 *
 * They return 0, or the code of an absl::Status (3 INVALID_ARGUMENT, nothing was written; 12
 * UNIMPLEMENTED such a dtype; 13 INTERNAL), and then `message`, where it is not null, holds the reason,
 * cut to `message_bytes` with its closing zero.
 */
#ifndef BIRKHOFF_KERNELS_BOUNDARY_C_H_
#define BIRKHOFF_KERNELS_BOUNDARY_C_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of the structures below; another number, other fields. */
#define BIRKHOFF_BOUNDARY_ABI 1

typedef struct {
  int32_t dtype; /* T */
  int32_t kind;
  int32_t mapping;
  int32_t sinkhorn_iterations;
  int32_t streams;
  int32_t sink;
  int32_t contract;
  int32_t source; /* kReceived or kMerge */
  int64_t tokens;
  int64_t channels;
  double mix_eps;
  double norm_eps;
} birkhoff_boundary_problem;

/* In elements, but for the workspace. */
typedef struct {
  int64_t coefficients_per_token;
  int64_t logits_per_token;
  int64_t projection;
  int64_t bias;
  int64_t workspace_bytes; /* of the backward call */
} birkhoff_boundary_sizes;

typedef struct {
  birkhoff_boundary_problem problem;
  const void* source_x;
  const void* source_y;
  const void* source_coefficients;
  void* x;
  const void* projection;
  const void* alpha;
  const void* bias;
  const void* gamma;
  void* coefficients;
  void* logits;
  void* contracted;
  void* norm_out;
  void* norm_inv_rms;
} birkhoff_boundary_forward_args;

typedef struct {
  birkhoff_boundary_problem problem;
  int32_t equal_streams;
  const void* dx_above;
  const void* x;
  const void* contracted;
  const void* y;
  const void* dnorm;
  const void* norm_inv_rms;
  const void* coefficients;
  const void* logits;
  const void* projection;
  const void* alpha;
  const void* bias;
  const void* gamma;
  void* dprojection; /* gradients of parameters are added to */
  void* dalpha;
  void* dbias;
  void* dgamma;
  void* dx;
  const void* coefficients_below;
  void* dy_below;
  void* workspace;
} birkhoff_boundary_backward_args;

int32_t birkhoff_boundary_abi(void);         /* BIRKHOFF_BOUNDARY_ABI */
const char* birkhoff_boundary_version(void); /* of Birkhoff, "0.1.0" */
/* The name of a mapping, "sinkhorn"; null beyond the last. */
const char* birkhoff_boundary_mapping(int32_t mapping);

int32_t birkhoff_boundary_size(const birkhoff_boundary_problem* problem,
                               birkhoff_boundary_sizes* sizes, char* message,
                               int64_t message_bytes);
/* Where the mapping's K_res biases start, the last of the [2n + K_res] (model.residual's
 * bias_res_off_diagonal); none but for kMhc. */
int32_t birkhoff_boundary_start(const birkhoff_boundary_problem* problem, double off_diagonal,
                                double* residual_bias, char* message, int64_t message_bytes);
int32_t birkhoff_boundary_forward(const birkhoff_boundary_forward_args* args, void* stream,
                                  char* message, int64_t message_bytes);
int32_t birkhoff_boundary_backward(const birkhoff_boundary_backward_args* args, void* stream,
                                   char* message, int64_t message_bytes);

#ifdef __cplusplus
}
#endif

#endif /* BIRKHOFF_KERNELS_BOUNDARY_C_H_ */
