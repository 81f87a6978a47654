// Weights, data, figures.
#include "cli/inference/eval.h"

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "core/base/printable.h"
#include "core/base/status_macros.h"
#include "kernels/device.h"
#include "worker/inference/evaluation.h"
#include "worker/inference/run_tokenizer.h"
#include "worker/inference/trained_model.h"

namespace birkhoff {
namespace {

using Json = nlohmann::ordered_json;

// Null where text has no bytes: tokens that are numbers, or a tokenizer that is not there, which
// concerns one figure alone.
absl::StatusOr<std::unique_ptr<Tokenizer>> ByteCounter(const JobSpec& spec,
                                                       const EvalOptions& options, Disk& disk,
                                                       const Console& console) {
  if (options.tokenizer == kNoTokenizer) return nullptr;
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer =
      OpenTokenizerOf(spec, options.tokenizer, disk);
  if (tokenizer.ok() || !options.tokenizer.empty()) return tokenizer;
  *console.err << "no bits per byte: " << PrintableLines(std::string(tokenizer.status().message()))
               << "\n";
  return nullptr;
}

std::string NameOfData(const JobSpec& spec, const EvalOptions& options) {
  if (!options.data.empty()) return options.data;
  if (!spec.data.validation.empty()) return spec.data.validation;
  return "what data.validation_split has held out";
}

void Print(const EvalOptions& options, const TrainedModel& model, const Evaluation& figures,
           std::ostream& out) {
  const std::string data = NameOfData(model.spec(), options);
  const double bits = figures.BitsPerByte();
  if (options.output == "json") {
    const Json json = {{"checkpoint", model.directory()},
                       {"step", model.step()},
                       {"data", data},
                       {"sequences", figures.sequences},
                       {"tokens", figures.tokens},
                       {"loss", figures.loss},
                       {"perplexity", figures.Perplexity()},
                       {"bits_per_byte", std::isnan(bits) ? Json(nullptr) : Json(bits)}};
    out << json.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
    return;
  }
  out << absl::StrFormat("loss           %.4f nats per token\n", figures.loss)
      << absl::StrFormat("perplexity     %.4g\n", figures.Perplexity());
  if (!std::isnan(bits)) out << absl::StrFormat("bits per byte  %.4f\n", bits);
  out << absl::StrFormat("tokens         %d in %d sequences of %d, of %s\n", figures.tokens,
                         figures.sequences, model.spec().training.sequence_length, data)
      << absl::StrFormat("checkpoint     %s, step %d\n", model.directory(), model.step());
}

}  // namespace

absl::Status EvaluateModel(const EvalOptions& options, Disk& disk, const Console& console) {
  const std::unique_ptr<Device> device = NewCpuDevice();
  ASSIGN_OR_RETURN(const std::unique_ptr<TrainedModel> model,
                   TrainedModel::Load(disk, options.checkpoint, *device));
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                   ByteCounter(model->spec(), options, disk, console));
  ASSIGN_OR_RETURN(const std::unique_ptr<DataSource> data,
                   OpenEvaluationData(model->spec(), options.data));
  EvaluationOptions evaluation;
  evaluation.sequences = options.sequences;
  evaluation.tokenizer = tokenizer.get();
  if (console.terminal) {
    evaluation.progress = [&](int64_t done, int64_t all) {
      *console.err << "\r" << done << "/" << all << " sequences" << (done == all ? "\n" : "")
                   << std::flush;
    };
  }
  ASSIGN_OR_RETURN(const Evaluation figures, Evaluate(*model, *data, *device, evaluation));
  Print(options, *model, figures, *console.out);
  return absl::OkStatus();
}

}  // namespace birkhoff
