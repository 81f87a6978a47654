// Follows what every buffer of a rank holds through one program.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/plan/check_rank.h"
#include "core/plan/operands.h"
#include "core/plan/order.h"
#include "core/plan/plan.h"
#include "core/spec/footprint.h"

namespace birkhoff {

// All arguments must outlive it.  `order` grows with the program: it must hold an instruction
// before that is followed.
class MemoryFollower {
 public:
  MemoryFollower(const Plan& plan, const std::vector<StageLayout>& layouts, RankProgram which,
                 const ProgramOrder& order);

  // Follows the next instruction, which is well formed by itself (check_form.h).  Empty, or what is
  // wrong: a read of something else, a fill of what is not empty, a home too many or few, a race.
  std::string Follow(int index);

  // What is held at the end and who filled it.
  struct Leak {
    int index = 0;
    std::string reason;
  };
  std::optional<Leak> FindLeak() const;

 private:
  struct Held {
    int stage = -1;  // -1: nothing
    int microbatch = -1;
    UnitRange units;       // recompute: the block; gradient-out and pending: what is done so far
    int filled_by = -1;    // instruction
    int last_access = -1;  // instruction, also after it was freed
  };

  std::string HeldText(int buffer) const;
  std::string Touch(int index, int buffer);
  std::string AddHome(int buffer, HomeSet* homes) const;
  std::string Read(int index, int buffer, HomeSet* homes);
  std::string ReadParts(const Instruction& instruction, int buffer);
  std::string Fill(int index, int buffer, HomeSet* homes);
  std::string Free(int index);

  const Plan& plan_;
  const std::vector<StageLayout>& layouts_;
  const RankProgram which_;
  const RankPlan& rank_;
  const std::vector<Instruction>& program_;
  const ProgramOrder& order_;
  std::vector<Held> held_;  // by buffer
};

}  // namespace birkhoff
