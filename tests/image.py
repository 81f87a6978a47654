"""Builds the images twice, and runs what is in them as a container runtime would: as user 65532, with a root file system that
is only read, nothing of this machine's but /dev and /proc.

usage: python3 tests/image.py BUILD      as root, or where users may have namespaces; needs buildah
Prints a line for each check and a closing line `N passed, N failed`.
"""
import hashlib
import json
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

SOURCE = pathlib.Path(__file__).resolve().parents[1]
USER = 65532
WRITABLE = {"coordinator": ["tmp", "var/lib/birkhoff"], "worker": ["tmp", "work"]}  # what a pod mounts there
DEADLINE = 120.0
JOB = """
name: image
model: {hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 2, intermediate_size: 64}
data: {train: data/text, tokenizer: bytes}
training: {steps: 3, sequence_length: 32, micro_batch_size: 1, global_batch_size: 4}
lr_schedule: {kind: cosine, warmup_steps: 1}
parallelism: {pipeline_parallel_degree: 2}
"""
failed = passed = 0


def expect(name, holds, why=""):
    global failed, passed
    if holds:
        passed += 1
        print(f"ok      {name}", flush=True)
    else:
        failed += 1
        print(f"FAILED  {name}: {why}", flush=True)


def build(programs, output, umask):
    done = subprocess.run(["bash", SOURCE / "deploy/image/build.sh", "--build", programs, "--output", output],
                          stdout=subprocess.PIPE, text=True, check=True, umask=umask)
    print(done.stdout, end="")
    return [line.split()[1] for line in done.stdout.splitlines()]


class Image:
    """An OCI layout, unpacked."""

    def __init__(self, layout, root):
        self.layout, self.root = layout, root
        digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
        self.manifest = json.loads(self.blob(digest))
        self.config = json.loads(self.blob(self.manifest["config"]["digest"]))
        for layer in self.manifest["layers"]:
            root.mkdir(exist_ok=True)
            subprocess.run(["tar", "--extract", "--numeric-owner", "--same-owner", "--same-permissions", "--gzip",
                            "--file", self.path(layer["digest"]), "--directory", root], check=True)

    def path(self, digest):
        return self.layout / "blobs" / digest.replace(":", "/")

    def blob(self, digest):
        content = self.path(digest).read_bytes()
        assert f"sha256:{hashlib.sha256(content).hexdigest()}" == digest
        return content


def check_content(name, image, sbom):
    config = image.config["config"]
    expect(f"{name}: runs as user {USER}", config["User"] == f"{USER}:{USER}", config)
    labels = {f"org.opencontainers.image.{key}" for key in ("title", "version", "revision", "licenses", "description")}
    expect(f"{name}: labels", labels <= set(config["Labels"]), config["Labels"])
    special, writable, files = [], [], {}
    for folder, folders, names in os.walk(image.root):
        for path in (pathlib.Path(folder) / entry for entry in [*folders, *names]):
            status, where = path.lstat(), str(path.relative_to(image.root))
            if stat.S_ISLNK(status.st_mode):
                continue
            if status.st_mode & (stat.S_ISUID | stat.S_ISGID):
                special.append(where)
            if status.st_uid == USER or status.st_mode & stat.S_IWOTH:
                writable.append(where)
            if stat.S_ISREG(status.st_mode):
                files[f"./{where}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    expect(f"{name}: nothing has the rights of another user", not special, special)
    expect(f"{name}: its user can write where volumes go, and nowhere else",
           sorted(writable) == ["tmp", "var/lib/birkhoff", "work"], writable)
    expect(f"{name}: no shell", not [f for f in files if f.rpartition("/")[2] in {"sh", "bash", "dash", "busybox"}])
    told = {entry["fileName"]: entry["checksums"][1]["checksumValue"] for entry in sbom["files"]}
    inside = json.loads((image.root / "birkhoff/sbom.spdx.json").read_text())
    files.pop("./birkhoff/sbom.spdx.json")
    expect(f"{name}: the SBOM has every file and its hash, and lies in the image", told == files and inside == sbom)


def check_sbom(name, path):
    validator = SOURCE / "build/deploy-checks/bin/pyspdxtools"  # deploy/tests/check.sh fetches it
    if not validator.exists():
        print(f"skipped {name}: whether the SBOM is SPDX 2.3: run deploy/tests/check.sh first")
        return
    told = subprocess.run([validator, "--infile", path], capture_output=True, text=True)
    expect(f"{name}: the SBOM is SPDX 2.3", told.returncode == 0 and not told.stderr, told.stderr[-500:])


class Container:
    """A process with the image as its root, in this mount namespace."""

    def __init__(self, image, words, log):
        entrypoint = words if words[0].startswith("/") else image.config["config"]["Entrypoint"] + words
        self.log = log
        with open(log, "wb") as out:
            self.process = subprocess.Popen(
                [shutil.which("setpriv"), "--no-new-privs", shutil.which("unshare"), f"--root={image.root}", f"--setgid={USER}", f"--setuid={USER}",
                 f"--wd={image.config['config']['WorkingDir']}", *entrypoint],
                env=dict(variable.split("=", 1) for variable in image.config["config"]["Env"]), stdout=out, stderr=out)

    def end(self, number=None):
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(DEADLINE)

    def said(self):
        return self.log.read_text(errors="replace")


def mount(*words):
    subprocess.run(["mount", *map(str, words)], check=True)


def prepare(image, writable):
    """Read only, but for volumes in memory that the pod's fsGroup makes writable."""
    mount("--bind", image.root, image.root)
    mount("--bind", "/dev", image.root / "dev")
    mount("-t", "proc", "proc", image.root / "proc")
    for folder in writable:
        mount("-t", "tmpfs", "-o", f"uid={USER},gid={USER},mode=0770", "volume", image.root / folder)
    mount("-o", "remount,ro,bind", image.root, image.root)


def answers(address):
    try:
        with urllib.request.urlopen(f"http://{address}", timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def wait_for(condition):
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        threading.Event().wait(0.02)
    return None


def address_of(container, what):
    def look():
        for line in container.said().splitlines():
            if what in line:
                return line.split(what)[1].strip()
        return None
    return wait_for(look)


def check_running(images, work):
    coordinator, worker = images["coordinator"], images["worker"]
    for name, image in images.items():
        prepare(image, WRITABLE[name])
    (worker.root / "work/text.txt").write_text("so it went on and on " * 400)
    (worker.root / "work/job.yaml").write_text(JOB)
    for path in ("text.txt", "job.yaml"):
        os.chown(worker.root / "work" / path, USER, USER)
    tokens = Container(worker, ["/birkhoff/bin/birkhoff-data", "tokenize", "--input=text.txt", "--tokenizer=bytes",
                                "--output=data/text"], work / "tokens.log")
    expect("worker image: makes tokens", tokens.end() == 0, tokens.said())
    daemon = Container(coordinator, ["--listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0", "--page-listen", "", "--health-listen=127.0.0.1:0",
                                     "--store=/var/lib/birkhoff/birkhoff.db"], work / "birkhoffd.log")
    server, health = address_of(daemon, "grpc on "), address_of(daemon, "health on http://")
    expect("coordinator image: is ready", bool(health) and answers(health) == 200, daemon.said())
    workers = [Container(worker, [f"--coordinator={server}", f"--name=w{n}", "--device=cpu"], work / f"w{n}.log") for n in range(2)]
    job = Container(worker, ["/birkhoff/bin/birkhoff", f"--server={server}", "submit", "--watch", "--out=run", "job.yaml"],
                    work / "job.log")
    expect("worker image: trains a job", job.end() == 0, job.said() + workers[0].said())
    expect("its checkpoint is on the volume", list((worker.root / "work/run/checkpoints").glob("step-*/manifest.json")))
    text = Container(worker, ["/birkhoff/bin/birkhoff-inference", "generate", "run", "--prompt=so", "--max-tokens=3"], work / "text.log")
    expect("worker image: its weights write text", text.end() == 0, text.said())
    outside = Container(worker, ["/birkhoff/bin/birkhoff-data", "tokenize", "--input=text.txt", "--tokenizer=bytes",
                                 "--output=/birkhoff/text"], work / "outside.log")
    expect("nothing else can be written", outside.end() != 0 and "Read-only file system" in outside.said(), outside.said())
    status = pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text()
    rights = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    expect("a container's process has no rights and gets none",
           rights["CapEff"].strip("0") == "" and rights["NoNewPrivs"] == "1" and rights["Uid"].split() == [str(USER)] * 4, status)
    expect("workers stop at SIGTERM", [w.end(signal.SIGTERM) for w in workers] == [0, 0], workers[0].said())
    expect("the coordinator stops at SIGTERM", daemon.end(signal.SIGTERM) == 0, daemon.said())


def main():
    programs = pathlib.Path(sys.argv[1])
    work = pathlib.Path(tempfile.mkdtemp(prefix="birkhoff-image-"))
    try:
        first, second = build(programs, work / "first", 0o022), build(programs, work / "second", 0o077)
        expect("built twice, the images have the same digests", first == second, f"{first} and {second}")
        images = {}
        for name in ("coordinator", "worker"):
            images[name] = Image(work / "first" / name, work / f"root-{name}")
            sbom = work / "first" / f"{name}.spdx.json"
            check_content(name, images[name], json.loads(sbom.read_text()))
            check_sbom(name, sbom)
        check_running(images, work)
    finally:
        for image in work.glob("root-*"):
            subprocess.run(["umount", "--recursive", image], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(work, ignore_errors=True)
    print(f"\n{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 tests/image.py BUILD")
    if "BIRKHOFF_NAMESPACE" not in os.environ:
        os.environ["BIRKHOFF_NAMESPACE"] = "own"
        # Mounts and processes of its own, which end with it.
        users = [] if os.geteuid() == 0 else ["--map-root-user", "--map-auto"]
        os.execvp("unshare", ["unshare", *users, "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                              sys.executable, "-B", *sys.argv])
    sys.exit(main())
