"""Odd surroundings that others' programs have had trouble with: limits, closed streams, signals,
disks, stores, addresses.  Each case is one process, and what must come out of it: its exit code, and
words that name the thing.  docs/odd-inputs.md says where they come from.
"""
import os
import pathlib
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import unittest

import programs

SPEC = "name: odd\ndata: {train: text}\n"
DAEMON = ["birkhoffd", "--listen", "127.0.0.1:0", "--metrics-listen", "", "--page-listen", ""]


def limit(kind, value):
    return lambda: resource.setrlimit(kind, (value, value))


def close(*descriptors):
    def run():
        for descriptor in descriptors:
            os.close(descriptor)
    return run


def ignore(number):
    return lambda: signal.signal(number, signal.SIG_IGN)


class OddProcessTest(unittest.TestCase):
    def setUp(self):
        self.at = pathlib.Path(tempfile.mkdtemp(prefix="birkhoff-odd-"))
        self.addCleanup(shutil.rmtree, self.at, ignore_errors=True)
        (self.at / "text.txt").write_text("once upon a time " * 4000)
        (self.at / "job.yaml").write_text(SPEC)

    def start(self, words, before=None, cwd=None, env=None):
        process = subprocess.Popen([programs.BIN / words[0], *map(str, words[1:])],
                                   cwd=cwd or self.at, preexec_fn=before, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env={**os.environ, **(env or {})})
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        return process

    def run_once(self, words, code, says, **how):
        process = self.start(words, **how)
        out, err = process.communicate(timeout=programs.DEADLINE)
        self.assertEqual(process.returncode, code, err.decode(errors="replace"))
        self.assertIn(says, (out + err).decode(errors="replace"))

    def tokenize(self, code, says, **how):
        words = ["birkhoff-data", "tokenize", "--input", "text.txt", "--output", "tokens"]
        self.run_once(words, code, says, **how)
        left = sorted(path.name for path in self.at.glob("tokens*"))
        self.assertEqual(left, ["tokens.bin", "tokens.idx"] if code == 0 else [])

    def daemon(self, *flags, before=None, says="grpc on 127.0.0.1:"):
        """One that starts; ended by SIGTERM."""
        process = self.start([*DAEMON, *flags], before=before)
        line = process.stdout.readline().decode()
        self.assertIn(says, line, line or process.stderr.read().decode())
        process.terminate()
        self.assertEqual(process.wait(programs.DEADLINE), 0)

    # --- limits ---

    def test_a_file_size_limit_is_a_full_disk_and_leaves_nothing(self):
        self.tokenize(71, "File too large", before=limit(resource.RLIMIT_FSIZE, 10_000))

    def test_a_file_size_limit_of_the_store_is_said(self):
        self.run_once([*DAEMON, "--store", "s.db"], 71, "job store: ",
                      before=limit(resource.RLIMIT_FSIZE, 4096))

    def test_too_few_descriptors_are_said(self):
        self.tokenize(71, "Too many open files", before=limit(resource.RLIMIT_NOFILE, 4))

    def test_no_core_and_no_stack_to_speak_of(self):
        self.tokenize(0, "training tokens", before=limit(resource.RLIMIT_STACK, 1 << 20))

    def test_too_little_memory_is_an_error_of_the_machine(self):
        (self.at / "text.txt").write_text("word " * 20_000_000)
        self.tokenize(71, "there is no more memory", before=limit(resource.RLIMIT_AS, 300 << 20))

    def test_a_path_of_the_cpu_that_is_none_is_named(self):
        self.run_once(["birkhoff-worker"], 64, "BIRKHOFF_CPU_PRODUCTS=mkl: need onednn or openblas",
                      env={"BIRKHOFF_CPU_PRODUCTS": "mkl"})
        self.run_once(["birkhoff-worker"], 64, "BIRKHOFF_CPU_ISA=sse9: need ", env={"BIRKHOFF_CPU_ISA": "sse9"})
        self.run_once(["birkhoff", "version"], 0, "cpu  baseline loops; products: OpenBLAS ",
                      env={"BIRKHOFF_CPU_ISA": "baseline", "BIRKHOFF_CPU_PRODUCTS": "openblas"})

    # --- standard streams ---

    def test_closed_output_is_no_success(self):
        for descriptors in ([1], [1, 2], [0, 1, 2]):
            process = self.start(["birkhoff", "version"], before=close(*descriptors))
            self.assertEqual(process.wait(programs.DEADLINE), 71, descriptors)

    def test_closed_streams_are_not_written_into_files(self):
        process = self.start(["birkhoff-data", "tokenize", "--input", "text.txt", "nowhere.txt",
                              "--output", "tokens"], before=close(0, 1, 2))
        self.assertEqual(process.wait(programs.DEADLINE), 64)
        self.assertEqual(list(self.at.glob("tokens*")), [])
        (self.at / "nowhere.txt").write_text("y")
        process = self.start(["birkhoff-data", "tokenize", "--input", "text.txt", "--output",
                              "tokens"], before=close(0, 1, 2))
        process.wait(programs.DEADLINE)
        expected = b"".join(bytes((letter, 0)) for letter in (self.at / "text.txt").read_bytes())
        self.assertEqual((self.at / "tokens.bin").read_bytes(), expected + b"\x00\x01")

    def test_a_full_output_is_no_success(self):
        with open("/dev/full", "wb") as full:
            code = subprocess.run([programs.BIN / "birkhoff", "explain"], stdout=full,
                                  stderr=subprocess.PIPE, check=False).returncode
        self.assertEqual(code, 71)

    def test_a_reader_that_goes_ends_the_writer_quietly(self):
        process = self.start(["birkhoff", "plan", "--text", "job.yaml"])
        process.stdout.read(10)
        process.stdout.close()
        self.assertEqual(process.stderr.read(), b"")
        self.assertEqual(process.wait(programs.DEADLINE), -signal.SIGPIPE)

    def test_a_job_file_may_come_through_a_pipe(self):
        process = subprocess.run([programs.BIN / "birkhoff", "validate", "--spec-only",
                                  "/dev/stdin"], input=SPEC.encode(), capture_output=True,
                                 check=False)
        self.assertEqual(process.returncode, 0, process.stderr.decode())

    # --- surroundings ---

    def test_a_folder_that_is_gone_harms_no_absolute_path(self):
        gone = self.at / "gone"
        gone.mkdir()
        self.run_once(["birkhoff", "validate", "--spec-only", self.at / "job.yaml"], 0, "valid",
                      before=gone.rmdir, cwd=gone)

    def test_nothing_in_the_environment(self):
        for env in ({"HOME": "", "PATH": "", "TMPDIR": "/nowhere"}, {"LC_ALL": "xx", "TZ": "bogus"},
                    {"LC_ALL": "de_DE.UTF-8", "LC_NUMERIC": "de_DE.UTF-8"}):
            self.run_once(["birkhoff", "validate", "--spec-only", "job.yaml"], 0, "1.97 M",
                          env=env)

    def test_a_folder_for_output_is_made(self):
        self.run_once(["birkhoff-data", "tokenize", "--input", "text.txt", "--output", "a/b/t"], 0,
                      "training tokens")

    def test_outputs_that_are_no_names(self):
        for output in ("", "x/", "/"):
            self.run_once(["birkhoff-data", "tokenize", "--input", "text.txt", "--output", output],
                          64, "need the name of a file that is made")
        self.run_once(["birkhoff-data", "tokenize", "--input", "text.txt", "--output", "/proc/t"],
                      64, "/proc/t.bin.part: open: ")
        self.run_once(["birkhoff-data", "tokenize", "--input", "text.txt", "--output",
                       "text.txt/t"], 64, "Not a directory")

    # --- signals ---

    def test_a_daemon_ends_cleanly_on_each_signal_that_asks(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process = self.start([*DAEMON, "--store", ":memory:"])
            process.stdout.readline()
            process.send_signal(number)
            self.assertEqual(process.wait(programs.DEADLINE), 0, number)

    def test_a_daemon_under_nohup_outlives_its_terminal(self):
        process = self.start([*DAEMON, "--store", ":memory:"], before=ignore(signal.SIGHUP))
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGWINCH)
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGURG)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(programs.DEADLINE), 0)

    def test_an_idle_worker_ends_on_each_signal_that_asks(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process = self.start(["birkhoff-worker", "--coordinator", "127.0.0.1:1"])
            self.assertIn(b" device ", process.stderr.readline())
            self.assertIn(b"coordinator 127.0.0.1:1: ", process.stderr.readline())
            process.send_signal(number)
            self.assertEqual(process.wait(programs.DEADLINE), 0, number)

    # --- stores ---

    def test_a_store_is_a_file_of_its_own(self):
        (self.at / "notes.txt").write_text("x")
        (self.at / "long.txt").write_text("my notes\n" * 1000)
        with sqlite3.connect(self.at / "other.db") as other:
            other.execute("CREATE TABLE mine (a)")
        other.close()
        for path in ("notes.txt", "long.txt", "other.db"):
            before = (self.at / path).read_bytes()
            self.run_once([*DAEMON, "--store", path], 64, f"job store {path} is a file of another")
            self.assertEqual((self.at / path).read_bytes(), before)
        self.run_once([*DAEMON, "--store", ""], 64, "need the path of a file (--store)")

    def test_stores_that_cannot_be(self):
        (self.at / "folder").mkdir()
        for path in ("folder", "/proc/s.db", "job.yaml/s.db"):
            self.run_once([*DAEMON, "--store", path], 71, "job store: ")

    def test_stores_that_can(self):
        (self.at / "empty.db").touch()
        (self.at / "link.db").symlink_to(self.at / "linked.db")
        for path in ("empty.db", "link.db", "empty.db", ":memory:", "ä b%20.db"):
            self.daemon("--store", path)

    def test_a_newer_store_is_left_alone(self):
        with sqlite3.connect(self.at / "s.db") as store:
            store.execute("PRAGMA user_version = 999")
        store.close()
        self.run_once([*DAEMON, "--store", "s.db"], 64, "has format 999")

    # --- addresses and names ---

    def test_addresses_of_the_daemon(self):
        for address in ("", "127.0.0.1", "127.0.0.1:", ":0", "127.0.0.1:x", "127.0.0.1:-1",
                        "127.0.0.1:65536", "[::1:0"):
            self.run_once(["birkhoffd", "--listen", address, "--store", ":memory:"], 64,
                          f"--listen: '{address}' is not allowed; need HOST:PORT")
        for address in ("0.0.0.0:0", "[::]:0", "nohost.invalid:0"):
            self.run_once(["birkhoffd", "--listen", address, "--store", ":memory:"], 64,
                          "need a loopback address, or --allow-plaintext")

    def test_a_port_that_is_taken(self):
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            self.run_once(["birkhoffd", "--listen", f"127.0.0.1:{port}", "--store", ":memory:"],
                          71, "is another program using the port?")

    def test_times_of_the_daemon(self):
        for heartbeat, lease in (("0", "5"), ("-1", "5"), ("inf", "5"), ("1s", "5"), ("1e-3", "5"),
                                 ("4000", "86400"), ("3", "5"), ("nan", "5"), ("1", "nan")):
            self.run_once(["birkhoffd", "--store", ":memory:", "--heartbeat-seconds", heartbeat,
                           "--lease-seconds", lease], 64, "-seconds: ")

    def test_names_of_a_worker(self):
        for name in ("a b", "a/b", "x" * 300, "ä", "a\nb", "-", ".", "\x1b[31m"):
            self.run_once(["birkhoff-worker", "--name", name], 64, "--name: '")

    def test_devices_and_memory_of_a_worker(self):
        for device in ("tpu", "cuda:-1", "cuda:x", "cpu:1", "", "CPU"):
            self.run_once(["birkhoff-worker", "--device", device], 64, "need auto, cpu, cuda")
        for memory in ("-1", "lots", "99999999999999999999"):
            self.run_once(["birkhoff-worker", "--memory-bytes", memory], 64, "--memory-bytes")


if __name__ == "__main__":
    unittest.main(verbosity=2)
