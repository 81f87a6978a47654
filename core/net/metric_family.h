// A Prometheus family under construction: name, help, type, and its series one by one.
#pragma once

#include <prometheus/metric_family.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "core/base/histogram.h"

namespace birkhoff {

using MetricLabels = std::vector<prometheus::ClientMetric::Label>;

class MetricFamily {
 public:
  static MetricFamily Gauge(const char* name, const char* help) {
    return {name, help, prometheus::MetricType::Gauge};
  }
  static MetricFamily Counter(const char* name, const char* help) {
    return {name, help, prometheus::MetricType::Counter};
  }
  static MetricFamily Histograms(const char* name, const char* help) {
    return {name, help, prometheus::MetricType::Histogram};
  }

  // Of a gauge or counter.
  void Add(MetricLabels labels, double value) {
    prometheus::ClientMetric& metric = NewSeries(std::move(labels));
    metric.gauge.value = value;
    metric.counter.value = value;
  }
  // Of a histogram.
  void Add(MetricLabels labels, const Histogram& values) {
    prometheus::ClientMetric::Histogram& out = NewSeries(std::move(labels)).histogram;
    out.sample_count = values.count();
    out.sample_sum = values.sum();
    uint64_t cumulative = 0;
    for (size_t i = 0; i < values.counts().size(); ++i) {
      cumulative += values.counts()[i];
      const bool last = i == values.bounds().size();
      out.bucket.push_back(
          {cumulative, last ? std::numeric_limits<double>::infinity() : values.bounds()[i]});
    }
  }
  // Appends it to `out`, unless it has no series.
  void MoveTo(std::vector<prometheus::MetricFamily>* out) {
    if (!family_.metric.empty()) out->push_back(std::move(family_));
  }

 private:
  MetricFamily(const char* name, const char* help, prometheus::MetricType type) {
    family_.name = name;
    family_.help = help;
    family_.type = type;
  }
  prometheus::ClientMetric& NewSeries(MetricLabels labels) {
    prometheus::ClientMetric& metric = family_.metric.emplace_back();
    metric.label = std::move(labels);
    return metric;
  }

  prometheus::MetricFamily family_;
};

}  // namespace birkhoff
