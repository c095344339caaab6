#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs of Quire as others see them: `quire ps --runs`, `maps`, `zones` and `slabs` of one, and the file
in which it publishes its figures.

Usage: runs.py QUIRE SOURCE_ROOT [unittest's arguments]
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

from asking import PATIENCE_SECONDS, QUIRE, call, figures, output, read, until


class Seen(unittest.TestCase):
    @unittest.skipUnless(call("doctor").returncode == 0, "`quire run' does not work here")
    def test_runs(self):
        with tempfile.TemporaryDirectory() as directory:
            done, go = os.path.join(directory, "done"), os.path.join(directory, "go")
            os.mkfifo(go)
            program = ("import os, sys\nblocks = [os.urandom(1 << 20) for _ in range(48)]\n"
                       f"open({done!r}, 'w').close()\nopen({go!r}).read()\n")
            launcher = subprocess.Popen([QUIRE, "run", "--ram", "32M", "--swap", "none", "-q",
                                         "--", sys.executable, "-c",
                                         program.replace("os.urandom(1 << 20)",
                                                         "(b'%08d' % _) * (1 << 17)")])
            end = time.monotonic() + PATIENCE_SECONDS
            while not os.path.exists(done) and time.monotonic() < end:
                time.sleep(0.02)
            with open(f"/proc/{launcher.pid}/task/{launcher.pid}/children",
                      encoding="utf-8") as file:
                children = {int(pid) for pid in file.read().split()}
            while time.monotonic() < end: # what a run publishes may be a second old
                everyone = figures("ps", "--runs")["processes"]
                ours = [one for one in everyone if one["pid"] in children]
                # over its budget it may be for a moment, not while it sleeps
                if ours and ours[0]["compressed_bytes"] > 0 and ours[0]["held_bytes"] <= 32 << 20:
                    break
                time.sleep(0.02)
            ours, = ours
            maps = figures("maps", str(ours["pid"]))
            zones = figures("zones", "--pid", str(ours["pid"]))
            of_run = [(figures("zones", "--pid", str(pid))["pid"],
                       figures("slabs", "--pid", str(pid))["pid"])
                      for pid in (launcher.pid, ours["run"], ours["pid"])]
            text_of_zones = output("zones", "--pid", str(ours["pid"]))
            with open(go, "w", encoding="utf-8"):
                pass
            self.assertEqual(launcher.wait(PATIENCE_SECONDS), 0)
        self.assertEqual(of_run, [(ours["pid"], ours["pid"])] * 3) # whichever is named
        self.assertEqual(ours["budget_bytes"], 32 << 20)
        self.assertIn(ours["run"], children)
        self.assertGreater(ours["resident_bytes"], 1 << 20)
        self.assertGreater(ours["compressed_bytes"], 0)
        self.assertLessEqual(ours["held_bytes"], 32 << 20)
        self.assertEqual(maps["run"]["budget_bytes"], 32 << 20)
        self.assertIn("arena", {area["kind"] for area in maps["areas"]})
        self.assertEqual([zone["zone"] for zone in zones["zones"]], ["heap", "mappings"])
        for zone in zones["zones"]:
            self.assertEqual(zone["free_pages"],
                             sum(n << order for order, n in enumerate(zone["free_blocks"])))
            self.assertEqual(zone["mobility"]["Movable"]["free_blocks"], zone["free_blocks"])
        self.assertEqual(zones["pid"], ours["pid"])
        self.assertGreater(zones["zones"][0]["managed_pages"], 100)
        for text in ("heap     free blocks", "mappings fragmented"):
            self.assertIn(text, text_of_zones)


@unittest.skipUnless(call("doctor").returncode == 0, "`quire run' does not work here")
class Published(unittest.TestCase):
    """The file in which a run shows its figures."""

    def setUp(self):
        self.home = tempfile.TemporaryDirectory()
        self.addCleanup(self.home.cleanup)
        self.environment = {**os.environ, "XDG_RUNTIME_DIR": self.home.name}
        self.directory = os.path.join(self.home.name, "quire")

    def start(self, *options):
        """The launcher of a run that has begun and goes on until its input is closed."""
        run = subprocess.Popen([QUIRE, "run", "--ram", "32M", "--swap", "none", "-q", *options,
                                "--", "sh", "-c", "echo begun; read x"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, env=self.environment)
        for end in (run.wait, run.kill, run.stdin.close, run.stdout.close):
            self.addCleanup(end)
        self.assertEqual(run.stdout.readline(), b"begun\n")
        return run

    def files(self):
        return os.listdir(self.directory) if os.path.isdir(self.directory) else []

    def rows(self):
        return [row["command"] for row in
                figures("ps", "--runs", env=self.environment)["processes"]]

    def publication(self, *options):
        path = os.path.join(self.home.name, "stats.json")
        subprocess.run([QUIRE, "run", "--ram", "32M", "--swap", "none", "-q", "--stats", path,
                        *options, "--", "true"], check=True, env=self.environment)
        return json.loads(read(path))["publication"]

    def test_while_it_runs(self):
        run = self.start()
        name, = self.files()
        self.assertRegex(name, r"^run-\d+$")
        self.assertEqual(os.stat(os.path.join(self.directory, name)).st_mode & 0o777, 0o600)
        self.assertEqual(os.stat(self.directory).st_mode & 0o777, 0o700)
        end = time.monotonic() + PATIENCE_SECONDS
        while not any("read x" in row for row in self.rows()) and time.monotonic() < end:
            time.sleep(0.05)
        self.assertTrue(any("read x" in row for row in self.rows()))
        run.stdin.close()
        run.wait(PATIENCE_SECONDS)
        self.assertFalse(os.path.exists(self.directory)) # the last takes it along

    def test_what_a_kill_of_all_leaves_goes_with_the_next_look(self):
        run = self.start()
        name, = self.files()
        with open(f"/proc/{run.pid}/task/{run.pid}/children", encoding="utf-8") as file:
            for pid in (run.pid, *map(int, file.read().split())): # the launcher first
                os.kill(pid, 9)
        run.wait(PATIENCE_SECONDS)
        keeper = int(name.removeprefix("run-"))
        def is_gone():
            try:
                return read(f"/proc/{keeper}/stat").rpartition(")")[2].split()[0] == "Z"
            except OSError:
                return True
        until(is_gone)
        self.assertEqual(self.files(), [name])
        self.rows()
        self.assertEqual(self.files(), [])

    def test_not_wanted(self):
        self.start("--no-publish")
        self.assertEqual(self.files(), [])
        self.assertEqual(self.publication("--no-publish"),
                         {"is_published": False, "file": None, "problem": None})

    def test_not_possible(self):
        self.assertEqual(self.publication()["is_published"], True)
        with open(self.directory, "w", encoding="utf-8"): # in its place
            pass
        shared = self.publication()
        self.assertEqual(shared["file"].rpartition("/")[0], f"/dev/shm/quire-{os.geteuid()}")
        doctor, = [check for check in json.loads(call("doctor", "--json", env=self.environment)
                                                 .stdout)["checks"]
                   if check["name"] == "publishing"]
        self.assertEqual(doctor["status"], "ok")
        self.assertIn("/dev/shm/quire-", doctor["found"])

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("unshare"), "for root, by unshare")
    def test_nowhere(self):
        path = os.path.join(self.home.name, "stats.json")
        with open(self.directory, "w", encoding="utf-8"):
            pass
        script = (f"mount -t tmpfs -o ro none /dev/shm && {QUIRE} run --ram 32M --swap none -q "
                  f"--stats {path} -- true && {QUIRE} doctor --json")
        result = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True,
                                text=True, check=True, env=self.environment)
        publication = json.loads(read(path))["publication"]
        self.assertEqual((publication["is_published"], publication["file"]), (False, None))
        self.assertIn("Read-only file system", publication["problem"])
        doctor, = [check for check in json.loads(result.stdout)["checks"]
                   if check["name"] == "publishing"]
        self.assertEqual(doctor["status"], "warn")
        self.assertIn("Read-only file system", doctor["found"])


if __name__ == "__main__":
    unittest.main()
