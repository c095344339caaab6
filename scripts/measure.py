#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a command and measures it from outside: wall time, CPU time, peak memory of its tree.

As a command: measure.py [--timeout SECONDS] [--figures FILE] -- COMMAND [ARG...]
writes lines `key: value` to FILE and ends as COMMAND did. Tests and benchmarks import it.

Peak memory is the highest sum of the anonymous and shared-anonymous memory (Pss_Anon, Pss_Shmem of
/proc/PID/smaps_rollup, or RssAnon, RssShmem of /proc/PID/status where those are less) of all
processes that descend from the command, sampled every 10 ms; pages that a fork shares count once.
Launchers of Quire are left out: they are not the program. A sum over several processes is no
snapshot either, so a new peak is looked at twice, and of each process the smaller figure counts.
"""
import argparse
import ctypes
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time

PR_SET_CHILD_SUBREAPER = 36
SAMPLE_SECONDS = 0.01


@dataclasses.dataclass
class Measured:
    """What a run was, seen from outside."""
    status: int              # exit status, or 128+N when signal N ended it
    signal: int = 0          # N, or 0
    timed_out: bool = False
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_anon_bytes: int = 0
    n_samples: int = 0
    left_over: list = dataclasses.field(default_factory=list)  # processes that outlived it


def adopt_orphans():
    """Makes this process the parent of its descendants' orphans, so that none escapes."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children(pid):
    try:
        tids = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found = []
    for tid in tids:
        try:
            with open(f"/proc/{pid}/task/{tid}/children", "rb") as file:
                found += [int(word) for word in file.read().split()]
        except OSError:
            pass
    return found


def descendants(pid):
    seen, todo = [], children(pid)
    while todo:
        here = todo.pop()
        if here not in seen:
            seen.append(here)
            todo += children(here)
    return seen


def same_memory(pid, other):
    """Whether one is a vfork child of the other that has not executed anything yet."""
    kcmp, kcmp_vm = 312, 1  # x86-64; elsewhere nobody is taken for one
    if os.uname().machine != "x86_64":
        return False
    return ctypes.CDLL(None).syscall(kcmp, pid, other, kcmp_vm, 0, 0) == 0


def sum_of_fields(path, names):
    """The sum of these fields of a file of /proc, bytes."""
    total = 0
    with open(path, "rb") as file:
        for line in file:
            if line.startswith(names):
                total += int(line.split()[1]) << 10
    return total


def anonymous_bytes(pid):
    """Anonymous and shared-anonymous memory of one process, bytes; 0 when it is gone.

    smaps_rollup is no snapshot: what moves to a higher address while the kernel walks through a
    large process is counted twice. RssAnon is one, but knows nothing of shares. Neither can be
    less than the share at that time, so the smaller of the two is nearer.
    """
    try:
        walked = sum_of_fields(f"/proc/{pid}/smaps_rollup", (b"Pss_Anon:", b"Pss_Shmem:"))
        counted = sum_of_fields(f"/proc/{pid}/status", (b"RssAnon:", b"RssShmem:"))
    except OSError:
        return 0
    return min(walked, counted)


def program_name(pid):
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return ""


class Sampler(threading.Thread):
    """Samples all descendants of this process until told to stop."""

    def __init__(self, not_counted):
        super().__init__(daemon=True)
        self.not_counted = not_counted
        self.peak = 0
        self.n_samples = 0
        self.stopped = threading.Event()
        # Processes that were there before the measured command are not part of it.
        self.before = set(descendants(os.getpid()))

    def look(self):
        """Bytes by process."""
        seen = {}
        for pid in descendants(os.getpid()):
            # A child of this process that has yet to be executed shows this one's memory.
            if pid in self.before or program_name(pid) in self.not_counted or any(
                    same_memory(pid, other) for other in (os.getpid(), *seen)):
                continue
            seen[pid] = anonymous_bytes(pid)
        return seen

    def run(self):
        pause = SAMPLE_SECONDS
        first = time.monotonic()
        while not self.stopped.wait(pause):
            start = time.monotonic()
            seen = self.look()
            if len(seen) > 1 and sum(seen.values()) > self.peak:
                again = self.look()
                seen = {pid: min(n, again.get(pid, 0)) for pid, n in seen.items()}
            self.peak = max(self.peak, sum(seen.values()))
            self.n_samples += 1
            # Looking stops the program for a moment: not much more than a tenth of the time, but
            # for the first looks at a short program.
            now = time.monotonic()
            pause = min(max(SAMPLE_SECONDS, min(9 * (now - start), (now - first) / 4)), 0.1)


def end_all(before):
    """Kills what is left of a run and reaps it; returns (pid, command) of what was there."""
    names = []
    for _ in range(100):
        left = [pid for pid in descendants(os.getpid()) if pid not in before]
        if not left:
            break
        for pid in left:
            try:
                with open(f"/proc/{pid}/stat", "rb") as file:
                    text = file.read()
                if text[text.rindex(b")") + 2:][:1] != b"Z":
                    names.append((pid, text[text.index(b"(") + 1:text.rindex(b")")].decode()))
                    os.kill(pid, signal.SIGKILL)
            except (OSError, ValueError):
                pass
        time.sleep(0.01)
        while True:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    break
            except ChildProcessError:
                break
    return sorted(set(names))


def share_niceness(pid):
    """A session is a group of its own to Linux's scheduler, which gives each the same share,
    however nice what runs in it is: one that this process starts gets what this process has."""
    try:
        with open(f"/proc/{pid}/autogroup", "w", encoding="ascii") as file:
            file.write(str(os.nice(0)))
    except OSError:
        pass  # no such groups here


def wait_for(process, timeout):
    """Waits with a limit; (wait status, resource usage, timed out)."""
    deadline = time.monotonic() + timeout
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            return status, usage, False
        if time.monotonic() > deadline:
            break
        time.sleep(0.005)
    for pid in reversed(descendants(process.pid)):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    process.kill()
    _, status, usage = os.wait4(process.pid, 0)
    return status, usage, True


def run(argv, *, timeout=120.0, sample=True, grace=2.0, not_counted=("quire",), **popen):
    """Runs argv (other arguments: subprocess.Popen's) and returns what was Measured.

    `grace`: seconds that processes which outlive the command have to end by themselves.
    `not_counted`: names of executables that are not part of the program.
    """
    adopt_orphans()
    sampler = Sampler(not_counted)
    popen.setdefault("stdin", subprocess.DEVNULL)
    start = time.monotonic()
    process = subprocess.Popen(argv, start_new_session=True, **popen)
    if os.nice(0) > 0:
        share_niceness(process.pid)
    if sample:
        sampler.start()
    try:
        status, usage, timed_out = wait_for(process, timeout)
        wall = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        until = time.monotonic() + (0 if timed_out else grace)
        while time.monotonic() < until:
            if all(pid in sampler.before for pid in living()):
                break
            time.sleep(0.02)
    finally:
        sampler.stopped.set()
        left = end_all(sampler.before)
    if sample:
        sampler.join()
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return Measured(status=128 + number if number else os.WEXITSTATUS(status), signal=number,
                    timed_out=timed_out, wall_seconds=wall,
                    cpu_seconds=usage.ru_utime + usage.ru_stime, peak_anon_bytes=sampler.peak,
                    n_samples=sampler.n_samples, left_over=left)


def living():
    """Descendants of this process that are no zombies; reaps orphans on the way."""
    alive = []
    for pid in descendants(os.getpid()):
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                text = file.read()
            if text[text.rindex(b")") + 2:][:1] != b"Z":
                alive.append(pid)
            else:
                os.waitpid(pid, os.WNOHANG)
        except (OSError, ValueError):
            pass
    return alive


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--timeout", type=float, default=3600.0)
    parser.add_argument("--figures", help="file for the figures")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    try:
        measured = run(options.command, timeout=options.timeout, stdin=None)
    except OSError as error:
        print(f"measure: {options.command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    text = "".join(f"{key}: {value}\n" for key, value in dataclasses.asdict(measured).items()
                   if not isinstance(value, list))
    if options.figures:
        with open(options.figures, "w", encoding="utf-8") as file:
            file.write(text)
    else:
        sys.stderr.write(text)
    if measured.timed_out:
        print(f"measure: stopped after {options.timeout:.0f} s", file=sys.stderr)
        return 124
    return measured.status


if __name__ == "__main__":
    sys.exit(main())
