"""What a person and their shell do with the programs in the first hour, beside training."""
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import programs
import yaml

BIRKHOFF = programs.BIN / "birkhoff"


def run(*words, **more):
    return subprocess.run(words, cwd=programs.SOURCE, capture_output=True, text=True, timeout=60, **more)


def leaves(node, path=""):
    """Every scalar of a document, with its path."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from leaves(value, f"{path}[{i}]")
    else:
        yield path, node


def looks_like_a_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


class YamlTest(unittest.TestCase):
    def test_pyyaml_reads_every_number_of_a_job_as_one(self):
        for name in ["tiny", "gpu-545m"]:
            spec = run(BIRKHOFF, "validate", "--spec-only", f"configs/{name}.yaml", "-o", "yaml")
            self.assertEqual(spec.returncode, 0, spec.stderr)
            job = yaml.safe_load(spec.stdout)
            for path, value in leaves(job):
                if isinstance(value, str):
                    self.assertFalse(looks_like_a_number(value), f"{path}: {value!r} is a text")
        job = yaml.safe_load(run(BIRKHOFF, "validate", "--spec-only", "configs/tiny.yaml", "-o", "yaml",
                                 "--set", "optimizer.lr=3e-4", "--set", "lr_schedule.min_lr=1e-300").stdout)
        self.assertEqual(job["optimizer"], {"name": "adamw", "lr": 3e-4, "beta1": 0.9, "beta2": 0.95,
                                            "eps": 1e-15, "weight_decay": 0.1})
        self.assertEqual(job["lr_schedule"]["min_lr"], 1e-300)


class BashTest(unittest.TestCase):
    def complete(self, *words):
        """What bash offers for the last word, with the script that it would load."""
        script = run(BIRKHOFF, "completion", "bash").stdout + """
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
            compopt() { echo no space; }
            _birkhoff && printf '%s\\n' "${COMPREPLY[@]}"
            """
        answer = run("bash", "-c", script, "bash", BIRKHOFF, *words)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        return answer.stdout.split("\n")[:-1]

    def test_verbs_flags_and_fields(self):
        self.assertEqual(self.complete("val"), ["validate"])
        self.assertEqual(self.complete("run", "job.yaml", "--fr"), ["--fresh"])
        self.assertEqual(self.complete("plan", "--set", "model.residual.k"),
                         ["no space", "model.residual.kind="])
        self.assertEqual(self.complete("plan", "--set", "model.residual.kind", "=", "m"), ["mhc"])

    def test_what_another_program_knows(self):
        self.assertEqual(self.complete("data", "tok"), ["tokenize"])
        self.assertEqual(self.complete("data", "tokenize", "--format", ""), ["megatron", "llmc"])

    def test_paths_are_left_to_bash(self):
        self.assertEqual(self.complete("run", "conf"), [""])


class InstallTest(unittest.TestCase):
    def test_installed_programs_find_each_other_on_the_path(self):
        with tempfile.TemporaryDirectory() as prefix:
            installed = run("cmake", "--install", programs.BIN.parent, "--prefix", prefix)
            self.assertEqual(installed.returncode, 0, installed.stderr)
            path = {**os.environ, "PATH": f"{prefix}/bin:{os.environ['PATH']}"}
            version = run("birkhoff", "version", "-o", "json", env=path)
            self.assertIn("version", json.loads(version.stdout))
            for program in ("birkhoff", "birkhoffd", "birkhoff-worker"):
                self.assertIn(f"{program} {json.loads(version.stdout)['version']}", run(program, "--version", env=path).stdout)
            help_of_data = run("birkhoff", "data", "tokenize", "--help", env=path)
            self.assertIn("--validation-share", help_of_data.stdout)
            self.assertEqual({file.name for file in pathlib.Path(prefix, "bin").iterdir()},
                             {"birkhoff", "birkhoffd", "birkhoff-data", "birkhoff-inference", "birkhoff-worker"})


if __name__ == "__main__":
    unittest.main()
