#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A compressed dump beside the plain core file of the same memory: answers, and time.

Usage: beside_plain.py QUIRE DUMP[,PART...] CORE [TURNS]

DUMP is what `makedumpfile -c CORE DUMP` (or -l, -z, -d 31, -F, --split) wrote of an x86-64 Linux's CORE.
40 000 addresses that the kernel's page tables map, drawn at random, are translated, text in and text out,
all mappings listed and roots looked for, in turns with both; the least processor's time of each counts,
start and all. Roots need not be the same, where the dump has left pages out.
"""
import sys

from kernel_addresses import children_seconds, draw, translate


def main():
    quire, turns = [sys.argv[1], "translate"], int(sys.argv[4]) if len(sys.argv) > 4 else 5
    memories = [[*quire, *(word for file in files.split(",") for word in ("-i", file))]
                for files in sys.argv[2:4]]
    vas = draw(memories[1], [])
    answers, maps = [None, None], [None, None]
    best = {"translate": [9e9, 9e9], "map": [9e9, 9e9], "find-roots": [9e9, 9e9]}
    for _ in range(turns):
        for i, memory in enumerate(memories):
            answers[i], seconds = translate(memory, [], vas)
            best["translate"][i] = min(best["translate"][i], seconds)
            maps[i], seconds = children_seconds([*memory, "--map"])
            best["map"][i] = min(best["map"][i], seconds)
            _, seconds = children_seconds([*memory, "--find-roots"])
            best["find-roots"][i] = min(best["find-roots"][i], seconds)
    if answers[0] != answers[1] or maps[0] != maps[1]:
        sys.exit("beside_plain.py: the two files give different answers")
    for name, (ours, plain) in best.items():
        print(f"{name:10} dump {ours * 1e3:7.1f} ms   core {plain * 1e3:7.1f} ms   ratio {ours / plain:5.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
