// The seam under executor, stage and transport: a device gives memory, ordered queues and events,
// and is asynchronous on the CPU too, so that everything above is the same on every backend.
//
// Threads: a Stream may be fed by one thread at a time; everything else is thread-safe.  Streams
// and events must outlive the work that names them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace birkhoff {

// A point in a stream that other streams and the host can wait for.  Reusable: each Record makes
// earlier ones void.
class Event {
 public:
  virtual ~Event() = default;
  // Blocks the host until the recorded point is reached; returns at once if never recorded.
  virtual void Synchronize() = 0;
  virtual bool Done() const = 0;
  virtual int64_t TimeNs() const = 0;  // steady time at which the point was reached; needs Done()
};

// Runs what is enqueued in order, beside the host and other streams.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual void Submit(std::function<void()> work) = 0;  // host work in stream order; must not throw
  virtual void Record(Event& event) = 0;
  // The stream, not the host, waits for the latest Record before this call.
  virtual void Wait(Event& event) = 0;
  virtual void Synchronize() = 0;  // blocks the host until the queue is empty
};

// Device memory, 64-byte aligned, freed with the object.
class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;
  virtual std::byte* data() = 0;
  virtual int64_t size() const = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  // On the CPU a FIFO thread of that name.
  virtual std::unique_ptr<Stream> NewStream(const std::string& name) = 0;
  virtual std::unique_ptr<Event> NewEvent() = 0;
  // RESOURCE_EXHAUSTED: there is no room.
  virtual absl::StatusOr<std::unique_ptr<DeviceMemory>> Allocate(int64_t bytes) = 0;
  virtual std::string name() const = 0;  // "cpu"
};

std::unique_ptr<Device> NewCpuDevice();

}  // namespace birkhoff
