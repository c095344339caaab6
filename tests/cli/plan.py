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
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time
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


def number(value):
    """A varint of protocol buffers."""
    low, rest = value & 0x7f, value >> 7
    return bytes([low | 0x80]) + number(rest) if rest else bytes([low])


def field(index, value):
    if isinstance(value, int):
        return number(index << 3) + number(value)
    data = value.encode() if isinstance(value, str) else value
    return number(index << 3 | 2) + number(len(data)) + data


def onnx_value(name, *dims):
    shape = b"".join(field(1, field(1, dim)) for dim in dims)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape)))


def onnx_model():
    """x [4, 64] -> MatMul with a weight [64, 32], of which no two numbers are alike -> Relu."""
    weight = struct.pack("<2048f", *((i * 37 % 2048 - 1000.5) / 4096 for i in range(2048)))
    tensor = field(1, 64) + field(1, 32) + field(2, 1) + field(8, "w") + field(9, weight)
    nodes = [field(1, "x") + field(1, "w") + field(2, "h") + field(4, "MatMul"),
             field(1, "h") + field(2, "y") + field(4, "Relu")]
    graph = b"".join(field(1, node) for node in nodes) + field(5, tensor)
    graph += field(11, onnx_value("x", 4, 64)) + field(12, onnx_value("y", 4, 32))
    return field(1, 8) + field(7, graph) + field(8, field(2, 17))


def training_model(layers):
    """A pass forward, and one backward that reads its activations from the last to the first."""
    nodes, last = [], "x"
    for i in range(layers):
        nodes.append(field(1, last) + field(2, f"a{i}") + field(4, "Sigmoid"))
        last = f"a{i}"
    for i in reversed(range(layers)):
        nodes.append(field(1, last) + field(1, f"a{i}") + field(2, f"g{i}") + field(4, "Mul"))
        last = f"g{i}"
    graph = b"".join(field(1, node) for node in nodes)
    graph += field(11, onnx_value("x", 16, 64)) + field(12, onnx_value(last, 16, 64))
    return field(1, 8) + field(7, graph) + field(8, field(2, 17))


def catches(pid, number):
    """Whether a process, which is not yet reaped, has a handler for that signal."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return int(re.search(r"SigCgt:\s+([0-9a-f]+)", file.read())[1], 16) >> number - 1 & 1


class Models(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.model = os.path.join(self.directory.name, "small.onnx")
        pathlib.Path(self.model).write_bytes(onnx_model())

    def tearDown(self):
        self.directory.cleanup()

    def weights(self, *wish):
        result = call(self.model, "--json", "--weights", *wish)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return json.loads(result.stdout)

    def test_weights(self):
        result = self.weights("all")
        totals, schemes = result["totals"], result["tensors"][0]["schemes"]
        self.assertEqual(result["schema"], "quire.weights/1")
        self.assertEqual({name: total["bytes"] for name, total in totals.items()},
                         {"keep": 8192, "f16": 4096, "i8": 2048 + 4 * 32, "u8": 2048 + 5 * 32,
                          "i4": 1024 + 2 * 2 * 32,
                          "sparse": 256 + 1024 * 4})
        self.assertEqual((result["tensors"][0]["channels"], len(result["tensors"])), (32, 1))
        self.assertLess(schemes["f16"]["rmse"], schemes["i8"]["rmse"])
        self.assertLess(schemes["i8"]["max_error"], 1048 / 4096 / 254 * 1.001)
        self.assertEqual(schemes["keep"]["noise"], 0)
        self.assertEqual(self.weights("i4:64")["totals"]["i4"]["bytes"], 1024 + 2 * 32)
        self.assertEqual(self.weights("sparse:0.75")["totals"]["sparse"]["bytes"], 256 + 512 * 4)

    def test_weights_within_a_size(self):
        result = self.weights("3K")
        self.assertEqual((result["tensors"][0]["scheme"], result["mixed"]["proved"]), ("i8", True))
        text = call(self.model, "--weights", "4096")
        self.assertEqual(text.returncode, 0)
        self.assertIn("w      64x32 f32 f16", text.stdout)
        result = call(self.model, "--weights", "1K")
        self.assertEqual(result.returncode, 1)
        self.assertIn("do not fit in 1.0 KiB: the least they take is 1.1 KiB", result.stderr)

    def test_budgets(self):
        """0: met; 1: nothing can meet it; 2: nothing was found that does. 4 KiB a tensor."""
        pathlib.Path(self.model).write_bytes(training_model(20))
        for option in ("--recompute", "--offload"):
            for budget, status, line in [
                    ("40K", 0, "budget     40.0 KiB: met"),
                    ("11K", 1, "budget     11.0 KiB: can't be met: 12.0 KiB have to be there at")]:
                result = call(self.model, option, budget)
                self.assertEqual((result.returncode, result.stderr), (status, ""), result)
                self.assertIn(line, result.stdout)
                figures = json.loads(call(self.model, option, budget, "--json").stdout)
                self.assertEqual((figures["model"]["fits_budget"], figures["model"]["least_bytes"]),
                                 (status == 0, 12288))
        result = call(self.model, "--recompute", "12K")
        self.assertEqual(result.returncode, 2)
        self.assertIn("budget     12.0 KiB: not met; 16.0 KiB is the least that was found",
                      result.stdout)
        self.assertEqual(call(self.model, "--recompute", "40K", "-c", "1K").returncode, 1)

    def test_costs(self):
        """What is dear stays, what is cheap runs again."""
        pathlib.Path(self.model).write_bytes(training_model(8))
        costs = os.path.join(self.directory.name, "costs.csv")
        for dear, cheap in ((2, 4), (4, 2)):
            pathlib.Path(costs).write_text(f"operator,cost\n{dear},5e6\na{cheap},0\n",
                                           encoding="ascii")
            result = json.loads(call(self.model, "--costs", costs, "--recompute", "32K",
                                     "--json").stdout)
            steps = [step["operator"] for step in result["model"]["steps"]
                     if step["action"] == "recompute"]
            self.assertTrue(result["model"]["fits_budget"])
            self.assertEqual(steps, ["Sigmoid"])
            self.assertLess(result["model"]["extra_cost"], 1e6)
            self.assertGreater(result["model"]["cost"], 5e6)
        for text, message in [("", None), ("a,b\n", "is not `operator,cost', which the first line"),
                              ("operator,cost\na1\n", "line 2: 'a1' is not `operator,cost'"),
                              ("operator,cost\na1,-1\n", "line 2: '-1' is no number of operations"),
                              ("operator,cost\na1,nan\n", "is no number of operations"),
                              ("operator,cost\nz,1\n", "line 2: the model has no operator 'z'"),
                              ("operator,cost\n16,1\n", "its number from 0 to 15")]:
            pathlib.Path(costs).write_text(text, encoding="ascii")
            result = call(self.model, "--costs", costs)
            self.assertEqual(result.returncode, 0 if message is None else 125, result)
            self.assertIn(message or "", result.stderr)
        result = call(self.model, "--costs", "/nonexistent")
        self.assertEqual(result.returncode, 125)
        self.assertIn("cannot read the costs from /nonexistent: No such file", result.stderr)

    def test_curve(self):
        """Budgets and peaks tell whether they are met by what is printed, too."""
        pathlib.Path(self.model).write_bytes(training_model(40))
        lines = call(self.model, "--curve").stdout.splitlines()
        self.assertEqual(len(lines), 19)
        for line in lines[1:]:
            words = line.split()
            self.assertEqual(words[2], words[4], line)
            self.assertEqual(words[-1], "yes" if float(words[3]) <= float(words[1]) else "no", line)

    def test_numbers(self):
        """What the help calls a default can be given."""
        pathlib.Path(self.model).write_bytes(training_model(4))
        for arguments in (("--bandwidth", "1e9"), ("--bandwidth", "2G"), ("--speed", "1e10"),
                          ("--subgraph", "0")):
            self.assertEqual(call(self.model, *arguments).returncode, 0, arguments)
        for arguments, message in [(("--subgraph", "1.5"), "is no number from 0 to"),
                                   (("--subgraph", "-1"), "is no number from 0 to"),
                                   (("--bandwidth", "0"), "is no size above 0"),
                                   (("--bandwidth", "1e99"), "is no size above 0")]:
            result = call(self.model, *arguments)
            self.assertEqual((result.returncode, result.stdout), (125, ""), arguments)
            self.assertIn(message, result.stderr)

    def test_stray_shape(self):
        graph = field(1, field(1, "x") + field(2, "y") + field(4, "Relu"))
        shape = field(2, field(1, field(1, 1) + field(2, field(1, field(2, "n")))))
        graph += field(11, field(1, "x") + shape) + field(12, onnx_value("y", 4))
        pathlib.Path(self.model).write_bytes(field(1, 8) + field(7, graph) + field(8, field(2, 17)))
        result = call(self.model, "--shape", "input=4")
        self.assertEqual(result.returncode, 125)
        self.assertIn("there is no tensor or dimension 'input'", result.stderr)
        self.assertEqual(call(self.model, "--shape", "n=4").returncode, 0)

    def test_profile(self):
        path = os.path.join(self.directory.name, "profile.svg")
        self.assertEqual(call(self.model, "--inplace", "--profile", path).returncode, 0)
        root = xml.etree.ElementTree.parse(path).getroot()
        titles = [one.text for one in root.iter("{http://www.w3.org/2000/svg}title")]
        self.assertEqual(titles, ["the model as it is: 1.5 KiB at most", "in place: 1.5 KiB at most"])

    def test_refusals(self):
        for wish, message in [("i9", "is neither f16, i8, u8"), ("i4:1", "from 2 to 65536"),
                              ("sparse:1", "from 0.01 to 0.99"), ("f16:2", "takes no number"),
                              ("0", "is neither f16, i8, u8")]:
            result = call(self.model, "--weights", wish)
            self.assertEqual((result.returncode, result.stdout), (125, ""), wish)
            self.assertIn(message, result.stderr)
        for arguments in (("--weights", "all"), ("--curve",), ("--profile", "/dev/null"),
                          ("--inplace",), ("--reorder",), ("--recompute", "5M"),
                          ("--offload", "5M"), ("--shape", "x=1x3"), ("--subgraph", "0"),
                          ("--costs", "/dev/null")):
            result = call("-", *arguments, input=FIVE)
            self.assertEqual((result.returncode, result.stdout), (125, ""))
            self.assertIn("are of a model", result.stderr)


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

    def test_pipes_are_read_once(self):
        """A pipe with a path, as the shell's <(...) makes it: whoever looks ahead takes it away."""
        read_end, write_end = os.pipe()
        with os.fdopen(read_end), os.fdopen(write_end, "w") as file:
            file.write(FIVE)
            file.close()
            result = call(f"/dev/fd/{read_end}", pass_fds=[read_end])
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertTrue(result.stdout.startswith("buffers    5\n"))

    def test_json(self):
        plan = figures(FIVE)
        self.assertEqual(plan["schema"], "quire.plan/1")
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
            while process.poll() is None and not catches(process.pid, signal.SIGINT):
                time.sleep(0.01)
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
