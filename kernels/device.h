// The seam under everything that computes or moves data: a device gives memory, ordered queues and
// events, and is asynchronous on the CPU too, so that everything above is the same on every device.
//
// The host cannot read a device's memory: a DevicePtr has no operator*, and data moves by copies
// that a stream makes in its order.
//
// Threads: a Stream may be fed by one thread at a time; everything else is thread-safe.  Events and
// memory must outlive the work that names them, a device all that it made; a stream that is
// destroyed does its work first.
//
// Errors: streams and events return none; the device keeps the first (Device::status).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/dtype.h"

namespace birkhoff {

// An address in a device's memory.  `address` is for the arguments of kernels and, on the CPU, for
// HostWork; nothing else may read or write through it.
template <typename T>
class DevicePtr {
 public:
  DevicePtr() = default;
  DevicePtr(std::nullptr_t) {}
  explicit DevicePtr(T* address) : address_(address) {}
  operator DevicePtr<const T>() const { return DevicePtr<const T>(address_); }

  T* address() const { return address_; }
  template <typename U>
  DevicePtr<U> As() const {
    return DevicePtr<U>(reinterpret_cast<U*>(address_));
  }
  DevicePtr operator+(int64_t elements) const { return DevicePtr(address_ + elements); }
  friend int64_t operator-(DevicePtr a, DevicePtr b) { return a.address_ - b.address_; }
  friend bool operator==(DevicePtr, DevicePtr) = default;

 private:
  T* address_ = nullptr;
};

// A point in a stream that other streams and the host can wait for.  Reusable: a call means the
// last Record before it, and whoever waits for an earlier one goes on waiting for that.
class Event {
 public:
  virtual ~Event() = default;
  // Blocks the host until the recorded point is reached; returns at once if never recorded.
  virtual void Synchronize() = 0;
  virtual bool Done() const = 0;  // true if never recorded
  // From the point of `earlier`, of the same device, to this one; 0 unless both have been reached.
  virtual int64_t NsSince(const Event& earlier) const = 0;
};

// Runs what is enqueued in order, beside the host and other streams.  Copies of 0 bytes are
// nothing.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual void Record(Event& event) = 0;
  // The stream, not the host, waits for the latest Record before this call; if there is none, for
  // nothing.
  virtual void Wait(Event& event) = 0;
  virtual void Synchronize() = 0;  // blocks the host until the queue is empty

  virtual void Copy(DevicePtr<std::byte> to, DevicePtr<const std::byte> from, int64_t bytes) = 0;
  virtual void Fill(DevicePtr<std::byte> to, std::byte value, int64_t bytes) = 0;
  // The host's memory must stay until the stream has passed, unchanged (Upload) and unread
  // (Download); pinned memory (Device::AllocateHost) keeps the call from blocking.
  virtual void Upload(DevicePtr<std::byte> to, const std::byte* from, int64_t bytes) = 0;
  virtual void Download(std::byte* to, DevicePtr<const std::byte> from, int64_t bytes) = 0;
  // Work of the host in stream order: the CPU's kernels, its transports, files.  Never on the path
  // of a step on a GPU, where it is left out once the GPU has met an error.  Must not throw, and
  // must not touch streams of a GPU.
  virtual void HostWork(std::function<void()> work) = 0;

  // What is enqueued between the two is named so in profiles (NVTX on a GPU); ranges may be nested.
  // `name` is read in the call.
  virtual void EnterRange(const char* name) { (void)name; }
  virtual void LeaveRange() {}
};

// Typed copies, in elements.
template <typename T>
void Copy(Stream& stream, DevicePtr<T> to, DevicePtr<const T> from, int64_t count) {
  stream.Copy(to.template As<std::byte>(), from.template As<const std::byte>(),
              count * int64_t{sizeof(T)});
}
template <typename T>
void Upload(Stream& stream, DevicePtr<T> to, const T* from, int64_t count) {
  stream.Upload(to.template As<std::byte>(), reinterpret_cast<const std::byte*>(from),
                count * int64_t{sizeof(T)});
}
template <typename T>
void Download(Stream& stream, T* to, DevicePtr<const T> from, int64_t count) {
  stream.Download(reinterpret_cast<std::byte*>(to), from.template As<const std::byte>(),
                  count * int64_t{sizeof(T)});
}

// Device memory, 64-byte aligned at least, undefined at first, freed with the object.
class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;
  virtual DevicePtr<std::byte> data() const = 0;
  virtual int64_t size() const = 0;
};

// Memory of the host that a stream copies to and from without staging, freed with the object.
class HostMemory {
 public:
  virtual ~HostMemory() = default;
  virtual std::byte* data() const = 0;
  virtual int64_t size() const = 0;
};

// Work of several streams that is enqueued again as one.  What it names must outlive it: memory of
// both sides, which each launch reads and writes anew, and events, which each launch records anew.
// Once its last launch is over it may be destroyed.
class Graph {
 public:
  virtual ~Graph() = default;
  // All of it behind what `stream` holds; the stream goes on when all of it is done.
  virtual void Launch(Stream& stream) = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  // On the CPU a FIFO thread of that name, of which Linux keeps 15 characters.  On a GPU a stream
  // of the highest priority where the name ends in "-high", else of the lowest.
  virtual std::unique_ptr<Stream> NewStream(const std::string& name) = 0;
  virtual std::unique_ptr<Event> NewEvent() = 0;
  // The same for streams alone: the host may not ask it, and a graph keeps nothing of it but the
  // order.
  virtual std::unique_ptr<Event> NewEdge() { return NewEvent(); }
  // At least a byte, so that an empty allocation has an address too.  RESOURCE_EXHAUSTED: there is
  // no room; INVALID_ARGUMENT: no size that can be; INTERNAL: what CUDA says.
  virtual absl::StatusOr<std::unique_ptr<DeviceMemory>> Allocate(int64_t bytes) = 0;
  virtual absl::StatusOr<std::unique_ptr<HostMemory>> AllocateHost(int64_t bytes) = 0;
  // What `enqueue` puts on `stream`, and on streams that wait for it and that it waits for in the
  // end, as a graph: nothing runs yet.  Work of each kind must have run once before, so that no
  // library is loading; `enqueue` must not block on the device.  Errors, with nothing enqueued and
  // the device as it was: UNIMPLEMENTED the device has no graphs; FAILED_PRECONDITION there was
  // work of the host, or a wait for what is no part of it; INTERNAL what CUDA says.
  virtual absl::StatusOr<std::unique_ptr<Graph>> Capture(Stream& stream,
                                                         absl::FunctionRef<void()> enqueue) = 0;
  // Bytes handed out by Allocate and not freed yet: what a plan's memory list is compared with.
  virtual int64_t allocated_bytes() const = 0;
  virtual Processor processor() const = 0;
  virtual std::string name() const = 0;  // "cpu", "cuda:0"
  // The first error that any stream, event or memory of the device has met, for good: what streams
  // did after it counts for nothing.  A kernel's own error shows once somebody has waited for it.
  virtual absl::Status status() const = 0;
};

// `threads`: that share one call of a kernel, the stream's own among them (kernels/cpu/team.h);
// they change no bit.
std::unique_ptr<Device> NewCpuDevice(int threads = 1);
// The same, but memory from Allocate can be read or written only while work of some stream runs: a
// host that does so at another time is ended by the system.  For tests; several times as slow.
std::unique_ptr<Device> NewGuardedCpuDevice(int threads = 1);

}  // namespace birkhoff
