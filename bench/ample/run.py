#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Nothing is slower when RAM is ample: programs with plain glibc, and under Quire with a budget
larger than they need.

  run.py [--quire PATH] [--rounds N] [--only NAME] [--json FILE]

Runs alternate, plain, Quire, plain, …, so that a drifting machine drifts for both; what is compared
are the medians of their wall times. The time that the launcher takes is part of Quire's. A ratio
of 1.05 means that Quire takes 5 % more time.
"""
import argparse
import json
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
RAM = "8G"


def python():
    return "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable


SQL = """
CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b INTEGER);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000)
INSERT INTO t SELECT i, 'name-' || (i * 7919 % 1000003), i * 31 % 997 FROM n;
CREATE INDEX t_a ON t(a);
SELECT b, count(*), max(a) FROM t GROUP BY b ORDER BY 2 DESC, 1 LIMIT 20;
SELECT count(*) FROM t x JOIN t y ON y.id = x.b;
"""

PERL = """
my %h; $h{"key-" . ($_ * 7919 % 1000003)} = [$_, "v" x ($_ % 90)] for 1 .. 250_000;
my $s = 0; $s += length $h{$_}[1] for sort keys %h; print "$s\\n";
"""

THREADS = """
import concurrent.futures, hashlib
def work(n):
    blocks = [bytes([i % 251]) * (1 + i * 37 % 5000) for i in range(n)]
    return hashlib.sha256(b"".join(blocks)).hexdigest()
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    print(sorted(pool.map(work, range(1000, 9000, 250)))[0])
"""


def prepare(directory, compiler):
    """Writes what the programs read; returns {name: command}."""
    lines = directory / "lines"
    with open(lines, "w", encoding="ascii") as file:
        for i in range(500_000):
            file.write(f"{i * 2654435761 % 4294967296:08x} {i}{'-' * (i % 70)}\n")
    script = directory / "script.sql"
    script.write_text(SQL)
    source = directory / "large.c"
    source.write_text("".join(
        f"unsigned f{i}(unsigned *a, unsigned n) {{ unsigned s = {i};"
        f" for (unsigned k = 0; k < n; k++) {{ if (a[k] & {i % 97}) s += a[(k + {i % 13}) % n] >> "
        f"{i % 7}; else a[k] ^= s * {i}u; }} return s; }}\n" for i in range(900)))
    churn = directory / "churn"
    subprocess.run([compiler, "-O2", "-D_GNU_SOURCE", "-o", churn, HERE / "churn.c", "-lpthread"],
                   check=True)
    commands = {
        "python dictionary": [python(), ROOT / "scripts" / "demo.py"],
        "python threads": [python(), "-c", THREADS],
        "sqlite in memory": ["sqlite3", "-batch", ":memory:", f".read {script}"],
        "sort": ["sort", "-S", "1G", "--parallel=2", "-o", directory / "sorted", lines],
        "gcc -O2": [compiler, "-O2", "-c", source, "-o", directory / "large.o"],
        "perl hashes": ["perl", "-e", PERL],
        "malloc, 1 thread": [churn, "1", "6000000"],
        "malloc, 4 threads": [churn, "4", "6000000"],
        "start of a program": ["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done"],
    }
    return {name: [str(word) for word in argv] for name, argv in commands.items()
            if shutil.which(argv[0])}


def seconds(argv):
    start = time.monotonic()
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                          timeout=300)
    wall = time.monotonic() - start
    if done.returncode:
        raise RuntimeError(f"{argv[0]} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return wall, done.stdout


def compare(name, argv, quire, rounds):
    plain, ours = [], []
    seconds(argv)  # warms the caches for both
    for _ in range(rounds):
        wall, output = seconds(argv)
        plain.append(wall)
        wall, same = seconds([quire, "run", "--ram", RAM, "--quiet", "--", *argv])
        ours.append(wall)
        if output != same:
            raise RuntimeError(f"{name}: the outputs differ")
    a, b = statistics.median(plain), statistics.median(ours)
    print(f"{name:22} plain {a:7.3f} s  quire {b:7.3f} s  ratio {b / a:5.3f}", flush=True)
    return {"name": name, "plain": a, "quire": b, "ratio": b / a, "plain_runs": plain,
            "quire_runs": ours}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quire", default=str(ROOT / "build" / "quire"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="run those whose name contains this")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quire-bench-") as name:
        commands = prepare(pathlib.Path(name), os.environ.get("CC", "cc"))
        results = [compare(what, argv, options.quire, options.rounds)
                   for what, argv in commands.items() if options.only in what]
    if results:
        middle = statistics.median(result["ratio"] for result in results)
        print(f"{'median of the ratios':50} {middle:5.3f}")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
