#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`quire tlb` as a user meets it: the textbooks' questions and answers, and traces through models.

Usage: tlb.py QUIRE [unittest's arguments]
"""
import collections
import json
import os
import random
import subprocess
import sys
import tempfile
import unittest

QUIRE = os.path.abspath(sys.argv.pop(1))
PATIENCE_SECONDS = 300


def call(*arguments, **options):
    return subprocess.run([QUIRE, "tlb", *arguments], capture_output=True, text=True, check=False,
                          timeout=PATIENCE_SECONDS, **options)


class Asking(unittest.TestCase):
    def ask(self, question, **expected):
        result = call("--json", "--ask", *question.split())
        self.assertEqual((result.returncode, result.stderr), (0, ""), question)
        answers = json.loads(result.stdout)["answers"]
        for key, value in expected.items():
            self.assertAlmostEqual(answers[key], value, delta=abs(value) * 1e-6, msg=f"{question}: {key}")
        return answers

    def test_levels(self):
        # x86-64; a 32-bit machine; 64 bits of address would take six levels
        self.ask("levels --va-bits 48 --page 4K --pte 8", levels=4, offset_bits=12, index_bits=9,
                 top_index_bits=9, entries_per_table=512, single_level_bytes=512 << 30)
        self.ask("levels --va-bits 32 --page 4K --pte 4", levels=2, top_index_bits=10,
                 single_level_entries=1 << 20, single_level_bytes=4 << 20)
        self.ask("levels --va-bits 64 --page 4K --pte 8", levels=6, top_index_bits=7)
        self.ask("levels --va-bits 57 --page 4K --pte 8", levels=5)
        self.ask("levels --va-bits 48 --page 64K --pte 8", levels=3, top_index_bits=6)

    def test_each_processor_has_a_source_and_reaches_somewhere(self):
        processors = json.loads(call("--list-cpus", "--json").stdout)
        self.assertGreaterEqual(len(processors), 18)
        for one in processors:
            self.assertGreater(len(one["source"]), 10, one["cpu"])
            self.assertIn("assumed", one)
            reach = self.ask(f"reach --cpu {one['cpu']} --page 4K")["reach_bytes"]
            self.assertGreaterEqual(reach, 10 * 4096, one["cpu"])
        # 4 KiB pages use both halves of the second level, others one of them
        self.ask("reach --cpu icelake --page 4K", reach_bytes=2048 * 4096)
        self.ask("reach --cpu icelake --page 2M", reach_bytes=1024 << 21)
        self.ask("reach --cpu zen3 --page 1G", reach_bytes=64 << 30)
        self.assertRegex(call("--list-cpus").stdout, r"(?m)^cpu .* source +assumed$")

    def test_size(self):
        # Tanenbaum's: 4M of text, 4M of data and 4M of stack take four tables of two levels
        self.ask("size --va-bits 32 --page 4K --pte 4 --levels 2 --used 12M", bytes=16 << 10)
        self.ask("size --va-bits 32 --page 4K --pte 4", bytes=(4 << 20) + 4096, levels=2)
        self.ask("size --split 20,12 --pte 4 --processes 100", levels=1, bytes=4 << 20,
                 all_bytes=400 << 20)
        self.ask("size --va-bits 48 --page 4K --pte 8 --used 4K", bytes=4 * 4096, levels=4)
        self.ask("size --va-bits 48 --page 4K --pte 8 --used 1G",
                 bytes=(512 + 1 + 1 + 1) * 4096)

    def test_split(self):
        # Tanenbaum's figure: 0x00403004 is entry 1 of the first level, 3 of the second, offset 4
        self.ask("split --split 10,10,12 --address 0x00403004", index_2=1, index_1=3, offset=4)
        for page, number, offset in (("4K", 4, 3616), ("8K", 2, 3616)):
            self.ask(f"split --va-bits 32 --page {page} --address 20000", page_number=number,
                     offset=offset)
        self.ask("split --va-bits 32 --page 4K --address 60000", page_number=14, offset=2656)
        address = 0x7fffdeadbeef
        self.ask(f"split --va-bits 48 --page 4K --pte 8 --address {address:#x}", offset=0xeef,
                 **{f"index_{level + 1}": address >> 12 + 9 * level & 511 for level in range(4)})

    def test_bits(self):
        self.ask("bits --pages 256 --frames 64 --page 4K", logical_bits=20, physical_bits=18)
        self.ask("bits --pages 64 --page 1K --frames 32", logical_bits=16, physical_bits=15)
        self.ask("bits --va-bits 32 --page 4K --ram 512M", pages=1 << 20, frames=1 << 17,
                 physical_bits=29)

    def test_inverted(self):
        # Silberschatz: 32 bits, 4 KiB, 512 MiB: 2^20 entries in one level, 2^17 in an inverted one
        self.ask("inverted --ram 512M --page 4K --pte 8 --va-bits 32", entries=1 << 17,
                 bytes=1 << 20, single_level_entries=1 << 20)

    def test_hashed(self):
        self.ask("hashed --used 512M --page 4K --pte 16 --buckets 131072 --mem 100ns", load=1,
                 probes=1.5 - 0.5 / 131072, bytes=2 << 20, walk_ns=(1.5 - 0.5 / 131072) * 100)

    def test_page_size(self):
        self.ask("page-size --used 1M --pte 8", optimum_bytes=4096, page_bytes=4096)
        self.ask("page-size --used 128K --pte 8", page_bytes=1024)

    def test_reach(self):
        self.ask("reach --entries 64 --page 4K --used 1M", reach_bytes=256 << 10, hit=0.25)
        self.ask("reach --cpu skylake --page 4K", reach_bytes=6 << 20)
        self.ask("reach --cpu skylake --page 1G", reach_bytes=16 << 30)
        self.ask("reach --entries 64 --page 4K --used 1K", hit=1)

    def test_eat(self):
        # the issue's own; Silberschatz, 8th to 10th edition: 80 % and 98 %, 99 %; paged without TLB
        self.ask("eat --hit 0.98 --tlb 10ns --mem 100ns --levels 1", eat_ns=112, slowdown=1.12)
        self.ask("eat --hit 80% --tlb 20ns --mem 100ns", eat_ns=140, hit_ns=120, miss_ns=220)
        self.ask("eat --hit 0.98 --tlb 20ns --mem 100ns", eat_ns=122)
        self.ask("eat --hit 0.8 --mem 10ns", eat_ns=12)
        self.ask("eat --hit 0.99 --mem 10ns", eat_ns=10.1)
        self.ask("eat --mem 50ns --levels 1", eat_ns=100)
        self.ask("eat --hit 0.75 --tlb 2ns --mem 50ns", eat_ns=64.5)
        self.ask("eat --hit 0.98 --tlb 20ns --mem 100ns --levels 4", eat_ns=128)

    def test_eat_of_two_levels_and_caches(self):
        self.ask("eat --hit 0.9 --hit2 0.8 --tlb 1ns --tlb2 3ns --mem 100ns --levels 4",
                 eat_ns=0.9 * 101 + 0.08 * 104 + 0.02 * 504)
        self.ask("eat --hit 0.9 --mem 100ns --levels 4 --walk 10ns --walk-saved 0.5",
                 eat_ns=100 + 0.1 * 25)
        self.ask("eat --hit 1 --mem 100ns --cache 2ns --cache-hit 95%", eat_ns=7, slowdown=1)

    def test_eat_with_page_faults(self):
        self.ask("eat --mem 200ns --fault 8ms --fault-rate 0.001", eat_ns=8199.8)
        self.ask("eat --mem 100ns --fault 8ms --dirty 0.7 --write-back 12ms --fault-rate 0.1%",
                 eat_ns=0.999 * 100 + 0.001 * 16.4e6)

    def test_fault_rate(self):
        # 10 % slower at most: less than one access in 399 990; and with 70 % of victims modified
        self.ask("fault-rate --mem 200ns --fault 8ms --slowdown 10%", fault_rate=20 / 7999800)
        self.ask("fault-rate --mem 100ns --fault 8ms --dirty 0.7 --write-back 12ms --eat 200ns",
                 fault_rate=100 / (16.4e6 - 100))

    def test_hit(self):
        self.ask("hit --eat 120ns --tlb 10ns --mem 100ns --levels 1", hit=0.9)
        answers = self.ask("hit --eat 11ns --tlb 1ns --tlb2 2ns --hit2 0.5 --mem 8ns --levels 2")
        self.ask(f"eat --hit {answers['hit']:.12f} --tlb 1ns --tlb2 2ns --hit2 0.5 --mem 8ns --levels 2",
                 eat_ns=11)

    def test_the_derivation_is_shown(self):
        result = call("--ask", "eat", "--hit", "0.98", "--tlb", "10ns", "--mem", "100ns")
        self.assertIn("EAT       0.98 x 110 ns + 0.02 x 210 ns = 112 ns\n", result.stdout)
        steps = json.loads(call("--json", "--ask", "levels", "--va-bits", "48", "--page", "4K",
                                "--pte", "8").stdout)["steps"]
        self.assertIn("36 / 9, rounded up = 4", [step["how"] for step in steps])

    def test_help_names_each_question_and_its_example_works(self):
        text = call("--help").stdout
        examples = [line.split() for line in text.splitlines() if line.startswith("              --")]
        names = [line.split()[0] for line in text.splitlines()
                 if line.startswith("  ") and line[2:3].isalpha() and line[13:14] == " "
                 and line.rstrip().endswith("?")]
        self.assertEqual(len(names), len(examples))
        self.assertGreaterEqual(len(names), 11)
        for name, example in zip(names, examples):
            self.assertEqual(call("--ask", name, *example).returncode, 0, name)


class Array:
    """Sets of ways, the least recently used of a set goes: an independent model of a TLB array."""

    def __init__(self, entries, ways):
        self.ways, self.sets = ways, [collections.OrderedDict() for _ in range(entries // ways)]

    def set_of(self, page):
        return self.sets[page[1] % len(self.sets)]

    def hit(self, page):
        found = page in self.set_of(page)
        if found:
            self.set_of(page).move_to_end(page)
        return found

    def fill(self, page):
        if len(self.set_of(page)) == self.ways:
            self.set_of(page).popitem(last=False)
        self.set_of(page)[page] = True

    def flush(self):
        for one in self.sets:
            one.clear()


def count(references, first, second=None, shift=12, switch=0):
    """Hits of both levels, and walks, of (process, address) references."""
    hits, walks = [0, 0], 0
    for n, (process, address) in enumerate(references):
        if switch and n and n % switch == 0:
            first.flush()
            if second:
                second.flush()
        page = (process, address >> shift)
        if first.hit(page):
            hits[0] += 1
        elif second and second.hit(page):
            hits[1] += 1
            first.fill(page)
        else:
            walks += 1
            first.fill(page)
            if second:
                second.fill(page)
    return [*hits, walks]


class Traces(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="quire-tlb-")
        self.addCleanup(self.directory.cleanup)

    def write(self, references, processes=False):
        path = os.path.join(self.directory.name, "trace")
        with open(path, "w", encoding="utf-8") as file:
            if processes:
                file.write("address,process\n")
            for process, address in references:
                file.write(f"{address},{process}\n" if processes else f"R {address:#x}\n")
        return path

    def run_trace(self, path, *arguments):
        result = call("--json", "--trace", path, *arguments)
        self.assertEqual((result.returncode, result.stderr), (0, ""), arguments)
        return json.loads(result.stdout)["models"]

    def counts(self, model):
        return [model["level1_hits"], model["level2_hits"], model["walks"]]

    def skewed(self, n, pages, seed):
        generator = random.Random(seed)
        return [(0, 0x7f0000000000 + (int(pages ** generator.random()) * 4097 % pages) * 4096 + 8)
                for _ in range(n)]

    def test_hits_are_those_of_an_independent_model(self):
        for seed, (entries, ways, more, more_ways) in enumerate(
                ((16, 4, 0, 0), (8, 8, 0, 0), (32, 1, 0, 0), (16, 4, 128, 8), (24, 3, 96, 12))):
            references = self.skewed(5000, 700, seed)
            arrays = f"l1:{entries}x{ways}" + (f",l2:{more}x{more_ways}" if more else "") + ",lru"
            [model] = self.run_trace(self.write(references), "--arrays", arrays)
            second = Array(more, more_ways) if more else None
            self.assertEqual(self.counts(model), count(references, Array(entries, ways), second),
                             arrays)
            self.assertEqual(model["references"], 5000)
            self.assertEqual(model["pages"], len({address >> 12 for _, address in references}))

    def test_page_sizes_and_processors_beside_each_other(self):
        references = self.skewed(4000, 5000, 1)
        models = self.run_trace(self.write(references), "--cpu", "skylake,i386", "--page", "4K,2M",
                                "--tables", "x86-48")
        self.assertEqual([(one["cpu"], one["page_bytes"]) for one in models],
                         [("skylake", 4096), ("skylake", 2 << 20), ("i386", 4096),
                          ("i386", 2 << 20)])
        self.assertEqual(self.counts(models[0]), count(references, Array(64, 4), Array(1536, 12)))
        self.assertEqual(self.counts(models[1]),
                         count(references, Array(32, 4), Array(1536, 12), 21))
        self.assertEqual(self.counts(models[3]), [0, 0, 4000])  # it has no entries for 2 MiB
        self.assertEqual([one["levels"] for one in models], [4, 3, 4, 3])

    def test_two_arrays_that_hold_a_size_are_as_one_of_all_their_ways(self):
        references = self.skewed(5000, 900, 8)
        arrays = "l1:16x4,l2:64x4:4K+2M,l2:64x4:4K+1G,lru"
        models = self.run_trace(self.write(references), "--arrays", arrays, "--page", "4K,2M")
        self.assertEqual(self.counts(models[0]), count(references, Array(16, 4), Array(128, 8)))
        self.assertEqual(self.counts(models[1]),
                         count(references, Array(16, 4), Array(64, 4), 21))

    def test_each_format_of_tables(self):
        references = self.skewed(3000, 600, 2)
        path = self.write(references)
        levels = {"x86-32": 2, "x86-pae": 3, "x86-48": 4, "x86-57": 5, "sv32": 2, "sv39": 3,
                  "sv48": 4, "sv57": 5, "arm64": 4, "ppc32": 1, "inverted": 2}
        for tables, n in levels.items():
            [model] = self.run_trace(path, "--tables", tables, "--arrays", "l1:16x4,lru")
            self.assertEqual(model["levels"], n, tables)
            self.assertEqual(self.counts(model), count(references, Array(16, 4)), tables)
            read = model["entries_read"] / model["walks"]
            if tables in ("ppc32", "inverted"):  # some collide
                self.assertTrue(n <= read < n + 0.5, (tables, read))
            else:
                self.assertEqual(read, n, tables)
        [model] = self.run_trace(path, "--tables", "arm64-64k", "--page", "64K")
        self.assertEqual((model["levels"], model["page_bytes"]), (3, 65536))

    def test_the_walk_cache_spares_upper_levels(self):
        references = self.skewed(3000, 600, 3)
        [without], [with_it] = (self.run_trace(self.write(references), "--arrays", arrays)
                                for arrays in ("l1:16x4,lru", "l1:16x4,walk:32,lru"))
        self.assertEqual(self.counts(without), self.counts(with_it))
        self.assertEqual(without["entries_saved"], 0)
        self.assertLess(with_it["entries_read"], without["entries_read"] / 2)

    def test_effective_access_time(self):
        [model] = self.run_trace(self.write(self.skewed(3000, 600, 4)), "--cpu", "skylake", "--tlb",
                                 "1ns", "--tlb2", "7ns", "--walk", "20ns", "--mem", "50ns")
        n, h1, walks = model["references"], model["level1_hits"], model["walks"]
        before = 1 + (n - h1) / n * 7 + 50
        self.assertAlmostEqual(model["eat_formula_ns"], before + walks / n * 4 * 20, places=6)
        self.assertAlmostEqual(model["eat_ns"], before + model["entries_read"] / n * 20, places=6)

    def test_switches(self):
        references = self.skewed(3000, 40, 5)
        [model] = self.run_trace(self.write(references), "--arrays", "l1:64x64,lru", "--switch",
                                 "100")
        self.assertEqual(self.counts(model), count(references, Array(64, 64), switch=100))
        self.assertEqual(model["switches"], 29)

    def test_tags_tell_processes_apart(self):
        generator = random.Random(6)
        references = [(1 + n // 50 % 3, generator.randrange(20) * 4096) for n in range(3000)]
        path = self.write(references, processes=True)
        [tagged] = self.run_trace(path, "--arrays", "l1:64x64,lru")
        [bare] = self.run_trace(path, "--arrays", "l1:64x64,lru", "--no-tags")
        self.assertEqual(self.counts(tagged), count(references, Array(64, 64)))
        self.assertEqual(tagged["flushed"], 0)
        self.assertEqual(self.counts(bare), count(references, Array(64, 64), switch=50))

    def test_an_access_across_two_pages_is_two(self):
        path = self.write([])
        with open(path, "w", encoding="utf-8") as file:
            file.write(" L 00001ffc,8\n S 00003000,8\nI  00005000,4\n")
        [model] = self.run_trace(path)
        self.assertEqual((model["references"], model["pages"]), (3, 3))

    def test_as_text(self):
        result = call("--trace", self.write(self.skewed(1000, 100, 7)), "--cpu", "zen4")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertTrue(result.stdout.startswith("1000 references; an access to memory takes 100 ns\n"))
        self.assertRegex(result.stdout, r"(?m)^zen4 +4 KiB ")
        result = call("--trace", self.write(self.skewed(10, 10, 7)), "--cpu", "i386", "--page", "4M")
        self.assertIn("\ni386 has no entries for pages of 4 MiB: it walks each time\n", result.stdout)


class Refused(unittest.TestCase):
    def refused(self, words, *arguments):
        result = call(*arguments)
        self.assertEqual((result.returncode, result.stdout), (125, ""), arguments)
        self.assertIn(words, result.stderr)

    def test_questions(self):
        self.refused("give a question by --ask, or a trace by --trace FILE")
        self.refused("there is no such question\n       there are levels, size", "--ask", "what")
        self.refused("--ask levels needs --page", "--ask", "levels", "--va-bits", "32", "--pte", "4")
        self.refused("--ram has no meaning for it", "--ask", "eat", "--mem", "1ns", "--ram", "1G")
        self.refused("give one page size", "--ask", "bits", "--pages", "4", "--page", "4K,2M")
        self.refused("12 bits of offset, an address only 10", "--ask", "levels", "--va-bits", "10",
                     "--page", "4K", "--pte", "4")
        self.refused("an entry's size is a power of two", "--ask", "levels", "--va-bits", "32",
                     "--page", "4K", "--pte", "6")
        self.refused("more than 32 bits", "--ask", "split", "--split", "20,12", "--address",
                     "0x100000000")
        self.refused("an access takes 110 ns even if all hit", "--ask", "hit", "--eat", "100ns",
                     "--tlb", "10ns", "--mem", "100ns")
        self.refused("--hit2 takes --tlb2 as well", "--ask", "eat", "--mem", "1ns", "--hit", "1",
                     "--hit2", "1")
        self.refused("page faults take both", "--ask", "eat", "--mem", "1ns", "--fault", "1ms")
        self.refused("no entries for pages of 8 KiB", "--ask", "reach", "--cpu", "i386", "--page",
                     "8K")

    def test_amounts(self):
        for option, value, words in (("--hit", "1.5", "a ratio from 0 to 1"),
                                     ("--mem", "ten", "a time such as"),
                                     ("--mem", "0x10", "a time such as"),
                                     ("--mem", "-1ns", "a time such as"),
                                     ("--va-bits", "65", "bits from 1 to 64"),
                                     ("--levels", "0", "a whole number"),
                                     ("--page", "5000", "a power of two"),
                                     ("--split", "40,40", "more than 64 bits"),
                                     ("--slowdown", "0.9", "a factor of 1 or more")):
            self.refused(words, "--ask", "eat", option, value)

    def test_traces(self):
        self.refused("/nonexistent", "--trace", "/nonexistent")
        self.refused("there is no such processor", "--trace", "/dev/null", "--cpu", "z80")
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as trace:
            trace.write("R 0x7f0000001000\nR 0x1000\n")
            trace.flush()
            self.refused("there are no such tables\n       known are x86-32", "--trace", trace.name,
                         "--tables", "vax")
            self.refused("--page 8.0 KiB: tables of the format x86-48 have no such pages", "--trace",
                         trace.name, "--page", "8K")
            self.refused("--hit has no meaning for a trace", "--trace", trace.name, "--hit", "1")
            self.refused("leave out --cpu", "--trace", trace.name, "--cpu", "zen2", "--arrays",
                         "l1:4x4")
            self.refused("--arrays l1:4x3: 'l1:4x3' can't be understood", "--trace", trace.name,
                         "--arrays", "l1:4x3")
            self.refused("--unit is byte or page, not 'word'", "--trace", trace.name, "--unit", "word")


if __name__ == "__main__":
    unittest.main()
