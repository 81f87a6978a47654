// The tests' device with a stream or a method replaced by whoever derives from it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "tests/testing/test_device.h"

namespace birkhoff::testing {

class ForwardingDevice : public Device {
 public:
  ForwardingDevice() : inner_(NewTestDevice()) {}

  std::unique_ptr<Stream> NewStream(const std::string& name) override {
    return inner_->NewStream(name);
  }
  std::unique_ptr<Event> NewEvent() override { return inner_->NewEvent(); }
  std::unique_ptr<Event> NewEdge() override { return inner_->NewEdge(); }
  absl::StatusOr<std::unique_ptr<DeviceMemory>> Allocate(int64_t bytes) override {
    return inner_->Allocate(bytes);
  }
  absl::StatusOr<std::unique_ptr<HostMemory>> AllocateHost(int64_t bytes) override {
    return inner_->AllocateHost(bytes);
  }
  absl::StatusOr<std::unique_ptr<Graph>> Capture(Stream& stream,
                                                 absl::FunctionRef<void()> enqueue) override {
    return inner_->Capture(stream, enqueue);
  }
  int64_t allocated_bytes() const override { return inner_->allocated_bytes(); }
  absl::Status status() const override { return inner_->status(); }
  Processor processor() const override { return inner_->processor(); }
  std::string name() const override { return inner_->name(); }

 private:
  const std::unique_ptr<Device> inner_;
};

class ForwardingStream : public Stream {
 public:
  explicit ForwardingStream(std::unique_ptr<Stream> inner) : inner_(std::move(inner)) {}

  void Record(Event& event) override { inner_->Record(event); }
  void Wait(Event& event) override { inner_->Wait(event); }
  void Synchronize() override { inner_->Synchronize(); }
  void Copy(DevicePtr<std::byte> to, DevicePtr<const std::byte> from, int64_t bytes) override {
    inner_->Copy(to, from, bytes);
  }
  void Fill(DevicePtr<std::byte> to, std::byte value, int64_t bytes) override {
    inner_->Fill(to, value, bytes);
  }
  void Upload(DevicePtr<std::byte> to, const std::byte* from, int64_t bytes) override {
    inner_->Upload(to, from, bytes);
  }
  void Download(std::byte* to, DevicePtr<const std::byte> from, int64_t bytes) override {
    inner_->Download(to, from, bytes);
  }
  void HostWork(std::function<void()> work) override { inner_->HostWork(std::move(work)); }
  void EnterRange(const char* name) override { inner_->EnterRange(name); }
  void LeaveRange() override { inner_->LeaveRange(); }

 private:
  const std::unique_ptr<Stream> inner_;
};

}  // namespace birkhoff::testing
