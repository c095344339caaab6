#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Translations of a Linux kernel's addresses: Quire beside drgn, in answers and in time.

Usage: beside_drgn.py QUIRE VMCORE        by the Python that has drgn (Debian: python3-drgn, /usr/bin/python3)

VMCORE is an ELF core of an x86-64 Linux with its VMCOREINFO: of a crash, or of QEMU started with `-device
vmcoreinfo`, by dump-guest-memory. Addresses are drawn from what `quire translate --map` lists of the upper
half and neither the direct map nor the kernel's image has, since drgn does not walk for these. drgn
reads 8 bytes at each, and the same physical ones: the difference is the walk. Times are of the processor.
"""
import re
import sys
import time

import drgn
from kernel_addresses import DIRECT_MAP, IMAGE, draw, translate


def root_of(path):
    with open(path, "rb") as file:
        head = file.read(1 << 20)
    symbol = re.search(rb"SYMBOL\(swapper_pg_dir\)=([0-9a-f]+)", head)
    base = re.search(rb"NUMBER\(phys_base\)=(-?\d+)", head)
    if not symbol or not base:
        sys.exit(f"beside_drgn.py: {path}: no VMCOREINFO with swapper_pg_dir and phys_base is in its first MiB")
    return int(symbol.group(1), 16) - IMAGE[0] + int(base.group(1))


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
    vas = draw(quire, machine, (DIRECT_MAP, IMAGE))
    frames, ours = translate(quire, machine, vas)
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
