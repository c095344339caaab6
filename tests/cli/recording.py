#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`quire record` and `quire advise` as a user meets them, on real programs.

Usage: recording.py QUIRE [unittest's arguments]
"""
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

QUIRE = os.path.abspath(sys.argv.pop(1))
PATIENCE_SECONDS = 300
MIB = 1 << 20
PYTHON = os.path.realpath(sys.executable)  # itself, not a script that looks for it

ROUNDS = """
memory = bytearray({pages} * 4096)
for _ in range({rounds}):
    for i in range(0, len(memory), 4096):
        memory[i] = 1
"""

AGAIN = """
import mmap
memory = mmap.mmap(-1, {pages} * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for _ in range(2):
    for i in range(0, len(memory), 4096):
        memory[i] = 1
    memory.madvise(mmap.MADV_DONTNEED)
"""

READING = """
import mmap
memory = mmap.mmap(-1, {pages} * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for i in range(0, len(memory), 4096):
    memory[i] = 1
for _ in range(4):
    for i in range(0, len(memory), 4096):
        memory[i]
"""

FORKING = """
import os
memory = bytearray(3000 * 4096)
for i in range(0, len(memory), 4096):
    memory[i] = 1
child = os.fork()
for i in range(0, len(memory), 4096):
    memory[i] = 2
if child:
    os.waitpid(child, 0)
"""

# Nothing of it compresses, and all of it is used again.
RANDOM = """
import random
memory = random.Random(5).randbytes({pages} * 4096)
for _ in range(2):
    for i in range(0, len(memory), 4096):
        memory[i]
"""

# Phases, each with memory of its own that is given back before the next: by the heap and by munmap.
PHASES = """
import mmap
for phase in range(5):
    things = [bytes([phase]) * (5000 + 3000 * phase) for _ in range({pages} * 4096 // (5000 + 3000 * phase))]
    del things
    memory = mmap.mmap(-1, {pages} * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for i in range(0, len(memory), 4096):
        memory[i] = 1
    memory.close()
"""

# Pages of which a few are used often and many seldom, as Zipf's law has it; a third is random.
ZIPF = """
import random
pages = 10000
random.seed(7)
memory = bytearray(pages * 4096)
for i in range(pages):
    memory[i * 4096:i * 4096 + 1200] = random.randbytes(1200)
order = list(range(pages))
random.shuffle(order)
for _ in range(60000):
    memory[order[int(pages ** random.random()) - 1] * 4096 + 7] ^= 1
"""


def call(*arguments, **options):
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([QUIRE, *arguments], capture_output=True, text=True, check=False,
                          timeout=PATIENCE_SECONDS, **options)


def can_page():
    return call("run", "-q", "true").returncode == 0


class Scratch(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="quire-record-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def path(self, name):
        return os.path.join(self.directory, name)

    def script(self, text, name="job.py"):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def record(self, program, *options):
        trace = self.path("trace")
        result = call("record", "-o", trace, *options, "--", PYTHON, self.script(program))
        self.assertEqual(result.returncode, 0, result.stderr)
        return trace, result.stderr

    def simulate(self, trace, ram="1T", policy="lru"):
        result = call("sim", "--trace", trace, "--ram", ram, "--policy", policy, "--json")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return json.loads(result.stdout)[0]


@unittest.skipUnless(can_page(), "userfaultfd is not open here")
class Pages(Scratch):
    def setUp(self):
        super().setUp()
        idle = self.simulate(self.record("pass")[0])
        self.own_touches, self.own_pages = idle["references"], idle["cold_faults"]

    def test_each_touch_that_leaves_the_window_is_seen(self):
        once = self.simulate(self.record(ROUNDS.format(pages=6000, rounds=1))[0])
        trace, text = self.record(ROUNDS.format(pages=6000, rounds=4))
        found = self.simulate(trace)
        self.assertRegex(text, r"^quire: \d+ touches of \d+ pages \(\d+\.\d MiB\) by 1 process")
        self.assertAlmostEqual(found["references"] - once["references"], 3 * 6000, delta=300)
        self.assertAlmostEqual(found["cold_faults"] - self.own_pages, 6000, delta=300)
        # a smaller window sees what goes on in 1300 pages
        one, six = (self.simulate(self.record(ROUNDS.format(pages=1300, rounds=rounds),
                                              "--window", "4M")[0])["references"]
                    for rounds in (1, 6))
        self.assertAlmostEqual(six - one, 5 * 1300, delta=1000)
        # what the window holds is not seen again: it is larger than all of this
        trace, _ = self.record(ROUNDS.format(pages=6000, rounds=4), "--window", "64M")
        self.assertAlmostEqual(self.simulate(trace)["references"] - self.own_touches, 6000,
                               delta=300)

    def test_memory_that_was_given_back_is_new(self):
        trace, _ = self.record(AGAIN.format(pages=4000))
        self.assertAlmostEqual(self.simulate(trace)["cold_faults"] - self.own_pages, 8000,
                               delta=300)

    def test_what_does_not_compress_leaves_the_window_as_well(self):
        trace, _ = self.record(RANDOM.format(pages=4000))
        self.assertGreater(self.simulate(trace)["references"] - self.own_touches, 3 * 3500)
        # without a file less RAM than all of it is none: the advice says so, and never is that
        advice = call("advise", "--json", "--swap", "none", trace)
        self.assertTrue(all(point["fits"] for point in json.loads(advice.stdout)["curve"]))
        for swap, words in (("none", "but it can't hold what is in use"), (self.directory, "\n")):
            told = call("advise", "--swap", swap, "--ram", "16M", trace)
            self.assertEqual((told.returncode, told.stderr), (0, ""))
            self.assertEqual("allocations would fail" in told.stdout, swap == "none")
            self.assertIn(words, told.stdout)

    def test_what_is_freed_is_not_in_use(self):
        trace, _ = self.record(PHASES.format(pages=3000))
        found = self.simulate(trace, policy="pager:gclock", ram=f"{3000 * 4096 + 12 * MIB}")
        self.assertEqual(found["faults"], found["cold_faults"])  # all that is in use at once fits
        self.assertGreater(found["cold_faults"], 5 * 3000)
        result = call("advise", "--json", "--swap", "none", "--time", "1", trace)
        peak = json.loads(result.stdout)["peak_bytes"]
        self.assertAlmostEqual(peak, 3000 * 4096 + 6 * MIB, delta=4 * MIB)

    def test_who_has_ended_uses_nothing(self):
        job = self.script(ROUNDS.format(pages=4000, rounds=1))
        trace = self.path("trace")
        result = call("record", "-o", trace, "--", "sh", "-c",
                      "; ".join([f"{PYTHON} {job}; sleep 0.2"] * 2))
        self.assertEqual(result.returncode, 0, result.stderr)
        result = call("advise", "--json", "--swap", "none", "--time", "1", trace)
        self.assertLess(json.loads(result.stdout)["peak_bytes"], 7000 * 4096)

    def test_reads_are_no_writes(self):
        trace, _ = self.record(READING.format(pages=6000))
        found = self.simulate(trace, ram="12M")
        self.assertGreater(found["faults"], 4 * 6000)
        self.assertGreater(found["writebacks"], 5000)
        self.assertLess(found["writebacks"], 6000 + 3000)

    def test_children_are_processes_of_their_own(self):
        trace, text = self.record(FORKING)
        self.assertNotRegex(text, "by 1 process")
        # parent and child write to all of it after the fork
        self.assertGreater(self.simulate(trace)["cold_faults"] - self.own_pages, 2 * 2500)

    def test_what_passes_through(self):
        trace = self.path("trace")
        result = call("record", "-q", "-o", trace, "--", "sh", "-c", "echo out; exit 3")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (3, "out\n", ""))
        self.assertEqual(call("record", "-q", "-o", trace, "sh", "-c", "kill -9 $$").returncode, 137)

    def test_the_command_is_kept_as_a_shell_reads_it(self):
        words = ["sh", "-c", ": \"$1\"; echo 'a b'", "it's", "", "the-end"]
        result = call("record", "-q", "-o", self.path("trace"), "--", *words)
        self.assertEqual((result.returncode, result.stdout), (0, "a b\n"), result.stderr)
        with open(self.path("trace"), "rb") as file:
            head = file.read(4096)
        line = head[head.index(b"sh -c "):head.index(b"the-end")] + b"the-end"
        kept = subprocess.run(["sh", "-c", b"printf '%s\\0' " + line], capture_output=True,
                              check=True).stdout
        self.assertEqual(kept.decode().split("\0")[:-1], words)

    def test_a_tlb_is_told_of_what_is_missing(self):
        trace, _ = self.record("pass")
        self.assertIn("the trace has not every access", call("tlb", "--trace", trace).stderr)

    def test_a_simulation_is_told_of_what_is_missing(self):
        trace, _ = self.record("pass", "--window", "2M")
        for command in ("sim", "--ram", "4M", "--policy", "lru"), ("mrc",):
            result = call(*command, "--trace", trace)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("does not see touches of the 2.0 MiB that", result.stderr)

    def test_a_run_inside_is_refused(self):
        result = call("run", "-q", "--", QUIRE, "record", "-o", self.path("inside"), "true")
        self.assertEqual(result.returncode, 125)
        self.assertIn("inside a `quire run' already", result.stderr)
        self.assertFalse(os.path.exists(self.path("inside")))


class Accesses(Scratch):
    @unittest.skipUnless(shutil.which("valgrind"), "no valgrind here")
    def test_every_access_by_lackey(self):
        trace = self.path("trace")
        result = call("record", "--every", "access", "-o", trace, "--", "true")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stderr, r"^quire: \d+ accesses; ")
        models = json.loads(call("tlb", "--trace", trace, "--json", "--cpu", "skylake,zen4",
                                 "--page", "4K,2M").stdout)
        self.assertEqual(models["every"], "access")
        self.assertGreater(models["data_references"], 10000)
        self.assertGreater(models["instruction_fetches"], models["data_references"])
        self.assertEqual(len(models["models"]), 4)

    @unittest.skipUnless(shutil.which("valgrind"), "no valgrind here")
    def test_a_directory_of_that_name_is_passed_over(self):
        os.makedirs(self.path("bin/valgrind"))
        result = call("record", "--every", "access", "-q", "-o", self.path("trace"), "true",
                      env={**os.environ, "PATH": f"{self.path('bin')}:{os.environ['PATH']}"})
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_without_valgrind(self):
        result = call("record", "--every", "access", "-o", self.path("trace"), "true",
                      env={"PATH": self.directory})
        self.assertEqual(result.returncode, 125)
        self.assertIn("takes valgrind, which is not installed\n       install it", result.stderr)
        self.assertFalse(os.path.exists(self.path("trace")))


class Samples(Scratch):
    def perf(self, record, script):
        os.makedirs(self.path("bin"))
        with open(self.path("bin/perf"), "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\ncase $1 in\nmem) {record} ;;\nscript) {script} ;;\nesac\n")
        os.chmod(self.path("bin/perf"), 0o755)
        return {**os.environ, "PATH": f"{self.path('bin')}:{os.environ['PATH']}"}

    def test_where_the_processor_gives_none(self):
        environment = self.perf("echo 'failed: memory events not supported' >&2; exit 1", "exit 1")
        result = call("record", "--every", "sample", "-o", self.path("trace"), "true",
                      env=environment)
        self.assertEqual(result.returncode, 125)
        self.assertIn("gives no samples of memory addresses: perf mem: failed: memory events not "
                      "supported\n", result.stderr)
        self.assertFalse(os.path.exists(self.path("trace")))

    def test_files_in_between_are_where_tmpdir_says(self):
        os.makedirs(self.path("temporary"))
        environment = self.perf(f"ls {self.path('temporary')} >&2; exit 1", "exit 1")
        environment["TMPDIR"] = self.path("temporary")
        for directory, told in (("temporary", r"perf mem: quire-perf-\w+"),
                                ("none", f"cannot make a file in {self.path('none')}: No such file")):
            environment["TMPDIR"] = self.path(directory)
            result = call("record", "--every", "sample", "-o", self.path("trace"), "true",
                          env=environment)
            self.assertEqual(result.returncode, 125)
            self.assertRegex(result.stderr, told)
        self.assertEqual(os.listdir(self.path("temporary")), [])
        result = call("advise", "--", "true", env=environment)
        self.assertEqual(result.returncode, 125)
        self.assertIn("No such file or directory\n       TMPDIR names another directory\n",
                      result.stderr)

    def test_samples_become_a_trace(self):
        lines = "\\n".join(f"job 12 1.{i:06} cpu/mem-loads/P: {0x7f0000001000 + 4096 * i:x}"
                           for i in range(40))
        environment = self.perf('while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
                                f"printf '{lines}\\n'")
        result = call("record", "--every", "sample", "--period", "1000", "-o", self.path("trace"),
                      "sh", "-c", "exit 4", env=environment)
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertIn("quire: 40 samples; ", result.stderr)
        self.assertEqual(self.simulate(self.path("trace"))["references"], 40)


class Refused(Scratch):
    def test_record(self):
        for words, status, *arguments in (
                ("there is no COMMAND to run", 125),
                ("it is access, page or sample", 125, "--every", "byte", "true"),
                ("it takes at least 1M", 125, "--window", "1000K", "true"),
                ("--every page only", 125, "--every", "access", "--window", "16M", "true"),
                ("--every sample only", 125, "--period", "5", "true"),
                ("cannot write the trace to /nonexistent/trace: No such file", 125,
                 "-o", "/nonexistent/trace", "true"),
                ("cannot find the command 'no-such-command'", 127, "-o", self.path("trace"),
                 "no-such-command"),
                ("cannot find the command 'no-such-command'", 127, "-o", self.path("trace"),
                 "--every", "access", "no-such-command")):
            result = call("record", *arguments)
            if "valgrind" in result.stderr:
                continue
            self.assertEqual((result.returncode, result.stdout), (status, ""), arguments)
            self.assertIn(words, result.stderr)
            self.assertFalse(os.path.exists(self.path("trace")))

    def test_advise(self):
        empty = self.path("empty")
        with open(empty, "w", encoding="utf-8"):
            pass
        for words, *arguments in (("on what? give a trace",), ("a trace stands alone", "a", "b"),
                                  ("it is empty", empty), ("/nonexistent", "/nonexistent"),
                                  ("give a number of 1 or more", "--slowdown", "0.5", empty),
                                  ("it takes at least 8M", "--ram", "1M", empty),
                                  ("it takes at least 1M", "--window", "64K", "--", "true"),
                                  ("leave out one of both", "--ram", "16M", "--slowdown", "2", "x"),
                                  ("not standard input", "-"),
                                  ("with a COMMAND only", "--window", "16M", empty)):
            result = call("advise", *arguments)
            self.assertEqual((result.returncode, result.stdout), (125, ""), arguments)
            self.assertIn(words, result.stderr)


@unittest.skipUnless(can_page(), "userfaultfd is not open here")
class Advice(Scratch):
    def advise(self, *arguments):
        result = call("advise", "--json", "--swap", "none", *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def count_faults(self, line):
        stats = self.path("stats.json")
        words = shlex.split(line)
        self.assertEqual(words[:2], ["quire", "run"])
        result = call("run", "-q", "--stats", stats, *words[2:])
        self.assertEqual(result.returncode, 0, result.stderr)
        with open(stats, encoding="utf-8") as file:
            faults = json.load(file)["faults"]
        return sum(faults[kind] for kind in ("first_touch", "staging", "same_filled", "ram", "file"))

    def test_the_line_that_is_advised_faults_as_predicted(self):
        trace, _ = self.record(ZIPF)
        advice = self.advise("--ram", "24M", trace)
        self.assertEqual(advice["tolerance"], 0.2)
        middle = next(point for point in advice["curve"] if point["ram_bytes"] >= 32 * MIB)
        elsewhere = (f"quire run --ram {middle['ram_bytes']} --policy gclock --swap none -- "
                     + advice["run"].split(" -- ", 1)[1])
        for line, point in ((advice["run"], advice["advice"]), (elsewhere, middle)):
            happened = self.count_faults(line)
            self.assertGreater(happened, 3000)
            self.assertAlmostEqual(point["faults"], happened, delta=0.2 * happened, msg=line)
            self.assertLess(point["faults_least"], happened)
            self.assertGreater(point["faults_most"], happened)

    def test_memory_that_is_freed_is_predicted(self):
        """Phases that free theirs: their faults, and where they have none."""
        trace, _ = self.record(PHASES.format(pages=3000))
        advice = self.advise("--ram", "14M", trace)
        point = next(each for each in advice["policies"] if each["policy"] == "gclock")
        happened = self.count_faults(
            "quire run --ram 14M --policy gclock --swap none -- " + advice["run"].split(" -- ", 1)[1])
        self.assertGreater(happened, 300)
        self.assertLess(point["faults_least"], happened)
        self.assertGreater(point["faults_most"], happened)
        fits = advice["peak_bytes"] + advice["peak_bytes"] // 8
        self.assertEqual(self.advise("--ram", str(fits), trace)["advice"]["faults"], 0)

    def test_a_cliff_and_what_is_beyond_it(self):
        """Passes: all of it fits, or hardly anything stays. What happens lies where it was said to."""
        advice = self.advise(self.record(READING.format(pages=5000))[0])
        curve, command = advice["curve"], advice["run"].split(" -- ", 1)[1]
        steep = [point for point in curve if point["again_faults"] > 0 and point["faults_most"]]
        self.assertTrue(steep[-1]["steep"], curve)  # a little more, and there are none
        for point in (steep[0], steep[-1]):
            self.assertLessEqual(point["faults_least"], point["faults"])
            self.assertLessEqual(point["faults"], point["faults_most"])
            line = (f"quire run --ram {point['ram_bytes']} --policy gclock --swap none -- {command}")
            happened = self.count_faults(line)
            self.assertGreater(happened, 100)
            self.assertGreaterEqual(happened, point["faults_least"], line)
            self.assertLessEqual(happened, point["faults_most"], line)

    def test_a_command_its_curve_and_its_budget(self):
        job = self.script(ROUNDS.format(pages=6000, rounds=8))
        advice = self.advise("--slowdown", "20%", "-o", self.path("kept"), "--", PYTHON, job)
        self.assertEqual(advice["command"], f"{PYTHON} {job}")
        self.assertTrue(os.path.exists(self.path("kept")))
        sizes = [point["ram_bytes"] for point in advice["curve"]]
        self.assertEqual(sizes, sorted(set(sizes)))
        self.assertAlmostEqual(advice["peak_bytes"], 6000 * 4096 + 8 * MIB, delta=8 * MIB)
        self.assertEqual(advice["curve"][-1]["again_faults"], 0)  # all of it fits
        self.assertIn(advice["knee"]["ram_bytes"], sizes)
        self.assertIn(advice["advice"]["ram_bytes"], sizes)
        self.assertLessEqual(advice["advice"]["slowdown"], 1.2)
        self.assertGreater(advice["fault_ns"]["ram"], 0)
        self.assertRegex(advice["run"], r"^quire run --ram \d+M( --policy [a-z0-9-]+)? --swap none "
                                        r"-- /")

        self.check_text(self.path("kept"))

    def check_text(self, trace):
        result = call("advise", "--slowdown", "1.3", "--time", "2.5", trace)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        for words in ("\ntime       2.50 s with RAM to spare\n", "<- knee",
                      "\npolicy     ", "\npage size  4 KiB",
                      "\n\nquire run --ram "):
            self.assertIn(words, result.stdout)
        self.assertRegex(result.stdout, r"<- (knee, )?budget\n") # the same, where faults are dear
        self.assertRegex(result.stdout, r"\nbudget     \S+ MiB: \d+ faults \(\d+ to \d+\), ")
        self.assertEqual(result.stdout.splitlines()[-1].count(" -- /"), 1)

    def test_a_command_that_fails(self):
        result = call("advise", "--", "sh", "-c", "echo shown; exit 3")
        self.assertEqual((result.returncode, result.stdout), (3, ""))
        self.assertIn("shown\n", result.stderr)
        self.assertIn("the command failed (exit status 3): no advice on that", result.stderr)

    def test_a_program_that_touches_nothing(self):
        result = call("advise", "--", "true")
        self.assertEqual(result.returncode, 125)
        self.assertIn("has no touches of memory", result.stderr)


if __name__ == "__main__":
    unittest.main()
