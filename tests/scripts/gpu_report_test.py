"""What is made of a measurement of GPUs: every goal has its row, misses say why, steps of layers
have their table."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks" / "gpu"
sys.path.insert(0, str(FOLDER))
sys.dont_write_bytecode = True

import goals  # noqa: E402
import targets  # noqa: E402
from points import PLAIN, Point  # noqa: E402

KI, MI = 1024, 1024 * 1024


def document(operation, size, subjects, **more):
    spent = {}
    for name, us in subjects.items():
        spent[name] = {"p50_us": us, "mean_us": us, "min_us": us, "max_us": us}
        spent[name] |= {"rounds": 5, "calls": 10, "path": "gpu_lamport"}
    told = {"kind": "point", "operation": operation, "dtype": "bf16", "bytes": size, "ranks": 2}
    told |= {"wire_bytes": size, "buffers": "warm", "subjects": spent, "failures": {}}
    return told | more


BOUNDS = {"push": 1.0, "exchange": 1.2, "empty": 0.4}


def rows(points, facts=None, pool=None):
    made = goals.rows_of([Point(p) for p in points], facts or {}, pool or {})
    return {row.name: row for row in made}


class Goals(unittest.TestCase):
    def test_every_goal_has_a_row_when_nothing_was_measured(self):
        found = rows([])
        for operation in PLAIN:
            sizes = [name for name in found if name.startswith(f"{operation}, ")]
            # The sizes with targets; then the mean, who is faster, and the bandwidth.
            self.assertEqual(len(sizes), len(targets.GOAL_US[operation]) + 3)
        for start in (
            "all_gatherv", "reduce_scatterv", "all_reduce + residual + RMSNorm, rows",
            "all_reduce + residual + RMSNorm, against a fused", "choice of path",
            "operands outside the heap", "host cost of a call", "host cost of explain",
            "group check", "registrations", "scope alloc + free, 10 ",
            "scope alloc + free, 1000 ", "scope alloc + free, 10000 ",
        ):
            named = [row for name, row in found.items() if name.startswith(start)]
            self.assertEqual(len(named), 1, start)
            self.assertIsNone(named[0].met, start)

    def test_a_target_is_held_against_what_was_measured(self):
        found = rows([
            document("all_reduce", KI, {"cohort": 1.7, "nccl_symmetric": 3.4, **BOUNDS}),
            document("all_reduce", 2 * MI, {"cohort": 8.0, "torch_two_shot": 12.0, **BOUNDS}),
        ])
        row = found["all_reduce, 1 KiB"]
        self.assertTrue(row.met)
        self.assertEqual((row.peer, row.floor, row.ratio), ("nccl_symmetric 3.40", "1.80", "2.00"))
        self.assertFalse(found["all_reduce, 2 MiB"].met)
        self.assertIsNone(found["all_reduce, 8 KiB"].met)

    def test_targets_of_two_ranks_judge_no_others(self):
        found = rows([document("all_reduce", KI, {"cohort": 9.0, "nccl_plain": 3.4}, ranks=4)])
        self.assertIsNone(found["all_reduce, 1 KiB"].met)
        self.assertFalse(found["all_reduce, warm, sizes at which a peer is faster"].met)

    def test_uneven_rows_may_take_the_plain_form_and_their_bytes(self):
        plain = document("all_gather", KI, {"cohort": 2.0, **BOUNDS})
        quick = document("all_gatherv", MI, {"cohort": 3.2, "push": 1.0}, wire_bytes=1000)
        slow = document("all_gatherv", MI, {"cohort": 3.4, "push": 1.0}, wire_bytes=1000)
        name = "all_gatherv, 1 MiB, uneven rows"
        self.assertTrue(rows([plain, quick])[name].met)  # 1.1 * (2 + 1)
        self.assertFalse(rows([plain, slow])[name].met)

    def test_regret_is_against_the_best_own_path_steps_left_out(self):
        points = [
            document("all_reduce_norm", 14 * KI, {"cohort": 4.0, "kernel_fused": 3.8}),
            document("layer_step", 14 * KI, {"cohort": 80.0}, rows=1, boundaries=8),
        ]
        row = next(r for n, r in rows(points).items() if n.startswith("choice of path"))
        self.assertFalse(row.met)
        self.assertIn("1 of 1 points beyond", row.measured)

    def test_bandwidth_is_a_part_of_a_push(self):
        point = document("all_gather", 32 * MI, {"cohort": 100.0, "push": 86.0}, wire_bytes=32 * MI)
        row = rows([point])["all_gather, 32 MiB, part of the bandwidth"]
        self.assertTrue(row.met)
        self.assertIn("86%; 336 GB/s, 85% of one direction's", row.measured)

    def test_host_cost_leaves_the_launch_out(self):
        point = document("all_reduce", KI, {"cohort": 2.0, "kernel_once": 2.0, "nccl_plain": 5.0})
        for name, ns in (("cohort", 900), ("kernel_once", 650), ("nccl_plain", 1800)):
            point["subjects"][name]["host_ns"] = ns
        found = rows([point])
        row = found["host cost of a call outside graphs, launch not counted"]
        self.assertTrue(row.met)
        self.assertIn("250 ns", row.measured)
        self.assertEqual(found["the same with the launch"].ratio, "2.00")

    def test_scopes_stand_beside_snapshots(self):
        facts = {"scope_ns": {"10": 100, "1000": 250}, "group_check_ns": 9.5}
        pool = {"rows": [{"asked": 10, "segments": 11, "snapshot_us": 200.0}]}
        found = rows([], facts, pool)
        self.assertTrue(found["scope alloc + free, 10 live blocks"].met)
        self.assertEqual(found["scope alloc + free, 10 live blocks"].ratio, "2000.00")
        self.assertFalse(found["scope alloc + free, 1000 live blocks"].met)
        self.assertFalse(found["group check of an operand (is_symmetric)"].met)


class Misses(unittest.TestCase):
    def test_the_first_name_that_fits_counts(self):
        entries = goals.read_misses("# head\none, 1 KiB\n*, 2 KiB\n  a b\n  c\n\n*\n  d\n")
        self.assertEqual(entries, [("one, 1 KiB", "a b c"), ("*, 2 KiB", "a b c"), ("*", "d")])
        missed = [goals.Row(name, "-", met=met) for name, met in
                  (("one, 1 KiB", False), ("x", True), ("two, 2 KiB", False), ("y", False))]
        found = goals.misses(missed, entries)
        self.assertEqual(found, {"a b c": ["one, 1 KiB", "two, 2 KiB"], "d": ["y"]})

    def test_what_is_written_down_fits_rows_that_there_are(self):
        text = (FOLDER / "misses.txt").read_text(encoding="utf-8")
        self.assertLessEqual(max(map(len, text.splitlines())), 100)
        entries = goals.read_misses(text)
        self.assertTrue(entries)
        points = [document(op, size, {"cohort": 9.0, "nccl_plain": 1.0, **BOUNDS})
                  for op in PLAIN for size in (*targets.GOAL_US[op], 32 * MI)]
        points += [document("all_reduce_norm", 14 * KI, {"cohort": 9.0, "nccl_plain": 1.0}, rows=1)]
        every = list(rows(points).values())
        for row in every:
            row.met = False
        for pattern, _ in entries:
            self.assertTrue(any(goals.fnmatch.fnmatchcase(row.name, pattern) for row in every),
                            pattern)


class Report(unittest.TestCase):
    def test_writes_steps_goals_and_misses(self):
        subjects = {"cohort": 40.0, "nccl_symmetric": 80.0, "nccl_wrong_group": 120.0,
                    "push": 8.0, "exchange": 19.2, "empty": 6.4}
        lines = [
            {"kind": "machine", "device": "GPU", "devices": 2},
            {"kind": "cohort", "facts": {"explain_ns": 18, "registrations_since_commit": 0}},
            document("all_reduce", KI, {"cohort": 2.4, "nccl_symmetric": 3.6, **BOUNDS}),
        ]
        for operation in ("layer_step", "layer_step_tp"):
            for count in (1, 256):
                lines.append(document(operation, count * 14336, subjects, rows=count, boundaries=8))
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder, "lines.jsonl")
            source.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
            command = [sys.executable, "-B", FOLDER / "report.py", "--date", "2026-01-01"]
            command += ["--out", folder, source]
            subprocess.run(command, check=True, capture_output=True, timeout=30)
            text = pathlib.Path(folder, "gpu-2026-01-01.md").read_text(encoding="utf-8")
            picture = pathlib.Path(folder, "gpu-2026-01-01.svg").read_text(encoding="utf-8")
            whole = json.loads(pathlib.Path(folder, "gpu-2026-01-01.json").read_text("utf-8"))
        self.assertEqual(len(whole["points"]), 5)
        missed = [row["name"] for row in whole["goals"] if row["met"] is False]
        self.assertIn("all_reduce, 1 KiB", missed)
        self.assertIn("layer_step_tp, bf16, warm", picture)
        self.assertIn("## Layer step", text)
        # Of one boundary: rows, cohort, path, two peers, floor, ratio, and the whole step.
        self.assertIn("| 256 | 5.00 | gpu_lamport | 10.00 | 15.00 | 2.60 | 2.00 | 40.00 |", text)
        self.assertIn("2.00 in the mean", text)
        self.assertIn("- **all_reduce, 1 KiB**", text)
        points = text.split("## Points")[1].split("## Not measured")[0]
        self.assertNotIn("layer_step", points)


if __name__ == "__main__":
    unittest.main()
