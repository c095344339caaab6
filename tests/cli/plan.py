#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`quire plan` as a user meets it: plans, proofs, checks, pictures, refusals.

Usage: plan.py QUIRE SOURCE_ROOT [unittest's arguments]
"""
import csv
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

QUIRE, ROOT = os.path.abspath(sys.argv.pop(1)), os.path.abspath(sys.argv.pop(1))
INSTANCES = sorted(pathlib.Path(ROOT, "tests/data/minimalloc").glob("*.csv"))
PATIENCE_SECONDS = 300

FIVE = "id,lower,upper,size\nb1,0,3,4\nb2,3,9,4\nb3,0,9,4\nb4,9,21,4\nb5,0,21,4\n"


def call(*arguments, **options):
    return subprocess.run([QUIRE, "plan", *map(str, arguments)], capture_output=True, text=True,
                          check=False, timeout=PATIENCE_SECONDS, **options)


def figures(text, *arguments):
    result = call("-", "--json", *arguments, input=text)
    if result.returncode > 2 or result.stderr:
        raise AssertionError(result)
    return json.loads(result.stdout)


def overlaps(text):
    """Pairs of a plan's lines that share memory while both live: compared one by one."""
    rows = [{key: int(value) for key, value in row.items() if key != "id"}
            for row in csv.DictReader(io.StringIO(text))]
    return sum(a["lower"] < b["upper"] and b["lower"] < a["upper"] and
               a["offset"] < b["offset"] + b["size"] and b["offset"] < a["offset"] + a["size"]
               for i, a in enumerate(rows) for b in rows[:i])


class Plans(unittest.TestCase):
    def test_text(self):
        result = call("-", "-c", "12", input=FIVE)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        lines = result.stdout.splitlines()
        self.assertEqual(lines[:4], [
            "buffers    5",
            "bound      12 B (12 B): no placement has a lower peak",
            "peak       12 B (12 B), 1.000 of the bound: proved to be the least",
            "verdict    fits in 12 B"])
        self.assertTrue(lines[4].startswith("found by   "), lines)

    def test_json(self):
        plan = figures(FIVE)
        self.assertEqual((plan["verdict"], plan["proved"], plan["peak_bytes"], plan["bound_bytes"],
                          plan["stopped"]), ("placed", True, 12, 12, "done"))
        self.assertEqual([one["id"] for one in plan["buffers"]], ["b1", "b2", "b3", "b4", "b5"])

    def test_exit_codes(self):
        self.assertEqual(call("-", "-c", "12", input=FIVE).returncode, 0)
        result = call("-", "-c", "11", input=FIVE)
        self.assertEqual(result.returncode, 1)
        self.assertIn("verdict    does not fit in 11 B: proved", result.stdout)
        hard = call(INSTANCES[9], "-c", "990000", "--steps", "1")
        self.assertEqual(hard.returncode, 2)
        self.assertIn("verdict    undecided in", hard.stdout)

    def test_all_instances_fit(self):
        for path in INSTANCES:
            with self.subTest(path.name), tempfile.TemporaryDirectory() as directory:
                plan = os.path.join(directory, "plan.csv")
                self.assertEqual(call(path, "-c", "1048576", "-o", plan).returncode, 0)
                text = pathlib.Path(plan).read_text(encoding="ascii")
                self.assertEqual(overlaps(text), 0)
                rows = list(csv.DictReader(io.StringIO(text)))
                self.assertLessEqual(max(int(r["offset"]) + int(r["size"]) for r in rows), 1 << 20)
                checked = call("--verify", plan, "-c", "1048576")
                self.assertEqual(checked.returncode, 0, checked)
        self.assertEqual(len(INSTANCES), 11)

    def test_repeatable(self):
        arguments = (INSTANCES[3], "-o", "-", "--steps", "3000000", "--seed", "5")
        first = call(*arguments)
        self.assertEqual((first.returncode, first.stderr), (0, ""))
        self.assertEqual(call(*arguments).stdout, first.stdout)
        self.assertEqual(call(*arguments, "--threads", "3").stdout, first.stdout)

    def test_alignment(self):
        offsets = [one["offset"] for one in figures(FIVE, "--align", "64")["buffers"]]
        self.assertEqual([offset % 64 for offset in offsets], [0] * 5)

    def test_spaces(self):
        text = FIVE.replace("size", "size,spaces").replace("b5,0,21,4", "b5,0,21,4,1")
        text = "\n".join(line + "," if line.count(",") == 3 else line
                         for line in text.splitlines())
        plan = figures(text, "--space", "fast:8", "--space", "slow")
        self.assertEqual(plan["verdict"], "fits")
        self.assertEqual([one["name"] for one in plan["spaces"]], ["fast", "slow"])
        self.assertEqual(plan["buffers"][4]["space"], 1)

    def test_interrupted(self):
        with subprocess.Popen([QUIRE, "plan", INSTANCES[9], "-s", "search", "-o", "-"],
                              stdout=subprocess.PIPE, text=True) as process:
            try:
                process.communicate(timeout=1)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
            text, _ = process.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual((process.returncode, overlaps(text)), (0, 0))


class Checks(unittest.TestCase):
    def plan(self):
        return call("-", "-o", "-", input=FIVE).stdout

    def test_sound(self):
        result = call("--verify", "-", input=self.plan())
        self.assertEqual(result.returncode, 0)
        self.assertIn("verdict    sound", result.stdout)

    def test_each_line_moved(self):
        lines = self.plan().splitlines()
        for i in range(1, len(lines)):
            moved = list(lines)
            head, offset = lines[i].rsplit(",", 1)
            moved[i] = f"{head},{int(offset) + 2}"
            text = "\n".join(moved)
            result = call("--verify", "-", input=text)
            self.assertEqual(result.returncode, 1 if overlaps(text) else 0, result)
            if result.returncode == 1:
                self.assertIn("two share memory while both are in use", result.stderr)
        result = call("--verify", "-", "--json", input="id,lower,upper,size,offset\na,0,2,4,0\n"
                      "b,1,3,4,3\n")
        self.assertEqual((result.returncode, json.loads(result.stdout)["buffers"]), (1, ["a", "b"]))

    def test_capacity(self):
        result = call("--verify", "-", "-c", "11", input=self.plan())
        self.assertEqual(result.returncode, 1)
        self.assertIn("it ends beyond the capacity", result.stderr)

    def test_nothing_to_verify(self):
        result = call("--verify", "-", input=FIVE)
        self.assertEqual(result.returncode, 125)
        self.assertIn("there is nothing to verify", result.stderr)


class Pictures(unittest.TestCase):
    def test_svg(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "plan.svg")
            text = FIVE.replace("b1", '"a<&\x02>"')
            self.assertEqual(call("-", "-m", path, "-c", "20", input=text).returncode, 0)
            root = xml.etree.ElementTree.parse(path).getroot()
        titles = [one.text for one in root.iter("{http://www.w3.org/2000/svg}title")]
        self.assertEqual(len(titles), 6)
        self.assertTrue(titles[0].startswith("a<&?>: 4 B (4 B) at "), titles)
        self.assertIn("lower bound", titles[-1])


class Refusals(unittest.TestCase):
    def test_arguments(self):
        for arguments, message in [
                ((), "which buffers?"), (("a", "b"), "one file at a time"),
                (("-", "-c", "x"), "is no size above 0"), (("-", "-t", "0"), "no number of seconds"),
                (("-", "-T", "0"), "from 1 to 64"), (("-", "-s", "best"), "auto, greedy and search"),
                (("-", "-c", "1", "--space", "a"), "is of the only space"),
                (("-", "-j", "-o", "-"), "both want standard output"),
                (("/nonexistent",), "No such file"), (("/",), "cannot read")]:
            result = call(*arguments, input=FIVE)
            self.assertEqual((result.returncode, result.stdout), (125, ""), arguments)
            self.assertIn(message, result.stderr)

    def test_files(self):
        for text, message in [
                ("", "the column 'id' is missing"), ("id,lower,upper,size\na,0,1,x\n", "line 2"),
                (FIVE.replace("size", "size,offset").replace(",4\n", ",4,0\n"),
                 "two share memory"),
                ("id,lower,upper,size\na,0,1,4611686018427387905\n", "too large"),
                ("id,lower,upper,size\na,0,1,1\0\n", "zero bytes")]:
            result = call("-", input=text)
            self.assertEqual((result.returncode, result.stdout), (125, ""), text)
            self.assertIn(message, result.stderr)

    def test_unwritable(self):
        result = call("-", "-o", "/nonexistent/plan.csv", input=FIVE)
        self.assertEqual(result.returncode, 125)
        self.assertIn("cannot write the plan /nonexistent/plan.csv", result.stderr)


if __name__ == "__main__":
    unittest.main()
