#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The tests of suite `programs` in a random order, under random budgets and options, for long.

  soak.py --quire PATH --helpers DIR [--minutes N] [--jobs N] [--seed N] [--only NAME]... [--keep]

Each job takes a test at random and draws what the test leaves open: the share of its memory that
the program gets, codec, swap file or none where it can do without. Several at a time, so that the
processors are never idle and the scheduler does its worst; as root, the kernel's memory is compacted
all the while, which moves pages under everybody's feet.

A failure is printed with the seed that draws the same test again (`--seed N --jobs 1 --minutes 0`);
what the kernel and the scheduler did is not drawn again. With --keep its directory stays. Ends with 0
if nothing failed. Nothing of this is timed, and it is not a part of `make test`: that runs the same
tests, each once.
"""
import argparse
import collections
import concurrent.futures
import os
import pathlib
import random
import signal
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True
import harness  # noqa: E402
import run as single  # noqa: E402

COMPACT = "/proc/sys/vm/compact_memory"
SHARES = (2, 3, 3, 4, 5)  # of the memory that a program needs: one part in so many is its budget
EXTRAS = ((), ("--codec", "lz4"), ("--codec", "zstd"), ("--codec", "none"),
          ("--policy", "fifo"), ("--policy", "gclock"), ("--policy", "2q", "--prefetch", "cluster"),
          ("--policy", "s3-fifo", "--prefetch", "none"), ("--policy", "sieve"),
          ("--policy", "working-set", "--prefetch", "stride"), ("--policy", "clock"))
# They are about one setting, or about being out of room, and say themselves what they want.
AS_THEY_ARE = {"out_of_room", "large", "endings"}


class Drawn(harness.Case):
    """A case with what was drawn for it in place of what the suite takes."""

    def draw(self, seed):
        rng = random.Random(seed)
        self.share, self.extra = rng.choice(SHARES), rng.choice(EXTRAS)
        return f"1/{self.share} {' '.join(self.extra)}".strip()

    def third(self, plain, share=3):
        need = plain.measured.peak_anon_bytes
        least = -(-harness.MIN_BUDGET_BYTES // need) if need else 1
        wanted = self.share if share == 3 else share
        return super().third(plain, max(1, min(wanted, need // harness.MIN_BUDGET_BYTES or least)))

    def quire_argv(self, argv, ram_bytes, stats, extra=()):
        drawn = () if "--codec" in extra else self.extra
        return super().quire_argv(argv, ram_bytes, stats, (*drawn, *extra))


def run_one(options, seed):
    """(name, what was drawn, seconds, None or what was wrong)."""
    rng = random.Random(seed)
    name = rng.choice(options.names)
    case = (harness.Case if name in AS_THEY_ARE else Drawn)(name, options.quire, options.helpers)
    drawn = case.draw(seed) if isinstance(case, Drawn) else "as it is"
    start, wrong = time.monotonic(), None
    try:
        single.run(case)
    except harness.Skip as reason:
        drawn = f"skipped: {reason}"
    except harness.Failure as reason:
        wrong = str(reason)
    finally:
        if not wrong or not options.keep:
            case.close()
    return name, drawn, time.monotonic() - start, wrong


def compact(stop):
    """Has the kernel move pages about, where it lets us."""
    while not stop.wait(0.2):
        try:
            with open(COMPACT, "w", encoding="ascii") as file:
                file.write("1")
        except OSError:
            return


class Soak:
    def __init__(self, options):
        self.options, self.next_seed = options, options.seed
        self.n_good, self.failures = collections.Counter(), []
        self.until = time.monotonic() + options.minutes * 60

    def job(self, executor):
        seed, self.next_seed = self.next_seed, self.next_seed + 1
        return executor.submit(run_one, self.options, seed), seed

    def note(self, seed, result):
        name, drawn, seconds, wrong = result
        print(f"{'FAILED' if wrong else 'good  '} {name} ({drawn}) seed {seed}, {seconds:.0f} s",
              flush=True)
        if wrong:
            self.failures.append((seed, name))
            print("    " + wrong.replace("\n", "\n    "), flush=True)
        else:
            self.n_good[name] += 1

    def go(self):
        with concurrent.futures.ProcessPoolExecutor(self.options.jobs) as executor:
            running = dict(self.job(executor) for _ in range(self.options.jobs))
            while running:
                done, _ = concurrent.futures.wait(
                    running, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    self.note(running.pop(future), future.result())
                    if time.monotonic() < self.until:
                        future, seed = self.job(executor)
                        running[future] = seed

    def tell(self):
        n = sum(self.n_good.values())
        print(f"\n{n} good, {len(self.failures)} failed: "
              f"{', '.join(f'{name} {count}' for name, count in sorted(self.n_good.items()))}")
        for seed, name in self.failures:
            print(f"failed: {name}, --seed {seed}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quire", default="build/quire", help="the command to test")
    parser.add_argument("--helpers", default="build/tests/programs",
                        help="where the C programs were built")
    parser.add_argument("--minutes", type=float, default=60, help="start no test after so many")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="tests at a time")
    parser.add_argument("--seed", type=int, help="of the first test; the next has one more")
    parser.add_argument("--only", action="append", metavar="NAME", help="these tests alone")
    parser.add_argument("--keep", action="store_true", help="keep the directories of failures")
    options = parser.parse_args()
    options.names = options.only or single.names()
    unknown = sorted(set(options.names) - set(single.names()))
    if unknown:
        parser.error(f"no such test: {', '.join(unknown)}")
    if options.jobs < 1:
        parser.error("--jobs: at least 1")
    if not os.access(options.quire, os.X_OK):
        parser.error(f"{options.quire} is not there: build first, or say --quire PATH")
    if options.seed is None:
        options.seed = int(time.time())
    return options


def main():
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    stop = threading.Event()
    threading.Thread(target=compact, args=(stop,), daemon=True).start()
    soak = Soak(options)
    try:
        soak.go()
    finally:
        stop.set()
        soak.tell()
    return 1 if soak.failures else 0


if __name__ == "__main__":
    sys.exit(main())
