// One rank of one attempt: builds stages, store, transport and executor from its assignment,
// resumes from the last committed checkpoint, and trains.  No process, socket or gRPC in here:
// rank_process.cc runs it in a child process of the supervisor, tests run several as threads.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "core/base/disk.h"
#include "core/format/root_owner.h"
#include "core/protocol/messages.h"
#include "kernels/device.h"
#include "kernels/gemm_choices.h"
#include "worker/activity.h"
#include "worker/agree.h"
#include "worker/checkpointer.h"
#include "worker/data_source.h"
#include "worker/executor.h"
#include "worker/metrics_file.h"
#include "worker/microbatch.h"
#include "worker/parameter_store.h"
#include "worker/rank_listener.h"
#include "worker/rank_model.h"
#include "worker/start_times.h"
#include "worker/step_state.h"
#include "worker/transport.h"

namespace birkhoff {

class Rank final : private StepHooks {
 public:
  struct Environment {  // all must outlive the rank
    Device* device = nullptr;
    Transport* transport = nullptr;
    Disk* disk = nullptr;
    Clock* clock = nullptr;
    RankListener* listener = nullptr;
    double peak_flops = 0.0;       // of the device, in the plan's precision; 0: not known, no MFU
    Activity* activity = nullptr;  // null: nobody looks
    bool graphs = true;            // steps may be replayed as graphs; the bits are the same
    GemmChoices products = {};     // what a GPU's products compute with (kernels/backend.h)
    std::function<void(const std::string& line)> log = nullptr;  // null: nobody reads
  };
  // Errors: INVALID_ARGUMENT plan, hash, model, data or checkpoint do not fit; what the transport
  // says.
  static absl::StatusOr<std::unique_ptr<Rank>> Create(const Assignment& assignment,
                                                      const Environment& environment);
  ~Rank() override;

  // One optimizer step, with validation and snapshot when they are due.  True while there is
  // another.  Errors: ABORTED/UNAVAILABLE a peer or the attempt is gone; OUT_OF_RANGE the stability
  // limits are used up (exit code 73).
  absl::StatusOr<bool> RunStep();
  // Asks for a checkpoint after the running step and an end with kStopped.  Any thread.
  void RequestStop() { stop_requested_ = true; }
  // After RunStep has returned false: whether steps are left, because some rank was asked to stop.
  bool stopped() const { return stopped_; }
  // The coordinator's word that all shards of `step` are durable (rank 0 renames).  Any thread.
  void CommitCheckpoint(const birkhoff::CommitCheckpoint& commit);
  // Waits until the last checkpoint is committed or has failed.
  absl::Status Finish();

 private:
  Rank(const Assignment& assignment, const Environment& environment);
  absl::Status Init();
  // A phase of the start: in the log as `phase`, for who looks as `what`.
  void Starts(const char* phase, std::string what);
  const JobSpec& spec() const { return assignment_.spec; }
  const Plan& plan() const { return assignment_.plan; }
  absl::Status WriteJobFile();
  absl::Status BuildModel();
  absl::Status AllocateImages();
  const RankPlan& MyPlan() const { return plan().ranks[rank_]; }
  const StageLayout& LayoutOf(int stage) const { return model_->stage(stage)->layout(); }
  absl::Status BuildExecutor();
  absl::StatusOr<bool> StepOrEnd();
  absl::Status KeepOutput(bool checkpoint);
  bool MayRunAhead() const;
  absl::Status Trace();
  void DrawMatrices();
  int64_t TokensPerStep() const {
    return int64_t{spec().training.global_batch_size} * spec().training.sequence_length;
  }
  void Launch();
  absl::Status Land();
  int Slot(int64_t step) const { return static_cast<int>(step % steps_in_flight_); }
  absl::Status AskHosts();
  double LearningRateOf(int64_t step) const;
  absl::Status CheckSkips() const;
  bool ValidationIsDueAfter(int64_t step) const;
  bool CheckpointIsDueAfter(int64_t step) const;
  void WriteCheckpoint();
  absl::StatusOr<double> Validate();
  double FlopsOfStep() const;
  StepReport Report();
  std::byte* ImageOf(int stage, int microbatch) const;
  void FillImage(const StageLayout& layout, int microbatch, std::byte* image);
  static void NoTokens(std::span<int32_t> inputs, std::span<int32_t> targets);
  absl::Status LoadValidation(int64_t sample, std::span<int32_t> inputs,
                              std::span<int32_t> targets) const;

  // StepHooks.
  MicrobatchShape ShapeOf(int /*microbatch*/) const override { return sequences_.shape(); }
  void Prepare(int stage, int microbatch) override;
  void Load(Stream& stream, int stage, int microbatch, const StageBuffers& buffers) override;
  void Agree(Stream& stream) override;
  void Optimizer(Stream& stream) override;
  void Snapshot(Stream& stream) override;

  const Assignment assignment_;
  const Environment env_;
  const int rank_;  // in the pipeline
  const int replica_;
  const int steps_in_flight_;
  const PackedSequences sequences_;  // every micro-batch is full
  std::unique_ptr<ParameterStore> store_;
  std::unique_ptr<StepState> state_;
  std::unique_ptr<RankModel> model_;
  std::unique_ptr<DataSource> data_;
  std::unique_ptr<HostMemory> images_;
  std::vector<std::byte*> image_of_stage_;  // by plan stage: of micro-batch 0, the others behind it
  int64_t image_slot_bytes_ = 0;            // from the images of one step in flight to the next's
  std::unique_ptr<RootOwner> owner_;        // rank 0 only
  std::unique_ptr<MetricsFile> metrics_;    // rank 0 only
  Group* world_ = nullptr;

  Progress progress_;                 // of finished steps
  int64_t next_step_ = 0;             // to be launched: progress_.step, and those in flight
  std::vector<Instant> launched_at_;  // by slot
  StartTimes start_times_;            // until the first step has landed
  bool started_ = false;
  Activity unwatched_;  // where nobody looks
  Activity& activity_;
  Instant landed_at_;             // the last step
  bool training_ = true;          // which program runs
  absl::Status data_status_;      // the first token that could not be handed out
  bool captured_ = false;         // the running or last step copies its weights for a checkpoint
  Agreement agreed_;              // of the last step
  HostAgreement hosts_;           // likewise
  double compute_seconds_ = 0.0;  // of the last step
  std::atomic<bool> stop_requested_{false};
  bool stopped_ = false;
  std::vector<InstructionTime> train_times_;  // of the last step

  std::unique_ptr<Checkpointer> checkpointer_;
  std::unique_ptr<Stream> stream_;      // of this object's own work between programs
  std::unique_ptr<Executor> executor_;  // last: its streams use the fields above
};

}  // namespace birkhoff
