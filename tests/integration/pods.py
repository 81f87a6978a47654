"""An emulation of what Kubernetes promises about pods, from the committed renders, with the programs as real processes.

There is no kubelet here: this is written from the documented behaviour.  A pod is the process of its one container, with an
address of its own on loopback, so that ports are those of the manifest; a volume is a directory; a node is a set of pods that
can be lost at once.  Probes, grace, restarts and podFailurePolicy are taken from the manifest.
"""
import copy
import errno
import itertools
import os
import pathlib
import re
import shutil
import signal
import socket
import sys
import tempfile
import urllib.error
import urllib.request

import grpc

import programs
from programs import wait_for

sys.path.append(str(programs.SOURCE / "deploy" / "tests"))
import manifests  # noqa: E402
import policy  # noqa: E402

HOST = "127.{}.{}".format(1 + os.getpid() // 250 % 250, 1 + os.getpid() % 250)  # tests run beside each other


def render(name):
    return manifests.parse((manifests.RENDERS / f"{name}.yaml").read_text())


def workload(documents, component):
    """A copy that a test may change."""
    return copy.deepcopy(next(load for load in manifests.workloads(documents) if load.component == component))


def set_flag(load, flag, value):
    """Replaces the value of one argument of the first container."""
    args = load.containers()[0]["args"]
    places = [place for place, argument in enumerate(args) if argument.startswith(f"{flag}=")]
    args[places[0]] = f"{flag}={value}"


class Cluster:
    """Volumes that stay, addresses, and the names of Services."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.numbers = itertools.count(1)
        self.services = {}  # name: address
        self.pods = []

    def new_address(self):
        return f"{HOST}.{next(self.numbers)}"

    def claim(self, name):
        """The directory of a PersistentVolumeClaim: the same for every pod that names it."""
        path = self.directory / "claims" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def close(self):
        for pod in self.pods:
            pod.program.kill()


class Pod:
    """One pod of a workload; `node` is only a name."""

    def __init__(self, cluster, load, name, node, index=None, address=None):
        self.cluster, self.load, self.name, self.node, self.index = cluster, load, name, node, index
        self.address = address or cluster.new_address()
        self.disrupted = False
        self.container = load.containers(init=False)[0]
        self.empty = pathlib.Path(tempfile.mkdtemp(dir=cluster.directory))
        self.start()
        cluster.pods.append(self)

    def start(self):
        words = [programs.BIN / policy.program(self.container), *map(self.resolve, self.container["args"])]
        self.program = programs.Program(["env", *self.variables(), *words], self.cluster.directory / f"{self.name}.log",
                                        self.working_directory())

    # --- what the manifest says, for this machine ---

    def volume(self, name):
        for volume in self.load.pod.get("volumes", []):
            if volume["name"] == name and "persistentVolumeClaim" in volume:
                return self.cluster.claim(volume["persistentVolumeClaim"]["claimName"])
            if volume["name"] == name:
                (self.empty / name).mkdir(exist_ok=True)
                return self.empty / name
        return self.cluster.claim(f"{name}-{self.name}")  # of a volumeClaimTemplate

    def mounts(self):
        return {mount["mountPath"]: self.volume(mount["name"]) for mount in self.container["volumeMounts"]}

    def working_directory(self):
        return self.mounts().get(self.container.get("workingDir"), self.empty)

    def environment(self):
        fields = {"status.podIP": self.address, "metadata.name": self.name,
                  "metadata.labels['batch.kubernetes.io/job-name']": self.load.document["metadata"]["name"],
                  "metadata.annotations['batch.kubernetes.io/job-completion-index']": str(self.index)}
        found = {}
        for variable in self.container.get("env", []):
            source = variable.get("valueFrom", {})
            if "fieldRef" in source:
                found[variable["name"]] = fields[source["fieldRef"]["fieldPath"]]
            elif "resourceFieldRef" in source:
                found[variable["name"]] = str(policy.quantity(self.container["resources"]["limits"]["memory"]))
            else:
                found[variable["name"]] = variable["value"]
        return found

    def variables(self):
        return [f"{name}={value}" for name, value in self.environment().items()]

    def resolve(self, argument):
        """Variables, mounted paths, all addresses of the pod, and names of Services."""
        argument = re.sub(r"\$\((\w+)\)", lambda match: self.environment()[match.group(1)], argument)
        flag, _, value = argument.partition("=")
        for path, folder in self.mounts().items():
            if f"{value}/".startswith(f"{path}/"):
                argument = f"{flag}={folder}{value.removeprefix(path)}"
        argument = argument.replace("=0.0.0.0:", f"={self.address}:")
        for service, address in self.cluster.services.items():
            argument = argument.replace(f"={service}:", f"={address}:")
        return argument

    # --- what the kubelet does ---

    def answers(self, probe):
        """Whether a probe of the manifest succeeds now; its answer beside it."""
        request = self.container[probe]["httpGet"]
        port = self.load.ports()[request["port"]]
        try:
            with urllib.request.urlopen(f"http://{self.address}:{port}{request['path']}",
                                        timeout=self.container[probe].get("timeoutSeconds", 1)) as answer:
                return True, answer.read().decode()
        except urllib.error.HTTPError as error:
            return False, error.read().decode()
        except OSError as error:
            return False, str(error)

    def say(self, words):
        """Bytes to the health port; what comes back, if it listens to their end."""
        with socket.create_connection((self.address, self.load.ports()["health"]), timeout=programs.DEADLINE) as connection:
            try:
                connection.sendall(words)
                connection.shutdown(socket.SHUT_WR)
                return b"".join(iter(lambda: connection.recv(4096), b""))
            except OSError as error:
                if error.errno not in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN):
                    raise
                return b""

    def grpc_answers(self, service):
        """What a gRPC probe of the service hears: 1 SERVING, 2 NOT_SERVING."""
        with grpc.insecure_channel(f"{self.address}:{self.load.ports()['health-grpc']}") as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check", lambda text: bytes([10, len(text)]) + text, bytes)
            return check(service.encode(), timeout=5, wait_for_ready=True)[1]

    def wait_until_ready(self):
        for probe in ("startupProbe", "readinessProbe"):
            self.wait_for_probe(probe)

    def wait_for_probe(self, probe):
        """Fails at once when the program has ended, with its words in any case."""
        heard = None

        def succeeds():
            nonlocal heard
            heard = self.answers(probe)
            if not heard[0] and self.program.process.poll() is not None:
                raise AssertionError(f"{self.name} has ended: {self.program.said()}")
            return heard[0]

        wait_for(succeeds, lambda: f"{self.name}: {probe}: {heard}; it said: {self.program.said()}")

    def fail_liveness(self):
        """Probes until so many have failed in a row that a kubelet gives the container up."""
        failures = 0

        def given_up():
            nonlocal failures
            failures = 0 if self.answers("livenessProbe")[0] else failures + 1
            return failures == self.container["livenessProbe"]["failureThreshold"]

        wait_for(given_up, f"{self.name} fails its liveness")

    def terminate(self):
        """SIGTERM, the grace of the manifest, SIGKILL; returns the exit code as Kubernetes shows it."""
        self.program.signal(signal.SIGTERM)
        grace = self.load.pod.get("terminationGracePeriodSeconds", 30)
        try:
            return self.code(self.program.process.wait(grace))
        except programs.subprocess.TimeoutExpired:
            return self.kill()

    def evict(self):
        """A drain, a preemption, a taint: the pod gets the condition DisruptionTarget first."""
        self.disrupted = True
        return self.terminate()

    def kill(self):
        self.program.kill()
        return self.code(self.program.process.returncode)

    def end(self):
        return self.code(self.program.wait())

    @staticmethod
    def code(returned):
        return 128 - returned if returned < 0 else returned

    def restart(self):
        """In place, as restartPolicy Always does: volumes and address stay."""
        self.start()


class JobController:
    """Pods of an Indexed Job, and what its podFailurePolicy makes of their ends."""

    def __init__(self, cluster, load):
        self.cluster, self.load, self.job = cluster, load, load.job
        self.lives = itertools.count()
        self.pods = {}
        self.succeeded, self.failures, self.condition = set(), 0, None
        for index in range(self.job["parallelism"]):
            self.create(index)

    def create(self, index, node=None):
        name = f"{self.load.document['metadata']['name']}-{index}-{next(self.lives)}"
        self.pods[index] = Pod(self.cluster, self.load, name, node or f"node-{index}", index)
        return self.pods[index]

    def action(self, pod, code):
        """The first rule that matches; none: Count."""
        for rule in self.job["podFailurePolicy"]["rules"]:
            on_codes = rule.get("onExitCodes")
            if on_codes is not None and code in on_codes["values"]:
                return rule["action"]
            wanted = [condition["type"] for condition in rule.get("onPodConditions", [])]
            if pod.disrupted and "DisruptionTarget" in wanted:
                return rule["action"]
        return "Count"

    def ended(self, pod, code):
        """Takes note of a pod's end; returns what was decided.  The pod that replaces it is in self.pods."""
        if code == 0:
            self.succeeded.add(pod.index)
            if len(self.succeeded) == self.job["completions"]:
                self.condition = "Complete"
            return "Succeeded"
        action = self.action(pod, code)
        if action == "FailJob":
            self.condition = "Failed: PodFailurePolicy"
            return action
        if action == "Count":
            self.failures += 1
            if self.failures > self.job["backoffLimit"]:
                self.condition = "Failed: BackoffLimitExceeded"
                return action
        self.create(pod.index, node=f"{pod.node}-next")
        return action


def make_room(path):
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path
