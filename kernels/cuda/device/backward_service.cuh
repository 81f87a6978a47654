// The warps of the single-pass backward kernel that own no channels: the mover, one lane of which
// brings tiles and takes them away; the gatherer, which sends the block's sums, and of its tokens what
// does not depend on them; and the finishers of the tokens that the block owns: sums in order of
// blocks, back through the norm, the gates, the mapping and r, and the rest of what Apply needs to
// every block of the cluster, while the other warps work on.
#pragma once

#include "kernels/cuda/device/backward_block.cuh"
#include "kernels/cuda/device/bf16_parts.cuh"
#include "kernels/cuda/device/gates.cuh"
#include "kernels/cuda/device/gather.cuh"

namespace birkhoff::cuda {

template <int N, int kTiles, int kBoxes>
class BackwardMover : private BackwardBlock<N, kTiles, kBoxes> {
 public:
  using Block = BackwardBlock<N, kTiles, kBoxes>;
  using Block::Block;

  // The first tiles, as soon as the barriers stand.  Of one lane, as Run is.
  __device__ void Start() const {
    for (int turn = 0; turn < kBackwardStages && turn < tiles_.Turns(); ++turn) {
      MBarrierExpect(Barriers().TileCome(turn), kStage);
      LoadRead(turn);
      LoadOverwritten(turn);
    }
  }

  __device__ void Run() const {
    const int turns = tiles_.Turns();
#pragma unroll 1
    for (int turn = 0; turn < turns; ++turn) {
      MBarrierWait(Barriers().TileDone(turn), BackwardBarriers::Parity(turn));
      Store(turn);
      BoxesCommit();
      const int next = turn + kBackwardStages;  // in the same place
      if (next >= turns) continue;
      MBarrierExpect(Barriers().TileCome(next), kStage);
      LoadRead(next);
      BoxesRead<0>();
      LoadOverwritten(next);
    }
    BoxesStored();
  }

 private:
  using Block::args_;
  using Block::Barriers;
  using Block::FirstChannel;
  using Block::FirstToken;
  using Block::kAtNorm;
  using Block::kAtX;
  using Block::kAtY;
  using Block::kBox;
  using Block::kStage;
  using Block::Stage;
  using Block::tiles_;

  // x and dnorm; then dX' and y, in whose places results stand.
  __device__ void LoadRead(int turn) const { Load(turn, kAtX, args_.x, kAtNorm, args_.dnorm); }
  __device__ void LoadOverwritten(int turn) const { Load(turn, 0, args_.dx_above, kAtY, args_.y); }
  // Boxes of all streams and of one row a token, to their places in the stage.
  __device__ void Load(int turn, int at_streams, const TensorMap& streams, int at_row,
                       const TensorMap& row) const {
    uint64_t* const come = Barriers().TileCome(turn);
    ForBoxes(turn, [&](SharedAt stage, int q, int c, int token) {
      LoadBox(stage + at_streams + q * N * kBox, streams, c, token, come);
      LoadBox(stage + at_row + q * kBox, row, c, token, come);
    });
  }
  __device__ void Store(int turn) const {
    ForBoxes(turn, [&](SharedAt stage, int q, int c, int token) {
      StoreBox(args_.dx, c, token, stage + q * N * kBox);
      if (args_.coefficients_below == nullptr) return;
      StoreBox(args_.dy_below, c, token, stage + kAtY + q * kBox);
    });
  }
  // work(stage, box, its first channel, first token)
  template <typename Work>
  __device__ void ForBoxes(int turn, const Work& work) const {
    const SharedAt stage = Stage(turn);
    const int channel = FirstChannel(), token = FirstToken(turn);
#pragma unroll 1
    for (int q = 0; q < kBoxes; ++q) work(stage, q, channel + q * kBoxChannels, token);
  }
};

template <int N, int kTiles, int kBoxes>
class BackwardGatherer : private BackwardBlock<N, kTiles, kBoxes> {
 public:
  using Block = BackwardBlock<N, kTiles, kBoxes>;
  using Block::Block;

  __device__ void Run() const {
    const int turns = tiles_.Turns();
    Known next;
    if (turns > 0) LoadKnown(0, 0, next);
#pragma unroll 1
    for (int turn = 0; turn < turns; ++turn) {
      MBarrierWait(Barriers().PartsFull(), turn % 2);
      SendSums(turn);
      WarpArrive(Barriers().PartsFree());
#pragma unroll 1
      for (int own = 0; own < Owned(); ++own) {
        WriteKnown(next, OwnedLocal(own) % 2);
        const bool last = own + 1 == Owned();
        if (!last || turn + 1 < turns) LoadKnown(last ? turn + 1 : turn, last ? 0 : own + 1, next);
        // When the sums have come, all warps are done with the packets of two turns ago.
        if (own == 0) MBarrierWait(Barriers().SumsCome(turn), turn / 2 % 2);
        WarpBarrier();
        Block::template SendWords<kKnown>(turn, own, 0, Words());
        WarpBarrier();  // they have been read
      }
    }
  }

 private:
  using Block::args_;
  using Block::Barriers;
  using Block::kCoefficients;
  using Block::kDots;
  using Block::kGathererScratch;
  using Block::kKnown;
  using Block::kPacketBelow;
  using Block::kPacketHigh;
  using Block::kPacketLow;
  using Block::kPacketPre;
  using Block::kPacketRead;
  using Block::kPairs;
  using Block::kTile;
  using Block::Owned;
  using Block::OwnedLocal;
  using Block::OwnedToken;
  using Block::Parts;
  using Block::rank_;
  using Block::Received;
  using Block::Scratch;
  using Block::sizes_;
  using Block::tiles_;
  // As with the finishers.
  __device__ static int Lane() { return ThreadIndex() % 32; }
  __device__ uint32_t* Words() const {
    return reinterpret_cast<uint32_t*>(Scratch(kGathererScratch));
  }

  // In order of warps, to the tokens' owners: a lane adds four sums of a token.
  __device__ void SendSums(int turn) const {
    constexpr int kFours = kDots / 4, kTokens = 32 / kFours;  // at a time
    const int lane = Lane(), k = lane % kFours * 4;
#pragma unroll
    for (int first = 0; first < kTile; first += kTokens) {
      const int token = first + lane / kFours;
      if (lane >= kTokens * kFours || token >= kTile) continue;
      SendFour({Parts(), kBackwardWarps, kTile, kDots, kDots}, token, k,
               {Received(turn), rank_, sizes_.owned, Barriers().SumsCome(turn)});
    }
  }

  // A coefficient a lane, and a stream's of H_post below.
  struct Known {
    float gate = 0.0f, below = 0.0f, inverse = 0.0f;
  };
  __device__ void LoadKnown(int turn, int own, Known& to) const {
    const int lane = Lane();
    const int64_t token = OwnedToken(turn, own), from = token < args_.tokens ? token : 0;
    to.gate = lane < kCoefficients ? args_.coefficients[from * kCoefficients + lane] : 0.0f;
    to.inverse = args_.norm_inv_rms[from];
    to.below = args_.coefficients_below != nullptr && lane < N
                   ? args_.coefficients_below[from * kCoefficients + N + lane]
                   : 0.0f;
  }
  // `half`: of a word, for this token.
  __device__ void WriteKnown(const Known& known, int half) const {
    const int lane = Lane();
    uint32_t* words = Words();
    // Word k of an operand: row k % 2 of a pair of dX, column k / 2 of a pair of dX'.
    const int operand = lane % 16 / 4, k = lane % 4;
    const int j = operand / kPairs * 2 + k % 2, i = operand % kPairs * 2 + k / 2;
    const bool there = i < N && j < N;
    const float mix = ShuffleFrom(known.gate, there ? 2 * N + i * N + j : 0);
    const int read_of = operand * 2 + k / 2;
    const float read = ShuffleFrom(known.gate, read_of < N ? read_of : 0) * known.inverse;
    if (lane < 4 * kPairs * kPairs) {
      const float value = there ? mix : 0.0f;
      words[kPacketHigh + lane] = InHalf(value, half);
      words[kPacketLow + lane] = InHalf(Rest(value), half);
    }
    if (lane < 4 * kPairs) {
      const float value = read_of < N ? read : 0.0f;
      words[kPacketRead + lane] = InHalf(k % 2 == 0 ? value : Rest(value), half);
    }
    if (lane < 4) {
      words[kPacketPre + lane] = FloatBits(lane < N ? known.gate : 0.0f);
      words[kPacketBelow + lane] = FloatBits(known.below);
    }
  }
};

// Two finishers take turns, since one token takes longer than a tile may.
template <int N, int kTiles, bool kSinkhorn, int kBoxes>
class BackwardFinisher : private BackwardBlock<N, kTiles, kBoxes> {
 public:
  using Block = BackwardBlock<N, kTiles, kBoxes>;

  // which: of even turns, of odd ones.
  __device__ BackwardFinisher(const SingleBackwardArgs& args, unsigned char* shared, int which)
      : Block(args, shared), which_(which), alpha_(args.alpha[PartOf(Lane())]) {}

  __device__ void Run() const {
    Sums sums;
    if (Owned() == 0) {
      ExpectReturns();
    } else {
      FinishAll(sums);
    }
    LeaveSums(sums);
  }

  // Of one finisher, when both have run: gradients of alpha and bias.
  __device__ void StoreSums() const {
    const int lane = Lane();
    const float *even = Scratch(0), *odd = Scratch(1);
    float* to = args_.sums + int64_t{blockIdx.x} * (3 + kLogits);
    if (lane < 3 + kLogits) to[lane] = even[lane] + odd[lane];
  }

 private:
  using Block::args_;
  using Block::Barriers;
  using Block::cluster_;
  using Block::kCoefficients;
  using Block::kDots;
  using Block::kKnown;
  using Block::kOfG;
  using Block::kOfU;
  using Block::kOfY;
  using Block::kPacket;
  using Block::kPacketHalves;
  using Block::kPacketNorm;
  using Block::kPacketProducts;
  using Block::kPacketScalars;
  using Block::kTile;
  using Block::Owned;
  using Block::OwnedLocal;
  using Block::OwnedToken;
  using Block::Packets;
  using Block::Received;
  using Block::Scratch;
  using Block::sizes_;
  using Block::tiles_;
  static constexpr int kLogits = 2 * N + (kSinkhorn ? N * N : 0);

  // Asked anew each time: what the compiler makes of it beforehand takes more registers than there are.
  __device__ static int Lane() { return ThreadIndex() % 32; }

  // Whose coefficient a lane has: H_pre's, H_post's, H_res's.
  __device__ static int PartOf(int lane) { return lane < N ? 0 : lane < 2 * N ? 1 : 2; }

  // Gradients of bias (a lane a column) and alpha, over this finisher's tokens.
  struct Sums {
    double bias = 0.0, alpha = 0.0;
  };
  // Only the packets' barrier is this block's: it may be set once its warps are done with the packets
  // of two turns ago, which is when those have come.
  __device__ void ExpectReturns() const {
    for (int turn = which_; turn < tiles_.Turns(); turn += 2) {
      if (turn >= 2) MBarrierWait(Barriers().ReturnsCome(turn), (turn - 2) / 2 % 2);
      if (Lane() == 0) MBarrierExpect(Barriers().ReturnsCome(turn), sizes_.packets);
    }
  }

  __device__ void FinishAll(Sums& sums) const {
    const int turns = tiles_.Turns();
    Saved next;
    if (which_ < turns) LoadSaved(which_, 0, next);
    for (int turn = which_; turn < turns; turn += 2) {
      if (Lane() == 0) MBarrierExpect(Barriers().SumsCome(turn), cluster_ * Owned() * kDots * 4);
      for (int own = 0; own < Owned(); ++own) {
        const Saved saved = next;
        const bool last = own + 1 == Owned();
        if (!last || turn + 2 < turns) LoadSaved(last ? turn + 2 : turn, last ? 0 : own + 1, next);
        const bool valid = OwnedToken(turn, own) < args_.tokens;
        const Ready ready = Prepare(saved, valid);
        if (own == 0) {
          MBarrierWait(Barriers().SumsCome(turn), turn / 2 % 2);
          // This block's own sums have come: its warps are done with the packets of two turns ago.
          if (Lane() == 0) MBarrierExpect(Barriers().ReturnsCome(turn), sizes_.packets);
        }
        FinishToken(turn, own, saved, ready, valid, sums);
      }
    }
  }

  // What does not wait for the sums of a token, and takes its time: of a lane's coefficient, and, of
  // an entry of P, a row of S.
  struct Saved {
    float gate, logit, inverse_r, inverse;
    float basis[N - 1];
    float above[N];
  };
  __device__ void LoadSaved(int turn, int own, Saved& to) const {
    const int lane = Lane();
    const int64_t token = OwnedToken(turn, own), from = token < args_.tokens ? token : 0;
    to.gate = lane < kCoefficients ? args_.coefficients[from * kCoefficients + lane] : 0.0f;
    to.logit = lane < kLogits ? args_.logits[from * (kLogits + 1) + lane] : 0.0f;
    to.inverse_r = args_.logits[from * (kLogits + 1) + kLogits];
    to.inverse = args_.norm_inv_rms[from];
    const int entry = EntryOf(lane);
#pragma unroll
    for (int k = 0; k < N - 1; ++k) {
      to.basis[k] =
          kSinkhorn && entry >= 0 ? args_.basis[(from * (N - 1) + k) * N * N + entry] : 0.0f;
    }
#pragma unroll
    for (int m = 0; m < N; ++m) {
      to.above[m] = args_.suffix != nullptr && lane < N * N
                        ? args_.suffix_above[(from * N + lane / N) * N + m]
                        : 0.0f;
    }
  }
  // Of H_res, or -1.
  __device__ static int EntryOf(int lane) {
    return lane >= 2 * N && lane < 2 * N + N * N ? lane - 2 * N : -1;
  }

  // What is made of it while the sums are on their way: every instruction behind them is waited for.
  struct Ready {
    float pre[N], row[N];  // H_pre; an entry's row of H_res
    float slope;           // of the gate; 0 where there is nothing to learn
    int own, four;         // which sums the lane's gradient is made of
  };
  __device__ Ready Prepare(const Saved& saved, bool valid) const {
    const int lane = Lane(), entry = EntryOf(lane);
    Ready ready;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      ready.pre[j] = ShuffleFrom(saved.gate, j);
      ready.row[j] = ShuffleFrom(saved.gate, 2 * N + (entry < 0 ? 0 : entry / N * N) + j);
    }
    const float gate = saved.gate;
    if (lane < N) {
      ready.slope = gate * (1.0f - gate);
      ready.own = kOfG + lane;
    } else if (lane < 2 * N) {
      ready.slope = gate * (1.0f - 0.5f * gate);
      ready.own = kOfY + lane - N;
    } else {
      ready.slope = kSinkhorn && entry >= 0 && !args_.equal_streams ? 1.0f : 0.0f;
      ready.own = entry < 0 ? 0 : entry;
    }
    ready.four = entry < 0 ? kOfG : entry / N * N;
    if (!valid) ready.slope = 0.0f;
    return ready;
  }

  __device__ void FinishToken(int turn, int own, const Saved& saved, const Ready& ready, bool valid,
                              Sums& sums) const {
    const int lane = Lane();
    const int local = OwnedLocal(own);
    const float inverse = saved.inverse, per_channel = 1.0f / float(args_.channels);
    uint32_t* packet = Packets(turn) + local * kPacket;  // where it is sent too

    // The sums of all blocks, in their order, over those of the first.
    float* dots = Received(turn) + own * kDots;
    if (4 * lane < kDots) {
      *reinterpret_cast<float4*>(dots + 4 * lane) =
          AddFours(dots + 4 * lane, cluster_, sizes_.owned * kDots);
    }
    WarpBarrier();

    // Through the block's norm: mean over C of gamma dnorm u / rms.  And through the gates.
    float four[N];
    Block::LoadRow(dots + ready.four, four);
    const float mine = dots[ready.own], of_u = dots[kOfU + (lane < N ? lane : 0)];
    float read = 0.0f;
#pragma unroll
    for (int j = 0; j < N; ++j) read = fmaf(ready.pre[j], four[j], read);
    const float mean = inverse * read * per_channel;
    float dgate = lane < N ? inverse * fmaf(-inverse * mean, of_u, mine) : mine;
    if constexpr (kSinkhorn) {
      const float through = ThroughSinkhorn(saved, ready, mine, four);
      if (lane >= 2 * N) dgate = through;
    }
    dgate *= ready.slope;

    // Through alpha, and through r; dproducts, and the largest of them.
    const float dlogit = alpha_ * dgate, dproduct = dlogit * saved.inverse_r;
    float through_r = dlogit * saved.logit, largest = fabsf(dproduct);
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) {
      through_r += ShuffleXor(through_r, lanes);
      largest = fmaxf(largest, ShuffleXor(largest, lanes));
    }
    const float norm =
        saved.inverse_r * saved.inverse_r * through_r * (per_channel * (1.0f / float(N)));
    WriteProducts(dproduct, PowerBelow(largest, 10), packet);
    if (lane < 4) {
      packet[kPacketNorm + lane] =
          InHalf(valid && (lane == 0 || lane == 3) ? -norm : 0.0f, local % 2);
    }
    if (lane == 0) packet[kPacketScalars] = FloatBits(inverse);
    if (lane == 1) packet[kPacketScalars + 1] = FloatBits(valid ? inverse * mean : 0.0f);
    WarpBarrier();
    Block::template SendWords<kPacket - kKnown>(turn, own, kKnown, packet + kKnown);

    // What nobody waits for.
    sums.bias += double(dgate);
    sums.alpha += double(dgate) * double(saved.logit);
    if (args_.suffix != nullptr) MultiplySuffix(OwnedToken(turn, own), saved, valid);
  }

  // The gradient of an entry's logit (device/sinkhorn_basis.cuh); differences before sums, which
  // cancel where the matrix is near a permutation.
  __device__ float ThroughSinkhorn(const Saved& saved, const Ready& ready, float own,
                                   const float (&of_row)[N]) const {
    const int entry = EntryOf(Lane());
    float* flows = Scratch(which_);
    static_assert(N * N <= BackwardSizes::kScratch);
    float flow = 0.0f;
#pragma unroll
    for (int k = 0; k < N; ++k) flow = fmaf(ready.row[k], own - of_row[k], flow);
    flow *= saved.gate;
    WarpBarrier();  // those of the token before have been read
    if (entry >= 0) flows[entry] = flow;
    WarpBarrier();
    float left[N] = {};
#pragma unroll
    for (int i = 0; i < N; ++i) {
      float row[N];
      Block::LoadRow(flows + i * N, row);
#pragma unroll
      for (int k = 0; k < N - 1; ++k) left[k] += row[k];
    }
#pragma unroll
    for (int k = 0; k < N - 1; ++k) flow = fmaf(left[k], saved.basis[k], flow);
    return flow;
  }

  // dproducts of the lane's column, as bf16 high and low, and as fp16 under `scale`, a power of two.
  __device__ void WriteProducts(float dproduct, float scale, uint32_t* packet) const {
    const int lane = Lane();
    const float coarse = LowBf16(PackBf16(dproduct, 0.0f)), fine = dproduct - coarse;
    // Lanes of even columns write the high parts of two columns, the others the low ones.
    const bool odd = lane % 2 != 0;
    const float next = ShuffleXor(dproduct, 1), other = ShuffleXor(odd ? coarse : fine, 1);
    if (lane < 8 * kTiles) {
      packet[kPacketProducts + (odd ? 4 * kTiles : 0) + lane / 2] =
          odd ? PackBf16(other, fine) : PackBf16(coarse, other);
      if (!odd) packet[kPacketHalves + lane / 2] = PackF16(dproduct * scale, next * scale);
    }
    if (lane == 0) packet[kPacketScalars + 2] = FloatBits(InversePower(scale));
  }

  // S = S_above H_res, a lane an entry, in double.
  __device__ void MultiplySuffix(int64_t token, const Saved& saved, bool valid) const {
    const int lane = Lane();
    double sum = 0.0;
#pragma unroll
    for (int m = 0; m < N; ++m) {
      const float of_matrix = ShuffleFrom(saved.gate, 2 * N + m * N + lane % N);
      sum = fma(double(saved.above[m]), double(of_matrix), sum);
    }
    if (valid && lane < N * N) args_.suffix[token * N * N + lane] = float(sum);
  }

  // In the finisher's scratch: of alpha, of bias.
  __device__ void LeaveSums(const Sums& sums) const {
    const int lane = Lane();
    WarpBarrier();  // its flows have been read
    float* to = Scratch(which_);
    static_assert(3 + kLogits <= BackwardSizes::kScratch);
    if (lane < kLogits) to[3 + lane] = float(sums.bias);
#pragma unroll
    for (int part = 0; part < 3; ++part) {
      double sum = PartOf(lane) == part && lane < kLogits ? sums.alpha : 0.0;
#pragma unroll
      for (int lanes = 16; lanes > 0; lanes /= 2) sum += ShuffleXor(sum, lanes);
      if (lane == 0) to[part] = float(sum);
    }
  }

  const int which_;
  const float alpha_;  // of the lane's coefficient
};

}  // namespace birkhoff::cuda
