#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records what QEMU's emulated processors make of page tables: the fixtures of tests/cli/translate.py.

Usage: qemu.py [DIRECTORY [NAME...]]       writes DIRECTORY/NAME.json, by default beside this script

Wants QEMU, clang and lld (`scripts/install-deps.sh record`). For each machine, random tables are made here, by the manuals and not by Quire's builders; a program of a few instructions sets the
processor's registers and waits; QEMU is then asked by its monitor where addresses lead (gva2gpa,
mapped and not mapped), for its own list of mappings (info tlb, info mem), and for the memory.
"""
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from emulator import (Qemu, assemble, pack, riscv_ranges, translations, write_fixture, x86_mappings,
                      x86_ranges)
from tables import (M, Arm, Arm16K, Arm16KLpa2, Arm4KLpa2, Arm64K, Arm64KLpa, Memory, Ppc32, Riscv,
                    Riscv32, Riscv48, Riscv57, X86, X86La57, X86Pae, X86Rights, X86Two)

N_ADDRESSES = 160


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


# Of riscv_program(), behind its page: addresses, and the cause of the trap of each access.
CAUSES = ("S read", "S write", "U read", "U write", "S fetch", "U fetch")
RISCV_ACCESSES = {"read": "lb t1, 0(s3)", "write": "sb x0, 0(s3)",
                  # there is zeros, which are no instruction, or nothing: it comes back by a trap
                  "fetch": """csrw 0x341, s3
        la s5, 2f
        mret
    2:  li s5, 0"""}


def riscv_program(satp, bits, probes, directory):
    """Loads and stores at each address from machine mode, with MPRV as S and U, and goes there; then
    to S."""
    load, word = ("ld", 8) if bits == 64 else ("lw", 4)
    accesses = ""
    for kind in CAUSES:
        mode, access = kind.split()
        mprv = 0 if access == "fetch" else 0x20000
        accesses += f"""
        li t0, 0x1800
        csrrc x0, 0x300, t0
        li t0, {mprv | (0x800 if mode == "S" else 0)}
        li s4, 0
        csrrs x0, 0x300, t0
        {RISCV_ACCESSES[access]}
        li t0, 0x20000
        csrrc x0, 0x300, t0
        sb s4, 0(s1)
        addi s1, s1, 1"""
    code = assemble(f"riscv{bits}-none-elf", f"""
        li t0, -1
        csrw 0x3b0, t0
        li t0, 0x1f
        csrw 0x3a0, t0
        li t0, {satp}
        csrw 0x180, t0
        la t0, trapped
        csrw 0x305, t0
        la s0, probes
        la s1, answers
        li s5, 0
        li s2, {len(probes)}
    1:  {load} s3, 0(s0)
        {accesses}
        addi s0, s0, {word}
        addi s2, s2, -1
        bnez s2, 1b
        li t0, 0x1800
        csrrc x0, 0x300, t0
        li t0, 0x800
        csrrs x0, 0x300, t0
        la t0, idle
        csrw 0x341, t0
        mret
    idle: wfi
        j idle
        .balign 4
    trapped:
        csrr s4, 0x342
        mv t2, s5
        bnez t2, 1f
        csrr t2, 0x341
        addi t2, t2, 4
    1:  csrw 0x341, t2
        li t2, 0x1800
        csrrs x0, 0x300, t2
        mret
        .balign 2048
    probes:
        .fill {word * len(probes)}, 1, 0
    answers:
        """, directory, f"-march=rv{bits}g", "-mno-relax")
    at = len(code) - word * len(probes)
    values = b"".join(va.to_bytes(word, "little") for va in probes)
    return code[:at] + values, 0x80000000 + at + len(values)


def riscv_answers(at, probes):
    def ask(qemu):
        with tempfile.NamedTemporaryFile() as saved:
            n = len(CAUSES)
            qemu.ask(f'pmemsave {at:#x} {n * len(probes)} "{saved.name}"')
            causes = saved.read()
        return [[f"{va:#x}", list(causes[n * i:n * i + n])] for i, va in enumerate(probes)]
    return ask


# Of arm_program(), in its page: addresses, and what AT makes of each, by four kinds of access.
PROBES_AT, ANSWERS_AT, MAX_PROBES = 0x200, 0x400, 60


def arm_program(tree, tcr, mair, probes, at, directory):
    """Switches translation on, and has each address translated (AT) for EL1 and EL0."""
    def move(value, register="x0"):
        lines = [f"movz {register}, #{value & 0xffff}"]
        lines += [f"movk {register}, #{value >> 16 * i & 0xffff}, lsl #{16 * i}" for i in (1, 2, 3)]
        return "\n".join(lines)
    ask = "\n".join(f"at {kind}, x1\nisb\nmrs x2, par_el1\nstr x2, [x10], #8"
                    for kind in ("s1e1r", "s1e1w", "s1e0r", "s1e0w"))
    code = assemble("aarch64-none-elf", f"""
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
        {move(at + PROBES_AT, "x11")}
        {move(at + ANSWERS_AT, "x10")}
        {move(len(probes), "x12")}
    1:  ldr x1, [x11], #8
        {ask}
        subs x12, x12, #1
        b.ne 1b
        wfi
        b .-4
        """, directory)
    assert len(code) <= PROBES_AT and len(probes) <= MAX_PROBES
    data = code.ljust(PROBES_AT, b"\0") + struct.pack(f"<{len(probes)}Q", *probes)
    return data.ljust(4096, b"\0")


def arm_answers(at, probes):
    """PAR_EL1 of each address, by four kinds of access."""
    def ask(qemu):
        n = 4 * len(probes)
        for _ in range(100):
            with tempfile.NamedTemporaryFile() as saved:
                qemu.ask(f'pmemsave {at + ANSWERS_AT:#x} {8 * n} "{saved.name}"')
                values = struct.unpack(f"<{n}Q", saved.read())
            if values[-1] != 0:
                return [[f"{va:#x}", [f"{value:#x}" for value in values[4 * i:4 * i + 4]]]
                        for i, va in enumerate(probes)]
            time.sleep(0.1)
        raise RuntimeError("the program did not come to its end")
    return ask


# Where ppc_program() has addresses, and writes what each access ends in: two bytes, the exception's
# vector / 256 and the upper byte of DSISR or SRR1.
PPC_ROM, PPC_PROBES_AT, PPC_ANSWERS_AT, PPC_SYSTEM_CALL = 0xfff00000, 0xfff01000, 0x8000, 12


def ppc_access(kind):
    """One access; every way on leads to `next`, in real mode and as the supervisor."""
    name = kind.replace(" ", "_")
    user = 0x4000 if kind.startswith("U") else 0
    access = {"read": "lbz 5, 0(4)\nsc", "write": "stb 0, 0(4)\nsc", "fetch": "rfi"}[kind.split()[1]]
    if access == "rfi":  # there is zeros, which are no instruction: it comes back by an exception
        enter = f"rlwinm 5, 4, 0, 0, 29\nmtsrr0 5\nli 5, {user | 0x60}\nmtsrr1 5"
    else:
        enter = f"li 5, {user | 0x50}\nmtmsr 5\nisync"
    return (f"bl {name}\n{name}: mflr 12\naddi 12, 12, next_{name} - {name}\n{enter}\n{access}\n"
            f"next_{name}: stb 10, 0(21)\nsrwi 11, 11, 24\nstb 11, 1(21)\naddi 21, 21, 2\n")


def ppc_program(tree, probes, directory):
    """What a processor of the 750's kind runs after a reset, at 0xfff00100: it accesses each address
    in each way, then switches translation on and stays."""
    def move(value, register=3):
        return f"lis {register}, {value >> 16}\nori {register}, {register}, {value & 0xffff}"
    lines = []
    for vector in range(1, PPC_SYSTEM_CALL + 1):
        lines += [f".org {vector << 8}", "b start" if vector == 1 else
                  f"mfspr 11, {18 if vector == 3 else 27}\nli 10, {vector}\nmtlr 12\nblr"]
    lines += ["start:"] + [f"{move(value)}\nmtsr {i}, 3" for i, value in enumerate(tree.segments)]
    lines += [f"li 3, 0\nmtspr {bat}, 3" for bat in range(528, 544, 2)]  # no block of the BATs
    lines += [f"{move(tree.root)}\nmtspr 25, 3\nisync", move(PPC_PROBES_AT, 20),
              move(PPC_ANSWERS_AT, 21), f"li 22, {len(probes)}\nli 0, 0\nprobe: lwz 4, 0(20)"]
    lines += [ppc_access(kind) for kind in CAUSES]
    lines += ["addi 20, 20, 4\naddic. 22, 22, -1\nbne probe", f"{move(0x70)}\nmtmsr 3\nisync\nb ."]
    code = assemble("powerpc-none-elf", "\n".join(lines), directory)
    assert len(code) <= 4096
    return code.ljust(4096, b"\0") + b"".join(va.to_bytes(4, "big") for va in probes)


def ppc_answers(probes):
    def ask(qemu):
        n = 2 * len(CAUSES)
        with tempfile.NamedTemporaryFile() as saved:
            qemu.ask(f'pmemsave {PPC_ANSWERS_AT:#x} {n * len(probes)} "{saved.name}"')
            answers = saved.read()
        return [[f"{va:#x}", list(answers[n * i:n * i + n])] for i, va in enumerate(probes)]
    return ask


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
            qemu.wait_for_paging()
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


# Every kind of access, by the processor itself

CODE_BYTES, FRAMES_AT, FRAMES_BYTES, PARAMETERS_AT = 0x8000, 16 * M, 4 * M, 0x1f0000
ACCESSES_LAYOUT = """SECTIONS { . = 0x100000; .all : { *(.boot) *(.snippets) *(.text*) *(.rodata*)
    *(.data*) } end_of_file = .; .bss : { *(.bss*) } end_of_all = .; }"""


def accesses_program(directory):
    subprocess.run(["clang", "--target=x86_64-none-elf", "-ffreestanding", "-fno-stack-protector",
                    "-mno-red-zone", "-mno-sse", "-O1", "-c", "-o", directory / "accesses.o",
                    pathlib.Path(__file__).parent / "accesses.c"], check=True)
    (directory / "layout").write_text(ACCESSES_LAYOUT)
    subprocess.run(["ld.lld", "--oformat=binary", "-T", directory / "layout", "-e", "_start", "-o",
                    directory / "program", directory / "accesses.o"], check=True)


def rights_tree(source):
    """Random tables, but where the program is: all of its 2 MiB, and its page of snippets."""
    tree = X86Rights(Memory(4 * M, M), source)
    plain = X86(tree.memory, source)
    plain.root = tree.root
    plain.table = lambda address, level: address | 7
    plain.leaf = lambda pa, level, user=False: pa | (0x67 if user else 0x1e3)
    plain.map(0, 0, 1)
    plain.map(0x600000, 0x101000, 0, user=True)
    while len(tree.pages) < 150:
        level = source.choice((0, 0, 0, 1))
        pa = FRAMES_AT + source.randrange(FRAMES_BYTES) & -(1 << tree.shift(level))
        va = source.choice(tree.bases) + (source.randrange(1 << 22) << 12) & -(1 << tree.shift(level))
        tree.map(va, pa, level)
    return tree


def x86_accesses(name, cr0, cr4, efer, pkru):
    source = random.Random(name)
    tree = rights_tree(source)
    vas = [va + source.randrange(size) & -2 for va, size in tree.pages]
    vas = sorted(set(vas + [va + size for va, size in tree.pages[::5]]))
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        accesses_program(directory)
        (directory / "tables").write_bytes(tree.memory.bytes)
        (directory / "frames").write_bytes(b"\xcd\x30" * (FRAMES_BYTES // 2))  # int $48
        (directory / "parameters").write_bytes(
            struct.pack("<4Q2I", cr0, tree.root, cr4, efer, pkru, len(vas))
            + struct.pack(f"<{len(vas)}Q", *vas))
        command = ["qemu-system-x86_64", "-cpu", "max,phys-bits=40", "-m", "64M", "-net", "none",
                   "-kernel", str(directory / "program"), "-debugcon", f"file:{directory}/answers"]
        for what, at in (("tables", tree.memory.start), ("frames", FRAMES_AT),
                         ("parameters", PARAMETERS_AT)):
            command += ["-device", f"loader,file={directory}/{what},addr={at:#x},force-raw=on"]
        qemu = Qemu(command)
        try:
            data = b""
            for _ in range(600):
                time.sleep(0.1)
                data = (directory / "answers").read_bytes()
                if len(data) == 12 * len(vas) + 1:
                    break
            else:
                raise RuntimeError(f"{len(data)} bytes of answers\n{qemu.ask('info registers')}")
            version = qemu.send("query-version")["return"]["package"]
        finally:
            qemu.close()
    answers = struct.unpack(f"<{6 * len(vas)}H", data[:-1])
    return {"qemu": version, "start": f"{tree.memory.start:#x}",
            "arguments": ["--arch", "x86", "--cr0", f"{cr0:#x}", "--cr3", f"{tree.root:#x}", "--cr4",
                          f"{cr4:#x}", "--efer", f"{efer:#x}", "--pkru", f"{pkru:#x}", "--phys-bits",
                          "40"],
            "accesses": [[f"{va:#x}", answers[6 * i:6 * i + 6]] for i, va in enumerate(vas)],
            "memory": pack(tree.memory.bytes[:tree.memory.next - tree.memory.start])}


def riscv(kind, name, n, mode):
    source = random.Random(name)
    tree = kind(Memory(0x80200000, M), source)
    tree.map(0x80000000, 0x80000000, 0, identity=True)
    tree.fill(n)
    bits = 64 if tree.width == 8 else 32
    state = source.getstate()
    # not in the program's page: QEMU's TLB takes data from what it fetched in machine mode there
    probes = [va for va in lookups(tree, source) if va >> 12 != 0x80000]
    probes = sorted(random.Random(name + " probes").sample(probes, MAX_PROBES))
    source.setstate(state)
    satp = mode << (60 if bits == 64 else 31) | tree.root >> 12
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        code, answers_at = riscv_program(satp, bits, probes, directory)
        (directory / "code").write_bytes(code)
        (directory / "tables").write_bytes(tree.memory.bytes)
        command = [f"qemu-system-riscv{bits}", "-machine", "virt", "-m", "16M", "-bios", "none",
                   "-cpu", "rv64,svnapot=on,svpbmt=on" if bits == 64 else "rv32", "-device",
                   f"loader,file={directory}/code,addr=0x80000000,force-raw=on", "-device",
                   f"loader,file={directory}/tables,addr={tree.memory.start:#x},force-raw=on"]
        arguments = ["--arch", "riscv", "--satp", f"{satp:#x}"]
        extra = {"causes": riscv_answers(answers_at, probes)}
        if not tree.napot:
            extra["ranges"] = riscv_ranges
        return record(command, tree, source, arguments, extra)


def arm(kind, name, n, tcr):
    source = random.Random(name)
    tree = kind(Memory(0x40200000, 6 * M), source)
    wide, tree.wide = tree.wide, False
    code_at = 0x40140000  # behind the device tree
    identity = tree.leaf(code_at, 0, identity=True)
    tree.wide = wide
    leaf, table = tree.leaf, tree.table
    tree.leaf, tree.table = lambda *a, **k: identity, lambda address, level: address | 3
    tree.map(code_at, code_at, 0)
    tree.leaf, tree.table = leaf, table
    tree.fill(n)
    size = 64 - tree.va_bits
    tcr |= size | size << 16
    mair = 0xff440c0400bbff
    state = source.getstate()
    probes = sorted(random.Random(name + " probes").sample(lookups(tree, source), MAX_PROBES))
    source.setstate(state)
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        (directory / "code").write_bytes(arm_program(tree, tcr, mair, probes, code_at, directory))
        (directory / "tables").write_bytes(tree.memory.bytes)
        command = ["qemu-system-aarch64", "-machine", "virt", "-cpu", "max", "-m", "16M", "-device",
                   f"loader,file={directory}/code,addr={code_at:#x},cpu-num=0,force-raw=on",
                   "-device",
                   f"loader,file={directory}/tables,addr={tree.memory.start:#x},force-raw=on"]
        arguments = ["--arch", "arm64", "--tcr", f"{tcr:#x}", "--ttbr0", f"{tree.roots[0]:#x}",
                     "--ttbr1", f"{tree.roots[1]:#x}", "--mair", f"{mair:#x}"]
        return record(command, tree, source, arguments, {"par": arm_answers(code_at, probes)})


def ppc(name, n):
    source = random.Random(name)
    tree = Ppc32(Memory(2 * M, M), source)
    tree.map(PPC_ROM, PPC_ROM, 2)
    tree.fill(n)
    state = source.getstate()
    probes = [va for va in lookups(tree, source) if va >> 12 != PPC_ROM >> 12]
    probes = sorted(random.Random(name + " probes").sample(probes, 2 * MAX_PROBES))
    source.setstate(state)
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        (directory / "code").write_bytes(ppc_program(tree, probes, directory))
        (directory / "tables").write_bytes(tree.memory.bytes)
        command = ["qemu-system-ppc", "-machine", "g3beige", "-cpu", "750", "-m", "16M", "-net",
                   "none", "-vga", "none", "-bios", str(directory / "code"), "-device",
                   f"loader,file={directory}/code,addr={PPC_ROM:#x},force-raw=on", "-device",
                   f"loader,file={directory}/tables,addr={tree.memory.start:#x},force-raw=on"]
        arguments = ["--arch", "ppc", "--sdr1", f"{tree.root:#x}", "--segments",
                     ",".join(f"{each:#x}" for each in tree.segments)]
        return record(command, tree, source, arguments, {"exceptions": ppc_answers(probes)})


MACHINES = {
    "x86-48": lambda name: x86(X86, name, 40, cr4=0xa0, efer=0x900, with_elf=True),
    "x86-57": lambda name: x86(X86La57, name, 24, cr4=0x10a0, efer=0x900),
    "x86-pae": lambda name: x86(X86Pae, name, 60, cr4=0xa0, efer=0x800),
    "x86-32": lambda name: x86(X86Two, name, 60, cr4=0x90),
    "accesses": lambda name: x86_accesses(name, 0x80010011, 0x20, 0x900, 0),
    "accesses-no-wp-nx": lambda name: x86_accesses(name, 0x80000011, 0x20, 0x100, 0),
    "accesses-all": lambda name: x86_accesses(name, 0x80010011, 0x700020, 0x900, 0xa4b1c6d8),
    "sv32": lambda name: riscv(Riscv32, name, 60, 1),
    "sv39": lambda name: riscv(Riscv, name, 40, 8),
    "sv48": lambda name: riscv(Riscv48, name, 40, 9),
    "sv57": lambda name: riscv(Riscv57, name, 30, 10),
    "ppc32": lambda name: ppc(name, 200),
    "arm64-4k": lambda name: arm(Arm, name, 40, 2 << 30 | 5 << 32),
    "arm64-16k": lambda name: arm(Arm16K, name, 40, 2 << 14 | 1 << 30 | 5 << 32),
    "arm64-64k": lambda name: arm(Arm64K, name, 40, 1 << 14 | 3 << 30 | 5 << 32),
    "arm64-64k-lpa": lambda name: arm(Arm64KLpa, name, 40, 1 << 14 | 3 << 30 | 6 << 32),
    "arm64-16k-lpa2": lambda name: arm(Arm16KLpa2, name, 24,
                                       2 << 14 | 1 << 30 | 6 << 32 | 1 << 59),
    "arm64-4k-lpa2": lambda name: arm(Arm4KLpa2, name, 24, 2 << 30 | 6 << 32 | 1 << 59),
}


def main():
    target = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else
                          pathlib.Path(__file__).parent / "machines")
    for name in sys.argv[2:] or MACHINES:
        result = MACHINES[name](name)
        asked = result.get("translations") or result["accesses"]
        write_fixture(target / f"{name}.json", result)
        print(f"{name}: {len(asked)} addresses")
    return 0


if __name__ == "__main__":
    sys.exit(main())
