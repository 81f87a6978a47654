// Weights, tokenizer, text.
#include "cli/inference/generate.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "core/base/printable.h"
#include "core/base/status_macros.h"
#include "kernels/device.h"
#include "worker/inference/run_tokenizer.h"
#include "worker/inference/trained_model.h"

namespace birkhoff {
namespace {

using Json = nlohmann::ordered_json;

void PrintJson(const GenerateOptions& options, const TrainedModel& model, const Generation& made,
               std::ostream& out) {
  const SamplingOptions& sampling = options.generation.sampling;
  const Json json = {{"checkpoint", model.directory()},
                     {"step", model.step()},
                     {"temperature", sampling.temperature},
                     {"top_k", sampling.top_k},
                     {"top_p", sampling.top_p},
                     {"seed", sampling.seed},
                     {"prompt", options.generation.prompt},
                     {"prompt_tokens", made.prompt_tokens},
                     {"text", made.text},
                     {"tokens", made.tokens},
                     {"stop", made.ended ? "end_of_text" : "max_tokens"}};
  out << json.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
}

}  // namespace

absl::Status GenerateText(const GenerateOptions& options, Disk& disk, const Console& console) {
  RETURN_IF_ERROR(Validate(options.generation.sampling));
  const std::unique_ptr<Device> device = NewCpuDevice();
  ASSIGN_OR_RETURN(const std::unique_ptr<TrainedModel> model,
                   TrainedModel::Load(disk, options.checkpoint, *device));
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                   OpenTokenizerOf(model->spec(), options.tokenizer, disk));
  *console.err << model->directory() << ": step " << model->step() << ", context "
               << model->spec().training.sequence_length << " tokens\n";
  const bool json = options.output == "json";
  std::ostream& out = *console.out;
  const auto write = [&](std::string_view text) {
    out << (options.printable ? PrintableLines(text) : std::string(text)) << std::flush;
  };
  bool begun = json;  // the prompt is written with what follows it, and not where it is refused
  const auto visit = [&](std::string_view piece) {
    if (!std::exchange(begun, true)) write(options.generation.prompt);
    if (!json) write(piece);
    return out.good();  // or nobody reads any more
  };
  ASSIGN_OR_RETURN(const Generation made,
                   Generate(*model, *tokenizer, *device, options.generation, visit));
  const int context = model->spec().training.sequence_length;
  if (made.prompt_tokens.size() > static_cast<size_t>(context)) {
    *console.err << "the prompt has " << made.prompt_tokens.size() << " tokens: the last "
                 << context << " were read\n";
  }
  if (json) {
    PrintJson(options, *model, made, out);
  } else {
    visit(made.text.ends_with('\n') ? "" : "\n");
  }
  return absl::OkStatus();
}

}  // namespace birkhoff
