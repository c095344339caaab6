#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A compressed dump beside the plain core file of the same memory: answers, and time.

Usage: beside_plain.py QUIRE DUMP CORE [TURNS]

DUMP is what `makedumpfile -c CORE DUMP` (or -l, -z, -d 31, -F) wrote of an x86-64 Linux's CORE. 40 000
addresses that the kernel's page tables map, drawn at random, are translated, text in and text out, and
all mappings listed, in turns with both files; the least processor's time of each counts, start and all.
"""
import sys

from kernel_addresses import children_seconds, draw, translate


def main():
    quire, turns = [sys.argv[1], "translate"], int(sys.argv[4]) if len(sys.argv) > 4 else 5
    files = sys.argv[2:4]
    vas = draw([*quire, "-i", files[1]], [])
    answers, maps = [None, None], [None, None]
    best = {"translate": [9e9, 9e9], "map": [9e9, 9e9]}
    for _ in range(turns):
        for i, file in enumerate(files):
            answers[i], seconds = translate([*quire, "-i", file], [], vas)
            best["translate"][i] = min(best["translate"][i], seconds)
            maps[i], seconds = children_seconds([*quire, "-i", file, "--map"])
            best["map"][i] = min(best["map"][i], seconds)
    if answers[0] != answers[1] or maps[0] != maps[1]:
        sys.exit("beside_plain.py: the two files give different answers")
    for name, (ours, plain) in best.items():
        print(f"{name:10} dump {ours * 1e3:7.1f} ms   core {plain * 1e3:7.1f} ms   ratio {ours / plain:5.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
