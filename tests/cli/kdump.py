#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`quire translate` on kdump-compressed dumps: made here byte by byte, and by makedumpfile.

Usage: kdump.py QUIRE SOURCE_ROOT [unittest's arguments]

Each dump is of small_machine() at 1 MiB and of pages of every kind at 16 MiB, and is answered as the raw
memory is. makedumpfile's own are made of an ELF core with just enough of a kernel in it that it goes on.
"""
import os
import random
import shutil
import struct
import subprocess
import sys
import unittest
import zlib

sys.dont_write_bytecode = True
from translate import PATIENCE_SECONDS, Scratch, call, small_machine

ZLIB, LZO, SNAPPY, INCOMPLETE, ZSTD = 1, 2, 4, 8, 0x20
PAGE = 4096
TABLES_AT, PAGES_AT, N_PAGES = 0x100000, 0x1000000, 64
MODE = ["--mode", "x86-48", "--root", "0x100000"]


def machine():
    """Tables that map -2 GiB to physical 0, too."""
    memory = bytearray(small_machine())
    struct.pack_into("<Q", memory, 4 * PAGE + 510 * 8, 0x83)
    return bytes(memory)


def contents():
    """Pages of zeros, of one byte, of few and of random bytes."""
    source = random.Random(1)
    pages = []
    for i in range(N_PAGES):
        pages.append([bytes(PAGE), bytes([i]) * PAGE, source.randbytes(64) + bytes(PAGE - 64),
                      source.randbytes(PAGE)][i % 4])
    return pages


def memory():
    tables = machine()
    pages = {TABLES_AT // PAGE + i: tables[i * PAGE:(i + 1) * PAGE] for i in range(6)}
    pages.update({PAGES_AT // PAGE + i: page for i, page in enumerate(contents())})
    return pages


def snappy(page):
    """One literal, then copies of 64 bytes from 64 before as far as that is right, or literals."""
    packed, at = b"\x80\x20", 0
    while at < len(page):
        piece = page[at:at + 64]
        if at > 0 and piece == page[at - 64:at]:
            packed += struct.pack("<BH", 63 << 2 | 2, 64)
        else:
            packed += bytes([60 << 2, 63]) + piece
        at += 64
    return packed


def zstd(page):
    return subprocess.run(["zstd", "-q", "-c"], input=page, stdout=subprocess.PIPE, check=True).stdout


PACKERS = {0: lambda page: page, ZLIB: zlib.compress, SNAPPY: snappy, ZSTD: zstd}


def note(name, contents_, kind=0):
    return (struct.pack("<III", len(name) + 1, len(contents_), kind)
            + (name + b"\0").ljust(len(name) + 4 & -4, b"\0")
            + contents_.ljust(len(contents_) + 3 & -4, b"\0"))


def kdump(pages, codec=0, left_out=(), order="<", bits=64, version=6, name=b"x86_64", part=None, status=0,
          info=b"", notes=b"", one_bitmap=False):
    """The format as makedumpfile's IMPLEMENTATION has it; part: of a split dump, its first page and its end."""
    n_map = max(pages) + 1
    n_bitmap = -(-(-(-n_map // 8)) // PAGE)
    bitmaps = [bytearray(n_bitmap * PAGE), bytearray(n_bitmap * PAGE)]
    for number in pages:
        bitmaps[0][number // 8] |= 1 << number % 8
        if number not in left_out:
            bitmaps[1][number // 8] |= 1 << number % 8
    if one_bitmap:
        del bitmaps[0]
    names = b"".join(word.ljust(65, b"\0") for word in (b"Linux", b"guest", b"6.1.0", b"", name, b""))
    header = b"KDUMP   " + struct.pack(order + "i", version) + names
    header = header.ljust(424 if bits == 64 else 412, b"\0")
    header += struct.pack(order + "IIIIIIIIIi", status | codec, PAGE, 1, len(bitmaps) * n_bitmap,
                          n_map if version < 6 else 0, 0, 0, 0, 0, 1)
    info_at, notes_at = PAGE + 256, PAGE + 1024
    first, end = part or (0, 0)
    low = (first, end) if version < 6 else (0, 0)
    if bits == 64:
        sub = struct.pack(order + "QiiQQQQQQQQQQQ", 0, 31, part is not None, *low, info_at, len(info), notes_at,
                          len(notes), 0, 0, first, end, n_map)
    else:
        sub = struct.pack(order + "IiiII", 0, 31, part is not None, *low)
        sub += struct.pack(order + "QIQIQIQQQ", info_at, len(info), notes_at, len(notes), 0, 0, first, end, n_map)
    head = header.ljust(PAGE, b"\0") + ((sub.ljust(256, b"\0") + info).ljust(1024, b"\0")
                                              + notes).ljust(PAGE, b"\0")
    head += b"".join(bitmaps)
    kept = [number for number in sorted(pages)
            if number not in left_out and (part is None or first <= number < end)]
    descriptors, data, places = b"", b"", {}
    data_at = len(head) + 24 * len(kept)
    for number in kept:
        packed = PACKERS[codec](pages[number])
        flags = codec
        if len(packed) >= PAGE:
            packed, flags = pages[number], 0
        if packed not in places:  # pages that are alike share one, as makedumpfile's zeros do
            places[packed] = data_at + len(data)
            data += packed
        descriptors += struct.pack(order + "QIIQ", places[packed], len(packed), flags, 0)
    return head + descriptors + data


def flatten(dump, *cuts):
    """As through a pipe: pieces from one cut to the next, the last ones first; blocks of zeros skipped."""
    pieces = [(a, dump[a:b]) for a, b in zip((0, *cuts), (*cuts, len(dump)))]
    pieces = [(at, piece) for at, piece in reversed(pieces) if piece.strip(b"\0")]
    return (b"makedumpfile\0\0\0\0" + struct.pack(">qq", 1, 1)).ljust(4096, b"\0") + b"".join(
        struct.pack(">qq", at, len(piece)) + piece for at, piece in [*pieces, (-1, b"")][:-1]
    ) + struct.pack(">qq", -1, -1)


class Dumps(Scratch):
    def same(self, image, pages, arguments=(), left_out=()):
        """Walks, all mappings and the bytes, page by page."""
        result = call("-i", image, *arguments, *MODE, "0x400123", "0xffffffff81000005", "0")
        self.assertEqual((result.stderr, result.stdout),
                         ("", "0x400123 0x105123 4K r--/r--,-A--,wb\n"
                              "0xffffffff81000005 0x1000005 1G rwx/---,----,wb\n0x0 - not-present\n"))
        lines = call("-i", image, *arguments, *MODE, "--map").stdout.splitlines()
        self.assertEqual([line.split()[0] for line in lines],
                         ["0x400000-0x400fff", "0xffffffff80000000-0xffffffffbfffffff",
                          "0xffffffffc0000000-0xffffffffffffffff"])
        for number in pages:
            self.read(image, number, None if number in left_out else pages[number], arguments)

    def read(self, image, number, page, arguments=()):
        va = 0xffffffff80000000 + number * PAGE
        result = call("-i", image, *arguments, *MODE, "--read", f"{va:#x}:{PAGE}", text=False)
        if page is None:
            self.assertEqual((result.returncode, result.stdout), (1, b""))
            self.assertIn(b"whose page the dump has left out", b" ".join(result.stderr.split()))
        else:
            self.assertEqual(result.stderr, b"")
            self.assertTrue(result.stdout == page, f"page {number:#x}")  # a diff of these takes minutes

    def some(self):
        """A page of each kind, so that reading all of them one by one does not take long."""
        every = memory()
        return every, {number: every[number] for number in
                       [0x105, *range(0x1000, 0x1008), 0x1000 + N_PAGES - 1]}


    @staticmethod
    def core(repeated=()):
        """An ELF core with just enough of a kernel in it for makedumpfile; repeated: ranges that stand twice."""
        pages = contents()
        uts = b"".join(word.ljust(65, b"\0") for word in
                       (b"Linux", b"guest", b"6.1.0", b"#1 SMP", b"x86_64", b"(none)"))
        pages[0] = (uts.ljust(0x200, b"\0") + struct.pack("<Q", 0xffff888001100000)).ljust(PAGE, b"\0")
        info = (b"OSRELEASE=6.1.0\nPAGESIZE=4096\nSYMBOL(init_uts_ns)=ffffffff81000000\n"
                b"OFFSET(uts_namespace.name)=0\nSYMBOL(swapper_pg_dir)=ffffffff80100000\n"
                b"SYMBOL(init_top_pgt)=ffffffff80100000\nSYMBOL(_stext)=ffffffff81000000\n"
                b"NUMBER(phys_base)=0\nNUMBER(pgtable_l5_enabled)=0\nSIZE(page)=64\n"
                b"OFFSET(page.flags)=0\nOFFSET(page._refcount)=52\nOFFSET(page.mapping)=24\n"
                b"OFFSET(page.lru)=8\nSYMBOL(mem_map)=ffffffff81000200\n")
        notes = note(b"CORE", bytes(336)) + note(b"VMCOREINFO", info)
        loads = [(TABLES_AT, machine()), (PAGES_AT, b"".join(pages))]
        loads[:0] = [(start, loads[1][1][start - PAGES_AT:start - PAGES_AT + n]) for start, n in repeated]
        data = 2 * PAGE
        headers = struct.pack("<IIQQQQQQ", 4, 0, 512, 0, 0, len(notes), 0, 0)
        for start, part in loads:
            headers += struct.pack("<IIQQQQQQ", 1, 7, data, 0xffff888000000000 + start, start, len(part),
                                   len(part), 0)
            data += len(part)
        head = (b"\x7fELF\x02\x01\x01" + bytes(9)
                + struct.pack("<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, 1 + len(loads), 0, 0, 0) + headers)
        return ((head.ljust(512, b"\0") + notes).ljust(2 * PAGE, b"\0")
                + b"".join(part for _, part in loads))


class Made(Dumps):
    def test_codecs(self):
        every, some = self.some()
        for codec, tool in ((0, None), (ZLIB, None), (SNAPPY, None), (ZSTD, "zstd")):
            if tool is not None and shutil.which(tool) is None:
                continue
            with self.subTest(codec=codec):
                self.same(self.write("dump", kdump(every, codec)), some)

    def test_machines(self):
        """Either order, either size of a long, each version: the tables stay x86's."""
        every, some = self.some()
        some = dict(list(some.items())[:3])
        for options in ({"order": ">"}, {"bits": 32}, {"bits": 32, "order": ">"}, {"version": 1},
                        {"version": 5}, {"version": 3, "one_bitmap": True}):
            with self.subTest(**options):
                image = self.write("dump", kdump(every, ZLIB, **options))
                self.same(image, some)
                self.same(image, some, ["--format", "kdump"])

    def test_what_was_left_out(self):
        """Neither zeros nor outside of the image: pages, and tables."""
        every, some = self.some()
        left_out = {0x1001, 0x1002, 0x105}
        self.same(self.write("dump", kdump(every, ZLIB, left_out)), some, left_out=left_out)
        image = self.write("dump", kdump(every, ZLIB, {0x102}))
        result = call("-i", image, *MODE, "0x400123", "0xffffffff81000005")
        self.assertEqual((result.returncode, result.stdout.splitlines()[0]),
                         (1, "0x400123 - not-in-dump"))
        result = call("-i", image, *MODE, "--explain", "0x400123")
        self.assertIn("not-in-dump: the dump has left out the page that the entry lies in (PDE at 0x102010)",
                      result.stdout)
        result = call("-i", image, *MODE, "--map")
        self.assertEqual([line.split()[2] for line in result.stdout.splitlines()].count("not-in-dump"), 1)
        result = call("-i", image, *MODE, "--read", f"{0xffffffff80000000 + (8 << 20):#x}:1")
        self.assertIn("which is not in the image", " ".join(result.stderr.split()))

    def test_roots(self):
        every, _ = self.some()
        found = [call("-i", image, "--mode", "x86-48", "--find-roots", "--json").stdout for image in
                 (self.write("dump", kdump(every, ZLIB)), self.write("raw", b"".join(
                     every.get(number, bytes(PAGE)) for number in range(max(every) + 1))))]
        self.assertIn('"root": "0x100000"', found[0])
        self.assertEqual(found[0].count('"root"'), found[1].count('"root"'))

    def test_flattened(self):
        """Pieces that cut through the header, bitmaps, descriptors and pages."""
        every, some = self.some()
        dump = kdump(every, ZLIB)
        cuts = sorted({300, PAGE, 2 * PAGE, 3 * PAGE, 4 * PAGE, 4 * PAGE + 1000,
                       *range(4 * PAGE + 2000, len(dump), 3001)})
        self.same(self.write("flat", flatten(dump, *cuts)), some)
        for data, message in (
                (flatten(dump)[:-16 - 3000], f"the dump is cut off at byte {len(dump) - 3000}: pages lack"),
                (flatten(b"\x7fElf" + bytes(8192)), "it is flattened, but no kdump-compressed dump"),
                (flatten(dump, *cuts)[:4096], "it is flattened, and cut off at byte 4096"),
                (flatten(dump)[:4096] + struct.pack(">qq", -5, 5), "is no piece of a flattened dump"),
                (flatten(dump)[:-16] + 257 * (struct.pack(">qq", 8, 4) + b"1234"),
                 "more than 256 pieces of it were written twice: `makedumpfile -R DUMP'")):
            with self.subTest(message=message):
                result = call("-i", self.write("flat", data), *MODE, "0x400123")
                self.assertIn(message, " ".join(result.stderr.split()))

    def test_written_twice(self):
        """What comes later in a flattened file stands: over an end, a begin, a middle, and all of a piece."""
        every, some = self.some()
        dump = kdump(every, ZLIB)
        size = 4 * PAGE
        for first, second in (((0, size), (100, 300)), ((0, size), (0, 300)), ((0, size), (size - 300, size)),
                              ((0, size), (0, size)), ((0, 3000), (1000, size)), ((1000, size), (0, 3000)),
                              ((1000, 2000), (0, size)), ((0, 1), (0, size))):
            flat = (b"makedumpfile\0\0\0\0" + struct.pack(">qq", 1, 1)).ljust(4096, b"\0")
            for at, piece in ((first[0], bytes([255]) * (first[1] - first[0])), (second[0], b"?")):
                if piece == b"?":  # first what the second leaves of the first, over it; then the second
                    for a, b in ((0, second[0]), (second[1], size)):
                        if a < b:
                            flat += struct.pack(">qq", a, b - a) + dump[a:b]
                    piece = dump[second[0]:second[1]]
                flat += struct.pack(">qq", at, len(piece)) + piece
            flat += struct.pack(">qq", size, len(dump) - size) + dump[size:] + struct.pack(">qq", -1, -1)
            with self.subTest(first=first, second=second):
                self.read(self.write("flat", flat), 0x1003, some[0x1003])

    def test_elf(self):
        """Core files as Linux writes them, with its kernel twice, and flattened, whose pieces begin anywhere."""
        _, some = self.some()
        del some[0x1000]  # where it has the names of the system
        core = self.core([(PAGES_AT + (3 * i + 2) * PAGE + 100, 2 * PAGE) for i in (2, 0, 1)])
        cuts = (64, 400, 512, 3 * PAGE + 5, 3 * PAGE + 6, 5 * PAGE - 1, *range(20000, len(core), 7777))
        early = bytearray(core)
        early[64:400] = bytes([255]) * 336  # the headers, until it is known how much there is
        late = struct.pack(">qq", 64, 336) + core[64:400] + struct.pack(">qq", -1, -1)
        for name, data in (("plain", core), ("flat", flatten(core, *cuts)),
                           ("twice", flatten(bytes(early), *cuts)[:-16] + late)):
            with self.subTest(name=name):
                image = self.write(name, data)
                self.same(image, some)
                self.same(image, {}, ["--format", "elf"])
                result = call("-i", image, "0x400123")  # by VMCOREINFO
                self.assertEqual((result.stderr, result.stdout.split()[1]), ("", "0x105123"))
        core = bytearray(core)
        struct.pack_into("<Q", core, 64 + 5 * 56 + 32, N_PAGES * PAGE - 1000)  # the last load ends within a page
        image = self.write("odd", flatten(bytes(core), *cuts))
        for address, n, wanted in ((PAGES_AT + N_PAGES * PAGE - 2000, 1000, (0, 1000)),
                                   (PAGES_AT + N_PAGES * PAGE - 1000, 1, (1, 0))):
            result = call("-i", image, *MODE, "--read", f"{0xffffffff80000000 + address:#x}:{n}", text=False)
            self.assertEqual((result.returncode, len(result.stdout)), wanted)
        cut = flatten(bytes(core))[:-16 - 5000]
        result = call("-i", self.write("cut", cut), *MODE, "0x400123")
        self.assertEqual(result.stdout.split()[1], "0x105123")
        self.assertIn("the dump is cut off at byte", " ".join(result.stderr.split()))
        empty = bytearray(core)
        for i in range(1, 6):  # as long as makedumpfile does not know how much there is
            struct.pack_into("<QQ", empty, 64 + i * 56 + 32, 0, 0)
        result = call("-i", self.write("cut", flatten(bytes(empty))[:-16]), *MODE, "0x400123")
        self.assertEqual(result.returncode, 125)
        self.assertIn("cut off before the end, where it says what memory it has", " ".join(result.stderr.split()))
        result = call("-i", self.write("kdump", flatten(bytes(core))), "--format", "kdump", *MODE, "0x400123")
        self.assertIn("it is flattened, but no kdump-compressed dump", " ".join(result.stderr.split()))

    def parts(self, *cuts, n=None, **options):
        """Files of a split dump of memory()."""
        every, _ = self.some()
        ends = (0, *cuts, max(every) + 1)
        return [self.write(f"part{i}", kdump(every, ZLIB, part=part, **options))
                for i, part in enumerate(zip(ends, ends[1:]))]

    def test_split(self):
        """Parts in any order, also empty ones, are one memory."""
        _, some = self.some()
        for cuts, options in (((0x102, 0x800, 0x1003), {}), ((0x1002, 0x1002, max(some) + 1), {}),
                              ((0, 0x105), {"bits": 32}), ((0x40, 0x1007), {"version": 5, "order": ">"}),
                              ((0x1001,), {"version": 2, "bits": 32})):
            with self.subTest(cuts=cuts, **options):
                first, *others = self.parts(*cuts, **options)
                rest = [word for other in others for word in ("-i", other)]
                self.same(first, some, rest)
                last = rest.pop()
                self.same(last, list(some.items())[:0], [*rest[:-1], "-i", first])

    def test_split_left_out(self):
        """Each part's own bitmap tells of its own pages."""
        every, some = self.some()
        cut, left_out = 0x1002, {0x1001}
        one = self.write("one", kdump(every, ZLIB, left_out, part=(0, cut)))
        other = self.write("other", kdump(every, ZLIB, {0x1000, 0x1005}, part=(cut, max(every) + 1),
                                          status=INCOMPLETE))
        result = call("-i", one, "-i", other, *MODE, "--read", f"{0xffffffff81000000:#x}:4096", text=False)
        self.assertEqual(result.stdout, some[0x1000])
        self.assertIn(b"other: the dump was not finished", result.stderr)
        for number in (0x1001, 0x1005):
            result = call("-i", one, "-i", other, *MODE, "--read",
                          f"{0xffffffff80000000 + number * PAGE:#x}:1")
            self.assertIn("whose page the dump has left out", " ".join(result.stderr.split()))
        result = call("-i", other, "-i", one, *MODE, "--read", f"{0xffffffff81006000:#x}:4096", text=False)
        self.assertEqual(result.stdout, some[0x1006])

    def test_split_missing(self):
        """Which part is missing is told; what is there is used, and nothing else is made up."""
        _, some = self.some()
        one, two, three, four = self.parts(0x800, 0x1002, 0x1004)
        result = call("-i", one, "-i", three, *MODE, "0x400123")
        self.assertEqual(result.stdout.split()[1], "0x105123")
        self.assertIn("of a split dump the part with physical addresses 0x800000-0x1001fff, "
                      "0x1004000-0x103ffff is missing: give its file, too", " ".join(result.stderr.split()))
        result = call("-i", two, "-i", four, "-i", three, *MODE, "0x400123")
        self.assertEqual((result.returncode, result.stdout), (1, "0x400123 - outside-image\n"))
        self.assertIn("addresses 0x0-0x7fffff is missing", " ".join(result.stderr.split()))
        result = call("-i", one, "-i", three, *MODE, "--read", "0xffffffff81001000:1")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("where the image's file is cut off", " ".join(result.stderr.split()))
        result = call("-i", one, "-i", three, *MODE, "--read", "0xffffffff81003000:4096", text=False)
        self.assertEqual(result.stdout, some[0x1003])
        self.assertIn('"root": "0x100000"', call("-i", one, "--mode", "x86-48", "--find-roots", "--json").stdout)

    def test_split_refusals(self):
        every, _ = self.some()
        crash = b"CRASHTIME=2"
        one, two = self.parts(0x800, info=crash)
        end = max(every) + 1
        for data, message in (
                (kdump(every, ZLIB, part=(0x7ff, end), info=crash),
                 "physical addresses 0x7ff000 to 0x103ffff of a split dump, which overlap a part that is there"),
                (kdump(every, ZLIB, part=(0, 1), info=crash), "is one given twice?"),
                (kdump(every, ZLIB, part=(0x800, end), info=b"CRASHTIME=1"), "a part of another split dump"),
                (kdump(every, 0, part=(0x800, end), info=crash, status=SNAPPY), "a part of another split dump"),
                (kdump({**every, end: b""}, 0, part=(0x800, end), info=crash), "a part of another split dump"),
                (kdump(every, ZLIB, part=(0x800, end + 1)), "it is damaged: its header says that it has pages "
                                                            f"2048 to {end + 1} of a split dump of {end}"),
                (kdump(every, ZLIB, part=(5, 4)), "it is damaged: its header says that it has pages 5 to 4"),
                (kdump(every, ZLIB), "overlaps another range at physical address 0x100000")):
            with self.subTest(message=message):
                result = call("-i", one, "-i", self.write("other", data), *MODE, "0x400123")
                self.assertEqual((result.returncode, result.stdout), (125, ""))
                self.assertIn(message, " ".join(result.stderr.split()))
        with open(two, "rb") as file:
            cut = file.read()[:-100]
        result = call("-i", one, "-i", self.write("other", cut), *MODE, "0x400123")
        self.assertEqual(result.stdout.split()[1], "0x105123")
        self.assertIn(f"the dump is cut off at byte {len(cut)}: pages lack", " ".join(result.stderr.split()))

    def test_vmcoreinfo(self):
        every, _ = self.some()
        info = b"SYMBOL(swapper_pg_dir)=ffffffff80100000\nNUMBER(phys_base)=0\n"
        result = call("-i", self.write("dump", kdump(every, ZLIB, info=info)), "0x400123")
        self.assertEqual(result.stdout.split()[1], "0x105123")
        info = (b"PAGESIZE=4096\nSYMBOL(swapper_pg_dir)=ffff800010100000\nNUMBER(VA_BITS)=48\n"
                b"NUMBER(kimage_voffset)=0xffff800010000000\nNUMBER(TCR_EL1_T1SZ)=0x10\n")
        arm = self.write("arm", kdump(every, ZLIB, info=info, name=b"aarch64"))
        result = call("-i", arm, "--json", "--explain", "0xffff800000000000", "0x400123")
        self.assertIn('"mode": "arm64"', result.stdout)
        self.assertIn('"entry_address": "0x100800"', result.stdout.replace('"at"', '"entry_address"'))
        self.assertIn("disabled", result.stdout)  # the lower half is a process's
        info = (b"SYMBOL(swapper_pg_dir)=ffffffff80300000\nNUMBER(VA_BITS)=39\n"
                b"NUMBER(va_kernel_pa_offset)=0xffffffff80200000\n")
        riscv = self.write("riscv", kdump(every, ZLIB, info=info, name=b"riscv64"))
        result = call("-i", riscv, "--json", "--explain", "0x0")
        self.assertIn('"mode": "sv39"', result.stdout)
        self.assertIn('"0x100000"', result.stdout)

    def test_registers(self):
        """QEMU's note, of a processor in long mode and of one that is not: which, tells the note before it."""
        every, _ = self.some()
        registers = struct.pack("<5Q", 0x80050033, 0, 0, 0x100000, 0xa0)
        qemu = note(b"QEMU", struct.pack("<II", 1, 440) + bytes(384) + registers + bytes(8))
        for n, mode in ((336, "x86-48"), (144, "x86-pae")):
            with self.subTest(mode=mode):
                image = self.write("dump", kdump(every, ZLIB, notes=note(b"CORE", bytes(n), 1) + qemu))
                self.assertIn(f'"mode": "{mode}"', call("-i", image, "--json", "--explain", "0x400123").stdout)

    def test_refusals(self):
        every, _ = self.some()
        dump = kdump(every, ZLIB)
        patched = bytearray(dump)
        struct.pack_into("<I", patched, 428, 12345)
        huge = bytearray(dump)
        struct.pack_into("<Q", huge, PAGE + 96, 1 << 60)
        for data, message in (
                (dump[:100], "the header is cut off at byte 100"),
                (dump[:PAGE + 50], "the sub-header is cut off"),
                (dump[:3 * PAGE], "are cut off, or the header is damaged"),
                (bytes(patched), "its header says that pages have 12345 bytes"),
                (bytes(huge), "the bitmaps of 1152921504606846976 pages")):
            with self.subTest(message=message):
                result = call("-i", self.write("dump", data), *MODE, "0")
                self.assertEqual((result.returncode, result.stdout), (125, ""))
                self.assertIn(message, " ".join(result.stderr.split()))
        result = call("-i", self.write("dump", dump) + "@0x1000", *MODE, "0")
        self.assertIn("kdump-compressed files say themselves where their bytes belong", result.stderr)
        result = call("-i", self.write("raw", bytes(PAGE)), "--format", "kdump", *MODE, "0")
        self.assertIn("it is no kdump-compressed file", result.stderr)

    def test_lacking_library(self):
        """A library that can't be loaded is told by its name and its package."""
        every, _ = self.some()
        for codec, library, package in ((ZLIB, "libz.so.1", "zlib1g"), (LZO, "liblzo2.so.2", "liblzo2-2"),
                                        (SNAPPY, "libsnappy.so.1", "libsnappy1v5")):
            self.write(library, b"none")
            image = self.write("dump", kdump(every, 0, status=codec))
            result = call("-i", image, *MODE, "0", env={**os.environ, "LD_LIBRARY_PATH":
                                                       self.directory.name})
            self.assertEqual(result.returncode, 125)
            self.assertIn(f"{library} can't be loaded: install it (Debian: {package})",
                          " ".join(result.stderr.split()))
            os.unlink(os.path.join(self.directory.name, library))

    def test_cut_and_damaged(self):
        every, _ = self.some()
        dump = bytearray(kdump(every, ZLIB))
        result = call("-i", self.write("cut", dump[:-5000]), *MODE, "0x400123")
        self.assertEqual(result.stdout.split()[1], "0x105123")
        self.assertIn(f"the dump is cut off at byte {len(dump) - 5000}: pages lack",
                      " ".join(result.stderr.split()))
        result = call("-i", os.path.join(self.directory.name, "cut"), *MODE, "--read",
                      f"{0xffffffff80000000 + PAGES_AT + (N_PAGES - 1) * PAGE:#x}:1")
        self.assertIn("where the image's file is cut off", " ".join(result.stderr.split()))
        result = call("-i", self.write("dump", kdump(every, ZLIB, status=INCOMPLETE)), *MODE, "0x400123")
        self.assertIn("the dump was not finished", result.stderr)
        first = 4 * PAGE  # the descriptor of the root, and its page
        at = struct.unpack_from("<Q", dump, first)[0]
        dump[at + 4:at + 12] = b"\xff" * 8
        result = call("-i", self.write("bad", dump), *MODE, "0x400123")
        self.assertEqual((result.returncode, result.stdout), (1, "0x400123 - damaged-page\n"))
        for codec in (ZLIB, ZSTD):  # fewer bytes than a page has
            if codec == ZSTD and shutil.which("zstd") is None:
                continue
            short = self.write("short", kdump({**every, 0x1003: b"x" * 64}, codec))
            result = call("-i", short, *MODE, "--read", "0xffffffff81003000:1")
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            self.assertIn("whose page in the dump can't be unpacked", " ".join(result.stderr.split()))
        result = call("-i", os.path.join(self.directory.name, "bad"), *MODE, "--explain", "0x400123")
        self.assertIn("damaged-page: the dump's page that the entry lies in can't be unpacked (PML4E at "
                      "0x100000)", result.stdout)


class Makedumpfile(Dumps):
    """What the program that users have writes."""

    def dump(self, *options, output=None):
        """Made by makedumpfile; None: this one is without that codec."""
        path = os.path.join(self.directory.name, output or "dump")
        core = self.write("core", self.core())
        with open(path, "wb") as flat:
            command = ["makedumpfile", *options, core] + ([] if "-F" in options else ["-f", path])
            result = subprocess.run(command, stdout=flat if "-F" in options else subprocess.PIPE,
                                    stderr=subprocess.PIPE, timeout=PATIENCE_SECONDS, check=False)
        if result.returncode != 0 and (b"disabled" in result.stderr or b"upport" in result.stderr):
            return None
        self.assertEqual(result.returncode, 0, result.stderr)
        return path

    @unittest.skipIf(shutil.which("makedumpfile") is None, "no makedumpfile here")
    def test_dumps(self):
        """Walks from VMCOREINFO's root, all mappings and all bytes, as of the core file."""
        core = self.write("core", self.core())
        last = f"{0xffffffff80000000 + PAGES_AT:#x}:{N_PAGES * PAGE}"
        asked = (["0x400123", "0xffffffff81000005", "0"], ["--map"], ["--read", last], ["--find-roots"])
        wanted = [call("-i", core, *what, text=False).stdout for what in asked]
        self.assertIn(b"0x105123", wanted[0])
        for options in (["-c", "-d", "0"], ["-l", "-d", "0"], ["-p", "-d", "0"], ["-z", "-d", "0"],
                        ["-d", "0"], ["-c", "-d", "1"], ["-c", "-d", "0", "-F"], ["-l", "-d", "1", "-F"],
                        ["-E", "-d", "0", "-F"]):
            with self.subTest(options=options):
                image = self.dump(*options)
                if image is None:
                    self.assertIn(options[0], ("-l", "-p", "-z"))
                    continue
                with open(image, "rb") as file:
                    self.assertEqual(file.read(8), b"makedump" if "-F" in options else b"KDUMP   ")
                for what, want in zip(asked, wanted):
                    result = call("-i", image, *what, text=False)
                    self.assertEqual(result.stderr, b"", what)
                    self.assertTrue(result.stdout == want, what)

    @unittest.skipIf(shutil.which("makedumpfile") is None, "no makedumpfile here")
    def test_split(self):
        """Blocks of a page: each of both first parts has pages, the last of three has none, or some."""
        core = self.write("core", self.core())
        last = f"{0xffffffff80000000 + PAGES_AT:#x}:{N_PAGES * PAGE}"
        asked = (["0x400123", "0xffffffff81000005", "0"], ["--map"], ["--read", last], ["--find-roots"])
        wanted = [call("-i", core, *what, text=False).stdout for what in asked]
        parts = [os.path.join(self.directory.name, name) for name in ("a", "b", "c")]
        for options in (["-c", "-d", "0"], ["-l", "-d", "1"], ["-c", "-d", "1", "--splitblock-size", "4"]):
            with self.subTest(options=options):
                subprocess.run(["makedumpfile", *options, "--split", "-f", core, *parts], check=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE_SECONDS)
                for what, want in zip(asked, wanted):
                    result = call("-i", parts[1], "-i", parts[2], "-i", parts[0], *what, text=False)
                    self.assertEqual(result.stderr, b"", what)
                    self.assertTrue(result.stdout == want, what)


if __name__ == "__main__":
    unittest.main(verbosity=1)
