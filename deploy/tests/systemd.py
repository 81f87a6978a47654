"""The systemd units: systemd's own verification and judgement, flags that the programs have, graces that fit."""
import pathlib
import re
import shutil
import subprocess
import tempfile

import policy
from manifests import DEPLOY

UNITS = ["birkhoffd.service", "birkhoff-worker@.service"]
MOST_EXPOSED = 20  # tenths of systemd's scale, on which 10.0 is a unit that nothing restricts


def setting(text, name):
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


def problems_of_text(unit):
    text = (DEPLOY / "systemd" / unit).read_text()
    command = setting(text, "ExecStart")[0].split()
    program = pathlib.Path(command[0]).name
    known = policy.known_flags(program, ())
    for word in command[1:]:
        flag = word.partition("=")[0]
        if known is not None and flag.startswith("--") and flag not in known:
            yield f"{program} has no {flag}"
    grace = [float(word.partition("=")[2]) for word in command if word.startswith("--stop-grace-seconds=")]
    if grace and float(setting(text, "TimeoutStopSec")[0]) < grace[0] + 5:
        yield "a clean stop and 5 s more do not fit into TimeoutStopSec"
    if grace and setting(text, "KillMode") != ["mixed"]:
        yield "KillMode must be mixed: SIGTERM is for the supervisor alone"
    if str(policy.exit_codes()["BadSpec"]) not in setting(text, "RestartPreventExitStatus"):
        yield "must not start again what can never work"


def problems_of_systemd(unit):
    """Empty where systemd-analyze is not there to be asked."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "etc/systemd/system").mkdir(parents=True)
        (root / "opt/birkhoff/bin").mkdir(parents=True)
        for name in UNITS:
            text = (DEPLOY / "systemd" / name).read_text()
            for program in setting(text, "ExecStart"):
                path = root / program.split()[0].lstrip("/")
                path.touch(mode=0o755)
                text = text.replace(program.split()[0], str(path))
            (root / "etc/systemd/system" / name.replace("@", "@0")).write_text(text)
        path = root / "etc/systemd/system" / unit.replace("@", "@0")
        verified = subprocess.run(["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True)
        yield from [line for line in verified.stderr.splitlines() if path.name in line]
        judged = subprocess.run(["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", path],
                                capture_output=True, text=True)
        if judged.returncode != 0:
            yield (judged.stdout.strip() or judged.stderr.strip()).splitlines()[-1]


def check(tally):
    for unit in UNITS:
        tally.expect(f"{unit}: flags, codes, graces", problems_of_text(unit))
        if shutil.which("systemd-analyze"):
            tally.expect(f"{unit}: systemd-analyze", problems_of_systemd(unit))
        else:
            tally.skip(f"{unit}: systemd-analyze", "it is not here")
