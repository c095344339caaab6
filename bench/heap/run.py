#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Quire's heap beside other allocators: time and peak memory of the same programs.

  run.py [--quire LIBRARY] [--peer NAME=LIBRARY]... [--rounds N] [--only TEXT] [--without NAMES]
         [--json FILE]

glibc needs no library; mimalloc, jemalloc and tcmalloc are the ones that Debian ships, where they
are installed (scripts/install-deps.sh bench); --peer adds others. All are preloaded in the same way.
In each round every allocator runs the program once, in an order that turns from round to round, so
that a machine that drifts drifts for all; medians are compared. A program prints a checksum of its
work, which has to be the same under all. README.md says what the programs do and how to read this.
"""
import argparse
import ctypes.util
import hashlib
import json
import math
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DEBIAN = {"mimalloc": "libmimalloc.so.2", "jemalloc": "libjemalloc.so.2",
          "tcmalloc": "libtcmalloc_minimal.so.4"}
MEANS = {"time": "seconds", "CPU time": "cpu_seconds", "peak memory": "peak_kib"}
START = "start of a program"  # its time and memory are shown, but are in no mean

# name: program and its arguments
SYNTHETIC = {
    "cfrac-like": ["fraction", "150000"],
    "espresso-like": ["minimise", "12000"],
    "alloc-test-like, 1 thread": ["lifetimes", "1", "12000000"],
    "alloc-test-like, 2 threads": ["lifetimes", "2", "9000000"],
    "glibc-thread-like, 1 thread": ["exponent", "1", "8000000"],
    "glibc-thread-like, 2 threads": ["exponent", "2", "8000000"],
    "larson-like, 2 threads": ["larson", "2", "40", "150000"],
    "larson-like, small": ["larson", "2", "40", "150000", "1000", "8", "128"],
    "xmalloc-like, 1 pair": ["relay", "1", "600"],
    "xmalloc-like, 2 pairs": ["relay", "2", "300"],
    "cache-scratch-like": ["sharing", "scratch", "2", "20000"],
    "cache-thrash-like": ["sharing", "thrash", "2", "20000"],
    "rptest-like, 2 threads": ["crossing", "2", "150", "8000", "4000"],
    "sh6-like": ["batches", "1", "1200"],
    "sh8-like, 2 threads": ["batches", "2", "500"],
}

PYTHON = """
import hashlib
index = {}
for i in range(220_000):
    index[f"key-{i * 7919 % 1_000_003}"] = [i, str(i) * (i % 9), {"n": i, "half": i / 2}]
digest = hashlib.sha256()
for key in sorted(index)[::3]:
    i, text, more = index[key]
    digest.update(text.encode())
    index[key] = [more["n"], text[1:], tuple(range(i % 20))]
lists = [[str(k) for k in range(i % 300)] for i in range(3000)]
for i in range(0, 3000, 2):
    lists[i] = sorted(lists[i] + lists[i + 1], reverse=True)
digest.update("".join(lists[-2]).encode())
print(digest.hexdigest())
"""


def python():
    return "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable


def geometric_mean(values):
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values))


class Measure:
    """Runs commands under an allocator's library; one result is (seconds, CPU seconds, peak KiB,
    faults, digest of what was printed)."""

    def __init__(self, directory):
        self.program = directory / "measure"
        self.file = directory / "measured"
        self.directory = directory

    def environment(self, library, **more):
        return {**os.environ, "MEASURE_PRELOAD": library, **more}

    def figures(self):
        wall, cpu, peak, faults = self.file.read_text().split()
        return float(wall), float(cpu), int(peak), int(faults)

    def command(self, argv, library, **more):
        done = subprocess.run([self.program, self.file, *argv], check=False, timeout=600,
                              env=self.environment(library, **more), cwd=self.directory,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode:
            raise RuntimeError(f"{argv[0]} ended with {done.returncode} under "
                               f"{library or 'glibc'}: {done.stderr.decode()[-500:]}")
        return (*self.figures(), hashlib.sha256(done.stdout).hexdigest()[:16])


class Program:
    """A command whose output is its checksum."""

    def __init__(self, name, argv, result=None, repeat=1, **environment):
        self.name, self.argv, self.environment = name, [str(word) for word in argv], environment
        self.result, self.repeat = result, repeat

    def run(self, measure, library):
        runs = [measure.command(self.argv, library, **self.environment)
                for _ in range(self.repeat)]
        *figures, digest = [statistics.median(column) for column in zip(*(r[:4] for r in runs))] + [
            runs[0][4]]
        if self.result:
            digest = hashlib.sha256(self.result.read_bytes()).hexdigest()[:16]
        return (*figures, digest)


class Redis:
    """The server under the allocator, the clients without. Time is the clients', memory the
    server's. Debian's server is linked with jemalloc; glibc's line preloads libc to go before it."""

    def __init__(self, name, server, directory):
        self.name, self.server = name, server
        self.commands = directory / "redis-commands"
        with open(self.commands, "wb") as file:
            for i in range(250_000):
                file.write(self.encode(i))
        self.socket = str(directory / "redis-socket")

    @staticmethod
    def encode(i):
        k = i * 7919 % 60_013
        words = [("SET", f"key:{k}", "v" * (i * 31 % 400)), ("APPEND", f"key:{k}", "+" * (i % 90)),
                 ("HSET", f"hash:{k % 6000}", f"field{i % 40}", str(i) * (i % 12)),
                 ("RPUSH", f"list:{k % 900}", "e" * (i % 120)), ("DEL", f"key:{(k * 3) % 60_013}"),
                 ("SADD", f"set:{k % 2000}", f"member-{i}"), ("LPOP", f"list:{i % 900}")][i % 7]
        return b"*%d\r\n" % len(words) + b"".join(
            b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words)

    def client(self, *words, **more):
        done = subprocess.run([*words[:1], "-s", self.socket, *words[1:]], check=True, timeout=300,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
        return done.stdout.decode()

    def wait(self, server):
        for _ in range(500):
            if server.poll() is not None:
                raise RuntimeError("redis-server ended at once")
            if os.path.exists(self.socket):
                try:
                    self.client("redis-cli", "ping")
                    return
                except subprocess.CalledProcessError:
                    pass
            time.sleep(0.02)
        raise RuntimeError("redis-server does not answer")

    def work(self):
        start = time.monotonic()
        with open(self.commands, "rb") as file:
            self.client("redis-cli", "--pipe", stdin=file)
        load = time.monotonic() - start
        digest = self.client("redis-cli", "debug", "digest").strip()
        start = time.monotonic()
        self.client("redis-benchmark", "-n", "100000", "-c", "20", "-P", "16", "-q", "-d", "200",
                    "-r", "50000", "-t", "set,get,lpush,lpop,sadd,hset")
        return load + time.monotonic() - start, digest

    def run(self, measure, library):
        server = subprocess.Popen(
            [measure.program, measure.file, self.server, "--port", "0", "--unixsocket",
             self.socket, "--save", "", "--appendonly", "no", "--daemonize", "no",
             "--enable-debug-command", "yes"],
            env=measure.environment(library or "libc.so.6"), cwd=measure.directory,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.wait(server)
            seconds, digest = self.work()
        finally:
            subprocess.run(["redis-cli", "-s", self.socket, "shutdown", "nosave"], check=False,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            server.wait(timeout=60)
        _, cpu, peak, faults = measure.figures()
        return seconds, cpu, peak, faults, digest


def build(directory, compiler):
    for source in HERE.glob("*.c"):
        if source.stem != "malloc_bench":
            subprocess.run([compiler, "-O2", "-D_GNU_SOURCE", "-o", directory / source.stem, source,
                            "-lpthread"], check=True)


def prepare(directory, compiler):
    build(directory, compiler)
    programs = [Program(name, [directory / argv[0], *argv[1:]])
                for name, argv in SYNTHETIC.items()]
    source, target = directory / "large.c", directory / "large.o"
    source.write_text("".join(
        f"unsigned f{i}(unsigned *a, unsigned n) {{ unsigned s = {i};"
        f" for (unsigned k = 0; k < n; k++) {{ if (a[k] & {i % 97}) s += a[(k + {i % 13}) % n] >> "
        f"{i % 7}; else a[k] ^= s * {i}u; }} return s; }}\n" for i in range(300)))
    script = directory / "script.py"
    script.write_text(PYTHON)
    server = shutil.which("redis-server")
    if not server and shutil.which("redis-check-rdb"):
        server = directory / "redis-server"  # one binary, by the name it is called
        os.symlink(shutil.which("redis-check-rdb"), server)
    if server and shutil.which("redis-benchmark"):
        programs.append(Redis("redis", server, directory))
    programs += [
        Program("gcc -O2", [compiler, "-O2", "-c", source, "-o", target], result=target),
        Program("python", [python(), script], PYTHONMALLOC="malloc", PYTHONHASHSEED="0"),
        Program(START, ["/bin/true"], repeat=20),
    ]
    return programs


def allocators(options):
    found = {"glibc": ""}
    for name, library in DEBIAN.items():
        if ctypes.util.find_library(library[3:library.index(".so")]):
            found[name] = library
        else:
            print(f"no {library} here: scripts/install-deps.sh bench", file=sys.stderr)
    for peer in options.peer:
        name, _, library = peer.partition("=")
        if not os.path.exists(library):
            sys.exit(f"run.py: --peer {peer}: no such file; it takes NAME=/path/to/library.so")
        found[name] = os.path.abspath(library)
    for name in filter(None, options.without.split(",")):
        found.pop(name, None)
    if not os.path.exists(options.quire):
        sys.exit(f"run.py: no {options.quire}; build Quire first (make), or say --quire LIBRARY")
    found["quire"] = os.path.abspath(options.quire)
    return found


def median_columns(runs):
    return [statistics.median(run[i] for run in runs) for i in range(4)]


def compare(program, libraries, measure, rounds):
    runs = {name: [] for name in libraries}
    names = list(libraries)
    for _ in range(rounds):
        for name in names:
            runs[name].append(program.run(measure, libraries[name]))
        names = names[1:] + names[:1]
    digests = {run[4] for name in runs for run in runs[name]}
    if len(digests) != 1:
        raise RuntimeError(f"{program.name}: the results differ: {digests}")
    return {name: dict(zip(("seconds", "cpu_seconds", "peak_kib", "faults"),
                           median_columns(runs[name])), runs=runs[name]) for name in runs}


def best_peer(figures, column):
    return min(figures[name][column] for name in figures if name != "quire")


def print_row(title, cells):
    print(f"{title:29}" + "".join(f"{cell:>11}" for cell in cells), flush=True)


def print_result(title, figures):
    print_row(title, [f"{figures[n]['seconds'] / best_peer(figures, 'seconds'):.2f} "
                      f"{figures[n]['peak_kib'] / best_peer(figures, 'peak_kib'):.2f}"
                      for n in figures])
    print_row("", [f"{figures[n]['seconds'] * 1e3:.0f}ms {figures[n]['peak_kib'] / 1024:.1f}M"
                   for n in figures])


def summary(results):
    """{allocator: means and worst lines}, of ratios to the best peer."""
    lines = [figures for name, figures in results.items() if name != START]
    sums = {}
    for name in lines[0]:
        sums[name] = {}
        for what, column in MEANS.items():
            ratios = [figures[name][column] / best_peer(figures, column) for figures in lines]
            sums[name][what] = {"mean": geometric_mean(ratios), "worst": max(ratios)}
    return sums


def print_summary(results):
    sums = summary(results)
    print()
    for what in MEANS:
        best = min(sums[name][what]["mean"] for name in sums if name != "quire")
        print_row(f"{what}: geometric mean", [f"{s[what]['mean']:.3f}" for s in sums.values()])
        print_row("  over the best one's", [f"{s[what]['mean'] / best:.3f}" for s in sums.values()])
        print_row("  worst line", [f"{s[what]['worst']:.2f}" for s in sums.values()])
    return sums


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quire", default=str(ROOT / "build" / "libquire-malloc.so"))
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=LIBRARY")
    parser.add_argument("--without", default="", metavar="NAMES", help="leave these out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="run those whose name contains this")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args()
    libraries = allocators(options)
    results = {}
    with tempfile.TemporaryDirectory(prefix="quire-bench-") as name:
        directory = pathlib.Path(name)
        programs = prepare(directory, os.environ.get("CC", "cc"))
        measure = Measure(directory)
        print("time and peak memory, each over the best peer's; and what they are")
        print_row("", libraries)
        for program in programs:
            if options.only not in program.name:
                continue
            results[program.name] = compare(program, libraries, measure, options.rounds)
            print_result(program.name, results[program.name])
    sums = print_summary(results) if set(results) - {START} else {}
    if options.json:
        pathlib.Path(options.json).write_text(
            json.dumps({"lines": results, "means": sums}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
