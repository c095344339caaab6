#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`quire time` as a user meets it: what a tree of processes costs, where it is told, how it ends.

Usage: cost.py QUIRE SOURCE_ROOT [unittest's arguments]
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

from asking import QUIRE, ROOT, call, keys_of, may_unshare, read


class Time(unittest.TestCase):
    HELD = """
import glob, re, sys, time
keep = b'x' * (24 << 20)

def naps():
    return sum(int(re.search(r"\\nvoluntary_ctxt_switches:\\s+(\\d+)", open(path).read())[1])
               for path in glob.glob(f"/proc/{sys.argv[1]}/task/*/status"))

enough = naps() + 3
time.sleep(1)
while naps() < enough: # who takes samples sleeps in between: it has taken one by now
    time.sleep(0.01)
"""
    TREE = ("import os, subprocess, sys\nkeep = b'x' * (24 << 20)\n"
            "subprocess.run([sys.executable, '-c', sys.argv[1], str(os.getppid())])\nsys.exit(7)")

    def test_a_tree(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "figures.json")
            result = call("time", "--json", path, "--", sys.executable, "-c", self.TREE,
                          self.HELD)
            self.assertEqual((result.returncode, result.stdout, result.stderr), (7, "", ""))
            cost = json.loads(read(path))
        self.assertEqual((cost["schema"], cost["exit_status"]), ("quire.time/1", 7))
        self.assertGreater(cost["peak_pss_bytes"], 48 << 20) # both at once
        self.assertGreater(cost["peak_rss_bytes"], cost["largest_process_rss_bytes"])
        self.assertGreaterEqual(cost["peak_processes"], 2)
        self.assertGreater(cost["minor_faults"], 24) # in pages of 2 MiB at worst
        self.assertGreaterEqual(cost["wall_seconds"], 1)
        manual = read(f"{ROOT}/man/quire-time.1")
        self.assertEqual({key for key in keys_of(cost) - {"version"} if key not in manual}, set())

    def test_a_tree_of_many(self):
        """What the last of hundreds of processes has counts, too."""
        script = ('for i in $(seq 300); do sleep 100 & done; '
                  f'{sys.executable} -c "$0" $PPID; kill $(jobs -p)')
        with tempfile.NamedTemporaryFile() as file:
            self.assertEqual(call("time", "-j", file.name, "bash", "-c", script,
                                  self.HELD.replace("24 <<", "200 <<")).returncode, 0)
            cost = json.loads(read(file.name))
        self.assertGreater(cost["peak_processes"], 300)
        self.assertGreater(cost["peak_pss_bytes"], 200 << 20)

    @unittest.skipUnless(may_unshare(), "needs root and unshare(1)")
    def test_in_a_pid_namespace_with_anothers_proc(self):
        """Processes are counted as /proc has them: not all of the machine are children of pid 1."""
        with tempfile.NamedTemporaryFile() as file:
            subprocess.run(["unshare", "--pid", "--fork", QUIRE, "time", "-j", file.name, "--",
                            "sleep", "0.3"], check=True)
            cost = json.loads(read(file.name))
        self.assertLessEqual(cost["peak_processes"], 2)
        self.assertIsInstance(cost["read_bytes"], int)

    @unittest.skipUnless(os.path.exists("/usr/bin/time"), "no time(1) here")
    def test_beside_time(self):
        program = [sys.executable, "-S", "-c", "keep = b'x' * (64 << 20)"]
        theirs = subprocess.run(["/usr/bin/time", "-f", "%M", *program], capture_output=True,
                                text=True, check=True).stderr
        with tempfile.NamedTemporaryFile() as file:
            self.assertEqual(call("time", "-j", file.name, *program).returncode, 0)
            ours = json.loads(read(file.name))
        self.assertLess(abs(ours["largest_process_rss_bytes"] // 1024 - int(theirs)), 4096)

    def test_text(self):
        result = call("time", "sh", "-c", "echo out; exit 3")
        self.assertEqual((result.returncode, result.stdout), (3, "out\n"))
        self.assertRegex(result.stderr, r"(?s)^quire: exit status 3 after \S+ s: user .*\n  memory "
                                        r".*\n  faults .*\n  waiting .*\n  files .*\n  meanwhile .*\n$")

    def test_how_it_ends(self):
        self.assertEqual(call("time", "sh", "-c", "kill -TERM $$").returncode, 128 + 15)
        self.assertEqual(call("time", "no-such-command-here").returncode, 127)
        self.assertEqual(call("time", "/dev/null").returncode, 126)
        self.assertEqual(call("time").returncode, 125)
        result = call("time", "-j", "/nonexistent/x", "true")
        self.assertEqual(result.returncode, 125)
        self.assertIn("name another file by --json FILE", result.stderr)

    def test_into_a_file(self):
        with tempfile.TemporaryDirectory() as directory:
            path, as_json = os.path.join(directory, "cost"), os.path.join(directory, "cost.json")
            for options, n_reports in (("-o",), 1), (("-v", "-a", "-o"), 2), (("-j", as_json, "-ao"), 3):
                result = call("time", *options, path, "--", "sh", "-c", "echo out; exit 3")
                self.assertEqual((result.returncode, result.stdout, result.stderr), (3, "out\n", ""))
                self.assertEqual(read(path).count("quire: exit status 3 after "), n_reports)
            self.assertEqual(json.loads(read(as_json))["exit_status"], 3)
            self.assertEqual(json.loads(call("time", "-j", "-", "true").stdout)["exit_status"], 0)
            call("time", "-o", path, "true")
            self.assertEqual(read(path).count("quire: exit status"), 1)
            mark = os.path.join(directory, "mark") # it does not run where its cost can't be told
            for options, message in ((("-o", "/nonexistent/x"), "name another file by --output FILE"),
                                     (("-a",), "--append goes with --output FILE")):
                result = call("time", *options, "touch", mark)
                self.assertEqual(result.returncode, 125)
                self.assertIn(message, result.stderr)
                self.assertFalse(os.path.exists(mark))
            result = call("time", "-o", "/dev/full", "true")
            self.assertEqual(result.returncode, 125)
            self.assertIn("cannot write the figures to /dev/full", result.stderr)


if __name__ == "__main__":
    unittest.main()
