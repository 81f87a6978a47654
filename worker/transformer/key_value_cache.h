// The keys and values of the tokens of one sequence so far, of every attention of a model: all that
// generation keeps from one token to the next.  Streams and their coefficients are each token's
// own.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "core/base/status_macros.h"
#include "core/spec/model.h"
#include "kernels/device.h"

namespace birkhoff {

// A row is a token's keys (rotated), then its values: [2, kv_heads, D].  Not thread-safe; the
// device must outlive it.
template <typename T>
class KeyValueCache {
 public:
  // Errors: what Device::Allocate says.
  static absl::StatusOr<KeyValueCache> Create(const ModelSpec& model, int64_t capacity,
                                              Device& device) {
    KeyValueCache cache;
    cache.capacity_ = capacity;
    cache.width_ = int64_t{2} * model.num_key_value_heads * HeadDim(model);
    const int64_t elements = model.num_hidden_layers * capacity * cache.width_;
    ASSIGN_OR_RETURN(cache.memory_, device.Allocate(elements * int64_t{sizeof(T)}));
    return cache;
  }

  int64_t capacity() const { return capacity_; }  // tokens
  int64_t length() const { return length_; }      // tokens that it holds
  int64_t width() const { return width_; }        // elements of a row
  // Row of a token in the attention of block `block`.
  DevicePtr<T> Row(int block, int64_t token) const {
    return memory_->data().As<T>() + (block * capacity_ + token) * width_;
  }

  void Clear() { length_ = 0; }
  // After all attentions have added their rows; length + tokens <= capacity.
  void Extend(int64_t tokens) { length_ += tokens; }

 private:
  KeyValueCache() = default;

  std::unique_ptr<DeviceMemory> memory_;
  int64_t capacity_ = 0, length_ = 0, width_ = 0;
};

}  // namespace birkhoff
