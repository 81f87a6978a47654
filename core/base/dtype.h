// Element types of everything that is stored, sent or computed, and the processors that compute.
#pragma once

#include <cstdint>

namespace birkhoff {

// Numbers are on the wire and in stored plans: never change one.
enum class DType { kFloat32 = 1, kFloat64 = 2, kBfloat16 = 3, kInt32 = 4 };

constexpr int64_t SizeOf(DType type) {
  switch (type) {
    case DType::kFloat64:
      return 8;
    case DType::kBfloat16:
      return 2;
    case DType::kFloat32:
    case DType::kInt32:
      return 4;
  }
  return 0;
}

constexpr const char* DTypeName(DType type) {
  switch (type) {
    case DType::kFloat32:
      return "fp32";
    case DType::kFloat64:
      return "fp64";
    case DType::kBfloat16:
      return "bf16";
    case DType::kInt32:
      return "int32";
  }
  return "?";
}

// What a device computes with.
enum class Processor { kCpu = 0, kCuda = 1 };

constexpr const char* ProcessorName(Processor processor) {
  return processor == Processor::kCpu ? "cpu" : "cuda";
}

}  // namespace birkhoff
