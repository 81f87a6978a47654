"""The contract between manifests and programs: drains, evictions, kills, lost nodes, restarts and exit codes, emulated as
pods.py says, on the committed renders.  Training goes on and ends with the same bits as a run that nobody disturbed.
"""
import pathlib
import shutil
import signal
import tempfile
import unittest
import uuid

import grpc

import pods
import programs
from kill_test import IMPATIENT, SPEC, STEPS, result_of
from programs import wait_for


class PodTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = pathlib.Path(tempfile.mkdtemp(prefix="birkhoff-pods-"))
        cls.addClassCleanup(shutil.rmtree, cls.root, ignore_errors=True)
        programs.import_stubs(programs.make_stubs(cls.root, programs.bash_command()))
        (cls.root / "job.yaml").write_text(SPEC.format(data=programs.make_text(cls.root), steps=STEPS))
        cls.yaml = SPEC.format(data="data/text", steps=STEPS)  # on the workers' volume
        output = cls.root / "undisturbed"
        run = programs.Program([programs.BIN / "birkhoff", "run", cls.root / "job.yaml", "--out", output],
                               cls.root / "undisturbed.log", cls.root)
        cls.addClassCleanup(run.kill)
        if run.wait() != 0:
            raise AssertionError(run.said())
        cls.measure = result_of(output)

    # --- arranging ---

    def setUp(self):
        self.cluster = pods.Cluster(pods.make_room(self.root / self.id().rpartition(".")[2]))
        self.addCleanup(self.cluster.close)
        work = self.cluster.claim("birkhoff-work")
        self.output = work / "out"
        (work / "data").mkdir()
        for path in self.root.glob("text.*"):
            shutil.copy(path, work / "data")
        self.start_coordinator()

    def start_coordinator(self):
        """The StatefulSet's one pod, at the address of its Service."""
        load = pods.workload(pods.render("dev"), "coordinator")
        load.containers()[0]["args"] += [f"{flag}={value}" for flag, value in zip(IMPATIENT[::2], IMPATIENT[1::2])]
        address = self.cluster.services.setdefault("birkhoff-coordinator", self.cluster.new_address())
        self.coordinator = pods.Pod(self.cluster, load, "birkhoff-coordinator-0", "node-c", address=address)
        self.coordinator.wait_until_ready()

    def start_workers(self, stop_grace=None):
        """The Job inside of a JobSet, as it stands."""
        load = pods.workload(pods.render("jobset-kueue"), "worker")
        if stop_grace is not None:
            pods.set_flag(load, "--stop-grace-seconds", stop_grace)
        workers = pods.JobController(self.cluster, load)
        for pod in workers.pods.values():
            pod.wait_until_ready()
        return workers

    def start_pool(self):
        """The StatefulSet of the pool: pods that are restarted in place."""
        load = pods.workload(pods.render("dev"), "worker")
        pool = [pods.Pod(self.cluster, load, f"birkhoff-workers-{n}", f"node-{n}") for n in range(load.document["spec"]["replicas"])]
        for pod in pool:
            pod.wait_until_ready()
        return pool

    def submit(self, yaml=None):
        from birkhoff.v1 import job_service_pb2 as messages
        from birkhoff.v1 import job_service_pb2_grpc as services
        channel = grpc.insecure_channel(f"{self.coordinator.address}:7443")
        self.addCleanup(channel.close)
        self.jobs = services.JobServiceStub(channel)
        self.jobs.CreateJob(messages.CreateJobRequest(request_id=str(uuid.uuid4()), yaml=yaml or self.yaml,
                                                      output_directory=str(self.output)),
                            wait_for_ready=True, timeout=programs.DEADLINE)

    def job(self):
        from birkhoff.v1 import job_service_pb2 as messages
        return self.jobs.GetJob(messages.GetJobRequest(name="jobs/kill"), wait_for_ready=True, timeout=programs.DEADLINE).job

    def wait_for_step(self, step):
        wait_for(lambda: programs.last_step(self.output) >= step, f"step {step}")

    # --- judging ---

    def expect_complete(self, workers, failures):
        """All pods end with 0: the Job is complete, and the result is that of the run that nobody disturbed."""
        codes = {index: pod.end() for index, pod in workers.pods.items()}
        self.assertEqual(codes, {index: 0 for index in codes}, [pod.program.said() for pod in workers.pods.values()])
        for pod in list(workers.pods.values()):
            workers.ended(pod, 0)
        self.assertEqual(workers.condition, "Complete")
        self.assertEqual(workers.failures, failures)
        self.expect_same_result()

    def expect_same_result(self):
        tensors, rows = result_of(self.output)
        self.assertEqual([row["step"] for row in rows], list(range(1, STEPS + 1)))
        self.assertEqual(rows, self.measure[1])
        self.assertEqual(tensors, self.measure[0])

    def wait_for_success(self):
        from birkhoff.v1 import job_pb2
        wait_for(lambda: self.job().state == job_pb2.Job.STATE_SUCCEEDED, "the job succeeds")
        self.expect_same_result()

    def expect_grpc(self, pod, **answers):
        """gRPC's health service is told from a thread: soon."""
        wait_for(lambda: {service: pod.grpc_answers(service) for service in answers} == answers, f"{pod.name}: {answers}")

    # --- tests ---

    def test_a_drained_worker_commits_a_checkpoint_within_its_grace_and_does_not_count(self):
        workers = self.start_workers()
        self.submit()
        self.wait_for_step(25)
        drained = workers.pods[0]
        code = drained.evict()
        self.assertEqual(code, 75, drained.program.said())
        stopped_at = programs.last_step(self.output)
        self.assertTrue((self.output / "checkpoints" / f"step-{stopped_at:08}" / "manifest.json").exists())
        self.assertEqual(workers.ended(drained, code), "Ignore")
        self.expect_complete(workers, failures=0)

    def test_both_workers_evicted_at_once_go_on_elsewhere(self):
        workers = self.start_workers()
        self.submit()
        self.wait_for_step(25)
        evicted = list(workers.pods.values())
        for pod in evicted:
            pod.disrupted = True
            pod.program.signal(signal.SIGTERM)
        codes = [pod.end() for pod in evicted]
        self.assertEqual(codes, [75, 75], [pod.program.said() for pod in evicted])
        self.assertEqual([workers.ended(pod, code) for pod, code in zip(evicted, codes)], ["Ignore", "Ignore"])
        self.expect_complete(workers, failures=0)

    def test_a_worker_that_the_kernel_kills_counts_and_is_replaced(self):
        workers = self.start_workers()
        self.submit()
        self.wait_for_step(25)
        killed = workers.pods[1]
        code = killed.kill()
        self.assertEqual(code, 137)
        self.assertEqual(workers.ended(killed, code), "Count")
        self.expect_complete(workers, failures=1)

    def test_a_worker_of_a_lost_node_is_replaced_and_its_ghost_is_fenced(self):
        workers = self.start_workers()
        self.submit()
        self.wait_for_step(25)
        lost = workers.pods[0]
        # Nothing is heard of the node any more, and it has not stopped.
        family = [lost.program.pid, *programs.descendants(lost.program.pid)]
        for pid in family:
            programs.os.kill(pid, signal.SIGSTOP)
        lost.disrupted = True  # the taint's eviction, once its tolerationSeconds are over
        self.assertEqual(workers.ended(lost, 137), "Ignore")
        self.wait_for_step(30)
        for pid in reversed(family):
            programs.os.kill(pid, signal.SIGCONT)
        code = lost.end()
        self.assertEqual(code, 72, lost.program.said())
        self.assertEqual(workers.action(lost, code), "Ignore")
        self.expect_complete(workers, failures=0)

    def test_a_worker_that_cannot_stop_in_time_loses_no_checkpoint(self):
        workers = self.start_workers(stop_grace=3)
        self.submit()
        self.wait_for_step(25)
        self.coordinator.kill()  # nobody commits
        stopped = workers.pods[0]
        self.assertEqual(stopped.grpc_answers("liveness"), 1)
        stopped.disrupted = True
        stopped.program.signal(signal.SIGTERM)
        wait_for(lambda: stopped.answers("readinessProbe") == (False, "stopping\n"), "it is not ready")
        self.assertTrue(stopped.answers("livenessProbe")[0], "it drains")
        code = stopped.end()
        self.assertEqual(code, 71, stopped.program.said())
        self.assertEqual(workers.action(stopped, code), "Ignore", "it was a disruption")
        workers.ended(stopped, code)
        self.start_coordinator()
        self.expect_complete(workers, failures=0)

    def test_an_idle_worker_that_is_evicted_has_not_done_its_job(self):
        workers = self.start_workers()
        idle = workers.pods[0]
        code = idle.evict()
        self.assertEqual(code, 75)
        self.assertEqual(workers.ended(idle, code), "Ignore")
        self.assertEqual(workers.succeeded, set())

    def test_a_job_that_can_never_work_fails_at_once(self):
        workers = self.start_workers()
        self.submit(self.yaml.replace("data/text", "data/nowhere"))
        for pod in list(workers.pods.values()):
            code = pod.end()
            self.assertEqual(code, 64, pod.program.said())
            self.assertEqual(workers.ended(pod, code), "FailJob")
        self.assertEqual(workers.condition, "Failed: PodFailurePolicy")

    def test_numbers_that_go_bad_fail_the_job(self):
        workers = self.start_workers()
        self.submit(self.yaml + "optimizer: {lr: 1000, weight_decay: 1}\nstability: {max_skipped_steps: 3}\n")
        for pod in list(workers.pods.values()):
            code = pod.end()
            self.assertEqual(code, 73, pod.program.said())
            self.assertEqual(workers.ended(pod, code), "FailJob")

    def test_infrastructure_counts_until_the_limit(self):
        workers = self.start_workers()
        taken = workers.pods[0]
        load = pods.workload(pods.render("jobset-kueue"), "worker")
        second = pods.Pod(self.cluster, load, "second", "node-2", index=2, address=taken.address)
        code = second.end()
        self.assertEqual(code, 71, second.program.said())
        self.assertEqual(workers.action(second, code), "Count")
        workers.failures = workers.job["backoffLimit"]
        self.assertEqual(workers.ended(second, code), "Count")
        self.assertEqual(workers.condition, "Failed: BackoffLimitExceeded")

    def test_a_coordinator_that_is_rolled_keeps_its_store_and_training_goes_on(self):
        workers = self.start_workers()
        self.submit()
        self.wait_for_step(12)
        self.assertEqual(self.coordinator.terminate(), 0, self.coordinator.program.said())
        store = self.cluster.claim("store-birkhoff-coordinator-0")
        self.assertTrue((store / "birkhoff.db").exists(), "on the claim")
        self.assertFalse((store / "birkhoff.db-wal").exists(), "closed")
        self.start_coordinator()
        self.assertEqual(self.job().attempt, 1)
        self.expect_complete(workers, failures=0)

    def test_a_stuck_worker_of_the_pool_fails_its_liveness_and_is_restarted(self):
        pool = self.start_pool()
        self.submit()
        self.wait_for_step(25)
        stuck = pool[0]
        stuck.container["livenessProbe"]["timeoutSeconds"] = 0.2
        self.assertTrue(stuck.answers("livenessProbe")[0])
        stuck.program.signal(signal.SIGSTOP)
        stuck.fail_liveness()
        self.assertEqual(stuck.kill(), 137)
        stuck.restart()
        stuck.wait_until_ready()
        self.wait_for_success()

    def test_a_pool_worker_that_is_rolled_comes_back_under_its_name(self):
        pool = self.start_pool()
        self.submit()
        self.wait_for_step(25)
        self.assertEqual(pool[1].terminate(), 75, pool[1].program.said())
        pool[1].restart()
        self.wait_for_success()

    def test_a_worker_is_ready_while_it_is_registered_and_alive_all_the_time(self):
        pool = self.start_pool()
        self.coordinator.kill()
        wait_for(lambda: pool[0].answers("readinessProbe") == (False, "the coordinator is away\n"), "it is not ready")
        self.assertEqual(pool[0].answers("livenessProbe"), (True, "ok\n"))
        self.expect_grpc(pool[0], startup=1, readiness=2, liveness=1)
        self.start_coordinator()
        pool[0].wait_until_ready()
        for pod in (self.coordinator, *pool):
            self.expect_grpc(pod, startup=1, readiness=1, liveness=1)

    def test_whatever_a_health_port_is_asked_the_program_lives(self):
        for pod in (self.coordinator, *self.start_pool()):
            for words in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /livez/../.. HTTP/1.0\r\n\r\n", b"no request\r\n\r\n",
                          b"GET /" + b"x" * 100_000 + b" HTTP/1.0\r\n\r\n", b"POST /livez HTTP/1.0\r\n\r\n"):
                self.assertFalse(pod.say(words).startswith(b"HTTP/1.1 200"), words)
            self.assertEqual(pod.answers("livenessProbe"), (True, "ok\n"), pod.program.said())


if __name__ == "__main__":
    unittest.main(verbosity=2)
