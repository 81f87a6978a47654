// The second half of the backward pass: dX and the gradients that sum over tokens, C wide.
#include "core/base/status_macros.h"
#include "kernels/cuda/boundary_parts.h"
#include "kernels/cuda/device/mix.cuh"
#include "kernels/cuda/mapping_dispatch.h"
#include "kernels/cuda/status.h"

namespace birkhoff::cuda {
namespace {

constexpr int kTile = kCombineTokens;
constexpr int kAddElements = 32, kAddRows = 8;

// Blocks on a multiprocessor at least: one loads while another multiplies.
constexpr int CombineBlocks(int streams) { return streams <= 4 ? 8 / streams : 1; }

// One block's tokens between two barriers.
template <int N, typename T, bool kIsHc, int kMostColumns>
struct CombineTile {
  static constexpr int kChannels = CombineChannels(N);
  static constexpr int kThreads = N * kChannels;  // a thread is a channel of a stream
  static constexpr int kGroups = kIsHc ? N : 1;
  static constexpr int kPitch = (kMostColumns + 3) / 4 * 4;

  alignas(16) T above[kTile][N][kChannels];  // dX_{l+1}
  alignas(16) T x[kTile][N][kChannels];
  alignas(16) T dnorm[kTile][kChannels];
  alignas(16) T dx[kTile][N][kChannels];
  float du[kTile][kChannels];
  alignas(16) float dproducts[kTile][kGroups][kPitch];
  float res[kTile][N][N];  // transposed: column j of H_res together
  float pre[kTile][N], norm[kTile][N];
  float inverse[kTile], mean[kTile];
};

// `rows` rows of the tile from rows that lie `stride` apart, zeros for tokens that are not there.
template <int kRows, int kThreads, int kChannels, typename T>
__device__ inline void CopyRows(const T* from, int64_t rows_left, int64_t C, int64_t c0,
                                bool vector, T* to) {
  constexpr int kPacks = kChannels / kLanes<T>;
#pragma unroll 1
  for (int i = int(threadIdx.x); i < kRows * kPacks; i += kThreads) {
    const int row = i / kPacks, c = i % kPacks * kLanes<T>;
    Pack<T> pack = {};
    if (row < rows_left && c0 + c < C) {
      pack = LoadPack(from + row * C + c0 + c, C - c0 - c, vector);
    }
    *reinterpret_cast<Pack<T>*>(to + row * kChannels + c) = pack;
  }
}

// What is not C wide; zeros for tokens that are not there.
template <int N, typename T, typename Tile, bool kIsHc>
__device__ inline void LoadScalars(const BoundaryBackwardArgs<T>& args,
                                   const BoundaryWorkspace& work, int columns, int64_t first,
                                   int64_t left, Tile& tile) {
  constexpr int kStride = 2 * N + N * N;
#pragma unroll 1
  for (int i = int(threadIdx.x); i < kTile * N; i += Tile::kThreads) {
    const int token = i / N, j = i % N;
    const int64_t t = first + token;
    const bool here = token < left;
    tile.pre[token][j] = here ? args.coefficients[t * kStride + j] : 0.0f;
    tile.norm[token][j] = here ? work.norm[t * N + j] : 0.0f;
    if (j == 0) {
      tile.inverse[token] = here ? args.norm_inv_rms[t] : 0.0f;
      tile.mean[token] = here ? work.mean[t] : 0.0f;
    }
  }
#pragma unroll 1
  for (int i = int(threadIdx.x); i < kTile * N * N; i += Tile::kThreads) {
    const int token = i / (N * N), entry = i % (N * N);
    float value = 0.0f;
    if (token < left) value = args.coefficients[(first + token) * kStride + 2 * N + entry];
    tile.res[token][entry % N][entry / N] = value;
  }
  constexpr int kGroups = Tile::kGroups, kPitch = Tile::kPitch;
#pragma unroll 1
  for (int i = int(threadIdx.x); i < kTile * kGroups * kPitch; i += Tile::kThreads) {
    const int token = i / (kGroups * kPitch), group = i / kPitch % kGroups, m = i % kPitch;
    float value = 0.0f;
    if (token < left && m < columns) {
      value = work.dproducts[((first + token) * kGroups + group) * columns + m];
    }
    tile.dproducts[token][group][m] = value;
  }
}

// du of the block's tokens, and their share of dgamma of this thread's channel.
template <int N, typename T, typename Tile>
__device__ inline void NormBackward(float gamma, Tile& tile, float& dgamma) {
  const int c = int(threadIdx.x) % Tile::kChannels;
#pragma unroll 1
  for (int token = int(threadIdx.x) / Tile::kChannels; token < kTile; token += N) {
    float u = 0.0f;
#pragma unroll
    for (int j = 0; j < N; ++j) u = fmaf(tile.pre[token][j], Load(tile.x[token][j][c]), u);
    u *= tile.inverse[token];
    const float dnorm = Load(tile.dnorm[token][c]);
    dgamma = fmaf(dnorm, u, dgamma);
    tile.du[token][c] = tile.inverse[token] * fmaf(gamma, dnorm, -u * tile.mean[token]);
  }
}

// Stores dX of the tile and, where a merge lies below, dy_below = H_post dX: of dX as it is stored,
// so that a stage that receives dX makes the same bits.
template <int N, typename T, typename Tile>
__device__ inline void StoreTile(const BoundaryBackwardArgs<T>& args, int64_t first, int64_t left,
                                 int64_t c0, bool vector, const Tile& tile) {
  constexpr int kPacks = Tile::kChannels / kLanes<T>;
  const int64_t C = args.shape.channels;
#pragma unroll 1
  for (int i = int(threadIdx.x); i < kTile * kPacks; i += Tile::kThreads) {
    const int token = i / kPacks, c = i % kPacks * kLanes<T>;
    if (token >= left || c0 + c >= C) continue;
    const int64_t t = first + token;
    StreamLanes<N, T> dx;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const Pack<T> pack = *reinterpret_cast<const Pack<T>*>(&tile.dx[token][j][c]);
      StorePack(pack, C - c0 - c, vector, args.dx + (t * N + j) * C + c0 + c);
      dx.stream[j] = Widen(pack);
    }
    if (args.source != BoundarySource::kMerge) continue;
    float post[N];
    const float* h = args.coefficients_below;  // not of the tile: the next one may be loading
    LoadCoefficients(h == nullptr ? h : h + t * (2 * N + N * N) + N, post);
    StorePack(Round(Read<N>(post, dx)), C - c0 - c, vector, args.dy_below + t * C + c0 + c);
  }
}

// Sums of one number a thread over the streams of each channel, in order; for the threads of
// stream 0.
template <int N, int kChannels>
__device__ inline float SumStreams(float value, float* scratch) {
  __syncthreads();
  scratch[threadIdx.x] = value;
  __syncthreads();
  float sum = 0.0f;
#pragma unroll
  for (int j = 0; j < N; ++j) sum += scratch[j * kChannels + int(threadIdx.x) % kChannels];
  return sum;
}

// A block owns kChannels channels of all streams and one chunk of tokens, a thread one channel of
// one stream: its row of phi and of phi's gradient stay in registers.
//
//   dx_j = sum_i H_res[i][j] dx_above_i + H_pre[j] du - norm[j] x_j + dproducts phi^T
//
// grid: (C / kChannels, chunks); shared: the tile, 18 KB for bf16 and 28 KB for float at n = 4.
// Units of C a token: reads dX_{l+1} n, X n, dnorm 1; writes dX n and dy_below 1.
template <int N, typename T, bool kIsHc, int kMostColumns>
__global__ __launch_bounds__(N* CombineChannels(N),
                             CombineBlocks(N)) void CombineKernel(BoundaryBackwardArgs<T> args,
                                                                  BoundaryWorkspace work,
                                                                  int columns, int64_t chunk_tokens,
                                                                  bool vector) {
  using Tile = CombineTile<N, T, kIsHc, kMostColumns>;
  constexpr int kThreads = Tile::kThreads, kChannels = Tile::kChannels;
  __shared__ Tile tile;
  const int64_t C = args.shape.channels, c0 = int64_t{blockIdx.x} * kChannels;
  const int j = int(threadIdx.x) / kChannels, lane = int(threadIdx.x) % kChannels;
  const int group = kIsHc ? j : 0;
  const int64_t c = c0 + lane, chunk = blockIdx.y;
  const int64_t end = min(args.shape.tokens, (chunk + 1) * chunk_tokens);

  // This thread's row of phi.
  float weight[kMostColumns], dweight[kMostColumns], dgamma = 0.0f;
  const float gamma = c < C ? args.parameters.gamma[c] : 0.0f;
#pragma unroll
  for (int m = 0; m < kMostColumns; ++m) {
    const bool there = m < columns && c < C;
    const int64_t at = kIsHc ? m * C + c : (j * C + c) * columns + m;
    weight[m] = there ? args.parameters.projection[at] : 0.0f;
    dweight[m] = 0.0f;
  }

  for (int64_t first = chunk * chunk_tokens; first < end; first += kTile) {
    const int64_t left = end - first, row = first * N * C;
    // A tile: loaded, du formed, dX and the sums for phi's gradient, stored.
    CopyRows<kTile * N, kThreads, kChannels>(args.dx_above + row, left * N, C, c0, vector,
                                             tile.above[0][0]);
    CopyRows<kTile * N, kThreads, kChannels>(args.x + row, left * N, C, c0, vector, tile.x[0][0]);
    CopyRows<kTile, kThreads, kChannels>(args.dnorm + first * C, left, C, c0, vector,
                                         tile.dnorm[0]);
    LoadScalars<N, T, Tile, kIsHc>(args, work, columns, first, left, tile);
    __syncthreads();
    NormBackward<N, T>(gamma, tile, dgamma);
    __syncthreads();
#pragma unroll 1  // registers are for phi and its gradient, here and in the loops above
    for (int token = 0; token < kTile; ++token) {
      const float x = Load(tile.x[token][j][lane]);
      float sum = fmaf(tile.pre[token][j], tile.du[token][lane], -tile.norm[token][j] * x);
#pragma unroll
      for (int i = 0; i < N; ++i) {
        sum = fmaf(tile.res[token][j][i], Load(tile.above[token][i][lane]), sum);
      }
#pragma unroll
      for (int m = 0; m < kMostColumns; ++m) {
        const float dproduct = tile.dproducts[token][group][m];
        sum = fmaf(dproduct, weight[m], sum);
        dweight[m] = fmaf(dproduct, x, dweight[m]);
      }
      tile.dx[token][j][lane] = Store<T>(sum);
    }
    __syncthreads();
    StoreTile<N>(args, first, left, c0, vector, tile);
  }

  // This chunk's sums over tokens.
  float* scratch = tile.du[0];
  static_assert(kThreads <= kTile * kChannels);
  dgamma = SumStreams<N, kChannels>(dgamma, scratch);
  if (j == 0 && c < C) work.gamma[chunk * C + c] = dgamma;
#pragma unroll
  for (int m = 0; m < kMostColumns; ++m) {
    if constexpr (kIsHc) {
      const float sum = SumStreams<N, kChannels>(dweight[m], scratch);
      if (j == 0 && c < C) work.projection[(chunk * (N + 2) + m) * C + c] = sum;
    } else if (m < columns && c < C) {
      work.projection[((chunk * N + j) * C + c) * columns + m] = dweight[m];
    }
  }
}

// A column of kAddRows threads owns an element: thread g adds partials g, g + kAddRows, ... in order,
// then the first adds up those sums in order.  grid: elements / kAddElements; shared: a float a
// thread.
__global__ __launch_bounds__(kAddElements* kAddRows) void AddPartialsKernel(const float* partials,
                                                                            int64_t count,
                                                                            int64_t elements,
                                                                            float* sums) {
  __shared__ float scratch[kAddRows][kAddElements];
  const int64_t i = int64_t{blockIdx.x} * kAddElements + threadIdx.x;
  float sum = 0.0f;
  if (i < elements) {
#pragma unroll 8
    for (int64_t k = threadIdx.y; k < count; k += kAddRows) sum += partials[k * elements + i];
  }
  scratch[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || i >= elements) return;
  sum = 0.0f;
#pragma unroll
  for (int g = 0; g < kAddRows; ++g) sum += scratch[g][threadIdx.x];
  sums[i] += sum;
}

template <int N, typename T, bool kIsHc, int kMostColumns>
void Launch(const BoundaryBackwardArgs<T>& args, const BoundaryWorkspace& work,
            StreamHandle stream) {
  const int64_t C = args.shape.channels;
  const TokenChunks chunks = ChunksOf(args.shape);
  const int columns = ProjectionColumns(args.shape);
  const bool vector = MovesPacks(C, {args.dx_above, args.x, args.dnorm, args.dx, args.dy_below});
  const dim3 grid(unsigned((C + CombineChannels(N) - 1) / CombineChannels(N)),
                  unsigned(chunks.count));
  CombineKernel<N, T, kIsHc, kMostColumns>
      <<<grid, N * CombineChannels(N), 0, stream>>>(args, work, columns, chunks.tokens, vector);
}

}  // namespace

absl::Status AddPartials(const float* partials, int64_t count, int64_t elements, float* sums,
                         StreamHandle stream) {
  if (elements == 0) return absl::OkStatus();  // static mappings have no projection
  AddPartialsKernel<<<unsigned((elements + kAddElements - 1) / kAddElements),
                      dim3(kAddElements, kAddRows), 0, stream>>>(partials, count, elements, sums);
  return LaunchStatus("AddPartialsKernel");
}

template <typename T>
absl::Status CombineGradients(const BoundaryBackwardArgs<T>& args, const BoundaryWorkspace& work,
                              StreamHandle stream) {
  const BoundaryShape& shape = args.shape;
  WithStreams(shape.streams, [&](auto n) {
    constexpr int kN = n(), kUsual = 2 * kN + kN * kN;
    if (shape.kind == BoundaryKind::kHc) return Launch<kN, T, true, kN + 2>(args, work, stream);
    if constexpr (kN == 4) {  // the one case with more logits than n^2
      if (shape.mapping == MappingKind::kPermutations) {
        return Launch<kN, T, false, 2 * kN + 24>(args, work, stream);
      }
    }
    Launch<kN, T, false, kUsual>(args, work, stream);
  });
  RETURN_IF_ERROR(LaunchStatus("CombineKernel"));
  const int64_t count = ChunksOf(shape).count;
  RETURN_IF_ERROR(AddPartials(work.gamma, count, shape.channels, args.gradients.gamma, stream));
  return AddPartials(work.projection, count, ProjectionElements(shape), args.gradients.projection,
                     stream);
}

template absl::Status CombineGradients(const BoundaryBackwardArgs<float>&, const BoundaryWorkspace&,
                                       StreamHandle);
template absl::Status CombineGradients(const BoundaryBackwardArgs<bf16>&, const BoundaryWorkspace&,
                                       StreamHandle);

}  // namespace birkhoff::cuda
