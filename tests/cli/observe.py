#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`quire free`, `vmstat`, `ps`, `maps`, `zones` and `slabs --kernel` as a user meets them: on recorded
machines exactly, on this one beside the well-known tools.

Usage: observe.py QUIRE SOURCE_ROOT [unittest's arguments]
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree

from asking import (AS_NOBODY, CGROUP1, NUMA, PATIENCE_SECONDS, QUIRE, ROOT, SMALL, SWAP, ZRAM, call,
                    figures, keys_of, may_unshare, on_a_terminal, output, read, until)

COMMANDS = ("free", "vmstat", "ps", "maps", "time", "zones", "slabs", "tune", "log")


def between_two(theirs, ours):
    """What another tool tells and what we do, of a moment in which its figures stood still."""
    def look():
        before, between, after = theirs(), ours(), theirs()
        return (before, between) if before == after else None
    return until(look)


class Documented(unittest.TestCase):
    def test_help(self):
        overview = output("--help")
        for command in COMMANDS:
            ways = [output("help", command), output(command, "--help"), output(command, "-h")]
            self.assertEqual(len(set(ways)), 1)
            self.assertTrue(ways[0].startswith(f"Usage: quire {command} [OPTION...]"))
            self.assertIn("Exit status:", ways[0])
            self.assertRegex(overview, rf"(?m)^  {command} ")

    def test_options(self):
        for command in COMMANDS:
            options = set(re.findall(r"(?<!\S)--[a-z][a-z-]*",
                                     output("help", command).split("\n\n")[1]))
            self.assertLessEqual({"--json", "--help"}, options)
            manual = read(f"{ROOT}/man/quire-{command}.1").replace("\\-", "-")
            for option in options:
                self.assertIn(option, manual)
                for shell, word in (("quire.bash", option), ("_quire", option),
                                    ("quire.fish", "-l " + option[2:])):
                    self.assertIn(word, read(f"{ROOT}/completions/{shell}"), shell)

    def test_every_key_of_the_json(self):
        for command, arguments in (("free", ["free", "--explain"]), ("vmstat", ["vmstat"]),
                                   ("maps", ["maps", "268"]), ("zones", ["zones"])):
            manual = read(f"{ROOT}/man/quire-{command}.1")
            types = {"Unmovable", "Movable", "Reclaimable", "HighAtomic", "CMA", "Isolate",
                     "version"}
            self.assertEqual({key for key in keys_of(figures(*arguments, "--root", ZRAM)) - types
                              if key not in manual}, set(), command)

    def test_every_column(self):
        manual = read(f"{ROOT}/man/quire-ps.1")
        for line in output("ps", "--list").splitlines():
            name, heading = line.split()[:2]
            self.assertIn(f".BR {name} \" [\" {heading} ]".replace("-", "\\-"), manual)

    @unittest.skipUnless(shutil.which("man"), "no man here")
    def test_manual_pages_are_clean(self):
        for command in COMMANDS:
            result = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z",
                                     f"{ROOT}/man/quire-{command}.1"], capture_output=True,
                                    check=True)
            self.assertEqual(result.stderr, b"")


FREE = """\
           total      used      free    shared buffers     cache available
memory 468.8 MiB 295.9 MiB 172.3 MiB 183.4 MiB 4.0 KiB 193.1 MiB 172.9 MiB
swap   256.0 MiB       0 B 256.0 MiB                         0 B
huge pages  0 of 2.0 MiB, 0 free, 0 reserved
            transparent (never): anonymous 0 B, shared 0 B, files 0 B
slab        reclaimable 9.6 MiB, unreclaimable 9.7 MiB
zswap       -
zram        1 of 256.0 MiB, stores 4.0 KiB compressed to 73 B, takes 12.0 KiB of RAM (0.3 : 1)
pressure    memory some 0.00 full 0.00, io some 0.00 full 0.00, cpu some 0.58  (% of the last 10 s)
limit       268.5 MiB of 280.0 MiB used, in /sys/fs/cgroup/job
"""


class Free(unittest.TestCase):
    def test_a_recorded_machine(self):
        lines = [line.rstrip() for line in output("free", "--root", ZRAM).splitlines()]
        self.assertEqual(lines, FREE.splitlines())

    def test_explanations_add_up(self):
        for machine in (NUMA, SWAP, SMALL, ZRAM, CGROUP1):
            memory = figures("free", "--explain", "--root", machine)
            for one in memory["explain"]:
                known = [term for term in one["terms"] if term["bytes"] is not None]
                if one["terms"][0]["bytes"] is None: # of later kernels
                    self.assertIsNone(one["bytes"])
                    continue
                self.assertEqual(one["bytes"],
                                 sum(term["sign"] * term["bytes"] for term in known), one)
                for term in known: # each is a field of /proc/meminfo, as it stands there
                    self.assertRegex(read(f"{machine}/proc/meminfo"),
                                     rf"(?m)^{term['field']}: +{term['bytes'] // 1024} kB$")
            by_name = {one["figure"]: one["bytes"] for one in memory["explain"]}
            self.assertEqual(by_name["used"], memory["memory"]["used_bytes"])
            self.assertEqual(by_name["cache"], memory["memory"]["cache_bytes"])
            self.assertEqual(by_name["swap used"], memory["swap"]["used_bytes"])
        text = output("free", "--explain", "--root", ZRAM)
        self.assertIn("used: 295.9 MiB\n  = MemTotal - MemAvailable\n  = 480040 - 177004  (kB)\n",
                      text)

    @unittest.skipUnless(shutil.which("free"), "no free(1) here")
    def test_beside_free(self):
        def theirs():
            line = subprocess.run(["free", "-b"], capture_output=True, text=True,
                                  check=True).stdout.splitlines()[1].split()
            return [int(line[i]) for i in (1, 2, 3, 6)]

        def look(): # others take memory and give it back meanwhile
            before, ours, after = theirs(), figures("free")["memory"], theirs()
            if any(abs(a - b) > 16 << 20 for a, b in zip(before, after)):
                return None
            return before, [ours[f"{name}_bytes"] for name in ("total", "used", "free",
                                                               "available")]
        theirs, ours = until(look)
        self.assertEqual(theirs[0], ours[0])
        for their, our in zip(theirs, ours):
            self.assertAlmostEqual(their, our, delta=64 << 20)


class Narrow(unittest.TestCase):
    def test_lines_fit(self):
        for arguments in (["free"], ["vmstat"], ["zones"], ["slabs", "--kernel"], ["ps"],
                          ["maps", "268"], ["tune"]):
            wide = output(*arguments, "--root", ZRAM).splitlines()
            lines = on_a_terminal(80, *arguments, "--root", ZRAM)
            self.assertGreaterEqual(len(lines), len(wide), arguments) # nothing is left out
            at_most = 85 if arguments[0] == "free" else 80 # sentences may wrap
            lines = [line for line in lines if not line.startswith("zram ")]
            self.assertLessEqual(max(map(len, lines)), at_most, arguments)

    def test_zones_with_very_many_blocks(self):
        with tempfile.TemporaryDirectory() as directory:
            machine = os.path.join(directory, "machine")
            shutil.copytree(ZRAM, machine, symlinks=True)
            blocks = re.sub(r"(?m)(zone +\w+).*$", r"\1" + " 123456" * 11,
                            read(f"{machine}/proc/buddyinfo"))
            with open(f"{machine}/proc/buddyinfo", "w", encoding="utf-8") as file:
                file.write(blocks)
            lines = on_a_terminal(80, "zones", "--root", machine)
            self.assertLessEqual(max(map(len, lines)), 80, lines)
            self.assertIn(" 123k 123k", "\n".join(lines))
            self.assertIn(" 123456 123456", output("zones", "--root", machine))

    def test_sentences_go_on_in_the_next_line(self):
        for arguments in ("time", "true"), ("run", "--ram", "16M", "true"):
            lines = on_a_terminal(50, *arguments, with_errors=True)
            self.assertLessEqual(max(map(len, lines)), 50, lines)
            heads = [line for line in lines if line[:3].strip() and not line.startswith(" " * 3)]
            rest = [line for line in lines if line not in heads]
            self.assertGreater(len(rest), 2)
            self.assertTrue(all(re.match(r" {14}\S", line) for line in rest), lines)
            self.assertIn("for faults", re.sub(r"\s+", " ", " ".join(lines)).replace("major ", ""))

    def test_columns_stay_in_line_on_a_busy_machine(self):
        for cpu in ("5000 0 0 0 0", "0 0 5000 0 0", "0 0 0 0 5000"):
            with tempfile.TemporaryDirectory() as directory:
                machine = os.path.join(directory, "machine")
                shutil.copytree(ZRAM, machine, symlinks=True)
                stat = re.sub(r"(?m)^cpu  .*$", f"cpu  {cpu} 0 0 0 0 0", read(f"{ZRAM}/proc/stat"))
                stat = re.sub(r"procs_running \d+", "procs_running 137", stat)
                stat = re.sub(r"procs_blocked \d+", "procs_blocked 100", stat)
                with open(f"{machine}/proc/stat", "w", encoding="utf-8") as file:
                    file.write(stat)
                lines = output("vmstat", "--root", machine).splitlines()
                self.assertEqual(len({len(line) for line in lines}), 1, lines)
                self.assertEqual(lines[2].split()[:2], ["137", "100"])

    def test_what_is_left_of_vmstat(self):
        for width, columns in ((200, 28), (132, 22), (80, 14), (60, 10), (10, 10)):
            lines = on_a_terminal(width, "vmstat", "--root", ZRAM)
            self.assertEqual([len(line.split()) for line in lines[1:]], [columns] * 2, width)
            self.assertEqual(len({len(line) for line in lines}), 1)
            self.assertIn("major", lines[1])


class Vmstat(unittest.TestCase):
    def test_since_boot(self):
        line = figures("vmstat", "--root", CGROUP1)
        self.assertEqual((line["schema"], line["since_boot"]), ("quire.vmstat/1", True))
        self.assertAlmostEqual(line["major_faults_a_second"], 25799471 / 66128.73, places=3)
        self.assertAlmostEqual(line["scanned_pages_a_second"], 63000061 / 66128.73, places=3)
        self.assertAlmostEqual(line["memory_some_percent"], 298429497 / 66128.73e4, places=3)

    @unittest.skipUnless(shutil.which("vmstat"), "no vmstat(8) here")
    def test_beside_vmstat(self):
        """The averages since boot lie between what vmstat -s counts before and after."""
        def theirs():
            counts = subprocess.run(["vmstat", "-s"], capture_output=True, text=True, check=True,
                                    env={**os.environ, "LC_ALL": "C"}).stdout
            uptime = float(read("/proc/uptime").split()[0])
            return uptime, [int(re.search(rf"(\d+) {words}", counts)[1]) * unit for words, unit in
                            (("K paged in", 1024), ("K paged out", 1024),
                             ("pages swapped in", 4096), ("pages swapped out", 4096))]
        start, before = theirs()
        line = figures("vmstat")
        end, after = theirs()
        for key, least, most in zip(("block_in", "block_out", "swap_in", "swap_out"), before, after):
            rate = line[f"{key}_bytes_a_second"]
            self.assertGreaterEqual(rate, 0.99 * least / end, key)
            self.assertLessEqual(rate, 1.01 * most / start + 1, key)
        self.assertLessEqual(abs(line["seconds"] - start), end - start + 1)

    def test_what_old_kernels_lack(self):
        self.assertIsNone(figures("vmstat", "--root", NUMA)["memory_some_percent"])
        text = output("vmstat", "--root", NUMA).splitlines()
        self.assertEqual(len(text), 3)
        self.assertIn(" - ", text[2])
        self.assertEqual(len(text[0]), len(text[1]))
        self.assertEqual(len(text[1]), len(text[2]))

    def test_time(self):
        before = int(time.time())
        with_time = output("vmstat", "-t").splitlines()
        self.assertEqual(with_time[1].split()[0], "time")
        stamp = time.mktime(time.strptime(with_time[2].split()[0], "%Y-%m-%dT%H:%M:%S"))
        self.assertTrue(before <= stamp <= time.time())
        self.assertNotIn("time", output("vmstat"))
        self.assertRegex(figures("vmstat")["time"], r"^\d+-\d\d-\d\dT[\d:.]+Z$")
        self.assertNotIn("time", figures("vmstat", "--root", ZRAM))
        self.assertEqual(call("vmstat", "-t", "--root", ZRAM).returncode, 125)

    def test_a_line_each_time(self):
        lines = output("vmstat", "0.05", "3", "--json").splitlines()
        lines = [json.loads(line) for line in lines]
        self.assertEqual([line["since_boot"] for line in lines], [True, False, False])
        self.assertTrue(all(0.05 <= line["seconds"] for line in lines[1:]))

    @unittest.skipUnless(shutil.which("vmstat"), "no vmstat(8) here")
    def test_faults_are_counted(self):
        process = subprocess.Popen([QUIRE, "vmstat", "0.5", "3", "--json"], stdout=subprocess.PIPE,
                                   text=True)
        process.stdout.readline()
        while process.poll() is None: # for all of the time that it counts
            touched = bytearray(b"x") * (64 << 20)
            self.assertEqual(len(touched), 64 << 20)
        rest = [json.loads(line) for line in process.stdout.read().splitlines()]
        process.stdout.close()
        self.assertEqual(process.returncode, 0)
        faults = sum(line["minor_faults_a_second"] * line["seconds"] for line in rest)
        self.assertGreater(faults, 32) # in pages of 2 MiB at worst


class Ps(unittest.TestCase):
    def test_a_recorded_machine(self):
        text = output("ps", "--root", ZRAM, "-o", "pid,rss,pss,uss,swap,minor,oom,name", "-l", "2")
        self.assertEqual(text, """\
PID  RSS  PSS  USS SWAP MINFL OOM NAME
268  87M  86M  86M    0 44042 746 sh
  1 1.8M 312K 224K    0 10079   0 init
2 processes, RSS 89.2 MiB, PSS 86.4 MiB, swap 0 B
""".replace("10079", read(f"{ZRAM}/proc/1/stat").split()[9].rjust(5)))

    def test_order_filter_and_tree(self):
        def pids(*arguments):
            return [one["pid"] for one in figures("ps", "--root", ZRAM, "-o", "pid",
                                                  *arguments)["processes"]]
        self.assertEqual(pids("-s", "pid"), [1, 116, 117, 118, 268])
        self.assertEqual(pids("-s", "pid", "-r"), [268, 118, 117, 116, 1])
        self.assertEqual(pids("-s", "pid", "--all"), [1, 2, 116, 117, 118, 268])
        self.assertEqual(pids("-f", "pss>50M"), [268])
        self.assertEqual(pids("-f", "name=sleep", "-f", "pid!=117", "-s", "pid"), [116, 118])
        self.assertEqual(pids("-f", "command~head -c"), [268])
        self.assertEqual(pids("-t", "-s", "pss", "-l", "2"), [1, 268])
        tree = figures("ps", "--root", ZRAM, "-t", "-o", "pid,pss,tree")["processes"]
        self.assertEqual(tree[0]["tree_bytes"], sum(one["pss_bytes"] for one in tree))

    @unittest.skipUnless(shutil.which("ps"), "no ps(1) here")
    def test_beside_ps(self):
        child = subprocess.Popen([sys.executable, "-c", "x = b'x' * (40 << 20); print(1, "
                                  "flush=True); input()"], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE)
        self.assertEqual(child.stdout.readline(), b"1\n")
        theirs, (ours,) = between_two( # it may be on its way to wait
            lambda: subprocess.run(["ps", "-o", "rss=,min_flt=,maj_flt=,ppid=,vsz=", "-p",
                                    str(child.pid)], capture_output=True, text=True,
                                   check=True).stdout.split(),
            lambda: figures("ps", "-f", f"pid={child.pid}", "-o",
                            "rss,minor,major,ppid,virtual,pss,uss,user")["processes"])
        child.communicate(b"\n")
        # /proc/PID/stat's RSS lacks what the processors have not added up yet
        self.assertLess(abs(int(theirs[0]) - ours["rss_bytes"] // 1024), 1024)
        self.assertEqual([int(figure) for figure in theirs[1:]],
                         [ours["minor_faults"], ours["major_faults"], ours["parent_pid"],
                          ours["virtual_bytes"] // 1024])
        self.assertGreater(ours["uss_bytes"], 40 << 20)
        self.assertGreaterEqual(ours["rss_bytes"] + (1 << 20), ours["pss_bytes"])

    def test_who_executes_another_program_is_read_anew(self):
        """What is kept of a process that sleeps is of the program that it was."""
        job = "read line; exec python3 -c 'memory = bytearray(b\"a\") * (30 << 20); input()'"
        with subprocess.Popen(["sh", "-c", job], stdin=subprocess.PIPE, text=True) as process:
            try:
                watch = subprocess.Popen([QUIRE, "ps", "--json", "-o", "pid,pss,uss", "--watch=0.05",
                                          "-f", f"pid={process.pid}"], stdout=subprocess.PIPE, text=True)
                before = [json.loads(watch.stdout.readline())["processes"][0] for _ in range(8)]
                process.stdin.write("\n")
                process.stdin.flush()
                end = time.monotonic() + PATIENCE_SECONDS
                after = before[-1]
                while time.monotonic() < end and after["uss_bytes"] < 30 << 20:
                    after = json.loads(watch.stdout.readline())["processes"][0]
                    self.assertIsNotNone(after["uss_bytes"])
            finally:
                process.kill()
                watch.kill()
                watch.communicate()
        self.assertLess(before[0]["uss_bytes"], 10 << 20)
        self.assertGreater(after["uss_bytes"], 30 << 20)

    def test_watch(self):
        lines = output("ps", "--watch=0.02", "-n", "3", "--json", "-o", "pid,minor_rate")
        self.assertEqual(len([json.loads(line) for line in lines.splitlines()]), 3)

    def test_columns(self):
        names = [line.split()[0] for line in output("ps", "--list").splitlines()]
        self.assertGreater(len(names), 35)
        one = figures("ps", "-a", "-o", ",".join(names), "-f", f"pid={os.getpid()}")["processes"]
        self.assertEqual(len(one[0]), len(names))

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "needs root and setpriv")
    def test_what_is_not_ones_own_is_denied(self):
        unprivileged = [*AS_NOBODY, QUIRE]
        result = subprocess.run([*unprivileged, "ps", "-f", f"pid={os.getpid()}", "-o",
                                 "pid,rss,pss"], capture_output=True, text=True, check=False)
        if "Permission denied" in result.stderr:
            self.skipTest("the build directory is closed to others")
        self.assertRegex(result.stdout, rf"(?m)^ *{os.getpid()} +\S+ +denied$")
        self.assertIn("root sees more", result.stdout)
        result = subprocess.run([*unprivileged, "slabs", "--kernel"], capture_output=True,
                                text=True, check=False)
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertEqual(result.stderr, "quire: cannot read /proc/slabinfo: Permission denied\n"
                                        "       the kernel shows it to root only: try it with "
                                        "sudo\n")


class Watch(unittest.TestCase):
    COMMANDS = (["free"], ["zones"], ["ps", "-o", "pid,user,pss"], ["slabs"])

    def test_json_is_an_object_a_line(self):
        for command in self.COMMANDS:
            lines = output(*command, "--root", ZRAM, "--watch=0.01", "-n", "3", "--json").splitlines()
            schemas = [json.loads(line)["schema"] for line in lines]
            self.assertEqual(schemas, [f"quire.{command[0]}/1"] * 3)

    def test_text_comes_again(self):
        for command in self.COMMANDS:
            once = output(*command, "--root", ZRAM)
            self.assertEqual(output(*command, "--root", ZRAM, "--watch=0.01", "-n", "2"),
                             once + "\n" + once)
            lines = on_a_terminal(200, *command, "--root", ZRAM, "--watch=0.01", "-n", "2")
            self.assertEqual("\n".join(lines).count("\033[H\033[2J"), 2)

    def test_a_reader_that_leaves(self):
        command = [QUIRE, "free", "--root", ZRAM, "--watch=0.01"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watch:
            watch.stdout.readline()
            watch.stdout.close()
            self.assertNotEqual(watch.wait(PATIENCE_SECONDS), 0)

    def test_a_tree_has_totals(self):
        lines = output("ps", "--root", ZRAM, "--tree").splitlines()
        self.assertEqual(lines[0].split()[4:6], ["USS", "TREE"])
        self.assertNotIn("TREE", output("ps", "--root", ZRAM))
        self.assertNotIn("TREE", output("ps", "--root", ZRAM, "--tree", "-o", "pid,pss"))


class Maps(unittest.TestCase):
    def test_a_recorded_process(self):
        lines = output("maps", "268", "--root", ZRAM).splitlines()
        self.assertEqual(lines[0], "process 268 (sh), the highest address first")
        self.assertEqual([line.split()[2] for line in lines[2:-1]],
                         ["vdso", "stack", "anonymous", "heap", "data", "text"])
        areas = figures("maps", "268", "--root", ZRAM)["areas"]
        self.assertEqual(sum(area["rss_bytes"] for area in areas), 89560 << 10)
        self.assertEqual(len(figures("maps", "268", "--root", ZRAM, "--all")["areas"]), 11)

    def test_svg(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "map.svg")
            self.assertEqual(output("maps", "268", "--root", ZRAM, "--svg", path), "")
            root = xml.etree.ElementTree.parse(path).getroot()
            shapes = sum(1 for each in root.iter() if each.tag.rpartition("}")[2]
                         in ("path", "rect"))
            self.assertTrue(root.tag.endswith("svg"))
            self.assertGreater(shapes, 15)
        result = call("maps", "268", "--root", ZRAM, "--svg", "/nonexistent/x.svg")
        self.assertEqual(result.returncode, 125)
        self.assertIn("cannot write the picture /nonexistent/x.svg", result.stderr)

    def test_no_such_process(self):
        result = call("maps", "4194304")
        self.assertEqual((result.returncode, result.stderr),
                         (1, "quire: there is no process 4194304\n"))
        result = call("maps", "2", "--root", ZRAM) # its files were not recorded
        self.assertEqual(result.returncode, 1)

    @unittest.skipUnless(os.geteuid() == 0 and read("/proc/2/comm") == "kthreadd\n",
                         "no kernel thread to be seen")
    def test_a_kernel_thread(self):
        result = call("maps", "2")
        self.assertEqual(result.returncode, 1)
        self.assertIn("process 2 has no memory of its own", result.stderr)


class Zones(unittest.TestCase):
    def test_recorded_nodes(self):
        zones = figures("zones", "--root", NUMA)
        self.assertEqual([(zone["node"], zone["zone"]) for zone in zones["zones"]],
                         [(0, "DMA"), (0, "DMA32"), (1, "DMA32")])
        for zone in zones["zones"]:
            free = sum(n << order for order, n in enumerate(zone["free_blocks"]))
            self.assertEqual(zone["unusable_index"][0], 0)
            self.assertEqual(zone["unusable_index"][10],
                             (free - (zone["free_blocks"][10] << 10)) * 1000 // free / 1000)
        for machine in (NUMA, SMALL):
            self.assertIn("Movable", output("zones", "--types", "--root", machine))
        for machine, boost in ((NUMA, None), (SWAP, None), (SMALL, 0)): # zoneinfo's since 5.14
            self.assertEqual({zone["boost_pages"] for zone in figures(
                "zones", "--root", machine)["zones"]}, {boost})

    @unittest.skipUnless(os.access("/sys/kernel/debug/extfrag/unusable_index", os.R_OK),
                         "no debugfs here")
    def test_beside_the_kernels_own_indexes(self):
        def look():
            theirs = [[float(word) for word in line.split("zone")[1].split()[1:]] for line in
                      read("/sys/kernel/debug/extfrag/unusable_index").splitlines()]
            ours = [zone["unusable_index"] for zone in figures("zones")["zones"]]
            return len(theirs) == len(ours) and all(
                abs(a - b) <= 0.002 for one, want in zip(ours, theirs) for a, b in zip(one, want))
        until(look) # both in one quiet moment

    def test_slabs_of_the_kernel(self):
        slabs = figures("slabs", "--kernel", "--root", ZRAM, "--sort", "bytes")
        held = [one["held_bytes"] for one in slabs["classes"]]
        self.assertEqual(held, sorted(held, reverse=True))
        dentry, = [one for one in slabs["classes"] if one["name"] == "dentry"]
        self.assertEqual((dentry["objects"], dentry["active_objects"], dentry["spans"]),
                         (11025, 11025, 525))
        self.assertIn("all: 155 caches, 70825 of 71369 objects active",
                      output("slabs", "--kernel", "--root", ZRAM))
        self.assertEqual(output("slabs", "--root", ZRAM), output("slabs", "--kernel", "--root", ZRAM))


    @unittest.skipUnless(shutil.which("slabtop") and os.access("/proc/slabinfo", os.R_OK),
                         "no slabtop(1) here, or it is denied")
    def test_beside_slabtop(self):
        def slabtop():
            return subprocess.run(["slabtop", "-o"], capture_output=True, text=True, check=True,
                                  env={**os.environ, "LC_ALL": "C"}).stdout

        def totals(text):
            """Caches, active objects, objects."""
            return [int(re.search(r"Total Caches .*/ (\d+) ", text)[1]), *map(int, re.search(
                r"Total Objects .*: (\d+) / (\d+) ", text).groups())]

        def look(): # file systems that are mounted make caches, and objects come and go
            theirs = slabtop()
            ours = figures("slabs", "--kernel", "--all")["classes"]
            before, after = totals(theirs), totals(slabtop())
            is_still = before[0] == after[0] and all(
                abs(a - b) < 0.02 * a for a, b in zip(before, after))
            return (theirs, ours) if is_still else None
        theirs, ours = until(look)
        n_caches, active, objects = totals(theirs)
        self.assertEqual(len(ours), n_caches)
        for want, key in ((active, "active_objects"), (objects, "objects")):
            self.assertAlmostEqual(sum(one[key] for one in ours) / want, 1, delta=0.1)
        sizes = {one["name"]: one["object_bytes"] for one in ours}
        rows = re.findall(r"(?m)^ *\d+ +\d+ +\d+% +([\d.]+)K +\d+ +\d+ +\d+K (\S+) *$", theirs)
        self.assertGreater(len(rows), 10)
        for size, name in rows:
            self.assertAlmostEqual(sizes[name] / 1024, float(size), delta=0.006)


class Refusals(unittest.TestCase):
    def test_arguments(self):
        for arguments, message in (
                (["free", "x"], "'x': `quire free' takes no arguments"),
                (["vmstat", "0"], "'0' is no delay: a number of seconds, from 0.001 to 86400"),
                (["vmstat", "nan"], "'nan' is no delay"),
                (["vmstat", "1", "x"], "'x' is no count: a whole number above 0"),
                (["vmstat", "1", "0"], "'0' is no count"),
                (["vmstat", "1", "2", "3"], "'3': `quire vmstat' takes a delay and a count"),
                (["ps", "1"], "'1': `quire ps' takes no arguments; --filter pid=1 shows one"),
                (["ps", "-o", "pid,rrs"], "--columns: there is no column 'rrs'"),
                (["ps", "-o", ""], "--columns: there is no column ''"),
                (["ps", "-s", "x"], "--sort: there is no column 'x'"),
                (["ps", "-f", "x=1"], "it begins with no column's name"),
                (["ps", "-f", "rss"], "one of = != ~ < > <= >= is expected"),
                (["ps", "-f", "rss>much"], "the value is no number or size"),
                (["ps", "-f", "name>x"], "text is compared by =, != or ~"),
                (["ps", "-f", "rss~1"], "~ is for text"),
                (["ps", "--watch=0"], "--watch=0: that is no number of seconds"),
                (["ps", "-n", "2"], "--count has no meaning without --watch"),
                (["ps", "-l", "-1"], "--limit -1: that is no whole number above 0"),
                (["maps"], "which process? give its PID"),
                (["maps", "x"], "'x' is no process id"),
                (["maps", "1", "2"], "'2': `quire maps' takes one process"),
                (["zones", "x"], "'x': `quire zones' takes a process by --pid PID"),
                (["zones", "--pid", "x"], "--pid x: that is no process id"),
                (["zones", "--pid", "1", "--root", "/"], "--pid and --root: leave out one of both"),
                (["slabs", "--pid", "1", "--root", "/"], "--pid and --root: leave out one of both"),
                (["free", "--watch=0"], "--watch=0: that is no number of seconds"),
                (["slabs", "-n", "2"], "--count has no meaning without --watch"),
                (["zones", "--watch", "--replay", "x"], "--replay goes with none of"),
                (["free", "--watch", "--replay", "x"], "--replay goes neither with"),
                (["slabs", "--kernel", "--pid", "1"], "--pid and --kernel: leave out one of both"),
        ):
            result = call(*arguments)
            self.assertEqual((result.returncode, result.stdout), (125, ""), arguments)
            self.assertIn(message, result.stderr)

    def test_machines_that_can_not_be_read(self):
        result = call("free", "--root", "/nonexistent")
        self.assertEqual((result.returncode, result.stderr),
                         (1, "quire: cannot read a machine in /nonexistent: No such file or "
                             "directory\n"))
        with tempfile.TemporaryDirectory() as directory:
            for command in ("free", "vmstat", "ps", "zones"):
                result = call(command, "--root", directory)
                self.assertEqual((result.returncode, result.stdout), (1, ""))
                self.assertIn("No such file or directory\n       this kernel does not have it",
                              result.stderr)
            os.mkdir(os.path.join(directory, "proc"))
            with open(os.path.join(directory, "proc/meminfo"), "w", encoding="utf-8") as file:
                file.write("MemTotal:  100 kB\nMemFr")
            result = call("free", "--root", directory)
            self.assertEqual(result.stderr, "quire: /proc/meminfo is cut short: it ends in line 2\n"
                                            "       it is not what the kernel writes there; was it "
                                            "recorded whole?\n")

    @unittest.skipUnless(may_unshare(), "needs root and unshare(1)")
    def test_without_a_proc(self):
        for command in ("ps", "free", "zones"):
            result = subprocess.run(
                ["unshare", "--mount", "sh", "-c", f"umount -l /proc && exec {QUIRE} {command}"],
                capture_output=True, text=True, check=False)
            self.assertEqual((result.returncode, result.stdout), (1, ""), command)
            self.assertIn("/proc is not mounted", result.stderr)

    def test_output_that_does_not_get_out(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            for arguments in (["free"], ["free", "-j"], ["vmstat"], ["ps"], ["zones"],
                              ["maps", "268"]):
                result = subprocess.run([QUIRE, *arguments, "--root", ZRAM], stdout=full,
                                        stderr=subprocess.PIPE, text=True, check=False)
                self.assertEqual(result.returncode, 125, arguments)
                self.assertIn("cannot write to standard output", result.stderr)


if __name__ == "__main__":
    unittest.main()
