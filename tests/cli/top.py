#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`quire top` in a real terminal (tmux): what is on the screen, what keys do, and how it leaves.

Waits for what is to be seen, never for a time: a slow machine makes it slow and nothing else.

Usage: top.py QUIRE SOURCE_ROOT [unittest's arguments]
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

QUIRE, ROOT = os.path.abspath(sys.argv.pop(1)), os.path.abspath(sys.argv.pop(1))
ZRAM = os.path.join(ROOT, "tests/observe/machines/6.1-zram-cgroup2")
PATIENCE_SECONDS = 300
STILL = "86400"  # seconds between samples: the first one stays
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable


def wait_until(condition, what):
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(what() if callable(what) else what)


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Terminal:
    """A shell in a window of a tmux server of its own."""

    def __init__(self, columns=80, rows=24):
        self.directory = tempfile.mkdtemp(prefix="quire-top-")
        self.socket = os.path.join(self.directory, "tmux")
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "ENV": "",
                       "HOME": self.directory, "TERM": "screen", "TZ": "UTC"}
        environment.update({name: os.environ[name] for name in
                            ("XDG_RUNTIME_DIR", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS",
                             "LSAN_OPTIONS") if name in os.environ})
        subprocess.run(["tmux", "-S", self.socket, "-f", "/dev/null", "new-session", "-d", "-x",
                        str(columns), "-y", str(rows), "sh"], check=True, env=environment)
        self.shell = int(self.tmux("display-message", "-p", "#{pane_pid}"))
        self.wait_for(r"(?m)^[$#] *$")

    def close(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], check=False,
                       stderr=subprocess.DEVNULL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def tmux(self, *arguments):
        return subprocess.run(["tmux", "-S", self.socket, *arguments], check=True,
                              capture_output=True, text=True).stdout.rstrip("\n")

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def type(self, text):
        self.tmux("send-keys", "-l", text)

    def run(self, command):
        self.type(f"clear; {command}")
        self.keys("Enter")

    def screen(self):
        return self.tmux("capture-pane", "-p")

    def lines(self):
        return [line.rstrip() for line in self.screen().split("\n")]

    def wait_for(self, pattern, is_there=True):
        return wait_until(lambda: bool(re.search(pattern, self.screen())) == is_there,
                          lambda: f"{pattern!r} is {'not ' if is_there else ''}in\n{self.screen()}")

    def resize(self, columns, rows):
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def child(self):
        """The process that the shell runs."""
        def find():
            with open(f"/proc/{self.shell}/task/{self.shell}/children", encoding="utf-8") as file:
                return file.read().split()
        return int(wait_until(find, "the shell runs nothing")[-1])


class Screen(unittest.TestCase):
    """All tests of a class have one terminal; each ends what it has started there."""

    @classmethod
    def setUpClass(cls):
        cls.terminal = Terminal()
        cls.addClassCleanup(cls.terminal.close)

    def end(self):
        self.terminal.keys("C-c")
        self.terminal.wait_for(r"(?m)^status 0$")

    def top(self, arguments, pattern=r"PID +USER"):
        self.terminal.run(f"{QUIRE} top {arguments}; echo status $?")
        self.terminal.wait_for(r"(?m)^(h Help|filter: )")  # the last line, so all of them are there
        self.terminal.wait_for(pattern)

    def pids(self):
        """The first column below the headings."""
        lines = self.terminal.lines()
        at = next(i for i, line in enumerate(lines) if re.match(r" *PID", line))
        rows = [re.match(r" *(\d+) ", line) for line in lines[at + 1:-1]]
        return [int(row[1]) for row in rows if row]

    def commands(self):
        return [line for line in self.terminal.lines() if re.match(r" *\d+ ", line)]

    def wait_for_order(self, **order):
        """A screen may be seen half painted: the headings before the rows."""
        def in_order():
            pids = self.pids()
            return len(pids) > 3 and pids == sorted(pids, **order)
        wait_until(in_order, self.terminal.screen)


# Below the first line, which has the time.
FIRST = """\
memory   469M [||||||||||||||        ] used 296M  cache 193M  available 173M
swap     256M [                      ] used 0  zram 4.0K in 12K
"""


class Recorded(Screen):
    """A recorded machine, whose screens are known."""

    def setUp(self):
        self.top(f"--root {ZRAM} -d {STILL}")
        self.addCleanup(self.end)

    def test_at_80_by_24(self):
        lines = self.terminal.lines()
        self.assertEqual(len(lines), 24)
        self.assertTrue(all(len(line) <= 80 for line in lines))
        self.assertRegex(lines[0], r"^quire top \d\d:\d\d:\d\d  up \d+ d \d\d:\d\d  \d+ processes, "
                                   r"3 run, 0 wait  since boot$")
        self.assertEqual(lines[1:3], FIRST.splitlines())
        self.assertRegex(lines[3], r"^faults/s  minor \S+ major \S+  swap/s in \S+ out \S+  "
                                   r"blocks/s in \S+ out \S+$")
        self.assertRegex(lines[5], r"^stalled %  memory [\d.]+  full [\d.]+  io ")
        self.assertEqual(lines[6], "runs   none of Quire")
        self.assertEqual(lines[7].split()[:5], ["PID", "USER", "S", "RSSv", "SWAP"])
        self.assertTrue(lines[23].startswith("h Help  / Filter"))

    def test_resizing(self):
        for columns, rows in ((120, 40), (60, 14), (40, 9), (25, 5), (80, 24)):
            self.terminal.resize(columns, rows)
            def fits(columns=columns, rows=rows):
                lines = self.terminal.lines()
                return (len(lines) == rows and lines[-1].startswith("h Help")
                        and all(len(line) <= columns for line in lines)
                        and any(re.match(" *PID", line) for line in lines)
                        and any(line.startswith("memory ") for line in lines))
            wait_until(fits, self.terminal.screen)
        self.terminal.resize(10, 3)
        self.terminal.wait_for("too small")
        self.terminal.resize(80, 24)
        self.terminal.wait_for("PID +USER")

    def test_help(self):
        self.terminal.keys("h")
        self.terminal.wait_for(r"(?ms)quire top: keys.*^Up Down Scroll")
        self.assertIn("end a process, after a question", self.terminal.screen())
        self.assertNotIn("does not manage", self.terminal.screen())
        self.terminal.keys(*["Down"] * 40)
        self.terminal.wait_for("does not manage")
        self.terminal.keys("Escape")
        self.terminal.wait_for("PID +USER")

    def test_order(self):
        self.terminal.keys("N")
        self.terminal.wait_for("PIDv")
        self.wait_for_order()
        self.terminal.keys("I")
        self.terminal.wait_for(r"PID\^")
        self.wait_for_order(reverse=True)
        self.terminal.keys("I", "<") # to the left of the first is the last
        self.terminal.wait_for("COMMANDv")
        self.terminal.keys(">", ">")
        self.terminal.wait_for("USERv")
        self.terminal.keys("M")
        self.terminal.wait_for("RSSv")

    def test_filter(self):
        everyone = self.pids()
        self.terminal.type("/sh")
        self.terminal.wait_for(r"filter: sh")
        wait_until(lambda: 0 < len(rows := self.commands()) < len(everyone)
                   and all("sh" in row for row in rows), self.terminal.screen)
        self.terminal.keys("Enter")
        self.terminal.wait_for(r"filter: sh   \(/ changes it")
        self.terminal.keys("/", "C-u")
        self.terminal.type("pid=268")
        self.terminal.keys("Enter")
        wait_until(lambda: self.pids() == [268], self.terminal.screen)
        self.terminal.keys("/", "BSpace")
        self.terminal.type("x") # now it is a part of a command, and no process has it
        self.terminal.wait_for("no process passes the filter")
        self.terminal.keys("Escape", "Escape")
        wait_until(lambda: self.pids() == everyone, self.terminal.screen)

    def test_tree(self):
        self.terminal.keys("t")
        parents = json.loads(subprocess.run([QUIRE, "ps", "--root", ZRAM, "-j", "-o", "pid,ppid"],
                                            capture_output=True, check=True).stdout)["processes"]
        parent = {one["pid"]: one["parent_pid"] for one in parents}
        def is_tree():
            pids = self.pids()
            return all(parent[pid] not in pids or pids.index(parent[pid]) < i
                       for i, pid in enumerate(pids)) and any(
                           parent[pid] in pids for pid in pids)
        wait_until(is_tree, self.terminal.screen)
        wait_until(lambda: any(re.search(r"-   \S", row) for row in self.commands()),
                   self.terminal.screen)

    def test_columns(self):
        for headings in ("RSS PSSv USS", "RUN RSS RESIDv", "MINFL MAJFL", "SWAP MIN/s"):
            self.terminal.keys("v")
            self.terminal.wait_for(headings.replace(" ", " +"))

    def test_nothing_of_it_can_be_ended(self):
        self.terminal.keys("k")
        self.terminal.wait_for("its processes can't be ended")

    def test_moving(self):
        def selected():
            """The rows that are reversed; an escape sequence holds for the lines to come."""
            rows, is_reversed = [], False
            for line in self.terminal.tmux("capture-pane", "-p", "-e").split("\n"):
                text = ""
                for escape, part in re.findall(r"\x1b\[([\d;]*)m|([^\x1b])", line):
                    if part == "":
                        for code in escape.split(";"):
                            is_reversed = code == "7" or is_reversed and code not in ("", "0", "27")
                    elif is_reversed:
                        text += part
                rows += re.findall(r"^ *(\d+) ", text)
            return rows
        order = self.pids()
        wait_until(lambda: selected() == [str(order[0])], self.terminal.screen)
        for keys, row in ((["Down", "Down"], 2), (["Up"], 1), (["G"], -1), (["Home"], 0),
                          (["End"], -1), (["PPage", "PPage"], 0)):
            self.terminal.keys(*keys)
            wait_until(lambda row=row: selected() == [str(order[row])], self.terminal.screen)


class Replayed(Screen):
    def test_back_and_forth(self):
        recording = os.path.join(self.terminal.directory, "recording")
        subprocess.run([QUIRE, "log", "-o", recording, "--interval", "0.02", "-n", "4"],
                       check=True, capture_output=True)
        self.top(f"--replay {recording} -d {STILL}")
        self.addCleanup(self.end)
        self.terminal.wait_for(r"quire top \d+-\d+-\d+ \d\d:\d\d:\d\d  sample 1 of 4  \d+ proc")
        for key, now in (("Right", "2"), (".", "3"), ("Left", "2"), ("$", "4"), ("Right", "4"),
                         ("[", "1"), ("]", "4"), ("0", "1"), ("Left", "1")):
            self.terminal.keys(key)
            self.terminal.wait_for(rf"sample {now} of 4  paused")
        self.terminal.keys("k")
        self.terminal.wait_for("its processes can't be ended")
        self.terminal.keys("d")
        self.terminal.type("0.02")
        self.terminal.keys("Enter", "Space") # it plays, to the end
        self.terminal.wait_for(r"sample 4 of 4  paused")


class Live(Screen):
    def test_a_process_is_ended_after_a_question(self):
        sleeper = subprocess.Popen([PYTHON, "-c", "import time; time.sleep(1000)"])
        self.addCleanup(sleeper.wait)
        self.addCleanup(sleeper.kill)
        self.top(f"-d 0.2 -f pid={sleeper.pid}", r"PID +USER")
        self.addCleanup(self.end)
        wait_until(lambda: self.pids() == [sleeper.pid], self.terminal.screen)
        self.terminal.keys("k")
        self.terminal.wait_for(rf"end {sleeper.pid} \(python3\S*\)\?  y: SIGTERM  k: SIGKILL")
        self.terminal.keys("n")
        self.terminal.wait_for(f"nothing was sent to {sleeper.pid}")
        self.assertIsNone(sleeper.poll())
        self.terminal.keys("k")
        self.terminal.wait_for(r"y: SIGTERM")
        self.terminal.keys("y")
        self.terminal.wait_for(rf"SIGTERM was sent to {sleeper.pid} \(python3")
        self.assertEqual(sleeper.wait(PATIENCE_SECONDS), -signal.SIGTERM)
        self.terminal.wait_for("no process passes the filter")

    def test_one_that_vanishes_is_told(self):
        sleeper = subprocess.Popen([PYTHON, "-c", "import time; time.sleep(1000)"])
        self.addCleanup(sleeper.kill)
        self.top(f"-d {STILL} -f pid={sleeper.pid}", rf"(?m)^ *{sleeper.pid} ")
        self.addCleanup(self.end)
        self.terminal.keys("k")
        self.terminal.wait_for("y: SIGTERM")
        sleeper.kill()
        sleeper.wait()
        self.terminal.keys("y")
        self.terminal.wait_for(f"cannot end {sleeper.pid}: it has ended already")
        self.terminal.keys("r") # a sample: it is gone
        self.terminal.wait_for("no process passes the filter")

    def test_samples_and_pause(self):
        self.top("-d 0.05")
        self.addCleanup(self.end)
        self.terminal.wait_for("since boot", is_there=False)
        self.terminal.keys("Space")
        self.terminal.wait_for("  paused")
        self.terminal.keys("Space", "d")
        self.terminal.wait_for("seconds between samples")
        self.terminal.type("x")
        self.terminal.keys("Enter")
        self.terminal.wait_for("'x' is no number of seconds")
        self.terminal.keys("d")
        self.terminal.type("30")
        self.terminal.keys("Enter", "d")
        self.terminal.wait_for(r"seconds between samples \(30\)")

    def test_a_number_of_samples(self):
        self.terminal.run(f"{QUIRE} top -d 0.02 -n 3; echo ended $?")
        self.terminal.wait_for(r"(?m)^ended 0$")

    @unittest.skipUnless(subprocess.run([QUIRE, "doctor"], capture_output=True, check=False)
                         .returncode == 0, "`quire run' does not work here")
    def test_a_run_from_the_inside(self):
        program = ("import sys\nkept = [(b'%08d' % i) * (1 << 17) for i in range(48)]\n"
                   "kept = [one[:1] for one in kept] + [bytes(300) for i in range(20000)]\n"
                   "print('ready', flush=True)\nsys.stdin.read()\n")
        run = subprocess.Popen([QUIRE, "run", "--ram", "32M", "--swap", "none", "-q", "--", PYTHON,
                                "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(run.wait)
        self.addCleanup(run.kill)
        self.addCleanup(run.stdin.close)
        self.addCleanup(run.stdout.close)
        self.assertEqual(run.stdout.readline(), b"ready\n")
        self.top("-d 0.2 --columns runs", r"runs   \d+ of Quire hold")
        self.addCleanup(self.end)
        self.terminal.type("/kept")
        self.terminal.keys("Enter")
        # Commands that no column showed are read with the next sample.
        self.terminal.wait_for(r"(?s)COMMAND\n *\d+ .*\nfilter: kept")
        self.terminal.keys("Enter")
        self.terminal.wait_for(r"(?s)run \d+  /\S+python3.* -c .*budget +32M \[.*#resident [\d.]+M")
        self.terminal.wait_for(r"policy adaptive  prefetch adaptive .*codec zstd or lz4")
        self.terminal.wait_for(r"(?m)^latency  p50 \S+ us|^latency  p50 \S+ ms")
        self.terminal.wait_for(r"(?s)   32M .*#.*\n     0 .*#")
        self.terminal.wait_for(r"slabs  of \d+: hold")
        self.terminal.wait_for(r"(?m)^ +\d+ B  active \d+")
        self.terminal.wait_for(r"PID NAME +RESIDENT")
        recording = os.path.join(self.terminal.directory, "recording")
        subprocess.run([QUIRE, "log", "-o", recording, "-n", "1"], check=True, capture_output=True)
        run.stdin.close()
        self.terminal.wait_for(r"run \d+ has ended; Esc goes back")
        self.assertEqual(run.wait(PATIENCE_SECONDS), 0)
        self.terminal.keys("Escape")
        self.terminal.wait_for("runs   none of Quire|no process passes the filter|RESIDv")
        self.end()
        self.top(f"--replay {recording} --columns runs -f kept -d {STILL}", r"RESIDv")
        self.terminal.keys("Enter")
        self.terminal.wait_for(r"(?s)slabs  of \d+: hold.*\d+ B  active \d+")

    def test_who_is_in_no_run(self):
        self.top(f"-d {STILL} -f pid={os.getpid()}", str(os.getpid()))
        self.addCleanup(self.end)
        self.terminal.keys("Enter")
        self.terminal.wait_for(rf"{os.getpid()} \(\S+\) is in no run of Quire")


class Leaving(Screen):
    """The terminal is as it was, whatever ends it."""

    n_states = 0 # each has a mark of its own, so that none is taken for another

    def state(self):
        Leaving.n_states += 1
        self.terminal.run(f"stty -a; echo done {Leaving.n_states}")
        self.terminal.wait_for(rf"(?m)^done {Leaving.n_states}\n[$#] *$")
        return ([line for line in self.terminal.lines() if not re.search("stty -a|^done", line)],
                self.terminal.tmux("display-message", "-p", "#{alternate_on} #{cursor_flag} "
                                                            "#{keypad_flag}"))

    def leaves(self, end, status):
        self.top(f"--root {ZRAM} -d {STILL}")
        end()
        self.terminal.wait_for(rf"(?m)^status {status}$")
        self.assertEqual(self.state(), self.before)

    def test_every_way(self):
        self.before = self.state()
        self.assertEqual(self.before[1], "0 1 0")
        for key in ("q", "F10", "C-c", "C-\\"):
            self.leaves(lambda key=key: self.terminal.keys(key), 0)
        for number in (signal.SIGTERM, signal.SIGHUP):
            self.leaves(lambda number=number: os.kill(self.terminal.child(), number), 0)
        for number in (signal.SIGSEGV, signal.SIGABRT):
            self.leaves(lambda number=number: os.kill(self.terminal.child(), number), 128 + number)

    def test_stopped_and_continued(self):
        before = self.state()
        self.top(f"--root {ZRAM} -d {STILL}")
        self.terminal.keys("C-z")
        self.terminal.wait_for("Stopped")
        self.assertEqual(self.state()[1], before[1])
        self.terminal.run("fg")
        self.terminal.wait_for(r"PID +USER")
        self.terminal.keys("t", "v")
        self.terminal.wait_for("PSS") # it listens again
        self.terminal.keys("q")
        self.terminal.wait_for(r"(?m)^[$#] *$")
        after = self.state()
        self.assertEqual(after[1], before[1])
        self.assertEqual(after[0], before[0])

    def test_a_terminal_that_is_gone(self):
        terminal = Terminal()
        self.addCleanup(terminal.close)
        terminal.run(f"{QUIRE} top --root {ZRAM} -d {STILL}")
        terminal.wait_for("PID +USER")
        pid = terminal.child()
        terminal.tmux("kill-server")
        wait_until(lambda: not is_alive(pid), "it outlives its terminal")


class Refused(unittest.TestCase):
    def call(self, *arguments, **options):
        return subprocess.run([QUIRE, "top", *arguments], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, check=False, timeout=PATIENCE_SECONDS,
                              **options)

    def test_without_a_terminal(self):
        result = self.call()
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertEqual(result.stderr,
                         "quire: cannot use the screen: standard input and output are no terminal\n"
                         "       `quire ps --watch', `quire vmstat 1' and `quire free' do "
                         "without\n")

    def test_terminals_that_will_not_do(self):
        terminal = Terminal()
        self.addCleanup(terminal.close)
        for name, message in (("dumb", "the terminal 'dumb' .TERM. can't move its cursor"),
                              ("nonesuch", "the terminal 'nonesuch' .TERM. is not known here"),
                              ("", "TERM is not set")):
            terminal.run(f"TERM={name} {QUIRE} top; echo status $?")
            terminal.wait_for(rf"(?s){message}.*status 1\n")

    def test_help(self):
        text = self.call("--help").stdout
        self.assertTrue(text.startswith("Usage: quire top [OPTION...]"))
        with open(f"{ROOT}/man/quire-top.1", encoding="utf-8") as file:
            manual = file.read().replace("\\-", "-")
        for option in set(re.findall(r"(?<!\S)--[a-z][a-z-]*", text.split("\n\n")[1])):
            self.assertIn(option, manual)
            for shell, word in (("quire.bash", option), ("_quire", option),
                                ("quire.fish", "-l " + option[2:])):
                with open(f"{ROOT}/completions/{shell}", encoding="utf-8") as file:
                    self.assertIn(word, file.read(), shell)

    def test_arguments(self):
        for arguments, status, message in (
                (["x"], 125, "'x': `quire top' takes no arguments"),
                (["--delay", "0"], 125, "--delay 0: that is no number of seconds"),
                (["--count", "-1"], 125, "--count -1: that is no whole number above 0"),
                (["--columns", "x"], 125, "--columns x: it is memory, shares, runs or faults"),
                (["--sort", "x"], 125, "--sort x: the columns `memory' have none of that name"),
                (["--run", "x"], 125, "--run x: that is no process id"),
                (["--run", "1"], 1, "process 1 is in no run of Quire that publishes its figures"),
                (["--replay", "/nonexistent"], 1, "cannot replay /nonexistent: "),
                (["--replay", os.path.join(ROOT, "LICENSE")], 1, "cannot replay "),
                (["--replay", "x", "--root", "y"], 125, "--replay and --root: leave out one"),
                (["--root", "/nonexistent"], 1, "cannot read a machine in /nonexistent"),
        ):
            result = self.call(*arguments)
            self.assertEqual((result.returncode, result.stdout), (status, ""), arguments)
            self.assertIn(message, result.stderr)


if __name__ == "__main__":
    if shutil.which("tmux") is None:
        print("tmux is not here")
        sys.exit(77)
    unittest.main()
