#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records what QEMU's emulated processors make of page tables: the fixtures of tests/cli/translate.py.

Usage: qemu.py [DIRECTORY [NAME...]]       writes DIRECTORY/NAME.json, by default beside this script

Wants qemu-system-x86, -misc, -arm (Debian's packages) and clang. For each machine, random tables
are made here, by the manuals and not by Quire's builders; a program of a few instructions sets the
processor's registers and waits; QEMU is then asked by its monitor where addresses lead (gva2gpa,
mapped and not mapped), for its own list of mappings (info tlb, info mem), and for the memory.
"""
import base64
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time
import zlib

M = 1 << 20
N_ADDRESSES = 160
NOWHERE = 0x7000  # below all that is mapped


class Memory:
    """Tables of a machine: frames from `start` on."""

    def __init__(self, start, n_bytes):
        self.start, self.bytes, self.next = start, bytearray(n_bytes), start

    def take(self, n_bytes):
        address = (self.next + n_bytes - 1) & -n_bytes
        self.next = address + n_bytes
        assert self.next <= self.start + len(self.bytes), "more tables than fit"
        return address

    def load(self, address, width):
        at = address - self.start
        return int.from_bytes(self.bytes[at:at + width], "little")

    def store(self, address, width, value):
        at = address - self.start
        self.bytes[at:at + width] = value.to_bytes(width, "little")


class Tree:
    """A radix tree: subclasses say what entries look like."""
    page_shift, bits, levels, width = 12, 9, 4, 8
    va_bits, signed = 48, True
    large = (1, 2)  # levels that may map pages

    def __init__(self, memory, random_source):
        self.memory, self.random = memory, random_source
        self.root = memory.take(self.width << self.bits)
        self.pages = []

    def shift(self, level):
        return self.page_shift + level * self.bits

    def is_table(self, entry):
        raise NotImplementedError

    def map(self, va, pa, level, **attributes):
        table = self.root
        stripped = va & ((1 << self.va_bits) - 1)
        for at in range(self.levels - 1, level - 1, -1):
            index = stripped >> self.shift(at) & ((1 << self.bits) - 1)
            address = table + index * self.width
            entry = self.memory.load(address, self.width)
            if at == level:
                if entry != 0:
                    return False
                self.memory.store(address, self.width, self.leaf(pa, level, **attributes))
                self.pages.append((va, 1 << self.shift(level)))
                return True
            if entry == 0:
                entry = self.table(self.memory.take(self.width << self.bits), at)
                self.memory.store(address, self.width, entry)
            elif not self.is_table(entry):
                return False
            table = self.next_table(entry)
        return False

    def draw_va(self, shift):
        va = self.random.choice(self.bases) + (self.random.randrange(1 << 22) << 12)
        va &= -(1 << shift)
        return va & ((1 << 64) - 1)

    def fill(self, n):
        for _ in range(n):
            level = self.random.choice((0, 0, 0) + self.large)
            pa = self.random.randrange(1 << 33) & -(1 << self.shift(level))
            self.map(self.draw_va(self.shift(level)), pa, level)


class X86(Tree):
    bases = (0x7f0000000000, 0xffff880000000000, 0xffffffff80000000, 0x400000)

    def is_table(self, entry):
        return entry & 0x80 == 0

    def next_table(self, entry):
        return entry & 0xffffffffff000

    def table(self, address, level):
        return address | 1 | self.random.choice((6, 6, 6, 2, 4)) | self.random.choice((0, 0x20))

    def leaf(self, pa, level, identity=False):
        bits = 0x63 if identity else 1 | self.random.randrange(256) & 0x7e | self.random.choice((0, 0x100))
        if level == 0:
            bits |= self.random.choice((0, 0x80)) if not identity else 0
        else:
            bits |= 0x80 | self.random.choice((0, 0x1000))
        if self.width == 8 and not identity:
            bits |= self.random.choice((0, 1 << 63))
        return pa | bits


class X86La57(X86):
    levels, va_bits = 5, 57
    bases = (0x7f0000000000, 0xff11000000000000, 0xffffffff80000000, 0x00a0000000000000, 0x400000)


class X86Pae(X86):
    levels, va_bits, signed, large = 3, 32, False, (1,)
    bases = (0x400000, 0x80000000, 0xc0000000)

    def draw_va(self, shift):
        return super().draw_va(shift) & 0xffffffff

    def table(self, address, level):
        return address | 1 if level == 2 else super().table(address, level)


class X86Two(X86):
    bits, levels, width, va_bits, signed, large = 10, 2, 4, 32, False, (1,)
    bases = (0x400000, 0x80000000, 0xc0000000)

    def draw_va(self, shift):
        return super().draw_va(shift) & 0xffffffff

    def next_table(self, entry):
        return entry & 0xfffff000

    def leaf(self, pa, level, identity=False):
        if level == 0:
            return super().leaf(pa & 0xffffffff, level, identity)
        return super().leaf((pa & 0xffc00000) | (pa >> 32 & 0xff) << 13, level, identity)


class Riscv(Tree):
    levels, va_bits, napot = 3, 39, False
    bases = (0x10000, 0xffffffc000000000, 0x3f00000000, 0xffffffff80000000)

    def is_table(self, entry):
        return entry & 0xe == 0

    def next_table(self, entry):
        return entry >> 10 << 12 & 0xffffffffffffff

    def table(self, address, level):
        return address >> 12 << 10 | 1

    def leaf(self, pa, level, identity=False):
        rights = self.random.choice((2, 6, 8, 10, 14))
        bits = 0xcf if identity else rights | 1 | self.random.randrange(16) << 4
        return pa >> 12 << 10 | bits

    def fill(self, n):
        super().fill(n)
        for _ in range(n // 8 if self.napot else 0):
            va = self.draw_va(16)
            pa = self.random.randrange(1 << 33) & -(1 << 16)
            if all(self.map(va + i * 4096, pa, 0) for i in range(16)):
                entry = self.leaf(pa, 0) | 8 << 10 | 1 << 63
                for i in range(16):
                    self.replace(va + i * 4096, entry)

    def replace(self, va, entry):
        table, stripped = self.root, va & ((1 << self.va_bits) - 1)
        for at in range(self.levels - 1, -1, -1):
            address = table + (stripped >> self.shift(at) & 511) * 8
            if at == 0:
                self.memory.store(address, 8, entry)
            table = self.next_table(self.memory.load(address, 8))


class Riscv48(Riscv):
    levels, va_bits = 4, 48
    bases = (0x10000, 0xffff800000000000, 0x7f0000000000, 0xffffffff80000000)
    large, napot = (1, 2, 3), True


class Riscv57(Riscv):
    levels, va_bits = 5, 57
    bases = (0x10000, 0xff00000000000000, 0x00f0000000000000, 0xffffffff80000000)


class Arm(Tree):
    """Both halves, one tree each; `va_bits` of each."""
    va_bits, signed = 48, False
    blocks = (1, 2)
    wide = False

    def __init__(self, memory, random_source):
        super().__init__(memory, random_source)
        self.bits = self.page_shift - 3
        self.roots = [memory.take(1 << self.page_shift), memory.take(1 << self.page_shift)]
        self.large = self.blocks

    @property
    def bases(self):
        top = -(1 << self.va_bits)
        return (0x400000, 1 << self.va_bits - 1, top, -(1 << 31))

    def map(self, va, pa, level, **attributes):
        self.root = self.roots[va >> 55 & 1]
        return super().map(va, pa, level, **attributes)

    def is_table(self, entry):
        return entry & 2 != 0

    def spread(self, pa):
        if self.wide and self.page_shift == 16:
            return pa & 0xffffffff0000 | (pa >> 48 & 15) << 12
        if self.wide:
            return pa & 0x3fffffffff000 | (pa >> 50 & 3) << 8
        return pa

    def next_table(self, entry):
        return entry & (0xffffffffffff & -(1 << self.page_shift))

    def table(self, address, level):
        hierarchical = self.random.choice((0, 0, 0, self.random.randrange(16) << 59))
        return self.spread(address) | 3 | hierarchical

    def leaf(self, pa, level, identity=False):
        if self.wide:
            pa |= self.random.randrange(16) << 48
        entry = self.spread(pa) | (3 if level == 0 else 1) | 1 << 10
        if identity:
            return entry
        entry |= self.random.randrange(4) << 6 | self.random.randrange(8) << 2
        entry |= self.random.choice((0, 1)) << 11 | self.random.randrange(4) << 53
        return entry & ~(self.random.choice((0, 0, 0, 1)) << 10)


class Arm16K(Arm):
    page_shift, va_bits, blocks = 14, 47, (1,)
    levels = 3


class Arm64K(Arm):
    page_shift, va_bits, blocks, levels = 16, 48, (1,), 3


class Arm64KLpa(Arm64K):
    wide, va_bits = True, 52


class Arm4KLpa2(Arm):
    wide, va_bits, levels, blocks = True, 52, 5, (1, 2)


# Programs

def x86_program(tree, cr0, cr4, efer):
    """A multiboot program at 1 MiB; 32-bit code that switches paging on."""
    def word(value):
        return value.to_bytes(4, "little")
    code = b"\xb8" + word(cr4) + b"\x0f\x22\xe0"
    if efer:
        code += b"\xb9" + word(0xc0000080) + b"\xb8" + word(efer) + b"\x31\xd2\x0f\x30"
    code += b"\xb8" + word(tree.root) + b"\x0f\x22\xd8\xb8" + word(cr0) + b"\x0f\x22\xc0"
    code += b"\xfa\xf4\xeb\xfd"
    header = [0x1badb002, 0x10000, (-(0x1badb002 + 0x10000)) & 0xffffffff, M, M, M + 0x1000,
              M + 0x1000, M + 0x40]
    return (b"".join(map(word, header)).ljust(0x40, b"\0") + code).ljust(0x1000, b"\0")


def assemble(target, text, directory, *options):
    source, target_file = directory / "program.s", directory / "program.o"
    source.write_text(text)
    subprocess.run(["clang", f"--target={target}", *options, "-c", "-o", target_file, source],
                   check=True)
    data = target_file.read_bytes()
    sections = int.from_bytes(data[40:48], "little")
    for i in range(int.from_bytes(data[60:62], "little")):
        at = sections + 64 * i
        kind = int.from_bytes(data[at + 4:at + 8], "little")
        flags = int.from_bytes(data[at + 8:at + 16], "little")
        if kind == 1 and flags & 4:
            offset, size = (int.from_bytes(data[at + j:at + j + 8], "little") for j in (24, 32))
            if size:
                return data[offset:offset + size]
    raise RuntimeError("no code was assembled")


def riscv_program(satp, directory):
    return assemble("riscv64", f"""
        li t0, -1
        csrw 0x3b0, t0
        li t0, 0x1f
        csrw 0x3a0, t0
        li t0, {satp}
        csrw 0x180, t0
        li t0, 0x1800
        csrrc x0, 0x300, t0
        li t0, 0x800
        csrrs x0, 0x300, t0
        auipc t0, 0
        addi t0, t0, 16
        csrw 0x341, t0
        mret
        wfi
        .word 0xffdff06f # to the wfi
        """, directory, "-march=rv64g")


def arm_program(tree, tcr, mair, directory):
    def move(value):
        lines = [f"movz x0, #{value & 0xffff}"]
        lines += [f"movk x0, #{value >> 16 * i & 0xffff}, lsl #{16 * i}" for i in (1, 2, 3)]
        return "\n".join(lines)
    return assemble("aarch64-none-elf", f"""
        {move(mair)}
        msr mair_el1, x0
        {move(tcr)}
        msr tcr_el1, x0
        {move(tree.roots[0])}
        msr ttbr0_el1, x0
        {move(tree.roots[1])}
        msr ttbr1_el1, x0
        isb
        mrs x0, sctlr_el1
        orr x0, x0, #1
        msr sctlr_el1, x0
        isb
        wfi
        b .-4
        """, directory)


# QEMU

class Qemu:
    def __init__(self, command):
        self.process = subprocess.Popen(command + ["-display", "none", "-serial", "none", "-monitor",
                                                   "none", "-qmp", "stdio", "-no-reboot"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.read()
        self.send("qmp_capabilities")
        for _ in range(1000):  # until paging is on: before, every address is its own
            if f"gpa: {NOWHERE:#x}" not in self.ask(f"gva2gpa {NOWHERE:#x}"):
                return
            time.sleep(0.1)
        raise RuntimeError("the program did not switch paging on")

    def read(self):
        while True:
            answer = json.loads(self.process.stdout.readline())
            if "event" not in answer:
                return answer

    def send(self, command, **arguments):
        self.process.stdin.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.process.stdin.flush()
        return self.read()

    def ask(self, line):
        return self.send("human-monitor-command", **{"command-line": line})["return"]

    def close(self):
        self.process.kill()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(30)


def lookups(tree, source):
    """Addresses: mapped ones, their neighbours, and others that are mostly not."""
    top = (1 << 64) - 1
    found = []
    for va, size in source.sample(tree.pages, min(len(tree.pages), N_ADDRESSES // 2)):
        found.append(va + source.randrange(size))
        found.append(source.choice((va + size, va - 1)) & top)
    for _ in range(N_ADDRESSES // 4):
        found.append(tree.draw_va(0) + source.randrange(4096) & top)
    if tree.va_bits > 32:  # not canonical, or another half
        found += [source.randrange(1 << 64) for _ in range(10)]
    else:
        found = [va & 0xffffffff for va in found]
    return sorted(set(found))


def translations(qemu, addresses):
    results = []
    for va in addresses:
        answer = qemu.ask(f"gva2gpa {va:#x}")
        match = re.search(r"gpa: (0x[0-9a-f]+)", answer)
        results.append([f"{va:#x}", match.group(1) if match else None])
    return results


def x86_mappings(qemu):
    """`info tlb`: pages, with the flags of the last entry."""
    pages = []
    for line in qemu.ask("info tlb").splitlines():
        match = re.match(r"([0-9a-f]+): ([0-9a-f]+) ([-XGPDACTUW]{9})$", line.strip())
        assert match, line
        flags = match.group(3)
        pages.append([f"0x{int(match.group(1), 16):x}", f"0x{int(match.group(2), 16):x}",
                      "".join(flag for flag in "GAD" if flag in flags)])
    return pages


def x86_ranges(qemu):
    """`info mem`: runs of addresses, with what all levels leave: u, r, w. None with 5 levels (7.2)."""
    ranges = []
    for line in qemu.ask("info mem").splitlines():
        start, end, size, rights = re.match(r"([0-9a-f]+)-([0-9a-f]+) ([0-9a-f]+) (\S+)",
                                            line.strip()).groups()
        ranges.append([f"0x{int(start, 16):x}", int(size, 16), rights])
    return ranges


def riscv_ranges(qemu):
    ranges = []
    for line in qemu.ask("info mem").splitlines():
        match = re.match(r"([0-9a-f]{8,16}) ([0-9a-f]{16}) ([0-9a-f]{8,16}) ([-rwxugad]{7})", line.strip())
        if match:
            va, pa, size, flags = match.groups()
            ranges.append([f"0x{int(va, 16):x}", f"0x{int(pa, 16):x}", int(size, 16), flags])
    return ranges


def pack(data):
    return base64.b64encode(zlib.compress(bytes(data), 9)).decode()


def blank(core, memory):
    """The core file with zeros in place of all memory but the tables: the firmware stays out."""
    core = bytearray(core)
    headers = int.from_bytes(core[32:40], "little")
    for at in range(headers, headers + 56 * int.from_bytes(core[56:58], "little"), 56):
        if int.from_bytes(core[at:at + 4], "little") != 1:
            continue
        offset, _, start, n_bytes = (int.from_bytes(core[at + i:at + i + 8], "little")
                                     for i in (8, 16, 24, 32))
        first = min(max(memory.start - start, 0), n_bytes)
        last = min(max(memory.next - start, 0), n_bytes)
        core[offset:offset + first] = bytes(first)
        core[offset + last:offset + n_bytes] = bytes(n_bytes - last)
    return core


def record(command, tree, source, arguments, extra):
    with tempfile.TemporaryDirectory() as name:
        qemu = Qemu(command)
        try:
            return ask_all(qemu, os.path.join(name, "saved"), tree, source, arguments, extra)
        finally:
            qemu.close()


def ask_all(qemu, saved, tree, source, arguments, extra):
    result = {"qemu": qemu.send("query-version")["return"]["package"],
              "arguments": arguments,
              "start": f"{tree.memory.start:#x}",
              "translations": translations(qemu, lookups(tree, source))}
    result.update({key: function(qemu) for key, function in extra.items()})
    n_bytes = tree.memory.next - tree.memory.start
    qemu.ask(f'pmemsave {tree.memory.start:#x} {n_bytes} "{saved}"')
    result["memory"] = pack(pathlib.Path(saved).read_bytes())
    if "elf" in extra:
        qemu.ask(f'dump-guest-memory "{saved}.elf"')
        result["elf"] = pack(blank(pathlib.Path(saved + ".elf").read_bytes(), tree.memory))
    return result


def x86(kind, name, n, cr0=0x80010011, cr4=0x20, efer=0, cpu="max", with_elf=False):
    source = random.Random(name)
    tree = kind(Memory(2 * M, M), source)
    tree.map(M, M, 0, identity=True)
    tree.fill(n)
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        (directory / "program").write_bytes(x86_program(tree, cr0, cr4, efer))
        (directory / "tables").write_bytes(tree.memory.bytes)
        command = ["qemu-system-x86_64", "-cpu", cpu, "-m", "16M", "-net", "none",
                   "-kernel", str(directory / "program"), "-device",
                   f"loader,file={directory}/tables,addr={2 * M:#x},force-raw=on"]
        arguments = ["--arch", "x86", "--cr0", f"{cr0:#x}", "--cr3", f"{tree.root:#x}", "--cr4",
                     f"{cr4:#x}", "--efer", f"{efer:#x}"]
        extra = {"pages": x86_mappings, "rights": x86_ranges}
        if with_elf:
            extra["elf"] = lambda qemu: None
        return record(command, tree, source, arguments, extra)


def riscv(kind, name, n, mode):
    source = random.Random(name)
    tree = kind(Memory(0x80200000, M), source)
    tree.map(0x80000000, 0x80000000, 0, identity=True)
    tree.fill(n)
    satp = mode << 60 | tree.root >> 12
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        (directory / "code").write_bytes(riscv_program(satp, directory))
        (directory / "tables").write_bytes(tree.memory.bytes)
        command = ["qemu-system-riscv64", "-machine", "virt", "-m", "16M", "-bios", "none",
                   "-cpu", "rv64,svnapot=on,svpbmt=on", "-device",
                   f"loader,file={directory}/code,addr=0x80000000,force-raw=on", "-device",
                   f"loader,file={directory}/tables,addr={tree.memory.start:#x},force-raw=on"]
        arguments = ["--arch", "riscv", "--satp", f"{satp:#x}"]
        extra = {} if tree.napot else {"ranges": riscv_ranges}
        return record(command, tree, source, arguments, extra)


def arm(kind, name, n, tcr):
    source = random.Random(name)
    tree = kind(Memory(0x40200000, 6 * M), source)
    wide, tree.wide = tree.wide, False
    code_at = 0x40140000  # behind the device tree
    identity = tree.leaf(code_at, 0, identity=True)
    tree.wide = wide
    leaf, tree.leaf = tree.leaf, lambda *a, **k: identity
    tree.map(code_at, code_at, 0)
    tree.leaf = leaf
    tree.fill(n)
    size = 64 - tree.va_bits
    tcr |= size | size << 16
    mair = 0xff440c0400bbff
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        (directory / "code").write_bytes(arm_program(tree, tcr, mair, directory))
        (directory / "tables").write_bytes(tree.memory.bytes)
        command = ["qemu-system-aarch64", "-machine", "virt", "-cpu", "max", "-m", "16M", "-device",
                   f"loader,file={directory}/code,addr={code_at:#x},cpu-num=0,force-raw=on",
                   "-device",
                   f"loader,file={directory}/tables,addr={tree.memory.start:#x},force-raw=on"]
        arguments = ["--arch", "arm64", "--tcr", f"{tcr:#x}", "--ttbr0", f"{tree.roots[0]:#x}",
                     "--ttbr1", f"{tree.roots[1]:#x}", "--mair", f"{mair:#x}"]
        return record(command, tree, source, arguments, {})


MACHINES = {
    "x86-48": lambda name: x86(X86, name, 40, cr4=0xa0, efer=0x900, with_elf=True),
    "x86-57": lambda name: x86(X86La57, name, 24, cr4=0x10a0, efer=0x900),
    "x86-pae": lambda name: x86(X86Pae, name, 60, cr4=0xa0, efer=0x800),
    "x86-32": lambda name: x86(X86Two, name, 60, cr4=0x90),
    "sv39": lambda name: riscv(Riscv, name, 40, 8),
    "sv48": lambda name: riscv(Riscv48, name, 40, 9),
    "sv57": lambda name: riscv(Riscv57, name, 30, 10),
    "arm64-4k": lambda name: arm(Arm, name, 40, 2 << 30 | 5 << 32),
    "arm64-16k": lambda name: arm(Arm16K, name, 40, 2 << 14 | 1 << 30 | 5 << 32),
    "arm64-64k": lambda name: arm(Arm64K, name, 40, 1 << 14 | 3 << 30 | 5 << 32),
    "arm64-64k-lpa": lambda name: arm(Arm64KLpa, name, 40, 1 << 14 | 3 << 30 | 6 << 32),
    "arm64-4k-lpa2": lambda name: arm(Arm4KLpa2, name, 24, 2 << 30 | 6 << 32 | 1 << 59),
}


def main():
    target = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else
                          pathlib.Path(__file__).parent / "machines")
    for name in sys.argv[2:] or MACHINES:
        result = MACHINES[name](name)
        mapped = sum(pa is not None for _, pa in result["translations"])
        (target / f"{name}.json").write_text(json.dumps(result, indent=0) + "\n")
        print(f"{name}: {mapped} of {len(result['translations'])} addresses mapped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
