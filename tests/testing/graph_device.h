// The tests' CPU as a device with graphs: what its streams are told while it captures is kept, and
// told again by each launch.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/testing/forwarding_device.h"

namespace birkhoff::testing {

class GraphDevice final : public ForwardingDevice {
 public:
  // What it has seen; outlives the device.
  struct Counts {
    int captures = 0, launches = 0;
  };
  // `refusal`: what each capture says in the end, as if it could not be had.
  explicit GraphDevice(Counts& counts, absl::Status refusal = absl::OkStatus())
      : counts_(counts), refusal_(std::move(refusal)) {}

  std::unique_ptr<Stream> NewStream(const std::string& name) override {
    return std::make_unique<TapedStream>(ForwardingDevice::NewStream(name), *this);
  }

  absl::StatusOr<std::unique_ptr<Graph>> Capture(Stream&,
                                                 absl::FunctionRef<void()> enqueue) override {
    ++counts_.captures;
    Tape tape;
    tape_ = &tape;
    enqueue();
    tape_ = nullptr;
    if (!refusal_.ok()) return refusal_;
    return std::make_unique<TapedGraph>(std::move(tape), counts_);
  }

 private:
  using Tape = std::vector<std::function<void()>>;

  class TapedGraph final : public Graph {
   public:
    TapedGraph(Tape tape, Counts& counts) : tape_(std::move(tape)), counts_(counts) {}
    void Launch(Stream&) override {
      ++counts_.launches;
      for (const std::function<void()>& entry : tape_) entry();
    }

   private:
    const Tape tape_;
    Counts& counts_;
  };

  class TapedStream final : public ForwardingStream {
   public:
    TapedStream(std::unique_ptr<Stream> inner, GraphDevice& device)
        : ForwardingStream(std::move(inner)), device_(device) {}

    void Record(Event& event) override {
      Do([this, &event] { ForwardingStream::Record(event); });
    }
    void Wait(Event& event) override {
      Do([this, &event] { ForwardingStream::Wait(event); });
    }
    void Copy(DevicePtr<std::byte> to, DevicePtr<const std::byte> from, int64_t bytes) override {
      Do([=, this] { ForwardingStream::Copy(to, from, bytes); });
    }
    void Fill(DevicePtr<std::byte> to, std::byte value, int64_t bytes) override {
      Do([=, this] { ForwardingStream::Fill(to, value, bytes); });
    }
    void Upload(DevicePtr<std::byte> to, const std::byte* from, int64_t bytes) override {
      Do([=, this] { ForwardingStream::Upload(to, from, bytes); });
    }
    void Download(std::byte* to, DevicePtr<const std::byte> from, int64_t bytes) override {
      Do([=, this] { ForwardingStream::Download(to, from, bytes); });
    }
    void HostWork(std::function<void()> work) override {
      Do([this, work = std::move(work)] { ForwardingStream::HostWork(work); });
    }

   private:
    void Do(std::function<void()> entry) {
      if (device_.tape_ == nullptr) return entry();
      device_.tape_->push_back(std::move(entry));
    }
    GraphDevice& device_;
  };

  Counts& counts_;
  const absl::Status refusal_;
  Tape* tape_ = nullptr;  // of the capture that goes on; captures and streams are one thread's
};

}  // namespace birkhoff::testing
