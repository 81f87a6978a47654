// The two warps of the single-pass forward kernel that own no channels: the gatherer, which brings
// the coefficients of the merge and sends the block's sums, and the finisher of the tokens that the
// block owns.  Block: ForwardBlock; of the finisher and the prefix, MixedBlock too.
#pragma once

#include "kernels/cuda/device/forward_block.cuh"
#include "kernels/cuda/device/gates.cuh"
#include "kernels/cuda/device/gather.cuh"

namespace birkhoff::cuda {

// What a merge takes of the coefficients below: H_post and H_res, as they stand; and P = H_res P below,
// of the tokens that the block owns: a lane an entry of a few tokens at a time, from `first` on.
template <typename Block>
class ForwardPrefix : private Block {
 public:
  using Block::Block;
  static constexpr int N = Block::kColumns.streams;

  // Starts to bring a tile's H_post and H_res.
  __device__ void Prefetch(int turn) const {
    CopyTokens<N, N + N * N>({args_.coefficients_below, Block::kCoefficients, N,
                              int64_t{tiles_.Tile(turn)} * kTile, args_.tokens},
                             kTile, sizes_.coefficient_pitch, Coefficients(turn));
  }
  // A column of P below.
  __device__ void Load(int turn, int first, float (&below)[N]) const {
    const int64_t token = TokenOf(turn, first);
    if (token < 0) return;
#pragma unroll
    for (int m = 0; m < N; ++m) {
      below[m] = args_.prefix_below[token * kEntries + m * N + Lane() % kEntries % N];
    }
  }
  // In double, all of a token read before any of it is written; `below` of the first tokens.
  __device__ void Multiply(int turn, float (&below)[N]) const {
    for (int first = 0; first < sizes_.owned; first += kTokens) {
      if (first > 0) Load(turn, first, below);
      const int64_t token = TokenOf(turn, first);
      const int entry = Lane() % kEntries;
      double sum = 0.0;
      if (token >= 0) {
        const float* matrix =
            Coefficients(turn) +
            int(token - int64_t{tiles_.Tile(turn)} * kTile) * sizes_.coefficient_pitch + N +
            entry / N * N;
#pragma unroll
        for (int m = 0; m < N; ++m) sum = fma(double(matrix[m]), double(below[m]), sum);
      }
      WarpBarrier();
      if (token >= 0) args_.prefix[token * kEntries + entry] = float(sum);
    }
  }

 private:
  using Block::args_;
  using Block::Coefficients;
  using Block::kTile;
  using Block::Lane;
  using Block::rank_;
  using Block::sizes_;
  using Block::tiles_;
  static constexpr int kEntries = N * N, kTokens = 32 / kEntries;

  __device__ int64_t TokenOf(int turn, int first) const {
    const int own = first + Lane() / kEntries;
    const int64_t token = int64_t{tiles_.Tile(turn)} * kTile + rank_ * sizes_.owned + own;
    const bool mine = Lane() < kTokens * kEntries && own < sizes_.owned && token < args_.tokens;
    return mine ? token : -1;
  }
};

template <typename Block, bool kMerge>
class ForwardGatherer : private Block {
 public:
  using Block::Block;

  __device__ void Run(const ForwardPrefix<Block>& prefix) const {
    const int turns = tiles_.Turns();
    for (int turn = 0; turn < 2; ++turn) {
      if (kMerge && turn < turns) prefix.Prefetch(turn);
      CopyCommit();
    }
    CopyWait<1>();
    WarpArrive(Barriers().CoefficientsCome(0));
    const bool wanted = kMerge && args_.prefix != nullptr;
    for (int turn = 0; turn < turns; ++turn) {
      float below[N] = {};
      if (wanted) prefix.Load(turn, 0, below);  // it takes its time
      MBarrierWait(Barriers().PartsFull(), turn % 2);
      CopyWait<0>();
      if (turn + 1 < turns) WarpArrive(Barriers().CoefficientsCome(turn + 1));
      SendSums({Parts(), geometry_.warps, kTile, sizes_.sum_pitch, sizes_.sums},
               {Received(turn), rank_, sizes_.owned, Barriers().SumsCome(turn)});
      WarpArrive(Barriers().PartsFree());
      if (wanted) prefix.Multiply(turn, below);
      // The warps are done with the coefficients of this turn.
      if (kMerge && turn + 2 < turns) prefix.Prefetch(turn + 2);
      CopyCommit();
    }
  }

 private:
  using Block::args_;
  using Block::Barriers;
  using Block::geometry_;
  using Block::kTile;
  using Block::Parts;
  using Block::rank_;
  using Block::Received;
  using Block::sizes_;
  using Block::tiles_;
  static constexpr int N = Block::kColumns.streams;
};

// What stands between the sums of this block's tokens and norm_out, to all blocks.  Half a warp a
// token: lanes share its columns, then each makes all that it needs.
template <typename Block>
class ForwardFinisher : private Block {
 public:
  using Block::Block;

  __device__ void Run() const {
    const float alpha = kTiles > 0 ? args_.alpha[0] : 0.0f;
    const float bias = kTiles > 0 && Lane() % kShare < N ? args_.bias[Lane() % kShare] : 0.0f;
    for (int turn = 0; turn < tiles_.Turns(); ++turn) {
      if (Lane() == 0) {
        MBarrierExpect(Barriers().SumsCome(turn),
                       geometry_.cluster * sizes_.owned * sizes_.sums * 4);
      }
      MBarrierWait(Barriers().SumsCome(turn), turn / 2 % 2);
      // This block's own sums have come: its warps are done with the scales of two turns ago.
      if (Lane() == 0) MBarrierExpect(Barriers().ReturnsCome(turn), kTile * sizes_.scale_pitch * 4);
      WarpBarrier();
      for (int first = 0; first < sizes_.owned; first += 32 / kShare) {
        AddBlocks(turn, first);
        const int own = first + Lane() / kShare;
        FinishToken(turn, own < sizes_.owned ? own : first, own < sizes_.owned, alpha, bias);
      }
    }
  }

 private:
  using Block::args_;
  using Block::Barriers;
  using Block::geometry_;
  using Block::GramOf;
  using Block::kTile;
  using Block::Lane;
  using Block::rank_;
  using Block::Received;
  using Block::Scales;
  using Block::sizes_;
  using Block::tiles_;
  static constexpr int N = Block::kColumns.streams, kTiles = Block::kColumns.tiles;
  static constexpr bool kPerRow = Block::kColumns.per_row;
  static constexpr int kShare = 16;

  // The sums of all blocks, in their order, of owned tokens `first` and the next.
  __device__ void AddBlocks(int turn, int first) const {
    const int lane = Lane() % kShare, own = first + Lane() / kShare;
    float* row = Received(turn) + own * sizes_.sums;
    for (int k = 4 * lane; own < sizes_.owned && k < sizes_.sums; k += 4 * kShare) {
      *reinterpret_cast<float4*>(row + k) =
          AddFours(row + k, geometry_.cluster, sizes_.owned * sizes_.sums);
    }
    WarpBarrier();
  }

  // `bias`: of H_pre, lane j that of stream j.
  __device__ void FinishToken(int turn, int own, bool here, float alpha, float bias) const {
    const int lane = Lane() % kShare;
    float* row = Received(turn) + own * sizes_.sums;
    const int local = rank_ * sizes_.owned + own;
    const int64_t token = int64_t{tiles_.Tile(turn)} * kTile + local;
    const bool kept = here && token < args_.tokens;
    // What the token makes of them, to all blocks.
    const float inverse_r = InverseOfRow(row + sizes_.products);
    float weight[N];
    Weights(row, inverse_r, alpha, bias, weight);
    const float inverse = InverseRms(row + sizes_.products, weight);
    float out[8] = {};
#pragma unroll
    for (int j = 0; j < N; ++j) out[j] = weight[j];
    out[N] = inverse;
    float* to = Scales(turn) + local * sizes_.scale_pitch;
    for (int peer = lane; here && peer < geometry_.cluster; peer += kShare) {
#pragma unroll
      for (int k = 0; k < (N + 4) / 4 * 4; k += 4) {
        Send16(to + k, peer,
               {FloatBits(out[k]), FloatBits(out[k + 1]), FloatBits(out[k + 2]),
                FloatBits(out[k + 3])},
               Barriers().ReturnsCome(turn));
      }
    }
    // And kept.
    if (kept) StoreLogits(row, inverse_r, token);
    if (lane == 0 && kept) args_.norm_inv_rms[token] = inverse;
  }

  // 1 / r: of all streams; of kHc, of the stream that is the lane's number.
  __device__ float InverseOfRow(const float* gram) const {
    if constexpr (kTiles == 0) {
      return 1.0f;
    } else if constexpr (kPerRow) {
      const int stream = Lane() % kShare < N ? Lane() % kShare : 0;
      return Inverse(gram[GramOf(stream, stream)] / float(args_.channels));
    } else {
      float squares = 0.0f;
#pragma unroll
      for (int j = 0; j < N; ++j) squares += gram[GramOf(j, j)];
      return Inverse(squares / float(N * args_.channels));
    }
  }

  // Lane j makes that of stream j; all get all.
  __device__ void Weights(float* row, float inverse_r, float alpha, float bias,
                          float (&weight)[N]) const {
    if constexpr (kTiles == 0) {
#pragma unroll
      for (int j = 0; j < N; ++j) weight[j] = 1.0f;
    } else {
      const int lane = Lane() % kShare, stream = lane < N ? lane : 0;
      const float logit = row[kPerRow ? stream * kTiles * 8 : stream] * inverse_r;
      const float mine = kPerRow ? HcGate(alpha, logit, bias) : MhcPre(alpha, logit, bias);
#pragma unroll
      for (int j = 0; j < N; ++j) weight[j] = ShuffleFrom(mine, Lane() / kShare * kShare + j);
    }
  }

  __device__ void StoreLogits(const float* row, float inverse_r, int64_t token) const {
    const int lane = Lane() % kShare;
    if constexpr (kTiles > 0 && kPerRow) {
      float* out = args_.logits + (token * N + lane) * (N + 3);
      if (lane >= N) return;
#pragma unroll
      for (int k = 0; k < N + 2; ++k) out[k] = row[lane * kTiles * 8 + k] * inverse_r;
      out[N + 2] = inverse_r;
    } else if constexpr (kTiles > 0) {
      float* out = args_.logits + token * (args_.columns + 1);
      for (int k = lane; k <= args_.columns; k += kShare) {
        out[k] = k == args_.columns ? inverse_r : row[k] * inverse_r;
      }
    }
  }
  __device__ float Inverse(float mean) const { return InverseRoot(mean + args_.mix_eps); }
  __device__ float InverseRms(const float* gram, const float (&weight)[N]) const {
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < N; ++i) {
#pragma unroll
      for (int j = i; j < N; ++j) {
        sum = fmaf((i == j ? 1.0f : 2.0f) * weight[i] * weight[j], gram[GramOf(i, j)], sum);
      }
    }
    // A NaN stays; what cancels below zero is zero.
    const float mean = sum < 0.0f ? 0.0f : sum / float(args_.channels);
    return InverseRoot(mean + args_.norm_eps);
  }
};

}  // namespace birkhoff::cuda
