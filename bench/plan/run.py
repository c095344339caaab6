#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The planner beside its goals, and beside other planners in the same run.

Usage: run.py [--quire FILE] [--instances DIR] [--large N] [--peer NAME=COMMAND]...

A COMMAND is run by the shell with {input}, {output} and {capacity} replaced, and has to write CSV with a
column `offset` to {output}; what it writes is checked by `quire plan --verify`. MiniMalloc for one:
  --peer 'minimalloc=minimalloc --input={input} --output={output} --capacity={capacity} --timeout=60s'
Times of both are those of the whole command, reading and writing included, and the machine's own noise:
run nothing beside it. Ends with 1 if a goal is missed.
"""
import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import problems

HERE = pathlib.Path(__file__).resolve().parent
CAPACITY = 1 << 20
LEAST = {"D": 1039360, "J": 1039360}  # what is asked for where the bound was never reached
missed = []


def line(what, value, goal, holds):
    print(f"{what:58} {value:>22}   goal {goal:18} {'' if holds else 'MISSED'}".rstrip(), flush=True)
    if not holds:
        missed.append(what)


def plan(arguments, path, *more):
    """Figures of `quire plan`, with the seconds and the memory of the whole command."""
    before = time.monotonic()
    with subprocess.Popen([arguments.quire, "plan", path, "--json", *more], stdout=subprocess.PIPE,
                          text=True) as process:
        text = process.stdout.read()
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
    figures = json.loads(text)
    figures["command_seconds"] = time.monotonic() - before
    figures["command_bytes"] = usage.ru_maxrss << 10
    return figures


def peer(arguments, command, path, capacity):
    """Seconds and peak of another planner; the peak is None if it gave nothing sound."""
    with tempfile.TemporaryDirectory() as directory:
        output = os.path.join(directory, "plan.csv")
        before = time.monotonic()
        try:
            subprocess.run(command.format(input=path, output=output, capacity=capacity), shell=True,
                           check=False, timeout=arguments.patience, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            return time.monotonic() - before, None
        seconds = time.monotonic() - before
        result = subprocess.run([arguments.quire, "plan", "--verify", "--json", output], check=False,
                                capture_output=True, text=True)
        return seconds, json.loads(result.stdout)["peak_bytes"] if result.returncode == 0 else None


def beside(arguments, path, bound, capacity, totals=None):
    for name, command in arguments.peers:
        seconds, peak = peer(arguments, command, path, capacity)
        if totals is not None:
            totals[name] = totals.get(name, 0) + seconds
        share = "no sound plan" if peak is None else f"{peak / bound:.3f} of the bound"
        print(f"    {name:20} {seconds:8.3f} s   {share}", flush=True)


def challenging(arguments):
    paths = sorted(arguments.instances.glob("*.csv"))
    seconds, totals = [], {}
    for path in paths:
        figures = plan(arguments, path, "-c", str(CAPACITY))
        seconds.append(figures["command_seconds"])
        line(f"{path.name[0]}: fits in {CAPACITY}", f"{seconds[-1]:.3f} s", "fits",
             figures["verdict"] == "fits")
        beside(arguments, path, figures["bound_bytes"], CAPACITY, totals)
    line("all of them", f"{sum(seconds):.3f} s", "<= 3 s", sum(seconds) <= 3)
    for name, total in totals.items():
        print(f"    {name:20} {total:8.3f} s   {total / sum(seconds):.0f} times as long", flush=True)
    line("the worst", f"{max(seconds):.3f} s", "<= 0.7 s", max(seconds) <= 0.7)
    for path in paths:
        figures = plan(arguments, path, "-t", "1")
        peak, bound = figures["peak_bytes"], figures["bound_bytes"]
        goal = LEAST.get(path.name[0], bound)
        line(f"{path.name[0]}: least peak in 1 s, bound {bound}"
             f"{', proved' if figures['proved'] else ''}", f"{peak} ({peak / bound:.3f})",
             f"<= {goal}", peak <= goal)


def generated(arguments, kind, n, seconds, goal, most_bytes=None):
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        file.write(problems.text(kind, n, 1))
        file.flush()
        figures = plan(arguments, file.name, "-t", str(seconds))
        share = figures["peak_bytes"] / figures["bound_bytes"]
        what = f"{n} {kind}, {seconds} s (command {figures['command_seconds']:.2f} s)"
        if goal is None:
            print(f"{what:58} {share:>22.3f}   no goal")
        else:
            line(what, f"{share:.3f}", f"<= {goal}", share <= goal)
        late = figures["seconds"] / seconds
        line("  the limit is kept", f"{late:.3f} of it", "<= 1.05", late <= 1.05)
        if most_bytes is not None:
            line("  memory of the command", f"{figures['command_bytes'] >> 20} MiB",
                 f"<= {most_bytes >> 20} MiB", figures["command_bytes"] <= most_bytes)
        beside(arguments, file.name, figures["bound_bytes"], figures["bound_bytes"] * 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quire", default="build/quire")
    parser.add_argument("--instances", type=pathlib.Path,
                        default=HERE.parents[1] / "tests/data/minimalloc")
    parser.add_argument("--large", type=int, default=100000)
    parser.add_argument("--million", action="store_true", help="1,000,000 random buffers too")
    parser.add_argument("--patience", type=float, default=120, help="seconds for a peer")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND")
    arguments = parser.parse_args()
    arguments.peers = [one.split("=", 1) for one in arguments.peer]
    challenging(arguments)
    generated(arguments, "random", arguments.large, 0.3, 1.028)
    generated(arguments, "tiles", arguments.large, 1, 1.3, 500 << 20)
    generated(arguments, "random", 1000, 3, 1.02)
    generated(arguments, "tiles", 1000, 3, 1.12)
    generated(arguments, "pinwheel", 997, 3, None)
    if arguments.million:
        generated(arguments, "random", 1000000, 10, None)
    print(f"cpu {resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime:.1f} s; "
          f"{len(missed)} goals missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
