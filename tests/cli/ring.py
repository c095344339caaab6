#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`quire ring` as a user meets it: data through rings, ends and deaths, names, refusals.

Usage: ring.py QUIRE [unittest's arguments]
"""
import json
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import unittest

QUIRE = os.path.abspath(sys.argv.pop(1))
PATIENCE_SECONDS = int(os.environ.get("PATIENCE", "300"))


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"it never came that {what}")
        time.sleep(0.01)


class RingTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="quire-ring-")
        self.environment = dict(os.environ, XDG_RUNTIME_DIR=self.directory.name)
        self.names = os.path.join(self.directory.name, "quire")

    def tearDown(self):
        for ring in json.loads(self.ring("ls", "--json").stdout)["rings"]:
            self.ring("rm", ring["name"])
        wait_for(lambda: not os.path.exists(self.names), "all names are gone")
        self.directory.cleanup()

    def ring(self, *arguments, **options):
        options.setdefault("text", "input" not in options)
        return subprocess.run([QUIRE, "ring", *arguments], capture_output=True, check=False,
                              timeout=PATIENCE_SECONDS, env=self.environment, **options)

    def start(self, *arguments, **options):
        return subprocess.Popen([QUIRE, "ring", *arguments], env=self.environment,
                                stderr=subprocess.PIPE, **options)

    def create(self, *arguments):
        result = self.ring("create", *arguments)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))

    def stat(self, name):
        return json.loads(self.ring("stat", name, "--json").stdout)

    def has(self, name):
        return any(ring["name"] == name
                   for ring in json.loads(self.ring("ls", "--json").stdout)["rings"])

    def assert_fails(self, result, *words):
        text = result.stderr if isinstance(result.stderr, str) else result.stderr.decode()
        self.assertEqual(result.returncode, 1, text)
        for word in words:
            self.assertIn(word, text)


class Data(RingTest):
    def pass_through(self, data, *options):
        self.create("r", *options)
        with tempfile.TemporaryFile() as output: # no pipe, which somebody would have to read
            getter = self.start("get", "r", stdout=output)
            putter = self.ring("put", "r", input=data)
            complaint = getter.communicate(timeout=PATIENCE_SECONDS)[1]
            self.assertEqual((putter.returncode, getter.returncode, complaint), (0, 0, b""))
            output.seek(0)
            self.assertEqual(output.read(), data)
        wait_for(lambda: not self.has("r"), "the ring ends with its users")

    def test_stream_larger_than_ring(self):
        self.pass_through(random.Random(1).randbytes(3_000_001), "--size", "64K")

    def test_smallest_ring(self):
        self.pass_through(b"the quick brown fox", "--size", "1")

    def test_frames(self):
        self.pass_through(random.Random(2).randbytes(48 * 20000), "--frame", "48", "--size", "9K")

    def test_many(self):
        self.pass_through(random.Random(3).randbytes(64 * 10000), "--many", "--frame", "64",
                          "--size", "4K")

    def test_again_and_again(self):
        """A ring that has ended is gone when its last user is: the next may have its name."""
        for number in range(20):
            self.create("r", *(["--frame", "3"] if number % 4 == 3 else []))
            putter = self.start("put", "r", stdin=subprocess.PIPE)
            putter.stdin.write(b"four" if number % 4 == 3 else b"text")
            putter.stdin.close()
            getter = self.ring("get", "r")
            self.assertEqual(putter.wait(PATIENCE_SECONDS), getter.returncode)
            putter.stderr.close()
            self.assertFalse(os.path.exists(self.names), number)

    def test_nothing(self):
        self.pass_through(b"")

    def test_several_producers(self):
        self.create("m", "--many", "--frame", "8", "--size", "1K")
        getter = self.start("get", "m", stdout=subprocess.PIPE)
        # One that stays until the others have come, or the first to leave would be the last.
        holder = self.start("put", "m", stdin=subprocess.PIPE)
        wait_for(lambda: self.stat("m")["producers"] == 1, "the first has come")
        putters = [self.start("put", "m", stdin=subprocess.PIPE) for _ in range(3)]
        for number, putter in enumerate(putters):
            putter.communicate(b"%d-------" % number * 1000, timeout=PATIENCE_SECONDS)
        holder.communicate(b"", timeout=PATIENCE_SECONDS)
        got = getter.communicate(timeout=PATIENCE_SECONDS)[0]
        frames = [got[at:at + 8] for at in range(0, len(got), 8)]
        self.assertEqual(sorted(frames),
                         sorted(b"%d-------" % number for number in range(3) for _ in range(1000)))

    def test_put_twice_then_get(self):
        self.create("two")
        for text in b"one ", b"two":
            self.assertEqual(self.ring("put", "two", input=text).returncode, 0)
        self.assertEqual(self.ring("get", "two").stdout, "one two")

    def test_full(self):
        self.create("fail", "--size", "4K", "--full", "fail")
        self.assert_fails(self.ring("put", "fail", input=b"x" * 5000), "ring 'fail' is full")
        self.assertEqual(self.ring("get", "fail", text=False).stdout, b"x" * 4096)
        self.create("over", "--size", "4K", "--full", "overwrite")
        data = random.Random(4).randbytes(10000)
        self.assertEqual(self.ring("put", "over", input=data).returncode, 0)
        ring = self.stat("over")
        self.assertEqual((ring["in_frames"], ring["waiting_frames"], ring["lost_frames"]),
                         (10000, 4096, 10000 - 4096))
        self.assertEqual(self.ring("get", "over", text=False).stdout, data[-4096:])


    def test_just_full(self):
        for full in "fail", "wait":  # the input ends where the room does: no reason to fail, or wait
            self.create(full, "--size", "4K", "--full", full)
            self.assertEqual(self.ring("put", full, input=b"y" * 4096).returncode, 0)
            result = self.ring("get", full, text=False)
            self.assertEqual((result.returncode, result.stdout), (0, b"y" * 4096))

    def test_just_full_and_more(self):
        self.pass_through(b"z" * 4096 * 3 + b"!", "--size", "4K")


class Ends(RingTest):
    def test_producer_killed(self):
        self.create("r")
        getter = self.start("get", "r", stdout=subprocess.PIPE)
        putter = self.start("put", "r", stdin=subprocess.PIPE)
        putter.stdin.write(b"half of it")
        putter.stdin.flush()
        wait_for(lambda: self.stat("r")["out_frames"] == 10, "the first half arrives")
        putter.kill()
        putter.communicate()
        got, complaint = getter.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual((got, getter.returncode), (b"half of it", 1))
        self.assertIn(b"its producer died", complaint)

    def test_consumer_leaves(self):
        self.create("r", "--size", "4K")
        getter = self.start("get", "r", stdout=subprocess.PIPE)
        putter = self.start("put", "r", stdin=subprocess.PIPE)
        wait_for(lambda: self.stat("r")["consumers"] == 1, "the consumer has come")
        getter.stdout.close()  # it can't write any more
        try:
            complaint = putter.communicate(b"x" * 100000, timeout=PATIENCE_SECONDS)[1]
        except BrokenPipeError:
            complaint = putter.stderr.read()
        self.assertEqual(putter.wait(PATIENCE_SECONDS), 1)
        self.assertIn(b"its consumer died", complaint)
        self.assertIn(b"cannot write to standard output", getter.stderr.read())
        getter.stderr.close()
        self.assertEqual(getter.wait(PATIENCE_SECONDS), 1)

    def test_consumer_leaves_while_there_is_no_input(self):
        for options in [], ["--frame", "8", "--many"], ["--size", "1"]:
            self.create("r", *options)
            putter = self.start("put", "r", stdin=subprocess.PIPE)
            getter = self.start("get", "r", stdout=subprocess.DEVNULL)
            wait_for(lambda: (ring := self.stat("r"))["producers"] == ring["consumers"] == 1,
                     "both have come")
            getter.kill()
            getter.communicate()
            self.assertEqual(putter.wait(PATIENCE_SECONDS), 1)  # its input is open still
            self.assertIn(b"its consumer died", putter.communicate()[1])
            wait_for(lambda: not self.has("r"), "the ring ends with its users")

    def test_half_a_frame(self):
        self.create("r", "--frame", "10")
        self.assert_fails(self.ring("put", "r", input=b"x" * 25), "middle of a frame: 5 of 10")
        self.assertEqual(self.stat("r")["in_frames"], 2)

    def is_keeper(self, pid):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8") as name, \
                 open(f"/proc/{pid}/environ", encoding="utf-8") as environment:
                return name.read() == "quire-ring\n" and self.directory.name in environment.read()
        except OSError:
            return False

    def test_keeper_killed(self):
        self.create("r", "--keep")
        mine = [pid for pid in os.listdir("/proc") if pid.isdigit() and self.is_keeper(pid)]
        self.assertEqual(len(mine), 1)
        os.kill(int(mine[0]), signal.SIGKILL)
        # Whoever looks while it dies may still find it; one that looks later removes its name.
        wait_for(lambda: not self.has("r") and not os.path.exists(self.names),
                 "the name is removed, since it is stale")
        self.create("r")  # the name can be used again

    def test_kept(self):
        self.create("r", "--keep")
        for text in b"one", b"two":
            self.assertEqual(self.ring("put", "r", input=text).returncode, 0)
            self.assertEqual(self.ring("get", "r", text=False).stdout, text)
        self.assertTrue(self.has("r"))


class Names(RingTest):
    def test_list_and_stat(self):
        self.assertEqual(self.ring("ls").stdout, "")
        self.create("a", "--size", "3K", "--frame", "16", "--many", "--full", "fail")
        self.assertEqual(self.stat("a"), {
            "schema": "quire.ring/1", "version": self.stat("a")["version"], "name": "a", "kind": "many-to-many", "full": "fail", "frames": 256, "frame_bytes": 16,
            "waiting_frames": 0, "in_frames": 0, "out_frames": 0, "lost_frames": 0,
            "skipped_frames": 0, "producers": 0, "consumers": 0, "died": 0})
        self.assertRegex(self.ring("ls").stdout, r"name +frames.*\na +256 +16 +0 +0 +0\n")
        self.assertIn("size:       4.0 KiB: 256 frames of 16 bytes", self.ring("stat", "a").stdout)

    def test_list_is_in_order(self):
        for name in "c", "a", "b":
            self.create(name)
        self.assertEqual([line.split()[0] for line in self.ring("ls").stdout.splitlines()],
                         ["name", "a", "b", "c"])
        rings = json.loads(self.ring("ls", "--json").stdout)
        self.assertEqual((rings["schema"], [ring["name"] for ring in rings["rings"]]),
                         ("quire.rings/1", ["a", "b", "c"]))

    def test_watch(self):
        self.create("a")
        watchers = [self.start("stat", "a", "--watch", *json_option, stdout=subprocess.PIPE)
                    for json_option in ([], ["--json"])]
        self.assertIn(b"waiting", watchers[0].stdout.readline())
        self.assertEqual(watchers[0].stdout.readline().split()[-2:], [b"0", b"0"])
        self.assertEqual(json.loads(watchers[1].stdout.readline())["schema"], "quire.ring/1")
        self.assertEqual(self.ring("put", "a", input=b"x").returncode, 0)
        self.assertEqual(self.ring("get", "a").stdout, "x")  # and so it ends, watched or not
        for watcher in watchers:
            watcher.communicate(timeout=PATIENCE_SECONDS)
            self.assertEqual(watcher.returncode, 0)

    def test_mode(self):
        self.create("private")
        self.create("open", "--mode", "666")
        modes = {name: stat.S_IMODE(os.stat(os.path.join(self.names, name)).st_mode)
                 for name in os.listdir(self.names)}
        self.assertEqual(modes, {"share-private": 0o600, "share-open": 0o666})

    def test_others_files(self):
        self.create("r")
        path = os.path.join(self.names, "run-1")
        with open(path, "w", encoding="utf-8") as file:
            file.write("what a run publishes")
        self.assertNotIn("run-1", self.ring("ls").stdout)
        self.assertTrue(os.path.exists(path))
        os.remove(path)

    @unittest.skipUnless(os.geteuid() == 0, "only root can become somebody else")
    def test_others(self):
        self.create("private")
        self.create("open", "--mode", "666")
        os.chmod(self.directory.name, 0o755)
        os.chmod(self.names, 0o755)
        nobody = {"user": 65534, "group": 65534, "extra_groups": []}
        self.assert_fails(self.ring("stat", "private", **nobody), "'private' is not open to you")
        self.assertEqual(self.ring("put", "open", input=b"x", **nobody).returncode, 0)
        self.assert_fails(self.ring("rm", "open", **nobody), "only the user who made it")
        self.assertTrue(self.has("open"))

    def test_path(self):
        with tempfile.TemporaryDirectory(prefix="quire-ring-") as place:
            self.assert_fails(self.ring("create", "none/r", cwd=place), "directory", "not there")
            self.assertEqual(self.ring("create", "./r", "--keep", "--mode", "666",
                                       cwd=place).returncode, 0)
            path = os.path.join(place, "r")
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o666)
            self.assert_fails(self.ring("create", path), "already")
            other = {"env": dict(self.environment, XDG_RUNTIME_DIR="/nowhere")}
            if os.geteuid() == 0:
                os.chmod(place, 0o755)
                other |= {"user": 65534, "group": 65534, "extra_groups": []}
            putter = subprocess.run([QUIRE, "ring", "put", path], input=b"to all", check=False,
                                    timeout=PATIENCE_SECONDS, **other)
            self.assertEqual(putter.returncode, 0)
            self.assertEqual(self.ring("get", "./r", cwd=place).stdout, "to all")
            self.assertEqual(self.ring("rm", path).returncode, 0)
            self.assertEqual(os.listdir(place), [])

    def test_path_of_something_else(self):
        with tempfile.TemporaryDirectory(prefix="quire-ring-") as place:
            path = os.path.join(place, "data")
            with open(path, "w", encoding="utf-8") as file:
                file.write("not a socket")
            self.assert_fails(self.ring("create", path), "already")
            self.assert_fails(self.ring("get", path), "there is no ring")
            self.assert_fails(self.ring("rm", path), "there is no ring")
            os.rename(path, path := os.path.join(place, "stale"))
            with open(path, encoding="utf-8") as file:
                self.assertEqual(file.read(), "not a socket")
            os.remove(path)
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
                dead.bind(path)
            self.assert_fails(self.ring("get", path), "there is no ring")
            self.assertTrue(os.path.exists(path))  # it may be somebody else's
            self.assertEqual(self.ring("create", path).returncode, 0)
            self.assertEqual(self.ring("rm", path).returncode, 0)

    def test_taken_missing_and_bad(self):
        self.create("r")
        self.assert_fails(self.ring("create", "r"), "there is a ring 'r' already", "quire ring rm r")
        self.assert_fails(self.ring("get", "none"), "there is no ring 'none'",
                          "quire ring create none")
        for name in ".hidden", "", "x" * 64, "sp ace", "/", "a/", "/tmp/" + "x" * 103:
            self.assert_fails(self.ring("create", name), "is no name")
            self.assert_fails(self.ring("get", name), "is no name")
        putter = self.start("put", "r", stdin=subprocess.PIPE)
        wait_for(lambda: self.stat("r")["producers"] == 1, "the producer has come")
        self.assert_fails(self.ring("put", "r", input=b""), "has a producer already", "--many")
        putter.communicate(b"")

    def test_larger_than_the_machine(self):
        self.assert_fails(self.ring("create", "r", "--frame", "4K", "--size", "16384G"),
                          "does not fit in the memory")
        self.assertFalse(self.has("r"))

    def test_removed_while_used(self):
        self.create("r")
        getter = self.start("get", "r", stdout=subprocess.PIPE)
        putter = self.start("put", "r", stdin=subprocess.PIPE)
        wait_for(lambda: (ring := self.stat("r"))["producers"] == ring["consumers"] == 1,
                 "both have come")
        self.assertEqual(self.ring("rm", "r").returncode, 0)
        self.assertFalse(self.has("r"))
        putter.communicate(b"it goes on", timeout=PATIENCE_SECONDS)
        self.assertEqual(getter.communicate(timeout=PATIENCE_SECONDS)[0], b"it goes on")

    def test_command_line(self):
        for arguments in ([], ["what"], ["create"], ["create", "a", "b"], ["create", "a", "-s", "x"],
                          ["create", "a", "--full", "often"], ["create", "a", "--mode", "777"], ["create", "a", "--mode", "640"],
                          ["create", "a", "--frame", "2G"], ["put"], ["put", "a", "--json"],
                          ["stat"], ["ls", "a"], ["bench", "a"]):
            result = self.ring(*arguments)
            self.assertEqual((result.returncode, result.stdout), (125, ""), arguments)
            self.assertNotEqual(result.stderr, "")
        for command in [], ["create"], ["put"], ["get"], ["stat"], ["ls"], ["rm"], ["bench"]:
            result = self.ring(*command, "--help")
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertIn("Exit status:", result.stdout)


if __name__ == "__main__":
    unittest.main()
