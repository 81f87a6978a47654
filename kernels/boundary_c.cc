// The names that both libraries of boundary_c.h export.
#include "kernels/boundary_c.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "core/base/version.h"
#include "kernels/boundary_c_args.h"

namespace birkhoff {
namespace {

// What a call returns; the reason, where there is one, into `message`.
int32_t Answer(const absl::Status& status, char* message, int64_t message_bytes) {
  if (status.ok() || message == nullptr || message_bytes <= 0) return int32_t(status.code());
  const std::string reason(status.message());
  const size_t length = std::min(reason.size(), size_t(message_bytes) - 1);
  std::memcpy(message, reason.data(), length);
  message[length] = '\0';
  return int32_t(status.code());
}

}  // namespace
}  // namespace birkhoff

extern "C" {

int32_t birkhoff_boundary_abi(void) { return BIRKHOFF_BOUNDARY_ABI; }

const char* birkhoff_boundary_version(void) { return birkhoff::kVersion; }

const char* birkhoff_boundary_mapping(int32_t mapping) {
  if (mapping < 0 || mapping >= int32_t(birkhoff::kMappings.size())) return nullptr;
  return birkhoff::kMappings[size_t(mapping)].name;
}

int32_t birkhoff_boundary_size(const birkhoff_boundary_problem* problem,
                               birkhoff_boundary_sizes* sizes, char* message,
                               int64_t message_bytes) {
  int64_t workspace_bytes = 0;
  const absl::Status status = birkhoff::boundary_c::Size(*problem, &workspace_bytes);
  if (status.ok()) {
    const birkhoff::BoundaryShape shape = birkhoff::ShapeOf(*problem);
    *sizes = {.coefficients_per_token = birkhoff::CoefficientsPerToken(shape),
              .logits_per_token = birkhoff::LogitsPerToken(shape),
              .projection = birkhoff::ProjectionElements(shape),
              .bias = birkhoff::BiasElements(shape),
              .workspace_bytes = workspace_bytes};
  }
  return birkhoff::Answer(status, message, message_bytes);
}

int32_t birkhoff_boundary_start(const birkhoff_boundary_problem* problem, double off_diagonal,
                                double* residual_bias, char* message, int64_t message_bytes) {
  int64_t workspace_bytes = 0;
  const absl::Status status = birkhoff::boundary_c::Size(*problem, &workspace_bytes);
  const birkhoff::BoundaryShape shape = birkhoff::ShapeOf(*problem);
  if (status.ok() && shape.kind == birkhoff::BoundaryKind::kMhc) {
    const int count = birkhoff::NumMixLogits(birkhoff::MixShapeOf(shape));
    for (int k = 0; k < count; ++k) {
      residual_bias[k] = birkhoff::TraitsOf(shape.mapping).start(k, shape.streams, off_diagonal);
    }
  }
  return birkhoff::Answer(status, message, message_bytes);
}

int32_t birkhoff_boundary_forward(const birkhoff_boundary_forward_args* args, void* stream,
                                  char* message, int64_t message_bytes) {
  return birkhoff::Answer(birkhoff::boundary_c::Forward(*args, stream), message, message_bytes);
}

int32_t birkhoff_boundary_backward(const birkhoff_boundary_backward_args* args, void* stream,
                                   char* message, int64_t message_bytes) {
  return birkhoff::Answer(birkhoff::boundary_c::Backward(*args, stream), message, message_bytes);
}

}  // extern "C"
