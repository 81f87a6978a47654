// What is no operand of products is its master in either type.
#include "worker/weight_lookup.h"

#include <string>

#include "core/base/check.h"

namespace birkhoff {
namespace {

const ParameterStore::Slot& SlotOf(const ParameterStore& store, const std::string& name) {
  const ParameterStore::Slot* slot = store.Find(name);
  BIRKHOFF_CHECK(slot != nullptr, name.c_str());
  return *slot;
}

Weight<float> MasterOf(const ParameterStore::Slot& slot) { return {slot.weight, slot.gradient}; }

}  // namespace

template <>
WeightLookup<float> LookupIn(const ParameterStore& store) {
  const auto master = [&store](const std::string& name) { return MasterOf(SlotOf(store, name)); };
  return {master, master};
}

template <>
WeightLookup<bf16> LookupIn(const ParameterStore& store) {
  return {[&store](const std::string& name) {
            const ParameterStore::Slot& slot = SlotOf(store, name);
            BIRKHOFF_CHECK(slot.copy != nullptr, "the plan has no bf16 copy of this parameter");
            return Weight<bf16>{slot.copy, slot.gradient};
          },
          [&store](const std::string& name) { return MasterOf(SlotOf(store, name)); }};
}

}  // namespace birkhoff
