// Signals that end a supervisor, whichever thread they reach.
#include "core/base/shutdown_signals.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>

#include <thread>

namespace birkhoff {
namespace {

TEST(ShutdownSignalsTest, AreCountedWhicheverThreadTheyReach) {
  const ShutdownSignals signals;
  EXPECT_EQ(signals.Count(), 0);
  ASSERT_EQ(::raise(SIGTERM), 0);
  ASSERT_EQ(::raise(SIGINT), 0);
  EXPECT_EQ(signals.Count(), 2);
  std::thread other([] { ASSERT_EQ(::pthread_kill(::pthread_self(), SIGHUP), 0); });
  other.join();
  EXPECT_EQ(signals.Count(), 3);
}

TEST(ShutdownSignalsTest, WhatWasIgnoredUnderNohupStaysSo) {
  ASSERT_NE(::signal(SIGHUP, SIG_IGN), SIG_ERR);
  {
    const ShutdownSignals signals;
    ASSERT_EQ(::raise(SIGHUP), 0);
    EXPECT_EQ(signals.Count(), 0);
  }
  EXPECT_EQ(::signal(SIGHUP, SIG_DFL), SIG_IGN) << "as before";
}

}  // namespace
}  // namespace birkhoff
