#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`quire translate` as a user meets it, and beside recorded machines.

Usage: translate.py QUIRE SOURCE_ROOT [unittest's arguments]

tests/mmu/machines/ has the memory of emulated machines, and what QEMU said of it (tests/mmu/qemu.py).
"""
import base64
import gzip
import json
import lzma
import os
import pathlib
import random
import resource
import struct
import subprocess
import sys
import tempfile
import threading
import unittest
import xml.etree.ElementTree
import zlib

QUIRE, ROOT = os.path.abspath(sys.argv.pop(1)), os.path.abspath(sys.argv.pop(1))
PATIENCE_SECONDS = 300
MACHINES = pathlib.Path(ROOT) / "tests" / "mmu" / "machines"


def call(*arguments, **options):
    options.setdefault("text", True)
    return subprocess.run([QUIRE, "translate", *arguments], capture_output=True, check=False,
                          timeout=PATIENCE_SECONDS, **options)


def unpack(text):
    return zlib.decompress(base64.b64decode(text))


class Scratch(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="quire-translate-")
        self.addCleanup(self.directory.cleanup)

    def write(self, name, data):
        path = os.path.join(self.directory.name, name)
        with open(path, "wb") as file:
            file.write(data)
        return path


def small_machine():
    """x86-48 at 1 MiB: 0x400000 -> 0x105000 read-only user, 2 MiB at -2 GiB, a bad entry behind."""
    memory = bytearray(6 * 4096)

    def entry(table, index, value):
        struct.pack_into("<Q", memory, table * 4096 + index * 8, value)
    base = 0x100000
    entry(0, 0, base + 0x1000 | 7)
    entry(0, 511, base + 0x4000 | 3)
    entry(1, 0, base + 0x2000 | 7)
    entry(2, 2, base + 0x3000 | 7)
    entry(3, 0, base + 0x5000 | 0x8000000000000025)
    entry(4, 510, 0x40000083)      # 1 GiB
    entry(4, 511, 0x80001083 | 1 << 13)  # 1 GiB with a reserved bit
    memory[5 * 4096:5 * 4096 + 5] = b"hello"
    return bytes(memory)


class Recorded(Scratch):
    def each(self, pattern="*"):
        names = sorted(MACHINES.glob(f"{pattern}.json"))
        self.assertGreaterEqual(len(names), 3)
        for name in names:
            machine = json.loads(name.read_text())
            image = self.write("memory", unpack(machine["memory"]))
            if "start" in machine:  # a raw image; else it says itself where its bytes belong
                image += "@" + machine["start"]
            yield name.stem, machine, ["-i", image, *machine["arguments"]]


class Machines(Recorded):
    """Each recorded machine: what QEMU says, Quire says."""

    def test_translations(self):
        for name, machine, arguments in self.each():
            if "translations" not in machine:
                continue
            with self.subTest(machine=name):
                asked = "".join(va + "\n" for va, _ in machine["translations"])
                result = call(*arguments, "-", input=asked)
                self.assertEqual(result.stderr, "")
                self.assertEqual(result.returncode, 1)  # some are not mapped
                lines = [line.split() for line in result.stdout.splitlines()]
                self.assertEqual([line[0] for line in lines],
                                 [f"{int(va, 0):#x}" for va, _ in machine["translations"]])
                for line, (va, pa) in zip(lines, machine["translations"]):
                    got = None if line[1] == "-" else line[1]
                    if name.startswith("sv") and got and "r" not in line[3]:
                        got = None  # gva2gpa reads: what is for execution only fails
                    if name == "ppc32" and got and pa is None and "r" not in line[3][:3]:
                        got = None  # reads, and where that fails fetches: in segments without N
                    self.assertEqual(got, pa, (va, line))

    def mappings(self, arguments):
        result = call(*arguments, "--map", "--json")
        self.assertEqual(result.stderr, "")
        return [one for one in json.loads(result.stdout)["mappings"] if one["pa"]]

    def test_info_tlb(self):
        for name, machine, arguments in self.each():
            if "pages" not in machine:
                continue
            with self.subTest(machine=name):
                found = []
                for one in self.mappings(arguments):
                    for at in range(0, one["bytes"], one["page_bytes"]):
                        flags = one["rights"].split(",")[1].replace("-", "")
                        found.append([f"{int(one['va'], 0) + at:#x}", f"{int(one['pa'], 0) + at:#x}",
                                      flags])
                if name == "x86-32":  # of PSE-36 it shows 32 bits
                    found = [[va, f"{int(pa, 0) & 0xffffffff:#x}", flags]
                             for va, pa, flags in found]
                # and NX of a PAE entry among the address
                expected = [[va, f"{int(pa, 0) & ~(1 << 63):#x}", flags]
                            for va, pa, flags in machine["pages"]]
                self.assertEqual(sorted(found), sorted(expected))

    def test_info_mem_of_x86(self):
        for name, machine, arguments in self.each():
            if not machine.get("rights"):
                continue
            with self.subTest(machine=name):
                at = arguments.index("--cr4") + 1  # SMAP is nothing that the list knows
                arguments[at] = f"{int(arguments[at], 0) & ~(1 << 21):#x}"
                lines = self.mappings(arguments)
                self.assertEqual(sum(one["bytes"] for one in lines),
                                 sum(size for _, size, _ in machine["rights"]))
                for one in lines:
                    va = int(one["va"], 0)
                    rights = next(rights for start, size, rights in machine["rights"]
                                  if 0 <= va - int(start, 0) < size)
                    supervisor, user = one["rights"].split(",")[0].split("/")
                    self.assertEqual((user[0] == "r", supervisor[0] == "r", supervisor[1] == "w"),
                                     (rights[0] == "u", rights[1] == "r", rights[2] == "w"), one)

    def test_info_mem_of_riscv(self):
        for name, machine, arguments in self.each():
            if "ranges" not in machine:
                continue
            with self.subTest(machine=name):
                lines = self.mappings([*arguments, "--sstatus", "0x40000"])  # SUM
                self.assertEqual(sum(one["bytes"] for one in lines),
                                 sum(size for _, _, size, _ in machine["ranges"]))
                for one in lines:
                    va = int(one["va"], 0)
                    start, pa, _, flags = next(
                        each for each in machine["ranges"] if 0 <= va - int(each[0], 0) < each[2])
                    self.assertEqual(int(one["pa"], 0) - int(pa, 0), va - int(start, 0))
                    rights, letters = one["rights"].split(",")[:2]
                    supervisor, user = rights.split("/")
                    own = user if flags[3] == "u" else supervisor
                    self.assertEqual(own, flags[:3])
                    self.assertEqual(letters[:3].lower(), flags[4:7], one)

    def test_a_core_file_of_qemu(self):
        machine = json.loads((MACHINES / "x86-48.json").read_text())
        image = self.write("core", unpack(machine["elf"]))
        asked = "".join(va + "\n" for va, _ in machine["translations"])
        # control registers are in the file
        result = call("-i", image, "--efer", "0xd00", "-", input=asked)
        got = [line.split()[1] for line in result.stdout.splitlines()]
        self.assertEqual(got, [pa or "-" for _, pa in machine["translations"]])


class EveryAccess(Recorded):
    """What a processor of QEMU's did at each address: page faults and their error codes."""

    def test_accesses(self):
        codes = set()
        for name, machine, arguments in self.each("accesses*"):
            vas = "".join(va + "\n" for va, _ in machine["accesses"])
            for column in range(6):
                access, options = "rwx"[column % 3], ["--user"] if column >= 3 else []
                with self.subTest(machine=name, access=access, options=options):
                    result = call(*arguments, "--json", "--access", access, *options, "-", input=vas)
                    answers = json.loads(result.stdout)["answers"]
                    self.assertEqual(len(answers), len(machine["accesses"]))
                    for answer, (_, expected) in zip(answers, machine["accesses"]):
                        got, wanted = int(answer.get("error_code", "0xffff"), 0), expected[column]
                        if wanted != 0xffff and wanted & 8:
                            wanted |= 1  # QEMU 7.2 leaves P clear with RSVD; SDM 3A, 4.7: never
                        self.assertEqual(got, wanted, answer)
                        self.assertEqual(answer["pa"] is None, got != 0xffff)
                        codes.add(got)
        self.assertGreaterEqual(len(codes), 16)


class TranslationByInstruction(Recorded):
    """AArch64's AT and what it leaves in PAR_EL1 (DDI 0487, D19.2.115): address, memory type, faults."""
    TYPES = {0xff: "wb", 0xbb: "wt", 0x44: "nc", 0x00: "dev", 0x04: "dev", 0x0c: "dev"}
    FAULTS = {0: ("address-size",), 1: ("not-present", "not-canonical", "reserved-bit"),
              2: ("not-accessed",), 3: ("no-read", "no-write")}

    def check(self, par, answer):
        if par & 1 == 0:
            self.assertIsNotNone(answer["pa"], answer)
            self.assertEqual(int(answer["pa"], 0) >> 12, par >> 12 & (1 << 40) - 1, answer)
            self.assertEqual(answer["rights"].split(",")[2], self.TYPES[par >> 56], answer)
            return "mapped"
        status = par >> 1 & 63
        self.assertIsNone(answer["pa"], (hex(par), answer))
        if status == 0b101011:  # of LPA2's level -1
            kind, level = 1, -1
        else:
            kind, level = status >> 2, status & 3
        self.assertIn(answer["reason"], self.FAULTS[kind], (hex(par), answer))
        if answer["reason"] != "not-canonical":
            self.assertEqual(answer["level"], f"level {level}", (hex(par), answer))
        return answer["reason"]

    def test_at(self):
        seen = set()
        for name, machine, arguments in self.each("arm64-*"):
            vas = "".join(va + "\n" for va, _ in machine["par"])
            for column, access in enumerate(("r", "w", "r --user", "w --user")):
                with self.subTest(machine=name, access=access):
                    result = call(*arguments, "--json", "--access", *access.split(), "-", input=vas)
                    answers = json.loads(result.stdout)["answers"]
                    self.assertEqual(len(answers), len(machine["par"]))
                    for answer, (_, values) in zip(answers, machine["par"]):
                        seen.add(self.check(int(values[column], 0), answer))
        self.assertLessEqual({"mapped", "not-present", "not-canonical", "not-accessed", "no-read",
                              "no-write"}, seen)


    def test_granules_by_name(self):
        """By its name a format has 48 bits, as the registers would say."""
        for name, machine, arguments in self.each("arm64-*k"):
            root, vas = arguments[arguments.index("--ttbr0") + 1], []
            tcr = int(arguments[arguments.index("--tcr") + 1], 0) & ~0x3f003f | 0x100010
            for va, _ in machine["translations"]:
                vas.append(f"{int(va, 0) & (1 << 48) - 1:#x}")
            by_name, by_registers = (
                call(*arguments[:2], *how, "--map").stdout + call(*arguments[:2], *how, *vas).stdout
                for how in (["--mode", name.replace("k", "K"), "--root", root],
                            ["--arch", "arm64", "--tcr", f"{tcr:#x}", "--ttbr0", root, "--ttbr1", root]))
            self.assertEqual(by_name.replace(",wb", ",-"), by_registers.replace(",wb", ",-"))
            self.assertGreater(len(by_name.splitlines()), len(vas) + 10)


class TrapsOfRiscv(Recorded):
    """Loads, stores and fetches as S and U (SUM clear): page faults. What comes after translation, an
    access fault or bytes that are no instruction, tells that it went through."""
    NO_FAULT, FETCH_FAULT, ILLEGAL, LOAD_FAULT, STORE_FAULT = 0, 1, 2, 5, 7
    PAGE_FAULTS = {"r": 13, "w": 15, "x": 12}
    PASSES = {"r": (NO_FAULT, LOAD_FAULT), "w": (NO_FAULT, STORE_FAULT), "x": (FETCH_FAULT, ILLEGAL)}
    COLUMNS = ("r", "w", "r --user", "w --user", "x", "x --user")

    def test_causes(self):
        for name, machine, arguments in self.each("sv*"):
            vas = "".join(va + "\n" for va, _ in machine["causes"])
            seen = set()
            for column, access in enumerate(self.COLUMNS):
                with self.subTest(machine=name, access=access):
                    result = call(*arguments, "--access", *access.split(), "-", input=vas)
                    lines = result.stdout.splitlines()
                    self.assertEqual(len(lines), len(machine["causes"]))
                    passes, fault = self.PASSES[access[0]], self.PAGE_FAULTS[access[0]]
                    for line, (_, causes) in zip(lines, machine["causes"]):
                        self.assertIn(causes[column], (*passes, fault))
                        self.assertEqual(line.split()[1] == "-", causes[column] == fault, line)
                        seen.add((access, causes[column] == fault))
            self.assertEqual(len(seen), 12, name)


class ExceptionsOfPowerPc(Recorded):
    """Loads, stores and fetches as supervisor and user: DSI and ISI, with why. What comes after
    translation, a system call or an instruction that is none, tells that it went through."""
    DSI, ISI, PROGRAM, SYSTEM_CALL = 3, 4, 7, 12
    NO_MATCH, PROTECTION, STORE, NO_EXECUTE = 0x40, 0x08, 0x02, 0x10
    COLUMNS = ("r", "w", "r --user", "w --user", "x", "x --user")

    def wanted(self, access, reason, may_read, is_n):
        """What the processor raises for Quire's reason, in a segment with N or without."""
        if access != "x":
            status = {"no-match": self.NO_MATCH, "no-read": self.PROTECTION,
                      "no-write": self.PROTECTION}.get(reason)
            return (self.DSI, status | (self.STORE if access == "w" else 0)) if status else (
                self.SYSTEM_CALL, 0)
        if is_n and reason == "no-match":
            return self.ISI, self.NO_EXECUTE  # it does not look for an entry then
        if reason == "no-execute" and not may_read and not is_n:
            return None  # QEMU looks at the segment's N alone (PEM, 7.5.4: and at the key, as reading)
        status = {"no-match": self.NO_MATCH, "no-execute": self.NO_EXECUTE}.get(reason)
        return (self.ISI, status) if status else (self.PROGRAM, 0)

    def test_exceptions(self):
        machine, arguments = next((machine, arguments) for name, machine, arguments in
                                  self.each("*32") if name == "ppc32")
        vas = "".join(va + "\n" for va, _ in machine["exceptions"])
        segments = [int(each, 0) for each in arguments[-1].split(",")]
        reasons, seen = {}, set()
        for column, access in enumerate(self.COLUMNS):
            result = call(*arguments, "--access", *access.split(), "-", input=vas)
            found = [line.split() for line in result.stdout.splitlines()]
            self.assertEqual(len(found), len(machine["exceptions"]))
            reasons[access] = [line[2] if line[1] == "-" else None for line in found]
            may_read = [each is None for each in reasons[access.replace("x", "r")
                                                         if access[0] == "x" else access]]
            for (va, got), reason, readable in zip(machine["exceptions"], reasons[access], may_read):
                is_n = segments[int(va, 0) >> 28] >> 28 & 1 != 0
                wanted = self.wanted(access[0], reason, readable, is_n)
                if wanted is not None:
                    self.assertEqual(tuple(got[2 * column:2 * column + 2]), wanted, (va, access))
                    seen.add((access, reason))
        self.assertEqual(len(seen), 18)  # each access is let through, has no entry, is refused


class Linux(Recorded):
    """Kernels that ran under QEMU: what Linux said of its own pages, Quire says of their tables."""

    def each(self, pattern="linux-*"):
        yield from super().each(pattern)

    @staticmethod
    def answers(arguments, addresses):
        result = call(*arguments, "-", input="".join(va + "\n" for va in addresses))
        return [line.split()[1:] for line in result.stdout.splitlines()], result.stderr

    def test_pagemap(self):
        for name, machine, arguments in self.each():
            with self.subTest(machine=name):
                pages = machine["pagemap"]
                found, errors = self.answers(arguments, [va for va, _, _ in pages])
                self.assertEqual((len(found), errors), (len(pages), ""))
                self.assertGreater(sum(rights == "rw" for _, _, rights in pages), 40)
                for answer, (va, pa, rights) in zip(found, pages):
                    if pa is None:
                        self.assertEqual(answer, ["-", "not-present"], va)
                    elif rights == "--" and answer[0] == "-":  # PROT_NONE: Linux's, not the MMU's
                        self.assertEqual(answer[1], "not-present", va)
                    else:
                        self.assertEqual(answer[0], pa, va)

    def test_what_the_program_could_read_and_write(self):
        for name, machine, arguments in self.each():
            if "pkru" in machine:
                arguments = [*arguments, "--pkru", machine["pkru"]]
            for access in "rw":
                with self.subTest(machine=name, access=access):
                    found, _ = self.answers([*arguments, "--access", access, "--user"],
                                            [va for va, _, _ in machine["pagemap"]])
                    reasons = set()
                    for answer, (va, pa, rights) in zip(found, machine["pagemap"]):
                        self.assertEqual(answer[0], pa if access in rights else "-", va)
                        reasons.add(answer[1])
                    self.assertEqual("protection-key" in reasons, "pkru" in machine)
                    self.assertEqual("no-write" in reasons, access == "w")

    def test_where_the_kernel_is(self):
        for name, machine, arguments in self.each():
            with self.subTest(machine=name):
                result = call(*arguments, machine["text"])
                self.assertEqual(result.stdout.split()[:2], [machine["text"], machine["code"]])
                supervisor, user = result.stdout.split()[3].split(",")[0].split("/")
                self.assertEqual((supervisor[0], user[:2]), ("r", "--"))

    def test_words(self):
        """Bytes by virtual address, across pages that lie anywhere."""
        for name, machine, arguments in self.each():
            with self.subTest(machine=name):
                first = int(machine["words"], 0)
                result = call(*arguments, "--read", f"{first:#x}:12K")
                expected = "".join(f"{va >> 4:015x}\n" for va in range(first, first + 12288, 16))
                self.assertEqual((result.stdout, result.stderr), (expected, ""))

    def test_reverse(self):
        for name, machine, arguments in self.each():
            with self.subTest(machine=name):
                frames = {}
                for va, pa, rights in machine["pagemap"]:
                    if "r" in rights:
                        frames.setdefault(pa, []).append(va)
                several = max(frames, key=lambda pa: len(frames[pa]))
                self.assertGreaterEqual(len(frames[several]), 2)
                for pa in [several, *list(frames)[::9]]:
                    result = call(*arguments, "--reverse", pa)
                    found = {line.split()[1] for line in result.stdout.splitlines()}
                    self.assertLessEqual(set(frames[pa]), found)


class Roots(Scratch):
    def test_a_kernel_s_root_comes_first(self):
        """2 MiB that map themselves at -2 GiB, among pages of noise and of text."""
        memory = bytearray(random.Random(1).randbytes(1 << 20) + b"quire translate\n" * (1 << 16))
        root, middle, last = 0x150000, 0x43000, 0x7000
        for table, index, value in ((root, 511, middle | 0x67), (middle, 510, last | 0x67),
                                    (last, 0, 0xe3), (last, 1, 0x2000e3)):
            if memory[table + 8:table + 16] != bytes(8):
                memory[table:table + 4096] = bytes(4096)
            struct.pack_into("<Q", memory, table + 8 * index, value)
        image = self.write("memory", memory)
        for narrow in ([], ["--mode", "x86-48"], ["--mode", "X86-48"]):
            result = call("-i", image, "--find-roots", "--json", *narrow)
            best = json.loads(result.stdout)["roots"][0]
            self.assertEqual((best["root"], best["mode"], best["maps_itself"]),
                             (f"{root:#x}", "x86-48", True))
        result = call("-i", image, "--find-roots")
        self.assertEqual(result.stdout.splitlines()[1].split()[:2], [f"{root:#x}", "x86-48"])

    def test_arm64_of_each_kind(self):
        """Linux's granules and address bits: a table that maps all memory, and devices far away."""
        source = random.Random(2)
        for kind, shift, bits in (("arm64", 12, 48), ("arm64-39", 12, 39), ("arm64-16k", 14, 48),
                                  ("arm64-16k-47", 14, 47), ("arm64-64k", 16, 48), ("arm64-64k-42", 16, 42)):
            granule, start = 1 << shift, 0x40000000
            levels = -(-(bits - shift) // (shift - 3))
            # tables at granules 3, 4 ... of 8, all memory mapped from its index 1 of the last table on
            memory = bytearray(source.randbytes(8 * granule))
            for level in range(levels):
                memory[(3 + level) * granule:(4 + level) * granule] = bytes(granule)
            for level in range(levels - 1):
                index = (1 << bits - 1 >> shift + (levels - 1 - level) * (shift - 3)
                         if level == 0 else 0)
                struct.pack_into("<Q", memory, (3 + level) * granule + 8 * index,
                                 start + (4 + level) * granule | 3)
            for i in range(8):
                struct.pack_into("<Q", memory, (2 + levels) * granule + 8 * (1 + i),
                                 start + i * granule | 0x703)
            for i in range(200):  # a window of PCIe
                struct.pack_into("<Q", memory, (2 + levels) * granule + 8 * (20 + i),
                                 0x4000000000 + i * granule | 0x703)
            arguments = ["-i", self.write("memory", memory) + f"@{start:#x}", "--mode", kind]
            with self.subTest(kind=kind):
                result = call(*arguments, "--find-roots", "--json")
                best = json.loads(result.stdout)["roots"][0]
                root = start + 3 * granule
                self.assertEqual((best["root"], best["mode"], best["maps_itself"]),
                                 (f"{root:#x}", kind, True))
                self.assertEqual(best["bad_entries"], 0)
                result = call(*arguments[:2], "--find-roots", "--json")  # among all
                self.assertIn((f"{root:#x}", kind),
                              [(one["root"], one["mode"]) for one in json.loads(result.stdout)["roots"]])
                va = (1 << bits - 1) + 4 * granule + 5
                result = call(*arguments, "--root", best["root"], f"{va:#x}")
                self.assertEqual(result.stdout.split()[1], f"{root + 5:#x}")

    def test_all_modes_at_once(self):
        """The best of what each alone finds; also a root of 64 KiB of which the first 60 are a hole."""
        memory = bytearray(1 << 21)
        for table, index, value in ((0x150000, 511, 0x43067), (0x43000, 510, 0x7067), (0x7000, 0, 0xe3),
                                    (0x7000, 1, 0x2000e3),  # x86-48's
                                    (0x80000, 8191, 0x90003), (0x90000, 8191, 0x80703)):  # arm64-64k-42's
            struct.pack_into("<Q", memory, table + 8 * index, value)
        image = os.path.join(self.directory.name, "sparse")
        with open(image, "wb") as file:
            file.truncate(len(memory))
            for at in range(0, len(memory), 4096):
                if any(memory[at:at + 4096]):
                    os.pwrite(file.fileno(), memory[at:at + 4096], at)
        modes = ["x86-48", "x86-57", "sv39", "sv48", "sv57", "arm64", "arm64-39", "arm64-16k", "arm64-16k-47",
                 "arm64-64k", "arm64-64k-42"]
        every = [root for mode in modes
                 for root in json.loads(call("-i", image, "--find-roots", "--json", "--mode", mode).stdout)["roots"]]
        every.sort(key=lambda root: (-root["score"], -root["pages"], int(root["root"], 16),
                                     modes.index(root["mode"])))
        found = json.loads(call("-i", image, "--find-roots", "--json").stdout)["roots"]
        self.assertEqual(found, every[:16])
        for arch, begin, other in (("x86", "x86", "x86-pae"), ("riscv", "sv", "sv32"), ("arm64", "arm64", None)):
            named = [root for root in every if root["mode"].startswith(begin)]
            for root in json.loads(call("-i", image, "--find-roots", "--json", "--arch", arch).stdout)["roots"]:
                self.assertTrue(root["mode"].startswith(begin), root)
                if root["mode"] not in (other, "x86-32"):
                    self.assertIn(root, named)
        for root, mode in (("0x150000", "x86-48"), ("0x80000", "arm64-64k-42")):
            self.assertIn((root, mode), [(one["root"], one["mode"]) for one in found])

    def test_none(self):
        image = self.write("memory", bytes(65536))
        result = call("-i", image, "--find-roots")
        self.assertEqual((result.returncode, len(result.stdout.splitlines())), (1, 1))


class Answers(Scratch):
    def setUp(self):
        super().setUp()
        self.image = self.write("memory", small_machine()) + "@0x100000"
        self.arguments = ["-i", self.image, "--mode", "x86-48", "--root", "0x100000"]

    def check(self, arguments, output, status=0):
        result = call(*self.arguments, *arguments)
        self.assertEqual((result.stdout, result.stderr, result.returncode), (output, "", status))

    def test_lines(self):
        self.check(["0x400123", "0xffffffff80001000", "0xffffffffc0000000", "0x800000000000", "0"],
                   "0x400123 0x105123 4K r--/r--,-A--,wb\n"
                   "0xffffffff80001000 0x40001000 1G rwx/---,----,wb\n"
                   "0xffffffffc0000000 - reserved-bit\n"
                   "0x800000000000 - not-canonical\n"
                   "0x0 - not-present\n", 1)

    def test_access(self):
        self.check(["0x400000", "--access", "r", "--user"], "0x400000 0x105000 4K r--/r--,-A--,wb\n")
        self.check(["0x400000", "--access", "w"], "0x400000 - no-write\n", 1)
        self.check(["0x400000", "--access", "x"], "0x400000 - no-execute\n", 1)
        self.check(["0xffffffff80000000", "--access", "r", "--user"],
                   "0xffffffff80000000 - no-read\n", 1)

    def test_explain(self):
        result = call(*self.arguments, "--explain", "0x400123", "0xffffffffc0000000", "--access", "r")
        lines = result.stdout.splitlines()
        self.assertEqual(lines[0], "0x400123  (x86-48)")
        self.assertEqual([line.split()[0] for line in lines[2:6]], ["PML4E", "PDPTE", "PDE", "PTE"])
        self.assertIn("0x8000000000105025  P R- U A NX  -> page 0x105000", lines[5])
        self.assertEqual(lines[7], "  = 0x105123  4K  r--/r--,-A--,wb")
        self.assertEqual(lines[-1], "  = reserved-bit: a reserved bit or encoding is in the entry "
                                    "(PDPTE 0x80003083); #PF, error code 0x9")

    def test_map(self):
        self.check(["--map"],
                   "0x400000-0x400fff 0x105000-0x105fff 4K r--/r--,-A--,wb\n"
                   "0xffffffff80000000-0xffffffffbfffffff 0x40000000-0x7fffffff 1G "
                   "rwx/---,----,wb\n"
                   "0xffffffffc0000000-0xffffffffffffffff - reserved-bit PDPTE 0x80003083\n")
        self.check(["--map", "--range", "0-0x10000000"],
                   "0x400000-0x400fff 0x105000-0x105fff 4K r--/r--,-A--,wb\n")
        self.check(["--map", "--range", "0-0x1000"], "", 1)

    def test_a_picture(self):
        path = os.path.join(self.directory.name, "map.svg")
        self.assertEqual(call(*self.arguments, "--map", "--svg", path).returncode, 0)
        root = xml.etree.ElementTree.parse(path).getroot()
        self.assertTrue(root.tag.endswith("svg"))
        shapes = sum(1 for each in root.iter() if each.tag.rpartition("}")[2] == "path")
        self.assertGreater(shapes, 6)

    def test_reverse(self):
        self.check(["--reverse", "0x105010", "0x40000000", "0x3000"],
                   "0x105010 0x400010 4K r--/r--,-A--,wb\n"
                   "0x40000000 0xffffffff80000000 1G rwx/---,----,wb\n"
                   "0x3000 - not-mapped\n", 1)

    def test_read(self):
        self.check(["--read", "0x400000:5"], "hello")
        path = os.path.join(self.directory.name, "bytes")
        self.check(["--read", "0x400000:4K", "-o", path], "")
        with open(path, "rb") as file:
            self.assertEqual(file.read(), b"hello" + bytes(4091))
        result = call(*self.arguments, "--read", "0x400000:4097")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("0x401000: not-present", result.stderr)
        result = call(*self.arguments, "--read", "0xffffffffffffff00:4096")
        self.assertEqual((result.returncode, result.stdout), (125, ""))
        self.assertIn("its end is beyond the last address", result.stderr)
        result = call(*self.arguments, "--read", "0xffffffff80000000:4")
        self.assertIn("physical address 0x40000000, which is not in the image", result.stderr)

    def test_json(self):
        result = call(*self.arguments, "--json", "--explain", "0x400123", "0")
        answers = json.loads(result.stdout)["answers"]
        self.assertEqual(answers[0]["pa"], "0x105123")
        self.assertEqual((answers[0]["page_bytes"], answers[0]["level"]), (4096, "PTE"))
        self.assertEqual([step["index"] for step in answers[0]["steps"]], [0, 0, 2, 0])
        self.assertEqual((answers[1]["pa"], answers[1]["reason"]), (None, "not-present"))
        result = call(*self.arguments, "--json", "--reverse", "0x105010")
        self.assertEqual(json.loads(result.stdout)["frames"][0]["mapped_at"][0]["va"], "0x400010")

    def test_standard_input(self):
        result = call(*self.arguments, "-", input="# these\n0x400123  # one\n\n4194304\n")
        self.assertEqual([line.split()[:2] for line in result.stdout.splitlines()],
                         [["0x400123", "0x105123"], ["0x400000", "0x105000"]])
        result = call(*self.arguments, "-", input="0x400123\nnonsense\n")
        self.assertEqual(result.returncode, 125)
        self.assertEqual(len(result.stdout.splitlines()), 1)
        self.assertIn("line 2 of standard input is no address: 'nonsense'", result.stderr)

    def test_each_line_is_answered_when_it_is_written(self):
        """Who writes an address and waits gets its answer."""
        with subprocess.Popen([QUIRE, "translate", *self.arguments, "-"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True) as process:
            watch = threading.Timer(PATIENCE_SECONDS, process.kill)
            watch.start()
            for va, pa in (("0x400123", "0x105123"), ("0x400456", "0x105456")):
                process.stdin.write(va + "\n")
                process.stdin.flush()
                self.assertEqual(process.stdout.readline().split()[:2], [va, pa])
            process.stdin.close()
            self.assertEqual(process.wait(), 0)
            watch.cancel()

    def test_long_standard_input(self):
        """Lines that end anywhere in what is read at once, and the last one without an end."""
        many = [0x400000 + i % 4096 for i in range(40000)]
        text = "".join(f"{va:#x}{' ' * (i % 7)}\n" for i, va in enumerate(many)) + "0x400fff"
        result = call(*self.arguments, "-", input=text)
        self.assertEqual([line.split()[1] for line in result.stdout.splitlines()],
                         [f"{va - 0x400000 + 0x105000:#x}" for va in many] + ["0x105fff"])
        result = call(*self.arguments, "-", input="0x400000\n" + "1" * 70000 + "\n")
        self.assertEqual((result.returncode, len(result.stdout.splitlines())), (125, 1))
        self.assertIn("behind line 1: the line is too long", result.stderr)

    def test_tlb(self):
        addresses = "0x400000\n0x400001\n0x400002\n0xffffffff80000000\n" * 10
        result = call(*self.arguments, "--json", "--tlb", "l1:4x4,walk:4,fifo", "-", input=addresses)
        tlb = json.loads(result.stdout)["tlb"]
        self.assertEqual((tlb["lookups"], tlb["level1_hits"], tlb["walks"]), (40, 38, 2))
        self.assertEqual((tlb["entries_read"], tlb["entries_saved"]), (6, 0))
        result = call(*self.arguments, "--tlb", "typical", "0x400000")
        self.assertIn("# tlb: 1 lookups", result.stdout)

    def test_base_and_limit(self):
        result = call("--mode", "base-limit", "--base", "0x1000", "--limit", "16", "15", "16")
        self.assertEqual(result.stdout, "0xf 0x100f - rwx/rwx,----,-\n0x10 - out-of-bounds\n")


class Images(Scratch):
    def lime(self, *ranges):
        return b"".join(struct.pack("<IIQQQ", 0x4c694d45, 1, start, start + len(data) - 1, 0) + data
                        for start, data in ranges)

    def test_lime(self):
        memory = small_machine()
        image = self.write("memory.lime", self.lime((0x1000, bytes(100)), (0x100000, memory)))
        result = call("-i", image, "--mode", "x86-48", "--root", "0x100000", "0x400000")
        self.assertEqual(result.stdout.split()[1], "0x105000")

    def test_several_raw_ranges(self):
        memory = small_machine()
        one = self.write("a", memory[:8192]) + "@0x100000"
        other = self.write("b", memory[8192:]) + "@0x102000"
        arguments = ["--mode", "x86-48", "--root", "0x100000", "0x400000"]
        self.assertEqual(call("-i", other, "-i", one, *arguments).stdout.split()[1], "0x105000")
        result = call("-i", one, *arguments)
        self.assertEqual(result.stdout, "0x400000 - outside-image\n")
        result = call("-i", one, "-i", one, *arguments)
        self.assertEqual(result.returncode, 125)
        self.assertIn("overlaps another range at physical address 0x100000", result.stderr)

    def test_cut_files(self):
        image = self.write("cut.lime", self.lime((0x100000, small_machine()))[:-8192 + 100])
        arguments = ["-i", image, "--mode", "x86-48", "--root", "0x100000"]
        result = call(*arguments, "0x400000", "0xffffffff80000000")
        self.assertEqual(result.stdout.splitlines()[0].split()[1], "0x105000")
        self.assertEqual(result.stdout.splitlines()[1], "0xffffffff80000000 - outside-image")
        self.assertIn("cut.lime: the file is cut off at byte 16516; 0x1f9c bytes of memory lack, the "
                      "first at physical address 0x104064", " ".join(result.stderr.split()))
        result = call(*arguments, "--read", "0x400000:8")
        self.assertIn("where the image's file is cut off", result.stderr)
        result = call("-i", self.write("head", self.lime((0, b"x"))[:20]), "--find-roots")
        self.assertEqual(result.returncode, 125)
        self.assertIn("the header at byte 0 is cut off at byte 20", result.stderr)

    def test_where_a_raw_file_begins(self):
        arguments = ["--mode", "x86-48", "--root", "1048576", "0x400000"]
        memory = self.write("memory", small_machine())
        for start in ("@0x100000", "@1048576", "@1M"):
            self.assertEqual(call("-i", memory + start, *arguments).stdout.split()[1], "0x105000")
        named = self.write("memory@5", bytes(0x100000) + small_machine())
        self.assertEqual(call("-i", named, *arguments).stdout.split()[1], "0x105000")

    def test_holes(self):
        """Of a sparse file only what is there is looked at."""
        sparse = self.write("memory", b"")
        with open(sparse, "r+b") as file:
            file.truncate(16 << 30)
            file.seek(3 << 20)
            file.write(small_machine())
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = call("-i", sparse, "--mode", "x86-48", "--find-roots")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.assertEqual(result.stderr, "")
        self.assertLess(after.ru_minflt - before.ru_minflt, 20000)  # of 4 million pages
        self.assertLess(after.ru_majflt - before.ru_majflt, 20000)

    def test_foreign_files(self):
        """Dumps that can't be mapped are not taken for raw memory; but who insists gets that."""
        for head, name in ((b"DISKDUMP", "a diskdump of Linux 2.6"), (b"PAGEDU64", "a Windows crash dump"),
                           (b"AVML", "a compressed LiME file"),
                           (gzip.compress(b"x"), "compressed by gzip"),
                           (lzma.compress(b"x"), "compressed by xz"),
                           (b"\x28\xb5\x2f\xfd", "compressed by zstd")):
            with self.subTest(name=name):
                arguments = ["-i", self.write("dump", head + bytes(8192)), "--mode", "x86-48",
                             "--root", "0x1000", "0"]
                result = call(*arguments)
                self.assertEqual((result.returncode, result.stdout), (125, ""))
                self.assertIn(f"it is {name}, which can't be mapped", result.stderr)
                result = call(*arguments, "--format", "raw")
                self.assertEqual((result.stdout, result.stderr), ("0x0 - not-present\n", ""))

    def core(self, *notes):
        """An ELF core of x86-64 with small_machine() at 1 MiB; notes: (name, contents)."""
        data = b"".join(struct.pack("<III", len(name) + 1, len(contents), 0)
                        + (name + b"\0").ljust(len(name) + 4 & -4, b"\0")
                        + contents.ljust(len(contents) + 3 & -4, b"\0") for name, contents in notes)
        memory, at = small_machine(), 64 + 2 * 56
        return (b"\x7fELF\x02\x01\x01" + bytes(9)
                + struct.pack("<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
                + struct.pack("<IIQQQQQQ", 4, 0, at, 0, 0, len(data), 0, 0)
                + struct.pack("<IIQQQQQQ", 1, 0, at + len(data), 0, 0x100000, len(memory), 0, 0)
                + data + memory)

    def test_vmcoreinfo(self):
        """kdump notes no CR3, but where the kernel and its tables are."""
        for symbol, base, levels, mode in ((0xffffffff8a610000, 0x100000 - 0xa610000, 0, "x86-48"),
                                           (0xffffffff80100000, 0, 1, "x86-57")):
            info = (f"OSRELEASE=6.1\nSYMBOL(swapper_pg_dir)={symbol:x}\nNUMBER(phys_base)={base}\n"
                    f"NUMBER(pgtable_l5_enabled)={levels}\n").encode()
            image = self.write("vmcore", self.core((b"CORE", bytes(40)), (b"VMCOREINFO", info)))
            result = call("-i", image, "--json", "0x400123")
            self.assertEqual((result.stderr, json.loads(result.stdout)["mode"]), ("", mode))
            if levels == 0:
                self.assertEqual(json.loads(result.stdout)["answers"][0]["pa"], "0x105123")
        for info in (b"", b"SYMBOL(swapper_pg_dir)", b"NUMBER(phys_base)=0\nSYMBOL(swapper_pg_dir)="):
            result = call("-i", self.write("vmcore", self.core((b"VMCOREINFO", info))), "0x400123")
            self.assertEqual((result.returncode, result.stdout), (125, ""))
            self.assertIn("which machine?", result.stderr)

    def test_damaged_core_files(self):
        head = b"\x7fELF\x02\x01\x01" + bytes(9)
        for data, message in (
                (head, "the ELF header is cut off at byte 16"),
                (head + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0),
                 "it is an ELF file, but no core file"),
                (head + struct.pack("<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0),
                 "the 1 program headers at byte 64 are cut off at byte 64"),
                (head + struct.pack("<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, 0, 0, 0, 0),
                 "the core file holds no memory")):
            with self.subTest(message=message):
                result = call("-i", self.write("core", data), "--find-roots")
                self.assertEqual(result.returncode, 125)
                self.assertIn(message, result.stderr)


class Refusals(Scratch):
    def test_command_line(self):
        image = self.write("memory", small_machine()) + "@0x100000"
        mode = ["--mode", "x86-48", "--root", "0x100000"]
        for arguments, message in (
                ([], "which memory? --image FILE[@PHYS] names it"),
                (["-i", image], "which addresses?"),
                (["-i", image, "0"], "which machine?"),
                (["-i", image, *mode, "zero"], "address zero: that is no number"),
                (["-i", image, image.split("@")[0], *mode],
                 "is a file, and no address: each image has an --image of its own"),
                (["-i", image, "--mode", "x86-48", "--mode", "x86", "0"], "--mode x86: it is one of"),
                (["-i", image, "--mode", "x86", "0"], "--mode x86: it is one of"),
                (["-i", image, "--find-roots", "--mode", "inverted"], "--find-roots looks for trees of tables"),
                (["-i", image, "--find-roots", "--mode", "base-limit"], "--find-roots looks for trees of tables"),
                (["-i", image, "--find-roots", "--mode", "bare"], "--find-roots looks for trees of tables"),
                (["-i", image, "--find-roots", "--arch", "ppc"], "those of x86, riscv and arm64"),
                (["-i", image, "--arch", "mips", "0"], "--arch mips: it is x86, riscv, arm64 or ppc"),
                (["-i", image, "--arch", "x86", "0"], "the register --cr3 is missing"),
                (["-i", image, "--arch", "riscv", "--satp", "0x7000000000000000", "0"],
                 "select no mode"),
                (["-i", image, "--mode", "sv39", "0"], "--mode sv39: where is its first table?"),
                (["-i", image, *mode, "--map", "0"], "take no addresses"),
                (["-i", image, *mode, "--map", "--reverse", "0"], "give one of them"),
                (["-i", image, *mode, "--range", "0-1", "0"], "--range is for --map and --reverse"),
                (["-i", image, *mode, "--svg", "x", "0"], "--svg draws what --map lists"),
                (["-i", image, *mode, "--user", "0"], "--user: which access?"),
                (["-i", image, *mode, "--read", "5"], "there is no ':'"),
                (["-i", image, *mode, "--tlb", "l3:4x4", "0"], "'l3:4x4' can't be understood"),
                (["-i", image, *mode, "--tlb", "l2:4x4", "0"], "it needs an array of level 1"),
                (["-i", "/nonexistent", *mode, "0"], "cannot use the image /nonexistent: No such"),
                (["-i", ROOT, *mode, "0"], "it is no regular file"),
                (["-i", image, "--format", "lime", *mode, "0"], "leave out @0x100000"),
                (["-i", image, *mode, "--satp", "1", "0"], "--satp goes with --arch riscv"),
                (["-i", image, *mode, "--cr4", "1", "0"], "--cr4 goes with --arch x86"),
                (["-i", image, "--satp", "1", "0"], "--satp goes with --arch riscv"),
                (["-i", image, "--arch", "riscv", "--satp", "0", "--root", "0", "0"],
                 "--root goes with --mode NAME"),
                (["-i", image, *mode, "--limit", "1", "0"], "--limit goes with --mode base-limit"),
                (["-i", image, *mode, "--phys-bits", "99", "0"], "--phys-bits 99: machines have 20"),
                (["-i", image, *mode, "--phys-bits", "25", "0"], "x86 has 32 to 52")):
            with self.subTest(arguments=arguments):
                result = call(*arguments)
                self.assertEqual((result.returncode, result.stdout), (125, ""))
                self.assertIn(message, " ".join(result.stderr.split()))


if __name__ == "__main__":
    unittest.main(verbosity=1)
