// Every mapping, and the way from a row of core/base/mapping.h to its type.
#pragma once

#include "core/base/mapping.h"
#include "kernels/mappings/deepseek.h"
#include "kernels/mappings/gated_residual.h"
#include "kernels/mappings/identity.h"
#include "kernels/mappings/permutations.h"
#include "kernels/mappings/retention.h"
#include "kernels/mappings/sinkhorn.h"
#include "kernels/mappings/static.h"
#include "kernels/mappings/unconstrained.h"

namespace birkhoff {

// A mapping's type with its number, as an argument.
template <MappingKind kOf, typename Of>
struct MappingOf {
  static constexpr MappingKind kKind = kOf;
  using Type = Of;
};

// Calls work(MappingOf<...>()) with the one that is asked for.
template <typename Work>
void WithMappingType(MappingKind mapping, Work&& work) {
  switch (mapping) {
#define BIRKHOFF_CASE(Name, ...) \
  case MappingKind::k##Name:     \
    return work(MappingOf<MappingKind::k##Name, mappings::Name>());
    BIRKHOFF_MAPPINGS(BIRKHOFF_CASE)
#undef BIRKHOFF_CASE
  }
}

}  // namespace birkhoff
