"""docs/protocol.md as code: its client runs verbatim, and the service answers as the page says."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import grpc

import programs
from programs import wait_for

SPEC = """
name: {name}
model: {{hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 2,
         intermediate_size: 64}}
data: {{train: {data}, tokenizer: bytes}}
training: {{steps: 5000, sequence_length: 32, micro_batch_size: 1, global_batch_size: 4}}
parallelism: {{pipeline_parallel_degree: 2, schedule: dualpipev}}
checkpoint: {{interval: 1000}}
"""


class ProtocolTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = pathlib.Path(tempfile.mkdtemp(prefix="birkhoff-protocol-"))
        cls.addClassCleanup(shutil.rmtree, cls.root, ignore_errors=True)
        cls.stubs = programs.make_stubs(cls.root, programs.bash_command())
        programs.import_stubs(cls.stubs)
        cls.data = programs.make_text(cls.root)
        cls.cluster = programs.Cluster(cls.root)
        cls.addClassCleanup(cls.cluster.close)
        from birkhoff.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc
        cls.job_pb2, cls.messages = job_pb2, job_service_pb2
        channel = grpc.insecure_channel(cls.cluster.address)
        cls.addClassCleanup(channel.close)
        cls.service = job_service_pb2_grpc.JobServiceStub(channel)

    def create(self, name, **fields):
        yaml = SPEC.format(name=name, data=self.data)
        return self.service.CreateJob(self.messages.CreateJobRequest(
            **{"yaml": yaml, "request_id": f"id of {name}", **fields}))

    def cancel_and_wait(self, name):
        self.service.CancelJob(self.messages.CancelJobRequest(name=name))
        return self.watch(name)[-1].state_changed

    def watch(self, name, after=0):
        request = self.messages.WatchJobRequest(name=name, after_event_id=after)
        stream = self.service.WatchJob(request, timeout=programs.DEADLINE)
        return [message.event for message in stream if message.HasField("event")]

    def error_of(self, call):
        """Status code, ErrorInfo and the violations {field: description} of a call that fails."""
        from google.rpc import error_details_pb2, status_pb2
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        trailer = dict(caught.exception.trailing_metadata())["grpc-status-details-bin"]
        status = status_pb2.Status.FromString(trailer)
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        for detail in status.details:
            detail.Unpack(info)
            detail.Unpack(bad)
        self.assertEqual(info.domain, "birkhoff")
        self.assertEqual(info.reason, caught.exception.code().name)
        violations = {v.field: v.description for v in bad.field_violations}
        return caught.exception.code(), violations

    def test_client_of_the_page_creates_watches_and_cancels(self):
        client, job = self.root / "client.py", self.root / "client.yaml"
        client.write_text(programs.fenced_block("python"))
        job.write_text(SPEC.format(name="client", data=self.data))
        done = subprocess.run([sys.executable, client, self.cluster.address, job], text=True,
                              capture_output=True, timeout=programs.DEADLINE,
                              env={**os.environ, "PYTHONPATH": str(self.stubs)})
        self.assertEqual(done.returncode, 75, done.stderr)
        lines = done.stdout.splitlines()
        states = [line.split(":")[0] for line in lines if line.startswith("STATE_")]
        self.assertEqual(states, ["STATE_QUEUED", "STATE_STARTING", "STATE_RUNNING",
                                  "STATE_CANCELLING", "STATE_CANCELLED"])
        steps = [int(line.split()[1]) for line in lines if line.startswith("step ")]
        self.assertEqual(steps, list(range(1, len(steps) + 1)))
        self.assertGreaterEqual(len(steps), 5)
        path = f"runs/client/checkpoints/step-{len(steps):08}"
        self.assertEqual(lines[-1], f"jobs/client: last checkpoint {path}")
        self.assertTrue((self.root / path / "manifest.json").exists())

    def test_a_watch_resumes_after_an_event_id(self):
        name = self.create("resume").job.name
        self.addCleanup(self.cancel_and_wait, name)
        wait_for(lambda: self.service.GetJob(self.messages.GetJobRequest(name=name))
                 .job.last_step.step >= 3, "three steps")
        self.assertEqual(self.cancel_and_wait(name).state, self.job_pb2.Job.STATE_CANCELLED)
        history = self.watch(name)
        self.assertEqual([e.event_id for e in history], list(range(1, len(history) + 1)))
        self.assertEqual(self.watch(name, after=4), history[4:])
        self.assertEqual(self.watch(name, after=len(history)), [])
        code, _ = self.error_of(lambda: self.watch(name, after=len(history) + 1))
        self.assertEqual(code, grpc.StatusCode.OUT_OF_RANGE)

    def test_repeated_calls_are_harmless(self):
        first = self.create("twice").job
        self.addCleanup(self.cancel_and_wait, first.name)
        again = self.create("twice").job
        self.assertEqual((again.name, again.create_time), (first.name, first.create_time))
        other = lambda: self.create("twice", priority=7)
        self.assertEqual(self.error_of(other)[0], grpc.StatusCode.ALREADY_EXISTS)
        same_name = lambda: self.create("twice", request_id="a new one")
        self.assertEqual(self.error_of(same_name)[0], grpc.StatusCode.ALREADY_EXISTS)
        for _ in range(2):
            end = self.cancel_and_wait(first.name)
            self.assertEqual(end.state, self.job_pb2.Job.STATE_CANCELLED)
        successor = self.create("twice", request_id="a new one").job
        self.addCleanup(self.cancel_and_wait, successor.name)
        self.assertEqual(successor.name, "jobs/twice-2")

    def test_a_job_goes_on_with_a_run_of_its_spec_and_with_no_other(self):
        def run(name, steps, *overrides, **fields):
            fields.setdefault("output_directory", str(self.root / "shared"))
            overrides = [f"training.steps={steps}", "lr_schedule.warmup_steps=2",
                         "checkpoint.interval=0", *overrides]
            return self.watch(self.create(name, overrides=overrides, **fields).job.name)

        def sentences(events):
            return " ".join(e.state_changed.reason.sentence for e in events)

        self.assertEqual(run("first", 6)[-1].state_changed.exit_code, 0)
        end = run("other", 6, "model.rope_theta=20000", "optimizer.lr=0.5")[-1].state_changed
        self.assertEqual((end.state, end.exit_code), (self.job_pb2.Job.STATE_FAILED, 64))
        self.assertIn("model.rope_theta: 10000 there, 20000 now", end.reason.sentence)
        self.assertIn("optimizer.lr: 0.001 there, 0.5 now", end.reason.sentence)
        more = run("more", 9)
        self.assertEqual(more[-1].state_changed.exit_code, 0)
        self.assertEqual([e.step.step for e in more if e.HasField("step")], [7, 8, 9])
        self.assertIn("training.steps: 6 there, 9 now; the learning rate", sentences(more))
        asked = run("asked", 10, "optimizer.lr=0.5", changes=["optimizer.lr"])
        self.assertEqual(asked[-1].state_changed.exit_code, 0)
        begun = run("begun", 2, "model.rope_theta=20000", init_from=str(self.root / "shared"),
                    output_directory=str(self.root / "begun"))
        self.assertEqual([e.step.step for e in begun if e.HasField("step")], [1, 2])
        self.assertIn("(step 10 of jobs/asked)", sentences(begun))
        self.assertIn("model.rope_theta: 10000 there, 20000 now", sentences(begun))

    def test_a_worker_touches_only_what_its_operator_allows(self):
        directory = self.root / "bounded"
        (directory / "runs").mkdir(parents=True)
        cluster = programs.Cluster(directory, worker_flags=[
            "--allow-path", directory / "runs", "--allow-path", self.data.parent / "text.bin",
            "--allow-path", self.data.parent / "text.idx"])
        self.addCleanup(cluster.close)
        from birkhoff.v1 import job_service_pb2_grpc
        channel = grpc.insecure_channel(cluster.address)
        self.addCleanup(channel.close)
        service = job_service_pb2_grpc.JobServiceStub(channel)

        def end_of(name, **fields):
            yaml = SPEC.format(name=name, data=self.data)
            overrides = ["training.steps=2", "lr_schedule.warmup_steps=0"]
            job = service.CreateJob(self.messages.CreateJobRequest(
                yaml=yaml, overrides=overrides, **fields)).job
            request = self.messages.WatchJobRequest(name=job.name)
            events = [m.event for m in service.WatchJob(request, timeout=programs.DEADLINE)
                      if m.HasField("event")]
            return events[-1].state_changed

        outside = end_of("outside", output_directory=str(directory / "elsewhere"),
                         init_from=str(self.root / "secret"))
        self.assertEqual(outside.exit_code, 64)
        self.assertIn(f"output_directory: {directory / 'elsewhere'}", outside.reason.sentence)
        self.assertIn(f"init_from: {self.root / 'secret'}", outside.reason.sentence)
        self.assertFalse((directory / "elsewhere").exists())
        inside = end_of("inside", output_directory=str(directory / "runs" / "inside"))
        self.assertEqual(inside.exit_code, 0, inside.reason.sentence)

    def test_validate_only_resolves_and_makes_nothing(self):
        answer = self.create("judged", validate_only=True,
                             overrides=["model.residual.kind=hc"]).job
        self.assertEqual(answer.state, self.job_pb2.Job.STATE_UNSPECIFIED)
        self.assertEqual(answer.spec.model.vocab_size, 257)
        self.assertEqual(answer.spec.model.residual.kind, self.job_pb2.RESIDUAL_KIND_HC)
        get = lambda: self.service.GetJob(self.messages.GetJobRequest(name="jobs/judged"))
        self.assertEqual(self.error_of(get)[0], grpc.StatusCode.NOT_FOUND)

    def test_a_wrong_spec_is_answered_with_every_violation(self):
        wrong = ["model.hidden_size=-3", "training.steps=0", "optimizer.lr=-1"]
        code, violations = self.error_of(lambda: self.create("wrong", overrides=wrong))
        self.assertEqual(code, grpc.StatusCode.INVALID_ARGUMENT)
        fields = ["model.hidden_size", "training.steps", "optimizer.lr"]
        self.assertLessEqual(set(fields), set(violations))
        self.assertIn("-3", violations["model.hidden_size"])

    def test_unknown_names_are_not_found(self):
        messages = self.messages
        for call in [
            lambda: self.service.GetJob(messages.GetJobRequest(name="jobs/none")),
            lambda: self.service.CancelJob(messages.CancelJobRequest(name="jobs/none")),
            lambda: self.service.GetPlan(messages.GetPlanRequest(name="jobs/none")),
            lambda: self.watch("jobs/none"),
        ]:
            self.assertEqual(self.error_of(call)[0], grpc.StatusCode.NOT_FOUND)

    def test_a_worker_is_welcomed_and_its_older_life_refused(self):
        from birkhoff.v1 import worker_service_pb2 as words, worker_service_pb2_grpc
        directory = self.root / "guest"  # of its own, so that nobody gives the guest work
        directory.mkdir()
        cluster = programs.Cluster(directory, workers=0)
        self.addCleanup(cluster.close)
        channel = grpc.insecure_channel(cluster.address)
        self.addCleanup(channel.close)
        connect = worker_service_pb2_grpc.WorkerServiceStub(channel).Connect
        hello = lambda incarnation: words.ConnectRequest(
            worker="workers/guest", incarnation=incarnation,
            hello=words.Hello(resources=words.WorkerResources(name="workers/guest", device="none"),
                              address="127.0.0.1"))
        newer = connect(iter([hello(2)]), timeout=programs.DEADLINE)
        welcome = next(newer).welcome
        self.assertGreater(welcome.lease_seconds, welcome.heartbeat_seconds)
        older = connect(iter([hello(1)]), timeout=programs.DEADLINE)
        self.assertTrue(next(older).refused.reason)
        with self.assertRaises(grpc.RpcError) as ended:
            next(older)
        self.assertEqual(ended.exception.code(), grpc.StatusCode.ABORTED)


if __name__ == "__main__":
    unittest.main(verbosity=2)
