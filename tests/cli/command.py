#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The `quire` command as a user meets it: output, exit statuses, signals, refusals.

Usage: command.py QUIRE SOURCE_ROOT [unittest's arguments]
"""
import ctypes
import itertools
import json
import os
import pty
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest

QUIRE, ROOT = os.path.abspath(sys.argv.pop(1)), os.path.abspath(sys.argv.pop(1))
CORPUS = os.path.join(ROOT, "tests/fuzz/corpus/elf")
NOBODY = 65534
COMMANDS = sorted(name[len("quire-"):-len(".1")] for name in os.listdir(os.path.join(ROOT, "man"))
                  if name.startswith("quire-"))
RING_COMMANDS = ("create", "put", "get", "stat", "ls", "rm", "bench")
PATIENCE_SECONDS = 300  # what takes longer has hung


def call(*arguments, **options):
    """Runs quire; the result has returncode, stdout and stderr."""
    if "input" not in options:
        options["stdin"] = subprocess.DEVNULL
    return subprocess.run([QUIRE, *arguments], capture_output=True, text=True,
                          timeout=PATIENCE_SECONDS, **options)


def run(*arguments, **options):
    return call("run", "--ram", "64M", *arguments, **options)


def wait_until(condition):
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def state_of(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rpartition(")")[2].split()[0]


def child_of(pid):
    """The program of a launcher, whose other child is the keeper."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
        children = [int(child) for child in file.read().split()]
    return next((child for child in children
                 if os.path.realpath(f"/proc/{child}/exe") != os.path.realpath(QUIRE)), None)


class InDirectory(unittest.TestCase):
    """Each test has a directory of its own."""

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="quire-cli-")
        os.chmod(self.directory, 0o755)
        self.addCleanup(shutil.rmtree, self.directory)

    def path(self, name):
        return os.path.join(self.directory, name)

    def make(self, name, text, mode=0o755):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.path(name), mode)
        return self.path(name)


class Help(unittest.TestCase):
    def test_help_in_its_three_ways(self):
        for words in (["--help"], ["-h"], ["help"], ["help", "help"]):
            result = call(*words)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertTrue(result.stdout.startswith("Usage: quire COMMAND [OPTION...]\n"))
            listed = re.findall(r"(?m)^  ([a-z]+) +[A-Z]", result.stdout)
            self.assertEqual(sorted(listed), sorted([*COMMANDS, "help"]))

    def test_help_of_a_command(self):
        for command in COMMANDS:
            ways = [call("help", command), call(command, "--help"), call(command, "-h")]
            self.assertEqual([way.returncode for way in ways], [0, 0, 0])
            self.assertEqual(len({way.stdout for way in ways}), 1)
            self.assertTrue(ways[0].stdout.startswith(f"Usage: quire {command}"))
            self.assertIn("Exit status:", ways[0].stdout)

    def test_help_fits_a_terminal(self):
        """No line is longer, and what does not fit continues below its text, not at the margin."""
        for words in ([], *([command] for command in COMMANDS),
                      *(["ring", command] for command in RING_COMMANDS)):
            text = call(*words, "--help").stdout
            for line in text.splitlines():
                self.assertLess(len(line), 80, words)
                self.assertEqual(line, line.rstrip(), words)
            for paragraph in text.split("\n\n")[1:]:
                self.assertNotRegex(paragraph, r"(?m)^ .*\n\S", words)

    def test_version(self):
        self.assertRegex(call("--version").stdout, r"^quire \d+\.\d+\.\d+\n$")

    def test_no_arguments(self):
        result = call()
        self.assertEqual((result.returncode, result.stdout), (125, ""))
        self.assertIn("Usage: quire COMMAND", result.stderr)

    def test_a_command_mistyped(self):
        result = call("docter")
        self.assertEqual(result.returncode, 125)
        self.assertEqual(result.stderr,
                         "quire: there is no command 'docter'; did you mean 'doctor'?\n")

    def test_a_program_where_a_command_should_stand(self):
        result = call("python3", "job.py")
        self.assertEqual(result.returncode, 125)
        self.assertEqual(result.stderr, "quire: there is no command 'python3'; `quire --help' "
                                        "lists them\n       to run a program: quire run python3\n")

    def test_output_that_does_not_get_out(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            for words in (["--help"], ["run", "--help"], ["doctor"], ["doctor", "--json"]):
                result = subprocess.run([QUIRE, *words], stdout=full, stderr=subprocess.PIPE,
                                        text=True, check=False)
                self.assertEqual(result.returncode, 125, words)
                self.assertIn("cannot write to standard output: No space left", result.stderr)


class Documented(unittest.TestCase):
    """Every option that --help lists stands in the manual page and in the completions."""

    def test_options(self):
        for command in COMMANDS:
            options = set()
            for words in ([command, part] for part in RING_COMMANDS) if command == "ring" \
                    else [[command]]:
                groups = itertools.takewhile(lambda group: group.startswith(" "),
                                             call(*words, "--help").stdout.split("\n\n")[1:])
                options |= set(re.findall(r"(?<!\S)--[a-z][a-z-]*", "\n".join(groups)))
            self.assertIn("--help", options)
            with open(f"{ROOT}/man/quire-{command}.1", encoding="utf-8") as file:
                manual = file.read().replace("\\-", "-")
            for option in options:
                self.assertIn(option, manual)
                for shell, word in (("quire.bash", option), ("_quire", option),
                                    ("quire.fish", "-l " + option[2:])):
                    with open(f"{ROOT}/completions/{shell}", encoding="utf-8") as file:
                        self.assertIn(word, file.read(), shell)

    def test_figures(self):
        with tempfile.NamedTemporaryFile() as stats:
            run("--quiet", "--stats", stats.name, "true")
            keys = set(load(stats.name))
        with open(f"{ROOT}/man/quire-run.1", encoding="utf-8") as file:
            manual = file.read()
        self.assertEqual({key for key in keys if key not in manual}, set())

    @unittest.skipUnless(shutil.which("man"), "no man here")
    def test_manual_pages_are_clean(self):
        for page in ("quire", *(f"quire-{command}" for command in COMMANDS)):
            result = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z",
                                     f"{ROOT}/man/{page}.1"], capture_output=True, check=True)
            self.assertEqual(result.stderr, b"")

    def test_completion_in_bash(self):
        def complete(*words):
            script = (f"source {ROOT}/completions/quire.bash; COMP_WORDS=(\"$@\"); "
                      "COMP_CWORD=$(($# - 1)); _quire; printf '%s\\n' \"${COMPREPLY[@]}\"")
            return subprocess.run(["bash", "--norc", "-c", script, "bash", *words], text=True,
                                  capture_output=True, check=True).stdout.split()
        self.assertEqual(complete("quire", "do"), ["doctor"])
        self.assertEqual(complete("quire", "run", "--sw"), ["--swap", "--swap-max"])
        self.assertEqual(complete("quire", "run", "--codec", "z"), ["zstd"])
        self.assertEqual(complete("quire", "run", "--codec", "=", "l"), ["lz4"])
        self.assertEqual(complete("quire", "run", "--policy", "s"), ["s3-fifo", "sieve"])
        self.assertEqual(complete("quire", "run", "--prefetch", "=", "c"), ["cluster"])
        self.assertIn("python3", complete("quire", "run", "--ram", "1G", "python"))
        self.assertEqual(complete("quire", "doctor", "--j"), ["--json"])
        self.assertEqual(complete("quire", "zones", "--rep"), ["--replay"])
        # COMMAND begins behind --, or where there is no option and no option's value
        for words in (("run", "--"), ("run", "--ram", "=", "1G"), ("run", "--ram", "1G", "env"),
                      ("record", "-o", "file"), ("record", "--window", "=", "8M", "--"),
                      ("time",), ("time", "--json", "--"), ("advise", "--ram", "1G", "--")):
            self.assertIn("python3", complete("quire", *words, "python3"), words)
        self.assertNotIn("python3", complete("quire", "advise", "python3")) # a trace
        self.assertEqual(complete("quire", "advise", "--slowdown", "2"), ["25%"])
        self.assertEqual(complete("quire", "slabs", "--sort", "f"), ["fill"])
        self.assertEqual(complete("quire", "report", "--o"), ["--output"])

    def test_completions_parse(self):
        for shell, file in (("zsh", "_quire"), ("fish", "quire.fish")):
            if shutil.which(shell):
                subprocess.run([shell, "-n", f"{ROOT}/completions/{file}"], check=True)


class BadArguments(InDirectory):
    def refused(self, *arguments, status=125):
        result = call("run", *arguments, "true")
        self.assertEqual((result.returncode, result.stdout), (status, ""), arguments)
        return result.stderr

    def test_options(self):
        self.assertEqual(self.refused("--bogus"),
                         "quire run: unrecognized option '--bogus'\nTry `quire run --help' or "
                         "`quire run --usage' for more information.\n")
        self.assertIn("--codec lzma: it is auto, lz4, zstd or none", self.refused("--codec", "lzma"))
        self.assertIn("--policy lru: it is one of adaptive, fifo,", self.refused("--policy", "lru"))
        self.assertIn("--prefetch all: it is one of adaptive, none,",
                      self.refused("--prefetch", "all"))
        self.assertIn("there is no COMMAND to run", call("run").stderr)
        self.assertEqual(call("run").returncode, 125)
        self.assertEqual(call("run", "--quiet", "--").returncode, 125)
        self.assertIn("requires an argument", call("run", "--ram").stderr)
        self.assertIn("'x': `quire doctor' takes no arguments", call("doctor", "x").stderr)
        self.assertEqual(call("doctor", "--bogus").returncode, 125)

    def test_sizes(self):
        for size in ("x", "", "12Q", "-5M", "0x10", "%", "1..5G"):
            self.assertEqual(self.refused("--ram", size),
                             f"quire: --ram {size}: that is no size\n"
                             "       write it as 512M, 1.5G or 25%\n")
        self.assertIn("over 100 %", self.refused("--ram", "101%"))
        self.assertIn("more than any machine has", self.refused("--ram", "99999999T"))
        self.assertIn("that is no size", self.refused("--swap-max", "10%"))
        self.assertEqual(self.refused("--ram", "7M"),
                         "quire: --ram 7M: a budget of 7.0 MiB is too small to start a program in\n"
                         "       it takes at least 8.0 MiB\n")

    def test_swap_directories(self):
        self.assertIn("cannot put the swap file in /nonexistent: No such file or directory\n"
                      "       name another directory", self.refused("--swap", "/nonexistent"))
        self.assertIn("Not a directory", self.refused("--swap", self.make("file", "")))
        self.assertIn("keeps files in RAM", self.refused("--swap", "/dev/shm"))
        self.assertIn("a swap file takes at least", self.refused("--swap-max", "1M"))
        self.assertIn("has room for", self.refused("--swap-max", "900T"))
        self.assertIn("no meaning", self.refused("--swap", "none", "--swap-max", "1G"))
        result = call("run", "true", env={**os.environ, "QUIRE_SWAP_DIR": "/nonexistent"})
        self.assertEqual(result.returncode, 125)
        self.assertIn("/nonexistent", result.stderr)
        result = call("run", "--swap", "none", "true",
                      env={**os.environ, "QUIRE_SWAP_DIR": "/nonexistent"})
        self.assertEqual(result.returncode, 0)

    @unittest.skipUnless(os.geteuid() == 0, "takes root")
    def test_a_swap_directory_that_bars_writing(self):
        os.chmod(self.directory, 0o555)
        result = subprocess.run(["setpriv", "--reuid", str(NOBODY), "--clear-groups", QUIRE, "run",
                                 "--swap", self.directory, "true"], capture_output=True, text=True,
                                check=False)
        self.assertEqual(result.returncode, 125)
        self.assertIn(f"cannot put the swap file in {self.directory}: Permission denied",
                      result.stderr)

    @unittest.skipUnless(os.geteuid() == 0, "takes root")
    def test_a_key_that_cannot_be_locked(self):
        without = ["setpriv", "--bounding-set", "-ipc_lock", "--inh-caps", "-ipc_lock",
                   "prlimit", "--memlock=0", QUIRE]
        for arguments, status, words in (
                (["run", "true"], 125, "cannot lock the page of memory that holds the swap file's key\n"
                                       "       allow one to be locked by `ulimit -l 64'"),
                (["run", "--swap", "none", "true"], 0, ""),
                (["doctor"], 1, "no memory may be locked")):
            result = subprocess.run([*without, *arguments], capture_output=True, text=True,
                                    check=False)
            self.assertEqual(result.returncode, status, result)
            self.assertIn(words, result.stderr + result.stdout)
        one_page = [*without[:-2], "--memlock=4096", QUIRE]
        self.assertEqual(subprocess.run([*one_page, "run", "true"], check=False).returncode, 0)


class ExitStatus(InDirectory):
    def test_the_programs_own(self):
        for status in (0, 1, 3, 124, 255):
            self.assertEqual(run("sh", "-c", f"exit {status}").returncode, status)

    def test_signals(self):
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGABRT, signal.SIGUSR1):
            result = run("sh", "-c", f"kill -{int(number)} $$")
            self.assertEqual(result.returncode, 128 + number)
            self.assertIn(f"ended by signal {int(number)} ({signal.strsignal(number)})",
                          result.stderr)

    def test_not_found(self):
        result = run("no-such-command-here")
        self.assertEqual((result.returncode, result.stderr),
                         (127, "quire: cannot find the command 'no-such-command-here' in PATH\n"))
        self.assertEqual(run("./nowhere/at-all").returncode, 127)
        self.assertEqual(run("").returncode, 127)
        self.assertEqual(run("true", env={"PATH": "/nonexistent"}).returncode, 127)

    def test_not_executable(self):
        plain = self.make("plain", "x", 0o644)
        result = run(plain)
        self.assertEqual((result.returncode, result.stderr),
                         (126, f"quire: cannot run {plain}: it is not executable\n"
                               "       if it is meant to be: chmod +x\n"))
        self.assertEqual(run(self.directory).returncode, 126)
        result = run("plain", env={"PATH": self.directory})
        self.assertEqual(result.returncode, 126)
        # a file that is barred does not hide an executable one further on
        os.rename(plain, self.path("true"))
        path = f"{self.directory}:{os.environ['PATH']}"
        self.assertEqual(run("true", env={"PATH": path}).returncode, 0)


class Passing(InDirectory):
    """What goes through to the program and back as if Quire were not there."""

    def test_the_commands_own_options(self):
        result = call("run", "--ram=64M", "-q", "echo", "--ram", "1", "--help", "--", "-q")
        self.assertEqual(result.stdout, "--ram 1 --help -- -q\n")
        self.assertEqual(result.stderr, "")
        self.assertEqual(call("run", "-q", "--", "echo", "--", "-x").stdout, "-- -x\n")

    def test_streams(self):
        result = run("-q", "sh", "-c", "cat; echo error >&2", input="a\nb\n")
        self.assertEqual((result.stdout, result.stderr), ("a\nb\n", "error\n"))

    def test_the_summary_is_on_standard_error_and_last(self):
        result = run("sh", "-c", "echo error >&2; echo out")
        self.assertEqual(result.stdout, "out\n")
        lines = result.stderr.splitlines()
        self.assertEqual(lines[0], "error")
        self.assertRegex(lines[1], r"^quire: exit status 0 after \d+\.\d\d s \(user \d+\.\d\d s, "
                                   r"system \d+\.\d\d s\), [1-9]\d* process(es)?$")
        self.assertRegex(lines[2], r"^  budget      64\.0 MiB, held .* at most; .* more that")
        for line, name in zip(lines[3:], ("resident", "compressed", "faults", "waiting", "pages")):
            self.assertTrue(line.startswith("  " + name), line)

    def test_argument_zero_is_as_typed(self):
        self.assertEqual(run("-q", "sh", "-c", "echo $0").stdout, "sh\n")

    def test_a_script_without_an_interpreter(self):
        script = self.make("script", "echo \"$0 $#: $1\"\n")
        self.assertEqual(run("-q", script, "a b", "c").stdout, f"{script} 2: a b\n")

    def test_a_script_with_an_interpreter(self):
        script = self.make("script", "#! /bin/sh -e\necho $1\nfalse\necho no\n")
        result = run("-q", script, "yes")
        self.assertEqual((result.stdout, result.returncode), ("yes\n", 1))

    def test_the_users_own_preload_stays(self):
        result = run("-q", "sh", "-c", "echo $LD_PRELOAD",
                     env={**os.environ, "LD_PRELOAD": "libm.so.6"})
        self.assertRegex(result.stdout, r"^/\S*/libquire-preload\.so:libm\.so\.6\n$")
        environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
        self.assertRegex(run("-q", "sh", "-c", "echo $LD_PRELOAD", env=environment).stdout,
                         r"^/\S*/libquire-preload\.so\n$")

    def test_no_descriptor_is_left_to_the_program(self):
        show = ["python3", "-S", "-c", "import os; print(sorted(os.listdir('/proc/self/fd')))"]
        plain = subprocess.run(show, capture_output=True, text=True, check=True).stdout
        self.assertEqual(run("-q", *show).stdout, plain)

    def test_closed_standard_descriptors_stay_closed(self):
        show = ("import os\nfor fd in 0, 2:\n try: os.fstat(fd)\n"
                " except OSError: print(fd, 'closed')")
        result = subprocess.run(["sh", "-c", 'exec "$@" <&- 2>&-', "sh", QUIRE, "run", "python3",
                                 "-S", "-c", show], stdout=subprocess.PIPE, text=True, check=False)
        self.assertEqual((result.stdout, result.returncode), ("0 closed\n2 closed\n", 0))

    def test_signal_mask_and_dispositions(self):
        show = ["grep", "-E", "^Sig(Blk|Ign|Cgt):", "/proc/self/status"]

        def before():
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGRTMIN])
        plain = subprocess.run(show, capture_output=True, text=True, preexec_fn=before,
                               check=False).stdout
        self.assertEqual(run("-q", *show, preexec_fn=before).stdout, plain)
        self.assertIn("SigBlk", plain)

    def test_a_closed_standard_error_does_not_change_the_status(self):
        reader, writer = os.pipe()
        os.close(reader)
        result = subprocess.run([QUIRE, "run", "sh", "-c", "exit 7"], stderr=writer, check=False)
        os.close(writer)
        self.assertEqual(result.returncode, 7)


class Signals(InDirectory):
    def start(self, script, **options):
        """Starts a Python program that says "ready" once it runs; returns launcher and program."""
        process = subprocess.Popen(
            [QUIRE, "run", "-q", "python3", "-S", "-u", "-c",
             "import os, signal, sys, time\n" + script], stdout=subprocess.PIPE, text=True,
            **{"stdin": subprocess.DEVNULL, **options})
        self.addCleanup(process.stdout.close)
        self.assertEqual(process.stdout.readline(), "ready\n")
        program = child_of(process.pid)
        self.addCleanup(self.end, process, program)
        return process, program

    def end(self, process, program):
        """Leaves neither behind, even after a failure; the program may outlive the launcher."""
        process.kill()
        process.wait()
        if self.is_running(program):
            os.kill(program, signal.SIGKILL)

    @staticmethod
    def is_running(program):
        try:
            with open(f"/proc/{program}/cmdline", encoding="utf-8") as file:
                return "print('ready')" in file.read()  # and not another one by now
        except OSError:
            return False

    def test_signals_are_passed_on(self):
        numbers = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2,
                   signal.SIGALRM, signal.SIGWINCH, signal.SIGPIPE, signal.SIGRTMIN + 3]
        process, program = self.start("for n in set(range(1, 65)) - {9, 17, 19, 32, 33}:\n"
                                      " signal.signal(n, lambda n, f: print(n))\n"
                                      "print('ready')\nwhile True: time.sleep(0.1)")
        for number in numbers:
            process.send_signal(number)
            self.assertEqual(process.stdout.readline(), f"{int(number)}\n")
        os.kill(program, signal.SIGKILL)
        self.assertEqual(process.wait(), 128 + signal.SIGKILL)

    def test_a_signals_value_is_passed_on(self):
        process, _ = self.start("signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])\n"
                                "print('ready')\ninfo = signal.sigwaitinfo([signal.SIGRTMIN])\n"
                                "print(info.si_code)")
        libc = ctypes.CDLL(None)
        libc.sigqueue.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
        self.assertEqual(libc.sigqueue(process.pid, signal.SIGRTMIN, 42), 0)
        self.assertEqual(process.stdout.readline(), "-1\n")  # SI_QUEUE
        self.assertEqual(process.wait(), 0)

    def test_the_program_outlives_a_killed_launcher(self):
        process, program = self.start("print('ready')\nsys.stdin.readline()\n"
                                      "x = bytearray(10 << 20)\n"
                                      "print('alive', len(x))", stdin=subprocess.PIPE)
        process.kill()
        process.wait()
        process.stdin.write("go\n")
        process.stdin.close()
        self.assertEqual(process.stdout.readline(), "alive 10485760\n")
        wait_until(lambda: not self.is_running(program))

    def test_job_control(self):
        # a group of its own whose parent is in the same session: as a shell starts a job
        process, program = self.start("print('ready')\nos.kill(os.getpid(), signal.SIGTSTP)\n"
                                      "print('continued')", preexec_fn=os.setpgrp)
        wait_until(lambda: state_of(program) == "T" and state_of(process.pid) == "T")
        process.send_signal(signal.SIGCONT)  # to the launcher alone
        self.assertEqual(process.stdout.readline(), "continued\n")
        self.assertEqual(process.wait(), 0)

    def test_a_program_stopped_by_others_is_theirs_to_continue(self):
        process, program = self.start("print('ready')\nsys.stdin.readline()\nprint('on')",
                                      stdin=subprocess.PIPE, start_new_session=True)
        os.kill(program, signal.SIGSTOP)
        wait_until(lambda: state_of(program) == "T")
        time.sleep(0.1)
        self.assertNotEqual(state_of(process.pid), "T")
        os.kill(program, signal.SIGCONT)
        process.stdin.write("\n")
        process.stdin.close()
        self.assertEqual(process.stdout.readline(), "on\n")
        self.assertEqual(process.wait(), 0)

    def on_terminal(self, key, script):
        """Runs a program on a terminal, presses a key once it is ready; all that it printed."""
        pid, master = pty.fork()
        if pid == 0:
            os.execv(QUIRE, [QUIRE, "run", "-q", "python3", "-S", "-u", "-c",
                             "import os, signal, sys, time\n" + script])
        output = b""
        while b"ready" not in output:
            output += os.read(master, 1000)
        os.write(master, key)
        try:
            while True:
                more = os.read(master, 1000)
                if not more:
                    break
                output += more
        except OSError:  # the terminal's other side is gone
            pass
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(master)
        return status, output.decode()

    def test_interrupt_from_the_terminal_comes_once(self):
        status, output = self.on_terminal(
            b"\x03", "n = 0\ndef count(*_):\n global n\n n += 1\n"
                     "signal.signal(signal.SIGINT, count)\nprint('ready')\n"
                     "while n == 0: time.sleep(0.01)\n"
                     "time.sleep(0.5)\nprint('interrupts:', n)\nsys.exit(5)")
        self.assertEqual(status, 5)
        self.assertIn("interrupts: 1\r\n", output)

    def test_interrupt_from_the_terminal_ends_the_program(self):
        status, _ = self.on_terminal(
            b"\x03", "signal.signal(signal.SIGINT, signal.SIG_DFL)\nprint('ready')\nsignal.pause()")
        self.assertEqual(status, 130)


class Stats(InDirectory):
    def figures(self, *command):
        run("-q", "--stats", self.path("stats.json"), *command)
        with open(self.path("stats.json"), encoding="utf-8") as file:
            text = file.read()
        self.assertTrue(text.endswith("}\n"))
        return json.loads(text)

    def test_keys(self):
        figures = self.figures("sh", "-c", "exit 3")
        self.assertEqual(figures["budget_bytes"], 64 << 20)
        self.assertEqual(figures["exit_status"], 3)
        self.assertIsNone(figures["ended_by"])
        self.assertGreaterEqual(figures["processes"], 1)
        self.assertGreater(figures["wall_seconds"], 0)
        self.assertEqual(set(figures["faults"]),
                         {"first_touch", "staging", "ram", "file", "same_filled", "copy",
                          "first_write"})
        self.assertEqual(set(figures["fault_wait"]), {
            "mean_ns", "p50_ns", "p99_ns", "total_ns", "stall_ns", "histogram"})
        for key in ("peak_held_bytes", "peak_resident_bytes", "peak_staged_bytes",
                    "peak_compressed_bytes", "peak_file_bytes", "evictions", "dropped_dead_pages",
                    "same_filled_pages", "unmanaged_rss_bytes", "user_seconds", "system_seconds"):
            self.assertGreaterEqual(figures[key], 0, key)
        self.assertLessEqual(figures["peak_held_bytes"], figures["budget_bytes"])
        self.assertIn("compression_ratio", figures)

    def test_a_program_that_sleeps_is_sampled_seldom(self):
        seconds = self.figures("sleep", "5")["timeline"]["seconds"]
        self.assertGreaterEqual(len(seconds), 3)
        self.assertLess(len(seconds), 16 * 3 + 5)  # at the rate of the start it would be 80
        self.assertGreaterEqual(seconds[-1], 5)

    def test_the_codec_adapts(self):
        """Text is worth zstd. Bytes drawn at random, and zeros, are not: LZ4 does as well."""
        code = ("import random; r = random.Random(1); "
                "x = [{} for _ in range(2500)]; print(sum(map(len, x)))")
        text = code.format('" ".join(f"{r.randrange(10**6)} of {i}" for i in range(600))')
        noise = code.format("r.randbytes(2100) + bytes(6000)")

        def ratio(codec, program):
            return self.figures("--ram", "16M", f"--codec={codec}", "python3", "-c",
                                program)["compression_ratio"]
        self.assertGreater(ratio("auto", text), 1.2 * ratio("lz4", text))
        # Nearer to LZ4's: a slow start may leave the pool short of room, and some pages to zstd.
        self.assertLess(ratio("auto", noise), (ratio("lz4", noise) + ratio("zstd", noise)) / 2)

    def test_every_rule_that_is_offered(self):
        """What --help names is there, and the figures tell which it was and what it gave."""
        text = " ".join(call("run", "--help").stdout.split())
        for option in ("policy", "prefetch"):
            names = re.search(rf"--{option}=RULE [^:]*: ([^.]+)\.", text).group(1).split(", ")
            self.assertGreater(len(names), 3)
            self.assertEqual(names[0], self.figures("true")["options"][option])
            for name in names:
                figures = self.figures("--ram", "8M", f"--{option}", name, "python3", "-c",
                                       "x = bytearray(12 << 20); print(sum(x[::4096]))")
                self.assertEqual((figures["exit_status"], figures["options"][option]), (0, name))
                self.assertGreater(figures["evictions"], 0)
                self.assertLessEqual(figures["prefetch_hits"], figures["prefetched_pages"])

    def test_a_signals_status(self):
        self.assertEqual(self.figures("sh", "-c", "kill -9 $$")["exit_status"], 137)

    def test_a_run_that_quire_ends(self):
        result = call("run", "--ram", "16M", "--swap", "none", "--stats", self.path("s"), "python3",
                      "-S", "-c", "import os; keep = bytearray(64 << 20)\n"
                      "for at in range(0, len(keep), 4096): keep[at:at + 4096] = os.urandom(4096)")
        self.assertEqual((result.returncode, result.stdout), (125, ""))
        message = result.stderr.splitlines()[0]
        self.assertTrue(message.startswith("quire: out of room: "), result.stderr)
        self.assertIn("\nquire: ended by Quire after ", result.stderr)
        figures = load(self.path("s"))
        self.assertEqual("quire: " + figures["ended_by"], message)
        self.assertEqual(figures["exit_status"], 125)

    def test_percentages(self):
        with open("/proc/meminfo", encoding="utf-8") as file:
            physical = int(file.readline().split()[1]) << 10
        call("run", "-q", "--ram", "10%", "--stats", self.path("s"), "true")
        budget = load(self.path("s"))["budget_bytes"]
        self.assertLessEqual(budget, physical // 10)  # a cgroup's limit may be smaller
        self.assertGreater(budget, 0)

    def test_a_file_is_replaced_with_its_mode_and_links_stay(self):
        old = self.make("old.json", "old", 0o640)
        os.symlink("old.json", self.path("link"))
        before = os.stat(old).st_ino
        self.assertEqual(run("-q", "--stats", self.path("link"), "true").returncode, 0)
        self.assertTrue(os.path.islink(self.path("link")))
        self.assertEqual(stat.S_IMODE(os.stat(old).st_mode), 0o640)
        self.assertNotEqual(os.stat(old).st_ino, before)
        self.assertEqual(load(old)["exit_status"], 0)
        self.assertEqual(sorted(os.listdir(self.directory)), ["link", "old.json"])

    def test_standard_output_is_written_into(self):
        with open(self.path("out"), "w", encoding="utf-8") as out:
            subprocess.run([QUIRE, "run", "-q", "--stats", "/dev/stdout", "echo", "first"],
                           stdout=out, check=True)
        with open(self.path("out"), encoding="utf-8") as file:
            text = file.read()
        self.assertTrue(text.startswith("first\n{"))
        self.assertEqual(json.loads(text[6:])["exit_status"], 0)
        result = run("-q", "--stats", "/dev/stdout", "true")  # a pipe
        self.assertEqual(json.loads(result.stdout)["exit_status"], 0)

    def test_a_pipe_is_written_into(self):
        os.mkfifo(self.path("pipe"))
        process = subprocess.Popen([QUIRE, "run", "-q", "--stats", self.path("pipe"), "true"])
        with open(self.path("pipe"), encoding="utf-8") as pipe:
            self.assertEqual(json.load(pipe)["exit_status"], 0)
        self.assertEqual(process.wait(), 0)

    def test_what_cannot_be_written_is_told_before_the_program_runs(self):
        for path in (self.path("no/such/place"), self.directory, "/proc/stats"):
            result = run("--stats", path, "touch", self.path("ran"))
            self.assertEqual(result.returncode, 125)
            self.assertIn(f"quire: cannot write the figures to {path}: ", result.stderr)
            self.assertFalse(os.path.exists(self.path("ran")))

    def test_what_could_not_be_written_in_the_end(self):
        where = self.path("gone/stats")
        for status, expected in ((0, 125), (4, 4)):
            os.mkdir(self.path("gone"))
            result = run("-q", "--stats", where, "sh", "-c",
                         f"rmdir {self.path('gone')}; exit {status}")
            self.assertEqual(result.returncode, expected)
            self.assertEqual(result.stderr, f"quire: cannot write the figures to {where}: "
                                            "No such file or directory\n")


class Refused(InDirectory):
    """What Quire can't serve does not run, and the reason is told."""

    def image(self, name):
        shutil.copy(os.path.join(CORPUS, name), self.path(name))
        os.chmod(self.path(name), 0o755)
        return self.path(name)

    def refused(self, program, words, status=125):
        result = run(program)
        self.assertEqual((result.returncode, result.stdout), (status, ""), result.stderr)
        self.assertTrue(result.stderr.startswith(f"quire: cannot run {program}: "), result.stderr)
        self.assertIn(words, result.stderr)
        return result.stderr

    def patched(self, offset, value):
        path = self.image("dynamic")
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(bytes(value))
        return path

    def test_static(self):
        self.assertIn("without -static", self.refused(self.image("static"), "linked statically"))

    @unittest.skipUnless(shutil.which("gcc"), "no compiler here")
    def test_programs_of_the_compiler(self):
        source = self.make("x.c", "int main(void) { return 0; }\n")
        for option, words in (("-static", "linked statically"),
                              ("-static-pie", "linked statically"),
                              ("-fsanitize=address", "(AddressSanitizer)"),
                              ("-fsanitize=thread", "(ThreadSanitizer)")):
            subprocess.run(["gcc", option, "-o", self.path("x"), source], check=True)
            self.refused(self.path("x"), words)
        for option in ("-pie", "-no-pie", "-fsanitize=undefined"):
            subprocess.run(["gcc", option, "-o", self.path("x"), source], check=True)
            self.assertEqual(run(self.path("x")).returncode, 0, option)

    @unittest.skipUnless(shutil.which("clang"), "no clang here")
    def test_a_sanitizer_linked_in(self):
        source = self.make("x.c", "int main(void) { return 0; }\n")
        for kind, words in (("address", "(AddressSanitizer)"), ("memory", "(MemorySanitizer)"),
                            ("thread", "(ThreadSanitizer)"), ("leak", "(LeakSanitizer)")):
            subprocess.run(["clang", f"-fsanitize={kind}", "-o", self.path("x"), source],
                           check=True)
            self.refused(self.path("x"), words)

    def test_other_machines(self):
        self.refused(self.patched(4, [1]), "32-bit")
        self.refused(self.patched(18, [21, 0]), "not a program for this machine")
        self.refused(self.patched(54, [1, 0]), "damaged ELF", status=126)

    def test_other_c_libraries(self):
        path = self.image("dynamic")
        with open(path, "r+b") as file:
            image = file.read().replace(b"/lib64/ld-linux-x86-64.so.2\0",
                                        b"/lib/ld-musl-x86_64.so.1\0\0\0\0")
            file.seek(0)
            file.write(image)
        self.refused(path, "another C library; Quire's is built for glibc "
                           "(/lib/ld-musl-x86_64.so.1)")

    def test_a_loader_that_is_missing(self):
        path = self.image("dynamic")
        with open(path, "r+b") as file:
            image = file.read().replace(b"/lib64/ld-linux", b"/lib99/ld-linux")
            file.seek(0)
            file.write(image)
        self.refused(path, "is not there", status=126)

    def test_sanitizers_and_go(self):
        self.refused(self.image("gnu_hash"), "(AddressSanitizer)")
        self.refused(self.image("sysv_hash"), "(AddressSanitizer)")
        self.refused(self.image("go"), "Go program")

    def test_the_loader_as_a_command_is_served(self):
        loader = "/lib64/ld-linux-x86-64.so.2"
        if not os.path.exists(loader):
            self.skipTest("not this machine's loader")
        self.assertEqual(run("-q", loader, "/bin/echo", "x").stdout, "x\n")

    @unittest.skipUnless(os.geteuid() == 0, "takes root to make one")
    def test_set_user_and_set_group(self):
        path = self.path("true")
        shutil.copy(shutil.which("true"), path)
        for mode in (0o4755, 0o2755):
            os.chown(path, NOBODY, NOBODY)
            os.chmod(path, mode)
            self.refused(path, "set-uid or set-gid")
            os.chown(path, 0, 0)  # to who runs it already: nothing changes
            os.chmod(path, mode)
            self.assertEqual(run(path).returncode, 0)

    def test_scripts_are_judged_by_their_interpreter(self):
        static = self.image("static")
        script = self.make("script", f"#!{static}\n")
        result = run(script)
        self.assertEqual(result.returncode, 125)
        self.assertIn(f"cannot run {static}: it is linked statically", result.stderr)
        self.assertIn(f"{script} is a script that names it in its first line", result.stderr)
        script = self.make("lost", "#!/no/such/interpreter\n")
        result = run(script)
        self.assertEqual(result.returncode, 126)
        self.assertIn("cannot run /no/such/interpreter: there is no such file", result.stderr)

    def test_scripts_of_scripts(self):
        last = self.make("0", "#!/bin/sh\n")
        for i in range(1, 5):
            last = self.make(str(i), f"#!{last}\n")
        self.assertEqual(run(last).returncode, 0)
        last = self.make("5", f"#!{last}\n")
        loop = self.path("loop")
        self.make("loop", f"#!{loop}\n")
        self.assertEqual(run(loop).returncode, 126)
        self.assertIn("too many scripts", run(loop).stderr)

    def test_a_run_inside_a_run(self):
        result = run("-q", QUIRE, "run", "true")
        self.assertEqual(result.returncode, 125)
        self.assertIn("this is inside a `quire run' already", result.stderr)
        stale = {**os.environ, "QUIRE_CONTROL": "/proc/1/fd/12345"}
        self.assertEqual(run("true", env=stale).returncode, 0)

    @unittest.skipUnless(os.geteuid() == 0, "takes root to give up")
    def test_a_user_without_the_right(self):
        command = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups",
                   QUIRE]
        with open("/proc/sys/vm/unprivileged_userfaultfd", encoding="ascii") as file:
            if file.read().strip() == "1":
                self.skipTest("everybody has the right here")
        result = subprocess.run([*command, "run", "true"], capture_output=True, text=True,
                                check=False)
        self.assertEqual(result.returncode, 125)
        self.assertIn("cannot page this program: this user may serve only its own code's",
                      result.stderr)
        self.assertIn("sudo sysctl vm.unprivileged_userfaultfd=1", result.stderr)
        result = subprocess.run([*command, "doctor"], capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stdout, r"(?m)^no    userfaultfd")
        self.assertIn("sudo sysctl vm.unprivileged_userfaultfd=1", result.stdout)
        self.assertIn("does not work here", result.stdout)

    def test_a_path_that_cannot_be_preloaded(self):
        os.mkdir(self.path("a b"))
        beside = os.path.dirname(QUIRE)
        for file in (QUIRE, os.path.join(beside, "libquire-preload.so")):
            shutil.copy(file, self.path("a b"))
        result = subprocess.run([self.path("a b/quire"), "run", "true"], capture_output=True,
                                text=True, check=False)
        self.assertEqual(result.returncode, 125)
        self.assertIn("takes no path with blanks or colons", result.stderr)


class Doctor(unittest.TestCase):
    NAMES = ["kernel", "userfaultfd", "move", "library", "memory", "cgroup", "addresses",
             "mappings", "locked memory", "kernel swap", "swap directory", "swap key", "io_uring",
             "publishing", "seccomp"]

    def test_text_and_json_agree(self):
        text, data = call("doctor"), call("doctor", "--json")
        report = json.loads(data.stdout)
        self.assertEqual(text.returncode, data.returncode)
        self.assertEqual(report["works"], data.returncode == 0)
        self.assertEqual([check["name"] for check in report["checks"]], self.NAMES)
        for check in report["checks"]:
            self.assertEqual(set(check), {"name", "status", "found", "means", "fix"})
            self.assertIn(check["status"], ("ok", "warn", "no"))
            self.assertNotEqual(check["found"], "")
            self.assertRegex(text.stdout, rf"(?m)^{check['status']:5} {check['name']} ")
        self.assertEqual(report["works"],
                         all(check["status"] != "no" for check in report["checks"]))

    def test_a_swap_directory_that_does_not_do(self):
        for directory, words in (("/nonexistent", "No such file"), ("/dev/shm", "stay in RAM")):
            result = call("doctor", env={**os.environ, "QUIRE_SWAP_DIR": directory})
            self.assertEqual(result.returncode, 1)
            self.assertRegex(result.stdout, rf"(?m)^no    swap directory +{directory}")
            self.assertIn(words, result.stdout)
            self.assertRegex(result.stdout, r"to open it: +export QUIRE_SWAP_DIR=DIR\n")

    def test_addresses_that_cannot_be_reserved(self):
        for limit, status, code in ((4000000, "warn", 0), (300000, "no  ", 1)):
            result = subprocess.run(["bash", "-c", f'ulimit -v {limit}; exec "$0" doctor', QUIRE],
                                    capture_output=True, text=True, check=False)
            self.assertEqual(result.returncode, code)
            self.assertRegex(result.stdout, rf"(?m)^{status}  addresses")
            self.assertIn("ulimit -v unlimited", result.stdout)


class NoPaging(InDirectory):
    """`--no-paging`: the heap, and nothing else."""

    def test_the_program_has_the_heap_and_no_pager(self):
        result = call("run", "--no-paging", "--", sys.executable, "-c",
                      "import os; print(open('/proc/self/maps').read()); print(os.environ)\n"
                      "print(len(os.listdir('/proc/self/task')), 'threads')")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("libquire-malloc.so", result.stdout)
        self.assertNotIn("libquire-preload.so", result.stdout)
        self.assertNotIn("QUIRE_CONTROL", result.stdout)
        self.assertIn("1 threads", result.stdout)

    def test_starts_small(self):
        """What a start costs in anonymous memory: 2 MiB are the most that is bearable."""
        def anonymous(*arguments):
            status = subprocess.run([*arguments, "sh", "-c", "cat /proc/$$/status; :"], text=True,
                                    capture_output=True, check=True, timeout=PATIENCE_SECONDS)
            return int(re.search(r"RssAnon:\s+(\d+) kB", status.stdout)[1])
        self.assertLess(anonymous(QUIRE, "run", "--no-paging"), anonymous() + 2048)

    def test_fork_threads_and_mappings_work(self):
        result = call("run", "--no-paging", sys.executable, "-c", """
import mmap, os, threading
def churn():
    for i in range(50): rows = [bytes(n * 37 % 5000) for n in range(500)]
threads = [threading.Thread(target=churn) for _ in range(3)]
for thread in threads: thread.start()
for _ in range(5):
    child = os.fork()
    if child == 0:
        churn()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
for thread in threads: thread.join()
mapping = mmap.mmap(-1, 1 << 20)
mapping[7] = 7
mapping.resize(1 << 22)
print(mapping[7])
""")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "7\n", ""))

    def test_memory_comes_back(self):
        result = call("run", "--no-paging", sys.executable, "-c", """
def resident(): return int(open("/proc/self/statm").read().split()[1]) // 256
rows = [bytes(3000) for _ in range(100000)]
most = resident()
rows = None
print(most, resident())
""")
        most, after = map(int, result.stdout.split())
        self.assertGreater(most, 280)
        self.assertLess(after, 60)

    def test_statuses(self):
        for command, status in ((["true"], 0), (["sh", "-c", "exit 7"], 7),
                                ([self.path("none")], 127), ([self.directory], 126)):
            self.assertEqual(call("run", "--no-paging", *command).returncode, status, command)
        self.assertEqual(call("run", "--no-paging", "sh", "-c", "kill -9 $$").returncode,
                         -signal.SIGKILL)
        self.make("script", "exit 9\n")
        self.assertEqual(call("run", "--no-paging", self.path("script")).returncode, 9)

    def test_paging_s_options_contradict(self):
        for option in (["--ram", "1G"], ["--swap", "none"], ["--swap-max", "1G"],
                       ["--codec", "lz4"], ["--policy", "fifo"], ["--prefetch", "none"],
                       ["--stats", "x"]):
            result = call("run", "--no-paging", *option, "true")
            self.assertEqual((result.returncode, result.stderr),
                             (125, f"quire: {' '.join(option)} has no meaning with --no-paging\n"
                                   "       leave out one of both\n"))

    def test_by_hand(self):
        for name in ("libquire-preload.so", "libquire-malloc.so"):
            library = os.path.join(os.path.dirname(QUIRE), name)
            result = subprocess.run(["sh", "-c", "cat /proc/self/maps; sort /dev/null"], text=True,
                                    capture_output=True, env={**os.environ, "LD_PRELOAD": library},
                                    timeout=PATIENCE_SECONDS, check=False)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertIn(name, result.stdout)

    def test_the_heap_alone_loads_no_codecs(self):
        """What libquire-malloc.so is for: a small start."""
        library = os.path.join(os.path.dirname(QUIRE), "libquire-malloc.so")
        needed = subprocess.run(["readelf", "-d", library], text=True, capture_output=True,
                                check=True, timeout=PATIENCE_SECONDS).stdout
        self.assertEqual(re.findall(r"NEEDED.*\[(.*)\]", needed), ["libc.so.6"])


class Harden(unittest.TestCase):
    """`--harden`, with paging and without, and in what a program starts with a bare environment."""
    OVERFLOW = ("import ctypes; libc = ctypes.CDLL(None); libc.malloc.restype = ctypes.c_void_p\n"
                "libc.free.argtypes = [ctypes.c_void_p]\n"
                "at = libc.malloc(40); ctypes.memset(at + 40, 0, 1); libc.free(at)")
    MESSAGE = (r"quire: heap overflow: 0x[0-9a-f]+: byte 40 was written, of an object, 40 bytes, "
               r"live; class 48; before it: .*; behind it: .*\n")

    def test_an_overflow_is_told(self):
        for options in (["--no-paging"], ["--ram", "256M", "-q"]):
            result = call("run", *options, "--harden", sys.executable, "-c", self.OVERFLOW)
            self.assertIn(result.returncode, (-signal.SIGABRT, 128 + signal.SIGABRT))
            self.assertRegex(result.stderr, self.MESSAGE)
            self.assertEqual(call("run", *options, sys.executable, "-c", self.OVERFLOW).returncode,
                             0)

    def test_it_is_passed_on(self):
        result = call("run", "--ram", "256M", "-q", "--harden", "env", "-i", sys.executable, "-c",
                      self.OVERFLOW)
        self.assertRegex(result.stderr, self.MESSAGE)

    def test_a_right_program_does_not_notice(self):
        program = ("import json, threading\n"
                   "def work(): json.loads(json.dumps([{str(i): [i] * 9} for i in range(7000)]))\n"
                   "threads = [threading.Thread(target=work) for _ in range(3)]\n"
                   "for thread in threads: thread.start()\n"
                   "for thread in threads: thread.join()\n")
        for options in (["--no-paging"], ["--ram", "24M", "-q"]):
            result = call("run", *options, "--harden", sys.executable, "-c", program)
            self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))


class Slabs(InDirectory):
    """`quire slabs`, against a program whose objects are known."""
    PROGRAM = """
import ctypes, sys
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
held = [libc.malloc(20000) for _ in range(300)] + [libc.malloc(200000) for _ in range(7)]
for at in held: ctypes.memset(at, 1, 16)
for at in held[:100]: libc.free(at)
print("ready", flush=True)
sys.stdin.read()
"""

    def start(self, *command, **options):
        program = subprocess.Popen([*command, sys.executable, "-c", self.PROGRAM], text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)

        def end():
            program.stdin.close()
            program.wait(PATIENCE_SECONDS)
            program.stdout.close()
        self.addCleanup(end)
        self.assertEqual(program.stdout.readline(), "ready\n")
        return program.pid

    def figures(self, pid, *arguments):
        result = call("slabs", "--pid", str(pid), "--json", *arguments)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return json.loads(result.stdout)

    def check(self, pid, hardened):
        """Requests of 20000 bytes come in the class of 20480."""
        data = self.figures(pid)
        one = next(each for each in data["classes"] if each["object_bytes"] == 20480)
        n_others = one["active_objects"] - (300 if hardened else 200) # Python's own
        self.assertIn(n_others, range(20))
        self.assertLessEqual(one["active_objects"] + one["cached_objects"], one["objects"])
        self.assertEqual(one["held_bytes"], one["pages"] * 4096)
        self.assertEqual(one["held_bytes"] - one["active_objects"] * 20480, one["waste_bytes"])
        self.assertEqual(one["held_bytes"] - one["objects"] * 20480, one["tail_bytes"])
        self.assertGreaterEqual(data["large"]["objects"], 7)
        self.assertGreaterEqual(data["large"]["pages"], 7 * 49)
        self.assertEqual(data["hardened"], hardened)
        if hardened:
            self.assertIn(one["requested_bytes"], range(200 * 20000, (200 + n_others) * 20480 + 1))
        else:
            self.assertIsNone(one["requested_bytes"])
        self.assertEqual([each["object_bytes"] for each in data["classes"]],
                         sorted(each["object_bytes"] for each in data["classes"]))

    def test_without_paging(self):
        self.check(self.start(QUIRE, "run", "--no-paging"), False)

    def test_hardened(self):
        self.check(self.start(QUIRE, "run", "--no-paging", "--harden"), True)

    def test_paged(self):
        launcher = self.start(QUIRE, "run", "-q", "--ram", "12M")
        self.check(child_of(launcher), False)

    def test_text_and_orders(self):
        pid = self.start(QUIRE, "run", "--no-paging")
        text = call("slabs", "--pid", str(pid)).stdout
        self.assertRegex(text, rf"\Aprocess {pid} \(.*\)\nclass +active +cached +objects +fill% +"
                               r"spans +pages +held +waste +tails\n")
        self.assertRegex(text, r"(?m)^20480 +2[01]\d +")
        self.assertRegex(text, r"(?m)^all +\d+ +\d+ +\d+ +\d+\.\d +")
        self.assertRegex(text, r"large: \d+ objects, \d+ pages, ")
        for key, field in (("active", "active_objects"), ("bytes", "held_bytes"),
                           ("fill", "fill_percent"), ("waste", "waste_bytes")):
            values = [each[field] for each in self.figures(pid, "--sort", key)["classes"]]
            self.assertEqual(values, sorted(values, reverse=True))
        self.assertEqual(len(self.figures(pid, "--all")["classes"]), 72)

    def test_while_the_heap_changes(self):
        busy = subprocess.Popen([QUIRE, "run", "--no-paging", sys.executable, "-c",
                                 "import itertools\nprint('ready', flush=True)\n"
                                 "for n in itertools.count(): [bytes(i) for i in range(n % 3000)]"],
                                stdout=subprocess.PIPE)
        try:
            busy.stdout.readline()
            for _ in range(50):
                for each in self.figures(busy.pid)["classes"]:
                    self.assertLessEqual(each["active_objects"], each["objects"])
        finally:
            busy.kill()
            busy.wait()
            busy.stdout.close()

    def refused(self, pid, message, **options):
        result = call("slabs", "--pid", str(pid), **options)
        self.assertEqual((result.returncode, result.stdout, result.stderr),
                         (1, "", f"quire: {message}\n"))

    def test_what_is_refused(self):
        plain = subprocess.Popen(["sleep", "300"])
        ended = subprocess.Popen(["true"])
        ended.wait()
        self.refused(ended.pid, f"there is no process {ended.pid}")
        wait_until(lambda: "sleep" in os.readlink(f"/proc/{plain.pid}/exe"))
        self.refused(plain.pid, f"process {plain.pid} does not use Quire's heap\n       name one that "
                                "`quire run' started, with or without --no-paging, or that `quire' "
                                "itself")
        if os.geteuid() == 0:
            self.refused(plain.pid, f"cannot look into process {plain.pid}: not permitted\n"
                                    "       be its user or root; a restriction of ptrace "
                                    "(kernel.yama.ptrace_scope) counts too", user=NOBODY)
        plain.kill()
        plain.wait()
        for words in (["--pid", "x"], ["--pid", "0"], ["--pid", "1", "2"],
                      ["--pid", "1", "--sort", "y"], ["--bogus"]):
            self.assertEqual(call("slabs", *words).returncode, 125, words)

    def test_another_version(self):
        library = self.path("libquire-preload.so")
        with open(os.path.join(os.path.dirname(QUIRE), "libquire-preload.so"), "rb") as file:
            image = file.read()
        at = image.index(b"QUIRSLAB\x02\x00\x00\x00")
        with open(library, "wb") as file:
            file.write(image[:at + 8] + b"\x63" + image[at + 9:])
        pid = self.start(env={**os.environ, "LD_PRELOAD": library})
        self.refused(pid, f"the Quire library in process {pid} is of another version than this "
                          "command\n       use the `quire' that it was started by")


if __name__ == "__main__":
    unittest.main()
