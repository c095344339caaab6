#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real programs under tiny budgets, at random, for long; their outputs compared with a plain run's.

  soak.py --quire PATH --helpers DIR [--minutes N] [--jobs N] [--seed N] [--only NAME]... [--keep]
          [--beside]

Each job takes a test of suite `programs` at random and draws what the test leaves open: the share of
its memory that the program gets, from a half down to a quarter; replacement, prefetching, codec,
where the swap file is or that there is none, a hardened heap, a budget that follows the working set.
For two jobs in three a Meddler (meddle.py) changes the budget, parks, stops and resumes the run all
the while. Several jobs at a time, so that the processors are never idle and the scheduler does its
worst; as root, the kernel's memory is compacted all the while, which moves pages under everybody's
feet.

With --beside it goes on beside something else, with the least share of the processors: one job at a
time, no program that has time-outs of its own, which it would meet, and little compaction. SIGTERM
ends it soon, with the figures of what was done until then.

A failure is printed with the seed that draws the same test again (`--seed N --jobs 1 --minutes 0`);
what the kernel and the scheduler did is not drawn again. With --keep its directory stays. --log adds
a line of JSON for each job to a file. Ends with 0 if nothing failed. Nothing of this is timed. What
an hour of it has shown: docs/soak.md.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import random
import select
import signal
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True
import harness  # noqa: E402
import measure  # noqa: E402
import meddle  # noqa: E402
import run as single  # noqa: E402

COMPACT = "/proc/sys/vm/compact_memory"
COMPACT_SECONDS = 0.2
BESIDE_COMPACT_SECONDS = 5
LEAST_NICE = 19
STILL_SECONDS = 60  # without any processor time: it hangs
LEAST_BUDGET_BYTES = 12 * harness.MIB
MOST_SHARES = 4  # of the memory that a program needs: the smallest budget is one part in so many
POLICIES = ("adaptive", "fifo", "clock", "gclock", "2q", "s3-fifo", "sieve", "working-set")
PREFETCHES = ("adaptive", "none", "cluster", "stride")
CODECS = ("auto", "lz4", "zstd", "none")
# They are about one setting, or about being out of room, and say themselves what they want.
AS_THEY_ARE = {"out_of_room", "large", "endings", "policies", "swap_faults", "swap_sealed",
               "many_processes", "killed", "orphans"}
# They stop and continue themselves, or look at what they have in memory.
NOT_STOPPED = {"cpython_signals", "cpython_processes", "signals"}
# So little RAM for so long would take minutes, and shows nothing that a short one does not.
NO_LESS_THAN = {"redis": 3, "node": 3, "cpython_memory": 3, "perl": 3}
# They, or what they test, look at the clock: CPython's own tests wait for each other for so long.
WITH_CLOCKS = {"cpython_memory", "cpython_multiprocessing_fork", "cpython_multiprocessing_spawn",
               "cpython_processes", "cpython_signals", "cpython_threads", "killed", "many_processes",
               "redis", "stress_ng", "swap_sealed", "swap_sparse"}


class Enough:
    """What one process says and its children hear; a handler of a signal may say it."""

    def __init__(self):
        self.to_hear, self.to_say = os.pipe()

    def say(self):
        os.write(self.to_say, b"!")

    def is_said(self):
        return bool(select.select([self.to_hear], [], [], 0)[0])


enough = Enough()


class OutOfRoom(Exception):
    """The run had no swap file, and RAM for no more: a fair end, told by one message."""


class Cut(Exception):
    """The job had its time (--cut): what it has done until then was right."""


def processor_ticks():
    """Of all that descends from this process."""
    ticks = 0
    for pid in measure.descendants(os.getpid()):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                words = file.read().rpartition(")")[2].split()
            ticks += int(words[11]) + int(words[12])
        except (OSError, IndexError, ValueError):
            pass
    return ticks


def first_line(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return "?"


def states():
    """A line for each thread below this process: what it waits for."""
    lines = []
    for pid in measure.descendants(os.getpid()):
        for task in sorted(pathlib.Path(f"/proc/{pid}/task").glob("*")):
            state = first_line(task / "stat").rpartition(")")[2].split()[:1]
            lines.append(f"{pid} {task.name} {first_line(task / 'comm')} {' '.join(state)} "
                         f"{first_line(task / 'wchan')} {first_line(task / 'syscall')}")
    return "\n".join(lines)


def is_over():
    """The program has ended, and this process has yet to see that."""
    return all(first_line(f"/proc/{pid}/stat").rpartition(")")[2].split()[:1] == ["Z"]
               for pid in measure.descendants(os.getpid()))


class Cutter(threading.Thread):
    """Ends the job of this process when it has had its time, or finds out that it hangs, or when
    the whole is to end.

    By killing what runs, not by an exception in the middle of something: what the case says about
    that is not looked at, and it starts nothing else.
    """

    def __init__(self, case, seconds, meddler):
        super().__init__(daemon=True)
        self.case, self.seconds, self.meddler = case, seconds, meddler
        self.is_over, self.has_cut, self.hangs = threading.Event(), False, None
        usual_run = case.run

        def run(*arguments, **options):
            if self.has_cut:
                raise Cut
            return usual_run(*arguments, **options)

        case.run = run

    def is_due(self, until):
        return enough.is_said() or time.monotonic() > until

    def run(self):
        until = time.monotonic() + self.seconds
        while not self.is_due(until):
            if self.is_over.wait(0.5):
                return
        if self.meddler:
            self.meddler.end()
        if not enough.is_said():
            self.hangs = self.look_if_it_hangs()
        self.has_cut = True
        while not self.is_over.wait(0.2):
            for pid in measure.descendants(os.getpid()):
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass

    def look_if_it_hangs(self):
        before = processor_ticks()
        for _ in range(STILL_SECONDS):
            if self.is_over.wait(1) or is_over() or processor_ticks() != before:
                return None
        refused = "; ".join(self.meddler.refused[-3:]) if self.meddler else ""
        return f"nothing has moved for {STILL_SECONDS} s\n{states()}\n{refused}"


class Drawn(harness.Case):
    """A case with what was drawn for it in place of what the suite takes."""

    def draw(self, rng):
        most = NO_LESS_THAN.get(self.name, MOST_SHARES)
        self.share = 2 * (most / 2) ** rng.random()
        self.extra = ["--policy", rng.choice(POLICIES), "--prefetch", rng.choice(PREFETCHES),
                      "--codec", rng.choice(CODECS)]
        where = rng.choice(("usual", "usual", "usual", "here", "small", "none"))
        if where == "here":
            self.extra += ["--swap", str(self.directory)]
        elif where == "small":
            self.extra += ["--swap-max", "512M"]
        elif where == "none":
            self.extra += ["--swap", "none"]
        self.extra += ["--harden"] * (rng.random() < 0.15)
        self.follows = rng.random() < 0.15
        self.may_end = where == "none"
        return f"1/{self.share:.1f} {' '.join(self.extra)}{' auto' * self.follows}"

    def third(self, plain, share=3):
        need = plain.measured.peak_anon_bytes
        wanted = need / (self.share if share == 3 else share)
        return int(max(wanted, LEAST_BUDGET_BYTES)) // 4096 * 4096

    def quire_argv(self, argv, ram_bytes, stats, extra=()):
        drawn = [word for word in self.extra]
        for option in ("--policy", "--prefetch", "--codec", "--swap"):
            if option in extra and option in drawn:
                del drawn[drawn.index(option):drawn.index(option) + 2]
        budget = f"auto:{ram_bytes}" if self.follows else str(ram_bytes)
        return [self.quire, "run", "--ram", budget, "--quiet", "--stats", str(stats), *drawn,
                *extra, "--", *argv]

    def check_paged(self, run):
        """A hardened heap, or a limit while it ran, makes no difference to that; a budget that is
        as large as what little the program needs does."""
        if run.budget_bytes > LEAST_BUDGET_BYTES:
            super().check_paged(run)

    def under(self, argv, ram_bytes, extra=(), **options):
        """Where there is no file, a program may be told that there is no more memory, or be ended."""
        run = super().under(argv, ram_bytes, extra, **options)
        told = run.stderr.decode(errors="replace")
        if self.may_end and run.measured.status == 125:
            self.check(told.count("quire:") == 1 and "out of room" in told,
                       f"not one message of being out of room, but {told!r}")
            raise OutOfRoom
        if self.may_end and run.measured.status == 1 and "MemoryError" in told:
            raise OutOfRoom
        return run


def run_one(options, seed):
    """What became of one job, as a dictionary; `wrong` is None if nothing was."""
    rng = random.Random(seed)
    name = rng.choice(options.names)
    drawn_kind = name not in AS_THEY_ARE
    case = (Drawn if drawn_kind else harness.Case)(name, options.quire, options.helpers)
    drawn = case.draw(rng) if drawn_kind else "as it is"
    meddler = None
    if drawn_kind and rng.random() < 0.67:
        meddler = meddle.Meddler(case.quire, rng.random(), name not in NOT_STOPPED)
        meddler.start()
    cutter = Cutter(case, options.cut or 1 << 20, meddler)
    cutter.start()
    start, wrong, ended = time.monotonic(), None, "good"
    try:
        single.run(case)
    except harness.Skip as reason:
        ended = f"skipped: {reason}"
    except OutOfRoom:
        ended = "out of room"
    except Cut:
        pass
    except Exception as reason:  # of any kind, when what it works with was killed
        if not cutter.has_cut:
            wrong = str(reason) if isinstance(reason, harness.Failure) else repr(reason)
    finally:
        cutter.is_over.set()
        cutter.join()
        wrong = cutter.hangs or wrong
        if meddler:
            wrong = "; ".join(filter(None, (wrong, meddler.end()))) or None
        if cutter.has_cut:
            ended = "cut short"
        if not wrong or not options.keep:
            case.close()
    if meddler:
        drawn += f", meddled {json.dumps(meddler.done, sort_keys=True)}"
    return {"seed": seed, "name": name, "drawn": drawn, "ended": "FAILED" if wrong else ended,
            "meddled": meddler.done if meddler else {},
            "seconds": round(time.monotonic() - start, 1), "wrong": wrong}


def compact(stop, seconds):
    """Has the kernel move pages about, where it lets us."""
    while not stop.wait(seconds):
        try:
            with open(COMPACT, "w", encoding="ascii") as file:
                file.write("1")
        except OSError:
            return


def step_aside():
    os.nice(LEAST_NICE)
    try:
        os.setsid()
    except OSError:
        return  # a shell's job: what else is in its session is not to be slowed down
    measure.share_niceness(os.getpid())


class Soak:
    def __init__(self, options):
        self.options, self.next_seed = options, options.seed
        self.n_good, self.n_cut, self.failures = collections.Counter(), 0, []
        self.until = time.monotonic() + options.minutes * 60

    def job(self, executor):
        seed, self.next_seed = self.next_seed, self.next_seed + 1
        return executor.submit(run_one, self.options, seed), seed

    def note(self, result):
        wrong = result["wrong"]
        print(f"{result['ended']:11} {result['name']} ({result['drawn']}) seed {result['seed']}, "
              f"{result['seconds']:.0f} s", flush=True)
        if self.options.log:
            with open(self.options.log, "a", encoding="utf-8") as log:
                print(json.dumps(result), file=log)
        if wrong:
            self.failures.append(result)
            print("    " + wrong.replace("\n", "\n    "), flush=True)
        elif result["ended"] == "cut short":
            self.n_cut += 1
        else:
            self.n_good[result["name"]] += 1

    def go(self):
        with concurrent.futures.ProcessPoolExecutor(self.options.jobs) as executor:
            running = dict(self.job(executor) for _ in range(self.options.jobs))
            while running:
                done, _ = concurrent.futures.wait(
                    running, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    del running[future]
                    self.note(future.result())
                    if time.monotonic() < self.until and not enough.is_said():
                        future, seed = self.job(executor)
                        running[future] = seed

    def tell(self):
        n = sum(self.n_good.values())
        print(f"\n{n} good, {self.n_cut} cut short, {len(self.failures)} failed: "
              f"{', '.join(f'{name} {count}' for name, count in sorted(self.n_good.items()))}")
        for result in self.failures:
            print(f"failed: {result['name']}, --seed {result['seed']}: {result['wrong']}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quire", default="build/quire", help="the command to test")
    parser.add_argument("--helpers", default="build/tests/programs",
                        help="where the C programs were built")
    parser.add_argument("--minutes", type=float, default=60, help="start no test after so many")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="tests at a time")
    parser.add_argument("--seed", type=int, help="of the first test; the next has one more")
    parser.add_argument("--only", action="append", metavar="NAME", help="these tests alone")
    parser.add_argument("--cut", type=float, metavar="SECONDS",
                        help="end a test that takes longer; until then it must have gone well")
    parser.add_argument("--beside", action="store_true",
                        help="beside something else: one job at a time, nothing with a clock")
    parser.add_argument("--log", metavar="FILE", help="add a line of JSON for each job to it")
    parser.add_argument("--keep", action="store_true", help="keep the directories of failures")
    options = parser.parse_args()
    options.names = options.only or [name for name in single.names()
                                     if not (options.beside and name in WITH_CLOCKS)]
    unknown = sorted(set(options.names) - set(single.names()))
    if unknown:
        parser.error(f"no such test: {', '.join(unknown)}")
    if options.jobs < 1:
        parser.error("--jobs: at least 1")
    if not os.access(options.quire, os.X_OK):
        parser.error(f"{options.quire} is not there: build first, or say --quire PATH")
    if options.beside:
        options.jobs = 1
    if options.seed is None:
        options.seed = int(os.environ.get("QUIRE_TEST_SEED") or time.time())
    return options


def main():
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: enough.say())
    if options.beside:
        step_aside()
    stop = threading.Event()
    seconds = BESIDE_COMPACT_SECONDS if options.beside else COMPACT_SECONDS
    threading.Thread(target=compact, args=(stop, seconds), daemon=True).start()
    soak = Soak(options)
    try:
        soak.go()
    finally:
        stop.set()
        soak.tell()
    return 1 if soak.failures else 0


if __name__ == "__main__":
    sys.exit(main())
