// A transport whose link turns one message into NaN, as a rank does whose numbers overflow.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "worker/transport.h"

namespace birkhoff::testing {

// Overwrites the message that the link receives as number `target` with NaN.
class PoisoningLink final : public Link {
 public:
  PoisoningLink(Link& inner, int64_t target) : inner_(inner), target_(target) {}
  void Send(Stream& stream, DevicePtr<const std::byte> data, int64_t bytes,
            const MessageStamp& stamp) override {
    inner_.Send(stream, data, bytes, stamp);
  }
  void Receive(Stream& stream, DevicePtr<std::byte> data, int64_t bytes,
               const MessageStamp& stamp) override {
    inner_.Receive(stream, data, bytes, stamp);
    if (received_++ == target_) stream.Fill(data, std::byte{0xff}, 64);
  }

 private:
  Link& inner_;
  const int64_t target_;
  int64_t received_ = 0;
};

// Message number `target` that this rank receives on `channel`; all of the plan's other work is as
// `inner` does it.
class PoisoningTransport final : public Transport {
 public:
  PoisoningTransport(std::unique_ptr<Transport> inner, int channel, int64_t target)
      : inner_(std::move(inner)), channel_(channel), link_(*inner_->link(channel), target) {}
  Link* link(int channel) override { return channel == channel_ ? &link_ : inner_->link(channel); }
  Group* group(const std::vector<int>& ranks) override { return inner_->group(ranks); }
  Council& council() override { return inner_->council(); }
  absl::Status status() const override { return inner_->status(); }
  void Abort(absl::Status reason) override { inner_->Abort(std::move(reason)); }

 private:
  const std::unique_ptr<Transport> inner_;
  const int channel_;
  PoisoningLink link_;
};

}  // namespace birkhoff::testing
