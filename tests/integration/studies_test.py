"""bench/studies.py counts what has ended, by its definitions of what becomes of a run: on output directories made by hand."""
import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import studies  # noqa: E402

STEPS = 60


def falling(step):
    return 3.0 + 2.0 / step


class StudiesTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def add_run(self, name, loss, steps=STEPS, study="explosion"):
        run = self.folder / study / "runs" / name
        run.mkdir(parents=True)
        (run / "job.yaml").write_text(f"name: explosion\ntraining:\n  steps: {STEPS}\n")
        rows = [{"step": step, "loss": loss(step), "grad_norm": 1.0, "gain_forward": 2.0 ** step, "gain_backward": 1.0,
                 "gain_forward_by_sublayer": [1.0, 2.0, 3.0, 2.0 ** step], "off_diagonal_mass": 0.06, "validation_loss": loss(step)}
                for step in range(1, steps + 1)]
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": ')
        return studies.Run(run, None)

    def test_a_run_dies_surges_or_survives(self):
        fates = {
            "survives": [falling, lambda step: falling(step) + (0.4 if step == 30 else 0.0)],
            "surges": [lambda step: falling(step) + (0.7 if step == 30 else 0.0),
                       lambda step: falling(step) + (5.0 * 0.7 ** (step - 30) if step >= 30 else 0.0)],
            "dies": [lambda step: falling(step) if step < 40 else 5.5, lambda step: falling(step) + max(0, step - 40) * 0.08,
                     lambda step: falling(step) if step < 40 else None],
        }
        for fate, losses in fates.items():
            for number, loss in enumerate(losses):
                with self.subTest(fate=fate, number=number):
                    self.assertEqual(self.add_run(f"hc-lr-2e-2-s{len(fate)}{number}", loss).fate(), fate)

    def test_what_has_not_ended_does_not_count_but_what_failed_does(self):
        self.add_run("hc-num-hidden-layers-48-lr-2e-2-s42", falling)
        self.add_run("hc-num-hidden-layers-48-lr-2e-2-s43", falling, steps=30)
        runs, begun = studies.read_study(self.folder / "explosion")
        self.assertEqual((len(runs), begun), (1, 2))
        states = [{"name": path.name, "state": "FAILED"} for path in sorted((self.folder / "explosion" / "runs").iterdir())]
        (self.folder / "explosion" / "compare.json").write_text(json.dumps({"runs": states}))
        runs, _ = studies.read_study(self.folder / "explosion")
        self.assertEqual([run.fate() for run in runs], ["dies", "dies"])
        self.assertEqual((runs[0].depth, runs[0].rate, runs[0].seed), ("48", "2e-2", "42"))

    def test_tables_and_checks_are_of_what_is_there(self):
        for seed in (42, 43):
            self.add_run(f"hc-num-hidden-layers-48-lr-2e-2-s{seed}", falling)
        self.add_run("residual-num-hidden-layers-48-lr-2e-2-s42", lambda step: 5.5 if step > 50 else falling(step))
        for kind in ("residual", "hc", "mhc"):
            self.add_run(f"{kind}-s42", falling, study="deep-tiny")
        for rate, loss in (("1e-3", 2.9), ("2e-3", 3.0)):
            self.add_run(f"mhc-lr-{rate}-s42", lambda step, loss=loss: loss, study="rates")
        text = self.folder / "text.bin"
        text.write_bytes(bytes([1, 0, 2, 0, 3, 0, 4, 0]))
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            studies.main([str(self.folder), "--text", str(text)])
        lines = said.getvalue().splitlines()
        self.assertEqual([line.split(" | ")[:7] for line in lines if line.startswith("| 48 ")],
                         [["| 48", "2e-2", "residual", "1", "0", "0", "1"], ["| 48", "2e-2", "hc", "2", "2", "0", "0"]])
        self.assertIn("| 50 | 1 | 2 | 3 | 1.1e+15 |", lines)
        self.assertIn("| mhc | validation loss | 2.900 | 3.000 |", lines)
        checks = [line for line in lines if line.startswith("- ")]
        self.assertEqual([check.split(":")[0] for check in checks],
                         ["- DOES NOT HOLD", "- DOES NOT HOLD", "- DOES NOT HOLD", "- holds", "- DOES NOT HOLD", "- holds", "- holds"])
        self.assertIn("mhc at 2e-3 is 3.4 % above its best rate", checks[2])


if __name__ == "__main__":
    unittest.main()
