// What a job computes in: one type for streams, activations and the operands of products, one for
// what must not be rounded away (coefficients, gates, accumulators, masters, gradients, moments).
#pragma once

#include "core/base/dtype.h"

namespace birkhoff {

// Numbers are on the wire and in stored plans: never change one.
enum class Precision {
  kFp32 = 1,  // the CPU, and a GPU for comparison with it
  kBf16 = 2,  // a GPU
  kFp64 = 3,  // the reference of the tests; no spec asks for it
};

constexpr DType StreamType(Precision precision) {
  switch (precision) {
    case Precision::kFp32:
      return DType::kFloat32;
    case Precision::kBf16:
      return DType::kBfloat16;
    case Precision::kFp64:
      return DType::kFloat64;
  }
  return DType::kFloat32;
}

constexpr DType ScalarType(Precision precision) {
  return precision == Precision::kFp64 ? DType::kFloat64 : DType::kFloat32;
}

constexpr const char* PrecisionName(Precision precision) {
  return DTypeName(StreamType(precision));
}

}  // namespace birkhoff
