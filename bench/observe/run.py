#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a look at the system's and the processes' memory costs: processor time a sample, with 1,000
idle processes beside, of the `quire` command and of the well-known tools, in turns.

Usage: run.py --quire QUIRE [--processes N] [--rounds N] [--json FILE]

Peers that are not installed are left out (procps: ps, top, free, vmstat; atop; smem). A watching
command's sample is the difference between many of its samples and one.
"""
import argparse
import fcntl
import json
import os
import pty
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading

SAMPLES = 20 # of a watching command

# What the kernel takes to tell the PSS of processes, and nobody makes cheaper: one read of each, the
# descriptors open already. Arguments: how often, and the pids.
KERNEL_ALONE = """
import os, sys
files = [os.open(f"/proc/{pid}/smaps_rollup", os.O_RDONLY) for pid in sys.argv[2:]]
for _ in range(int(sys.argv[1])):
    for file in files:
        os.pread(file, 4096, 0)
"""


def drain(descriptor):
    try:
        while os.read(descriptor, 65536):
            pass
    except OSError: # the other end is closed
        pass


def cpu_ms(command):
    """Processor time of a command and its children; of what wants a screen, on a terminal of 80x24."""
    actions = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
    environment, reader = dict(os.environ), None
    if command[1:2] == ["top"]:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        actions = [(os.POSIX_SPAWN_DUP2, theirs, 0), (os.POSIX_SPAWN_DUP2, theirs, 1)]
        environment["TERM"] = "xterm"
        reader = threading.Thread(target=drain, args=(ours,))
    pid = os.posix_spawnp(command[0], command, environment, file_actions=actions)
    if reader is not None:
        os.close(theirs)
        reader.start()
    _, status, usage = os.wait4(pid, 0)
    if reader is not None:
        reader.join()
        os.close(ours)
    found = [2] if command[1:2] == ["tune"] else [] # it has advice
    if os.waitstatus_to_exitcode(status) not in [0, *found]:
        raise SystemExit(f"{' '.join(command)}: status {status}")
    return 1000 * (usage.ru_utime + usage.ru_stime)


def rows(quire, directory, pids):
    """(subject, who, command, command of many samples or None, goal in ms or None)

    The goals are those of a quiet reference machine, where ps took 44 ms, atop -R 330 and free 1.5; on
    another, or a busy one, the ratio to the peer is what holds.
    """
    def watching(*arguments):
        start = [quire, "ps", *arguments, "--watch=0.05", "-n"]
        return [*start, "1"], [*start, str(SAMPLES + 1)]
    def steadily(command):
        """What a sample costs when it has been watching for a while."""
        return [*command, "-n", str(SAMPLES)], [*command, "-n", str(2 * SAMPLES)]
    def recording(*command):
        """What a sample more costs; each time into a file of its own."""
        return [*command, "1"], [*command, str(SAMPLES + 1)]
    def alone(samples):
        return [sys.executable, "-S", "-c", KERNEL_ALONE, str(samples), *map(str, pids)]
    log = [quire, "log", "-o", f"{directory}/quire.log", "--interval", "0.05", "-n"]
    rss = ["-o", "pid,rss,minor,major"]
    shares = ["-o", "pid,pss,uss"]
    return [
        ("RSS and faults", "quire ps", [quire, "ps", *rss], None, 10),
        ("RSS and faults", "quire ps --watch", *watching(*rss), 10),
        ("RSS and faults", "ps", ["ps", "-eo", "pid,rss,min_flt,maj_flt"], None, None),
        ("RSS and faults", "top", ["top", "-b", "-n", "1"], None, None),
        ("RSS and faults", "atop", ["atop", "-m", "1", "1"], None, None),
        ("PSS and USS", "quire ps", [quire, "ps", *shares], None, 60),
        ("PSS and USS", "quire ps --watch", *watching(*shares), 60),
        ("PSS and USS", "atop -R", ["atop", "-R", "-m", "1", "1"], None, None),
        ("PSS and USS", "the kernel alone", alone(1), alone(SAMPLES + 1), None),
        ("PSS and USS", "smem", ["smem", "-c", "pid pss uss"], None, None),
        ("watching", "quire top", *steadily([quire, "top", "-d", "0.05"]), 10),
        ("watching", "quire top, PSS",
         *steadily([quire, "top", "-d", "0.05", "--columns", "shares"]), None),
        ("watching", "top -b", *steadily(["top", "-b", "-d", "0.05"]), None),
        ("everything", "quire ps", [quire, "ps"], None, None),
        ("recording", "quire log", *recording(*log), None),
        ("recording", "atop -w", ["atop", "-w", f"{directory}/atop.log", "1", "1"], None, None),
        ("exporting", "quire export", [quire, "export", "--textfile", "-"], None, None),
        ("exporting", "with 20 processes", [quire, "export", "--textfile", "-", "--processes", "20"],
         None, None),
        ("advice", "quire tune", [quire, "tune", "--for", "0"], None, None),
        ("the system", "quire free", [quire, "free"], None, 1.5),
        ("the system", "free", ["free"], None, None),
        ("the system", "quire vmstat", [quire, "vmstat"], None, 2),
        ("the system", "vmstat", ["vmstat"], None, None),
    ]


def measure(subjects, rounds):
    times = {index: [] for index in range(len(subjects))}
    for _ in range(rounds):
        for index, (_, _, once, many, _) in enumerate(subjects):
            ms = cpu_ms(once)
            if many is not None:
                ms = max(0, cpu_ms(many) - ms) / SAMPLES
            times[index].append(ms)
    return [statistics.median(times[index]) for index in range(len(subjects))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quire", required=True)
    parser.add_argument("--processes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        return compare(options, directory)


def compare(options, directory):
    idle = [subprocess.Popen(["sleep", "1000"]) for _ in range(options.processes)]
    try:
        pids = [process.pid for process in idle]
        subjects = [row for row in rows(os.path.abspath(options.quire), directory, pids)
                    if shutil.which(row[2][0])]
        medians = measure(subjects, options.rounds)
    finally:
        for process in idle:
            process.kill()
        for process in idle:
            process.wait()
    print(f"processor time a sample, {options.processes} idle processes beside, "
          f"median of {options.rounds}")
    results = []
    peers = {"RSS and faults": "ps", "PSS and USS": "atop -R", "the system": "free",
             "watching": "top -b"}
    cost = {row[1]: ms for row, ms in zip(subjects, medians) if row[1] in peers.values()}
    for (subject, who, _, _, goal), ms in zip(subjects, medians):
        print(f"{subject:<15} {who:<17} {ms:8.2f} ms"
              + (f"   goal {goal} ms: {'met' if ms <= goal else 'missed'}" if goal else "")
              + (f"; {ms / cost[peers[subject]]:.2f} of {peers[subject]}"
                 if goal and peers[subject] in cost else ""))
        results.append({"subject": subject, "who": who, "cpu_ms": ms, "goal_ms": goal})
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
