// Which address a worker gives to its peers.
#include "worker/own_address.h"

#include <gtest/gtest.h>

#include <string>

namespace birkhoff {
namespace {

TEST(OwnAddress, IsTheLoopbackForACoordinatorOnThisMachine) {
  EXPECT_EQ(OwnAddressTowards("127.0.0.1:7443").value_or("none"), "127.0.0.1");
}

// All of 127.0.0.0/8 is this machine, and answers from the address that was asked.
TEST(OwnAddress, IsTheOneThatThePeerSees) {
  EXPECT_EQ(OwnAddressTowards("127.0.0.9:1").value_or("none"), "127.0.0.1");
}

TEST(OwnAddress, RefusesWhatIsNoAddress) {
  for (const char* peer : {"", "host", "127.0.0.1:"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(OwnAddressTowards(peer).status())) << peer;
  }
}

TEST(OwnAddress, SaysWhichNameIsUnknown) {
  const std::string name(300, 'x');  // too long to be asked for
  const absl::Status status = OwnAddressTowards(name + ":1").status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_NE(status.message().find(name), std::string::npos) << status;
}

}  // namespace
}  // namespace birkhoff
