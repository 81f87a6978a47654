"""The programs as users start them: a coordinator, workers, text, stubs.  For the tests beside it.

Everything started here dies with the test process, however that ends.
"""
import json
import os
import pathlib
import random
import shlex
import signal
import subprocess
import sys
import threading
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ["BIRKHOFF_BIN"]).resolve()
DEADLINE = 60.0  # seconds, for anything that is waited for


def wait_for(condition, what, deadline=DEADLINE):
    """Polls until condition() is true and returns its value; `what` is a text, or what gives it at the end."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline} s: {what() if callable(what) else what}")
        threading.Event().wait(0.005)


def make_text(directory):
    """Writes a text of repeating words and its token file; returns the path for data.train."""
    draw = random.Random(7)
    words = ["".join(draw.choices("aeiounrst", k=draw.randint(2, 7))) for _ in range(50)]
    text = directory / "text.txt"
    text.write_text(" ".join(draw.choices(words, k=6000)))
    subprocess.run([BIN / "birkhoff", "data", "tokenize", "--input", text, "--output",
                    directory / "text"], check=True, capture_output=True)
    return directory / "text"


def make_stubs(directory, command):
    """Runs the protoc command of docs/protocol.md; returns the folder to import from."""
    (directory / "proto").symlink_to(SOURCE / "proto")
    subprocess.run(["bash", "-euc", command], cwd=directory, check=True)
    return directory / "stubs"


def bash_command():
    """The command in docs/protocol.md that makes stubs."""
    return fenced_block("bash")


def fenced_block(language):
    """The one fenced block of that language in docs/protocol.md, verbatim."""
    blocks = (SOURCE / "docs" / "protocol.md").read_text().split(f"```{language}\n")[1:]
    if len(blocks) != 1:
        raise AssertionError(f"docs/protocol.md has {len(blocks)} {language} blocks; need one")
    return blocks[0].split("```")[0]


def import_stubs(directory):
    """Makes birkhoff.v1 and google.rpc of the stubs importable."""
    import google.protobuf  # the installed google package comes first, and is widened
    sys.path.insert(0, str(directory))
    sys.modules["google"].__path__.append(str(directory / "google"))


def processes():
    """(pid, parent) of everything that lives; zombies do not."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # gone since the listing
        if state not in "ZX":
            found.append((int(entry.name), int(parent)))
    return found


def descendants(pid):
    parents, found = {pid}, []
    table = processes()
    while True:
        children = [child for child, parent in table if parent in parents and child not in found]
        if not children:
            return found
        found += children
        parents = set(children)


def alive(pids):
    living = {pid for pid, _ in processes()}
    return [pid for pid in pids if pid in living]


class Program:
    """One process in its own group, its words in a file."""

    def __init__(self, words, log, cwd, group=0):
        self.log = pathlib.Path(log)
        command = ["setpriv", "--pdeathsig", "KILL", *map(str, words)]
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=out, cwd=cwd, process_group=group)
        self.pid = self.process.pid

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """kill -9, reaped; harmless when it has ended."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE)

    def wait(self):
        return self.process.wait(DEADLINE)

    def said(self):
        return self.log.read_text(errors="replace")


class Cluster:
    """birkhoffd and its workers in one process group, all in `directory`."""

    def __init__(self, directory, workers=2, flags=(), worker_flags=()):
        self.directory = pathlib.Path(directory)
        self.flags = list(flags)
        self.worker_flags = list(worker_flags)
        self.group = 0
        self.address = "127.0.0.1:0"
        self.daemon = None
        self.workers = {}
        self.start_daemon()
        for number in range(workers):
            self.start_worker(f"w{number}")

    def start_daemon(self):
        """The first time on any free port, then on the same; returns when it listens."""
        log = self.directory / "birkhoffd.log"
        before = log.read_text() if log.exists() else ""
        self.daemon = Program(
            [BIN / "birkhoffd", "--listen", self.address, "--metrics-listen", "127.0.0.1:0", "--page-listen", "127.0.0.1:0",
             "--health-listen", "",
             "--store", self.directory / "store.db", *self.flags], log, self.directory, self.group)
        self.group = self.group or self.daemon.pid
        self.address = wait_for(lambda: self.listening_address(len(before)), "birkhoffd listens")

    def listening_address(self, offset):
        for line in self.daemon.said()[offset:].splitlines(keepends=True):
            if line.startswith("birkhoffd: grpc on ") and line.endswith("\n"):
                return line.split()[-1]
        if self.daemon.process.poll() is not None:
            raise AssertionError(f"birkhoffd ended: {self.daemon.said()[offset:]}")
        return None

    def start_worker(self, name, program=BIN / "birkhoff-worker"):
        self.workers[name] = Program(
            [program, "--coordinator", self.address, "--name", name,
             *self.worker_flags],
            self.directory / f"{name}.log", self.directory, self.group)
        return self.workers[name]

    def rank_of(self, name):
        """Process id of the rank that the worker runs now, or None."""
        pids = descendants(self.workers[name].pid)
        return pids[0] if pids else None

    def everything(self):
        programs = [self.daemon, *self.workers.values()]
        pids = [program.pid for program in programs]
        return pids + [pid for program in programs for pid in descendants(program.pid)]

    def kill_group(self):
        """kill -9 of all at once; returns when none lives."""
        pids = self.everything()
        os.killpg(self.group, signal.SIGKILL)
        for program in [self.daemon, *self.workers.values()]:
            program.wait()
        wait_for(lambda: not alive(pids), "the whole group is gone")
        self.group = 0

    def close(self):
        for program in [self.daemon, *self.workers.values()]:
            program.kill()


def rows(output):
    """metrics.jsonl: the whole lines, as they stand now."""
    path = pathlib.Path(output) / "metrics.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True)
            if line.endswith("\n")]


def last_step(output):
    found = rows(output)
    return found[-1]["step"] if found else 0


def words_of(line):
    """A command that a program has printed, with its program found in BIRKHOFF_BIN."""
    program, *arguments = shlex.split(line)
    return [BIN / program, *arguments]
