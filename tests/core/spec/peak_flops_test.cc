// Peaks of cards by the names that drivers give them, and what a model makes of them.
#include "core/spec/peak_flops.h"

#include <gtest/gtest.h>

namespace birkhoff {
namespace {

TEST(PeakFlops, KnowsCardsByTheNameThatTheDriverGives) {
  struct Case {
    const char* card;
    double bf16, fp32;
  };
  for (const Case& c :
       {Case{"NVIDIA H100 80GB HBM3", 989.4e12, 66.9e12}, Case{"NVIDIA H100 PCIe", 756e12, 51.2e12},
        Case{"NVIDIA H100 NVL", 835.5e12, 60e12}, Case{"NVIDIA H200", 989.4e12, 66.9e12},
        Case{"NVIDIA H200 NVL", 835.5e12, 60e12}, Case{"NVIDIA A100-SXM4-80GB", 312e12, 19.5e12},
        Case{"NVIDIA A100 80GB PCIe", 312e12, 19.5e12}, Case{"NVIDIA B200", 2250e12, 75e12},
        Case{"NVIDIA GB200", 2500e12, 80e12}, Case{"NVIDIA A800-SXM4-40GB", 312e12, 19.5e12},
        Case{"NVIDIA H100 80GB HBM2e", 756e12, 51.2e12}, Case{"NVIDIA H800", 989.4e12, 66.9e12},
        Case{"NVIDIA H800 PCIe", 756e12, 51.2e12}, Case{"NVIDIA GH200 480GB", 989.4e12, 66.9e12},
        Case{"NVIDIA H20", 148e12, 44e12}, Case{"NVIDIA L40S", 362e12, 91.6e12},
        Case{"NVIDIA L4", 121e12, 30.3e12}, Case{"nvidia h100-sxm5", 989.4e12, 66.9e12},
        Case{"H100", 989.4e12, 66.9e12}}) {
    EXPECT_EQ(PeakFlops(c.card, Precision::kBf16), c.bf16) << c.card;
    EXPECT_EQ(PeakFlops(c.card, Precision::kFp32), c.fp32) << c.card;
  }
}

TEST(PeakFlops, SaysNothingOfWhatItDoesNotKnow) {
  for (const char* card : {"", "cpu", "NVIDIA H1000", "NVIDIA XH100", "NVIDIA L40",
                           "NVIDIA H100NVL", "NVL", "H 100", "MIG H100", "NVIDIA X100",
                           "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA GeForce GTX 1080"}) {
    EXPECT_EQ(PeakFlops(card, Precision::kBf16), 0.0) << card;
  }
  EXPECT_EQ(PeakFlops("NVIDIA H100 80GB HBM3", Precision::kFp64), 0.0);
}

TEST(PeakFlops, UtilizationIsTheShareOfThePeak) {
  EXPECT_DOUBLE_EQ(FlopsUtilization(300e12, 2.0, 300e12), 0.5);
}

}  // namespace
}  // namespace birkhoff
