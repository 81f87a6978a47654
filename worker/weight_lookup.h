// Where a stage finds its weights in a rank's store.
#pragma once

#include "worker/parameter_store.h"
#include "worker/transformer/weights.h"

namespace birkhoff {

// Masters are fp32 in each type; in bf16 the weights of products are looked up among the copies.
// T: float, bf16.  The store must outlive what it returns; a name that it does not have ends the
// process.
template <typename T>
WeightLookup<T> LookupIn(const ParameterStore& store);

}  // namespace birkhoff
