#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Translations of a Linux kernel's addresses: Quire beside drgn, in answers and in time.

Usage: beside_drgn.py QUIRE VMCORE        by the Python that has drgn (Debian: python3-drgn, /usr/bin/python3)

VMCORE is an ELF core of an x86-64 Linux with its VMCOREINFO: of a crash, or of QEMU started with `-device
vmcoreinfo`, by dump-guest-memory. Addresses are drawn from what `quire translate --map` lists of the upper
half and neither the direct map nor the kernel's image has, since drgn does not walk for these. drgn
reads 8 bytes at each, and the same physical ones: the difference is the walk. Times are of the processor.
"""
import random
import re
import resource
import subprocess
import sys
import time

import drgn

N = 40000
DIRECT_MAP = (0xffff888000000000, 0xffffc88000000000)
IMAGE = (0xffffffff80000000, 0xffffffffa0000000)


def root_of(path):
    with open(path, "rb") as file:
        head = file.read(1 << 20)
    symbol = re.search(rb"SYMBOL\(swapper_pg_dir\)=([0-9a-f]+)", head)
    base = re.search(rb"NUMBER\(phys_base\)=(-?\d+)", head)
    if not symbol or not base:
        sys.exit(f"beside_drgn.py: {path}: no VMCOREINFO with swapper_pg_dir and phys_base is in its first MiB")
    return int(symbol.group(1), 16) - IMAGE[0] + int(base.group(1))


def addresses(quire, machine):
    listed = subprocess.run([*quire, "--map", "--range", "0xffff800000000000-0xffffffffffffffff"] +
                            machine, check=False, capture_output=True, text=True).stdout
    ranges = []
    for line in listed.splitlines():
        match = re.match(r"(0x[0-9a-f]+)-(0x[0-9a-f]+) 0x", line)
        if match:
            first, last = int(match.group(1), 16), int(match.group(2), 16)
            if not any(low <= first < high for low, high in (DIRECT_MAP, IMAGE)):
                ranges.append((first, last))
    source = random.Random(1)
    picked = source.choices(ranges, [min(last - first, 1 << 21) for first, last in ranges], k=N)
    return [first + source.randrange(last - first - 7) & ~7 for first, last in picked]


def timed(function):
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


def read_all(program, places, physical):
    values = []
    for place in places:
        try:
            values.append(program.read(place, 8, physical) if place is not None else None)
        except drgn.FaultError:
            values.append(None)
    return values


def main():
    quire, core = [sys.argv[1], "translate", "-i", sys.argv[2]], sys.argv[2]
    machine = ["--mode", "x86-48", "--root", f"{root_of(core):#x}"]
    vas = addresses(quire, machine)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    answers = subprocess.run([*quire, *machine, "-"], input="".join(f"{va:#x}\n" for va in vas),
                             capture_output=True, check=False, text=True).stdout.splitlines()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    ours = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    frames = [None if line.split()[1] == "-" else int(line.split()[1], 0) for line in answers]
    program = drgn.Program()
    program.set_core_dump(core)
    by_address, virtual = timed(lambda: read_all(program, vas, False))
    by_frame, physical = timed(lambda: read_all(program, frames, True))
    same = sum(a == b for a, b in zip(by_address, by_frame))
    print(f"{len(vas)} addresses, {same} the same by both walks, {by_frame.count(None)} of them outside "
          "the dump")
    print(f"drgn, read():            {len(vas) / virtual / 1e6:6.2f} million a second")
    print(f"drgn, walks alone:       {len(vas) / max(virtual - physical, 1e-9) / 1e6:6.2f}")
    print(f"quire translate, text:   {len(vas) / ours / 1e6:6.2f}")
    return 0 if same == len(vas) else 1


if __name__ == "__main__":
    sys.exit(main())
