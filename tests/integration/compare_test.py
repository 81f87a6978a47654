"""birkhoff compare as people use it: killed in the middle and run again it says the same, to the bit; a signal stops it with
checkpoints; what it exports is what TensorBoard reads."""
import importlib.util
import json
import pathlib
import signal
import subprocess
import tempfile
import unittest

from programs import BIN, Program, make_text, wait_for

JOB = """
name: small
model: {{hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 2, intermediate_size: 16}}
training: {{steps: 30, sequence_length: 16, micro_batch_size: 1, global_batch_size: 4, validation_interval: 10,
           validation_batches: 2}}
lr_schedule: {{warmup_steps: 2}}
checkpoint: {{interval: 5}}
data: {{train: {text}, validation_split: 0.1}}
"""


class CompareTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "job.yaml").write_text(JOB.format(text=make_text(self.folder)))

    def start(self, out):
        program = Program([BIN / "birkhoff", "compare", self.folder / "job.yaml", "--residual", "residual,hc,mhc", "--sweep",
                           "optimizer.lr=1e-3,1e-2", "--out", out], self.folder / f"{out}.log", self.folder)
        self.addCleanup(program.kill)
        return program

    def finish(self, program, code=0):
        self.assertEqual(program.process.wait(60), code, program.log.read_text())

    def rows(self, out, run):
        path = self.folder / out / "runs" / run / "metrics.jsonl"
        return path.read_text().count("\n") if path.exists() else 0

    def test_killed_in_the_middle_it_says_the_same(self):
        self.finish(self.start("whole"))
        for round_, run in enumerate(("hc-lr-1e-3-s42", "mhc-lr-1e-2-s42")):
            program = self.start("killed")
            wait_for(lambda run=run: self.rows("killed", run) >= 12, f"12 rows of {run}")
            program.kill()
            self.assertFalse((self.folder / "killed" / "compare.json").exists(), f"round {round_}")
        self.finish(self.start("killed"))
        whole = (self.folder / "whole" / "compare.json").read_bytes()
        self.assertEqual(whole, (self.folder / "killed" / "compare.json").read_bytes())
        compared = json.loads(whole)
        self.assertEqual(len(compared["runs"]), 6)
        self.assertEqual({run["steps"] for run in compared["runs"]}, {30})
        self.assertEqual({run["state"] for run in compared["runs"]}, {"SUCCEEDED"})
        page = (self.folder / "whole" / "report.html").read_text()
        self.assertIn("sweep-optimizer-lr-final-loss", page)
        self.assertIn('"id":"matrices-mhc-lr-1e-3-s42"', page)

    def test_what_learns_nothing_is_the_plain_residual(self):
        program = Program([BIN / "birkhoff", "compare", self.folder / "job.yaml", "--set", "training.steps=15", "--threads", "2",
                           "--out", "ablation", "--residual",
                           "residual,hc-no-pre-no-post-no-res,mhc-no-pre-no-post-no-res,hc-no-post,mhc-no-pre"],
                          self.folder / "ablation.log", self.folder)
        self.addCleanup(program.kill)
        self.finish(program)
        compared = json.loads((self.folder / "ablation" / "compare.json").read_text())
        self.assertIn("device cpu, 2 threads: ", (self.folder / "ablation" / "logs" / "local-0.log").read_text())
        plain, hc, mhc, *learning = [run["final_loss"] for run in compared["runs"]]
        self.assertAlmostEqual(hc, plain, delta=1e-4)
        self.assertAlmostEqual(mhc, plain, delta=1e-4)
        for loss in learning:
            self.assertGreater(abs(loss - plain), 1e-4)
        self.assertEqual([run["largest_gain_forward"] for run in compared["runs"][:3]], [1, 1, 1])

    def test_a_signal_leaves_checkpoints_and_the_way_on(self):
        program = self.start("stopped")
        wait_for(lambda: self.rows("stopped", "residual-lr-1e-3-s42") >= 2, "2 rows")
        program.signal(signal.SIGINT)
        self.finish(program, 75)
        self.assertIn("to go on: the same command again", program.log.read_text())
        self.finish(self.start("stopped"))

    @unittest.skipUnless(importlib.util.find_spec("tensorboard"), "no package tensorboard")
    def test_tensorboard_reads_what_is_exported(self):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        out = self.folder / "run"
        subprocess.run([BIN / "birkhoff", "run", self.folder / "job.yaml", "--out", out], check=True, capture_output=True)
        subprocess.run([BIN / "birkhoff", "export", "metrics", out, "--to", "tensorboard", "--out", self.folder / "logs"],
                       check=True, capture_output=True)
        events = EventAccumulator(str(self.folder / "logs" / "run"))
        events.Reload()
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        read = events.Scalars("loss")
        self.assertEqual([event.step for event in read], [row["step"] for row in rows])
        for event, row in zip(read, rows):
            self.assertAlmostEqual(event.value, row["loss"], delta=1e-6 * row["loss"])
        self.assertIn("gain_backward_by_sublayer/03", events.Tags()["scalars"])


if __name__ == "__main__":
    unittest.main()
