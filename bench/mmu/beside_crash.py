#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Translations of a Linux kernel's addresses: Quire beside crash, in answers and in time.

Usage: beside_crash.py QUIRE CRASH VMLINUX DUMP

DUMP is what QEMU's dump-guest-memory wrote of an x86-64 Linux, VMLINUX its kernel with debugging symbols
(Debian: of linux-image-...-dbg). Each of 40 000 addresses that its page tables map, drawn at random,
is asked for by crash's `vtop` and by `quire translate -`, text in and text out. crash's start, which
reads the symbols, is taken off its time. It does not walk for the kernel's image: what it says of
device registers that are mapped beside that is told, and may differ.
"""
import re
import sys

from kernel_addresses import children_seconds, draw, translate


def ask_crash(crash, lines):
    return children_seconds([*crash], input="".join(f"{line}\n" for line in [*lines, "q"]))


def main():
    quire, crash = [sys.argv[1], "translate", "-i", sys.argv[4]], [sys.argv[2], "-s", *sys.argv[3:]]
    vas = draw(quire, [])
    frames, ours = translate(quire, [], vas)
    _, start = ask_crash(crash, [])
    output, theirs = ask_crash(crash, [f"vtop {va:x}" for va in vas])
    found = re.findall(r"^VIRTUAL +PHYSICAL *\n([0-9a-f]+) +(\S+)", output, re.M)
    if [int(va, 16) for va, _ in found] != vas:
        sys.exit(f"beside_crash.py: {len(found)} of {len(vas)} answers of crash's are understood")
    differ = [(va, frame, said) for va, frame, (_, said) in zip(vas, frames, found)
              if f"{frame:x}" != said]
    print(f"{len(vas)} addresses, {len(vas) - len(differ)} the same")
    for va, frame, said in differ[:10]:
        print(f"  {va:#x}: Quire {frame:#x}, crash {said}")
    print(f"crash, vtop:             {len(vas) / (theirs - start) / 1e6:7.3f} million a second")
    print(f"quire translate, text:   {len(vas) / ours / 1e6:7.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
