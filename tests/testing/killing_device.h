// A device that aborts a transport when its program comes to a chosen instruction: the executor
// records two events per instruction, in program order.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "tests/testing/forwarding_device.h"
#include "worker/transport.h"

namespace birkhoff::testing {

class KillingDevice final : public ForwardingDevice {
 public:
  // Negative: never.  `transport` must outlive the device.
  KillingDevice(int64_t instruction, Transport& transport)
      : kill_at_(2 * instruction), transport_(transport) {}

  std::unique_ptr<Stream> NewStream(const std::string& name) override {
    return std::make_unique<KillingStream>(*this, ForwardingDevice::NewStream(name));
  }
  int64_t num_records() const { return records_; }

 private:
  class KillingStream final : public ForwardingStream {
   public:
    KillingStream(KillingDevice& device, std::unique_ptr<Stream> inner)
        : ForwardingStream(std::move(inner)), device_(device) {}
    void Record(Event& event) override {
      if (device_.records_++ == device_.kill_at_) {
        HostWork([this] { device_.transport_.Abort(absl::AbortedError("killed by the test")); });
      }
      ForwardingStream::Record(event);
    }

   private:
    KillingDevice& device_;
  };

  const int64_t kill_at_;
  Transport& transport_;
  int64_t records_ = 0;  // by the thread that runs the program
};

}  // namespace birkhoff::testing
