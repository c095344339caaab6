#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Quire beside the kernel's zram (lz4), the same program in the same total RAM.

  run.py [--quire PATH] [--mib N] [--rounds N] [--only TEXT] [--json FILE]

The RAM of the kernel's side is its cgroup's limit plus what zram holds at its peak; Quire gets
exactly that as --ram. 4 MiB a process for what the budget
of Quire does not count (program text, page tables) are on the house for the kernel. Runs alternate,
kernel, Quire, kernel, …; the medians are compared. The kernel has swap readahead (vm.page-cluster)
as it ships, or off where that is faster for the pattern. A ratio over 1 means that Quire is faster.
"""
import argparse
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
import kernel  # noqa: E402

MIB = 1 << 20
FREE_BYTES = 4 * MIB

# name: (pattern, resident percent, operations per page of data, threads)
ACCESSES = {
    "random read, 75 % resident": ("random", 75, 3, 1),
    "random read, 50 % resident": ("random", 50, 3, 1),
    "random read, 25 % resident": ("random", 25, 3, 1),
    "random read, 75 %, 2 threads": ("random", 75, 3, 2),
    "random read, 50 %, 2 threads": ("random", 50, 3, 2),
    "random read, 25 %, 2 threads": ("random", 25, 3, 2),
    "random write, 50 % resident": ("write", 50, 3, 1),
    "sequential read, 50 % resident": ("sequential", 50, 3, 1),
    "strided read, 50 % resident": ("stride", 50, 3, 1),
    "zipf read, 50 % resident": ("zipf", 50, 12, 1),
    "zipf read, 25 % resident": ("zipf", 25, 12, 1),
    "first-touch fill, 50 % resident": ("fill", 50, 1, 1),
}
PYTHON_NAME = "python dictionary, half its RAM"

PYTHON = """
import hashlib, random
random.seed(5)
index = {}
for i in range(120_000):
    index[f"key-{i * 7919 % 1_000_003}"] = [i, f"{random.getrandbits(200):x}", {"n": i}]
keys = sorted(index)
digest = hashlib.sha256()
for _ in range(60_000):
    value = index[keys[int(random.random() ** 3 * len(keys))]]
    digest.update(value[1].encode())
print(digest.hexdigest())
"""


class Bench:
    """Both sides, and what was measured so far."""

    def __init__(self, options):
        self.options = options
        self.results = []
        self.directory = tempfile.TemporaryDirectory(prefix="quire-bench-")
        self.access = str(pathlib.Path(self.directory.name) / "access")
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-D_GNU_SOURCE", "-std=gnu17",
                        HERE / "access.c", "-o", self.access, "-lm", "-lpthread"], check=True)
        self.kernel = None
        try:
            self.kernel = kernel.Kernel(8 * options.mib * MIB)
        except kernel.Unavailable as reason:
            print(f"no comparison with the kernel: {reason}; only Quire is measured",
                  file=sys.stderr)

    def close(self):
        if self.kernel:
            self.kernel.close()
        self.directory.cleanup()

    def quire(self, argv, ram_bytes, extra=()):
        """(standard output, wall seconds) of a run under Quire."""
        start = time.monotonic()
        done = subprocess.run([self.options.quire, "run", "--ram", str(ram_bytes), "--quiet",
                               *extra, "--", *argv], stdout=subprocess.PIPE, check=False,
                              timeout=900)
        if done.returncode:
            raise RuntimeError(f"{argv[0]} ended with {done.returncode} under Quire")
        return done.stdout, time.monotonic() - start

    def compare(self, name, unit, kernel_side, quire_side, total_bytes):
        """Alternates both sides; each returns one figure, in `unit`; smaller is better."""
        theirs, ours = [], []
        for _ in range(self.options.rounds):
            if self.kernel:
                theirs.append(kernel_side())
            ours.append(quire_side())
        result = {"name": name, "unit": unit, "total_mib": round(total_bytes / MIB, 1),
                  "quire": statistics.median(ours), "quire_runs": ours, "kernel_runs": theirs}
        line = f"{name:34} {total_bytes / MIB:6.0f} MiB  quire {result['quire']:9.0f} {unit}"
        if theirs:
            result["kernel"] = statistics.median(theirs)
            result["ratio"] = result["kernel"] / result["quire"]
            line += f"  kernel {result['kernel']:9.0f} {unit}  ratio {result['ratio']:5.2f}"
        self.results.append(result)
        print(line, flush=True)

    def better_readahead(self, measure):
        """Leaves vm.page-cluster at what is faster here: as shipped, or off."""
        figures = {}
        for value in (int(self.kernel.page_cluster), 0):
            self.kernel.readahead(value)
            figures[value] = measure()
        self.kernel.readahead(min(figures, key=figures.get))

    def accesses(self, name, pattern, percent, per_page, threads):
        n_pages = self.options.mib * 256
        argv = [self.access, pattern, str(self.options.mib), str(percent),
                str(n_pages * per_page), str(threads)]
        limit = self.options.mib * MIB * percent // 100 + FREE_BYTES

        def figure(output):
            return json.loads(output)["ns_per_op"]

        if self.kernel:
            self.better_readahead(lambda: figure(self.kernel.run(argv, limit)[0]))
            _, _, used = self.kernel.run(argv, limit)
        else:
            used = int(0.54 * self.options.mib * MIB * (100 - percent) / 100)
        total = limit - FREE_BYTES + used
        self.compare(name, "ns", lambda: figure(self.kernel.run(argv, limit)[0]),
                     lambda: figure(self.quire(argv, total)[0]), total)

    def python(self):
        sys.path.insert(0, str(HERE.parents[1] / "scripts"))
        import measure
        interpreter = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
        argv = [interpreter, "-c", PYTHON]
        plain = measure.run(argv, stdout=subprocess.DEVNULL)
        total = plain.peak_anon_bytes // 2
        limit = 0
        if self.kernel:
            self.better_readahead(lambda: self.kernel.run(argv, total * 2 // 3)[1])
            limit, _ = self.kernel.run_within(argv, total + FREE_BYTES)
        self.compare(PYTHON_NAME, "ms", lambda: self.kernel.run(argv, limit)[1] * 1000,
                     lambda: self.quire(argv, total)[1] * 1000, total)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quire", default="build/quire")
    parser.add_argument("--mib", type=int, default=256, help="data of the access patterns")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="run those whose name contains this")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args()

    def stop(number, _):
        raise SystemExit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    bench = Bench(options)
    try:
        for name, (pattern, percent, per_page, threads) in ACCESSES.items():
            if options.only in name:
                bench.accesses(name, pattern, percent, per_page, threads)
        if options.only in PYTHON_NAME:
            bench.python()
    finally:
        if bench.kernel and bench.kernel.n_relieved:
            print(f"(the kernel would have killed its programs {bench.kernel.n_relieved} times, with "
                  "swap free; it was given 2 MiB more for some milliseconds each time)")
        bench.close()
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(bench.results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
