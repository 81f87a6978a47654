// F: what a hyper-connection wraps.  It reads norm(u), writes y, and has no norm of its own.
// Backward comes in two halves: the input gradient, and the gradients of its two weight matrices,
// which nobody waits for.
#pragma once

#include <cstdint>

#include "core/spec/model.h"
#include "worker/microbatch.h"
#include "worker/transformer/key_value_cache.h"
#include "worker/transformer/launch.h"
#include "worker/transformer/weights.h"

namespace birkhoff {

// Memory of one sub-layer for one micro-batch (footprint.h says which of it is kept how long).
// Rows of t tokens, dense.  Legend as in weights.h; `inner` is Hq D + 2 Hkv D or 2 F wide.
template <typename T>
struct SubLayerTensors {
  const T* norm = nullptr;             // [t, C] norm(u)
  T* y = nullptr;                      // [t, C]
  T* inner = nullptr;                  // q, k, v with q and k rotated, or gate and up
  ScalarOf<T>* log_sum_exp = nullptr;  // [Hq, t]; attention only
  T* attention = nullptr;              // [t, Hq D]; attention only
  const T* dy = nullptr;               // [t, C]
  T* dinner = nullptr;  // gradient of the first product's output; of gate and up maybe `inner`
  T* dnorm = nullptr;   // [t, C]
  T* middle = nullptr;  // gradient of attention's output, maybe `dnorm`; hidden [t, F] or its own
  void* workspace = nullptr;  // attention's: AttentionWorkspaceBytes of core/spec/workspace.h
};

// One sub-layer of one micro-batch.  Borrowed.
template <typename T>
struct SubLayerCall {
  const Launch<T>& launch;
  const ModelSpec& model;
  const Microbatch& batch;
  const SubLayerWeights<T>& weights;
  SubLayerTensors<T> tensors;
  bool at_once = false, add = true;

  int64_t tokens() const { return batch.shape.tokens; }
};

// forward:         norm -> inner, log_sum_exp, attention, y
// backward input:  inner, log_sum_exp, attention, dy -> dinner, dnorm
// backward weight: norm, inner, attention, dy, dinner -> weight gradients (+=, or = where not `add`)
// Here dinner is the gradient of the unrotated q and k.  `middle` is overwritten by all of them;
// where `at_once`, backward weight follows its backward input, and finds there what that has left.
template <typename T>
void AttentionForward(const SubLayerCall<T>& call);
// The same where the batch goes on with the sequence in `cache`, from whose rows of `block` it also
// reads, and to which it adds its own.
template <typename T>
void AttentionForward(const SubLayerCall<T>& call, const KeyValueCache<T>& cache, int block);
template <typename T>
void AttentionBackwardInput(const SubLayerCall<T>& call);
template <typename T>
void AttentionBackwardWeight(const SubLayerCall<T>& call);

template <typename T>
void FeedForwardForward(const SubLayerCall<T>& call);
template <typename T>
void FeedForwardBackwardInput(const SubLayerCall<T>& call);
template <typename T>
void FeedForwardBackwardWeight(const SubLayerCall<T>& call);

}  // namespace birkhoff
