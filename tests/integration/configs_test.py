"""The job files for the CPU train on real text: losses fall, every step is on record, gains hold.

Takes minutes (label long).  deploy/corpus.sh must have prepared data/corpus-*; tests/run.sh does.
"""
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import unittest

import programs

# What a mean of the loss over some steps must have come down by, from the first such mean.
FALL = 0.6


class ConfigsTest(unittest.TestCase):
    def train(self, name, *changes):
        """Runs a job file to its end, in a directory of its own; returns its rows."""
        output = pathlib.Path(tempfile.mkdtemp(prefix="birkhoff-configs-"))
        self.addCleanup(shutil.rmtree, output, ignore_errors=True)
        words = [programs.BIN / "birkhoff", "run", f"configs/{name}.yaml", "--out", output]
        for change in changes:
            words += ["--set", change]
        run = subprocess.run(words, cwd=programs.SOURCE, capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stderr[-2000:])
        rows = programs.rows(output)
        self.assertEqual([row["step"] for row in rows], list(range(1, len(rows) + 1)))
        return rows

    def expect_fall(self, rows):
        losses = [row["loss"] for row in rows]
        part = max(len(losses) // 10, 1)
        self.assertLess(statistics.mean(losses[-part:]), FALL * statistics.mean(losses[:part]))
        validation = [row["validation_loss"] for row in rows
                      if row.get("validation_loss") is not None]
        self.assertGreater(len(validation), 2)
        self.assertLess(validation[-1], 0.9 * validation[0])
        # Text that was not trained on is not much harder: nothing of it leaked, nothing is broken.
        self.assertLess(abs(validation[-1] - losses[-1]), 0.5)

    def expect_manifold(self, rows):
        """Rows of doubly stochastic matrices sum to 1, so forward gains cannot grow; the columns'
        error after 20 iterations is what is left to the backward gain."""
        for row in rows:
            self.assertAlmostEqual(row["gain_forward"], 1.0, delta=1e-4)
            self.assertLess(row["gain_backward"], 2.0)

    def test_tiny(self):
        rows = self.train("tiny")
        self.expect_fall(rows)
        self.expect_manifold(rows)

    def test_tiny_with_the_other_connections(self):
        for kind in ("residual", "hc"):
            with self.subTest(kind):
                self.expect_fall(self.train("tiny", f"model.residual.kind={kind}"))

    def test_deep_tiny(self):
        rows = self.train("deep-tiny")
        self.assertEqual(len(rows[0]["gain_forward_by_sublayer"]), 48)
        self.expect_fall(rows)
        self.expect_manifold(rows)

    def test_gpt2_124m_takes_steps(self):
        """The real model on a little batch of bytes: GPT-2's text would be a download."""
        rows = self.train("gpt2-124m", "data.train=data/corpus-train",
                          "data.validation=data/corpus-val", "data.tokenizer=bytes",
                          "training.steps=2", "training.sequence_length=128",
                          "training.micro_batch_size=1", "training.global_batch_size=4",
                          "training.validation_batches=1", "lr_schedule.warmup_steps=1")
        self.assertLess(rows[1]["loss"], rows[0]["loss"])
        self.expect_manifold(rows)


if __name__ == "__main__":
    unittest.main()
