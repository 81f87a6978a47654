// Kernels of the GPU on the CPU, to the letter of their index arithmetic and of their barriers: a
// thread is a fiber, a cluster's fibers take turns, and the functions of device/hopper.cuh do what
// Hopper's instructions do.  Slow, and blind for races that only true concurrency shows; a barrier
// that nobody opens is found, and so is a read of shared memory that nobody wrote (it is NaN) or
// that a copy has not reached yet (copies arrive as late as they may, or as early).
//
// Include this before any header of kernels/cuda/device.
#pragma once

#include <ucontext.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "core/base/check.h"
#include "kernels/cuda/tensor_map.h"
#include "kernels/types.h"

#define BIRKHOFF_EMULATED_GPU
#define __device__
#define __noinline__
#define threadIdx (::birkhoff::emulation::Here().thread)
#define blockIdx (::birkhoff::emulation::Here().block)
#define blockDim (::birkhoff::emulation::Here().block_size)
#define gridDim (::birkhoff::emulation::Here().grid_size)

struct alignas(8) float2 {
  float x, y;
};
struct alignas(8) uint2 {
  uint32_t x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};

namespace birkhoff::emulation {

struct Index {
  unsigned x = 0;
};

// Threads that wait for each other.
struct Meeting {
  int arrived = 0;
  uint64_t generation = 0;
};

struct Warp {
  Meeting meeting;
  alignas(16) unsigned char in[32][64], out[32][64];
};

// What the copy engine was told to do and has not done.
struct Box {
  cuda::BoxedRows rows;
  int channel, token;
  unsigned char* shared;
  uint64_t* barrier;  // null: to be stored
};

struct Block {
  std::vector<unsigned char> memory;
  unsigned char* shared = nullptr;  // 1024-byte aligned
  int bytes = 0;
  Meeting barrier;  // of all its threads
  std::vector<Warp> warps;
  std::deque<Box> loads, stores;
};

struct Cluster {
  Meeting barrier;
  std::vector<Block> blocks;
};

struct Copy {
  unsigned char* to;
  unsigned char bytes[16];
  int count;
};

struct Fiber {
  Index thread, block, block_size, grid_size;
  int rank = 0;  // of the block in its cluster
  Block* in = nullptr;
  Cluster* cluster = nullptr;
  Warp* warp = nullptr;
  std::deque<std::vector<Copy>> copies;  // sets, the last one open
  ucontext_t context;
  std::vector<unsigned char> stack;
  bool done = false;
};

struct Machine {
  ucontext_t scheduler;
  std::vector<std::unique_ptr<Fiber>> fibers;
  Fiber* running = nullptr;
  const std::function<void(unsigned char*)>* kernel = nullptr;
  uint64_t progress = 0;
  bool late_copies = true;
};
inline Machine& TheMachine() {
  static Machine machine;
  return machine;
}
inline Fiber& Here() { return *TheMachine().running; }

inline void Yield() {
  Machine& machine = TheMachine();
  swapcontext(&machine.running->context, &machine.scheduler);
}
template <typename Ready>
void WaitUntil(const Ready& ready) {
  while (!ready()) Yield();
  ++TheMachine().progress;
}
inline void Meet(Meeting& meeting, int threads) {
  const uint64_t generation = meeting.generation;
  ++TheMachine().progress;
  if (++meeting.arrived == threads) {
    meeting.arrived = 0;
    ++meeting.generation;
    return;
  }
  WaitUntil([&] { return meeting.generation != generation; });
}

// What all lanes of a warp give, to what all get.
template <typename Out, typename In, typename Work>
Out Together(const In& in, const Work& work) {
  static_assert(sizeof(In) <= 64 && sizeof(Out) <= 64);
  Warp& warp = *Here().warp;
  const unsigned lane = Here().thread.x % 32;
  std::memcpy(warp.in[lane], &in, sizeof(in));
  const uint64_t generation = warp.meeting.generation;
  ++TheMachine().progress;
  if (++warp.meeting.arrived == 32) {
    In all[32];
    Out results[32];
    for (int l = 0; l < 32; ++l) std::memcpy(&all[l], warp.in[l], sizeof(In));
    work(all, results);
    for (int l = 0; l < 32; ++l) std::memcpy(warp.out[l], &results[l], sizeof(Out));
    warp.meeting.arrived = 0;
    ++warp.meeting.generation;
  } else {
    WaitUntil([&] { return warp.meeting.generation != generation; });
  }
  Out out;
  std::memcpy(&out, warp.out[lane], sizeof(out));
  return out;
}

inline void Enter() {
  Machine& machine = TheMachine();
  (*machine.kernel)(machine.running->in->shared);
  machine.running->done = true;
  ++machine.progress;
  Yield();
}

inline std::unique_ptr<Fiber> NewFiber(Cluster& cluster, int rank, int thread) {
  auto fiber = std::make_unique<Fiber>();
  fiber->thread.x = unsigned(thread);
  fiber->rank = rank;
  fiber->in = &cluster.blocks[size_t(rank)];
  fiber->cluster = &cluster;
  fiber->warp = &fiber->in->warps[size_t(thread / 32)];
  fiber->copies.emplace_back();
  fiber->stack.resize(48 * 1024);
  getcontext(&fiber->context);
  fiber->context.uc_stack.ss_sp = fiber->stack.data();
  fiber->context.uc_stack.ss_size = fiber->stack.size();
  fiber->context.uc_link = nullptr;
  makecontext(&fiber->context, Enter, 0);
  return fiber;
}

inline void RunCluster(Cluster& cluster, int first_block, int grid, int threads) {
  Machine& machine = TheMachine();
  machine.fibers.clear();
  for (int rank = 0; rank < int(cluster.blocks.size()); ++rank) {
    cluster.blocks[size_t(rank)].warps.resize(size_t(threads / 32));
    for (int thread = 0; thread < threads; ++thread) {
      machine.fibers.push_back(NewFiber(cluster, rank, thread));
      Fiber& fiber = *machine.fibers.back();
      fiber.block.x = unsigned(first_block + rank);
      fiber.block_size.x = unsigned(threads);
      fiber.grid_size.x = unsigned(grid);
    }
  }
  int idle_rounds = 0;
  for (size_t left = machine.fibers.size(); left > 0;) {
    const uint64_t before = machine.progress;
    left = 0;
    for (const std::unique_ptr<Fiber>& fiber : machine.fibers) {
      if (fiber->done) continue;
      ++left;
      machine.running = fiber.get();
      swapcontext(&machine.scheduler, &fiber->context);
    }
    idle_rounds = machine.progress == before ? idle_rounds + 1 : 0;
    BIRKHOFF_CHECK(idle_rounds < 3, "emulated kernel: every thread waits");
  }
}

struct LaunchShape {
  int blocks = 1, cluster = 1, threads = 32, shared_bytes = 0;
};
// Runs kernel(shared memory) in every thread, one cluster after the other.
inline void Launch(const LaunchShape& shape, bool late_copies,
                   const std::function<void(unsigned char*)>& kernel) {
  Machine& machine = TheMachine();
  machine.kernel = &kernel;
  machine.late_copies = late_copies;
  for (int first = 0; first < shape.blocks; first += shape.cluster) {
    Cluster cluster;
    cluster.blocks.resize(size_t(shape.cluster));
    for (Block& block : cluster.blocks) {
      block.bytes = shape.shared_bytes;
      block.memory.assign(size_t(shape.shared_bytes) + 1024, 0xff);
      block.shared = reinterpret_cast<unsigned char*>(
          (reinterpret_cast<uintptr_t>(block.memory.data()) + 1023) / 1024 * 1024);
    }
    RunCluster(cluster, first, shape.blocks, shape.threads);
  }
}

// Address `pointer` of this block's shared memory, in block `rank` of the cluster.
inline unsigned char* InBlock(const void* pointer, int rank, int bytes) {
  const auto offset = static_cast<const unsigned char*>(pointer) - Here().in->shared;
  BIRKHOFF_CHECK(offset >= 0 && offset + bytes <= Here().in->bytes, "outside of shared memory");
  BIRKHOFF_CHECK(offset % bytes == 0, "not aligned");
  BIRKHOFF_CHECK(rank >= 0 && rank < int(Here().cluster->blocks.size()), "no such block");
  return Here().cluster->blocks[size_t(rank)].shared + offset;
}

// A barrier that counts bytes, as it stands in shared memory.
// A barrier of the hardware, in the 8 bytes of the kernel's.
struct MBarrier {
  int32_t bytes;     // still to come; negative where they came before they were expected
  uint8_t arrivals;  // of each phase
  uint8_t missing;   // arrivals of this phase
  uint16_t phase;
};
static_assert(sizeof(MBarrier) == 8);
inline void Settle(MBarrier& barrier) {
  ++TheMachine().progress;
  if (barrier.missing != 0 || barrier.bytes != 0) return;
  barrier.missing = barrier.arrivals;
  ++barrier.phase;
}

inline float FromF16(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  float value = exponent == 31  ? (fraction != 0 ? std::nanf("") : HUGE_VALF)
                : exponent == 0 ? std::ldexp(float(fraction), -24)
                                : std::ldexp(float(fraction + 1024), exponent - 25);
  return (bits >> 15) != 0 ? -value : value;
}
inline uint16_t ToF16(float value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const float size = std::fabs(value);
  if (std::isnan(value)) return 0x7fff;
  if (size >= 65520.0f) return sign | 0x7c00;
  int exponent;
  std::frexp(size, &exponent);
  const int unit = exponent - 11 < -24 ? -24 : exponent - 11;       // of the last place
  const auto count = int(std::nearbyint(std::ldexp(size, -unit)));  // 0 .. 2048
  if (count < 1024) return sign | uint16_t(count);                  // subnormal
  const int up = count == 2048 ? 1 : 0;
  return sign | uint16_t((unit + 25 + up) << 10) | uint16_t((up != 0 ? 1024 : count) & 1023);
}
inline float OfHalf(uint32_t word, int half, bool is_bf16) {
  const auto bits = uint16_t(word >> (16 * half));
  return is_bf16 ? ToFloat(bf16{bits}) : FromF16(bits);
}

// The tensor cores' product; short: 8 columns of a.
struct MmaOperands {
  float d[4];
  uint32_t a[4], b[2];
};
struct MmaResult {
  float d[4];
};
inline MmaResult Multiply(const MmaOperands& operands, bool is_bf16, bool is_short) {
  return Together<MmaResult>(operands, [&](const MmaOperands* in, MmaResult* out) {
    const int depth = is_short ? 8 : 16;
    for (int lane = 0; lane < 32; ++lane) {
      for (int k = 0; k < 4; ++k) {
        const int row = lane / 4 + k / 2 * 8, column = lane % 4 * 2 + k % 2;
        double sum = double(in[lane].d[k]);
        for (int i = 0; i < depth; ++i) {
          // Element (row, i) of a, (i, column) of b.
          const int from_a = row % 8 * 4 + i % 8 / 2, from_b = column * 4 + i % 8 / 2;
          sum += double(OfHalf(in[from_a].a[row / 8 + i / 8 * 2], i % 2, is_bf16)) *
                 double(OfHalf(in[from_b].b[i / 8], i % 2, is_bf16));
        }
        out[lane].d[k] = float(sum);
      }
    }
  });
}

}  // namespace birkhoff::emulation

// ---- the names that kernels use

inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fdividef(float a, float b) { return a / b; }
inline void __syncthreads() {
  using namespace birkhoff::emulation;
  Meet(Here().in->barrier, int(Here().block_size.x));
}
inline int atomicMax(int* at, int value) {
  const int old = *at;
  *at = old > value ? old : value;
  return old;
}

namespace birkhoff::cuda {

inline void CopyAsync(void* to, const void* from, int bytes, bool there) {
  emulation::Fiber& fiber = emulation::Here();
  emulation::Copy copy = {static_cast<unsigned char*>(to), {}, bytes};
  emulation::InBlock(to, fiber.rank, bytes);
  if (there) std::memcpy(copy.bytes, from, size_t(bytes));
  if (emulation::TheMachine().late_copies) {
    fiber.copies.back().push_back(copy);
  } else {
    std::memcpy(to, copy.bytes, size_t(bytes));
  }
}
using SharedAt = uintptr_t;
inline SharedAt SharedAddress(const void* pointer) { return SharedAt(pointer); }
inline void CopyAsync16(void* to, const void* from, bool there) { CopyAsync(to, from, 16, there); }
inline void CopyAsync4(void* to, const void* from, bool there) { CopyAsync(to, from, 4, there); }
inline void CopyCommit() { emulation::Here().copies.emplace_back(); }
template <int kSets>
void CopyWait() {
  auto& copies = emulation::Here().copies;
  while (copies.size() > size_t(kSets) + 1) {
    for (const emulation::Copy& copy : copies.front()) {
      std::memcpy(copy.to, copy.bytes, size_t(copy.count));
    }
    copies.pop_front();
  }
}

inline void KeepOrder() {}
inline void Store16(void* to, uint4 words) {
  BIRKHOFF_CHECK(reinterpret_cast<uintptr_t>(to) % 16 == 0, "not aligned");
  std::memcpy(to, &words, 16);
}

inline uint32_t PackBf16(float low, float high) {
  return uint32_t{ToBf16(low).bits} | uint32_t{ToBf16(high).bits} << 16;
}
inline uint32_t PackF16(float low, float high) {
  return uint32_t{emulation::ToF16(low)} | uint32_t{emulation::ToF16(high)} << 16;
}
inline float BitsFloat(uint32_t bits) { return std::bit_cast<float>(bits); }
inline uint32_t FloatBits(float value) { return std::bit_cast<uint32_t>(value); }
inline float LowBf16(uint32_t word) { return BitsFloat(word << 16); }
inline float HighBf16(uint32_t word) { return BitsFloat(word & 0xffff0000u); }
inline float LowBf16Anew(uint32_t word) { return LowBf16(word); }
inline float HighBf16Anew(uint32_t word) { return HighBf16(word); }

inline uint32_t Placed(uint32_t word, uint32_t zero) { return word ^ zero; }
inline uint32_t AnyWord() { return 0xffffffffu; }  // NaN
inline void StoreIf(bool wanted, float* to, float value) {
  if (wanted) *to = value;
}
template <typename T>
T ShuffleXor(T value, int lanes) {
  return emulation::Together<T>(value, [&](const T* in, T* out) {
    for (int l = 0; l < 32; ++l) out[l] = in[l ^ lanes];
  });
}
inline float ShuffleFrom(float value, int lane) {
  struct Asked {
    float value;
    int lane;
  };
  return emulation::Together<Asked>(Asked{value, lane},
                                    [](const Asked* in, Asked* out) {
                                      for (int l = 0; l < 32; ++l)
                                        out[l].value = in[in[l].lane].value;
                                    })
      .value;
}
inline bool AnyLane(bool value) {
  return emulation::Together<bool>(value, [](const bool* in, bool* out) {
    bool any = false;
    for (int l = 0; l < 32; ++l) any = any || in[l];
    for (int l = 0; l < 32; ++l) out[l] = any;
  });
}
inline void WarpBarrier() { AnyLane(false); }

inline void MmaInto(float (&d)[4], const emulation::MmaOperands& operands, bool is_bf16,
                    bool is_short) {
  const emulation::MmaResult result = emulation::Multiply(operands, is_bf16, is_short);
  std::memcpy(d, result.d, sizeof(d));
}
inline void MmaF16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  MmaInto(d, {{d[0], d[1], d[2], d[3]}, {a[0], a[1], a[2], a[3]}, {b0, b1}}, false, false);
}
inline void MmaF16Short(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t b0) {
  MmaInto(d, {{d[0], d[1], d[2], d[3]}, {a0, a1, 0, 0}, {b0, 0}}, false, true);
}
inline void MmaBf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  MmaInto(d, {{d[0], d[1], d[2], d[3]}, {a[0], a[1], a[2], a[3]}, {b0, b1}}, true, false);
}
inline void MmaBf16Short(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t b0) {
  MmaInto(d, {{d[0], d[1], d[2], d[3]}, {a0, a1, 0, 0}, {b0, 0}}, true, true);
}
inline void MmaBf16ShortHere(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t b0) {
  MmaBf16Short(d, a0, a1, b0);
}

// Which two elements of an 8 x 8 matrix a lane has.
struct Element {
  int row, column;
};
inline Element ElementOf(int lane, int k, bool transposed) {
  const int outer = lane / 4, inner = lane % 4 * 2 + k;
  return transposed ? Element{inner, outer} : Element{outer, inner};
}
// kCount 8 x 8 matrices, whose rows the first 8 kCount lanes give.
template <int kCount>
struct MatrixWords {
  uint32_t at[kCount];
};
template <int kCount>
MatrixWords<kCount> LoadMatrices(SharedAt at, bool transposed) {
  const void* const row = reinterpret_cast<const void*>(at);
  emulation::InBlock(row, emulation::Here().rank, 16);
  return emulation::Together<MatrixWords<kCount>>(row, [&](const void* const* in,
                                                           MatrixWords<kCount>* out) {
    for (int lane = 0; lane < 32; ++lane) {
      for (int m = 0; m < kCount; ++m) {
        uint16_t pair[2];
        for (int k = 0; k < 2; ++k) {
          const Element element = ElementOf(lane, k, transposed);
          const void* const from = in[8 * m + element.row];
          std::memcpy(&pair[k], static_cast<const unsigned char*>(from) + element.column * 2, 2);
        }
        out[lane].at[m] = pair[0] | uint32_t{pair[1]} << 16;
      }
    }
  });
}
template <int kCount>
void StoreMatrices(SharedAt at, const uint32_t* words) {
  struct Given {
    void* row;
    uint32_t at[kCount];
  };
  Given given = {reinterpret_cast<void*>(at), {}};
  std::memcpy(given.at, words, sizeof(given.at));
  emulation::InBlock(given.row, emulation::Here().rank, 16);
  emulation::Together<char>(given, [&](const Given* in, char* out) {
    for (int lane = 0; lane < 32; ++lane) {
      out[lane] = 0;
      for (int m = 0; m < kCount; ++m) {
        for (int k = 0; k < 2; ++k) {
          const Element element = ElementOf(lane, k, false);
          const auto half = uint16_t(in[lane].at[m] >> 16 * k);
          std::memcpy(static_cast<unsigned char*>(in[8 * m + element.row].row) + element.column * 2,
                      &half, 2);
        }
      }
    }
  });
}
inline void LoadMatrices(uint32_t (&words)[4], SharedAt row) {
  std::memcpy(words, LoadMatrices<4>(row, false).at, sizeof(words));
}
inline uint32_t LoadMatrix(SharedAt row) { return LoadMatrices<1>(row, false).at[0]; }
inline void LoadTransposed(uint32_t (&words)[4], SharedAt row) {
  std::memcpy(words, LoadMatrices<4>(row, true).at, sizeof(words));
}
inline void StoreMatrices(SharedAt row, const uint32_t (&words)[4]) {
  StoreMatrices<4>(row, words);
}
inline void StoreMatrix(SharedAt row, uint32_t word) { StoreMatrices<1>(row, &word); }
inline float Reciprocal(float x) { return 1.0f / x; }
inline double Reciprocal(double x) { return 1.0 / x; }
inline float InverseRoot(float x) { return 1.0f / std::sqrt(x); }
inline int ThreadIndex() { return int(threadIdx.x); }
inline int ClusterRank() { return emulation::Here().rank; }
inline void ClusterBarrier() {
  emulation::Fiber& fiber = emulation::Here();
  emulation::Meet(fiber.cluster->barrier,
                  int(fiber.cluster->blocks.size()) * int(fiber.block_size.x));
}

inline emulation::MBarrier& Barrier(uint64_t* at) {
  return *reinterpret_cast<emulation::MBarrier*>(at);
}
inline void MBarrierInit(uint64_t* at, int arrivals) {
  Barrier(at) = {0, uint8_t(arrivals), uint8_t(arrivals), 0};
}
inline void MBarriersReady() {}
inline void MBarrierArrive(uint64_t* at) {
  emulation::MBarrier& barrier = Barrier(at);
  BIRKHOFF_CHECK(barrier.missing > 0, "more arrivals than a phase has");
  --barrier.missing;
  emulation::Settle(barrier);
}
inline void MBarrierExpect(uint64_t* at, int bytes) {
  Barrier(at).bytes += bytes;
  MBarrierArrive(at);
}

// ---- the copy engine.  What a map stands for lies in the map itself; late, a box is loaded when
// somebody waits for it, and stored when somebody waits for that.

inline TensorMap EmulatedMap(const BoxedRows& rows) {
  static_assert(sizeof(rows) <= sizeof(TensorMap));
  TensorMap map = {};
  std::memcpy(map.opaque, &rows, sizeof(rows));
  return map;
}
inline int BoxBytes(const BoxedRows& rows) {
  return rows.streams * rows.box_tokens * kBoxChannels * 2;
}
// work(piece of 16 bytes in shared memory, its place in global memory or null) for all of a box.
template <typename Work>
void ForBox(const emulation::Box& box, const Work& work) {
  const BoxedRows& rows = box.rows;
  for (int s = 0, row = 0; s < rows.streams; ++s) {
    for (int t = 0; t < rows.box_tokens; ++t, ++row) {
      for (int piece = 0; piece < 8; ++piece) {
        unsigned char* line = box.shared + row * 128;
        const auto order = int(reinterpret_cast<uintptr_t>(line) / 128 % 8);
        const int c = box.channel + 8 * piece;
        const int64_t token = box.token + t;
        const bool there = c < rows.channels && token < rows.tokens;
        const bf16* at =
            there
                ? rows.first + (token * rows.TokenRows() + s * rows.stream_rows) * rows.channels + c
                : nullptr;
        work(line + (piece ^ order) * 16, const_cast<bf16*>(at));
      }
    }
  }
}
inline void Arrived(const emulation::Box& box) {
  ForBox(box, [](unsigned char* shared, const bf16* global) {
    if (global == nullptr) {
      std::memset(shared, 0, 16);
    } else {
      std::memcpy(shared, global, 16);
    }
  });
  emulation::MBarrier& barrier = Barrier(box.barrier);
  barrier.bytes -= BoxBytes(box.rows);
  emulation::Settle(barrier);
}
inline void Stored(const emulation::Box& box) {
  ForBox(box, [](const unsigned char* shared, bf16* global) {
    if (global != nullptr) std::memcpy(global, shared, 16);
  });
}
inline emulation::Box BoxOf(SharedAt shared, const TensorMap& map, int channel, int token,
                            uint64_t* barrier) {
  emulation::Box box = {{}, channel, token, reinterpret_cast<unsigned char*>(shared), barrier};
  std::memcpy(&box.rows, map.opaque, sizeof(box.rows));
  BIRKHOFF_CHECK(shared % 128 == 0, "a box is not aligned");
  emulation::InBlock(box.shared, emulation::Here().rank, 128);
  emulation::InBlock(box.shared + BoxBytes(box.rows) - 128, emulation::Here().rank, 128);
  return box;
}
inline void LoadBox(SharedAt to, const TensorMap& map, int channel, int token, uint64_t* barrier) {
  const emulation::Box box = BoxOf(to, map, channel, token, barrier);
  if (emulation::TheMachine().late_copies) {
    emulation::Here().in->loads.push_back(box);
  } else {
    Arrived(box);
  }
}
inline void StoreBox(const TensorMap& map, int channel, int token, SharedAt from) {
  const emulation::Box box = BoxOf(from, map, channel, token, nullptr);
  if (emulation::TheMachine().late_copies) {
    emulation::Here().in->stores.push_back(box);
  } else {
    Stored(box);
  }
}
inline void BoxesReady() {}
inline void BoxesCommit() {}
inline void BoxesStored() {
  auto& stores = emulation::Here().in->stores;
  for (; !stores.empty(); stores.pop_front()) Stored(stores.front());
}
// As if all sets had been asked for: of one set at a time in flight.
template <int kSets>
void BoxesRead() {
  static_assert(kSets == 0, "the emulation keeps no sets");
  BoxesStored();
}
template <int kRegisters>
void TakeRegisters() {}
template <int kRegisters>
void GiveRegisters() {}

// A phase that ended unseen, and another behind it, would look like one that has not ended.
inline void MBarrierWait(uint64_t* at, int parity) {
  emulation::MBarrier& barrier = Barrier(at);
  auto& loads = emulation::Here().in->loads;
  emulation::WaitUntil([&] {
    if (barrier.phase % 2 == parity) {
      for (size_t i = 0; i < loads.size();) {
        if (loads[i].barrier != at) {
          ++i;
          continue;
        }
        const emulation::Box box = loads[i];
        loads.erase(loads.begin() + std::ptrdiff_t(i));
        Arrived(box);
      }
    }
    return barrier.phase % 2 != parity;
  });
}
inline void SendBytes(void* to, int rank, const void* from, int bytes, uint64_t* at) {
  std::memcpy(emulation::InBlock(to, rank, bytes), from, size_t(bytes));
  emulation::MBarrier& barrier =
      Barrier(reinterpret_cast<uint64_t*>(emulation::InBlock(at, rank, 8)));
  barrier.bytes -= bytes;
  emulation::Settle(barrier);
}
inline void Send16(void* to, int rank, uint4 words, uint64_t* barrier) {
  SendBytes(to, rank, &words, 16, barrier);
}

}  // namespace birkhoff::cuda
