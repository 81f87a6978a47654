// The instructions of Hopper that C++ has no word for, each as a function: asynchronous copies,
// tensor cores, barriers that count bytes, and stores into the shared memory of other blocks of a
// cluster.  Addresses in shared memory are ordinary pointers.  A test that runs kernels on the CPU
// (tests/kernels/emulation) brings functions of the same names instead.
#pragma once

#ifndef BIRKHOFF_EMULATED_GPU

#include <cstdint>

#include "kernels/cuda/tensor_map.h"

namespace birkhoff::cuda {

// An address in this block's shared memory, for arithmetic on its bits.
using SharedAt = uint32_t;
__device__ inline SharedAt SharedAddress(const void* pointer) {
  return SharedAt(__cvta_generic_to_shared(pointer));
}

// ---- copies from global to shared memory, this thread's own until CopyWait

// Zeros where `there` is false; `from` is then not read.
__device__ inline void CopyAsync16(void* to, const void* from, bool there) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(SharedAddress(to)),
               "l"(from), "r"(there ? 16 : 0)
               : "memory");
}
__device__ inline void CopyAsync4(void* to, const void* from, bool there) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(SharedAddress(to)), "l"(from),
               "r"(there ? 4 : 0)
               : "memory");
}
// Ends a set of copies.
__device__ inline void CopyCommit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until all sets but the last kSets are there.
template <int kSets>
__device__ inline void CopyWait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kSets) : "memory");
}

// Keeps the compiler from moving loads and stores across: what is loaded early takes registers.
__device__ inline void KeepOrder() { asm volatile("" ::: "memory"); }

// 16 bytes to global memory, in one piece wherever the registers lie.
__device__ inline void Store16(void* to, uint4 words) {
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(words.x), "r"(words.y),
               "r"(words.z), "r"(words.w)
               : "memory");
}

// ---- the copy engine: boxes (tensor_map.h) to and from shared memory, of one thread for all

// The box at `channel` and `token` to `to`, at a multiple of 128 bytes; zeros for what the array does
// not have.  All its bytes are counted on `barrier`.  `map`: in the kernel's arguments.
__device__ inline void LoadBox(SharedAt to, const TensorMap& map, int channel, int token,
                               uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, "
      "{%2, %3, %4}], [%5];" ::"r"(to),
      "l"(&map), "r"(channel), "r"(token), "r"(0), "r"(SharedAddress(barrier))
      : "memory");
}
// The box from shared memory, where BoxesReady was said of it; what the array does not have is not
// written.
__device__ inline void StoreBox(const TensorMap& map, int channel, int token, SharedAt from) {
  asm volatile(
      "cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%1, %2, %3}], [%4];" ::"l"(&map),
      "r"(channel), "r"(token), "r"(0), "r"(from)
      : "memory");
}
// Of who wrote to shared memory what the copy engine is to read or overwrite, before the barrier.
__device__ inline void BoxesReady() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
// Ends a set of StoreBox.
__device__ inline void BoxesCommit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
// Until all sets but the last kSets have been read from shared memory.
template <int kSets>
__device__ inline void BoxesRead() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kSets) : "memory");
}
// Until all have been written to global memory.
__device__ inline void BoxesStored() { asm volatile("cp.async.bulk.wait_group 0;" ::: "memory"); }

// ---- registers: of all warps of a group of four, whose first has a number that 4 divides

template <int kRegisters>
__device__ inline void TakeRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ inline void GiveRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// ---- numbers

// Two floats rounded to nearest even, `low` in the lower half.
__device__ inline uint32_t PackBf16(float low, float high) {
  uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}
__device__ inline uint32_t PackF16(float low, float high) {
  uint32_t word;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}
__device__ inline float LowBf16(uint32_t word) { return __uint_as_float(word << 16); }
__device__ inline float HighBf16(uint32_t word) { return __uint_as_float(word & 0xffff0000u); }
// The same once more: the compiler does not keep what it has unpacked before.
__device__ inline float LowBf16Anew(uint32_t word) {
  float value;
  asm volatile("shl.b32 %0, %1, 16;" : "=f"(value) : "r"(word));
  return value;
}
__device__ inline float HighBf16Anew(uint32_t word) {
  float value;
  asm volatile("and.b32 %0, %1, 0xffff0000;" : "=f"(value) : "r"(word));
  return value;
}
// 1 / x to the last digit, x normal.
__device__ inline float Reciprocal(float x) {
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
// 1 / x to the last digit or two, from 20 bits; x positive and normal (or NaN): without the slow
// path, and so without the call, of the division.
__device__ inline double Reciprocal(double x) {
  double r;
  asm("rcp.approx.ftz.f64 %0, %1;" : "=d"(r) : "d"(x));
#pragma unroll
  for (int step = 0; step < 2; ++step) r = fma(fma(-x, r, 1.0), r, r);
  return r;
}

// 1 / sqrt(x) to 2 units in the last place, without a branch.
__device__ inline float InverseRoot(float x) { return rsqrtf(x); }
__device__ inline uint32_t FloatBits(float value) { return __float_as_uint(value); }
__device__ inline float BitsFloat(uint32_t bits) { return __uint_as_float(bits); }

// *to = value where `wanted`, in shared memory, without a branch.  The compiler does not see the
// store: read it behind a barrier.
__device__ inline void StoreIf(bool wanted, float* to, float value) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.u32 p, %2, 0;\n@p st.shared.f32 [%0], %1;\n}" ::"r"(
                   SharedAddress(to)),
               "f"(value), "r"(uint32_t(wanted)));
}

// `word`, where `zero` is 0 and the compiler does not know it: a register of its own for an operand
// of the tensor cores, which wants four in a row, filled once rather than for every product.
__device__ inline uint32_t Placed(uint32_t word, uint32_t zero) {
  uint32_t placed;
  asm volatile("xor.b32 %0, %1, %2;" : "=r"(placed) : "r"(word), "r"(zero));
  return placed;
}

// Whatever a register holds: for rows of an operand whose results nobody reads.
__device__ inline uint32_t AnyWord() {
  uint32_t word;
  asm("" : "=r"(word));
  return word;
}

// ---- warps

__device__ inline float ShuffleXor(float value, int lanes) {
  return __shfl_xor_sync(0xffffffffu, value, lanes);
}
__device__ inline double ShuffleXor(double value, int lanes) {
  return __shfl_xor_sync(0xffffffffu, value, lanes);
}
__device__ inline float ShuffleFrom(float value, int lane) {
  return __shfl_sync(0xffffffffu, value, lane);
}
__device__ inline bool AnyLane(bool value) { return __any_sync(0xffffffffu, value) != 0; }
__device__ inline void WarpBarrier() { __syncwarp(); }

// d += a b on the tensor cores, of 16 x 16 (or 16 x 8) and 16 x 8 (or 8 x 8) elements.  Lane
// 4 g + t of the warp holds
//   a   rows g, g + 8, g, g + 8; columns 2t, 2t + 1 in a[0], a[1] and 8 more in a[2], a[3]
//   b   column g; rows 2t, 2t + 1 in b0 and 8 more in b1
//   d   rows g, g, g + 8, g + 8; columns 2t, 2t + 1, 2t, 2t + 1
__device__ inline void MmaF16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ inline void MmaF16Short(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t b0) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a0), "r"(a1), "r"(b0));
}
__device__ inline void MmaBf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
      "{%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ inline void MmaBf16Short(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t b0) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a0), "r"(a1), "r"(b0));
}
// The same, where it stands among the loads and stores of matrices: work to wait with, which the
// compiler would put off.
__device__ inline void MmaBf16ShortHere(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t b0) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a0), "r"(a1), "r"(b0));
}
// Four 8 x 8 matrices of 16-bit elements: lane l gives the address of row l % 8 of matrix l / 8, and
// gets columns 2t, 2t + 1 of row g of each.
__device__ inline void LoadMatrices(uint32_t (&words)[4], SharedAt row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(row)
               : "memory");
}
// The same, transposed: gets rows 2t, 2t + 1 of column g of each.
__device__ inline void LoadTransposed(uint32_t (&words)[4], SharedAt row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(row)
               : "memory");
}
// One of them.
__device__ inline uint32_t LoadMatrix(SharedAt row) {
  uint32_t word;
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
               : "=r"(word)
               : "r"(row)
               : "memory");
  return word;
}
// What LoadMatrices would give, written; and one of them.
__device__ inline void StoreMatrices(SharedAt row, const uint32_t (&words)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(row),
               "r"(words[0]), "r"(words[1]), "r"(words[2]), "r"(words[3])
               : "memory");
}
__device__ inline void StoreMatrix(SharedAt row, uint32_t word) {
  asm volatile("stmatrix.sync.aligned.m8n8.x1.shared.b16 [%0], {%1};" ::"r"(row), "r"(word)
               : "memory");
}

// ---- blocks and clusters

// threadIdx.x, asked anew: the compiler keeps nothing of it in registers.
__device__ inline int ThreadIndex() {
  uint32_t index;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(index));
  return int(index);
}
__device__ inline int ClusterRank() {
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return int(rank);
}
// Among all threads of the cluster.
__device__ inline void ClusterBarrier() {
  __syncwarp();
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::
                   : "memory");
}

// A barrier in shared memory (mbarrier): a phase ends when as many threads have arrived as MBarrierInit
// was told, and as many bytes have come by Send as MBarrierExpect, which arrives too, has named.
// Whoever waits names the parity of the phase, 0 at first, and must have seen the phase before it.
__device__ inline void MBarrierInit(uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(SharedAddress(barrier)),
               "r"(arrivals)
               : "memory");
}
// After the last MBarrierInit, before the ClusterBarrier that lets others send.
__device__ inline void MBarriersReady() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
// Of one lane for its warp, behind a WarpBarrier: what the warp wrote is seen by who waits.
__device__ inline void MBarrierArrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(SharedAddress(barrier)) : "memory");
}
__device__ inline void MBarrierExpect(uint64_t* barrier, int bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(SharedAddress(barrier)),
      "r"(bytes)
      : "memory");
}
// Ends the kernel where a phase never ends, rather than hang.  Acquires for this block alone: what
// has come lies in its shared memory, and an acquire for the cluster would empty the cache of global
// memory at every try.
__device__ inline void MBarrierWait(uint64_t* barrier, int parity) {
  const uint32_t address = SharedAddress(barrier);
  for (unsigned tries = 0;; ++tries) {
    uint32_t done;
    asm volatile(
        "{\n.reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(address), "r"(parity)
        : "memory");
    if (done != 0) return;
    if (tries > (1u << 24)) __trap();
  }
}

// Where `pointer`, into this block's shared memory, lies in that of block `rank` of the cluster.
__device__ inline uint32_t PeerAddress(const void* pointer, int rank) {
  uint32_t address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
               : "=r"(address)
               : "r"(SharedAddress(pointer)), "r"(rank));
  return address;
}
// Stores at `to` in the shared memory of block `rank`, and counts the bytes on its `barrier`; both
// are given as addresses in this block.
__device__ inline void Send16(void* to, int rank, uint4 words, uint64_t* barrier) {
  asm volatile(
      "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1, %2, %3, %4}, "
      "[%5];" ::"r"(PeerAddress(to, rank)),
      "r"(words.x), "r"(words.y), "r"(words.z), "r"(words.w), "r"(PeerAddress(barrier, rank))
      : "memory");
}

}  // namespace birkhoff::cuda

#endif  // BIRKHOFF_EMULATED_GPU
