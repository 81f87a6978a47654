// y = x W^T and its two gradients, with dense rows.
#pragma once

#include <cstdint>

#include "kernels/matmul.h"
#include "worker/transformer/must.h"
#include "worker/transformer/weights.h"

namespace birkhoff {

struct LinearShape {
  int64_t tokens = 0;
  int64_t inputs = 0;   // columns of x and W
  int64_t outputs = 0;  // columns of y, rows of W
};

// y [tokens, outputs] = x [tokens, inputs] W^T
template <typename T>
void LinearForward(const LinearShape& shape, const T* x, const Weight<T>& weight, T* y) {
  Must(cpu::Gemm<T>({.transpose_b = true,
                     .m = shape.tokens,
                     .n = shape.outputs,
                     .k = shape.inputs,
                     .a = x,
                     .lda = shape.inputs,
                     .b = weight.value,
                     .ldb = shape.inputs,
                     .c = y,
                     .ldc = shape.outputs}));
}

// dx [tokens, inputs] = dy W
template <typename T>
void LinearBackwardInput(const LinearShape& shape, const T* dy, const Weight<T>& weight, T* dx) {
  Must(cpu::Gemm<T>({.m = shape.tokens,
                     .n = shape.inputs,
                     .k = shape.outputs,
                     .a = dy,
                     .lda = shape.outputs,
                     .b = weight.value,
                     .ldb = shape.inputs,
                     .c = dx,
                     .ldc = shape.inputs}));
}

// dW [outputs, inputs] += dy^T x
template <typename T>
void LinearBackwardWeight(const LinearShape& shape, const T* dy, const T* x,
                          const Weight<T>& weight) {
  Must(cpu::Gemm<T>({.transpose_a = true,
                     .m = shape.outputs,
                     .n = shape.inputs,
                     .k = shape.tokens,
                     .a = dy,
                     .lda = shape.outputs,
                     .b = x,
                     .ldb = shape.inputs,
                     .beta = 1,
                     .c = weight.gradient,
                     .ldc = shape.inputs}));
}

}  // namespace birkhoff
