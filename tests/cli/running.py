#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Commands that work on a run while it goes on: quire limit, park, resume, dump; and --ram auto.

Usage: running.py QUIRE [unittest's arguments]
"""
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

QUIRE = os.path.abspath(sys.argv.pop(1))
NOBODY = 65534
PATIENCE_SECONDS = 300  # what takes longer has hung
MIB = 1 << 20
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable

# Holds so many MiB, a half of each page noise; for each line of input it tells their digest.
HOLDER = """
import hashlib, random, sys
noise = random.Random(7)
data = [noise.randbytes(2048) + bytes(2048) for _ in range(int(sys.argv[1]) * 256)]
print("ready", flush=True)
for line in sys.stdin:
    digest = hashlib.sha256()
    for page in data:
        digest.update(page)
    print(digest.hexdigest(), flush=True)
"""
NOISE = HOLDER.replace("randbytes(2048) + bytes(2048)", "randbytes(4096)")

# The same, and tells where a few of its pieces are, and what is in them.
POINTER = """import json, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
print(json.dumps([[id(piece) + bytes.__basicsize__ - 1, hashlib.sha256(piece).hexdigest()]
                  for piece in data[::50]]), flush=True)
print("""
POINTED = HOLDER.replace("print(", POINTER, 1)


class Core:
    """What an ELF core file has in memory, and how many threads."""

    def __init__(self, path):
        self.file = open(path, "rb")
        header = self.file.read(64)
        assert header[:6] == b"\x7fELF\x02\x01" and struct.unpack_from("<H", header, 16)[0] == 4
        self.segments, self.n_threads = [], 0
        offset, n = struct.unpack_from("<Q", header, 32)[0], struct.unpack_from("<H", header, 56)[0]
        for i in range(n):
            self.file.seek(offset + 56 * i)
            kind, _, at, start, _, n_file, _, _ = struct.unpack("<IIQQQQQQ", self.file.read(56))
            if kind == 4:
                self.n_threads = self.count_threads(at, n_file)
            else:
                self.segments.append((start, at, n_file))

    def count_threads(self, at, n_bytes):
        self.file.seek(at)
        notes, n = self.file.read(n_bytes), 0
        while notes:
            n_name, n_content, kind = struct.unpack_from("<III", notes)
            n += kind == 1  # NT_PRSTATUS
            notes = notes[12 + (n_name + 3) // 4 * 4 + (n_content + 3) // 4 * 4:]
        return n

    def read(self, address, n_bytes):
        for start, at, n_file in self.segments:
            if start <= address and address + n_bytes <= start + n_file:
                self.file.seek(at + address - start)
                return self.file.read(n_bytes)
        raise AssertionError(f"{address:#x} is not in the file")


def call(*arguments, **options):
    return subprocess.run([QUIRE, *map(str, arguments)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=PATIENCE_SECONDS, **options)


def wait_until(condition):
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")


def state_of(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return None


def stands_still(pid):
    """Stopped, ended, or the parent of a vfork, which waits for its stopped child."""
    state = state_of(pid)
    return state in ("T", "Z") or (
        state == "D" and any(state_of(child) == "T" for child in children_of(pid)))


def name_of(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return None


def children_of(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


def tree_of(pid):
    """What descends from a launcher, but for the keeper."""
    found = []
    for child in children_of(pid):
        if name_of(child) != "quire-keeper":
            found += [child, *tree_of(child)]
    return found


def anonymous_bytes(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Anonymous:")) << 10


class Started:
    """A program under `quire run`, with its input and output."""

    def __init__(self, test, *words, ram="256M"):
        self.directory = tempfile.mkdtemp(prefix="quire-running-")
        self.stats = os.path.join(self.directory, "stats")
        self.process = subprocess.Popen(
            [QUIRE, "run", "--ram", ram, "-q", "--stats", self.stats, *map(str, words)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.launcher = self.process.pid
        test.addCleanup(self.close)

    @property
    def pid(self):
        return wait_until(lambda: [pid for pid in tree_of(self.launcher)
                                   if name_of(pid) != "quire"])[0]

    def read(self):
        return self.process.stdout.readline().strip()

    def ask(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.read()

    def end(self):
        """Ends its input; the exit status and the statistics."""
        self.process.stdin.close()
        status = self.process.wait(PATIENCE_SECONDS)
        with open(self.stats, encoding="utf-8") as file:
            return status, json.load(file)

    def close(self):
        for pid in [*tree_of(self.launcher), self.launcher]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(PATIENCE_SECONDS)
        self.process.stdout.close()
        if not self.process.stdin.closed:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        shutil.rmtree(self.directory)


class Running(unittest.TestCase):
    def hold(self, mib=24, program=HOLDER, **options):
        words = options.pop("words", [])
        started = Started(self, *words, "--", PYTHON, "-c", program, mib, **options)
        self.assertEqual(started.read(), "ready")
        return started

    def done(self, *arguments):
        result = call(*arguments)
        self.assertEqual((result.returncode, result.stderr), (0, ""), arguments)
        return result.stdout

    def failed(self, *arguments, status=1):
        result = call(*arguments)
        self.assertEqual((result.returncode, result.stdout), (status, ""), result.stderr)
        return result.stderr


class Limit(Running):
    def test_down_and_up_while_it_runs(self):
        holder = self.hold()
        digest = holder.ask()
        self.assertRegex(self.done("limit", holder.launcher),
                         r"\Abudget of the run of process \d+: 256.0 MiB; held: .*\n\Z")
        self.assertGreater(anonymous_bytes(holder.pid), 24 * MIB)
        figures = json.loads(self.done("limit", "--json", holder.pid, "16M"))
        self.assertEqual((figures["budget_bytes"], figures["start_budget_bytes"]),
                         (16 * MIB, 256 * MIB))
        self.assertLessEqual(figures["held_bytes"], 16 * MIB)
        self.assertLess(anonymous_bytes(holder.pid), 24 * MIB)
        self.assertEqual(holder.ask(), digest)
        self.assertIn(": 128.0 MiB", self.done("limit", holder.pid, "128M"))
        self.assertEqual(holder.ask(), digest)
        status, stats = holder.end()
        self.assertEqual(status, 0)
        self.assertEqual((stats["budget_bytes"], stats["end_budget_bytes"]),
                         (256 * MIB, 128 * MIB))
        self.assertGreater(stats["evictions"], 0)
        self.assertIsNone(stats["working_set"])

    @unittest.skipUnless(shutil.which("strace"), "no strace")
    def test_it_can_be_found_from_its_first_moment(self):
        """Though the keeper is slow to begin: strace holds it up where it leaves the session."""
        asks = ("import os, subprocess, sys; "
                "sys.exit(subprocess.call([sys.argv[1], 'limit', str(os.getpid())]))")
        result = subprocess.run(
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=setsid",
             "-e", "inject=setsid:delay_enter=500000",
             QUIRE, "run", "--quiet", "--", PYTHON, "-c", asks, QUIRE],
            capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("budget of the run of process", result.stdout)

    def test_less_than_it_can_do_with(self):
        holder = self.hold(32, NOISE, words=["--swap", "none"])
        digest = holder.ask()
        message = self.failed("limit", holder.pid, "10M")
        self.assertRegex(message, r"\Aquire: the run of process \d+ can't do with 10M: no more of "
                                  r"what it holds can be given up\n       its budget is .* now\n")
        self.assertEqual(holder.ask(), digest)
        self.assertEqual(holder.end()[0], 0)


class Park(Running):
    def test_memory_goes_and_comes_back(self):
        holder = self.hold()
        digest, pid = holder.ask(), holder.pid
        before = anonymous_bytes(pid)
        self.assertRegex(self.done("park", holder.launcher), r"\Aparked: the run of process \d+, 1 "
                         r"process, in .* s\n  RAM +.* before, .* now\n  of that .*\n  swap file ")
        self.assertLess(anonymous_bytes(pid), before - 20 * MIB)
        figures = json.loads(self.done("resume", "--json", pid))
        self.assertLess(figures["before"]["resident_bytes"], 4 * MIB)
        self.assertGreater(figures["after"]["resident_bytes"], 20 * MIB)
        self.assertGreater(anonymous_bytes(pid), before - 8 * MIB)
        self.assertEqual(holder.ask(), digest)
        self.assertRegex(self.failed("resume", pid), "is not parked")
        self.assertEqual(holder.end()[0], 0)

    def test_stopped_and_continued(self):
        holder = self.hold()
        digest, pid = holder.ask(), holder.pid
        self.assertIn("parked and stopped", self.done("park", "--stop", pid))
        self.assertEqual(state_of(pid), "T")
        self.assertIn("stopped already", call("park", pid).stderr)
        self.done("resume", "--on-demand", pid)
        self.assertNotEqual(state_of(pid), "T")
        self.assertEqual(holder.ask(), digest)
        self.assertEqual(holder.end()[0], 0)

    def test_whoever_continues_it_ends_the_order(self):
        holder = self.hold()
        digest, pid = holder.ask(), holder.pid
        self.done("park", "--stop", pid)
        os.kill(pid, signal.SIGCONT)
        self.assertEqual(holder.ask(), digest)
        self.done("resume", pid)
        self.assertEqual(holder.ask(), digest)
        self.assertEqual(holder.end()[0], 0)

    def test_a_tree_that_forks(self):
        """Three programs that start others all the time, one of them large, all of them stopped."""
        loop = "while :; do /bin/true; done"
        script = f"({loop}) & ({loop}) & exec {PYTHON} -c '{HOLDER}' 16"
        started = Started(self, "--", "/bin/sh", "-c", script)
        self.assertEqual(started.read(), "ready")
        digest = started.ask()
        for _ in range(2):
            self.assertIn("parked and stopped", self.done("park", "--stop", started.launcher))
            tree = tree_of(started.launcher)
            self.assertGreaterEqual(len(tree), 3)
            self.assertEqual([pid for pid in tree if not stands_still(pid)], [])
            time.sleep(0.05)
            self.assertEqual(tree_of(started.launcher), tree)
            self.done("resume", started.launcher)
            self.assertEqual(started.ask(), digest)

    def test_killed_while_parked(self):
        holder = self.hold()
        pid, keeper = holder.pid, next(child for child in children_of(holder.launcher)
                                       if name_of(child) == "quire-keeper")
        self.done("park", "--stop", pid)
        os.kill(pid, signal.SIGKILL)
        self.assertEqual(holder.process.wait(PATIENCE_SECONDS), 137)
        wait_until(lambda: state_of(keeper) in (None, "Z"))

    def test_from_inside(self):
        program = f"import subprocess, sys; sys.exit(subprocess.call(['{QUIRE}', 'park', sys.argv[1]]))"
        started = Started(self, "--", "/bin/sh", "-c", f'{PYTHON} -c "{program}" $$')
        self.assertEqual(started.process.wait(PATIENCE_SECONDS), 1)


class Dump(Running):
    def pointed(self, **options):
        started = Started(self, "--", PYTHON, "-c", POINTED, 24, **options)
        pieces = json.loads(started.read())
        self.assertEqual(started.read(), "ready")
        return started, pieces, os.path.join(started.directory, "core")

    def check(self, path, pieces):
        core = Core(path)
        self.addCleanup(core.file.close)
        wrong = [address for address, digest in pieces
                 if hashlib.sha256(core.read(address, 4096)).hexdigest() != digest]
        self.assertEqual((wrong, core.n_threads), ([], 2))

    def test_what_is_evicted_is_in_it(self):
        """In less than its memory, and once more when all of it was parked; then it goes on."""
        holder, pieces, path = self.pointed(ram="16M")
        digest = holder.ask()
        self.assertRegex(self.done("dump", "-o", path, holder.launcher),
                         r"\Adumped: process \d+, 2 threads, in .* s, to .*/core\n"
                         r"  memory      .* MiB, of that .* MiB were evicted; .* written\n\Z")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.check(path, pieces)
        self.done("park", holder.pid)
        figures = json.loads(self.done("dump", "--json", "-o", path, holder.pid))
        self.assertEqual((figures["pid"], figures["threads"], figures["unreadable_bytes"]),
                         (holder.pid, 2, 0))
        self.assertGreater(figures["evicted_bytes"], 12 * MIB)
        self.assertGreater(figures["memory_bytes"], figures["evicted_bytes"])
        self.check(path, pieces)
        self.assertEqual(os.listdir(holder.directory), ["core"])
        self.assertEqual(holder.ask(), digest)
        status, stats = holder.end()
        self.assertEqual(status, 0)
        self.assertLess(stats["peak_held_bytes"], 20 * MIB)

    @unittest.skipUnless(shutil.which("gdb"), "no gdb")
    def test_a_debugger_opens_it(self):
        holder, pieces, path = self.pointed(ram="16M")
        self.done("dump", "-o", path, holder.pid)
        commands = ["info threads", "bt 1"] + [
            f"dump binary memory {path}.{i} {address} {address + 4096}"
            for i, (address, _) in enumerate(pieces[::20])]
        result = subprocess.run(
            ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off",
             *(word for command in commands for word in ("-ex", command)), PYTHON, path],
            capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
        self.assertEqual(len(re.findall(r"LWP \d+\)+", result.stdout)) >= 2, True, result.stdout)
        self.assertNotIn("Cannot access memory", result.stdout + result.stderr)
        for i, (_, digest) in enumerate(pieces[::20]):
            with open(f"{path}.{i}", "rb") as file:
                self.assertEqual(hashlib.sha256(file.read()).hexdigest(), digest)
        self.assertEqual(holder.end()[0], 0)

    @unittest.skipUnless(os.getuid() == 0, "wants root: a limit may have to be raised")
    def test_a_run_tells_what_the_kernels_lacks(self):
        """Whether it writes one is the machine's business; it says by the status whether it did."""
        segv = "import ctypes; ctypes.string_at(8)"
        for end, number, ram, is_told in (("os.abort()", signal.SIGABRT, "16M", True),
                                          (segv, signal.SIGSEGV, "16M", True),
                                          ("os.abort()", signal.SIGABRT, "512M", False)):
            with self.subTest(end=end, ram=ram), tempfile.TemporaryDirectory() as directory:
                result = subprocess.run(
                    [QUIRE, "run", "--quiet", "--ram", ram, "--", PYTHON, "-c",
                     f"import os; data = os.urandom(24 << 20); {end}"], cwd=directory,
                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE,
                                                          (1 << 40, 1 << 40)),
                    capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
                self.assertEqual(result.returncode, 128 + number)
                if not os.listdir(directory):
                    self.skipTest("no core file is written here, so nothing is said of it")
                self.assertEqual("what was evicted reads as zeros there\n" in result.stderr and
                                 "`quire dump PID'" in result.stderr, is_told, result.stderr)

    def test_refused(self):
        holder = self.hold(1)
        self.assertIn("No such file or directory\n       write to another place by -o FILE",
                      self.failed("dump", "-o", "/nowhere/core", holder.pid))
        self.assertIn("Is a directory", self.failed("dump", "-o", holder.directory, holder.pid))
        self.done("park", "--stop", holder.pid)
        self.assertRegex(self.failed("dump", "-o", f"{holder.directory}/core", holder.pid),
                         r"process \d+ is stopped, .*\n.*continue it first: quire resume \d+")
        self.done("resume", holder.pid)
        tracer = subprocess.Popen(["strace", "-qq", "-o", "/dev/null", "-p", str(holder.pid)]) \
            if shutil.which("strace") else None
        if tracer:
            def is_traced():
                with open(f"/proc/{holder.pid}/status", encoding="utf-8") as file:
                    return f"TracerPid:\t{tracer.pid}\n" in file.read()
            wait_until(is_traced)
            self.assertIn(f"is traced by process {tracer.pid}",
                          self.failed("dump", "-o", f"{holder.directory}/core", holder.pid))
            tracer.terminate()
            tracer.wait(PATIENCE_SECONDS)
        self.assertEqual([name for name in os.listdir(holder.directory) if "core" in name], [])
        self.assertEqual(holder.end()[0], 0)


class Auto(Running):
    def test_an_idle_program_shrinks_and_works_on(self):
        holder = self.hold(32, ram="auto:256M", words=["--max-stall", "5%"])
        digest = holder.ask()
        before = anonymous_bytes(holder.pid)
        wait_until(lambda: anonymous_bytes(holder.pid) < before - 16 * MIB)
        # The budget follows what is held, which may be well below it for a moment.
        wait_until(lambda: max(json.loads(self.done("limit", "--json", holder.pid))[name]
                               for name in ("held_bytes", "budget_bytes")) < 24 * MIB)
        self.assertRegex(self.done("limit", holder.pid), r"follows the working set, up to 256.0 MiB")
        self.assertEqual(holder.ask(), digest)
        self.assertIn("up to 64.0 MiB", self.done("limit", holder.pid, "64M"))
        self.assertEqual(holder.ask(), digest)
        status, stats = holder.end()
        self.assertEqual(status, 0)
        self.assertEqual(stats["budget_bytes"], 256 * MIB)
        working_set = stats["working_set"]
        self.assertEqual(working_set["max_stall_percent"], 5)
        self.assertLess(working_set["least_bytes"], working_set["most_bytes"])
        self.assertLess(working_set["least_bytes"], 24 * MIB)
        self.assertGreater(len(working_set["samples"]), 1)
        self.assertEqual(set(working_set["samples"][0]),
                         {"seconds", "budget_bytes", "held_bytes", "stall_percent"})

    def test_options(self):
        for words, message in (
                (["--ram", "auto", "--max-stall", "x"], "--max-stall x: that is no percentage"),
                (["--ram", "auto", "--max-stall", "2%%"], "--max-stall 2%%: that is no percentage"),
                (["--ram", "auto", "--max-stall", "90%"], "--max-stall 90%: it takes 0.1% to 50%"),
                (["--ram", "auto", "--max-stall", "0"], "--max-stall 0: it takes"),
                (["--max-stall", "2%"], "--max-stall 2% has no meaning without --ram auto"),
                (["--ram", "auto:"], "that is no size"), (["--ram", "autos"], "that is no size"),
                (["--ram", "auto:1M"], "too small"),
                (["--no-paging", "--max-stall", "1"], "has no meaning with --no-paging")):
            self.assertIn(message, self.failed("run", *words, "true", status=125))


class Refused(Running):
    def test_the_command_line(self):
        for words, message in (
                (["limit"], "which process?"), (["park"], "which process?"),
                (["dump"], "which process?"), (["dump", "x"], "'x' is no process id"),
                (["resume"], "which process?"), (["limit", "x"], "'x' is no process id"),
                (["park", "-1"], "invalid option"), (["park", "0"], "'0' is no process id"),
                (["limit", "1", "2M", "3M"], "'3M': there is a PID and a SIZE"),
                (["park", "1", "2"], "'2': there is a PID already"),
                (["limit", os.getpid(), "lots"], "lots: that is no size"),
                (["limit", os.getpid(), "101%"], "101%: that is over 100 %"),
                (["limit", os.getpid(), "1M"], "1M: a budget of 1.0 MiB is too small")):
            self.assertIn(message, self.failed(*words, status=125))

    def test_processes(self):
        ended = subprocess.Popen(["true"])
        ended.wait()
        for command in (["limit", "PID", "64M"], ["limit", "PID"], ["park", "PID"],
                        ["resume", "PID"], ["dump", "PID"]):
            def of(pid, command=command):
                return self.failed(*(pid if word == "PID" else word for word in command))
            self.assertEqual(of(ended.pid), f"quire: there is no process {ended.pid}\n")
            self.assertIn(f"process {os.getpid()} does not belong to a run of Quire",
                          of(os.getpid()))

    def test_more_than_the_machine_has(self):
        holder = self.hold(1)
        self.assertIn("the budget of this run can't be more than",
                      self.failed("limit", holder.pid, "100T"))

    @unittest.skipUnless(os.getuid() == 0, "wants root")
    def test_another_users(self):
        holder = self.hold(1)
        for words in (["limit", holder.pid, "64M"], ["park", holder.pid], ["resume", holder.pid],
                      ["dump", holder.pid]):
            # the copy can be executed by anybody, wherever the build lies
            command = os.path.join(holder.directory, "quire")
            shutil.copy(QUIRE, command)
            os.chmod(holder.directory, 0o755)
            result = subprocess.run([command, *map(str, words)], user=NOBODY, group=NOBODY,
                                    extra_groups=[], capture_output=True, text=True, check=False)
            self.assertEqual(result.returncode, 1)
            self.assertIn(f"cannot look into process {holder.pid}: not permitted", result.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
