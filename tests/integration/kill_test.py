"""kill -9 of every kind of process, at any moment: the training ends with the same bits.

One run without faults is the measure; every other one must leave the same tensors in its last
checkpoint and the same numbers in metrics.jsonl, each step once.  BIRKHOFF_KILLS says how many
kills the random mix has, to which come a third as many stops; BIRKHOFF_SEED which.
"""
import fcntl
import os
import pathlib
import random
import shutil
import signal
import tempfile
import time
import unittest
import unittest.mock
import uuid

import grpc

import programs
from programs import wait_for

KILLS = int(os.environ.get("BIRKHOFF_KILLS", "6"))
SEED = int(os.environ.get("BIRKHOFF_SEED", "1"))
STEPS = 60
FAULTS = ["kill"] * KILLS + ["stop"] * (KILLS // 3)
MIX_STEPS = 50 * len(FAULTS)
CLOCKED = {"time", "step_seconds", "tokens_per_second", "mfu", "bubble", "exposed_transfer", "memory_bytes"}
IMPATIENT = ["--heartbeat-seconds", "0.2", "--lease-seconds", "1.5"]
RESTLESS = ["--progress-limit", "3"]
SPEC = """
name: kill
model: {{hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 2,
         intermediate_size: 64, residual: {{kind: mhc, streams: 4}}}}
data: {{train: {data}, tokenizer: bytes}}
training: {{steps: {steps}, sequence_length: 32, micro_batch_size: 1, global_batch_size: 4}}
lr_schedule: {{kind: cosine, warmup_steps: 5}}
parallelism: {{pipeline_parallel_degree: 2, schedule: dualpipev}}
checkpoint: {{interval: 10, keep_last: 2}}
"""


def result_of(output, steps=STEPS):
    """What must not depend on faults: the tensors at the end, and every row but its times."""
    final = pathlib.Path(output) / "checkpoints" / f"step-{steps:08}"
    tensors = {path.name: path.read_bytes() for path in sorted(final.glob("*.safetensors"))}
    rows = [{key: value for key, value in row.items() if key not in CLOCKED}
            for row in programs.rows(output)]
    return tensors, rows


class KillTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = pathlib.Path(tempfile.mkdtemp(prefix="birkhoff-kill-"))
        cls.addClassCleanup(shutil.rmtree, cls.root, ignore_errors=True)
        programs.import_stubs(programs.make_stubs(cls.root, programs.bash_command()))
        cls.yaml = SPEC.format(data=programs.make_text(cls.root), steps=STEPS)
        (cls.root / "job.yaml").write_text(cls.yaml)
        cls.measure = cls.undisturbed(STEPS)

    @classmethod
    def undisturbed(cls, steps):
        output = cls.root / f"undisturbed-{steps}"
        run = cls.start_run(output, ["--set", f"training.steps={steps}"])
        if run.process.wait(300) != 0:
            raise AssertionError(run.said())
        return result_of(output, steps)

    @classmethod
    def start_run(cls, output, more=()):
        words = [programs.BIN / "birkhoff", "run", cls.root / "job.yaml", "--out", output, *more]
        run = programs.Program(words, cls.root / f"{output.name}.log", cls.root)
        cls.addClassCleanup(run.kill)
        return run

    def setUp(self):
        self.directory = self.root / self.id().rpartition(".")[2]
        self.directory.mkdir()
        self.output = self.directory / "out"

    def start_cluster(self, flags=(), worker_flags=()):
        cluster = programs.Cluster(self.directory, flags=[*IMPATIENT, *flags],
                                   worker_flags=worker_flags)
        self.addCleanup(cluster.close)
        return cluster

    def jobs(self, cluster):
        from birkhoff.v1 import job_service_pb2_grpc
        channel = grpc.insecure_channel(cluster.address)
        self.addCleanup(channel.close)
        return job_service_pb2_grpc.JobServiceStub(channel)

    def create(self, cluster, **fields):
        from birkhoff.v1 import job_service_pb2 as messages
        request = messages.CreateJobRequest(**{"request_id": str(uuid.uuid4()), "yaml": self.yaml,
                                               "output_directory": str(self.output), **fields})
        self.jobs(cluster).CreateJob(request, wait_for_ready=True, timeout=programs.DEADLINE)

    def wait_for_step(self, step):
        return wait_for(lambda: programs.last_step(self.output) >= step, f"step {step}")

    def watch_to_end(self, cluster, name="jobs/kill"):
        """The whole history, watched as docs/protocol.md asks: UNAVAILABLE is tried again."""
        from birkhoff.v1 import job_service_pb2 as messages
        events, failures = [], 0
        while not (events and events[-1].state_changed.state in self.ends()):
            seen = events[-1].event_id if events else 0
            request = messages.WatchJobRequest(name=name, after_event_id=seen)
            try:
                for message in self.jobs(cluster).WatchJob(request, wait_for_ready=True,
                                                           timeout=programs.DEADLINE):
                    events += [message.event] if message.HasField("event") else []
            except grpc.RpcError as error:
                failures += 1
                if error.code() != grpc.StatusCode.UNAVAILABLE or failures > 2:
                    raise
        return events

    @staticmethod
    def ends():
        from birkhoff.v1 import job_pb2
        return {job_pb2.Job.STATE_SUCCEEDED, job_pb2.Job.STATE_FAILED, job_pb2.Job.STATE_CANCELLED}

    def expect_success(self, cluster, attempts, most=None):
        from birkhoff.v1 import job_pb2
        events = self.watch_to_end(cluster)
        last = events[-1].state_changed
        self.assertIsNone(cluster.daemon.process.poll(), cluster.daemon.said())
        self.assertEqual(last.state, job_pb2.Job.STATE_SUCCEEDED, last.reason.sentence)
        self.assertEqual(last.exit_code, 0)
        self.assertIn(events[-1].attempt, range(attempts, (most or attempts) + 1))
        self.assertEqual([event.event_id for event in events], list(range(1, len(events) + 1)))
        self.expect_same_result()
        return events

    def expect_same_result(self, measure=None, steps=STEPS):
        measure = measure or self.measure
        tensors, rows = result_of(self.output, steps)
        self.assertEqual([row["step"] for row in rows], list(range(1, steps + 1)))
        self.assertEqual(rows, measure[1])
        self.assertEqual(sorted(tensors), ["rank-00000.safetensors", "rank-00001.safetensors"])
        for name, expected in measure[0].items():
            self.assertTrue(tensors[name] == expected, f"{name} differs")

    def test_same_bits_when_a_rank_is_killed(self):
        cluster = self.start_cluster()
        self.create(cluster)
        self.wait_for_step(25)
        os.kill(cluster.rank_of("w1"), signal.SIGKILL)
        events = self.expect_success(cluster, attempts=2)
        reasons = [event.rank_exited.reason for event in events if event.HasField("rank_exited")]
        self.assertTrue(any("signal 9" in reason for reason in reasons), reasons)

    def expect_no_progress(self, events, *words):
        """Once, with all the words in its reason; returns the state before."""
        changes = [event.state_changed for event in events if event.HasField("state_changed")]
        stuck = [at for at, change in enumerate(changes) if change.reason.code == "NO_PROGRESS"]
        self.assertEqual(len(stuck), 1, changes)
        for word in words:
            self.assertIn(word, changes[stuck[0]].reason.sentence)
        return changes[stuck[0] - 1].state

    def test_same_bits_when_a_rank_is_stopped(self):
        """Item 24: its supervisor lives, and so do its connections."""
        from birkhoff.v1 import job_pb2
        cluster = self.start_cluster(RESTLESS)
        self.create(cluster)
        self.wait_for_step(25)
        os.kill(cluster.rank_of("w1"), signal.SIGSTOP)
        events = self.expect_success(cluster, attempts=2)
        before = self.expect_no_progress(events, "rank 1 on workers/w1 has not moved for ",
                                         "(its process: stopped): ", "waits rank 0 (step 2")
        self.assertEqual(before, job_pb2.Job.STATE_RUNNING)

    def test_same_bits_when_a_rank_is_stopped_before_it_trains(self):
        from birkhoff.v1 import job_pb2
        cluster = self.start_cluster(RESTLESS)
        (self.output / "checkpoints").mkdir(parents=True)
        with open(self.output / "checkpoints" / ".owner", "w") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX)  # rank 0 waits for it, and rank 1 for rank 0
            self.create(cluster)
            os.kill(wait_for(lambda: cluster.rank_of("w1"), "rank 1 is there"), signal.SIGSTOP)
        events = self.expect_success(cluster, attempts=2)
        before = self.expect_no_progress(events, "rank 1 on workers/w1 has not moved for ")
        self.assertEqual(before, job_pb2.Job.STATE_STARTING)

    def test_pipes_as_data_are_refused_and_nobody_waits_for_them(self):
        from birkhoff.v1 import job_pb2
        cluster = self.start_cluster()
        for name, ending, other in [("tokens", "bin", "idx"), ("index", "idx", "bin")]:
            stem = self.directory / name
            os.mkfifo(f"{stem}.{ending}")
            shutil.copy(self.root / f"text.{other}", f"{stem}.{other}")
            text = self.yaml.replace(str(self.root / "text"), str(stem))
            self.create(cluster, yaml=text.replace("name: kill", f"name: {name}"),
                        output_directory=str(self.directory / f"{name}-out"))
            last = self.watch_to_end(cluster, f"jobs/{name}")[-1].state_changed
            self.assertEqual(last.state, job_pb2.Job.STATE_FAILED, last.reason.sentence)
            self.assertEqual(last.exit_code, 64, last.reason.sentence)
            self.assertIn(f"{name}.{ending}: ", last.reason.sentence)

    def test_ranks_end_when_their_coordinator_stays_away(self):
        """Item 28: what they have committed is kept, and their workers wait for it."""
        cluster = self.start_cluster(worker_flags=["--orphan-limit", "1"])
        self.create(cluster)
        manifest = self.output / "checkpoints" / "step-00000010" / "manifest.json"
        wait_for(manifest.exists, "a checkpoint")
        cluster.daemon.kill()
        ranks = [cluster.rank_of(name) for name in ("w0", "w1")]
        wait_for(lambda: not programs.alive(ranks), "ranks end")
        self.assertTrue(manifest.exists())
        workers = list(cluster.workers.values())
        self.assertEqual([worker.process.poll() for worker in workers], [None, None])
        # The other's rank may have ended since its peer was gone.
        said = "".join(worker.said() for worker in workers)
        self.assertIn("the coordinator was away for 1s (--orphan-limit)", said)
        cluster.start_daemon()
        self.expect_success(cluster, attempts=2)

    def test_same_bits_when_a_worker_is_asked_to_leave(self):
        """Whatever threads its libraries have started: OpenBLAS has some before main."""
        with unittest.mock.patch.dict(os.environ):
            os.environ.pop("OPENBLAS_NUM_THREADS", None)
            cluster = self.start_cluster()
        self.create(cluster)
        self.wait_for_step(25)
        leaving = cluster.workers["w1"]
        leaving.signal(signal.SIGTERM)
        self.assertEqual(leaving.wait(), 75, leaving.said())
        cluster.start_worker("w1")
        # One that leaves may be given work once more before it is gone.
        self.expect_success(cluster, attempts=2, most=3)

    def test_a_worker_that_can_start_nothing_says_so_and_ends_when_asked(self):
        """Item 10: its program is gone; a limit of memory looks the same."""
        cluster = self.start_cluster()
        copy = shutil.copy(programs.BIN / "birkhoff-worker", self.directory)
        cluster.workers.pop("w0").kill()
        worker = cluster.start_worker("w00", copy)
        wait_for(lambda: len(os.listdir(f"/proc/{worker.pid}/task")) > 3, "it has connected")
        os.remove(copy)
        self.create(cluster)
        wait_for(lambda: "RANK_FAILED" in cluster.daemon.said(), "the attempt is lost")
        worker.signal(signal.SIGINT)
        self.assertIn(worker.wait(), (0, 71), worker.said())
        self.assertIn("leaving: ", worker.said())
        self.assertIn("the rank process cannot be started", cluster.daemon.said())

    def test_same_bits_when_a_supervisor_is_killed(self):
        cluster = self.start_cluster()
        self.create(cluster)
        self.wait_for_step(25)
        rank = cluster.rank_of("w0")
        cluster.workers["w0"].kill()
        wait_for(lambda: not programs.alive([rank]), "the rank dies with its supervisor")
        cluster.start_worker("w0")
        self.expect_success(cluster, attempts=2)

    def test_training_goes_on_while_the_coordinator_is_away(self):
        cluster = self.start_cluster()
        self.create(cluster)
        self.wait_for_step(12)
        cluster.daemon.kill()
        self.wait_for_step(programs.last_step(self.output) + 3)
        cluster.start_daemon()
        events = self.expect_success(cluster, attempts=1)
        steps = [event.step.step for event in events if event.HasField("step")]
        self.assertEqual(steps, list(range(1, STEPS + 1)))

    def test_same_bits_when_everything_is_killed_at_once(self):
        cluster = self.start_cluster()
        self.create(cluster)
        self.wait_for_step(25)
        cluster.kill_group()
        self.assertLess(programs.last_step(self.output), STEPS)
        cluster.start_daemon()
        for name in list(cluster.workers):
            cluster.start_worker(name)
        self.expect_success(cluster, attempts=2)

    def test_same_bits_after_any_mix_of_kills(self):
        """kill -9, or SIGSTOP and later SIGCONT, of ranks, supervisors and the coordinator."""
        measure = self.undisturbed(MIX_STEPS)
        draw = random.Random(SEED)
        cluster = programs.Cluster(self.directory, workers=3, flags=IMPATIENT)
        self.addCleanup(cluster.close)
        self.create(cluster, overrides=[f"training.steps={MIX_STEPS}"])
        done = []
        steps = sorted(draw.randrange(1, MIX_STEPS - 50) for _ in FAULTS)
        for step, fault in zip(steps, draw.sample(FAULTS, len(FAULTS))):
            if draw.random() < 0.75:  # else while the attempt before is still being lost, or begins
                self.wait_for_step(step)
            self.pass_time(draw.uniform(0, 0.3))
            self.assertLess(programs.last_step(self.output), MIX_STEPS, f"over too soon: {done}")
            done.append(self.disturb(cluster, draw, fault == "stop"))
        from birkhoff.v1 import job_pb2
        events = self.watch_to_end(cluster)
        last = events[-1].state_changed
        story = f"seed {SEED}: {done}: {last.reason.sentence}"
        self.assertEqual(last.state, job_pb2.Job.STATE_SUCCEEDED, story)
        self.assertEqual([event.event_id for event in events], list(range(1, len(events) + 1)))
        self.expect_same_result(measure, MIX_STEPS)
        print(f"figure {KILLS} kills and {len(done) - KILLS} stops, seed {SEED}: "
              f"{events[-1].attempt} attempts, {MIX_STEPS} steps, the same bits")

    def pass_time(self, seconds):
        """For so long, or until ten steps have been taken, so that a fast machine is not done."""
        end, step = time.monotonic() + seconds, programs.last_step(self.output) + 10
        wait_for(lambda: time.monotonic() > end or programs.last_step(self.output) > step, "time")

    def disturb(self, cluster, draw, stop):
        """One fault; says which.  What was killed is started anew, what was stopped goes on."""
        pause = draw.uniform(0.1, 3.5) if stop else 0  # leases last 1.5 s
        victim = draw.choice(["rank", "rank", "supervisor", "supervisor", "coordinator"])
        name = draw.choice(sorted(cluster.workers))
        if victim == "rank":
            name, pid = wait_for(lambda: self.any_rank(cluster, draw), "a rank")
        elif victim == "supervisor":
            pid = cluster.workers[name].pid
        else:
            name, pid = "birkhoffd", cluster.daemon.pid
        if stop:
            self.send(pid, signal.SIGSTOP)
            self.pass_time(pause)
            self.send(pid, signal.SIGCONT)
            return f"stop {victim} {name} for {pause:.1f} s"
        if victim == "rank":
            self.send(pid, signal.SIGKILL)
        elif victim == "supervisor":
            cluster.workers[name].kill()
            cluster.start_worker(name)
        else:
            cluster.daemon.kill()
            cluster.start_daemon()
        return f"kill {victim} {name}"

    @staticmethod
    def any_rank(cluster, draw):
        ranks = [(name, cluster.rank_of(name)) for name in sorted(cluster.workers)]
        ranks = [(name, pid) for name, pid in ranks if pid is not None]
        return draw.choice(ranks) if ranks else None

    @staticmethod
    def send(pid, number):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass  # it has ended since it was looked up

    def test_run_resumes_after_kill_9(self):
        run = self.start_run(self.output)
        self.wait_for_step(25)
        family = programs.descendants(run.pid)
        self.assertEqual(len(family), 4)  # two workers, each with a rank
        os.killpg(run.pid, signal.SIGKILL)
        self.assertEqual(run.wait(), -signal.SIGKILL)
        wait_for(lambda: not programs.alive(family), "workers and ranks die with the run")
        self.assertLess(programs.last_step(self.output), STEPS)
        again = self.start_run(self.output)
        self.assertEqual(again.wait(), 0, again.said())
        self.expect_same_result()

    def test_run_stops_at_ctrl_c_with_the_line_that_resumes(self):
        self.expect_clean_stop(lambda run: run.signal(signal.SIGINT))

    def test_run_stops_likewise_when_its_terminal_is_closed(self):
        """SIGHUP goes to everything that belongs to the terminal."""
        self.expect_clean_stop(lambda run: os.killpg(run.pid, signal.SIGHUP))

    def expect_clean_stop(self, stop):
        run = self.start_run(self.output)
        self.wait_for_step(25)
        stop(run)
        self.assertEqual(run.wait(), 75, run.said())
        stopped_at = programs.last_step(self.output)
        self.assertLess(stopped_at, STEPS)
        checkpoint = self.output / "checkpoints" / f"step-{stopped_at:08}"
        self.assertTrue((checkpoint / "manifest.json").exists(), run.said())
        line = run.said().splitlines()[-1].partition("to go on: ")[2]
        again = programs.Program(programs.words_of(line), self.directory / "again.log", self.root)
        self.addCleanup(again.kill)
        self.assertEqual(again.wait(), 0, again.said())
        self.expect_same_result()


if __name__ == "__main__":
    unittest.main(verbosity=2)
