#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`quire sim` and `quire mrc` as a user meets them: figures, formats, JSON, pictures, refusals.

Usage: sim.py QUIRE SOURCE_ROOT [unittest's arguments]
"""
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

QUIRE, ROOT = os.path.abspath(sys.argv.pop(1)), os.path.abspath(sys.argv.pop(1))
PATIENCE_SECONDS = 300

BELADY = "1 2 3 4 1 2 5 1 2 3 4 5".split()

EXPECTED = """\
format plain: 12 references to 5 pages of 4.0 KiB

   page policy     RAM faults  miss % write-backs
4.0 KiB fifo   3 pages      9 75.0000           0
4.0 KiB fifo   4 pages     10 83.3333           0
4.0 KiB lru    3 pages     10 83.3333           0
4.0 KiB lru    4 pages      8 66.6667           0
4.0 KiB opt    3 pages      7 58.3333           0
4.0 KiB opt    4 pages      6 50.0000           0

Belady's anomaly: fifo has 10 faults with 4 pages, and 9 with 3 pages
"""


def call(command, *arguments, **options):
    return subprocess.run([QUIRE, command, *arguments], capture_output=True, check=False,
                          timeout=PATIENCE_SECONDS, **options)


def figures(command, trace, *arguments):
    result = call(command, "--trace", "-", "--json", *arguments,
                  input=trace if isinstance(trace, bytes) else trace.encode())
    if result.returncode != 0 or result.stderr:
        raise AssertionError(result)
    return json.loads(result.stdout)


def faults(trace, *arguments):
    return [one["faults"] for one in figures("sim", trace, *arguments)]


class Figures(unittest.TestCase):
    def test_text(self):
        result = call("sim", "-t", "-", "--unit", "page", "-r", "3p-4p", "-p", "fifo,lru,opt",
                      input="\n".join(BELADY).encode())
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertEqual(result.stdout.decode(), EXPECTED)

    def test_json(self):
        trace = "\n".join(("W " if i % 4 == 0 else "R ") + page for i, page in enumerate(BELADY))
        result = figures("sim", trace, "--unit", "page", "--ram", "3p,16K", "--policy", "fifo")
        self.assertEqual([{key: one[key] for key in (
            "policy", "ram_bytes", "page_bytes", "references", "faults", "cold_faults",
            "writebacks")} for one in result],
            [{"policy": "fifo", "ram_bytes": 12288, "page_bytes": 4096, "references": 12,
              "faults": 9, "cold_faults": 5, "writebacks": 3},
             {"policy": "fifo", "ram_bytes": 16384, "page_bytes": 4096, "references": 12,
              "faults": 10, "cold_faults": 5, "writebacks": 1}])
        self.assertEqual(result[0]["belady_anomaly"], None)
        self.assertEqual(result[1]["belady_anomaly"], {"ram_bytes": 12288, "faults": 9})

    def test_page_sizes(self):
        trace = "\n".join(str(i * 4096 + 17) for i in range(64)) + "\n0x10\n"
        result = figures("sim", trace, "-P", "4K,16K,1G", "-r", "1G", "-p", "lru,pager:adaptive")
        self.assertEqual([(one["page_bytes"], one["faults"]) for one in result],
                         [(4096, 64), (4096, 64), (16384, 16), (16384, 16), (1 << 30, 1),
                          (1 << 30, 1)])

    def test_every_policy_is_at_least_opt(self):
        dice = random.Random(5)
        trace = "\n".join(dice.choice("RW") + " " + str(int(200 * dice.random() ** 3))
                          for _ in range(3000))
        names = [line.split()[0] for line in
                 call("sim", "--list").stdout.decode().splitlines()]
        self.assertGreaterEqual(len(names), 28)
        result = figures("sim", trace, "--unit", "page", "-r", "40p", "-p", ",".join(names))
        best = result[0]["faults"]
        for one in result:
            self.assertGreaterEqual(one["faults"], best, one["policy"])
            self.assertLessEqual(one["writebacks"], 3000)
            self.assertEqual(one["cold_faults"], result[0]["cold_faults"])

    def test_page_sizes_that_do_not_fit(self):
        """Side by side, amounts that hold no page of a size are left out; alone that is an error."""
        trace = "\n".join(str(i << 21) for i in range(9)).encode()
        result = call("sim", "-t", "-", "-r", "3p,1M,4M", "-P", "4K,2M", "-p", "lru", "--json",
                      input=trace)
        self.assertEqual([(one["page_bytes"], one["ram_bytes"]) for one in json.loads(result.stdout)],
                         [(4096, 12288), (4096, 1 << 20), (4096, 4 << 20), (1 << 21, 6 << 20),
                          (1 << 21, 4 << 20)])
        self.assertEqual((result.returncode, result.stderr.decode()),
                         (0, "quire: note: left out where --ram is less than a page: 1 of 6 "
                             "combinations\n"))

    def test_names_of_policies(self):
        """As papers and textbooks write them; rows have the name that was asked for."""
        trace = "\n".join(map(str, BELADY * 9))
        asked = ("LRU", "lru", "belady", "opt", "Clock-Pro", "clock-pro", "S3FIFO", "s3-fifo",
                 "working-set:30", "ws:30", "lru-2", "lru-k:2", "NFU", "aging")
        result = figures("sim", trace, "--unit", "page", "-r", "3p", "-p", ",".join(asked))
        self.assertEqual([one["policy"] for one in result], list(asked))
        for one, other in zip(result[::2], result[1::2]):
            self.assertEqual(one["faults"], other["faults"], one["policy"])
        names = [line.split()[0] for line in
                 call("sim", "--list").stdout.decode().splitlines()]
        result = figures("sim", trace, "--unit", "page", "-r", "3p", "-p", "all")
        self.assertEqual([one["policy"] for one in result], names)

    def test_the_curve_is_the_simulation(self):
        dice = random.Random(6)
        trace = "\n".join(str(int(300 * dice.random() ** 2)) for _ in range(5000))
        sizes = [1, 5, 50, 100, 200, 300]
        curve = figures("mrc", trace, "--unit", "page", "-r", ",".join(f"{n * 4}K" for n in sizes))
        self.assertEqual(curve["curve"], figures("mrc", trace, "--unit", "page", "-r",
                                                 ",".join(f"{n}p" for n in sizes))["curve"])
        self.assertEqual([one["faults"] for one in curve["curve"]],
                         faults(trace, "--unit", "page", "-p", "lru", "-r",
                                ",".join(f"{n}p" for n in sizes)))
        self.assertEqual(sum(one["references"] for one in curve["distances"]) + curve["pages"],
                         5000)
        self.assertEqual(sum(one["references"] for one in curve["working_set"]), 5000)

    def test_by_process(self):
        lines = ["time,addr,pid"]
        for i in range(400):
            lines.append(f"{i},{i % 4 * 4096},7")
            lines.append(f"{i},{i % 40 * 4096},8")
        with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
            file.write("\n".join(lines))
            file.flush()
            result = [json.loads(call("sim", "-t", file.name, "-r", "20p", "-p", "lru", "--json",
                                      *how).stdout)[0]["faults"]
                      for how in ([], ["--by-process"], ["--by-process=proportional"])]
        # Together the loop of 40 drives out nothing of the 4; 10 and 10; 1 and 18, of 44 pages
        self.assertEqual(result, [4 + 400, 4 + 400, 400 + 400])

    def test_pictures(self):
        trace = "\n".join(str(i * i % 97) for i in range(2000)).encode()
        with tempfile.TemporaryDirectory() as directory:
            for command, more in (("sim", ["-r", "4p,8p,50p"]), ("mrc", []),
                                  ("mrc", ["--sample", "50%"])):
                path = os.path.join(directory, "picture.svg")
                result = call(command, "-t", "-", "--unit", "page", "-m", path, *more, input=trace)
                self.assertEqual((result.returncode, result.stderr), (0, b""))
                root = xml.etree.ElementTree.parse(path).getroot()
                self.assertEqual(root.tag, "{http://www.w3.org/2000/svg}svg")
                self.assertGreater(len(list(root.iter("{http://www.w3.org/2000/svg}path"))), 5)


class Formats(unittest.TestCase):
    """The same references in each format, packed and not, have the same faults."""

    PAGES = [int(9 * random.Random(i).random()) + 1 for i in range(500)]

    def texts(self):
        yield [], "\n".join(f"0x{page * 4096 + 8:x}" for page in self.PAGES)
        yield ["--unit", "page"], "# pages\r\n" + "\r\n".join(map(str, self.PAGES)) + "\r\n"
        yield [], "==1== Lackey\n" + "".join(f" L {page * 4096:08x},8\n" for page in self.PAGES)
        yield [], "".join(f"cc1 123/{i} {i}.5: cpu/mem-loads/P: {page * 4096:x}\n"
                          for i, page in enumerate(self.PAGES))
        yield [], "time,obj_id,size\n" + "".join(f"{i},{page},10\n"
                                                 for i, page in enumerate(self.PAGES))
        yield ["--columns", "id=2", "--delimiter", ";"], "".join(
            f"x;object {page}\n" for page in self.PAGES)
        yield [], b"".join(struct.pack("<IQIq", i, page, 10, -2)
                           for i, page in enumerate(self.PAGES))

    def test_all(self):
        wanted = faults("\n".join(map(str, self.PAGES)), "--unit", "page", "-r", "4p", "-p", "lru")
        for options, text in self.texts():
            options = ["-r", "4p", "-p", "lru", *options]
            if "--columns" in options:
                options += ["--format", "csv"]
            data = text if isinstance(text, bytes) else text.encode()
            self.assertEqual(faults(data, *options), wanted, data[:40])
            if shutil.which("zstd"):
                packed = subprocess.run(["zstd", "-c"], input=data, capture_output=True, check=True)
                self.assertEqual(faults(packed.stdout, *options), wanted, data[:40])

    @unittest.skipUnless(shutil.which("valgrind"), "no valgrind here")
    def test_a_real_program(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "true.lackey")
            subprocess.run(["valgrind", "--tool=lackey", "--trace-mem=yes", "--log-file=" + path,
                            shutil.which("true")], check=True, capture_output=True)
            result = [json.loads(call("sim", "-t", path, "-r", "64K,1G", "-p", "opt,lru", "--json",
                                      *more).stdout) for more in ([], ["--no-fetch"])]
        for four in result:
            few, all_of_it = four[0], four[1]
            self.assertGreater(few["faults"], few["cold_faults"])
            self.assertEqual(all_of_it["faults"], all_of_it["cold_faults"])
            self.assertLessEqual(few["faults"], four[2]["faults"])
        self.assertGreater(result[0][0]["references"], result[1][0]["references"])


class Refusals(unittest.TestCase):
    def refused(self, trace, *arguments, command="sim"):
        result = call(command, "-t", "-", *arguments, input=trace)
        self.assertEqual((result.returncode, result.stdout), (125, b""), result)
        return result.stderr.decode()

    def test_broken_traces(self):
        enough = ["-r", "4p"]
        self.assertEqual(self.refused(b"1\n2\nR x\n4\n", *enough, "--format", "plain"),
                         "quire: standard input: line 3: 'R x': not [R|W] ADDRESS, decimal or 0x "
                         "and hexadecimal\n")
        # also where the first lines would tell what it is
        self.assertIn("line 3: 'R x'", self.refused(b"1\n2\nR x\n4\n", *enough))
        self.assertIn("line 2: 'a 1 2'", self.refused(
            b"cc1 1/1 1.5: cpu/mem-loads/P: 1000\na 1 2\n", *enough))
        self.assertIn("it is empty", self.refused(b"", *enough))
        self.assertIn("this looks like no trace; --format says", self.refused(b"hello\n", *enough))
        self.assertIn("record 3: 12 of its 24 bytes: the trace was cut off",
                      self.refused(bytes(60), *enough, "--format", "oracle"))
        self.assertIn("line 2: ' L 12'", self.refused(b" L 10,8\n L 12", *enough, "--format",
                                                      "lackey"))
        self.assertIn("there is no format 'xyz'", self.refused(b"1\n", *enough, "--format", "xyz"))
        if shutil.which("zstd"):
            packed = subprocess.run(["zstd", "-c"], input=b"17\n" * 100000, capture_output=True,
                                    check=True).stdout
            self.assertIn("damaged or cut off", self.refused(packed[:-9], *enough))
        result = call("sim", "-t", "/nowhere/at/all", *enough)
        self.assertEqual((result.returncode, result.stderr.decode()),
                         (125, "quire: cannot open the trace /nowhere/at/all: No such file or "
                               "directory\n"))

    def test_command_lines(self):
        for arguments, message in (
                ([], "how much RAM?"),
                (["-r", "0"], "'0' is no amount"),
                (["-r", "5p-3p"], "is no range"),
                (["-r", "3p-1M"], "is no range"),
                (["-r", "1M", "-p", "lrru"], "there is no policy 'lrru'; quire sim --list"),
                (["-r", "1M", "-p", "lru-k:9"], "the argument of 'lru-k:9' is out of its range"),
                (["-r", "1M", "-P", "5000"], "'5000' is no power of two"),
                (["-r", "1K"], "--ram 1.0 KiB is less than a page of 4.0 KiB"),
                (["-r", "1M", "--prefetch", "all"], "not 'all'"),
                (["-r", "1M", "--by-process"], "reads the trace twice"),
                (["-r", "1M", "more"], "'more': the trace is given by --trace"),
                (["-r", "1p", "-P", "1K", "--unit", "page"], "counts in units of 4.0 KiB")):
            self.assertIn(message, self.refused(b"1\n2\n", *arguments), arguments)
        for arguments, message in ((["-s", "0"], "'0' is no part"), (["-s", "200%"], "no part"),
                                   (["-P", "5000"], "no power of two"),
                                   (["-r", "x"], "'x' is no amount")):
            self.assertIn(message, self.refused(b"1\n", *arguments, command="mrc"), arguments)
        result = call("sim", "-r", "1M")
        self.assertIn("which trace? --trace FILE", result.stderr.decode())

    def test_pictures_that_cannot_be_written(self):
        result = call("mrc", "-t", "-", "-m", "/nowhere/at/all.svg", input=b"1\n2\n")
        self.assertEqual(result.returncode, 125)
        self.assertIn("cannot write the picture /nowhere/at/all.svg", result.stderr.decode())


if __name__ == "__main__":
    unittest.main()
