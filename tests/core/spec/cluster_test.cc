// Names that a worker may have, and what products of a processor are said to reach.
#include "core/spec/cluster.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "core/spec/product_rate.h"

namespace birkhoff {
namespace {

TEST(IsWorkerName, TakesWhatAHostMayBeCalled) {
  for (const char* name :
       {"workers/a", "workers/0", "workers/host-0", "workers/host_0", "workers/node.example.org",
        "workers/A-_.Z", "workers/a--b", "workers/10.0.0.1", "workers/workers"}) {
    EXPECT_TRUE(IsWorkerName(name)) << name;
  }
}

TEST(IsWorkerName, RefusesWhatWouldForgeALineALabelOrAPath) {
  for (const std::string name : {"",
                                 "a",
                                 "workers",
                                 "workers/",
                                 "Workers/a",
                                 "worker/a",
                                 "/workers/a",
                                 " workers/a",
                                 "workers/-a",
                                 "workers/a-",
                                 "workers/_a",
                                 "workers/a_",
                                 "workers/.a",
                                 "workers/a.",
                                 "workers/-",
                                 "workers/.",
                                 "workers/..",
                                 "workers/a/b",
                                 "workers/a b",
                                 "workers/a\n",
                                 "workers/\na",
                                 "workers/a\nb",
                                 "workers/a\x1b[0m",
                                 "workers/a\"b",
                                 "workers/a{b}",
                                 "workers/a:9000",
                                 "workers/a@b",
                                 "workers/a+b",
                                 "workers/a,b",
                                 "workers/a*",
                                 "workers/\xc3\xa9",
                                 "workers/a\xc3\xa9z",
                                 "workers/a\xff"}) {
    EXPECT_FALSE(IsWorkerName(name)) << name;
  }
  EXPECT_FALSE(IsWorkerName(std::string("workers/a\0b", 11)));
}

TEST(IsWorkerName, IsAsLongAsAHostsNameMayBe) {
  EXPECT_TRUE(IsWorkerName(absl::StrCat("workers/", std::string(253, 'a'))));
  EXPECT_FALSE(IsWorkerName(absl::StrCat("workers/", std::string(254, 'a'))));
}

TEST(ProductRate, GrowsWithTheInstructions) {
  EXPECT_GT(ProductRate(Isa::kBaseline), 1e10);
  EXPECT_GT(ProductRate(Isa::kAvx2), 2 * ProductRate(Isa::kBaseline));
  EXPECT_GT(ProductRate(Isa::kAvx512), ProductRate(Isa::kAvx2));
  EXPECT_LT(ProductRate(Isa::kAvx512), 1e12) << "of one core";
}

}  // namespace
}  // namespace birkhoff
