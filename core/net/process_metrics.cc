// Names and meaning as in Prometheus' client guidelines.  What cannot be read is left out.
#include "core/net/process_metrics.h"

#include <prometheus/collectable.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "core/base/guarded.h"
#include "core/net/metric_family.h"

namespace birkhoff {
namespace {

std::string ReadFile(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Fields of /proc/self/stat as proc(5) numbers them, from 1; the second may hold blanks.
class Stat {
 public:
  Stat() {
    const std::string text = ReadFile("/proc/self/stat");
    const size_t after_name = text.rfind(')');
    if (after_name == std::string::npos) return;
    fields_ = absl::StrSplit(text.substr(after_name + 1), ' ', absl::SkipWhitespace());
  }
  std::optional<double> Field(int number) const {
    const size_t at = number - 3;  // the first behind the name
    double value = 0.0;
    if (at >= fields_.size() || !absl::SimpleAtod(fields_[at], &value)) return std::nullopt;
    return value;
  }

 private:
  std::vector<std::string> fields_;
};

// Seconds since the Unix epoch, at which the machine started.
std::optional<double> BootTime() {
  for (const absl::string_view line : absl::StrSplit(ReadFile("/proc/stat"), '\n')) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    double value = 0.0;
    if (words.size() == 2 && words[0] == "btime" && absl::SimpleAtod(words[1], &value)) {
      return value;
    }
  }
  return std::nullopt;
}

std::optional<double> OpenDescriptors() {
  std::error_code error;
  double open = 0.0;
  for (std::filesystem::directory_iterator at("/proc/self/fd", error), end; !error && at != end;
       at.increment(error)) {
    ++open;
  }
  if (error) return std::nullopt;
  return open - 1.0;  // the one that this listing uses
}

class ProcessMetrics final : public prometheus::Collectable {
 public:
  // Once: the kernel moves the time of its start with every correction of the clock, and an alert
  // takes another start time for another process.
  ProcessMetrics() {
    const std::optional<double> boot = BootTime(), ticks = Stat().Field(22);
    if (boot.has_value() && ticks.has_value()) start_time_ = *boot + *ticks * Tick();
  }

  std::vector<prometheus::MetricFamily> Collect() const override {
    using Families = std::vector<prometheus::MetricFamily>;
    return Guarded("process metrics", [this] { return absl::StatusOr<Families>(All()); })
        .value_or(Families());
  }

 private:
  static double Tick() { return 1.0 / static_cast<double>(::sysconf(_SC_CLK_TCK)); }

  std::vector<prometheus::MetricFamily> All() const {
    std::vector<prometheus::MetricFamily> families;
    const auto show = [&](MetricFamily family, std::optional<double> value) {
      if (value.has_value()) family.Add({}, *value);
      family.MoveTo(&families);
    };
    const auto scaled = [](std::optional<double> value, double by) {
      return value.has_value() ? std::optional(*value * by) : std::nullopt;
    };
    const auto sum = [](std::optional<double> a, std::optional<double> b) {
      return a.has_value() && b.has_value() ? std::optional(*a + *b) : std::nullopt;
    };
    const Stat stat;
    show(MetricFamily::Counter("process_cpu_seconds_total", "CPU time of user and system."),
         scaled(sum(stat.Field(14), stat.Field(15)), Tick()));
    show(MetricFamily::Gauge("process_resident_memory_bytes", "Memory that is resident."),
         scaled(stat.Field(24), static_cast<double>(::sysconf(_SC_PAGESIZE))));
    show(MetricFamily::Gauge("process_virtual_memory_bytes", "Address space that is in use."),
         stat.Field(23));
    show(MetricFamily::Gauge("process_threads", "Threads of the process."), stat.Field(20));
    show(MetricFamily::Gauge("process_start_time_seconds", "When the process started, Unix time."),
         start_time_);
    show(MetricFamily::Gauge("process_open_fds", "File descriptors that are open."),
         OpenDescriptors());
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
      show(MetricFamily::Gauge("process_max_fds", "File descriptors that may be open."),
           static_cast<double>(limit.rlim_cur));
    }
    return families;
  }

  std::optional<double> start_time_;
};

}  // namespace

std::shared_ptr<prometheus::Collectable> NewProcessMetrics() {
  return std::make_shared<ProcessMetrics>();
}

}  // namespace birkhoff
