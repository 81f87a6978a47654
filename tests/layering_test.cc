// The arrows between rooms, held as data: who may include whom.  Reads the sources, so nothing can
// slip by a build file.
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace birkhoff {
namespace {

namespace fs = std::filesystem;

// A room is a top-level folder, one of the folders of core, or a folder inside of a room that has
// arrows of its own.
const std::map<std::string, std::set<std::string>>& AllowedArrows() {
  static const auto* arrows = new std::map<std::string, std::set<std::string>>{
      {"core/base", {}},
      {"core/spec", {"core/base"}},
      {"core/plan", {"core/spec", "core/base"}},
      {"core/format", {"core/base"}},
      {"kernels", {"core/base"}},
      {"core/protocol", {"core/plan", "core/spec", "core/base"}},
      {"core/net", {"proto", "core/protocol", "core/plan", "core/spec", "core/base"}},
      {"coordinator",
       {"core/net", "proto", "core/protocol", "core/plan", "core/spec", "core/base"}},
      {"worker",
       {"core/net", "proto", "core/protocol", "core/plan", "core/spec", "core/format", "kernels",
        "core/base"}},
      {"worker/inference", {"worker", "core/spec", "core/format", "kernels", "core/base"}},
      {"cli",
       {"core/net", "proto", "coordinator", "core/protocol", "core/plan", "core/spec",
        "core/format", "core/base"}},
      {"cli/inference",
       {"cli", "worker/inference", "kernels", "core/spec", "core/format", "core/base"}},
      {"bench",
       {"core/net", "proto", "coordinator", "core/protocol", "core/plan", "core/spec",
        "core/format", "core/base", "kernels", "worker", "cli"}},
  };
  return *arrows;
}

struct Include {
  std::string file;    // relative to the repository
  std::string target;  // as written between the quotes or angle brackets
};

bool IsSource(const fs::path& path) {
  static const std::set<std::string> kExtensions = {".h", ".cc", ".cu", ".cuh"};
  return kExtensions.contains(path.extension().string());
}

std::vector<Include> IncludesOf(const fs::path& root, const std::string& folder) {
  static const std::regex kInclude(R"(^\s*#\s*include\s*["<]([^">]+)[">])");
  std::vector<Include> includes;
  for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
    if (!entry.is_regular_file() || !IsSource(entry.path())) continue;
    std::ifstream in(entry.path());
    for (std::string line; std::getline(in, line);) {
      std::smatch match;
      if (std::regex_search(line, match, kInclude)) {
        includes.push_back({fs::relative(entry.path(), root).string(), match[1]});
      }
    }
  }
  return includes;
}

// The room that a path lies in, or empty for what is not ours.
std::string RoomOf(const std::string& path) {
  if (path.starts_with("birkhoff/v1/") || path.starts_with("google/rpc/")) return "proto";
  if (path.starts_with("tests/")) return "tests";
  // The longest of the rooms that it lies in.
  std::string found;
  for (const auto& [room, targets] : AllowedArrows()) {
    if (path.starts_with(room + "/") && room.size() > found.size()) found = room;
  }
  return found;
}

std::vector<Include> AllIncludes() {
  std::vector<Include> all;
  for (const char* folder : {"core", "kernels", "worker", "coordinator", "cli", "bench"}) {
    for (Include& include : IncludesOf(fs::current_path(), folder)) {
      all.push_back(std::move(include));
    }
  }
  return all;
}

TEST(Layering, OnlyAllowedArrowsExist) {
  std::set<std::string> faults;
  int arrows = 0;
  for (const Include& include : AllIncludes()) {
    const std::string from = RoomOf(include.file), to = RoomOf(include.target);
    if (to.empty() || from == to) continue;
    ++arrows;
    const auto rule = AllowedArrows().find(from);
    if (rule == AllowedArrows().end() || !rule->second.contains(to)) {
      faults.insert(include.file + " includes " + include.target);
    }
  }
  EXPECT_GT(arrows, 100) << "the test reads the sources from the repository's root";
  EXPECT_THAT(faults, testing::IsEmpty());
}

TEST(Layering, ArrowsAreWithoutCircles) {
  std::map<std::string, int> depth;
  const auto visit = [&](const auto& self, const std::string& room, int level) -> void {
    ASSERT_LT(level, 20) << "a circle through " << room;
    depth[room] = std::max(depth[room], level);
    const auto rule = AllowedArrows().find(room);
    if (rule == AllowedArrows().end()) return;
    for (const std::string& next : rule->second) self(self, next, level + 1);
  };
  for (const auto& [room, targets] : AllowedArrows()) visit(visit, room, 0);
}

// Generated types and gRPC stay at the edges: core/net, the CLI, and of the coordinator and the
// worker these files, each of which needs them.
TEST(Layering, GeneratedTypesStayAtTheEdges) {
  const std::set<std::string> edges = {
      "coordinator/convert_view.h", "coordinator/job_service.cc", "coordinator/watch_service.h",
      "coordinator/worker_service.cc", "worker/supervisor_stream.cc"};
  const std::regex rooms(R"(^(core/net|cli|bench)/)");
  std::set<std::string> needed, faults;
  for (const Include& include : AllIncludes()) {
    const bool generated = include.target.ends_with(".pb.h") || include.target.starts_with("grpc");
    if (!generated || std::regex_search(include.file, rooms)) continue;
    if (edges.contains(include.file)) {
      needed.insert(include.file);
    } else {
      faults.insert(include.file + " includes " + include.target);
    }
  }
  EXPECT_THAT(faults, testing::IsEmpty());
  EXPECT_EQ(needed, edges);
}

// What computes is given: above kernels a backend is named where a worker opens its device, and
// nowhere else.
TEST(Layering, BackendsStayBehindTheSeam) {
  const std::regex backend(R"(^kernels/(cpu|cuda)/)");
  const std::regex seam(R"(^(kernels/|bench/|worker/local_device\.cc))");
  std::set<std::string> faults;
  for (const Include& include : AllIncludes()) {
    if (std::regex_search(include.target, backend) && !std::regex_search(include.file, seam)) {
      faults.insert(include.file + " includes " + include.target);
    }
  }
  EXPECT_THAT(faults, testing::IsEmpty());
}

TEST(Layering, NothingIncludesTests) {
  for (const Include& include : AllIncludes()) {
    EXPECT_FALSE(include.target.starts_with("tests/")) << include.file;
  }
}

TEST(Layering, PlanIsPure) {
  const std::set<std::string> impure = {"chrono", "thread", "mutex", "fstream", "random", "ctime"};
  for (const Include& include : AllIncludes()) {
    if (!include.file.starts_with("core/plan/")) continue;
    EXPECT_FALSE(impure.contains(include.target)) << include.file << " includes " << include.target;
  }
}

}  // namespace
}  // namespace birkhoff
