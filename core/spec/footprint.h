// What a stage keeps in memory for one micro-batch, tensor by tensor: the only list from which the
// planner takes sizes, the checker takes bounds, and the worker takes offsets.  Nothing else in the
// system knows how large a buffer is.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/dtype.h"
#include "core/spec/job_spec.h"
#include "core/spec/precision.h"

namespace birkhoff {

// A contiguous run of units [first, last).
struct UnitRange {
  int first = 0;
  int last = 0;
  friend bool operator==(const UnitRange&, const UnitRange&) = default;
};

// The memory classes of a (stage, micro-batch).  Each is one buffer of the plan; the words say who
// fills and who last reads.
enum class Home {
  // load -> last user: positions, input tokens, targets.
  kBatch,
  // receive or hand-off -> first boundary's backward: X and P that open the stage; none with the
  // embedding.
  kInput,
  // forward -> backward-input: coefficients, logits, y, attention state; X where it is not
  // recomputed; the gradient that the head has formed in its forward.  In a pass that keeps nothing
  // sub-layers take turns in its first bytes: "evaluation.x", "evaluation.norm", ...
  kSaved,
  // forward -> backward-weight: operands of weight gradients, which are attention output, gate and
  // up, and norm outputs where they are not recomputed.
  kKept,
  // forward -> send or hand-off: X and P that leave the stage; none with the head.
  kOutput,
  // receive or hand-off -> backward-input: dX and S from the next stage; none with the head.
  kGradientIn,
  // backward-input -> send or hand-off: dX (working space too) and S for the previous stage.
  kGradientOut,
  // backward-input -> backward-weight, where they are split: gradients of what the products made,
  // and norm outputs where they are recomputed.
  kPending,
  // recompute -> backward-input of the same segment: X and norm outputs of one block at a time.
  kRecompute,
  // Within one instruction; one per rank.  The last bytes serve one use after the other.
  kScratch,
};
inline constexpr int kNumHomes = 10;
const char* HomeName(Home home);

struct StoredTensor {
  std::string name;  // "x", "norm", "qkv", "logits", ...
  int unit = 0;      // the unit it belongs to
  Home home = Home::kSaved;
  DType dtype = DType::kFloat32;
  int64_t offset = 0;  // bytes from the start of the home's buffer; a multiple of 64
  int64_t bytes = 0;
};

// All tensors of one stage for one micro-batch of `tokens` tokens (whole sequences of
// `sequence_length`).
struct StageLayout {
  UnitRange units;
  // Runs of sub-layer units in ascending order; empty: everything is stored.
  std::vector<UnitRange> recompute_blocks;
  std::vector<StoredTensor> tensors;
  int64_t bytes[kNumHomes] = {};  // size of each home's buffer; 0 where the stage has none
  // Of kSaved's: what a pass that keeps nothing needs of it.
  int64_t evaluation_bytes = 0;

  int64_t BytesOf(Home home) const { return bytes[static_cast<int>(home)]; }
  // The tensor, or null.  Names are unique per (unit, home).
  const StoredTensor* Find(int unit, Home home, const std::string& name) const;
};

struct LayoutRequest {
  ModelSpec model;
  UnitRange units;
  int recompute_block = 0;  // L_r in sub-layers; 0: store everything
  int64_t tokens = 0;       // capacity of a micro-batch
  int sequence_length = 0;
  Precision precision = Precision::kFp32;
  Processor processor = Processor::kCpu;  // workspaces differ
  bool deterministic = true;              // so do they here
};

StageLayout MakeStageLayout(const LayoutRequest& request);

// A message between stages consists of parts, back to back, each padded to 64 bytes:
//   activation: X [tokens, n, C], P [tokens, n, n];   gradient: dX [tokens, n, C], S [tokens, n, n]
// X and dX are of the stream type, P and S of the scalar type.
struct MessagePart {
  std::string name;  // "x" | "p" | "dx" | "s"
  DType dtype = DType::kFloat32;
  int64_t offset = 0;
  int64_t bytes = 0;
  friend bool operator==(const MessagePart&, const MessagePart&) = default;
};
std::vector<MessagePart> ActivationParts(const ModelSpec& model, int64_t tokens,
                                         Precision precision);
std::vector<MessagePart> GradientParts(const ModelSpec& model, int64_t tokens, Precision precision);

}  // namespace birkhoff
