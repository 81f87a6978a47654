// A CPU device that aborts a transport when its program comes to a chosen instruction: the executor
// records two events per instruction, in program order.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "worker/device.h"
#include "worker/transport.h"

namespace birkhoff::testing {

class KillingDevice final : public Device {
 public:
  // Negative: never.  `transport` must outlive the device.
  KillingDevice(int64_t instruction, Transport& transport)
      : kill_at_(2 * instruction), transport_(transport), inner_(NewCpuDevice()) {}

  std::unique_ptr<Stream> NewStream(const std::string& name) override {
    return std::make_unique<KillingStream>(*this, inner_->NewStream(name));
  }
  std::unique_ptr<Event> NewEvent() override { return inner_->NewEvent(); }
  absl::StatusOr<std::unique_ptr<DeviceMemory>> Allocate(int64_t bytes) override {
    return inner_->Allocate(bytes);
  }
  std::string name() const override { return inner_->name(); }
  int64_t num_records() const { return records_; }

 private:
  class KillingStream final : public Stream {
   public:
    KillingStream(KillingDevice& device, std::unique_ptr<Stream> inner)
        : device_(device), inner_(std::move(inner)) {}
    void Submit(std::function<void()> work) override { inner_->Submit(std::move(work)); }
    void Record(Event& event) override {
      if (device_.records_++ == device_.kill_at_) {
        inner_->Submit(
            [this] { device_.transport_.Abort(absl::AbortedError("killed by the test")); });
      }
      inner_->Record(event);
    }
    void Wait(Event& event) override { inner_->Wait(event); }
    void Synchronize() override { inner_->Synchronize(); }

   private:
    KillingDevice& device_;
    const std::unique_ptr<Stream> inner_;
  };

  const int64_t kill_at_;
  Transport& transport_;
  const std::unique_ptr<Device> inner_;
  int64_t records_ = 0;  // by the thread that runs the program
};

}  // namespace birkhoff::testing
