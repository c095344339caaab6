#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Quire beside the kernel's compressed swap: the same program in the same total RAM.

  run.py [--quire PATH] [--kernel zram|zswap] [--mib N] [--rounds N] [--only TEXT]...
         [--busy N] [--redis PATH] [--json FILE] [--svg FILE]

The kernel's total is its cgroup's limit plus what zram or zswap holds at its peak. Quire runs in a
cgroup without a limit, and gets the --ram with which all that it and the program use, as the kernel
counts it, is as much. Runs alternate (kernel, Quire, plain, kernel, ...), and medians are compared:
the ratio is Quire's time over the kernel's, so less than 1 means that Quire is faster. The kernel
has swap readahead (vm.page-cluster) as it ships, or off where that is faster. Plain is without a
limit, for orientation. Without root there is no kernel's side, and Quire is measured alone. With
--busy N so many other programs compute all the time.
"""
import argparse
import contextlib
import json
import os
import pathlib
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parents[1] / "scripts"))
import kernel  # noqa: E402
import measure  # noqa: E402
import picture  # noqa: E402
import programs  # noqa: E402

MIB = 1 << 20
OVERHEAD_BYTES = 4 * MIB  # program text, stacks, page tables: on top of the share that is resident
FIT_TRIES = 3
FIT_OFF = 0.02  # totals may differ by that

# pattern: (words, accesses per page of data, goals by resident percent)
PATTERNS = {
    "random": ("random read", 3, {75: 0.5, 50: 0.5, 25: 0.5}),
    "write": ("random write", 3, {50: 0.5}),
    "sequential": ("sequential read", 3, {50: 0.2}),
    "stride": ("strided read", 3, {50: None}),
    "zipf": ("zipf read", 12, {75: 0.4, 50: 0.4, 25: 0.4}),
    "fill": ("first-touch fill", 1, {50: None}),
}


class Line:
    """One row of the table."""

    def __init__(self, name, unit, goal, workload, percent=None, half_of=None):
        self.name, self.unit, self.goal = name, unit, goal
        self.workload = workload
        self.percent = percent  # of --mib that is resident, under the kernel
        self.half_of = half_of  # how to find out what the program needs: the total is half of that


class Quire:
    """Runs programs under `quire run`, in a cgroup where there is one to count by."""

    def __init__(self, command):
        self.command = command
        self.ram_bytes = 0
        self.group = None
        self.n_groups = 0

    def start(self, argv, **options):
        whole = [self.command, "run", "--ram", str(self.ram_bytes), "--quiet", "--", *argv]
        return self.group.start(whole, **options) if self.group else subprocess.Popen(whole, **options)

    def measure(self, workload, ram_bytes):
        """(what the workload measured, RAM that was used at most, or None if nobody counts it)"""
        self.ram_bytes = ram_bytes
        try:
            self.n_groups += 1
            self.group = kernel.Cgroup(f"quire-bench-{os.getpid()}-{self.n_groups}")
        except kernel.Unavailable:
            self.group = None
        try:
            figure = workload(self.start)
            return figure, self.group.peak_bytes() if self.group else None
        finally:
            if self.group:
                self.group.close()
            self.group = None


def plain(argv, **options):
    return subprocess.Popen(argv, **options)


def fit(run, total_bytes, first_bytes):
    """The bound with which run(bound) uses total_bytes, all in all; where nobody counts, first."""
    bound, best = first_bytes, (None, first_bytes)
    for _ in range(FIT_TRIES):
        used = run(bound)
        if used is None:
            return first_bytes
        off = total_bytes - used
        if best[0] is None or abs(off) < best[0]:
            best = (abs(off), bound)
        if abs(off) <= FIT_OFF * total_bytes:
            break
        bound = max(bound + off, total_bytes // 8)
    return best[1]


class Bench:
    """All sides, and what was measured so far."""

    def __init__(self, options):
        self.options = options
        self.results = []
        self.directory = tempfile.TemporaryDirectory(prefix="quire-bench-", dir="/var/tmp")
        self.kernel = None
        self.quire = Quire(options.quire)
        self.access = str(pathlib.Path(self.directory.name) / "access")
        try:
            subprocess.run([os.environ.get("CC", "cc"), "-O2", "-D_GNU_SOURCE", "-std=gnu17",
                            HERE / "access.c", "-o", self.access, "-lm", "-lpthread"], check=True)
            self.kernel = kernel.Kernel(options.kernel, max(8 * options.mib, 1024) * MIB,
                                        self.directory.name)
        except kernel.Unavailable as reason:
            print(f"no comparison with the kernel: {reason}; only Quire is measured",
                  file=sys.stderr)
        except BaseException:
            self.close()
            raise

    def close(self):
        if self.kernel:
            self.kernel.close()
        self.directory.cleanup()

    def lines(self):
        n_pages = self.options.mib * 256
        for pattern, (words, per_page, goals) in PATTERNS.items():
            for threads in (1, 2):
                if pattern == "fill" and threads == 2:
                    continue  # it is filled by one
                for percent, goal in goals.items():
                    argv = [self.access, pattern, str(self.options.mib), str(percent),
                            str(n_pages * per_page), str(threads)]
                    name = f"{words}, {percent} %, {threads} thread{'s' * (threads > 1)}"
                    yield Line(name, "ns", goal, programs.access(argv), percent=percent)
        for name, goal, source in (("python dictionary, half its RAM", 0.4, programs.PYTHON),
                                   ("sqlite, half its RAM", 0.6, programs.SQLITE)):
            argv = [programs.interpreter(), "-c", source]
            yield Line(name, "ms", goal, programs.timed(argv),
                       half_of=lambda argv=argv: peak_of(argv))
        server = programs.redis_command(self.options.redis)
        if server:
            workload = programs.redis(server, self.directory.name)
            yield Line("redis, half its RAM", "ms", 0.6, workload,
                       half_of=lambda: peak_of_server(workload))

    def better_readahead(self, line, limit):
        """Leaves vm.page-cluster at what is faster here: as shipped, or off. RAM used with it."""
        figures = {}
        for value in (int(self.kernel.page_cluster), 0):
            self.kernel.readahead(value)
            figures[value] = self.kernel.measure(line.workload, limit)
        best = min(figures, key=figures.get)
        self.kernel.readahead(best)
        return figures[best][1]

    def kernel_total(self, line):
        """(limit of the kernel's side, total RAM), None as limit where there is no kernel's side."""
        if line.percent:
            limit = self.options.mib * MIB * line.percent // 100 + OVERHEAD_BYTES
            if self.kernel:
                return limit, self.better_readahead(line, limit)
            stored = self.options.mib * MIB * (100 - line.percent) // 100
            return None, limit + stored * 54 // 100
        total = line.half_of() // 2
        if not self.kernel:
            return None, total
        limit = fit(lambda limit: self.kernel.measure(line.workload, limit)[1], total,
                    total * 2 // 3)
        self.better_readahead(line, limit)
        return limit, total

    def compare(self, line):
        result = {"name": line.name, "unit": line.unit, "goal": line.goal}
        self.results.append(result)
        limit = None
        try:
            limit, total = self.kernel_total(line)
        except programs.Ended as ended:
            if ended.status >= 0:
                raise
            result["kernel_failed"] = f"killed under the kernel (signal {-ended.status})"
            total = line.half_of() // 2 if line.half_of else 0
        ram = fit(lambda ram: self.quire.measure(line.workload, ram)[1], total,
                  total - OVERHEAD_BYTES)
        runs = {"kernel": [], "quire": [], "plain": []}
        for _ in range(self.options.rounds):
            if self.kernel and limit:
                runs["kernel"].append(self.kernel.measure(line.workload, limit)[0])
            runs["quire"].append(self.quire.measure(line.workload, ram)[0])
            runs["plain"].append(line.workload(plain))
        result |= {"total_mib": round(total / MIB, 1), "ram_mib": round(ram / MIB, 1)}
        for side, figures in runs.items():
            if figures:
                result |= {side: statistics.median(figures), f"{side}_runs": figures}
        if runs["kernel"]:
            result["limit_mib"] = round(limit / MIB, 1)
            result["ratio"] = result["quire"] / result["kernel"]
        self.show(result)

    def show(self, result):
        line = (f"{result['name']:32} {result['total_mib']:6.0f} MiB  quire {result['quire']:8.0f} "
                f"{result['unit']}")
        if "ratio" in result:
            line += f"  kernel {result['kernel']:8.0f}  ratio {result['ratio']:5.2f}"
        if "kernel_failed" in result:
            line += f"  ({result['kernel_failed']})"
        print(f"{line}  (plain {result['plain']:.0f})", flush=True)

    def report(self):
        swap = self.kernel.swap if self.kernel else None
        return {"format": "quire-bench-pager", "format_version": 1,
                "kernel_side": swap and swap.name, "codec": swap and swap.codec,
                "machine": {"kernel": platform.release(), "processors": os.cpu_count()},
                "mib": self.options.mib, "rounds": self.options.rounds,
                "busy": self.options.busy, "lines": self.results}


def peak_of(argv):
    return measure.run(argv, stdout=subprocess.DEVNULL).peak_anon_bytes


def peak_of_server(workload):
    """What a server has in memory at the most, without a limit."""
    started, peak, stop = [], [0], threading.Event()

    def start(argv, **options):
        started.append(subprocess.Popen(argv, **options))
        return started[0]

    def watch():
        while not stop.wait(0.01):
            for server in started:
                peak.append(measure.anonymous_bytes(server.pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        workload(start)
    finally:
        stop.set()
        thread.join()
    return max(peak)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quire", default="build/quire")
    parser.add_argument("--kernel", default="zram", choices=("zram", "zswap"),
                        help="what the kernel swaps to (zram)")
    parser.add_argument("--mib", type=int, default=256, help="data of the access patterns (256)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side (3)")
    parser.add_argument("--only", action="append", metavar="TEXT",
                        help="lines whose name contains this; may be given several times")
    parser.add_argument("--busy", type=int, default=0, metavar="N",
                        help="so many other programs compute all the time (0)")
    parser.add_argument("--redis", metavar="PATH", help="a redis-server, if not the one installed")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file")
    parser.add_argument("--svg", metavar="FILE", help="and a picture of them to this one")
    return parser.parse_args()


def write(bench, options):
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(bench.report(), indent=1) + "\n")
    if options.svg:
        swap = bench.kernel.swap if bench.kernel else None
        with_what = f"with {swap.name} ({swap.codec})" if swap else "not compared"
        drawn = picture.draw(bench.results, "Quire's time over the kernel's, same program, same RAM",
                             f"kernel {platform.release()} {with_what}, "
                             f"{os.cpu_count()} processors, median of {options.rounds}")
        pathlib.Path(options.svg).write_text(drawn)


@contextlib.contextmanager
def busy(n):
    """The machine has other things to do, too."""
    others = []
    try:
        for _ in range(n):
            others.append(subprocess.Popen(["/bin/sh", "-c", "while :; do :; done"]))
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def main():
    options = parse()

    def stop(number, _):
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(one, signal.SIG_IGN)  # what follows is to be finished
        raise SystemExit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    bench = Bench(options)
    try:
        with busy(options.busy):
            for line in bench.lines():
                if not options.only or any(text in line.name for text in options.only):
                    bench.compare(line)
                    write(bench, options)  # what there is so far
    finally:
        if bench.kernel and bench.kernel.n_relieved:
            print(f"(the kernel would have killed its programs {bench.kernel.n_relieved} times, "
                  "with swap free; it was given 2 MiB more for some milliseconds each time)")
        bench.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
