# SPDX-License-Identifier: Apache-2.0
"""Page tables of machines in random shapes, made by the formats' manuals and not by Quire's builders."""


M = 1 << 20


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
    ranges = False  # whether QEMU lists mappings with their rights, by `info mem`

    def __init__(self, memory, random_source):
        self.memory, self.random = memory, random_source
        self.root = memory.take(self.width << self.bits)
        self.pages = []

    def shift(self, level):
        return self.page_shift + level * self.bits

    root_mask = 0xffffffffff000

    def is_table(self, entry):
        raise NotImplementedError

    def is_there(self, entry):
        return entry & 1 != 0

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


class Found:
    """The tables of a machine, and what they map."""

    def __init__(self):
        self.tables, self.pages = [], []


def walk_all(kind, memory, roots):
    tree = kind.__new__(kind)
    tree.bits = kind.bits if kind.page_shift == 12 else kind.page_shift - 3
    found = Found()

    def walk(table, level, va):
        n = min(1 << tree.bits, 1 << tree.va_bits - tree.shift(level))
        if table in seen or not 0 <= table - memory.start < len(memory.bytes):
            return
        seen.add(table)
        for index in range(n):
            entry = memory.load(table + index * tree.width, tree.width)
            at = va + (index << tree.shift(level))
            if not tree.is_there(entry):
                continue
            if level > 0 and tree.is_table(entry):
                walk(tree.next_table(entry), level - 1, at)
            else:
                found.pages.append((at, 1 << tree.shift(level)))

    for half, root in enumerate(roots):
        seen = set()
        walk(root & tree.root_mask, tree.levels - 1, -(1 << tree.va_bits) if half == 1 else 0)
        found.tables += seen
    if tree.signed:
        top = 1 << tree.va_bits - 1
        found.pages = [(va - 2 * top if va & top else va, size) for va, size in found.pages]
    found.tables = sorted({table & -(1 << tree.page_shift) for table in found.tables})
    return found


class X86(Tree):
    ranges = True
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


class X86Rights(X86):
    """For accesses.c: all rights, keys, and entries that have reserved bits set."""
    bases = (0x7f0000000000, 0x40000000)

    def table(self, address, level):
        bits = 1 | self.random.choice((6, 6, 6, 6, 2, 4, 0)) | self.random.choice((0, 0, 0, 0, 1 << 63))
        return address | bits | self.random.choice((0,) * 12 + (1 << 45, 1 << 7 if level == 3 else 0))

    def leaf(self, pa, level, identity=False):
        bits = 1 | self.random.choice((0, 2, 4, 6, 6)) | self.random.choice((0, 0, 1 << 63))
        bits |= self.random.randrange(16) << 59
        bits |= self.random.choice((0,) * 9 + (1 << 50, 1 << 13 if level else 0))
        return pa | bits | (0x80 if level else 0)


class X86La57(X86):
    ranges = False
    levels, va_bits = 5, 57
    bases = (0x7f0000000000, 0xff11000000000000, 0xffffffff80000000, 0x00a0000000000000, 0x400000)


class X86Pae(X86):
    root_mask = 0xffffffe0
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
    root_mask = 0xffffffffffffff
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


class Riscv32(Riscv):
    bits, levels, width, va_bits, signed, large = 10, 2, 4, 32, False, (1,)
    bases = (0x10000, 0x80000000, 0xc0000000, 0x40000000)

    def draw_va(self, shift):
        return super().draw_va(shift) & 0xffffffff

    def next_table(self, entry):
        return entry >> 10 << 12


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


class Arm16KLpa2(Arm):
    page_shift, wide, va_bits, levels, blocks = 14, True, 52, 4, (1, 2)


class Arm4KLpa2(Arm):
    wide, va_bits, levels, blocks = True, 52, 5, (1, 2)


class Ppc32:
    """The hash table of 32-bit PowerPC (Programming Environments Manual, 7.6)."""
    va_bits = 32
    TABLE_BYTES = 65536  # the least: 1024 groups of 8

    def __init__(self, memory, random_source):
        self.memory, self.random = memory, random_source
        self.root, self.pages = memory.take(self.TABLE_BYTES), []
        # keys of both; two may not be executed
        self.segments = [self.random.randrange(1 << 24) | self.random.randrange(4) << 29
                         | (i % 8 == 3) << 28 for i in range(15)] + [0x123456]

    def map(self, va, pa, access):
        virtual = self.segments[va >> 28] & 0xffffff
        page, second = va >> 12 & 0xffff, self.random.choice((0, 0, 1))
        group = (virtual & 0x7ffff ^ page) ^ (0x7ffff if second else 0)
        for slot in range(8):
            at = self.root + (group & 1023) * 64 + slot * 8
            if self.load(at) >> 31 == 0:
                self.store(at, 1 << 31 | virtual << 7 | second << 6 | page >> 10)
                self.store(at + 4, pa | self.random.randrange(4) << 7 | 0x10 | access)
                self.pages.append((va, 4096))
                return
        raise RuntimeError("a group is full")

    def load(self, address):
        at = address - self.memory.start
        return int.from_bytes(self.memory.bytes[at:at + 4], "big")

    def store(self, address, value):
        at = address - self.memory.start
        self.memory.bytes[at:at + 4] = value.to_bytes(4, "big")

    def draw_va(self, shift):
        return self.random.randrange(1 << 32) & -(1 << shift)

    def fill(self, n):
        for va in sorted({self.draw_va(12) for _ in range(n)}):
            if 1 << 16 <= va < 0xfff00000:
                self.map(va, self.random.randrange(1 << 32) & -4096, self.random.randrange(4))
        for at in range(self.root, self.root + self.TABLE_BYTES, 8):  # what has been there before
            if self.load(at) == 0 and self.random.random() < 0.05:
                self.store(at, self.random.randrange(1 << 31))
                self.store(at + 4, self.random.randrange(1 << 32))
