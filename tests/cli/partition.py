#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`quire partition` as a user meets it: figures, JSON, pictures, refusals.

Usage: partition.py QUIRE SOURCE_ROOT [unittest's arguments]
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

QUIRE, ROOT = os.path.abspath(sys.argv.pop(1)), os.path.abspath(sys.argv.pop(1))
PATIENCE_SECONDS = 300

JOBS = """\
# five jobs and one that is too large
@0 alloc a 400K for 10
@0 alloc b 200K for 5
@2 alloc c 300K for 4
@3 alloc d 500K for 6   # has to wait
@4 alloc e 100K
@9 free e
alloc f 2M
"""

# Two holes of 10 with 5 between; then 15 is wanted.
HOLES = """\
alloc a 10
alloc b 5
alloc c 10
alloc d 5
free a
free c
alloc e 15
"""

EXPECTED = """\
6 requests, 1 lines that free; at most 2.0 MiB asked for at once

                                               largest           waiting  external fragm. %  internal fragm. %
policy                     space  failures      failed      mean     max   mean   max   end   mean   max   end       moved    peak use  highest end
first                   1.0 MiB         1    2.0 MiB       0.6       3    4.8  23.7  23.7    0.0   0.0   0.0         0 B  1000.0 KiB   1000.0 KiB
fixed:2x512K            1.0 MiB         2    2.0 MiB       2.2       6    0.0   0.0   0.0   23.8  41.4   2.3         0 B   900.0 KiB      1.0 MiB
fixed-best:256K+768K    1.0 MiB         2    2.0 MiB       4.8      11    0.0   0.0   0.0   45.0  60.9  60.9         0 B   600.0 KiB      1.0 MiB
"""


def call(*arguments, **options):
    return subprocess.run([QUIRE, "partition", *arguments], capture_output=True, text=True,
                          check=False, timeout=PATIENCE_SECONDS, **options)


def replay(trace, *arguments):
    """The figures by policy."""
    result = call("--trace", "-", "--json", *arguments, input=trace)
    if result.returncode != 0 or result.stderr:
        raise AssertionError(result)
    return {one["policy"]: one for one in json.loads(result.stdout)["policies"]}


class Figures(unittest.TestCase):
    def test_text(self):
        result = call("-t", "-", "-s", "1M", "-p", "first,fixed:2x512K,fixed-best:256K+768K",
                      input=JOBS)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        lines = [line.rstrip() for line in result.stdout.splitlines()]
        self.assertEqual(lines, EXPECTED.splitlines())

    def test_json(self):
        figures = replay(JOBS, "-s", "1M", "-p", "first")["first"]
        self.assertAlmostEqual(figures.pop("external_fragmentation")["mean"], 0.0483688)
        self.assertEqual(figures, {
            "policy": "first", "space_bytes": 1 << 20, "placed": 5, "failures": 1,
            "largest_failed_bytes": 2 << 20, "waiting": {"requests": 1, "mean": 0.6, "max": 3},
            "internal_fragmentation": {"mean": 0, "max": 0, "end": 0}, "moves": 0,
            "moved_bytes": 0, "peak_used_bytes": 1000 << 10, "highest_end_bytes": 1000 << 10})

    def test_all_by_default(self):
        self.assertEqual(list(replay(JOBS)), ["tlsf", "first", "next", "best", "worst"])

    def test_a_long_name_is_whole(self):
        name = "fixed:" + "+".join(["1M"] * 40)
        self.assertEqual(list(replay(JOBS, "-p", name)), [name])

    def test_default_space(self):
        self.assertEqual(replay("alloc a 100\nfree a\nalloc a 40", "-p", "best")["best"]
                         ["space_bytes"], 125)

    def test_compaction(self):
        plain = replay(HOLES, "-s", "30", "-p", "first")["first"]
        self.assertEqual((plain["failures"], plain["moved_bytes"]), (1, 0))
        self.assertAlmostEqual(plain["external_fragmentation"]["end"], 0.5)
        compacted = replay(HOLES, "-s", "30", "-p", "first,best,tlsf", "-c", "100")
        for figures in compacted.values():
            self.assertEqual((figures["failures"], figures["moved_bytes"], figures["moves"]),
                             (0, 5, 1))

    def test_waiting_without_durations(self):
        trace = "@0 alloc a 10\n@0 alloc b 10\n@5 free a\n@6 free b\n"
        self.assertEqual(replay(trace, "-p", "fixed:10")["fixed:10"]["failures"], 1)
        for policy in ("fixed:10", "first"):
            figures = replay(trace, "-p", policy, "-s", "10", "--wait")[policy]
            self.assertEqual(figures["failures"], 0)
            self.assertEqual(figures["waiting"], {"requests": 1, "mean": 2.5, "max": 5})

    def test_freed_while_it_waits(self):
        trace = "alloc a 10\nalloc b 10\nfree b\nfree a\nalloc c 10\n"
        for policy in ("fixed:10", "first"):
            figures = replay(trace, "-p", policy, "-s", "10", "--wait")[policy]
            self.assertEqual((figures["failures"], figures["placed"]), (1, 2))

    def test_queues_of_their_own(self):
        trace = "alloc a 10 for 9\nalloc b 10 for 9\nalloc c 20 for 9\n"
        sizes = "10+2x20"
        common = replay(trace, "-p", f"fixed-best:{sizes}")[f"fixed-best:{sizes}"]
        own = replay(trace, "-p", f"fixed-queues:{sizes}")[f"fixed-queues:{sizes}"]
        self.assertEqual(common["waiting"]["max"], 0)
        self.assertEqual(own["waiting"]["max"], 8)
        self.assertGreater(common["internal_fragmentation"]["max"], 0)
        self.assertEqual(own["internal_fragmentation"]["max"], 0)

    def test_granule(self):
        figures = replay("alloc a 10\nalloc b 10\n", "-g", "16", "-s", "32", "-p", "best")["best"]
        self.assertEqual(figures["failures"], 0)
        self.assertAlmostEqual(figures["internal_fragmentation"]["end"], 0.375)


class Pictures(unittest.TestCase):
    def test_svg(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "map.svg")
            result = call("-t", "-", "-m", path, "-p", "first,fixed:2x512K", input=JOBS)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            root = xml.etree.ElementTree.parse(path).getroot()
            self.assertTrue(root.tag.endswith("svg"))
            shapes = sum(1 for each in root.iter() if each.tag.rpartition("}")[2]
                         in ("path", "rect"))
            self.assertGreater(shapes, 12)

    def test_a_directory_that_is_not_there(self):
        result = call("-t", "-", "-m", "/nonexistent/map.svg", input=JOBS)
        self.assertEqual(result.returncode, 125)
        self.assertTrue(result.stdout.startswith("6 requests"))  # nothing is lost
        self.assertEqual(result.stderr, "quire: cannot write the picture /nonexistent/map.svg; is "
                                        "there such a directory, and room?\n")


class Refusals(unittest.TestCase):
    def test_traces(self):
        for trace, message in (
                ("alloc a\n", "line 1: `alloc' wants an ID and a size: alloc ID SIZE [for "
                              "DURATION]"),
                ("alloc a 0", "line 1: '0' is no size above 0, such as 4096, 64K or 1.5M"),
                ("alloc a -5", "line 1: '-5' is no size above 0, such as 4096, 64K or 1.5M"),
                ("alloc a 5 6", "line 1: '6' is not expected after the size; only `for DURATION' "
                                "is"),
                ("alloc a 5 for ever", "line 1: 'ever' is no duration, a whole number above 0"),
                ("\n#\nalloc a 1\nalloc a 2\n", "line 4: 'a' is allocated already, in line 3; "
                                                "free it first"),
                ("free b", "line 1: 'b' was never allocated"),
                ("alloc a 1\nfree a\nfree a", "line 3: 'a' is free already"),
                ("alloc a 1 for 2\nfree a", "line 2: 'a' of line 1 has a duration and ends by "
                                            "itself"),
                ("free", "line 1: `free' wants an ID and nothing else: free ID"),
                ("@5 alloc a 1\n@4 free a", "line 2: time goes back from 5 to 4; sort the lines "
                                            "by time"),
                ("@x alloc a 1", "line 1: '@x' is no time, such as @12"),
                ("@5", "line 1: nothing happens at this time: expected `alloc' or `free'"),
                ("malloc a 1", "line 1: 'malloc' is neither `alloc' nor `free'"),
                ("# nothing\n", "there is no `alloc' in it"),
                ("alloc " + "x" * 65 + " 1", "line 1: the ID '" + "x" * 36 + "...' is longer than "
                                             "64 bytes"),
        ):
            result = call("--trace", "-", input=trace)
            self.assertEqual((result.returncode, result.stdout), (125, ""), trace)
            self.assertEqual(result.stderr, f"quire: standard input: {message}\n")

    def test_no_such_file(self):
        result = call("--trace", "/nonexistent")
        self.assertEqual((result.returncode, result.stdout), (125, ""))
        self.assertEqual(result.stderr, "quire: cannot read the trace /nonexistent: No such file "
                                        "or directory\n")

    def test_arguments(self):
        for arguments, message in (
                ([], "which trace? --trace FILE names it"),
                (["x"], "'x': the trace is given by --trace FILE"),
                (["-p", "fist"], "there is no policy 'fist': first, next, best"),
                (["-p", ""], "--policy names none"),
                (["-p", "fixed:"], "'fixed:' names no partitions"),
                (["-p", "fixed"], "'fixed' names no partitions: give their sizes"),
                (["-p", "fixes:1M"], "there is no policy 'fixes:1M'"),
                (["-p", "fixed:1M+x"], "'x' in 'fixed:1M+x' is no partition"),
                (["-p", "fixed:0x1M"], "is no partition"),
                (["-p", "fixed:70000x1M"], "is no partition"),
                (["-p", "fixed:60000x1M+60000x1M"], "more than 65536 partitions"),
                (["-p", "fixed:2x6000000T"], "the sum of the partitions is too large"),
                (["-p", ",".join(["first"] * 17)], "more than 16 policies"),
                (["-s", "0"], "--space: '0' is no size above 0"),
                (["-s", "1000000T"], "--space: '1000000T' is too large"),
                (["-g", "2T"], "--granule: '2T' is too large"),
                (["-c", "some"], "--compact: 'some' is no size above 0"),
        ):
            result = call(*arguments)
            self.assertEqual((result.returncode, result.stdout), (125, ""), arguments)
            self.assertIn(message, result.stderr)

    def test_output_that_does_not_get_out(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            for more in ([], ["--json"]):
                result = subprocess.run([QUIRE, "partition", "-t", "-", *more], input=JOBS,
                                        stdout=full, stderr=subprocess.PIPE, text=True,
                                        check=False)
                self.assertEqual(result.returncode, 125)
                self.assertIn("cannot write to standard output", result.stderr)


if __name__ == "__main__":
    unittest.main()
