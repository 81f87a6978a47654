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
      SendSums({Parts(), geometry_.warps, kTile, BackwardSizes::kDotPitch, kDots}, Received(turn),
               rank_, sizes_.owned, Barriers().SumsCome(turn));
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
  using Block::kCoefficients;
  using Block::kDots;
  using Block::kTile;
  using Block::Parts;
  using Block::rank_;
  using Block::Received;
  using Block::sizes_;
  using Block::tiles_;

  // H_post below.
  __device__ void Prefetch(int turn) const {
    if constexpr (kMerge) {
      CopyTokens<N, N>({args_.coefficients_below, kCoefficients, N,
                        int64_t{tiles_.Tile(turn)} * kTile, args_.tokens},
                       kTile, sizes_.coefficient_pitch, Coefficients(turn));
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
  using Block::kPacketHalves;
  using Block::kPacketMix;
  using Block::kPacketRead;
  using Block::kPacketScale;
  using Block::kPadded;
  using Block::kTile;
  using Block::kVectors;
  using Block::Lane;
  using Block::LastOf;
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
    // To all blocks.
    WriteProducts(dlogit * inverse_r, packet);
    WriteMix(gates, {inverse, valid ? mean : 0.0f, valid ? norm : 0.0f}, local, packet);
    WarpBarrier();
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
        const int row = entry / N;
        mean = fma(double(matrix[row * N + j]), double(dmatrix[row * kPadded + j]), mean);
      }
      const double own = double(dmatrix[entry / N * kPadded + entry % N]);
      flow = float(double(matrix[entry]) * (own - mean));
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

  // dproducts of the lane's column, as bf16 high and low, and as fp16 under the power of two that
  // brings the largest to 2^10.
  __device__ void WriteProducts(float dproduct, uint32_t* packet) const {
    const int lane = Lane();
    float largest = fabsf(dproduct);
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) {
      largest = fmaxf(largest, ShuffleXor(largest, lanes));
    }
    const float scale = PowerBelow(largest, 10);
    const float coarse = LowBf16(PackBf16(dproduct, 0.0f)), fine = dproduct - coarse;
    // Lanes of even columns write the high parts of two columns, the others the low ones.
    const bool odd = lane % 2 != 0;
    const float next = ShuffleXor(dproduct, 1), other = ShuffleXor(odd ? coarse : fine, 1);
    if (lane < 8 * kTiles) {
      packet[(odd ? 4 * kTiles : 0) + lane / 2] =
          odd ? PackBf16(other, fine) : PackBf16(coarse, other);
      if (!odd) {
        packet[kPacketHalves + lane / 2 % 4 * kTiles + lane / 8] =
            PackF16(dproduct * scale, next * scale);
      }
    }
    if (lane == 0) packet[kPacketScale] = FloatBits(InversePower(scale));
  }
  __device__ static uint32_t HighAndLow(float value) {
    return PackBf16(value, value - LowBf16(PackBf16(value, 0.0f)));
  }

  // dX_j = sum_i H_ij dX'_i + H_pre[j] du - norm x_j (+ dproducts phi^T), where
  // du = (g - u mean) / rms and u = sum_k H_pre[k] x_k / rms.
  struct Scalars {
    float inverse, mean, norm;
  };
  __device__ void WriteMix(const float* gates, const Scalars& of, int token,
                           uint32_t* packet) const {
    const int lane = Lane();
    const int j = lane / kVectors % kPadded, k = lane % kPadded;
    const bool there = lane < kPadded * kVectors && j < N && k < N;
    float value = 0.0f;  // of dX'_k, then of x_k
    if (there && lane % kVectors < kPadded) {
      value = gates[2 * N + k * N + j];
    } else if (there) {
      value = -of.inverse * of.inverse * of.mean * gates[j] * gates[k];
      if (j == k) value -= of.norm;
    }
    const float high = LowBf16(PackBf16(value, 0.0f)), low = value - high;
    const float other = ShuffleXor(lane % 2 != 0 ? high : low, 1);
    if (lane < kPadded * kVectors) {
      // Two vectors, of which lane `to` of the tensor cores has rows; at two streams another lane has
      // rows of another token, and multiplies with zeros.
      const bool odd = lane % 2 != 0;
      const uint32_t word = odd ? PackBf16(other, low) : PackBf16(high, other);
      const int last = LastOf(token), pair = lane % kVectors / 2;
      const int to = kPadded == 4 ? pair : pair + token / 4 % 2 * 2;
      uint32_t* at = packet + kPacketMix + j * 16 + (odd ? 2 : 0);
      at[to * 4 + last] = word;
      at[to * 4 + 1 - last] = 0;
      if constexpr (kPadded != 4) at[(to ^ 2) * 4] = at[(to ^ 2) * 4 + 1] = 0;
    }
    if (lane < kPadded) {
      packet[kPacketRead + lane] = HighAndLow(lane < N ? gates[lane] * of.inverse : 0.0f);
    }
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
