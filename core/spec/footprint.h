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
  kBatch,  // load -> last user: descriptor, input tokens, targets
  kInput,  // receive or hand-off -> first boundary's backward: X (and P) that opens the stage; none
           // with the embedding
  kSaved,  // forward -> backward-input: coefficients, logits, y, attention state; stored X where
           // not recomputed; the gradient that the head has formed in its forward
  kKept,   // forward -> backward-weight: operands of weight gradients (attention output, gate, up,
           // norm outputs)
  kOutput,       // forward -> send or hand-off: X and P that leave the stage; none with the head
  kGradientIn,   // receive or hand-off -> backward-input: dX and S from the next stage; none with
                 // the head
  kGradientOut,  // backward-input -> send or hand-off: dX (working space too) and S for the
                 // previous stage
  kPending,    // backward-input -> backward-weight: C-wide output gradients of the products (split
               // backward only)
  kRecompute,  // recompute -> backward-input of the same segment: X inside the block; one block at
               // a time
  kScratch,    // within one instruction; one per rank
};
inline constexpr int kNumHomes = 10;
const char* HomeName(Home home);

struct StoredTensor {
  std::string name;  // e.g. "x", "norm_out", "query", "logits"
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
