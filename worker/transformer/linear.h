// y = x W^T and its two gradients, with dense rows.
#pragma once

#include <cstdint>

#include "worker/transformer/launch.h"
#include "worker/transformer/must.h"
#include "worker/transformer/weights.h"

namespace birkhoff {

struct LinearShape {
  int64_t tokens = 0;
  int64_t inputs = 0;   // columns of x and W
  int64_t outputs = 0;  // columns of y, rows of W
};

template <typename T, typename Out>
GemmArgs<T, Out> LinearForwardArgs(const LinearShape& shape, const T* x, const Weight<T>& weight,
                                   Out* y, void* workspace) {
  return {.transpose_b = true,
          .m = shape.tokens,
          .n = shape.outputs,
          .k = shape.inputs,
          .a = x,
          .lda = shape.inputs,
          .b = weight.value.address(),
          .ldb = shape.inputs,
          .c = y,
          .ldc = shape.outputs,
          .workspace = workspace};
}

// y [tokens, outputs] = x [tokens, inputs] W^T
template <typename T>
void LinearForward(const Launch<T>& launch, const LinearShape& shape, const T* x,
                   const Weight<T>& weight, T* y) {
  Must(
      launch.backend.Gemm(launch.stream, LinearForwardArgs(shape, x, weight, y, launch.workspace)));
}

// The same without rounding y.
template <typename T>
void LinearForwardWide(const Launch<T>& launch, const LinearShape& shape, const T* x,
                       const Weight<T>& weight, ScalarOf<T>* y) {
  Must(launch.backend.GemmWide(launch.stream,
                               LinearForwardArgs(shape, x, weight, y, launch.workspace)));
}

// dx [tokens, inputs] = dy W
template <typename T>
void LinearBackwardInput(const Launch<T>& launch, const LinearShape& shape, const T* dy,
                         const Weight<T>& weight, T* dx) {
  Must(launch.backend.Gemm(launch.stream, {.m = shape.tokens,
                                           .n = shape.inputs,
                                           .k = shape.outputs,
                                           .a = dy,
                                           .lda = shape.outputs,
                                           .b = weight.value.address(),
                                           .ldb = shape.inputs,
                                           .c = dx,
                                           .ldc = shape.inputs,
                                           .workspace = launch.workspace}));
}

// dW [outputs, inputs] += dy^T x, or where not `add`, =
template <typename T>
void LinearBackwardWeight(const Launch<T>& launch, const LinearShape& shape, const T* dy,
                          const T* x, const Weight<T>& weight, bool add) {
  Must(launch.backend.GemmWide(launch.stream, {.transpose_a = true,
                                               .m = shape.outputs,
                                               .n = shape.inputs,
                                               .k = shape.tokens,
                                               .a = dy,
                                               .lda = shape.outputs,
                                               .b = x,
                                               .ldb = shape.inputs,
                                               .beta = add ? 1.0 : 0.0,
                                               .c = weight.gradient.address(),
                                               .ldc = shape.inputs,
                                               .workspace = launch.workspace}));
}

}  // namespace birkhoff
