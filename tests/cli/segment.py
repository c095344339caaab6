#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`quire segment` as a user meets it, and beside a recorded processor.

Usage: segment.py QUIRE SOURCE_ROOT [unittest's arguments]

tests/mmu/segments.json has what a processor made of descriptors of every type, from all rings, by every
kind of register (tests/mmu/segments.py).
"""
import base64
import collections
import json
import lzma
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

QUIRE, ROOT = os.path.abspath(sys.argv.pop(1)), os.path.abspath(sys.argv.pop(1))
PATIENCE_SECONDS = 300
RECORDED = pathlib.Path(ROOT) / "tests" / "mmu" / "segments.json"


def call(*arguments, **options):
    options.setdefault("text", True)
    return subprocess.run([QUIRE, "segment", *arguments], capture_output=True, check=False,
                          timeout=PATIENCE_SECONDS, **options)


class Scratch(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="quire-segment-")
        self.addCleanup(self.directory.cleanup)

    def write(self, name, data):
        path = os.path.join(self.directory.name, name)
        with open(path, "wb") as file:
            file.write(data)
        return path


Access = collections.namedtuple(
    "Access", "cpl use access size vector selector error offset linear")
Rights = collections.namedtuple("Rights", "cpl flags selector lar lsl")


class Processor(Scratch):
    """20 000 answers of Bochs' processor, from rings 0 to 3."""
    GDT_AT = 0x1000
    OPTIONS = {1: ["--stack"], 3: ["--call"]}

    @classmethod
    def setUpClass(cls):
        data = lzma.decompress(base64.b64decode(json.loads(RECORDED.read_text())["answers"]))
        cls.tables, cls.accesses, cls.rights = {}, [], []
        at = 0
        while data[at:at + 1] != b"E":
            kind = data[at:at + 1]
            if kind == b"A":
                cls.accesses.append(Access(*struct.unpack_from("<5BHHII", data, at + 1)))
                at += 18
            elif kind == b"R":
                cls.rights.append(Rights(*struct.unpack_from("<BBHII", data, at + 1)))
                at += 13
            else:
                n = struct.unpack_from("<I", data, at + 1)[0]
                cls.tables[kind] = struct.unpack_from(f"<{n}Q", data, at + 5)
                at += 5 + 8 * n

    def setUp(self):
        super().setUp()
        gdt, ldt = self.tables[b"G"], self.tables[b"L"]
        ldt_at = gdt[10] >> 16 & 0xffffff
        memory = bytearray(ldt_at + 8 * len(ldt))
        struct.pack_into(f"<{len(gdt)}Q", memory, self.GDT_AT, *gdt)
        struct.pack_into(f"<{len(ldt)}Q", memory, ldt_at, *ldt)
        self.arguments = ["-i", self.write("memory", memory), "--json", "--ldt", "0x50",
                          "--gdt", f"{self.GDT_AT:#x}:{8 * len(gdt) - 1}"]

    def answers(self, cpl, options, lines):
        result = call(*self.arguments, "--cpl", str(cpl), *options, "-", input="\n".join(lines))
        self.assertEqual(result.stderr, "")
        return json.loads(result.stdout)["accesses"]

    def groups(self, records, key):
        groups = collections.defaultdict(list)
        for record in records:
            groups[key(record)].append(record)
        return groups.items()

    def test_accesses(self):
        self.assertGreater(len(self.accesses), 20000)
        kinds = collections.Counter()
        for (cpl, use), records in self.groups(self.accesses, lambda each: (each.cpl, each.use)):
            lines = [f"{each.selector}:{each.offset}:{each.size}:{'rwx'[each.access]}"
                     for each in records]
            answers = self.answers(cpl, self.OPTIONS.get(use, []), lines)
            self.assertEqual(len(answers), len(records))
            for each, answer in zip(records, answers):
                kinds[each.vector] += 1
                self.check(each, answer)
        # NP, SS, GP, let through (a page fault), only loaded
        self.assertEqual(sorted(kinds), [11, 12, 13, 14, 48])
        self.assertGreaterEqual(min(kinds.values()), 4)

    def check(self, each, answer):
        if each.vector == 14:
            self.assertEqual(answer["linear"], f"{each.linear:#x}", (each, answer))
        elif each.vector == 48:  # a register was loaded, nothing was accessed
            self.assertTrue(answer["linear"] or answer["error_code"] == "0x0", (each, answer))
        else:
            exception = {11: "#NP", 12: "#SS", 13: "#GP"}[each.vector]
            self.assertEqual((answer["linear"], answer["exception"], answer["error_code"]),
                             (None, exception, f"{each.error:#x}"), (each, answer))

    def test_lar_lsl_verr_verw(self):
        self.assertGreater(len(self.rights), 3000)
        accessed = ~0x100  # set by the accesses that the recording made
        for cpl, records in self.groups(self.rights, lambda each: each.cpl):
            answers = self.answers(cpl, [], [f"{each.selector}:0" for each in records])
            for each, answer in zip(records, answers):
                lar, lsl = answer.get("lar"), answer.get("lsl")
                self.assertEqual((lar and int(lar, 0) & accessed, lsl and int(lsl, 0)),
                                 (each.lar & accessed if each.flags & 1 else None,
                                  each.lsl if each.flags & 2 else None), (each, answer))
                self.assertEqual((answer.get("verr", False), answer.get("verw", False)),
                                 (each.flags & 4 != 0, each.flags & 8 != 0), (each, answer))


class Accesses(Scratch):
    """A GDT: null, code, data, expand-down data, absent data, call gate, LDT; an LDT with a stack."""
    GDT = (0, 0x00cf9a000000ffff, 0x00cff2000000ffff, 0x0040f60010000fff, 0x0000720010000fff,
           0x0000ec0000081234, 0x0000820002000007)
    LDT = (0x0000f20030000fff,)

    def setUp(self):
        super().setUp()
        memory = bytearray(4096)
        struct.pack_into(f"<{len(self.GDT)}Q", memory, 0x100, *self.GDT)
        struct.pack_into(f"<{len(self.LDT)}Q", memory, 0x200, *self.LDT)
        self.arguments = ["-i", self.write("memory", memory), "--gdt", "0x100:0x37"]

    def first_words(self, *arguments):
        result = call(*self.arguments, *arguments)
        self.assertEqual(result.stderr, "")
        return [" ".join(line.split()[1:]) for line in result.stdout.splitlines()
                if not line.startswith(" ")], result.returncode

    def test_accesses(self):
        lines, status = self.first_words("0x13:0x1000:4:w", "0x1b:0x1000", "0x1b:0xfff", "0x23:0",
                                         "0x2b:0", "0x3b:0", "0x3:0", "0x8:0x10:1:x", "0x8:0:1:w")
        self.assertEqual(lines, [
            "0x1000", "0x2000", "- #GP(0x0) beyond the limit",
            "- #NP(0x20) the segment is not present",
            "- #GP(0x28) it is neither data nor readable code",
            "- #GP(0x38) the selector is beyond its table",
            "- #GP(0x0) an access through a null selector", "0x10",
            "- #GP(0x0) the segment is not writable"])
        self.assertEqual(status, 1)

    def test_the_ldt_and_the_stack(self):
        lines, status = self.first_words("--ldt", "0x30", "--stack", "--cpl", "3", "0x7:0xffc:4:w")
        self.assertEqual((lines, status), (["0x3ffc"], 0))
        lines, _ = self.first_words("--ldt", "0x30", "--stack", "--cpl", "3", "0x7:0xffd:4:w",
                                    "0x10:0")
        self.assertEqual(lines, ["- #SS(0x0) beyond the limit",
                                 "- #GP(0x10) the RPL is not the CPL"])
        lines, _ = self.first_words("0x7:0")
        self.assertEqual(lines, ["- #GP(0x4) the selector is beyond its table"])
        result = call(*self.arguments, "--ldt", "0x8", "0x7:0")
        self.assertEqual(result.returncode, 125)
        self.assertIn("--ldt 0x8: #GP(0x8): it is no LDT", result.stderr)

    def test_rights(self):
        result = call(*self.arguments, "--json", "--cpl", "3", "0x13:0", "0xb:0", "0x2b:0")
        accesses = json.loads(result.stdout)["accesses"]
        self.assertEqual([(one["lar"], one["lsl"], one["verr"], one["verw"]) for one in accesses],
                         [("0xc0f200", "0xffffffff", True, True), (None, None, False, False),
                          ("0xec00", None, False, False)])

    def test_descriptors(self):
        result = call("--descriptor", "00cf9a000000ffff", "0x0000ec0000081234")
        self.assertEqual(result.stdout,
                         "0x00cf9a000000ffff code, readable, DPL 0, base 0x0, limit 0xffffffff "
                         "(4K units), 32 bit\n"
                         "  CPL 0: LAR 0xc09a00, LSL 0xffffffff, VERR ZF=1, VERW ZF=0\n"
                         "0x0000ec0000081234 call gate, 32 bit, DPL 3, to 0x8:0x1234\n"
                         "  CPL 0: LAR 0xec00, LSL ZF=0, VERR ZF=0, VERW ZF=0\n")
        # in long mode one of the system's has two halves
        result = call("--descriptor", "--long-mode", "--cpl", "3", "--json", "0x0000890010000067",
                      "0xffffffff", "0x00eff2000000ffff", "0x00efba000000ffff")
        self.assertEqual([(one["type"], one.get("base"), one["lar"]) for one in
                          json.loads(result.stdout)["descriptors"]],
                         [("TSS, 64 bit, available", "0xffffffff00001000", None),
                          ("data, writable", "0x0", "0xe0f200"), ("code, readable", "0x0", None)])

    def test_calls(self):
        """A call through a gate may go where a jump may not, and the page is the inner ring's."""
        lines, _ = self.first_words("--cpl", "3", "0x2b:0:1:x")
        self.assertEqual(lines, ["- #GP(0x8) the DPL is not the CPL, or the RPL is above"])
        lines, status = self.first_words("--cpl", "3", "--call", "0x2b:0:1:x")
        self.assertEqual((lines, status), (["0x1234"], 0))
        result = call(*self.arguments, "--cpl", "3", "--call", "--json", "0x2b:0:1:x")
        self.assertEqual(json.loads(result.stdout)["accesses"][0]["cpl"], 0)

    def test_canonical_addresses(self):
        """48 bits, and 57 where CR4.LA57 is set."""
        for options, va, linear in (([], "0x7fffffffffff", "0x7fffffffffff"),
                                    ([], "0x800000000000", None),
                                    (["--cr4", "0x1020"], "0x800000000000", "0x800000000000"),
                                    (["--cr4", "0x1020"], "0xff00000000000000", "0xff00000000000000"),
                                    (["--cr4", "0x1020"], "0x100000000000000", None)):
            result = call(*self.arguments, "--64", *options, "--json", f"0x10:{va}")
            self.assertEqual(json.loads(result.stdout)["accesses"][0]["linear"], linear, va)

    def test_refusals(self):
        for arguments, message in (
                ([], "which access?"), (["0x8:0"], "where are the descriptors?"),
                (["-i", "x", "--gdt", "5", "0x8:0"], "it is BASE:LIMIT"),
                (["-i", "/nonexistent", "--gdt", "0:7", "0x8:0"], "cannot use the image"),
                ([*self.arguments, "0x8"], "an access is SELECTOR:OFFSET"),
                ([*self.arguments, "0x10000:0"], "is no number up to 0xffff"),
                ([*self.arguments, "8:0:1:q"], "an access is r, w or x"),
                ([*self.arguments, "--cpl", "4", "8:0"], "is no number up to 0x3"),
                (["-i", self.arguments[1], "--gdt", "0x10000:7", "0:0", "8:0"],
                 "")):
            with self.subTest(arguments=arguments):
                result = call(*arguments)
                self.assertIn(message, " ".join(result.stderr.split()))
                self.assertEqual(result.returncode, 125 if message else 1)
        result = call("-i", self.arguments[1], "--gdt", "0xffff:15", "8:0")
        self.assertEqual(result.returncode, 125)
        self.assertIn("the descriptor is not in the image", result.stderr)


class Paging(Scratch):
    """Tables of two levels: the GDT at 0x10000 lies in frame 0x3000, 0x20000 leads to 0x4000, 0x21000
    nowhere, 0x22000 to 0x5000 for ring 0 only."""
    REGISTERS = {"cr0": 0x80010001, "cr3": 0x1000, "cr4": 0}

    def setUp(self):
        super().setUp()
        memory = bytearray(0x6000)
        struct.pack_into("<I", memory, 0x1000, 0x2007)
        for page, entry in ((0x10, 0x3003), (0x20, 0x4007), (0x22, 0x5003)):
            struct.pack_into("<I", memory, 0x2000 + 4 * page, entry)
        struct.pack_into("<4Q", memory, 0x3000, 0, 0x00cffa000000ffff, 0x00cff2000000ffff,
                         0x00cf9a000000ffff)
        self.memory = bytes(memory)

    def core(self):
        """As QEMU writes it: a note with the registers, and all memory."""
        contents = bytearray(440)
        struct.pack_into("<II", contents, 0, 1, len(contents))
        struct.pack_into("<IIIIQ", contents, 152, 0x0b, 0xffffffff, 0xcffa00, 0, 0)  # CS
        struct.pack_into("<IIIIQ", contents, 152 + 8 * 24, 0, 0x1f, 0, 0, 0x10000)  # GDTR
        struct.pack_into("<5Q", contents, 392, self.REGISTERS["cr0"], 0, 0, self.REGISTERS["cr3"], 0)
        note = struct.pack("<III", 5, len(contents), 0) + b"QEMU\0\0\0\0" + contents
        head = b"\x7fELF\x01\x01\x01" + bytes(9)
        head += struct.pack("<HHIIIIIHHHHHH", 4, 3, 1, 0, 52, 0, 0, 52, 32, 2, 0, 0, 0)
        head += struct.pack("<8I", 4, 116, 0, 0, len(note), len(note), 0, 0)
        head += struct.pack("<8I", 1, 116 + len(note), 0, 0, len(self.memory), len(self.memory), 7, 0)
        return head + note + self.memory

    def check(self, arguments):
        result = call(*arguments, "0x13:0x20004:4:w", "0x13:0x20ffe:4:w", "0x13:0x22000", "0x0b:0x20000:1:x",
                      "0x18:0x22000:1:x")
        self.assertEqual(result.stderr, "")
        self.assertEqual(result.returncode, 1)
        heads = [line for line in result.stdout.splitlines() if not line.startswith(" ")]
        self.assertEqual(heads, [
            "0x13:0x20004:4:w 0x20004 0x4004 4K rwx/rwx,----,wb",
            "0x13:0x20ffe:4:w 0x20ffe - not-present #PF(0x6) at 0x21000",
            "0x13:0x22000 0x22000 - no-read #PF(0x5) at 0x22000",
            "0x0b:0x20000:1:x 0x20000 0x4000 4K rwx/rwx,----,wb",
            "0x18:0x22000:1:x 0x22000 0x5000 4K rwx/---,----,wb"])

    def test_by_the_command_line(self):
        registers = [word for name, value in self.REGISTERS.items()
                     for word in (f"--{name}", f"{value:#x}")]
        self.check(["-i", self.write("memory", self.memory), "--gdt", "0x10000:0x1f", *registers])

    def test_by_the_note_of_a_core_file(self):
        core = self.write("core", self.core())
        self.check(["-i", core])
        result = call("-i", core, "--json", "0x13:0x20004:4:w", "0x13:0x21000")
        first, second = json.loads(result.stdout)["accesses"]
        self.assertEqual((first["linear"], first["pa"], first["page_bytes"]),
                         ("0x20004", "0x4004", 4096))
        self.assertEqual((second["pa"], second["page_reason"], second["page_error_code"]),
                         (None, "not-present", "0x4"))

    def test_standard_input(self):
        core = self.write("core", self.core())
        result = call("-i", core, "-", input="# two\n0x13:0x20004  # one\n\n0x18:0x10:1:x\n")
        self.assertEqual(len([line for line in result.stdout.splitlines() if line[0] != " "]), 2)
        result = call("-i", core, "-", input="0x13\n")
        self.assertEqual(result.returncode, 125)
        self.assertIn("line 1 of standard input: '0x13': an access is SELECTOR:OFFSET", result.stderr)

    def test_refusals(self):
        image = self.write("memory", self.memory)
        for arguments, message in (
                (["--cr0", "0x80000001"], "paging is on, so where are its tables? give --cr3"),
                (["--cr0", "0x80000000", "--cr3", "0"], "select no paging mode"),
                (["--cr0", "x"], "'x' is no number")):
            with self.subTest(arguments=arguments):
                result = call("-i", image, "--gdt", "0x10000:0x1f", *arguments, "8:0")
                self.assertEqual((result.returncode, result.stdout), (125, ""))
                self.assertIn(message, " ".join(result.stderr.split()))
        result = call("-i", image, "8:0")
        self.assertIn("give --gdt BASE:LIMIT", result.stderr)


class Gates(Scratch):
    """Far jumps through call gates, and to tasks."""

    def test_gates(self):
        gdt = [0, 0x00cffa000000ffff, 0x0000ec0000081234, 0x5000ec00000b0123, 0x0000890000000067,
               0x00cffa0010000fff]
        image = self.write("memory", struct.pack(f"<{len(gdt)}Q", *gdt))
        result = call("-i", image, "--gdt", "0:47", "--cpl", "3", "0x13:99:1:x", "0x1b:0:1:x",
                      "0x20:0:1:x", "--json")
        one, two, three = json.loads(result.stdout)["accesses"]
        self.assertEqual((one["linear"], one["target"]["descriptor"]), ("0x1234", "0x00cffa000000ffff"))
        self.assertEqual(two["linear"], "0x50000123")
        self.assertEqual((three["linear"], three["exception"]), (None, "#GP"))
        result = call("-i", image, "--gdt", "0:47", "--cpl", "0", "0x20:0:1:x")
        self.assertEqual(result.stdout.splitlines()[0],
                         "0x20:0:1:x - task-switch it switches to another task")


if __name__ == "__main__":
    unittest.main(verbosity=1)
