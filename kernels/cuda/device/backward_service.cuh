// The two warps of the single-pass backward kernel that own no channels: the gatherer, which brings
// coefficients and sends the block's dots, and the finisher of the tokens that the block owns: sums
// in order of blocks, back through the norm, the gates, the mapping and r, and a packet of what Apply
// needs to every block of the cluster, while the other warps work on.
#pragma once

#include "kernels/cuda/device/backward_block.cuh"
#include "kernels/cuda/device/gates.cuh"
#include "kernels/cuda/device/gather.cuh"

namespace birkhoff::cuda {

template <int N, int kTiles, bool kMerge, typename Fixed>
class BackwardGatherer : private BackwardBlock<N, kTiles, Fixed> {
 public:
  using Block = BackwardBlock<N, kTiles, Fixed>;
  using Block::Block;

  __device__ void Run() const {
    const int turns = tiles_.Turns();
    if (turns > 0) Prefetch(0);
    CopyCommit();
    for (int turn = 0; turn < turns; ++turn) {
      MBarrierWait(Barriers().PartsFull(), turn % 2);
      CopyWait<0>();
      WarpArrive(Barriers().CoefficientsCome(turn));
      SendSums({Parts(), geometry_.warps, kTile, sizes_.dot_pitch, kDots}, Received(turn), rank_,
               sizes_.owned, Barriers().SumsCome(turn));
      WarpArrive(Barriers().PartsFree());
      // The warps are done with the coefficients of two turns ago.
      if (turn + 1 < turns) Prefetch(turn + 1);
      CopyCommit();
    }
  }

 private:
  using Block::args_;
  using Block::Barriers;
  using Block::Coefficients;
  using Block::geometry_;
  using Block::kBelow;
  using Block::kCoefficients;
  using Block::kDots;
  using Block::kInverse;
  using Block::kRes;
  using Block::kTile;
  using Block::Lane;
  using Block::Parts;
  using Block::rank_;
  using Block::Received;
  using Block::sizes_;
  using Block::tiles_;

  // Pieces of 16 bytes at n = 4, else single numbers.
  __device__ void Prefetch(int turn) const {
    constexpr int kPiece = N == 4 ? 4 : 1, kPieces = kInverse / kPiece + 1;
    float* to = Coefficients(turn);
#pragma unroll 1
    for (int i = Lane(); i < kTile * kPieces; i += 32) {
      const int64_t t = int64_t{tiles_.Tile(turn)} * kTile + i / kPieces;
      const int k = i % kPieces * kPiece;
      float* at = to + i / kPieces * sizes_.coefficient_pitch + k;
      const bool valid = t < args_.tokens;
      const int64_t from = valid ? t : 0;
      const float* source = args_.coefficients + from * kCoefficients + (k < kRes ? k : k + N);
      if (kMerge && k >= kBelow) {
        source = args_.coefficients_below + from * kCoefficients + N + k - kBelow;
      }
      if (k == kInverse) {
        CopyAsync4(at, args_.norm_inv_rms + from, valid);
      } else if (kMerge || k < kBelow) {
        if constexpr (N == 4) {
          CopyAsync16(at, source, valid);
        } else {
          CopyAsync4(at, source, valid);
        }
      }
    }
  }
};

template <int N, int kTiles, bool kSinkhorn, typename Fixed>
class BackwardFinisher : private BackwardBlock<N, kTiles, Fixed> {
 public:
  using Block = BackwardBlock<N, kTiles, Fixed>;
  using Block::Block;

  __device__ void Run() const {
    const int owned = rank_ * sizes_.owned < kTile ? sizes_.owned : 0;
    const int lane = Lane();
    Sums sums;
    for (int turn = 0; turn < tiles_.Turns(); ++turn) {
      if (lane == 0 && owned > 0) {
        MBarrierExpect(Barriers().SumsCome(turn), geometry_.cluster * owned * kDots * 4);
      }
      if (owned == 0) {
        // Only the packets' barrier is this block's: it may be set once its warps are done with the
        // packets of two turns ago, which is when those have come.
        if (turn >= 2) MBarrierWait(Barriers().ReturnsCome(turn), (turn - 2) / 2 % 2);
        if (lane == 0) MBarrierExpect(Barriers().ReturnsCome(turn), kTile * sizes_.packet * 4);
        continue;
      }
      for (int own = 0; own < owned; ++own) {
        const int local = rank_ * sizes_.owned + own;
        const int64_t token = int64_t{tiles_.Tile(turn)} * kTile + local;
        FinishToken(turn, own, local, token, sums);
      }
    }
    StoreSums(sums);
  }

 private:
  using Block::args_;
  using Block::Barriers;
  using Block::geometry_;
  using Block::GramOf;
  using Block::kCoefficients;
  using Block::kDots;
  using Block::kOfG;
  using Block::kOfY;
  using Block::kPacketFloats;
  using Block::kPacketHalves;
  using Block::kTile;
  using Block::Lane;
  using Block::Packets;
  using Block::rank_;
  using Block::Received;
  using Block::Scratch;
  using Block::sizes_;
  using Block::tiles_;
  static constexpr int kLogits = 2 * N + (kSinkhorn ? N * N : 0);

  // Gradients of bias (a lane a column) and alpha, over this block's tokens.
  struct Sums {
    double bias = 0.0, alpha = 0.0;
  };

  __device__ void FinishToken(int turn, int own, int local, int64_t token, Sums& sums) const {
    const int lane = Lane();
    const bool valid = token < args_.tokens;
    const int64_t from = valid ? token : 0;
    float* shared = Scratch();
    float *dots = shared, *gates = shared + 40, *flows = shared + 72;
    uint32_t* packet = reinterpret_cast<uint32_t*>(shared + 128);

    // What does not wait for the sums.
    const float gate =
        lane < kCoefficients ? args_.coefficients[from * kCoefficients + lane] : 0.0f;
    const float logit = lane < kLogits ? args_.logits[from * (kLogits + 1) + lane] : 0.0f;
    const float inverse_r = args_.logits[from * (kLogits + 1) + kLogits];
    const float inverse = args_.norm_inv_rms[from];
    const int part = lane < N ? 0 : lane < 2 * N ? 1 : 2;
    const float alpha = args_.alpha[part];
    float basis[N > 1 ? N - 1 : 1] = {};
    const int entry = lane - 2 * N;  // of H_res
    if constexpr (kSinkhorn) {
#pragma unroll
      for (int k = 0; k < N - 1; ++k) {
        if (entry < 0 || entry >= N * N) continue;
        basis[k] = args_.basis[(from * (N - 1) + k) * N * N + entry];
      }
    }
    float above[N];  // a row of S
    if (valid && args_.suffix != nullptr) LoadSuffix(token, above);
    gates[lane] = gate;
    if (own == 0) {
      MBarrierWait(Barriers().SumsCome(turn), turn / 2 % 2);
      // This block's own sums have come: its warps are done with the packets of two turns ago.
      if (lane == 0) MBarrierExpect(Barriers().ReturnsCome(turn), kTile * sizes_.packet * 4);
    }
    // The sums of all blocks, in their order.
    if (4 * lane < kDots) {
      *reinterpret_cast<float4*>(dots + 4 * lane) = AddFours(
          Received(turn) + own * kDots + 4 * lane, geometry_.cluster, sizes_.owned * kDots);
    }
    WarpBarrier();

    // Through the block's norm: mean over C of gamma dnorm u / rms.
    float read = 0.0f;
#pragma unroll
    for (int j = 0; j < N; ++j) read = fmaf(gates[j], dots[kOfG + j], read);
    const float mean = inverse * read / float(args_.channels);
    // Through the gates: lanes of H_pre, of H_post, of H_res.
    float dgate = 0.0f;
    if (lane < N) {
      float of_u = 0.0f;  // u . x_j
#pragma unroll
      for (int i = 0; i < N; ++i) {
        of_u = fmaf(gates[i], dots[GramOf(i, lane)], of_u);
      }
      const float dpre = inverse * fmaf(-inverse * mean, of_u, dots[kOfG + lane]);
      dgate = dpre * gate * (1.0f - gate);
    } else if (lane < 2 * N) {
      dgate = dots[kOfY + lane - N] * gate * (1.0f - 0.5f * gate);
    }
    if constexpr (kSinkhorn) {
      const float through = ThroughSinkhorn(entry, dots, gates + 2 * N, flows, basis);
      if (entry >= 0 && entry < N * N) dgate = args_.equal_streams ? 0.0f : through;
    }
    if (!valid || lane >= kLogits) dgate = 0.0f;

    // Through alpha, and through r.
    sums.bias += double(dgate);
    sums.alpha += double(dgate) * double(logit);
    const float dlogit = alpha * dgate;
    float through_r = dlogit * logit;
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) through_r += ShuffleXor(through_r, lanes);
    const float norm = inverse_r * inverse_r * through_r / float(N * args_.channels);
    const float mean_sent = valid ? mean : 0.0f, norm_sent = valid ? norm : 0.0f;
    // To all blocks.
    WritePacket(dlogit * inverse_r, mean_sent, norm_sent, packet);
    SendPacket(turn, local, packet);
    if (valid && args_.suffix != nullptr) MultiplySuffix(token, above, gates + 2 * N);
    WarpBarrier();  // the scratch is free
  }

  // dlogits of an entry of H_res (device/sinkhorn_basis.cuh); sums in double, they cancel where the
  // matrix is near a permutation.
  __device__ static float ThroughSinkhorn(int entry, const float* dmatrix, const float* matrix,
                                          float* flows, const float* basis) {
    float flow = 0.0f;
    if (entry >= 0 && entry < N * N) {
      double mean = 0.0;
#pragma unroll
      for (int j = 0; j < N; ++j) {
        const int at = entry / N * N + j;
        mean = fma(double(matrix[at]), double(dmatrix[at]), mean);
      }
      flow = float(double(matrix[entry]) * (double(dmatrix[entry]) - mean));
      flows[entry] = flow;
    }
    WarpBarrier();
    double sum = double(flow);
#pragma unroll
    for (int k = 0; k < N - 1; ++k) {
      double left = 0.0;
#pragma unroll
      for (int i = 0; i < N; ++i) left += double(flows[i * N + k]);
      sum = fma(left, double(basis[k]), sum);
    }
    return float(sum);
  }

  // dproducts of the lane's column, as bf16 (high, low), and as fp16 high and low under the power
  // of two that brings the largest to 2^10; then the floats.
  __device__ void WritePacket(float dproduct, float mean, float norm, uint32_t* packet) const {
    const int lane = Lane();
    float largest = fabsf(dproduct);
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) {
      largest = fmaxf(largest, ShuffleXor(largest, lanes));
    }
    const float scale = PowerBelow(largest, 10);
    const float scaled = dproduct * scale;
    const float high = LowF16(PackF16(scaled, 0.0f)), low = scaled - high;
    const float next_high = ShuffleXor(high, 1), next_low = ShuffleXor(low, 1);
    if (lane < 8 * kTiles) {
      const float rest = dproduct - LowBf16(PackBf16(dproduct, 0.0f));
      packet[lane] = PackBf16(dproduct, rest);
      if (lane % 2 == 0) {
        packet[kPacketHalves + lane / 2] = PackF16(high, next_high);
        packet[kPacketHalves + 4 * kTiles + lane / 2] = PackF16(low, next_low);
      }
    }
    if (lane == 0) {
      packet[kPacketFloats] = FloatBits(mean);
      packet[kPacketFloats + 1] = FloatBits(norm);
      packet[kPacketFloats + 2] = FloatBits(InversePower(scale));
      packet[kPacketFloats + 3] = 0;
    }
    WarpBarrier();
  }
  __device__ void SendPacket(int turn, int local, const uint32_t* packet) const {
    const int pieces = sizes_.packet / 4;
    uint32_t* to = Packets(turn) + local * sizes_.packet;
    for (int i = Lane(); i < pieces * geometry_.cluster; i += 32) {
      const int piece = i % pieces;
      Send16(to + 4 * piece, i / pieces, *reinterpret_cast<const uint4*>(packet + 4 * piece),
             Barriers().ReturnsCome(turn));
    }
  }

  // S = S_above H_res, a lane an entry, in double; S_above, which takes its time, read before.
  __device__ void LoadSuffix(int64_t token, float (&above)[N]) const {
    if (Lane() >= N * N) return;
#pragma unroll
    for (int m = 0; m < N; ++m) above[m] = args_.suffix_above[(token * N + Lane() / N) * N + m];
  }
  __device__ void MultiplySuffix(int64_t token, const float (&above)[N],
                                 const float* matrix) const {
    const int lane = Lane();
    double sum = 0.0;
#pragma unroll
    for (int m = 0; m < N; ++m) sum = fma(double(above[m]), double(matrix[m * N + lane % N]), sum);
    WarpBarrier();
    if (lane < N * N) args_.suffix[token * N * N + lane] = float(sum);
  }

  __device__ void StoreSums(const Sums& sums) const {
    const int lane = Lane();
    float* to = args_.sums + int64_t{blockIdx.x} * (3 + kLogits);
    if (lane < kLogits) to[3 + lane] = float(sums.bias);
#pragma unroll
    for (int part = 0; part < 3; ++part) {
      const int mine = lane < N ? 0 : lane < 2 * N ? 1 : 2;
      double sum = mine == part && lane < kLogits ? sums.alpha : 0.0;
#pragma unroll
      for (int lanes = 16; lanes > 0; lanes /= 2) sum += ShuffleXor(sum, lanes);
      if (lane == 0) to[part] = float(sum);
    }
  }
};

}  // namespace birkhoff::cuda
